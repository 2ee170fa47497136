//! Owns the arguments of `run`, and the order and the bench that they mean.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use rustls::pki_types::ServerName;

use crate::fleet;

use super::backends::{Behaviour, Mischief, Outage, Service};
use super::bench::{Route, Terminus};
use super::course::Arrivals;
use super::failure::Failure;
use super::order::{Group, Order, Pace, Sizes};
use super::protocol::{Dialogue, Protocol};
use super::tls::Trust;

#[derive(Args)]
pub struct Options {
    /// What a mix of agents sends, from a file; configs/fleets has some
    #[arg(long, value_name = "FILE", conflicts_with_all = ["protocol", "rate", "arrivals",
        "connections", "depth", "size", "window", "warm_up", "patience", "seed"])]
    profile: Option<PathBuf>,
    /// Groups of the profile that are left out
    #[arg(long, value_name = "NAME", value_delimiter = ',', requires = "profile")]
    without: Vec<String>,
    /// What agents and backends say to each other
    #[arg(long, value_enum, default_value = "tcp-echo")]
    protocol: Protocol,
    /// Units per second, whatever comes back; `closed`: the next leaves when one has come back
    #[arg(long, default_value = "10000", value_parser = parse_rate)]
    rate: Rate,
    /// How units of an open loop lie between each other (default: constant)
    #[arg(long, value_enum)]
    arrivals: Option<Arrivals>,
    /// Open at a time; of connections that are a unit each, those that find no place wait, and
    /// their time runs
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: u32,
    /// Units under way on each connection of a closed loop (default: 1)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    depth: Option<u32>,
    /// Bytes of a unit
    #[arg(long, default_value_t = 128,
        value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    size: u32,
    /// The part that counts, such as 10s
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    window: Duration,
    /// Before the window, and not counted
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    warm_up: Duration,
    /// How long what is on its way is waited for after the window, at most
    #[arg(long, default_value = "2s", value_parser = parse_bounded)]
    patience: Duration,
    /// Who is between agents and backends
    #[arg(long, value_enum, default_value = "direct")]
    via: Via,
    /// Somebody else is: the address that agents connect to
    #[arg(long, conflicts_with = "via")]
    target: Option<SocketAddr>,
    /// Where backends are opened behind the target; without it the target has its own
    #[arg(long, requires = "target", value_delimiter = ',')]
    backend_listen: Vec<SocketAddr>,
    /// Threads of a Ringmain that the run starts (default: 1)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,
    /// TLS is ended by the backends, and not by the proxy or the target
    #[arg(long)]
    passthrough: bool,
    /// Who vouches for the target in TLS: certificates of authorities in PEM
    #[arg(long, value_name = "FILE", requires = "target", conflicts_with = "passthrough")]
    ca: Option<PathBuf>,
    /// Whom agents ask the target for in TLS, and in HTTP (default: its address)
    #[arg(long, value_name = "NAME", requires = "target", value_parser = parse_server_name)]
    server_name: Option<ServerName<'static>>,
    /// Believe whoever answers at the target in TLS: nothing is verified
    #[arg(long, requires = "target", conflicts_with_all = ["ca", "passthrough"])]
    insecure: bool,
    /// Addresses that agents connect from
    #[arg(long, value_delimiter = ',')]
    pub sources: Vec<IpAddr>,
    /// How long a backend takes for a request: 5ms, or exponential:5ms
    #[arg(long, default_value = "0ms", value_parser = parse_service)]
    service: Service,
    /// Backends stand still: at 3s of the window for 1s is 3s+1s
    #[arg(long, value_name = "AT+LENGTH", value_parser = parse_outage)]
    stall: Option<Outage>,
    /// Backends reset every connection, and all that come meanwhile
    #[arg(long, value_name = "AT+LENGTH", value_parser = parse_outage)]
    death: Option<Outage>,
    /// Shares of requests of which a backend makes something wrong: reset, close, drop, duplicate,
    /// swap, corrupt, refuse; of units that nobody answers, reset and close alone
    #[arg(long, value_name = "WHAT=SHARE", value_delimiter = ',', value_parser = parse_mischief)]
    mischief: Vec<(String, f64)>,
    /// Backends end connections of HTTP/2 at this age, and answer what is under way
    #[arg(long, value_name = "AGE", value_parser = parse_bounded)]
    connection_age: Option<Duration>,
    /// Where all that is drawn at random begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// CPU of the proxy (default: the last one allowed)
    #[arg(long)]
    pub proxy_cpu: Option<usize>,
    /// CPU of agents and backends (default: the first one left)
    #[arg(long)]
    pub load_cpu: Option<usize>,
    /// Check the generator itself on this host's clock, and print how far off it is
    #[arg(long, conflicts_with_all = ["profile", "target", "output"])]
    pub check_yourself: bool,
    /// Where the figures go: NAME.json, and NAME.hlog with the histogram
    #[arg(long, value_name = "NAME")]
    pub output: Option<PathBuf>,
}

