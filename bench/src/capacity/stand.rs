//! Owns the stand: Ringmain started here, and the load of `load` in front of and behind it, as a
//! `System`. It judges nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum};
use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process};

use super::failure::Failure;
use super::meter::Mark;
use crate::certificates::Authority;
use crate::compare::{self, Candidate, Contender, Cpus, Directory, Pinned, Venue};
use crate::figures::{Busy, Cost, Counts, Document, Host, Latency, Run, kinds};
use crate::judge::{Fault, Load, System};
use crate::load::{self, Ending, Outcome, Pace, Plan, Shape, Tally, Work};
use crate::report::survey;
use crate::soak::{Mischief, Trick};

#[derive(Args)]
pub struct StandOptions {
    /// What the load speaks
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Protocol::TcpEcho])]
    protocol: Vec<Protocol>,
    /// Open at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// 128 bytes there and back, one at a time on each connection
    TcpEcho,
    /// The same with TLS 1.3, ended by the proxy
    TlsEcho,
    /// Connect, 128 bytes there and back, close; a unit is a connection
    TcpConnect,
    /// The same with a full handshake, ECDSA P-256
    TlsConnect,
    /// The same with sessions resumed by tickets
    TlsResume,
}

/// What is prepared once, before anything is started.
pub struct Site {
    stop: Arc<AtomicBool>,
    cpus: Cpus,
    /// Restores the host's setting when dropped.
    _pinned: Option<Pinned>,
    begun: u64,
    host: Host,
}

/// Ringmain under load.
pub struct Stand {
    protocol: Protocol,
    contender: Contender,
    venue: Venue,
    site: load::Site,
    stop: Arc<AtomicBool>,
    _pinned: Option<Pinned>,
    host: Host,
    begun: u64,
    /// Holds certificates and configurations; goes last.
    _directory: Directory,
}

impl StandOptions {
    pub fn connections(&self) -> u32 {
        self.connections
    }

    /// Each once, in the order asked for.
    pub fn protocols(&self) -> Vec<Protocol> {
        let mut all = Vec::new();
        for protocol in &self.protocol {
            if !all.contains(protocol) {
                all.push(*protocol);
            }
        }
        all
    }
}

impl Site {
    pub fn prepare() -> Result<Self, Failure> {
        // Before anything is pinned, or the host seems to have one CPU.
        let host = survey();
        let stop = compare::watch()?;
        let cpus = Cpus::choose(None, None)?.ok_or(Failure::TwoCpusNeeded)?;
        compare::raise_descriptor_limit()?;
        let _pinned = compare::pin_congestion()?;
        Ok(Self { stop, cpus, _pinned, begun: seconds(), host })
    }
}

