//! Owns the order of a comparison: who is started, who runs when, at which rate. It takes figures,
//! and leaves their presentation to the report.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::candidate::Candidate;
use super::congestion::{self, Pinned};
use super::contender::{Contender, Venue};
use super::cpus::{self, Cpus};
use super::failure::Failure;
use super::interrupt;
use super::memory::{Footprint, Memory, MemoryReport, MemoryRow};
use super::options::Options;
use super::process;
use super::report::{Comparison, Host};
use super::subject::{self, Speed, Subject};
use super::work::{Shape, Task, Work};
use super::works::{Figures, Row, WorkReport};
use crate::certificates::Identity;
use crate::clock::{Clock, seconds};
use crate::figures::{Run, SCHEMA, TOOL};
use crate::generate::{self, Between, Directory, Material, Middle, Signals};
use crate::report::{self, Progress};
use crate::sockets;

/// Measures, prints a table per work as it is done, and saves them all.
pub fn compare(options: &Options) -> Result<(), Failure> {
    report::check_output(
        &options.output,
        ["compare.json", "compare.hlog", "compare.html", "compare.txt"],
    )?;
    // Before anything is pinned, or the host seems to have one CPU.
    let survey = report::survey();
    let stop = interrupt::watch()?;
    let cpus = Cpus::choose(options.proxy_cpu, options.load_cpu)?.ok_or(Failure::TwoCpusNeeded)?;
    process::raise_descriptor_limit()?;
    let most = options.most_connections();
    generate::check_connections(most)?;
    let _pinned = pin_congestion()?;

    let directory = Directory::create()?;
    let material = Material::generate()?;
    material.authority.write(directory.path())?;
    let subjects = options.subjects();
    let with_tls = subjects.iter().any(|subject| subject.terms().is_some());
    let venue = Venue { cpus, directory: directory.path().to_owned(), with_tls, most };
    let start = |candidate, network| Contender::start(candidate, network, &venue);
    let contenders = start_all(options.candidates(), start, &stop, |told| eprintln!("{told}"))?;
    cpus::pin(cpus.load)?;

    let signals = Signals { interrupted: Arc::clone(&stop), ..Signals::default() };
    let clock = Clock::start();
    let progress = Progress::new(options.planned(&subjects, contenders.len() as u32));
    let (lingering, live) = (LINGERING, progress.live());
    let between = Between { clock, cpus, signals, material, lingering, live };
    let progress = RefCell::new(progress);
    let course = Course { between, venue, options, progress };
    let mut comparison = Comparison {
        schema: SCHEMA,
        tool: TOOL,
        command: std::env::args().collect(),
        begun: seconds(),
        host: Host::describe(survey, cpus)?,
        rounds: options.rounds(),
        seconds_paced: options.window_paced().as_secs_f64(),
        seconds_full: options.window_full().as_secs_f64(),
        contestants: contenders.iter().map(Contender::describe).collect(),
        works: Vec::new(),
        memory: Vec::new(),
        runs: Vec::new(),
    };
    println!("{}", comparison.header());
    let ended = course.all(&subjects, &contenders, &mut comparison);
    drop(course);
    let has_some = !comparison.works.is_empty() || !comparison.memory.is_empty();
    if has_some {
        // What there is when somebody interrupts it is worth keeping as well.
        comparison.save(&options.output)?;
    }
    ended
}

/// All take what the host has as default: candidates, agents and backends.
pub fn pin_congestion() -> Result<Option<Pinned>, Failure> {
    match Pinned::pin() {
        Ok(pinned) => Ok(Some(pinned)),
        Err(error) => {
            let (current, wanted) = (congestion::current()?, sockets::CONGESTION);
            eprintln!("warning: all sockets use {current}, as {wanted} can not be set: {error}");
            Ok(None)
        }
    }
}

