//! Owns the command `run`: from its arguments to one run, what is printed of it, and its files.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::Clock;
use crate::compare::congestion::Pinned;
use crate::compare::cpus::Cpus;
use crate::compare::interrupt;
use crate::compare::process::raise_descriptor_limit;
use crate::figures::{Document, Host, write_log};
use crate::report::{check_files, survey};

use super::agents::Signals;
use super::bench::{Bench, Outcome, Route};
use super::check;
use super::failure::Failure;
use super::network::Network;
use super::options::Options;
use super::order::Order;
use super::proxy;
use super::screen;

/// One run, and what is to be seen of it.
pub fn run(options: &Options) -> Result<(), Failure> {
    // Before anything is pinned, or the host seems to have one CPU.
    let host = survey();
    let order = options.order()?;
    let bench = prepare(options, &order)?;
    let _pinned = pin_congestion(&bench.route);
    if options.check_yourself {
        return check::check(bench);
    }
    // What can not be is said before anything else.
    bench.check(&order)?;
    if matches!(bench.route, Route::Ringmain { .. }) {
        proxy::found()?;
    }
    if let Some(name) = &options.output {
        check_files([name.with_extension("json"), name.with_extension("hlog")])
            .map_err(|(path, error)| Failure::Output(path, error))?;
    }
    let begun = wall_clock();
    print!("{}", screen::heading(&order, &bench));
    let outcome = bench.run(&order, &mut |watched| {
        println!("{}", screen::second(watched));
        // A line that is not shown at once is no harm.
        io::stdout().flush().unwrap_or_default();
    })?;
    print!("{}", screen::result(&order, &outcome));
    match &options.output {
        Some(name) => save(name, begun, host, outcome).map_err(Failure::host("the figures")),
        None => Ok(()),
    }
}

fn prepare(options: &Options, order: &Order) -> Result<Bench, Failure> {
    raise_descriptor_limit().map_err(Failure::host("the limit of descriptors"))?;
    let cpus = Cpus::choose(options.proxy_cpu, options.load_cpu);
    let cpus = cpus.map_err(Failure::host("the CPUs of this process"))?.ok_or_else(|| {
        Failure::Options(
            "the proxy and the load need a CPU each; give this process two, and check \
             --proxy-cpu and --load-cpu"
                .to_owned(),
        )
    })?;
    let interrupted = interrupt::watch().map_err(Failure::host("signals"))?;
    Ok(Bench {
        clock: Clock::start(),
        cpus,
        network: Network::Loopback,
        route: options.route()?,
        behaviour: options.behaviour(order)?,
        sources: options.sources.clone(),
        signals: Signals { interrupted, ..Signals::default() },
    })
}

/// bbr paces by a clock of its own and distorts what is measured on loopback. Where the host's
/// default may not be changed, the run says so and goes on.
fn pin_congestion(route: &Route) -> Option<Pinned> {
    if matches!(route, Route::Target { .. }) {
        return None;
    }
    let pinned = Pinned::pin();
    if let Err(error) = &pinned {
        eprintln!(
            "note: the host's congestion control stays as it is ({error}); run as root for cubic"
        );
    }
    pinned.ok()
}

fn save(name: &Path, begun: SystemTime, mut host: Host, outcome: Outcome) -> io::Result<()> {
    if let Some((version, configuration)) = outcome.proxy {
        host.versions.insert("ringmain".to_owned(), version);
        host.configurations.insert("ringmain.toml".to_owned(), configuration);
    }
    let runs = vec![outcome.run];
    let log = name.with_extension("hlog");
    let mut file = BufWriter::new(File::create(&log)?);
    write_log(&runs, begun, &mut file)?;
    file.flush()?;
    let seconds = begun.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let document = Document::new(std::env::args().collect(), seconds, host, runs);
    let json = name.with_extension("json");
    std::fs::write(&json, document.to_json().map_err(io::Error::other)?)?;
    println!("figures in {} and {}", json.display(), log.display());
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a result says when it was measured")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
