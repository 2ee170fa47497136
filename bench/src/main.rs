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
mod peer;
mod plan;
mod probes;
mod report;
mod soak;
mod sockets;

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    Calibrate(calibrate::Options),
    /// Find the highest rate that Ringmain carries within an objective
    Capacity(capacity::Options),
    /// Measure Ringmain beside HAProxy, NGINX and two plain proxies
    Compare(compare::Options),
    /// Say which differences between two files of results are real and which are noise
    Diff(report::DiffOptions),
    /// Say how many hosts a fleet needs, from measured costs, with the arithmetic
    Plan(plan::Options),
    /// Measure what the health checks of many backends cost
    Probes(probes::Options),
    /// Make an HTML page of results that were kept
    Report(report::Options),
    /// Make one load, and say what became of it
    Run(Box<generate::Options>),
    /// Keep Ringmain under load for hours, with faults, and look for drift
    Soak(soak::Options),
    /// Run one of the plain proxies
    #[command(hide = true)]
    Peer(peer::Options),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Balance(options) => {
            balance::balance(&options);
            ExitCode::SUCCESS
        }
        Command::Calibrate(options) => ended("calibrate", calibrate::calibrate(&options)),
        Command::Capacity(options) => ended("capacity", capacity::capacity(&options)),
        Command::Compare(options) => match compare::compare(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("compare: {failure}");
                ExitCode::from(failure.exit_code())
            }
        },
        Command::Diff(options) => ended("diff", report::diff(&options)),
        Command::Plan(options) => ended("plan", plan::plan(&options)),
        Command::Probes(options) => ended("probes", probes::probes(&options)),
        Command::Report(options) => ended("report", report::report(&options)),
        Command::Run(options) => match generate::run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("run: {}: {failure}", failure.as_str());
                ExitCode::from(failure.exit_code())
            }
        },
        Command::Soak(options) => ended("soak", soak::soak(&options)),
        Command::Peer(options) => ended("peer", peer::run(options)),
    }
}

fn ended<E: Display>(command: &str, result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{command}: {error}");
            ExitCode::FAILURE
        }
    }
}