/// All of them run from beginning to end; idle ones are quiet. Who does not start is told of, and
/// left out.
fn start_all<C>(
    candidates: impl Iterator<Item = Candidate>,
    start: impl Fn(Candidate, u8) -> Result<C, String>,
    stop: &AtomicBool,
    mut tell: impl FnMut(String),
) -> Result<Vec<C>, Failure> {
    let mut contenders = Vec::new();
    for (network, candidate) in (0..).zip(candidates) {
        match start(candidate, network) {
            Ok(contender) => contenders.push(contender),
            Err(reason) => tell(format!("{} is left out: {reason}", candidate.as_str())),
        }
        if stop.load(Ordering::Relaxed) {
            return Err(Failure::Interrupted);
        }
    }
    if contenders.is_empty() { Err(Failure::NoCandidates) } else { Ok(contenders) }
}

fn is_able(candidate: Candidate, subject: Subject) -> bool {
    subject.terms().is_none() || candidate.ends_tls()
}

/// The rate that was asked for, or one that all have carried; none: nobody has carried anything.
fn offered(asked: Option<f64>, rows: &[Row]) -> Option<f64> {
    let slowest = rows.iter().filter_map(Row::max_rate).map(|rate| rate.median);
    asked.or_else(|| slowest.min_by(f64::total_cmp).map(|rate| rate * OFFERED_SHARE))
}

/// Something whose units are to be carried.
#[derive(Clone, Copy)]
struct Job {
    subject: Subject,
    shape: Shape,
}

struct Course<'a> {
    between: Between,
    venue: Venue,
    options: &'a Options,
    progress: RefCell<Progress>,
}

