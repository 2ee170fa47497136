//! Owns `plan`: reads the profile, the costs and the calibration, measures what is missing, and
//! shows the plan.

use std::cell::RefCell;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::arithmetic::{Network, NotMeasured, planned};
use super::check::{Check, highest_share, predicted_cpus, scaled, times_for};
use super::costs::Costs;
use super::demand::{Demand, Headroom, HostKind, Stream};
use super::lines::Plan;
use super::measure::{Measure, Mix};
use crate::capacity::{self, Site};
use crate::figures::{Document, Host, Run, Unreadable};
use crate::fleet::{self, ProfileErrors};
use crate::generate::Order;
use crate::judge::Fault;
use crate::report::{self, Loaded, Progress, Results};

#[derive(Args)]
pub struct Options {
    /// The fleet: a mix of agents, as for run; configs/fleets has some
    #[arg(long, value_name = "FILE")]
    profile: PathBuf,
    /// Results of capacity or run that costs are taken from; may be repeated. Without, the kinds of
    /// agents of the profile are measured here, each by itself
    #[arg(long, value_name = "FILE")]
    costs: Vec<PathBuf>,
    /// Whose costs
    #[arg(long, default_value = "ringmain")]
    candidate: String,
    /// What calibrate found of this kind of host
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Make the whole mix on this host, at two rates at which nothing was measured, and say by how
    /// much the prediction is off
    #[arg(long)]
    check: bool,
    /// Connections of what is measured here, all kinds together
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,
    /// Seconds of each run that is made here
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// How often each rate is measured here
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=100))]
    rounds: u32,
    #[command(flatten)]
    host: HostKind,
    #[command(flatten)]
    headroom: Headroom,
    /// Where plan.json and plan.html go
    #[arg(long, default_value = "target/bench")]
    output: PathBuf,
}

/// Why there is no plan.
#[derive(Debug)]
pub enum Failure {
    Read(PathBuf, io::Error),
    Profile(ProfileErrors),
    /// The profile, and what can not be planned for, each with its key.
    Demand(PathBuf, Vec<String>),
    Results(PathBuf, Unreadable),
    /// The profile, what is missing, and what was measured.
    NotMeasured(PathBuf, NotMeasured, Vec<String>),
    /// The file is none of a calibration.
    NoCalibration(PathBuf),
    /// The mixed runs tell nothing.
    NothingToCheck,
    Site(capacity::Failure),
    Run(Fault),
    Report(report::Failure),
}

pub fn plan(options: &Options) -> Result<(), Failure> {
    report::check_output(&options.output, report::files_of("plan")).map_err(Failure::Report)?;
    let profile = Profile::read(&options.profile)?;
    let mut demand = profile.demand(options)?;
    let network = options.calibration.as_deref().map(network).transpose()?;
    let mut documents = Vec::new();
    for path in &options.costs {
        documents.push(document(path)?);
    }
    // Made ready only where something is measured here.
    let measures = documents.is_empty() || options.check;
    let site = measures.then(Site::prepare).transpose().map_err(Failure::Site)?;
    let keys = profile.keys(&demand);
    let measure = site.as_ref().map(|site| Measure {
        site,
        order: &profile.order,
        keys: &keys,
        connections: options.connections,
        seconds: options.seconds,
        rounds: options.rounds,
        progress: RefCell::new(Progress::new(Duration::ZERO)),
    });
    let given: Vec<Run> = documents.iter().flat_map(|of| of.runs.clone()).collect();
    let mut made = Made { given: options.of_candidate(given), ..Made::default() };
    if let Some(measure) = &measure {
        measure.site.show_on(measure.progress.borrow().live());
        let streams = here(measure, &demand);
        if let Err(failure) = made.make(measure, &streams, documents.is_empty(), options.check) {
            return Err(options.left(failure, measure.site, made.kept()));
        }
        if documents.is_empty() {
            documents.push(measure.site.document(measure.site.host(), Vec::new()));
        }
    }
    let costs = made.costs();
    let host = documents.first().map(|of| of.host.clone()).unwrap_or_default();
    demand.host = demand.host.or_like(&host);
    let mut plan = planned(&demand, &costs, network, &host).map_err(|missing| {
        let names = costs.names().into_iter().map(str::to_owned).collect();
        Failure::NotMeasured(options.profile.clone(), missing, names)
    })?;
    if let Some(measure) = &measure {
        plan.checks = made.checks(&costs, &here(measure, &demand))?;
    }
    drop(measure);
    print!("{}", plan.text());
    options.save(plan, made.kept(), host, documents.first().map_or(0, |of| of.begun))
}

