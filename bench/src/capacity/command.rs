//! Owns `capacity`: its arguments, the searches it makes and where their results go.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::asides;
use super::failure::Failure;
use super::stand::{LoadOptions, Site, described};
use crate::figures::{Host, Run};
use crate::generate::{Dialogue, Generator, Pace, Protocol};
use crate::judge::{Bounds, Ending, Estimate, Event, Fault, Load, Objective, System, search};
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
    let mut host = site.host();
    let (mut runs, mut found) = (Vec::new(), Vec::new());
    let mut course = options.course();
    site.show_on(course.progress.live());
    let mut ended = Ok(());
    'all: for protocol in each_once(&options.protocol) {
        let ceiling = match options.ceiling(&site, protocol, &mut runs, &mut course) {
            Ok(ceiling) => ceiling,
            // What was measured before is worth keeping.
            Err(failure) if !runs.is_empty() => {
                ended = Err(failure);
                break 'all;
            }
            Err(failure) => return Err(failure),
        };
        for workers in each_once(&options.workers) {
            let ceiling = (ceiling, &mut course);
            let capacity = options.search(&site, protocol, workers, ceiling, &mut runs, &mut host);
            let is_over = matches!(capacity.limit.ending, Ending::Fault(_));
            found.push(capacity);
            if is_over {
                break 'all;
            }
        }
    }
    drop(course);
    let is_interrupted = site.is_interrupted();
    if let [Capacity { limit, .. }] = &found[..]
        && let Ending::Fault(why) = &limit.ending
        && limit.trials.is_empty()
        && !is_interrupted
    {
        return Err(Failure::NoRuns(why.clone()));
    }
    let mut results = Results::new(site.document(host, runs));
    results.capacity = found;
    for capacity in &results.capacity {
        print!("{}", summary(capacity, &results));
    }
    let html = save(&results, &options.output, "capacity")?;
    if is_interrupted {
        return Err(Failure::Interrupted(Some(html)));
    }
    eprintln!("saved {}", html.display());
    ended
}

impl Options {
    /// A generator for each protocol, all of which can make their runs: what can not be is found
    /// out before the first takes its minutes.
    fn able(&self, site: &Site) -> Result<Vec<Generator>, Failure> {
        let Bounds { start, connections, window, warm_up, .. } = self.bounds();
        let load = Load { rate: Some(start), connections, window, warm_up };
        let (workers, passthrough) = (self.workers[0], self.load.passthrough);
        let generators = self.protocol.iter().map(|&protocol| {
            site.through_ringmain(self.load.order(protocol), workers, passthrough)
        });
        let generators: Vec<Generator> = generators.collect();
        let checked = generators.iter().try_for_each(|one| one.check(&load));
        checked.map(|()| generators).map_err(|fault| Failure::NoRuns(fault.to_string()))
    }

    /// Units per second that agents and backends carry with nobody between them, as fast as they
    /// can: what is found near it is their limit.
    fn ceiling(
        &self,
        site: &Site,
        protocol: Protocol,
        runs: &mut Vec<Run>,
        course: &mut Course,
    ) -> Result<Option<f64>, Failure> {
        let mut order = self.load.order(protocol);
        // An open loop has many under way on a connection when it falls behind, and so has this.
        order.groups.iter_mut().for_each(|group| group.pace = Pace::Closed { depth: DEPTH });
        let mut generator = site.direct(order);
        let Bounds { connections, window, warm_up, .. } = self.bounds();
        let load = Load { rate: None, connections, window, warm_up };
        let first = runs.len();
        for _ in 0..CEILINGS {
            match generator.run(&load) {
                Ok(run) => {
                    let what = format!("{}, the generator alone", protocol.as_str());
                    course.ended(&what, &run, "");
                    runs.push(run);
                }
                Err(Fault::Interrupted) => return Err(Failure::Interrupted(None)),
                Err(fault) => return Err(Failure::NoRuns(fault.to_string())),
            }
        }
        let made = runs[first..].iter().map(|run| run.achieved);
        let ceiling = Estimate::of(made).map(|of| of.median);
        let rate = ceiling.map_or("unknown".to_owned(), units::number);
        let said = format!("{}: the generator alone carries {rate}/s", protocol.as_str());
        course.progress.aside(|| eprintln!("{said}"));
        Ok(ceiling)
    }

    fn search(
        &self,
        site: &Site,
        protocol: Protocol,
        workers: u32,
        (ceiling, course): (Option<f64>, &mut Course),
        runs: &mut Vec<Run>,
        host: &mut Host,
    ) -> Capacity {
        let (bounds, name) = (self.bounds(), protocol.as_str().to_owned());
        let order = self.load.order(protocol);
        let mut generator =
            site.through_ringmain(order, workers, self.load.passthrough).with_ceiling(ceiling);
        let most = (course.each * bounds.most_runs()).as_secs();
        let said = format!("{name}, workers {workers}, {}: runs of {most} s at most", self.slo);
        course.progress.aside(|| eprintln!("{said}"));
        course.searches -= 1;
        let (mut limit, made) =
            search(&mut generator, &self.slo, &bounds, &mut |event| course.hear(&name, &event));
        // The places of the runs are counted over all searches.
        limit.trials.iter_mut().for_each(|trial| trial.run += runs.len());
        runs.extend(made);
        let load = limit.confirmed.map(|of| bounds.load(of.rate));
        let calls = load.and_then(|load| asides::calls(&mut generator, &load));
        // Who connects for each unit holds as many as it takes, whatever is asked for.
        let lasting = load.filter(|_| protocol.dialogue() != Dialogue::Visit);
        let memory = lasting.and_then(|load| {
            let order = self.load.order(protocol);
            let mut fresh = site.through_ringmain(order, workers, self.load.passthrough);
            asides::memory(&mut fresh, &load)
        });
        described(host, &format!("{name}, workers {workers}"), &generator);
        let (connections, shared) = (bounds.connections, generator.is_shared());
        Capacity { protocol: name, workers, connections, ceiling, shared, calls, memory, limit }
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
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(line: &str) -> Options {
        let words = std::iter::once("capacity").chain(line.split_ascii_whitespace());
        Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).options
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
}