impl Course<'_> {
    /// Prints a table of each subject as it is done.
    fn all(
        &self,
        subjects: &[Subject],
        contenders: &[Contender],
        comparison: &mut Comparison,
    ) -> Result<(), Failure> {
        for &subject in subjects {
            let able = |contender: &&Contender| is_able(contender.candidate(), subject);
            let able: Vec<&Contender> = contenders.iter().filter(able).collect();
            match (subject.task(), subject) {
                (Task::Carry(shape), _) => {
                    let new = |contender: &&Contender| Row::new(contender.candidate());
                    let rows = able.iter().map(new).collect();
                    let mut report = WorkReport { work: subject, shape, offered: None, rows };
                    let job = Job { subject, shape };
                    let ended = self.measure(job, &able, &mut report, &mut comparison.runs);
                    if report.has_figures() || ended.is_ok() {
                        self.progress.borrow().aside(|| println!("{}", report.table()));
                        comparison.works.push(report);
                    }
                    ended?;
                }
                (Task::Hold, Subject::Work(work)) => {
                    let report = self.weigh(work, &able)?;
                    self.progress.borrow().aside(|| println!("{}", report.table()));
                    comparison.memory.push(report);
                }
                // No protocol is held.
                (Task::Hold, Subject::Protocol { .. }) => {}
            }
        }
        Ok(())
    }

    /// First all rounds at full speed; they also tell which rate everybody carries. Then all
    /// rounds at that rate.
    fn measure(
        &self,
        job: Job,
        contenders: &[&Contender],
        report: &mut WorkReport,
        runs: &mut Vec<Run>,
    ) -> Result<(), Failure> {
        self.rounds(job, Speed::Full, contenders, &mut report.rows, &mut |_| ())?;
        report.offered = offered(self.options.rate(job.subject), &report.rows);
        // Without a rate nobody has carried anything, and the faults say why.
        if let Some(rate) = report.offered {
            let keep = &mut |run| runs.push(run);
            self.rounds(job, Speed::Rate(rate), contenders, &mut report.rows, keep)?;
        }
        Ok(())
    }

    /// The candidates take turns, so that what disturbs the host for a while disturbs them all.
    fn rounds(
        &self,
        job: Job,
        speed: Speed,
        contenders: &[&Contender],
        rows: &mut [Row],
        keep: &mut dyn FnMut(Run),
    ) -> Result<(), Failure> {
        for round in 1..=self.options.rounds() {
            for (contender, row) in contenders.iter().zip(rows.iter_mut()) {
                let result = self.run(job, speed, contender)?;
                self.tell(job, speed, round, contender, &result);
                match result {
                    Err(fault) => row.faults.push(fault),
                    Ok((figures, run)) => {
                        let of = if speed == Speed::Full { &mut row.full } else { &mut row.paced };
                        of.push(figures);
                        keep(run);
                    }
                }
            }
        }
        Ok(())
    }

    fn tell(
        &self,
        job: Job,
        speed: Speed,
        round: u32,
        contender: &Contender,
        result: &Result<(Figures, Run), String>,
    ) {
        let (name, work) = (contender.candidate().as_str(), job.subject.as_str());
        let (how, window) = match speed {
            Speed::Full => ("full speed", self.options.window_full()),
            Speed::Rate(_) => ("paced", self.options.window_paced()),
        };
        let what = format!("{work:<17} {how:<10} round {round}: {name:<15}");
        let mut progress = self.progress.borrow_mut();
        match result {
            Ok((figures, run)) => {
                progress.ended(WARM_UP + window, &what, run, &figures.summary(job.shape));
            }
            Err(fault) => progress.step(WARM_UP + window, &format!("{what} {fault}")),
        }
    }

    /// The inner error is why the run does not count.
    fn run(
        &self,
        job: Job,
        speed: Speed,
        contender: &Contender,
    ) -> Result<Result<(Figures, Run), String>, Failure> {
        let window = match speed {
            Speed::Full => self.options.window_full(),
            Speed::Rate(_) => self.options.window_paced(),
        };
        let order = job.subject.order(job.shape, speed, WARM_UP, window);
        let sealed = |identity: Identity| contender.listen.with(identity).into();
        let middle = Middle {
            name: contender.candidate().as_str(),
            process: contender.process.id(),
            plain: contender.listen.plain.into(),
            sealed: &sealed,
            backends: contender.backends(),
        };
        match self.between.run(&middle, &order) {
            Ok(carried) => {
                let figures = Figures::of(job.shape, &carried);
                Ok(figures.map(|figures| (figures, carried.run)))
            }
            Err(generate::Failure::Interrupted) => Err(Failure::Interrupted),
            Err(failure) => Ok(Err(format!("{}: {failure}", failure.as_str()))),
        }
    }

    /// Memory that was once given to a process seldom comes back, so every round has a fresh one.
    fn weigh(&self, work: Work, contenders: &[&Contender]) -> Result<MemoryReport, Failure> {
        let mut rows: Vec<MemoryRow> =
            contenders.iter().map(|contender| MemoryRow::new(contender.candidate())).collect();
        for round in 1..=self.options.rounds().min(MEMORY_ROUNDS) {
            for (contender, row) in contenders.iter().zip(rows.iter_mut()) {
                let result = self.weigh_one(work, contender)?;
                let said = match &result {
                    Ok(memory) => memory.summary(),
                    Err(fault) => fault.clone(),
                };
                let name = contender.candidate().as_str();
                let what =
                    format!("{:<17} memory, round {round}: {name:<15} {said}", work.as_str());
                self.progress.borrow_mut().step(HOLDING, &what);
                match result {
                    Err(fault) => row.faults.push(fault),
                    Ok(memory) => row.runs.push(memory),
                }
            }
        }
        Ok(MemoryReport { work, connections: HELD, rows })
    }

    /// The inner error is why the run does not count.
    fn weigh_one(
        &self,
        work: Work,
        contender: &Contender,
    ) -> Result<Result<Memory, String>, Failure> {
        let (listen, process) = match contender.start_fresh(&self.venue) {
            Ok(started) => started,
            Err(reason) => return Ok(Err(format!("it does not start again: {reason}"))),
        };
        let root = process.id();
        let sealed = |identity: Identity| listen.with(identity).into();
        let middle = Middle {
            name: contender.candidate().as_str(),
            process: root,
            plain: listen.plain.into(),
            sealed: &sealed,
            backends: contender.backends(),
        };
        let counts = [FEW, FEW + HELD];
        let meter = move || Footprint::take(root);
        match self.between.hold(&middle, work.terms(), counts, QUIET, meter) {
            Ok([few, all]) => Ok(Ok(Memory::of(few, all, HELD))),
            Err(generate::Failure::Interrupted) => Err(Failure::Interrupted),
            Err(failure) => Ok(Err(format!("{}: {failure}", failure.as_str()))),
        }
    }
}