/// Runs that costs are taken from, and those that check them.
#[derive(Default)]
struct Made {
    /// From files.
    given: Vec<Run>,
    /// Here, each kind by itself.
    alone: Vec<Run>,
    mixes: Vec<Mix>,
}

impl Made {
    /// Measures what is wanted of it here.
    fn make(
        &mut self,
        measure: &Measure,
        streams: &[Stream],
        costs: bool,
        check: bool,
    ) -> Result<(), Failure> {
        let mixes = if check { CHECKED.len() as u32 } else { 0 };
        measure.progress.borrow_mut().expect(measure.planned(costs, mixes));
        let mut kinds = Vec::new();
        if costs {
            measure.check().map_err(Failure::Run)?;
            kinds = measure.explore(&mut self.alone).map_err(Failure::Run)?;
        }
        if check {
            let rates = self.rates_between(streams).ok_or(Failure::NothingToCheck)?;
            self.mixes = measure.mixes(&rates);
        }
        measure.rounds(&mut kinds, &mut self.mixes, &mut self.alone).map_err(Failure::Run)?;
        measure.many(&kinds, &mut self.alone).map_err(Failure::Run)
    }

    fn costs(&self) -> Costs {
        Costs::of(self.given.iter().chain(&self.alone))
    }

    /// Of the mix, in units per second, at which nothing was measured.
    fn rates_between(&self, streams: &[Stream]) -> Option<Vec<f64>> {
        let costs = self.costs();
        let highest = highest_share(&costs, streams)?;
        let rate = |part: &f64| {
            let times = times_for(&costs, streams, 1.0, highest * part)?;
            Some(streams.iter().map(|of| of.units_per_second).sum::<f64>() * times)
        };
        CHECKED.iter().map(rate).collect()
    }

    /// What all costs say of the mixes, against what they were.
    fn checks(&self, costs: &Costs, streams: &[Stream]) -> Result<Vec<Check>, Failure> {
        let all: f64 = streams.iter().map(|of| of.units_per_second).sum();
        let check = |mix: &Mix| {
            let predicted = predicted_cpus(costs, &scaled(streams, mix.rate / all), 1.0)?;
            Check::of(predicted, &mix.runs)
        };
        let checks = self.mixes.iter().map(check);
        checks.collect::<Option<_>>().ok_or(Failure::NothingToCheck)
    }

    /// What was measured here.
    fn kept(&self) -> Vec<Run> {
        let mixed = self.mixes.iter().flat_map(|mix| &mix.runs);
        self.alone.iter().chain(mixed).cloned().collect()
    }
}

/// The streams with as many connections as there are here.
fn here(measure: &Measure, demand: &Demand) -> Vec<Stream> {
    let kept = measure.order.groups.iter().zip(measure.keys).filter(|(_, key)| key.is_some());
    let streams = demand.streams.iter().zip(kept);
    let streams = streams.map(|(stream, (group, _))| {
        let agents = measure.connections_of(group);
        let part = f64::from(agents) / f64::from(stream.agents.max(1));
        let reconnects_per_second = stream.reconnects_per_second * part;
        Stream { agents, reconnects_per_second, ..stream.clone() }
    });
    streams.collect()
}

impl Options {
    fn save(&self, plan: Plan, runs: Vec<Run>, host: Host, begun: u64) -> Result<(), Failure> {
        let command = std::env::args().collect();
        let html = self.keep(Some(plan), Document::new(command, begun, host, runs))?;
        eprintln!("saved {}", html.display());
        Ok(())
    }

    fn keep(&self, plan: Option<Plan>, document: Document) -> Result<PathBuf, Failure> {
        let mut results = Results::new(document);
        results.plan = plan;
        report::save(&results, &self.output, "plan").map_err(Failure::Report)
    }

    fn of_candidate(&self, mut runs: Vec<Run>) -> Vec<Run> {
        runs.retain(|run| run.candidate == self.candidate);
        runs
    }

    /// Why there is no more, once what there is has been kept: another time it is given by --costs.
    fn left(&self, failure: Failure, site: &Site, runs: Vec<Run>) -> Failure {
        let kept = match runs.is_empty() {
            true => None,
            false => match self.keep(None, site.document(site.host(), runs)) {
                Ok(html) => Some(html),
                Err(failure) => return failure,
            },
        };
        match (failure, kept) {
            (Failure::Run(Fault::Interrupted), kept) => {
                Failure::Site(capacity::Failure::Interrupted(kept))
            }
            (failure, Some(html)) => {
                eprintln!("saved {}", html.display());
                failure
            }
            (failure, None) => failure,
        }
    }
}

