//! Owns `capacity`: its arguments, the searches it makes and where their results go.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::asides;
use super::failure::Failure;
use super::stand::{LoadOptions, Site, described};
use crate::figures::{Document, Host, Run};
use crate::generate::{Dialogue, Generator, Order, Pace, Protocol};
use crate::judge::{
    Bounds, Ending, Estimate, Event, Fault, Limit, Load, Objective, System, search,
};
use crate::report::{self, Capacity, Progress, Results, save, summary, units};

#[derive(Args)]
pub struct Options {
    /// What the load speaks
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Protocol::TcpEcho])]
    protocol: Vec<Protocol>,
    #[command(flatten)]
    load: LoadOptions,
    /// Threads of the Ringmain; several numbers are tried in turn
    #[arg(long, value_delimiter = ',', default_values_t = [1],
        value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Vec<u32>,
    /// What has to hold: pNN, max, loss, errors, duplicates, reordered, corrupted, cpu
    #[arg(long, default_value = "p99.9=5ms,loss=0,errors=0")]
    slo: Objective,
    /// Seconds of each run
    #[arg(long, default_value_t = 2.0, value_parser = parse_seconds)]
    seconds: f64,
    /// Units per second of the first run
    #[arg(long, default_value_t = 1000.0, value_parser = parse_rate)]
    start: f64,
    /// Units per second that are never exceeded
    #[arg(long, default_value_t = 1e6, value_parser = parse_rate)]
    highest: f64,
    /// How narrow the limit's interval is to be, to each side, in per cent
    #[arg(long, default_value_t = 3.0, value_parser = parse_percent)]
    precision: f64,
    /// Runs that ramp and bisection may take
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(4..=500))]
    runs: u32,
    /// Runs that confirm the rate found
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeats: u32,
    /// Runs for the curve of rate and latency
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(0..=100))]
    points: u32,
    /// Where capacity.json, capacity.hlog and capacity.html go
    #[arg(long, default_value = "target/bench")]
    output: PathBuf,
}

pub fn capacity(options: &Options) -> Result<(), Failure> {
    report::check_output(&options.output, report::files_of("capacity"))?;
    let site = Site::prepare()?;
    let generators = options.able(&site)?;
    let no_runs = |fault: Fault| Failure::NoRuns(fault.to_string());
    generators.first().map_or(Ok(()), Generator::find_proxy).map_err(no_runs)?;
    let course = options.course();
    site.show_on(course.progress.live());
    let host = site.host();
    let mut campaign = Campaign { options, site: &site, course, runs: Vec::new(), host };
    let (found, ended) = options.searched(&mut campaign);
    let Campaign { runs, host, course, .. } = campaign;
    drop(course);
    options.conclude(site.document(host, runs), found, ended, site.is_interrupted())
}

/// Who finds out what a protocol's limits are: with a stand on this host, or by what a test says.
trait Searching {
    /// Units per second that agents and backends carry with nobody between them.
    fn ceiling(&mut self, protocol: Protocol) -> Result<Option<f64>, Failure>;

    fn search(&mut self, protocol: Protocol, workers: u32, ceiling: Option<f64>) -> Capacity;
}

/// All searches of a command, with the runs that they have made.
struct Campaign<'a> {
    options: &'a Options,
    site: &'a Site,
    course: Course,
    runs: Vec<Run>,
    host: Host,
}

impl Options {
    /// A generator for each protocol, all of which can make their runs: what can not be is found
    /// out before the first takes its minutes.
    fn able(&self, site: &Site) -> Result<Vec<Generator>, Failure> {
        let load = self.bounds().load(self.start);
        let (workers, passthrough) = (self.workers[0], self.load.passthrough);
        let generators = self.protocol.iter().map(|&protocol| {
            site.through_ringmain(self.load.order(protocol), workers, passthrough)
        });
        let generators: Vec<Generator> = generators.collect();
        let checked = generators.iter().try_for_each(|one| one.check(&load));
        checked.map(|()| generators).map_err(|fault| Failure::NoRuns(fault.to_string()))
    }