/// A Ringmain that the run starts, or nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Via {
    /// Nobody: what comes of it is the generator's own limit
    Direct,
    Ringmain,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rate {
    Open(f64),
    Closed,
}

impl Options {
    pub fn order(&self) -> Result<Order, Failure> {
        if let Some(path) = &self.profile {
            let mut order = read_profile(path)?;
            leave_out(&mut order, &self.without)?;
            return Ok(order);
        }
        let length = self.warm_up + self.window;
        if !(SHORTEST..=LONGEST).contains(&self.window) || length > LONGEST {
            return Err(Failure::Options(
                "the window takes from 1s to 24h, with the warm-up before it; give --window"
                    .to_owned(),
            ));
        }
        self.check_pace()?;
        let pace = match self.rate {
            Rate::Closed => Pace::Closed { depth: self.depth.unwrap_or(1) },
            Rate::Open(rate) => {
                let arrivals = self.arrivals.unwrap_or(Arrivals::Constant);
                Pace::Open { rate, arrivals, ramp: Duration::ZERO, spikes: None }
            }
        };
        let sizes = Sizes::Constant(self.size as usize);
        let group = Group::new(self.protocol, self.connections, pace, sizes);
        Ok(Order {
            name: self.protocol.as_str().to_owned(),
            groups: vec![group],
            warm_up: self.warm_up,
            window: self.window,
            patience: self.patience,
            seed: self.seed,
        })
    }

    /// Refuses what the other kind of loop is for.
    fn check_pace(&self) -> Result<(), Failure> {
        let said = match (self.rate, self.protocol.dialogue()) {
            (Rate::Open(_), _) if self.depth.is_some() => {
                "--depth is of a closed loop; leave it out, or give --rate closed"
            }
            (Rate::Closed, _) if self.arrivals.is_some() => {
                "--arrivals are of an open loop; leave it out, or give units per second with --rate"
            }
            (Rate::Closed, dialogue) if self.depth.is_some() && dialogue != Dialogue::Exchange => {
                "--depth is of units that are answered on connections that last; leave it out"
            }
            _ => return Ok(()),
        };
        Err(Failure::Options(said.to_owned()))
    }

    pub fn route(&self) -> Result<Route, Failure> {
        if self.workers.is_some() && (self.target.is_some() || self.via == Via::Direct) {
            return Err(Failure::Options(
                "--workers are those of a Ringmain that the run starts; leave it out, or give \
                 --via ringmain"
                    .to_owned(),
            ));
        }
        Ok(match (self.target, self.via) {
            (Some(target), _) => Route::Target {
                target,
                backends: self.backend_listen.clone(),
                terminus: self.terminus(target)?,
            },
            (None, Via::Direct) if self.passthrough => {
                return Err(Failure::Options(
                    "nobody is between agents and backends who could pass TLS through; leave \
                     --passthrough out, or give --via ringmain or --target"
                        .to_owned(),
                ));
            }
            (None, Via::Direct) => Route::Direct,
            (None, Via::Ringmain) => {
                let workers = self.workers.unwrap_or(1);
                Route::Ringmain { workers, passthrough: self.passthrough }
            }
        })
    }