/// A fleet as it was read.
struct Profile {
    path: PathBuf,
    order: Order,
    /// Of its groups, in their order.
    names: Vec<String>,
}

impl Profile {
    fn read(path: &Path) -> Result<Profile, Failure> {
        let text = read(path)?;
        let order = fleet::load(&path.display().to_string(), &text).map_err(Failure::Profile)?;
        // What loads is a document with such a table; its keys are in order, as the groups are.
        let table: toml::Table = toml::from_str(&text).unwrap_or_default();
        let agents = table.get("agents").and_then(toml::Value::as_table);
        let names = agents.map_or(Vec::new(), |agents| agents.keys().cloned().collect());
        Ok(Profile { path: path.to_owned(), order, names })
    }

    fn demand(&self, options: &Options) -> Result<Demand, Failure> {
        Demand::of(&self.order, &self.names, options.host, options.headroom)
            .map_err(|errors| Failure::Demand(self.path.clone(), errors))
    }

    /// What the costs of each group go by; `None`: it is left out.
    fn keys(&self, demand: &Demand) -> Vec<Option<String>> {
        let key = |name: &String| {
            demand.streams.iter().find(|stream| stream.name == *name).map(Stream::key)
        };
        self.names.iter().map(key).collect()
    }
}

impl HostKind {
    /// What was not said is as on the host that was measured.
    fn or_like(mut self, host: &Host) -> HostKind {
        if self.cores == 0 {
            self.cores = host.cpus.max(1);
        }
        if self.memory_gib == 0.0 {
            self.memory_gib = (host.memory as f64 / 1024.0_f64.powi(3)).max(1.0);
        }
        self
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::Read(path.to_owned(), error))
}

fn document(path: &Path) -> Result<Document, Failure> {
    let text = read(path)?;
    Document::from_json(&text).map_err(|reason| Failure::Results(path.to_owned(), reason))
}

fn network(path: &Path) -> Result<Network, Failure> {
    let found = match report::load(path).map_err(Failure::Report)? {
        Loaded::Results(results) => results.calibration,
        Loaded::Comparison(_) => None,
    };
    let found = found.ok_or_else(|| Failure::NoCalibration(path.to_owned()))?;
    Ok(Network { cpu_factor: found.cpu_factor, interface_bits: found.interface_bits })
}

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Site(failure) => failure.exit_code(),
            _ => 1,
        }
    }

    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Read(..) => "unreadable_file",
            Self::Profile(_) => "unusable_profile",
            Self::Demand(..) => "unplannable_profile",
            Self::Results(_, reason) => reason.as_str(),
            Self::NotMeasured(..) => "not_measured",
            Self::NoCalibration(_) => "no_calibration",
            Self::NothingToCheck => "nothing_to_check",
            Self::Site(failure) => failure.as_str(),
            Self::Run(fault) => fault.as_str(),
            Self::Report(failure) => failure.as_str(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Site(failure) => return failure.fmt(f),
            Self::Run(fault) => return fault.fmt(f),
            Self::Report(failure) => return failure.fmt(f),
            _ => write!(f, "{}: ", self.as_str())?,
        }
        match self {
            Self::Read(path, error) => write!(
                f,
                "{} can not be read: {error}; give the path of a profile by --profile, as \
                 configs/fleets has some, or of results by --costs",
                path.display()
            ),
            Self::Profile(errors) => write!(f, "the profile can not be used\n{errors}"),
            Self::Demand(path, errors) => {
                f.write_str("the profile can not be planned for")?;
                errors.iter().try_for_each(|error| write!(f, "\n{}: {error}", path.display()))
            }
            Self::Results(path, reason) => write!(f, "{}: {reason}", path.display()),
            Self::NotMeasured(path, NotMeasured(missing), names) => {
                f.write_str("there are no costs for all of the profile")?;
                for (key, protocol) in missing {
                    let path = path.display();
                    write!(f, "\n{path}: {key}: `{protocol}` was not measured")?;
                }
                write!(
                    f,
                    "\nmeasured are: {}; measure the others with capacity and give its results by \
                     --costs, or leave --costs out to have all measured here",
                    names.join(", ")
                )
            }
            Self::NoCalibration(path) => write!(
                f,
                "{} has no calibration; give the calibration.json that calibrate has written",
                path.display()
            ),
            Self::NothingToCheck => f.write_str(
                "the mixed runs tell nothing of the proxy's CPU; give them more --seconds",
            ),
            Self::Site(_) | Self::Run(_) | Self::Report(_) => Ok(()),
        }
    }
}

