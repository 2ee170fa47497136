//! Owns what a run looks like on a terminal: text from figures; it prints nothing.

use std::fmt::Write;

use crate::figures::{Busy, PERCENTILES, Run};
use crate::report::shares_table;

use super::bench::{Bench, Outcome, Route, Terminus};
use super::datagrams::BACKEND_ROOM;
use super::order::{Order, Pace};
use super::watch::Watched;

/// Before the run: what is to be done, and how long it takes.
pub fn heading(order: &Order, bench: &Bench) -> String {
    let route = match &bench.route {
        Route::Direct => "directly to the backends".to_owned(),
        Route::Ringmain { workers, passthrough: false } => {
            format!("through a Ringmain of {workers} worker(s)")
        }
        Route::Ringmain { workers, passthrough: true } => {
            format!("through a Ringmain of {workers} worker(s) that passes TLS through")
        }
        Route::Target { target, terminus: Terminus::Backends(_), .. } => {
            format!("to {target}, which passes TLS through")
        }
        Route::Target { target, .. } => format!("to {target}"),
    };
    let mut text = format!("{} {route}\n", order.name);
    if let Route::Target { target, terminus: Terminus::Target(trust), .. } = &bench.route
        && trust.is_blind()
    {
        text += &format!(
            "  INSECURE: no certificate is verified; whoever answers at {target} is believed\n"
        );
    }
    for group in &order.groups {
        let pace = match group.pace {
            Pace::Open { rate, arrivals, .. } => {
                format!("{rate} units/s, {}", format!("{arrivals:?}").to_lowercase())
            }
            Pace::Closed { depth } => format!("closed loop, {depth} at a time on each"),
        };
        let (protocol, agents) = (group.protocol.as_str(), group.agents);
        let name = if group.name == protocol { String::new() } else { format!("{}: ", group.name) };
        let what = if group.protocol.is_datagrams() { "sockets" } else { "connections" };
        // A string takes all that is written to it.
        writeln!(text, "  {name}{protocol}, {agents} {what}, {pace}").unwrap_or_default();
    }
    let (warm_up, window) = (order.warm_up.as_secs_f64(), order.window.as_secs_f64());
    let courses = order.groups.iter().filter_map(|group| group.pace.course(order.length()));
    let units: f64 = courses.map(|(course, _)| course.units()).sum();
    let bound = if units > 0.0 { format!(", {units:.0} units in all") } else { String::new() };
    text += &format!("  {warm_up} s to warm up, then {window} s that count{bound}\n");
    text
}

/// One line for each second.
pub fn second(watched: &Watched<'_>) -> String {
    let moment = &watched.moment;
    let mut line = format!(
        "{:>5.0} s  {:>9} sent/s {:>9} ended/s   p50 {:>9}  p99 {:>9}  max {:>9}   {} open",
        moment.at + 1.0,
        watched.sent,
        moment.achieved,
        duration(moment.p50),
        duration(moment.p99),
        duration(moment.max),
        moment.open,
    );
    if let (Some(cpu), Some(memory)) = (moment.cpu, moment.memory) {
        let memory = memory as f64 / f64::from(1 << 20);
        line += &format!("   proxy {:.0} % CPU, {memory:.1} MiB", cpu * 100.0);
    }
    if watched.left > 0 {
        line += &format!("   {} s left", watched.left);
    }
    line
}

/// After the run: what became of it.
pub fn result(order: &Order, outcome: &Outcome) -> String {
    let run = &outcome.run;
    let mut text = String::from("\n");
    let mut row = |name: &str, value: String| text += &format!("{name:<22} {value}\n");
    let offered = run.offered.map_or("closed loop".to_owned(), |rate| format!("{rate:.1}/s"));
    row("offered", offered);
    row("ended", format!("{:.1}/s, {:.2} MB/s of payload", run.achieved, run.bytes / 1e6));
    row("latency", latency(run));
    let counts = &run.counts;
    row(
        "units",
        format!(
            "{} sent, {} ended, {} lost ({} unanswered), {} duplicated, {} reordered, {} corrupted",
            counts.sent,
            counts.answered,
            counts.lost,
            outcome.tally.unanswered,
            counts.duplicated,
            counts.reordered,
            counts.corrupted
        ),
    );
    if order.groups.iter().any(|group| group.protocol.is_datagrams()) {
        row("of the lost", datagrams(outcome));
    }
    let errors: Vec<String> =
        counts.errors.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    row("errors", if errors.is_empty() { "none".to_owned() } else { errors.join(", ") });
    if order.groups.iter().any(|group| group.protocol.handshakes().is_some()) {
        let (full, resumed) = (outcome.tally.handshakes_full, outcome.tally.handshakes_resumed);
        row("handshakes", format!("{full} full, {resumed} resumed, in the window"));
    }
    if let Some(cost) = &run.cost {
        let per_unit = run.cpu_per_unit().map_or("-".to_owned(), |each| duration(each as u64));
        row("proxy, CPU per unit", per_unit);
        row(
            "proxy, CPU",
            format!(
                "{:.2} s of {:.0} s ({:.2} s user, {:.2} s system; softirq of its CPU {:.2} s)",
                cost.cpu_seconds, run.window, cost.user, cost.system, cost.softirq
            ),
        );
        let memory = cost.memory_pss as f64 / f64::from(1 << 20);
        row("proxy, memory", format!("{memory:.1} MiB, {} descriptors", cost.descriptors));
    }
    let lag = duration(run.generator.lag_max);
    row("generator", format!("{}; latest unit left {} after its time", busy(outcome), lag));
    let shares = shares_table(&[run]);
    if !shares.is_empty() {
        text += &format!("\n{shares}");
    }
    if outcome.placement.is_shared() {
        text += "note: the proxy's workers have every CPU, and the generator takes turns with \
                 them; the rate is the limit of all together\n";
    }
    if let Some(limit) = own_limit(run) {
        text += limit;
    }
    if run.counts.dropped > 0 {
        text += "note: what found no room in our own sockets is the generator's loss; send less";
        if outcome.room.is_some_and(|room| room < BACKEND_ROOM) {
            text += ", or give them room: raise net.core.rmem_max, or run as root";
        }
        text.push('\n');
    }
    text
}

