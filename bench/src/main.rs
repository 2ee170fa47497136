//! Owns the command line of the bench; what the commands do is theirs.

mod balance;
mod calibrate;
mod capacity;
mod certificates;
mod clock;
mod compare;
mod figures;
mod fleet;
mod generate;
mod judge;
#[cfg(test)]
mod line;
mod peer;
mod plan;
mod probes;
mod report;
mod soak;
mod sockets;

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use compare::program::RingmainPath;

#[derive(Parser)]
#[command(about = "Load generator and comparison with peers for Ringmain")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure the balancing policies alone: evenness, keys moved, cost of a pick and of a table
    Balance(balance::Options),
    /// Measure what a network costs more than loopback, between two network namespaces
    Calibrate(Starting<calibrate::Options>),
    /// Find the highest rate that Ringmain carries within an objective
    Capacity(Starting<capacity::Options>),
    /// Measure Ringmain beside HAProxy, NGINX and two plain proxies
    Compare(Starting<compare::Options>),
    /// Say which differences between two files of results are real and which are noise
    Diff(report::DiffOptions),
    /// Say how many hosts a fleet needs, from measured costs, with the arithmetic
    Plan(Starting<plan::Options>),
    /// Measure what the health checks of many backends cost
    Probes(probes::Options),
    /// Make an HTML page of results that were kept
    Report(report::Options),
    /// Make one load, and say what became of it
    Run(Box<Starting<generate::Options>>),
    /// Keep Ringmain under load for hours, with faults, and look for drift
    Soak(Starting<soak::Options>),
    /// Run one of the plain proxies
    #[command(hide = true)]
    Peer(peer::Options),
}

/// The options of a command that starts a Ringmain, and which one that is.
#[derive(Args)]
struct Starting<T: Args> {
    #[command(flatten)]
    options: T,
    #[command(flatten)]
    path: RingmainPath,
}

impl Command {
    fn ringmain_path(&self) -> Option<&RingmainPath> {
        match self {
            Command::Calibrate(Starting { path, .. }) => Some(path),
            Command::Capacity(Starting { path, .. }) => Some(path),
            Command::Compare(Starting { path, .. }) => Some(path),
            Command::Plan(Starting { path, .. }) => Some(path),
            Command::Run(starting) => Some(&starting.path),
            Command::Soak(Starting { path, .. }) => Some(path),
            Command::Balance(_)
            | Command::Diff(_)
            | Command::Probes(_)
            | Command::Report(_)
            | Command::Peer(_) => None,
        }
    }
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    if let Some(Err(missing)) = command.ringmain_path().map(RingmainPath::choose) {
        eprintln!("{missing}");
        return ExitCode::from(2);
    }
    match command {
        Command::Balance(options) => {
            balance::balance(&options);
            ExitCode::SUCCESS
        }
        Command::Calibrate(of) => {
            ended("calibrate", calibrate::calibrate(&of.options), calibrate::Failure::exit_code)
        }
        Command::Capacity(of) => {
            ended("capacity", capacity::capacity(&of.options), capacity::Failure::exit_code)
        }
        Command::Compare(of) => {
            ended("compare", compare::compare(&of.options), compare::Failure::exit_code)
        }
        Command::Diff(options) => ended("diff", report::diff(&options), |_| 1),
        Command::Plan(of) => ended("plan", plan::plan(&of.options), plan::Failure::exit_code),
        Command::Probes(options) => ended("probes", probes::probes(&options), |_| 1),
        Command::Report(options) => ended("report", report::report(&options), |_| 1),
        Command::Run(of) => match generate::run(&of.options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("run: {}: {failure}", failure.as_str());
                ExitCode::from(failure.exit_code())
            }
        },
        Command::Soak(of) => ended("soak", soak::soak(&of.options), capacity::Failure::exit_code),
        Command::Peer(options) => ended("peer", peer::run(options), |_| 1),
    }
}

fn ended<E: Display>(
    command: &str,
    result: Result<(), E>,
    code: impl FnOnce(&E) -> u8,
) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{command}: {error}");
            ExitCode::from(code(&error))
        }
    }
}
