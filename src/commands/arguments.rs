//! The command line: what can be said, and which command it leads to.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::{check, demo, exit, run};

/// A load balancer for telemetry fleets: it spreads TCP connections of agents over aggregators,
/// with io_uring and one pinned thread per CPU.
#[derive(Debug, Parser)]
#[command(name = "ringmain", version, after_help = exit::HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT, then let sessions finish
    Run {
        /// The configuration; configs/reference.toml explains every key
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
    },
    /// Validate a configuration, and say what this host lacks for it
    Check {
        /// The configuration; configs/reference.toml explains every key
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        /// Show what each pool would contain now, too: ask all sources, and probe every backend
        /// once if its pool has a check
        #[arg(long)]
        resolve: bool,
    },
    /// Show the proxy at work with backends and clients of its own, then keep serving
    Demo {
        /// End after the tour; the exit code says whether everything arrived intact
        #[arg(long)]
        once: bool,
    },
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config } => run::run(&config),
        Command::Check { config, resolve } => check::check(&config, resolve),
        Command::Demo { once } => demo::demo(once),
    }
}