/// Parts of the busiest that all kinds were measured at: between rates that were measured.
const CHECKED: [f64; 2] = [0.55, 0.85];

#[cfg(test)]
mod tests {
    use super::super::demand::sample_demand;
    use super::*;
    use crate::line::options;

    fn failure(line: &str) -> String {
        plan(&options(line)).unwrap_err().to_string()
    }

    /// A file of this content, that goes at the end of the test.
    struct Kept(PathBuf);

    impl Kept {
        fn new(name: &str, text: &str) -> Kept {
            let name = format!("ringmain-plan-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::write(&path, text).unwrap();
            Kept(path)
        }

        fn text(&self) -> std::path::Display<'_> {
            self.0.display()
        }
    }

    impl Drop for Kept {
        fn drop(&mut self) {
            fs::remove_file(&self.0).unwrap();
        }
    }

    const FLEET: &str = "name = \"x\"\n[agents.logs]\nprotocol = \"syslog-tcp\"\ncount = 10\n\
                         rate = 100\nsize = 300\nlifetime = \"1m\"\n";

    #[test]
    fn every_error_of_a_profile_is_told_with_its_key_before_any_load() {
        let fleet = Kept::new("bad.toml", &FLEET.replace("count = 10", "count = 0\nrat = 1"));
        let said = failure(&format!("--profile {}", fleet.text()));
        for part in ["agents.logs.count", "agents.logs.rat: unknown key"] {
            assert!(said.contains(part), "{said}");
        }
        let closed = Kept::new("closed.toml", &FLEET.replace("rate = 100", "rate = \"closed\""));
        let said = failure(&format!("--profile {}", closed.text()));
        assert!(said.contains("agents.logs.rate: \"closed\""), "{said}");
        let said = failure("--profile /nowhere.toml");
        assert!(said.contains("/nowhere.toml can not be read"), "{said}");
        assert!(said.contains("; give the path"), "{said}");
    }

    #[test]
    fn what_has_no_costs_is_named_with_the_remedy() {
        let fleet = Kept::new("fleet.toml", FLEET);
        let document = Document::new(
            vec![],
            0,
            Host::default(),
            vec![crate::figures::sample("ringmain", 10.0)],
        );
        let costs = Kept::new("costs.json", &document.to_json().unwrap());
        let said = failure(&format!("--profile {} --costs {}", fleet.text(), costs.text()));
        for part in [
            "agents.logs.protocol: `syslog-tcp` was not measured",
            "agents.logs.lifetime: `tcp-connect` was not measured",
            "measured are: tcp-echo",
            "leave --costs out",
        ] {
            assert!(said.contains(part), "{said}");
        }
        // What somebody else was measured with is no cost of this one.
        let mut others = document.clone();
        others.runs.push(Run {
            protocol: "syslog-tcp".to_owned(),
            ..crate::figures::sample("haproxy", 10.0)
        });
        let others = Kept::new("others.json", &others.to_json().unwrap());
        let line = format!("--profile {} --costs {}", fleet.text(), others.text());
        assert!(failure(&line).contains("`syslog-tcp` was not measured"), "{}", failure(&line));
        let theirs = failure(&format!("{line} --candidate haproxy"));
        assert!(!theirs.contains("`syslog-tcp` was not measured"), "{theirs}");
        let with = format!("--calibration {}", costs.text());
        let said = failure(&format!("--profile {} --costs {} {with}", fleet.text(), costs.text()));
        assert!(said.contains("has no calibration"), "{said}");
    }

    #[test]
    fn hosts_are_like_the_measured_one_where_nothing_is_said() {
        let host = Host { cpus: 6, memory: 3 << 30, ..Host::default() };
        let mut kind = sample_demand().host;
        assert_eq!(kind.or_like(&host), kind);
        (kind.cores, kind.memory_gib) = (0, 0.0);
        let like = kind.or_like(&host);
        assert_eq!((like.cores, like.memory_gib), (6, 3.0));
    }

