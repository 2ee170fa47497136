//! Owns the order of the measurements: for each check the control plane of a process with one pool,
//! on a thread of its own, and the CPU time of that thread.

use std::fmt::Write as _;
use std::io;
use std::sync::mpsc::channel;
use std::time::Duration;

use ringmain::config::{self, Config};
use ringmain::control::{Control, ProbeTls};
use ringmain::observe::{Inquirer, PoolsReport};
use rustix::thread::{Pid, gettid};
use tokio::sync::oneshot;

use super::options::{Check, Options};
use super::{server, thread};
use crate::clock::{Clock, SECOND};

/// Why there are no figures.
#[derive(Debug)]
pub enum Failure {
    System(io::Error),
    /// The control plane could not begin, or has ended.
    Control(String),
    /// Probes failed, and those cost something else.
    Probes {
        failed: u64,
        of: u64,
    },
}

pub fn probes(options: &Options) -> Result<(), Failure> {
    let port = server::start().map_err(Failure::System)?;
    println!("{} backends, each probed every 2 s\n", options.backends);
    println!("| check | % of a CPU | us per probe | probes per second |");
    println!("|---|---|---|---|");
    for check in &options.checks {
        let Figures { share, each, rate } = measure(*check, options, port)?;
        println!("| {} | {:.2} | {each:.1} | {rate:.0} |", check.name(), 100.0 * share);
    }
    Ok(())
}

struct Figures {
    /// Of a CPU.
    share: f64,
    /// Microseconds.
    each: f64,
    /// Per second.
    rate: f64,
}

fn measure(check: Check, options: &Options, port: u16) -> Result<Figures, Failure> {
    let config = config(check, options.backends, port)?;
    let clock = Clock::start();
    let running = start(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::System)?;
    runtime.block_on(async {
        tokio::time::sleep(WARM_UP).await;
        let before = running.count().await?;
        let (began, ran_before) = (clock.now(), running.ran()?);
        tokio::time::sleep(Duration::from_secs(options.seconds.into())).await;
        let (ended, ran) = (clock.now(), running.ran()?);
        let after = running.count().await?;
        let (failed, of) = (after.failed - before.failed, after.all - before.all);
        if failed > 0 {
            return Err(Failure::Probes { failed, of });
        }
        let (ran, took) = ((ran - ran_before) as f64, (ended - began) as f64);
        Ok(Figures {
            share: ran / took,
            each: ran / 1000.0 / of as f64,
            rate: of as f64 * SECOND as f64 / took,
        })
    })
}

fn config(check: Check, backends: u32, port: u16) -> Result<Config, Failure> {
    let mut text = String::from(
        "[listener.l]\nlisten = \"127.0.0.1:1\"\npool = \"p\"\n[pool.p]\nbackends = [\n",
    );
    for number in 0..backends {
        // Writing to a text cannot fail.
        writeln!(text, "\"{}\",", server::address(number, port)).unwrap_or_default();
    }
    text.push_str("]\n[pool.p.health]\ninterval = \"2s\"\n");
    text.push_str(check.lines());
    config::parse(&text, "probes").map_err(|errors| Failure::Control(errors.to_string()))
}

/// A control plane that probes; it ends with this.
struct Running {
    thread: Pid,
    inquirer: Inquirer,
    _stop: oneshot::Sender<()>,
}

fn start(config: Config) -> Result<Running, Failure> {
    let (tell, told) = channel();
    let (stop, stopped) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return tell.send(Err(Failure::System(error))).unwrap_or_default(),
        };
        runtime.block_on(async {
            let control = match Control::new(&config, &ProbeTls::new(), 1) {
                Ok(control) => control,
                Err(error) => {
                    let failure = Failure::Control(error.to_string());
                    return tell.send(Err(failure)).unwrap_or_default();
                }
            };
            tell.send(Ok((gettid(), control.inquirer()))).unwrap_or_default();
            // As a task, as it is in the server.
            let running = tokio::spawn(control.run(|_| {}));
            // The sender is dropped, which is all that is waited for.
            stopped.await.unwrap_or_default();
            running.abort();
        });
    });
    let ended = |_| Failure::Control("its thread has ended".to_owned());
    let (thread, inquirer) = told.recv().map_err(ended)??;
    Ok(Running { thread, inquirer, _stop: stop })
}

/// Probes so far.
struct Count {
    all: u64,
    failed: u64,
}

impl Running {
    fn ran(&self) -> Result<u64, Failure> {
        thread::ran(self.thread).map_err(Failure::System)
    }

    async fn count(&self) -> Result<Count, Failure> {
        let ended = || Failure::Control("it answers no more".to_owned());
        let PoolsReport { pools, .. } = self.inquirer.ask().await.ok_or_else(ended)?;
        let mut count = Count { all: 0, failed: 0 };
        for (result, times) in
            pools.iter().flat_map(|pool| &pool.backends).flat_map(|row| &row.probes)
        {
            count.all += times;
            count.failed += if *result == "ok" { 0 } else { *times };
        }
        Ok(count)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::System(error) => error.fmt(f),
            Failure::Control(error) => write!(f, "the control plane: {error}"),
            Failure::Probes { failed, of } => {
                write!(
                    f,
                    "{failed} of {of} probes failed; give the host more CPUs, or fewer backends"
                )
            }
        }
    }
}

/// Until the jitter has spread the first probes.
const WARM_UP: Duration = Duration::from_secs(6);