/// What of their CPUs the agents and the backends have used.
fn busy(outcome: &Outcome) -> String {
    let Busy { generator, backends, .. } = outcome.run.generator;
    let (generator, backends) = (generator * 100.0, backends * 100.0);
    let placement = &outcome.placement;
    if placement.is_shared() {
        format!("{generator:.0} % of a CPU with its backends")
    } else if placement.is_one_for_both() {
        format!("{generator:.0} % of its CPU with its backends")
    } else {
        format!("{generator:.0} % of its CPU, its backends {backends:.0} % of theirs")
    }
}

/// What else is known of datagrams that are lost.
fn datagrams(outcome: &Outcome) -> String {
    let counts = &outcome.run.counts;
    let room = outcome.room.map_or(String::new(), |room| {
        format!(", where {:.1} MiB may wait", room as f64 / f64::from(1 << 20))
    });
    format!(
        "{} came after the patience for them, {} found no room in our own sockets{room}",
        counts.late, counts.dropped
    )
}

/// Says so where the figures are the generator's own limit.
pub fn own_limit(run: &Run) -> Option<&'static str> {
    let short = run.offered.is_some_and(|rate| run.achieved < rate * 0.995);
    // Backends may have a CPU of their own, and either may give out first.
    let busiest = run.generator.generator.max(run.generator.backends);
    let spent = busiest > 0.95 || (short && busiest > 0.9);
    spent.then_some(
        "note: the generator or its backends had no CPU left; the rate is their limit, and \
         latency is theirs as well\n",
    )
}

fn latency(run: &Run) -> String {
    let mut parts: Vec<String> = PERCENTILES
        .iter()
        .map(|(share, name)| format!("{name} {}", duration(run.latency.quantile(*share))))
        .collect();
    parts.push(format!("max {}", duration(run.latency.max())));
    parts.join("  ")
}

/// Nanoseconds for readers: three digits and a unit.
pub fn duration(nanoseconds: u64) -> String {
    let value = nanoseconds as f64;
    let (value, unit) = match nanoseconds {
        0..1_000 => (value, "ns"),
        1_000..1_000_000 => (value / 1e3, "us"),
        1_000_000..1_000_000_000 => (value / 1e6, "ms"),
        _ => (value / 1e9, "s"),
    };
    let digits = match value {
        _ if unit == "ns" => 0,
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::placement::Placement;
    use super::super::record::Tally;
    use super::*;
    use crate::compare::cpus::Cpus;

    fn outcome(workers: u32, cpus: &[usize], generator: f64, backends: f64) -> Outcome {
        let first = Cpus { proxy: cpus[cpus.len() - 1], load: cpus[0] };
        let run = Run {
            offered: Some(1_000.0),
            achieved: 980.0,
            generator: Busy { generator, backends, ..Busy::default() },
            ..crate::figures::sample("ringmain", 1_000.0)
        };
        let placement = Placement::choose(first, workers, cpus);
        Outcome { run, tally: Tally::default(), room: None, placement, proxy: None }
    }

    #[test]
    fn whoever_of_the_generator_has_no_cpu_left_is_its_limit() {
        let limited = |generator, backends| {
            own_limit(&outcome(1, &[0, 1, 2], generator, backends).run).is_some()
        };
        assert!(limited(0.96, 0.1) && limited(0.1, 0.96) && limited(0.2, 0.91));
        assert!(!limited(0.89, 0.89));
    }

    #[test]
    fn what_the_generator_has_of_cpus_is_said() {
        let order = Order {
            name: "none".to_owned(),
            groups: Vec::new(),
            warm_up: Duration::ZERO,
            window: Duration::ZERO,
            patience: Duration::ZERO,
            seed: 1,
        };
        for (workers, cpus, said) in [
            (1, &[0, 1][..], "50 % of its CPU with its backends"),
            (1, &[0, 1, 2], "50 % of its CPU, its backends 30 % of theirs"),
            (2, &[0, 1], "the proxy's workers have every CPU"),
        ] {
            let text = result(&order, &outcome(workers, cpus, 0.5, 0.3));
            assert!(text.contains(said), "{text}");
            assert_eq!(text.contains("every CPU"), workers == 2, "{text}");
        }
    }

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        let text = [0, 999, 1_000, 12_345, 123_456, 1_234_567, 9_876_543_210].map(duration);
        assert_eq!(text, ["0 ns", "999 ns", "1.00 us", "12.3 us", "123 us", "1.23 ms", "9.88 s"]);
    }
}