    /// Each protocol with each number of workers. A fault ends it early, and what was found before
    /// is worth keeping.
    fn searched(&self, by: &mut impl Searching) -> (Vec<Capacity>, Result<(), Failure>) {
        let mut found = Vec::new();
        for protocol in each_once(&self.protocol) {
            let ceiling = match by.ceiling(protocol) {
                Ok(ceiling) => ceiling,
                Err(failure) => return (found, Err(failure)),
            };
            for workers in each_once(&self.workers) {
                let capacity = by.search(protocol, workers, ceiling);
                let is_over = matches!(capacity.limit.ending, Ending::Fault(_));
                found.push(capacity);
                if is_over {
                    return (found, Ok(()));
                }
            }
        }
        (found, Ok(()))
    }

    /// Shows and keeps what there is, unless it is nothing.
    fn conclude(
        &self,
        document: Document,
        found: Vec<Capacity>,
        ended: Result<(), Failure>,
        is_interrupted: bool,
    ) -> Result<(), Failure> {
        if document.runs.is_empty() && ended.is_err() {
            return ended;
        }
        if let [Capacity { limit, .. }] = &found[..]
            && let Ending::Fault(why) = &limit.ending
            && limit.trials.is_empty()
            && !is_interrupted
        {
            return Err(Failure::NoRuns(why.clone()));
        }
        let mut results = Results::new(document);
        results.capacity = found;
        for capacity in &results.capacity {
            print!("{}", summary(capacity, &results));
        }
        let html = save(&results, &self.output, "capacity")?;
        if is_interrupted {
            return Err(Failure::Interrupted(Some(html)));
        }
        eprintln!("saved {}", html.display());
        ended
    }

    /// Many under way on each connection, as an open loop has them when it falls behind.
    fn flood(&self, protocol: Protocol) -> Order {
        let mut order = self.load.order(protocol);
        order.groups.iter_mut().for_each(|group| group.pace = Pace::Closed { depth: DEPTH });
        order
    }

    fn course(&self) -> Course {
        let bounds = self.bounds();
        let each = bounds.window + bounds.warm_up;
        let protocols = each_once(&self.protocol).len() as u32;
        let searches = protocols * each_once(&self.workers).len() as u32;
        let per_search = bounds.usual_runs() + ASIDES;
        let ceilings = protocols * CEILINGS;
        let progress = Progress::new(each * (searches * per_search + ceilings));
        Course { progress, each, searches, per_search, ceilings }
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            start: self.start,
            lowest: (self.start / 64.0).max(1.0),
            highest: self.highest.max(self.start),
            precision: self.precision / 100.0,
            repeats: self.repeats,
            runs: self.runs,
            points: self.points,
            connections: self.load.connections,
            window: Duration::from_secs_f64(self.seconds),
            warm_up: Duration::from_millis(300),
        }
    }
}

impl Searching for Campaign<'_> {
    /// As fast as they can: what is found near it is their limit.
    fn ceiling(&mut self, protocol: Protocol) -> Result<Option<f64>, Failure> {
        let mut generator = self.site.direct(self.options.flood(protocol));
        let load = Load { rate: None, ..self.options.bounds().load(1.0) };
        self.measure_ceiling(&mut generator, protocol, &load)
    }

    fn search(&mut self, protocol: Protocol, workers: u32, ceiling: Option<f64>) -> Capacity {
        let Options { load: options, slo, .. } = self.options;
        let (bounds, name) = (self.options.bounds(), protocol.as_str().to_owned());
        let through =
            || self.site.through_ringmain(options.order(protocol), workers, options.passthrough);
        let (mut generator, mut fresh) = (through().with_ceiling(ceiling), through());
        let course = &mut self.course;
        let most = (course.each * bounds.most_runs()).as_secs();
        let said = format!("{name}, workers {workers}, {slo}: runs of {most} s at most");
        course.progress.aside(|| eprintln!("{said}"));
        course.searches -= 1;
        let (limit, made) =
            search(&mut generator, slo, &bounds, &mut |event| course.hear(&name, &event));
        let limit = self.keep(limit, made);
        let load = limit.confirmed.map(|of| bounds.load(of.rate));
        let calls = load.and_then(|load| asides::calls(&mut generator, &load));
        // Who connects for each unit holds as many as it takes, whatever is asked for.
        let lasting = load.filter(|_| protocol.dialogue() != Dialogue::Visit);
        let memory = lasting.and_then(|load| asides::memory(&mut fresh, &load));
        described(&mut self.host, &format!("{name}, workers {workers}"), &generator);
        let (connections, shared) = (bounds.connections, generator.is_shared());
        Capacity { protocol: name, workers, connections, ceiling, shared, calls, memory, limit }
    }
}