/// Half of what the slowest carries: nobody queues, and everybody does the same work.
const OFFERED_SHARE: f64 = 0.5;
/// How long a candidate may take to end what its clients have ended.
const LINGERING: Duration = Duration::from_secs(10);
pub const WARM_UP: Duration = Duration::from_millis(200);
/// Memory varies little from round to round.
pub const MEMORY_ROUNDS: u32 = 3;
/// Connections that are open when a proxy's memory is read first, and how many more the second
/// time, which make the difference.
const FEW: usize = 1000;
const HELD: usize = subject::HELD as usize;
/// Longer than a proxy takes to give back what it can.
const QUIET: Duration = Duration::from_secs(2);
/// A weighing as a whole: quiet twice, and the opening of connections.
pub const HOLDING: Duration = Duration::from_secs(6);
#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Protocol;

    /// Who starts of three, of whom NGINX is missing, and what is told of the others.
    fn started(stop: bool, tell: &mut Vec<String>) -> Result<Vec<(Candidate, u8)>, Failure> {
        let candidates = [Candidate::Haproxy, Candidate::Nginx, Candidate::Tokio];
        let start = |candidate, network| match candidate {
            Candidate::Nginx => Err("not_installed: apt-get install nginx".to_owned()),
            candidate => Ok((candidate, network)),
        };
        start_all(candidates.into_iter(), start, &AtomicBool::new(stop), |told| tell.push(told))
    }

    #[test]
    fn who_is_missing_is_named_with_the_remedy_and_left_out() {
        let mut told = Vec::new();
        let contenders = started(false, &mut told).unwrap();
        // Each in a network of its own.
        assert_eq!(contenders, [(Candidate::Haproxy, 0), (Candidate::Tokio, 2)]);
        assert_eq!(told, ["nginx is left out: not_installed: apt-get install nginx"]);
    }

    #[test]
    fn without_anybody_or_after_a_stop_there_is_no_comparison() {
        assert!(matches!(started(true, &mut Vec::new()), Err(Failure::Interrupted)));
        let nobody = |_, _| Err::<(), String>(String::new());
        let none = start_all(Candidate::ALL.into_iter(), nobody, &AtomicBool::new(false), drop);
        assert!(matches!(none, Err(Failure::NoCandidates)));
    }

    #[test]
    fn half_of_what_the_slowest_carried_is_offered_to_all() {
        let run = |rate| Figures {
            rate,
            cpu: 1.0,
            proxy_share: 1.0,
            proxy_cpu_busy: 1.0,
            load_cpu_busy: 1.0,
            latency: None,
        };
        let row = |candidate, rates: [f64; 3]| Row {
            full: rates.map(run).to_vec(),
            ..Row::new(candidate)
        };
        // The median of each counts, and who carried nothing is no measure.
        let rows = [
            row(Candidate::Nginx, [900.0, 100.0, 800.0]),
            row(Candidate::Tokio, [600.0, 700.0, 9_000.0]),
            Row::new(Candidate::Haproxy),
        ];
        assert_eq!(offered(None, &rows), Some(350.0));
        assert_eq!(offered(Some(50.0), &rows), Some(50.0));
        assert_eq!(offered(None, &rows[2..]), None);
    }

    #[test]
    fn only_who_ends_tls_is_asked_to() {
        let subject = |protocol| Subject::Protocol { protocol, connections: 1, size: 1 };
        let able = |of: Subject| Candidate::ALL.into_iter().filter(move |who| is_able(*who, of));
        assert_eq!(able(subject(Protocol::Ndjson)).count(), Candidate::ALL.len());
        for sealed in [subject(Protocol::SyslogTls), Subject::Work(Work::TlsIdle)] {
            assert!(able(sealed).all(Candidate::ends_tls));
        }
    }
}
