//! Owns `capacity`: its arguments, the searches it makes and where their results go.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use super::progress::Progress;
use super::stand::{Site, Stand, StandOptions, result_document};
use crate::judge::{Bounds, Ending, Objective, search};
use crate::report::{Capacity, Results, save, summary};

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    stand: StandOptions,
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
    let site = Site::prepare()?;
    let bounds = options.bounds();
    let mut stand = Stand::start(site, &options.stand)?;
    let (mut runs, mut found) = (Vec::new(), Vec::new());
    for protocol in options.stand.protocols() {
        let least = u64::from(bounds.most_runs()) * (bounds.window + bounds.warm_up).as_secs();
        eprintln!("{}, {}: at most {least} s", protocol.as_str(), options.slo);
        stand.take(protocol);
        let mut progress = Progress::new(bounds.window + bounds.warm_up);
        let (mut limit, made) =
            search(&mut stand, &options.slo, &bounds, &mut |event| progress.tell(&event));
        // The places of the runs are counted over all protocols.
        limit.trials.iter_mut().for_each(|trial| trial.run += runs.len());
        runs.extend(made);
        let is_over = matches!(limit.ending, Ending::Fault(_));
        found.push(Capacity {
            protocol: protocol.as_str().to_owned(),
            workers: 1,
            connections: bounds.connections,
            limit,
        });
        if is_over {
            break;
        }
    }
    if runs.is_empty() {
        let why = match found.into_iter().map(|of| of.limit.ending).next() {
            Some(Ending::Fault(why)) => why,
            _ => "no protocol was asked for".to_owned(),
        };
        return Err(Failure::NoRuns(why));
    }
    let mut results = Results::new(result_document(&stand, runs));
    results.capacity = found;
    for capacity in &results.capacity {
        print!("{}", summary(capacity, &results));
    }
    let html = save(&results, &options.output, "capacity")?;
    eprintln!("saved {}", html.display());
    Ok(())
}

impl Options {
    fn bounds(&self) -> Bounds {
        Bounds {
            start: self.start,
            lowest: (self.start / 64.0).max(1.0),
            highest: self.highest.max(self.start),
            precision: self.precision / 100.0,
            repeats: self.repeats,
            runs: self.runs,
            points: self.points,
            connections: self.stand.connections(),
            window: Duration::from_secs_f64(self.seconds),
            warm_up: Duration::from_millis(300),
        }
    }
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