impl Campaign<'_> {
    fn measure_ceiling(
        &mut self,
        generator: &mut dyn System,
        protocol: Protocol,
        load: &Load,
    ) -> Result<Option<f64>, Failure> {
        let first = self.runs.len();
        for _ in 0..CEILINGS {
            match generator.run(load) {
                Ok(run) => {
                    let what = format!("{}, the generator alone", protocol.as_str());
                    self.course.ended(&what, &run, "");
                    self.runs.push(run);
                }
                Err(Fault::Interrupted) => return Err(Failure::Interrupted(None)),
                Err(fault) => return Err(Failure::NoRuns(fault.to_string())),
            }
        }
        let made = self.runs[first..].iter().map(|run| run.achieved);
        let ceiling = Estimate::of(made).map(|of| of.median);
        let rate = ceiling.map_or("unknown".to_owned(), units::number);
        let said = format!("{}: the generator alone carries {rate}/s", protocol.as_str());
        self.course.progress.aside(|| eprintln!("{said}"));
        Ok(ceiling)
    }

    /// The places of a search's runs are counted over all searches.
    fn keep(&mut self, mut limit: Limit, made: Vec<Run>) -> Limit {
        limit.trials.iter_mut().for_each(|trial| trial.run += self.runs.len());
        self.runs.extend(made);
        limit
    }
}

/// How far all searches are.
struct Course {
    progress: Progress,
    /// How long one run takes.
    each: Duration,
    /// Still to come, with so many runs each.
    searches: u32,
    per_search: u32,
    /// Runs of the generator alone that are still to come.
    ceilings: u32,
}

impl Course {
    fn ended(&mut self, what: &str, run: &Run, more: &str) {
        self.ceilings = self.ceilings.saturating_sub(1);
        self.progress.ended(self.each, what, run, more);
    }

    fn hear(&mut self, name: &str, event: &Event) {
        match event {
            Event::Begins { left } => {
                let later = self.searches * self.per_search + self.ceilings;
                self.progress.expect(self.each * (left + ASIDES + later));
            }
            Event::Ended { trial, run } => {
                let verdict = match trial.misses.as_slice() {
                    [] => "holds".to_owned(),
                    misses => format!("misses: {}", misses.join(", ")),
                };
                let what = format!("{name} {:<7}", trial.stage.as_str());
                self.progress.ended(self.each, &what, run, &verdict);
            }
        }
    }
}

fn each_once<T: Copy + PartialEq>(all: &[T]) -> Vec<T> {
    let mut once = Vec::new();
    for &one in all {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    once
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.2..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number from 0.2 to 600 is needed".to_owned()),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (1.0..=1e8).contains(&rate) => Ok(rate),
        _ => Err("a rate from 1 to 1e8 per second is needed".to_owned()),
    }
}

fn parse_percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent) if (0.5..=50.0).contains(&percent) => Ok(percent),
        _ => Err("a number from 0.5 to 50 is needed".to_owned()),
    }
}