    /// Where TLS ends that agents speak to the target.
    fn terminus(&self, target: SocketAddr) -> Result<Terminus, Failure> {
        let name = || self.server_name.clone().unwrap_or(ServerName::from(target.ip()));
        Ok(match (&self.ca, self.insecure, self.passthrough) {
            (Some(path), ..) => Terminus::Target(Trust::of_file(path, name())?),
            (None, true, _) => Terminus::Target(Trust::blind(name())),
            (None, false, true) => Terminus::Backends(self.server_name.clone()),
            (None, false, false) if self.server_name.is_some() => {
                return Err(Failure::Options(
                    "--server-name says whom to ask for, and not whom to believe; give --ca or \
                     --insecure as well, or --passthrough"
                        .to_owned(),
                ));
            }
            (None, false, false) => Terminus::Unknown,
        })
    }

    /// How backends behave, where all groups of the order can show it.
    pub fn behaviour(&self, order: &Order) -> Result<Behaviour, Failure> {
        let mut mischief = Mischief::default();
        for (what, share) in &self.mischief {
            let field = match what.as_str() {
                "reset" => &mut mischief.reset,
                "close" => &mut mischief.close,
                "drop" => &mut mischief.drop,
                "duplicate" => &mut mischief.duplicate,
                "swap" => &mut mischief.swap,
                "refuse" => &mut mischief.refuse,
                _ => &mut mischief.corrupt,
            };
            *field = *share;
        }
        let (stall, death, connection_age) = (self.stall, self.death, self.connection_age);
        let behaviour = Behaviour { service: self.service, stall, death, mischief, connection_age };
        if behaviour == Behaviour::default() {
            return Ok(behaviour);
        }
        if self.target.is_some() && self.backend_listen.is_empty() {
            return Err(Failure::Options(
                "the target has backends of its own, which do as they do; leave --service, \
                 --stall, --death, --mischief and --connection-age out, or give --backend-listen"
                    .to_owned(),
            ));
        }
        for group in &order.groups {
            if let Some(said) = not_shown(&behaviour, group.protocol) {
                let protocol = group.protocol.as_str();
                // In a profile there are others.
                let others = if group.name == protocol || order.groups.len() == 1 {
                    String::new()
                } else {
                    format!(", or give --without {}", group.name)
                };
                return Err(Failure::Options(format!(
                    "{said}, and {protocol} has none of those; leave it out{others}"
                )));
            }
        }
        Ok(behaviour)
    }
}

/// What is asked of backends that this protocol can not show, and what it is for.
fn not_shown(behaviour: &Behaviour, protocol: Protocol) -> Option<&'static str> {
    let Behaviour { service, mischief, connection_age, .. } = behaviour;
    let (dialogue, calls) = (protocol.dialogue(), protocol.service().is_some());
    let answered = matches!(dialogue, Dialogue::Exchange | Dialogue::Visit);
    if *service != Service::None && !answered {
        return Some("--service is the time that answers take");
    }
    if protocol.is_datagrams() && mischief.reset + mischief.close > 0.0 {
        return Some("--mischief reset and close are for connections");
    }
    let Mischief { reset, close, .. } = *mischief;
    if *mischief != (Mischief { reset, close, ..Mischief::default() }) && !answered {
        return Some("--mischief other than reset and close is done to answers");
    }
    if mischief.duplicate + mischief.swap > 0.0 && (calls || dialogue == Dialogue::Visit) {
        return Some("--mischief duplicate and swap are for answers that share a stream");
    }
    if mischief.refuse > 0.0 && !calls {
        return Some("--mischief refuse is for calls");
    }
    (connection_age.is_some() && !calls).then_some("--connection-age is for connections of HTTP/2")
}