#[expect(clippy::disallowed_methods, reason = "results say when they were taken")]
fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl Stand {
    pub fn start(site: Site, options: &StandOptions) -> Result<Self, Failure> {
        let needed = u64::from(options.connections) * 2 + SPARE;
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        if limit < needed {
            return Err(Failure::Descriptors { needed, limit });
        }
        let Site { stop, cpus, _pinned, begun, host } = site;
        let _directory = Directory::create()?;
        let authority = Authority::generate().map_err(compare::Failure::from)?;
        authority.write(_directory.path())?;
        let venue = Venue { cpus, directory: _directory.path().to_owned(), with_tls: true };
        let mut load = load::Site::new(Arc::clone(&stop), authority.root().clone())
            .map_err(compare::Failure::from)?;
        let backends = load.add_backends(0, BACKENDS).map_err(compare::Failure::from)?;
        let contender =
            Contender::start(Candidate::Ringmain, backends, &venue).map_err(Failure::NotStarted)?;
        compare::pin(cpus.load)?;
        load.idle(SETTLING).map_err(compare::Failure::from)?;
        // The options ask for one at least.
        let protocol = options.protocol.first().copied().unwrap_or(Protocol::TcpEcho);
        Ok(Self { protocol, contender, venue, site: load, stop, _pinned, host, begun, _directory })
    }

    /// From now on the load speaks this.
    pub fn take(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    pub fn version(&self) -> String {
        self.contender.describe().version
    }

    fn measured(&self, load: &Load, tally: &Tally, seconds: f64, took: (Cost, Busy)) -> Run {
        let mut latency = Latency::new();
        for step in tally.latency.iter_recorded() {
            latency.record_n(step.value_iterated_to(), step.count_at_value());
        }
        let (cost, generator) = took;
        let achieved = tally.units as f64 / seconds;
        Run {
            candidate: Candidate::Ringmain.as_str().to_owned(),
            protocol: self.protocol.as_str().to_owned(),
            connections: load.connections,
            workers: 1,
            offered: load.rate,
            achieved,
            bytes: achieved * MESSAGES_BYTES,
            window: seconds,
            latency,
            counts: Counts { sent: tally.units, answered: tally.units, ..Counts::default() },
            cost: Some(cost),
            generator,
            series: Vec::new(),
        }
    }

    /// A run that fell apart under its load: nothing of it can be counted but that.
    fn broken(&self, load: &Load, kind: &str) -> Run {
        let tally = Tally::new();
        let window = load.window.as_secs_f64();
        let mut run = self.measured(load, &tally, window, (Cost::default(), Busy::default()));
        run.cost = None;
        run.counts.sent = 1;
        run.counts.errors.insert(kind.to_owned(), 1);
        run
    }
}

impl System for Stand {
    fn run(&mut self, load: &Load) -> Result<Run, Fault> {
        let (work, shape) = self.protocol.work(load.connections);
        let plan = Plan {
            shape,
            terms: work.terms(),
            pace: load.rate.map_or(Pace::Full, Pace::Rate),
            target: self.contender.listen.of(work),
            warm_up: load.warm_up,
            window: load.window,
        };
        let (root, cpus) = (self.contender.process.id(), self.venue.cpus);
        let outcome = self.site.run(&plan, || Mark::take(root, cpus));
        if self.stop.load(Ordering::Relaxed) {
            return Err(Fault::Interrupted);
        }
        match outcome {
            Ok(Outcome { tally, elapsed, before, after }) => {
                let took = before.until(&after);
                Ok(self.measured(load, &tally, elapsed.as_secs_f64(), took))
            }
            Err(load::Fault::Interrupted) => Err(Fault::Interrupted),
            Err(load::Fault::Stalled | load::Fault::Lingering) => {
                Ok(self.broken(load, kinds::TIMED_OUT))
            }
            Err(load::Fault::Host(errno)) => Err(Fault::Unable(errno.to_string())),
            Err(_) if !self.contender.process.is_running() => {
                Err(Fault::Unreachable("the proxy has ended".to_owned()))
            }
            Err(load::Fault::ClosedEarly) => Ok(self.broken(load, kinds::RESET)),
            Err(load::Fault::ConnectFailed) => Ok(self.broken(load, kinds::REFUSED)),
            Err(fault) => Err(Fault::Stalled(fault.to_string())),
        }
    }
}

impl Mischief for Stand {
    fn play(&mut self, trick: Trick) -> Result<(), Fault> {
        let id = i32::try_from(self.contender.process.id()).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| Fault::Unreachable("the proxy has no process".to_owned()))?;
        std::thread::spawn(move || {
            // Where the proxy has ended meanwhile, the run says so.
            let send = |signal| kill_process(id, signal).ok();
            wait(LEAD);
            match trick {
                Trick::Reload => send(Signal::HUP),
                Trick::Pause => {
                    send(Signal::STOP);
                    wait(PAUSE);
                    send(Signal::CONT)
                }
            }
        });
        Ok(())
    }
}

/// Nobody sends: it is the time that is waited for.
fn wait(time: Duration) {
    let (_alive, never) = std::sync::mpsc::channel::<()>();
    never.recv_timeout(time).ok();
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TcpEcho => "tcp-echo",
            Self::TlsEcho => "tls-echo",
            Self::TcpConnect => "tcp-connect",
            Self::TlsConnect => "tls-connect",
            Self::TlsResume => "tls-resume",
        }
    }

    fn work(self, connections: u32) -> (Work, Shape) {
        let lines = Shape::PingPong { lines: connections as usize };
        let connect = Shape::Connect(Ending::Fin);
        match self {
            Self::TcpEcho => (Work::PingPong64, lines),
            Self::TlsEcho => (Work::TlsPingPong64, lines),
            Self::TcpConnect => (Work::ConnectFin, connect),
            Self::TlsConnect => (Work::TlsConnect, connect),
            Self::TlsResume => (Work::TlsResume, connect),
        }
    }
}

/// The runs with all that is known of where they were made.
pub fn result_document(stand: &Stand, runs: Vec<Run>) -> Document {
    let mut host = stand.host.clone();
    host.versions.insert("ringmain".to_owned(), stand.version());
    let configurations = [
        ("ringmain.toml", include_str!("../../peers/ringmain.toml")),
        ("ringmain-tls.toml", include_str!("../../peers/ringmain-tls.toml")),
    ];
    for (name, text) in configurations {
        host.configurations.insert(name.to_owned(), text.to_owned());
    }
    Document::new(std::env::args().collect(), stand.begun, host, runs)
}

/// As many as keep a proxy from running out of ports for its connections in TIME_WAIT.
const BACKENDS: u8 = 16;
/// Descriptors beside those of connections.
const SPARE: u64 = 256;
const SETTLING: Duration = Duration::from_millis(300);
/// From the beginning of a run to a trick in it: beyond the warm-up, so that it is measured.
const LEAD: Duration = Duration::from_millis(600);
const PAUSE: Duration = Duration::from_millis(330);
/// A message there and back.
const MESSAGES_BYTES: f64 = 256.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_has_one_name_everywhere() {
        for protocol in Protocol::value_variants() {
            assert_eq!(protocol.to_possible_value().unwrap().get_name(), protocol.as_str());
        }
    }
}