/// Units under way on each connection of the generator alone.
const DEPTH: u32 = 32;
/// Runs of the generator alone: the least that can tell it from another day's.
const CEILINGS: u32 = 4;
/// Runs beside a search.
const ASIDES: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::sample;
    use crate::generate::Directory;
    use crate::judge::{Stage, Trial};
    use crate::line;
    use crate::report::{Loaded, capacity_sample};

    fn options(line: &str) -> Options {
        line::options(line)
    }

    fn refused(options: &Options) -> String {
        match options.able(&Site::bare()) {
            Ok(_) => panic!("nothing is refused"),
            Err(failure) => failure.to_string(),
        }
    }

    #[test]
    fn what_can_not_be_searched_is_refused_before_the_first_search() {
        let options = options("--protocol tcp-echo,ndjson,syslog-udp --workers 1");
        let said = refused(&options);
        assert!(said.contains("syslog-udp") && said.contains("protocol over TCP"), "{said}");
        let many = self::options("--protocol tcp-echo --connections 1000000");
        let said = refused(&many);
        // Which of the two comes first is the host's affair.
        assert!(said.contains("descriptors") || said.contains("ports"), "{said}");
    }

    /// Says what becomes of each search, and notes what it was asked for.
    struct Told {
        asked: Vec<String>,
        ceiling: fn(Protocol) -> Result<Option<f64>, Failure>,
        ending: fn(Protocol, u32) -> Ending,
    }

    impl Searching for Told {
        fn ceiling(&mut self, protocol: Protocol) -> Result<Option<f64>, Failure> {
            self.asked.push(protocol.as_str().to_owned());
            (self.ceiling)(protocol)
        }

        fn search(&mut self, protocol: Protocol, workers: u32, ceiling: Option<f64>) -> Capacity {
            self.asked.push(format!("{} {workers} {}", protocol.as_str(), ceiling.unwrap_or(0.0)));
            let protocol_name = protocol.as_str().to_owned();
            let mut capacity =
                Capacity { protocol: protocol_name, workers, ..capacity_sample([9.0, 8.0, 10.0]) };
            capacity.limit.ending = (self.ending)(protocol, workers);
            capacity
        }
    }

    fn told() -> Told {
        Told { asked: Vec::new(), ceiling: |_| Ok(Some(50.0)), ending: |_, _| Ending::Found }
    }

    #[test]
    fn each_protocol_is_searched_once_with_each_number_of_workers() {
        let options = options("--protocol ndjson,tcp-echo,ndjson --workers 1,2,1");
        let mut told = told();
        let (found, ended) = options.searched(&mut told);
        ended.unwrap();
        let of = |name: &str| vec![name.to_owned(), format!("{name} 1 50"), format!("{name} 2 50")];
        assert_eq!(told.asked, [of("ndjson"), of("tcp-echo")].concat());
        assert_eq!(found.len(), 4);
        // What is planned for are those, and the ceilings of both.
        let course = options.course();
        assert_eq!((course.searches, course.ceilings), (4, 2 * CEILINGS));
    }

    #[test]
    fn a_fault_ends_all_searches_and_leaves_those_before_it() {
        let options = options("--protocol ndjson,tcp-echo --workers 1,2");
        let ending = |protocol, workers| match (protocol, workers) {
            (Protocol::Ndjson, 2) => Ending::Fault("interrupted".to_owned()),
            _ => Ending::Found,
        };
        let (found, ended) = options.searched(&mut Told { ending, ..told() });
        assert_eq!((found.len(), ended.is_ok()), (2, true));
        let ceiling = |protocol| match protocol {
            Protocol::Ndjson => Ok(None),
            _ => Err(Failure::Interrupted(None)),
        };
        let (found, ended) = options.searched(&mut Told { ceiling, ..told() });
        assert_eq!((found.len(), ended.unwrap_err().exit_code()), (2, 130));
    }

    #[test]
    fn what_was_measured_is_kept_however_it_ends() {
        let directory = Directory::create().unwrap();
        let at = directory.path().join("results");
        let options = options(&format!("--output {}", at.display()));
        let document = |runs| Document::new(Vec::new(), 0, Host::default(), runs);
        let run = || sample("direct", 10.0);
        let kept = || {
            let text = std::fs::read_to_string(at.join("capacity.json")).unwrap();
            std::fs::remove_dir_all(&at).unwrap();
            let Ok(Loaded::Results(results)) = Loaded::from_json(&text) else { panic!("{text}") };
            (results.document.runs, results.capacity)
        };
        // An end before the first run leaves nothing.
        let interrupted = || Err(Failure::Interrupted(None));
        let failure = options.conclude(document(vec![]), vec![], interrupted(), true).unwrap_err();
        assert_eq!((failure.exit_code(), at.exists()), (130, false));
        let mut lost = capacity_sample([9.0, 8.0, 10.0]);
        (lost.limit.ending, lost.limit.limit) = (Ending::Fault("gone".to_owned()), None);
        let all = vec![lost.clone()];
        let failure = options.conclude(document(vec![run()]), all, Ok(()), false).unwrap_err();
        assert_eq!((failure.to_string().as_str(), at.exists()), ("no_runs: gone", false));
        // Afterwards it leaves what there is.
        for (found, ended) in [(vec![], interrupted()), (vec![lost], Ok(()))] {
            let document = document(vec![run()]);
            let failure = options.conclude(document, found.clone(), ended, true).unwrap_err();
            assert_eq!(failure.exit_code(), 130);
            assert!(failure.to_string().contains("capacity.html"), "{failure}");
            assert_eq!(kept(), (vec![run()], found));
        }
        let found = vec![capacity_sample([9.0, 8.0, 10.0])];
        let gone = || Err(Failure::NoRuns("gone".to_owned()));
        let failure = options.conclude(document(vec![run()]), found.clone(), gone(), false);
        assert_eq!(failure.unwrap_err().exit_code(), 1);
        assert_eq!(kept(), (vec![run()], found.clone()));
        options.conclude(document(vec![run()]), found.clone(), Ok(()), false).unwrap();
        assert_eq!(kept(), (vec![run()], found));
    }

    /// Carries ever more, until somebody wants it to end.
    struct Alone {
        loads: Vec<Load>,
        patience: usize,
    }

    impl System for Alone {
        fn run(&mut self, load: &Load) -> Result<Run, Fault> {
            self.loads.push(*load);
            match self.loads.len() {
                count if count > self.patience => Err(Fault::Interrupted),
                count => Ok(sample("direct", count as f64 * 100.0)),
            }
        }
    }

    #[test]
    fn a_ceiling_is_the_median_of_runs_as_fast_as_the_generator_can() {
        let (options, site) = (options("--connections 9"), Site::bare());
        for (patience, ceiling) in [(99, Some(250.0)), (2, None)] {
            let (course, host) = (options.course(), Host::default());
            let runs = vec![sample("ringmain", 1.0)];
            let mut campaign = Campaign { options: &options, site: &site, course, runs, host };
            let mut alone = Alone { loads: Vec::new(), patience };
            let load = Load { rate: None, ..options.bounds().load(1.0) };
            let measured = campaign.measure_ceiling(&mut alone, Protocol::TcpEcho, &load);
            assert_eq!(alone.loads, vec![load; (patience + 1).min(4)]);
            match ceiling {
                Some(_) => assert_eq!(measured.unwrap(), ceiling),
                None => assert_eq!(measured.unwrap_err().exit_code(), 130),
            }
            assert_eq!(campaign.runs.len(), 1 + patience.min(4));
        }
        // As many under way as there may be when an open loop falls behind.
        let groups = options.flood(Protocol::TcpEcho).groups;
        assert_eq!((groups.len(), groups[0].pace), (1, Pace::Closed { depth: 32 }));
    }

    #[test]
    fn trials_know_their_runs_among_all() {
        let (options, site) = (options(""), Site::bare());
        let (course, host) = (options.course(), Host::default());
        let runs = vec![sample("direct", 1.0)];
        let mut campaign = Campaign { options: &options, site: &site, course, runs, host };
        for rates in [[10.0, 20.0], [30.0, 40.0]] {
            let made: Vec<Run> = rates.iter().map(|rate| sample("ringmain", *rate)).collect();
            let mut limit = capacity_sample([9.0, 8.0, 10.0]).limit;
            limit.trials = (0..2)
                .map(|run| Trial { stage: Stage::Ramp, rate: rates[run], misses: Vec::new(), run })
                .collect();
            let kept = campaign.keep(limit, made);
            for trial in kept.trials {
                assert_eq!(campaign.runs[trial.run].achieved, trial.rate);
            }
        }
        assert_eq!(campaign.runs.len(), 5);
    }

    #[test]
    fn bounds_are_as_the_line_says() {
        let bounds = options("--start 640 --highest 100 --precision 5 --seconds 3").bounds();
        assert_eq!((bounds.start, bounds.lowest, bounds.highest), (640.0, 10.0, 640.0));
        assert_eq!((bounds.precision, bounds.window), (0.05, Duration::from_secs(3)));
        assert_eq!(options("--start 10").bounds().lowest, 1.0);
    }
}