fn read_profile(path: &Path) -> Result<Order, Failure> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::Profile(format!("{name} can not be read ({error}); give --profile a file"))
    })?;
    fleet::load(&name, &text).map_err(|errors| {
        let count = match errors.errors.len() {
            1 => "an error".to_owned(),
            count => format!("{count} errors"),
        };
        Failure::Profile(format!("{name} has {count}, and nothing was sent\n{errors}"))
    })
}

fn leave_out(order: &mut Order, names: &[String]) -> Result<(), Failure> {
    let known: Vec<String> = order.groups.iter().map(|group| group.name.clone()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        return Err(Failure::Options(format!(
            "there is no group {name} to be left out; --without takes {}",
            known.join(", ")
        )));
    }
    order.groups.retain(|group| !names.contains(&group.name));
    if order.groups.is_empty() {
        return Err(Failure::Options(
            "every group is left out; name fewer of them with --without".to_owned(),
        ));
    }
    Ok(())
}

pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let parsed = units.iter().find_map(|(unit, seconds)| {
        let number = text.strip_suffix(unit)?.parse::<f64>().ok()?;
        Duration::try_from_secs_f64(number * seconds).ok()
    });
    parsed.ok_or_else(|| "a number with its unit is needed: us, ms, s, m or h".to_owned())
}

/// What a run may have to wait for.
fn parse_bounded(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        time if time <= LONGEST => Ok(time),
        _ => Err("a day, 24h, is the most".to_owned()),
    }
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    if text == "closed" {
        return Ok(Rate::Closed);
    }
    match text.parse() {
        Ok(rate) if (0.001..=1e8).contains(&rate) => Ok(Rate::Open(rate)),
        _ => Err("units per second up to 100000000, or `closed`, are needed".to_owned()),
    }
}

fn parse_server_name(text: &str) -> Result<ServerName<'static>, String> {
    let name = ServerName::try_from(text.to_owned());
    name.map_err(|_| "a host name or an address is needed, without a port".to_owned())
}

fn parse_service(text: &str) -> Result<Service, String> {
    match text.strip_prefix("exponential:") {
        Some(mean) => Ok(Service::Exponential(parse_bounded(mean)?)),
        None => Ok(match parse_bounded(text)? {
            Duration::ZERO => Service::None,
            time => Service::Constant(time),
        }),
    }
}

fn parse_outage(text: &str) -> Result<Outage, String> {
    let (at, length) = text.split_once('+').ok_or("AT+LENGTH is needed, such as 3s+1s")?;
    Ok(Outage { at: parse_bounded(at)?, length: parse_bounded(length)? })
}

