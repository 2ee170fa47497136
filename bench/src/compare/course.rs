//! Owns the order of a comparison: who is started, who runs when, at which rate. It takes figures,
//! and leaves their presentation to the report.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, fmt, io};

use rustix::io::Errno;

use super::candidate::{Candidate, Place};
use super::congestion::{self, Pinned};
use super::cpus::{self, Cpus};
use super::interrupt;
use super::options::Options;
use super::process::{self, Process};
use super::report::{Comparison, Contestant, Figures, Host, Row, WorkReport};
use super::usage::Reading;
use crate::load::{Fault, Outcome, Pace, Plan, Site, Work, sockets};

/// Why there is no comparison.
#[derive(Debug)]
pub enum Failure {
    TwoCpusNeeded,
    CongestionForbidden,
    NoCandidates,
    Interrupted,
    Host(io::Error),
}

/// Measures, prints a table per work as it is done, and saves them all.
pub fn compare(options: &Options) -> Result<(), Failure> {
    let stop = interrupt::watch()?;
    let cpus = Cpus::choose(options.proxy_cpu, options.load_cpu)?.ok_or(Failure::TwoCpusNeeded)?;
    process::raise_descriptor_limit()?;
    let _pinned = pin_congestion()?;

    let directory = Directory::create()?;
    let mut site = Site::new(Arc::clone(&stop))?;
    let contenders = start_all(options, &directory.0, cpus, &mut site, &stop)?;
    cpus::pin(cpus.load)?;
    site.idle(SETTLING)?;

    let mut course = Course { site, cpus, options };
    let mut comparison = Comparison {
        host: Host::describe(cpus)?,
        rounds: options.rounds(),
        seconds_paced: options.window_paced().as_secs_f64(),
        seconds_full: options.window_full().as_secs_f64(),
        contestants: contenders.iter().map(Contender::describe).collect(),
        works: Vec::new(),
    };
    println!("{}", comparison.header());
    for work in options.works() {
        let report = course.measure(work, &contenders)?;
        println!("{}", report.table());
        comparison.works.push(report);
    }
    comparison.save(&options.output)?;
    Ok(())
}

/// For the candidates it is as good as can be; the bench's own sockets have to have it.
fn pin_congestion() -> Result<Option<Pinned>, Failure> {
    let pinned = match Pinned::pin() {
        Ok(pinned) => Some(pinned),
        Err(error) => {
            let (current, wanted) = (congestion::current()?, sockets::CONGESTION);
            eprintln!("warning: candidates use {current}, as {wanted} can not be set: {error}");
            None
        }
    };
    match sockets::stream() {
        Ok(_) => Ok(pinned),
        Err(Errno::PERM | Errno::NOENT) => Err(Failure::CongestionForbidden),
        Err(errno) => Err(errno.into()),
    }
}

/// A candidate that is running. All of them run from beginning to end; idle ones are quiet.
struct Contender {
    candidate: Candidate,
    version: String,
    listen: SocketAddrV4,
    process: Process,
}

impl Contender {
    fn describe(&self) -> Contestant {
        Contestant { candidate: self.candidate, version: self.version.clone() }
    }
}

fn start_all(
    options: &Options,
    directory: &Path,
    cpus: Cpus,
    site: &mut Site,
    stop: &AtomicBool,
) -> Result<Vec<Contender>, Failure> {
    let mut contenders = Vec::new();
    for (network, candidate) in (0..).zip(options.candidates()) {
        let backends = site.add_backends(network, BACKENDS)?;
        let listen = free_address()?;
        let place = Place { directory, listen, backends: &backends };
        match start(candidate, &place, cpus) {
            Ok(contender) => contenders.push(contender),
            Err(reason) => eprintln!("{} is left out: {reason}", candidate.as_str()),
        }
        if stop.load(Ordering::Relaxed) {
            return Err(Failure::Interrupted);
        }
    }
    if contenders.is_empty() { Err(Failure::NoCandidates) } else { Ok(contenders) }
}

/// An error is a sentence for the user.
fn start(candidate: Candidate, place: &Place<'_>, cpus: Cpus) -> Result<Contender, String> {
    let launch = candidate.launch(place).map_err(|missing| missing.to_string())?;
    let path = place.directory.join(candidate.as_str()).with_extension("log");
    let log = File::create(&path).map_err(|error| error.to_string())?;
    let process = Process::start(launch.command, cpus.proxy, log, place.listen)
        .map_err(|error| format!("{error}\n{}", fs::read_to_string(&path).unwrap_or_default()))?;
    let version = launch.version;
    Ok(Contender { candidate, version, listen: place.listen, process })
}

