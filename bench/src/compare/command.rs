//! Owns `compare`: who is started, what all of them share, and where the results go. Who runs when
//! is the course's to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::candidate::Candidate;
use super::congestion::{self, Pinned};
use super::contender::{Contender, Venue};
use super::course::{Course, Findings};
use super::cpus::{self, Cpus};
use super::failure::Failure;
use super::interrupt;
use super::options::Options;
use super::process;
use super::report::{Comparison, Host};
use super::runner::Runner;
use crate::clock::{Clock, seconds};
use crate::figures::{SCHEMA, TOOL};
use crate::generate::{self, Between, Directory, Material, Signals};
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
    let runner = |contender| Runner { contender, between: &between, venue: &venue };
    let runners: Vec<Runner> = contenders.iter().map(runner).collect();
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
        found: Findings::default(),
    };
    println!("{}", comparison.header());
    let mut course = Course { options, progress };
    let ended = course.all(&subjects, &runners, &mut comparison.found);
    drop(course);
    if !comparison.found.is_empty() {
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

/// How long a candidate may take to end what its clients have ended.
const LINGERING: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

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
}