fn parse_mischief(text: &str) -> Result<(String, f64), String> {
    const KNOWN: [&str; 7] = ["reset", "close", "drop", "duplicate", "swap", "corrupt", "refuse"];
    let (what, share) = text.split_once('=').ok_or("WHAT=SHARE is needed, such as drop=0.01")?;
    match share.parse() {
        Ok(share) if KNOWN.contains(&what) && (0.0..=1.0).contains(&share) => {
            Ok((what.to_owned(), share))
        }
        _ => Err(format!("one of {} and a share from 0 to 1 are needed", KNOWN.join(", "))),
    }
}

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::super::directory::Directory;
    use super::*;
    use crate::line::parsed;

    fn parse(line: &str) -> Result<Options, String> {
        parsed(line).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_becomes_an_order() {
        let line = "--protocol tls-echo --rate 5000 --arrivals poisson --connections 10 --size 200 \
                    --window 1500ms --service exponential:5ms --stall 3s+1s \
                    --mischief drop=0.01,swap=0.5 --via ringmain --workers 2 --passthrough";
        let options = parse(line).unwrap();
        let order = options.order().unwrap();
        assert_eq!(order.name, "tls-echo");
        assert_eq!(order.groups[0].pace.rate(), Some(5_000.0));
        assert_eq!(order.groups[0].sizes, Sizes::Constant(200));
        assert_eq!(order.window, Duration::from_millis(1_500));
        let passing = Route::Ringmain { workers: 2, passthrough: true };
        assert_eq!(options.route().unwrap(), passing);
        let behaviour = options.behaviour(&order).unwrap();
        assert_eq!(behaviour.service, Service::Exponential(Duration::from_millis(5)));
        assert_eq!(behaviour.mischief, Mischief { drop: 0.01, swap: 0.5, ..Mischief::default() });
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_sentence() {
        for (line, said) in [
            ("--rate fast", "closed"),
            ("--window 5", "its unit"),
            ("--stall 3s", "AT+LENGTH"),
            ("--stall 3s+25h", "24h"),
            ("--patience 1e12s", "24h"),
            ("--service exponential:25h", "24h"),
            ("--mischief eat=0.1", "corrupt"),
            ("--mischief drop=2", "share from 0 to 1"),
            ("--connections 0", "1..=1000000"),
            ("--target 127.0.0.1:1 --via ringmain", "cannot be used with"),
            ("--target 127.0.0.1:1 --insecure --ca x", "cannot be used with"),
            ("--target 127.0.0.1:1 --insecure --passthrough", "cannot be used with"),
            ("--insecure", "--target"),
            ("--target 127.0.0.1:1 --server-name a:1", "without a port"),
        ] {
            let error = parse(line).err().unwrap_or_default();
            assert!(error.contains(said), "{line}: {error}");
        }
        let options = parse("--window 10ms").unwrap();
        assert!(options.order().unwrap_err().to_string().contains("--window"));
    }

    #[test]
    fn what_a_protocol_can_not_show_is_refused_with_a_sentence() {
        let behaviour = |line: &str| {
            let options = parse(line).unwrap();
            options.behaviour(&options.order().unwrap()).map_err(|refused| refused.to_string())
        };
        let fleet = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/fleets/syslog.toml");
        let profile = format!("--profile {fleet} --mischief drop=0.1");
        for (line, said) in [
            ("--protocol stream-up --mischief drop=0.1", "stream-up has none of those"),
            ("--protocol syslog-udp --mischief drop=0.1", "syslog-udp has none of those"),
            ("--protocol ndjson --service 5ms", "--service is the time that answers take"),
            ("--protocol udp-one-way --service exponential:5ms", "udp-one-way has none"),
            ("--protocol vector --mischief swap=0.1", "vector has none of those"),
            ("--protocol tls-connect --mischief duplicate=0.1", "tls-connect has none of those"),
            ("--protocol tcp-echo --mischief refuse=0.1", "tcp-echo has none of those"),
            ("--protocol datadog --connection-age 1s", "datadog has none of those"),
            ("--protocol udp-echo --mischief reset=0.1", "are for connections"),
            ("--protocol syslog-udp --mischief close=0.1", "are for connections"),
            ("--protocol stream-up --mischief reset=0.1,swap=0.1", "stream-up has none of those"),
            ("--target 127.0.0.1:1 --stall 1s+1s", "give --backend-listen"),
            (&profile, "give --without appliances"),
        ] {
            let refused = behaviour(line).unwrap_err();
            assert!(refused.contains(said), "{line}: {refused}");
        }
        let line = "--protocol otlp-grpc --mischief refuse=0.1 --connection-age 3s";
        assert_eq!(behaviour(line).unwrap().connection_age, Some(Duration::from_secs(3)));
        for line in [
            "--protocol stream-up --stall 1s+1s --death 3s+1s",
            "--target 127.0.0.1:1 --backend-listen 127.0.0.1:2 --service 1ms",
            "--target 127.0.0.1:1",
            "--protocol tcp-connect --mischief reset=0.1,close=0.1,corrupt=0.1,drop=0.1",
            "--protocol syslog-tls --mischief reset=0.1,close=0.1",
        ] {
            behaviour(line).unwrap();
        }
    }

    #[test]
    fn a_target_of_tls_is_known_by_its_name_or_its_address() {
        let terminus = |line: &str| {
            let options = parse(&format!("--target 127.0.0.1:1 {line}")).unwrap();
            match options.route() {
                Ok(Route::Target { terminus, .. }) => terminus,
                other => panic!("{line}: {other:?}"),
            }
        };
        let name = |text: &'static str| ServerName::try_from(text).unwrap();
        assert_eq!(terminus(""), Terminus::Unknown);
        assert_eq!(terminus("--insecure"), Terminus::Target(Trust::blind(name("127.0.0.1"))));
        let blind = terminus("--insecure --server-name logs.example");
        assert_eq!(blind, Terminus::Target(Trust::blind(name("logs.example"))));
        assert_eq!(terminus("--passthrough"), Terminus::Backends(None));
        let passed = terminus("--passthrough --server-name a.example");
        assert_eq!(passed, Terminus::Backends(Some(name("a.example"))));
        for (line, said) in [
            ("--target 127.0.0.1:1 --server-name a.example", "whom to believe"),
            ("--target 127.0.0.1:1 --ca /nowhere/ca.pem", "/nowhere/ca.pem can not be read"),
            ("--passthrough", "nobody is between"),
            ("--workers 2", "--via ringmain"),
        ] {
            let refused = parse(line).unwrap().route().unwrap_err().to_string();
            assert!(refused.contains(said), "{line}: {refused}");
        }
    }

    #[test]
    fn what_is_of_the_other_loop_is_refused() {
        for (line, said) in [
            ("--depth 4", "--rate closed"),
            ("--rate closed --arrivals constant", "an open loop"),
            ("--rate closed --depth 4 --protocol tcp-connect", "connections that last"),
        ] {
            let refused = parse(line).unwrap().order().unwrap_err().to_string();
            assert!(refused.contains(said), "{line}: {refused}");
        }
        let closed = parse("--rate closed --depth 4").unwrap().order().unwrap();
        assert_eq!(closed.groups[0].pace, Pace::Closed { depth: 4 });
    }

    #[test]
    fn a_profile_is_refused_with_all_its_errors_and_nothing_before_them() {
        let missing = parse("--profile /nowhere/fleet.toml").unwrap().order().unwrap_err();
        let said = missing.to_string();
        assert!(said.starts_with("/nowhere/fleet.toml can not be read (No such file"), "{said}");
        assert_eq!((missing.as_str(), missing.exit_code()), ("profile", 2));
        let directory = Directory::create().unwrap();
        let path = directory.path().join("fleet.toml");
        std::fs::write(&path, "name = 3\n[agents.web]\nprotocol = \"udp-echo\"\ncount = 1\n")
            .unwrap();
        let line = format!("--profile {}", path.display());
        let said = parse(&line).unwrap().order().unwrap_err().to_string();
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0].ends_with("fleet.toml has 3 errors, and nothing was sent"), "{said}");
        for (line, part) in lines[1..].iter().zip([
            "fleet.toml:1: name: ",
            "fleet.toml:2: agents.web: `rate` is missing",
            "fleet.toml:2: agents.web: `size` is missing",
        ]) {
            assert!(line.contains(part), "{said}");
        }
        assert_eq!(lines.len(), 4, "{said}");
    }

    #[test]
    fn groups_of_a_profile_are_left_out_by_name() {
        let fleets = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/fleets");
        let line = |names: &str| {
            parse(&format!("--profile {fleets}/syslog.toml --without {names}")).unwrap().order()
        };
        let order = line("servers,encrypted").unwrap();
        let names: Vec<&str> = order.groups.iter().map(|group| group.name.as_str()).collect();
        assert_eq!(names, ["appliances", "relays", "sluggish", "switches"]);
        let said = line("printers").unwrap_err().to_string();
        assert!(said.contains("printers") && said.contains("appliances, encrypted"), "{said}");
        let said =
            line("servers,encrypted,appliances,relays,sluggish,switches").unwrap_err().to_string();
        assert!(said.contains("--without"), "{said}");
    }
}