/// An address that the kernel has just given out, and taken back.
fn free_address() -> io::Result<SocketAddrV4> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr()?.port()))
}

struct Course<'a> {
    site: Site,
    cpus: Cpus,
    options: &'a Options,
}

impl Course<'_> {
    /// First all rounds at full speed; they also tell which rate everybody carries. Then all
    /// rounds at that rate.
    fn measure(&mut self, work: Work, contenders: &[Contender]) -> Result<WorkReport, Failure> {
        let mut rows: Vec<Row> =
            contenders.iter().map(|contender| Row::new(contender.candidate)).collect();
        self.rounds(work, Pace::Full, contenders, &mut rows)?;
        let slowest = rows.iter().filter_map(Row::max_rate).map(|rate| rate.median);
        let offered = match self.options.rate(work) {
            Some(rate) => Some(rate),
            None => slowest.min_by(f64::total_cmp).map(|rate| rate * OFFERED_SHARE),
        };
        // Without a rate nobody has carried anything, and the faults say why.
        if let Some(rate) = offered {
            self.rounds(work, Pace::Rate(rate), contenders, &mut rows)?;
        }
        Ok(WorkReport { work, offered, rows })
    }

    /// The candidates take turns, so that what disturbs the host for a while disturbs them all.
    fn rounds(
        &mut self,
        work: Work,
        pace: Pace,
        contenders: &[Contender],
        rows: &mut [Row],
    ) -> Result<(), Failure> {
        for round in 1..=self.options.rounds() {
            for (contender, row) in contenders.iter().zip(rows.iter_mut()) {
                let result = self.run(work, pace, contender);
                let said = match &result {
                    Ok(figures) => figures.summary(work),
                    Err(fault) => fault.to_string(),
                };
                let pace_name = if pace == Pace::Full { "full speed" } else { "paced" };
                let name = contender.candidate.as_str();
                eprintln!("{:<13} {pace_name:<10} round {round}: {name:<15} {said}", work.as_str());
                match result {
                    Err(Fault::Interrupted) => return Err(Failure::Interrupted),
                    Err(fault) => row.faults.push(fault.to_string()),
                    Ok(figures) if pace == Pace::Full => row.full.push(figures),
                    Ok(figures) => row.paced.push(figures),
                }
            }
        }
        Ok(())
    }

    fn run(&mut self, work: Work, pace: Pace, contender: &Contender) -> Result<Figures, Fault> {
        let window = match pace {
            Pace::Full => self.options.window_full(),
            Pace::Rate(_) => self.options.window_paced(),
        };
        let plan = Plan { work, pace, target: contender.listen, warm_up: WARM_UP, window };
        let root = contender.process.id();
        let outcome = self.site.run(&plan, || Reading::take(root, self.cpus))?;
        let Outcome { tally, elapsed, before, after } = outcome;
        Figures::of(&tally, elapsed, &before.until(&after)).ok_or(Fault::Stalled)
    }
}

/// Holds the configurations; removed with all that is in it.
struct Directory(PathBuf);

impl Directory {
    fn create() -> io::Result<Self> {
        let path = env::temp_dir().join(format!("ringmain-bench-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} could not be removed: {error}", self.0.display());
        }
    }
}

impl Failure {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::TwoCpusNeeded => "two_cpus_needed",
            Self::CongestionForbidden => "congestion_forbidden",
            Self::NoCandidates => "no_candidates",
            Self::Interrupted => "interrupted",
            Self::Host(_) => "host_error",
        }
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            // What shells report for SIGINT.
            Self::Interrupted => 130,
            _ => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::TwoCpusNeeded => f.write_str(": the proxy and the load need a CPU each"),
            Self::CongestionForbidden => write!(
                f,
                ": run as root, or add {} to net.ipv4.tcp_allowed_congestion_control",
                sockets::CONGESTION
            ),
            Self::NoCandidates | Self::Interrupted => Ok(()),
            Self::Host(error) => write!(f, ": {error}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Host(error)
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Host(errno.into())
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Interrupted => Self::Interrupted,
            Fault::Host(errno) => errno.into(),
            _ => Self::Host(io::Error::other(fault.as_str())),
        }
    }
}

/// Half of what the slowest carries: nobody queues, and everybody does the same work.
const OFFERED_SHARE: f64 = 0.5;
/// As many as keep a candidate from running out of ports for its connections in TIME_WAIT.
const BACKENDS: u8 = 16;
const WARM_UP: Duration = Duration::from_millis(200);
/// Time for the connections that have shown that candidates accept to end.
const SETTLING: Duration = Duration::from_millis(300);