    #[test]
    fn a_fault_keeps_the_runs_made_before_it() {
        let directory = std::env::temp_dir().join(format!("ringmain-left-{}", std::process::id()));
        let options: Options = options(&format!("--profile x --output {}", directory.display()));
        let site = Site::bare();
        let failure = options.left(Failure::Run(Fault::Interrupted), &site, Vec::new());
        assert_eq!(failure.exit_code(), 130);
        assert!(!directory.exists());
        let runs = vec![crate::figures::sample("ringmain", 10.0)];
        let failure = options.left(Failure::Run(Fault::Interrupted), &site, runs.clone());
        let said = failure.to_string();
        assert!(said.contains("plan.html") && failure.exit_code() == 130, "{said}");
        assert_eq!(document(&directory.join("plan.json")).unwrap().runs, runs);
        let gone = Failure::Run(Fault::Unreachable("gone".to_owned()));
        assert_eq!(options.left(gone, &site, runs).exit_code(), 1);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn mixes_are_at_rates_between_those_measured_and_checked_by_what_all_runs_say() {
        let streams = &mut sample_demand().streams[1..];
        let at = |share: f64, nanoseconds: f64| {
            let mut run = crate::figures::sample("ringmain", share * 1e9 / nanoseconds);
            run.cost.as_mut().unwrap().cpu_seconds = share * run.window;
            Run { protocol: "tls-echo".to_owned(), ..run }
        };
        let mut made = Made { alone: vec![at(0.1, 20e3), at(0.6, 20e3)], ..Made::default() };
        let rates = made.rates_between(streams).unwrap();
        let wanted = CHECKED.map(|part| 0.6 * part / 20e-6);
        for (rate, wanted) in rates.iter().zip(wanted) {
            assert!((rate / wanted - 1.0).abs() < 0.001, "{rates:?} {wanted}");
        }
        // Later rounds found it to cost more, and so did the mix.
        let dearer = [at(0.11, 22e3), at(0.66, 22e3)];
        made.alone = dearer.to_vec();
        let site = Site::bare();
        let keys: Vec<Option<String>> = Vec::new();
        let order = fleet::load("x", FLEET).unwrap_or_else(|errors| panic!("{errors}"));
        let measure = Measure {
            site: &site,
            order: &order,
            keys: &keys,
            connections: 1,
            seconds: 1,
            rounds: 2,
            progress: RefCell::new(Progress::new(Duration::ZERO)),
        };
        made.mixes = measure.mixes(&rates);
        for (mix, rate) in made.mixes.iter_mut().zip(rates) {
            mix.runs = vec![at(rate * 22e-6, 22e3); 3];
        }
        let checks = made.checks(&made.costs(), streams).unwrap();
        assert!(checks.iter().all(|check| check.error.abs() < 0.001), "{checks:?}");
        assert_eq!((checks.len(), made.kept().len()), (2, 2 + 6));
        made.mixes[1].runs.clear();
        let failure = made.checks(&made.costs(), streams).unwrap_err();
        assert_eq!(failure.as_str(), "nothing_to_check");
    }

    #[test]
    fn groups_keep_their_names() {
        let two = format!(
            "{FLEET}[agents.echo]\nprotocol = \"tcp-echo\"\ncount = 5\nrate = 1\nsize = 9\n"
        );
        let fleet = Kept::new("names.toml", &two);
        let profile = Profile::read(&fleet.0).unwrap();
        let protocols: Vec<&str> =
            profile.order.groups.iter().map(|group| group.protocol.as_str()).collect();
        assert_eq!(profile.names, ["echo", "logs"]);
        assert_eq!(protocols, ["tcp-echo", "syslog-tcp"]);
    }

    #[test]
    fn streams_here_have_as_many_connections_as_there_are_here() {
        let three = format!(
            "{FLEET}[agents.echo]\nprotocol = \"tcp-echo\"\ncount = 5\nrate = 1\nsize = 9\n\
             [agents.nodes]\nprotocol = \"syslog-udp\"\ncount = 900\nrate = 1\nsize = 99\n"
        );
        let fleet = Kept::new("here.toml", &three);
        let profile = Profile::read(&fleet.0).unwrap();
        let options: Options = options("--profile x");
        let demand = profile.demand(&options).unwrap();
        let keys = profile.keys(&demand);
        let known = [Some("tcp-echo (echo)"), Some("syslog-tcp (logs)"), None];
        assert_eq!(keys, known.map(|key| key.map(str::to_owned)));
        let (site, order) = (&Site::bare(), &profile.order);
        let (connections, seconds, rounds) = (45, 1, 2);
        let progress = RefCell::new(Progress::new(Duration::ZERO));
        let measure = Measure { site, order, keys: &keys, connections, seconds, rounds, progress };
        let streams = here(&measure, &demand);
        let agents: Vec<_> = streams.iter().map(|of| (&*of.name, of.agents)).collect();
        assert_eq!(agents, [("echo", 15), ("logs", 30)]);
        // Thirty that last a minute each.
        assert!((streams[1].reconnects_per_second - 0.5).abs() < 1e-9, "{streams:?}");
        assert_eq!(streams[1].units_per_second, demand.streams[1].units_per_second);
    }
}
