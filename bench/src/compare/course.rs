//! Owns the order of a comparison: who is started, who runs when, at which rate. It takes figures,
//! and leaves their presentation to the report.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, fs, io};

use rustix::io::Errno;

use super::congestion::{self, Pinned};
use super::contender::{Contender, Venue};
use super::cpus::{self, Cpus};
use super::failure::Failure;
use super::interrupt;
use super::memory::{Footprint, Memory, MemoryReport, MemoryRow};
use super::options::Options;
use super::process;
use super::report::{Comparison, Host};
use super::usage::Reading;
use super::works::{Figures, Row, WorkReport};
use crate::certificates::Authority;
use crate::load::{Fault, Held, Hold, Outcome, Pace, Plan, Shape, Site, Task, Work, sockets};

/// Measures, prints a table per work as it is done, and saves them all.
pub fn compare(options: &Options) -> Result<(), Failure> {
    let stop = interrupt::watch()?;
    let cpus = Cpus::choose(options.proxy_cpu, options.load_cpu)?.ok_or(Failure::TwoCpusNeeded)?;
    process::raise_descriptor_limit()?;
    let _pinned = pin_congestion()?;

    let directory = Directory::create()?;
    let authority = Authority::generate()?;
    authority.write(&directory.0)?;
    let with_tls = options.works().any(|work| work.terms().is_some());
    let venue = Venue { cpus, directory: directory.0.clone(), with_tls };
    let mut site = Site::new(Arc::clone(&stop), authority.root().clone())?;
    let contenders = start_all(options, &venue, &mut site, &stop)?;
    cpus::pin(cpus.load)?;
    site.idle(SETTLING)?;

    let mut course = Course { site, venue, options };
    let mut comparison = Comparison {
        host: Host::describe(cpus)?,
        rounds: options.rounds(),
        seconds_paced: options.window_paced().as_secs_f64(),
        seconds_full: options.window_full().as_secs_f64(),
        contestants: contenders.iter().map(Contender::describe).collect(),
        works: Vec::new(),
        memory: Vec::new(),
    };
    println!("{}", comparison.header());
    for work in options.works() {
        let able =
            |contender: &&Contender| work.terms().is_none() || contender.candidate().ends_tls();
        let able: Vec<&Contender> = contenders.iter().filter(able).collect();
        match work.task() {
            Task::Carry(shape) => {
                let report = course.measure(Job { work, shape }, &able)?;
                println!("{}", report.table());
                comparison.works.push(report);
            }
            Task::Hold => {
                let report = course.weigh(work, &able)?;
                println!("{}", report.table());
                comparison.memory.push(report);
            }
        }
    }
    comparison.save(&options.output)?;
    Ok(())
}

/// For the candidates it is as good as can be; the bench's own sockets have to have it.
pub fn pin_congestion() -> Result<Option<Pinned>, Failure> {
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

/// All of them run from beginning to end; idle ones are quiet.
fn start_all(
    options: &Options,
    venue: &Venue,
    site: &mut Site,
    stop: &AtomicBool,
) -> Result<Vec<Contender>, Failure> {
    let mut contenders = Vec::new();
    for (network, candidate) in (0..).zip(options.candidates()) {
        let backends = site.add_backends(network, BACKENDS)?;
        match Contender::start(candidate, backends, venue) {
            Ok(contender) => contenders.push(contender),
            Err(reason) => eprintln!("{} is left out: {reason}", candidate.as_str()),
        }
        if stop.load(Ordering::Relaxed) {
            return Err(Failure::Interrupted);
        }
    }
    if contenders.is_empty() { Err(Failure::NoCandidates) } else { Ok(contenders) }
}

/// A work whose units are to be carried.
#[derive(Clone, Copy)]
struct Job {
    work: Work,
    shape: Shape,
}

struct Course<'a> {
    site: Site,
    venue: Venue,
    options: &'a Options,
}

