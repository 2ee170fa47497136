//! Owns the command line of the bench; what the commands do is theirs.

mod balance;
mod certificates;
mod clock;
mod compare;
mod figures;
mod judge;
mod load;
mod peer;
mod probes;

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
    /// Measure Ringmain beside HAProxy, NGINX and two plain proxies
    Compare(compare::Options),
    /// Measure what the health checks of many backends cost
    Probes(probes::Options),
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
        Command::Compare(options) => match compare::compare(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("compare: {failure}");
                ExitCode::from(failure.exit_code())
            }
        },
        Command::Probes(options) => match probes::probes(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("probes: {failure}");
                ExitCode::FAILURE
            }
        },
        Command::Peer(options) => match peer::run(options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("peer: {error}");
                ExitCode::FAILURE
            }
        },
    }
}