impl Course<'_> {
    /// First all rounds at full speed; they also tell which rate everybody carries. Then all
    /// rounds at that rate.
    fn measure(&mut self, job: Job, contenders: &[&Contender]) -> Result<WorkReport, Failure> {
        let mut rows: Vec<Row> =
            contenders.iter().map(|contender| Row::new(contender.candidate())).collect();
        self.rounds(job, Pace::Full, contenders, &mut rows)?;
        let slowest = rows.iter().filter_map(Row::max_rate).map(|rate| rate.median);
        let offered = match self.options.rate(job.work) {
            Some(rate) => Some(rate),
            None => slowest.min_by(f64::total_cmp).map(|rate| rate * OFFERED_SHARE),
        };
        // Without a rate nobody has carried anything, and the faults say why.
        if let Some(rate) = offered {
            self.rounds(job, Pace::Rate(rate), contenders, &mut rows)?;
        }
        Ok(WorkReport { work: job.work, shape: job.shape, offered, rows })
    }

    /// The candidates take turns, so that what disturbs the host for a while disturbs them all.
    fn rounds(
        &mut self,
        job: Job,
        pace: Pace,
        contenders: &[&Contender],
        rows: &mut [Row],
    ) -> Result<(), Failure> {
        for round in 1..=self.options.rounds() {
            for (contender, row) in contenders.iter().zip(rows.iter_mut()) {
                let result = self.run(job, pace, contender);
                let said = match &result {
                    Ok(figures) => figures.summary(job.shape),
                    Err(fault) => fault.to_string(),
                };
                let pace_name = if pace == Pace::Full { "full speed" } else { "paced" };
                progress(job.work, pace_name, round, contender, &said);
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

    fn run(&mut self, job: Job, pace: Pace, contender: &Contender) -> Result<Figures, Fault> {
        let window = match pace {
            Pace::Full => self.options.window_full(),
            Pace::Rate(_) => self.options.window_paced(),
        };
        let (shape, terms) = (job.shape, job.work.terms());
        let target = contender.listen.of(job.work);
        let plan = Plan { shape, terms, pace, target, warm_up: WARM_UP, window };
        let (root, cpus) = (contender.process.id(), self.venue.cpus);
        let outcome = self.site.run(&plan, || Reading::take(root, cpus))?;
        let Outcome { tally, elapsed, before, after } = outcome;
        Figures::of(&tally, elapsed, &before.until(&after)).ok_or(Fault::Stalled)
    }

    /// Memory that was once given to a process seldom comes back, so every round has a fresh one.
    fn weigh(&mut self, work: Work, contenders: &[&Contender]) -> Result<MemoryReport, Failure> {
        let mut rows: Vec<MemoryRow> =
            contenders.iter().map(|contender| MemoryRow::new(contender.candidate())).collect();
        for round in 1..=self.options.rounds().min(MEMORY_ROUNDS) {
            for (contender, row) in contenders.iter().zip(rows.iter_mut()) {
                let result = self.weigh_one(work, contender);
                let said = match &result {
                    Ok(memory) => memory.summary(),
                    Err(fault) => fault.to_string(),
                };
                progress(work, "memory", round, contender, &said);
                match result {
                    Err(Fault::Interrupted) => return Err(Failure::Interrupted),
                    Err(fault) => row.faults.push(fault.to_string()),
                    Ok(memory) => row.runs.push(memory),
                }
            }
        }
        Ok(MemoryReport { work, connections: HELD, rows })
    }

    fn weigh_one(&mut self, work: Work, contender: &Contender) -> Result<Memory, Fault> {
        let (listen, process) = contender.start_fresh(&self.venue).map_err(|reason| {
            eprintln!("{} does not start again: {reason}", contender.candidate().as_str());
            Fault::ConnectFailed
        })?;
        self.site.idle(SETTLING)?;
        let (terms, target) = (work.terms(), listen.of(work));
        let hold = Hold { terms, target, few: FEW, all: FEW + HELD, quiet: QUIET };
        let root = process.id();
        let Held { few, all } = self.site.hold(&hold, || Footprint::take(root))?;
        Ok(Memory::of(few, all, HELD))
    }
}

/// A line on how it goes on.
fn progress(work: Work, kind: &str, round: u32, contender: &Contender, said: &str) {
    let (work, name) = (work.as_str(), contender.candidate().as_str());
    eprintln!("{work:<17} {kind:<10} round {round}: {name:<15} {said}");
}

/// Holds certificates, configurations and logs; removed with all that is in it.
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

/// Half of what the slowest carries: nobody queues, and everybody does the same work.
const OFFERED_SHARE: f64 = 0.5;
/// As many as keep a candidate from running out of ports for its connections in TIME_WAIT.
const BACKENDS: u8 = 16;
const WARM_UP: Duration = Duration::from_millis(200);
/// Time for the connections that have shown that candidates accept to end.
const SETTLING: Duration = Duration::from_millis(300);
/// Memory varies little from round to round.
const MEMORY_ROUNDS: u32 = 3;
/// Connections that are open when a proxy's memory is read first, and how many more the second
/// time, which make the difference.
const FEW: usize = 16;
const HELD: usize = 2000;
/// Longer than a proxy takes to give back what it can.
const QUIET: Duration = Duration::from_secs(2);
