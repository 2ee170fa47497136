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

    use super::super::order::{Group, Sizes};
    use super::super::placement::Placement;
    use super::super::protocol::Protocol;
    use super::super::record::Tally;
    use super::super::tls::Trust;
    use super::*;
    use crate::compare::cpus::Cpus;
    use crate::figures::{Counts, Latency, Moment, SoFar};

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

    fn bench(route: Route) -> Bench {
        Bench {
            clock: crate::clock::Clock::start(),
            cpus: Cpus { proxy: 1, load: 0 },
            network: super::super::network::Network::Loopback,
            route,
            behaviour: Default::default(),
            sources: Vec::new(),
            signals: Default::default(),
        }
    }

    fn order(protocol: Protocol, pace: Pace) -> Order {
        Order {
            name: protocol.as_str().to_owned(),
            groups: vec![Group::new(protocol, 9, pace, Sizes::Constant(100))],
            warm_up: Duration::from_secs(1),
            window: Duration::from_secs(10),
            patience: Duration::ZERO,
            seed: 1,
        }
    }

    #[test]
    fn a_heading_says_which_way_and_what_is_to_be_done() {
        let target = std::net::SocketAddr::from(([127, 0, 0, 1], 443));
        let to = |terminus| Route::Target { target, backends: Vec::new(), terminus };
        let name = || rustls::pki_types::ServerName::try_from("logs.example").unwrap();
        let trusting = Trust::new(Vec::new(), name());
        let order = order(Protocol::TlsEcho, Pace::constant(50.0));
        for (route, said) in [
            (Route::Direct, "tls-echo directly to the backends"),
            (
                Route::Ringmain { workers: 2, passthrough: false },
                "tls-echo through a Ringmain of 2 worker(s)",
            ),
            (
                Route::Ringmain { workers: 2, passthrough: true },
                "tls-echo through a Ringmain of 2 worker(s) that passes TLS through",
            ),
            (to(Terminus::Unknown), "tls-echo to 127.0.0.1:443"),
            (to(Terminus::Backends(None)), "tls-echo to 127.0.0.1:443, which passes TLS through"),
            (to(Terminus::Target(trusting)), "tls-echo to 127.0.0.1:443"),
        ] {
            let text = heading(&order, &bench(route));
            assert_eq!(text.lines().next(), Some(said));
            assert!(text.contains("  tls-echo, 9 connections, 50 units/s, constant\n"), "{text}");
            let times = "  1 s to warm up, then 10 s that count, 550 units in all\n";
            assert!(text.ends_with(times) && !text.contains("INSECURE"), "{text}");
        }
        let blind = heading(&order, &bench(to(Terminus::Target(Trust::blind(name())))));
        assert!(blind.contains("INSECURE: no certificate is verified; whoever answers at 127."));
        let closed = self::order(Protocol::UdpEcho, Pace::Closed { depth: 3 });
        let text = heading(&closed, &bench(Route::Direct));
        assert!(text.contains("  udp-echo, 9 sockets, closed loop, 3 at a time on each\n"));
        assert!(text.ends_with("then 10 s that count\n"), "{text}");
    }

    #[test]
    fn a_second_says_what_left_what_ended_and_how_long_it_takes_yet() {
        let moment = Moment {
            at: 4.0,
            achieved: 990.0,
            p50: 1_000,
            p99: 20_000,
            max: 3_000_000,
            cpu: Some(0.25),
            memory: Some(3 << 20),
            descriptors: None,
            open: 64,
        };
        let latency = Latency::new();
        let so_far = SoFar { elapsed: 4, of: 10.0, ended: 4_000, latency: &latency };
        let watched = Watched { moment, sent: 1000, left: 6, so_far };
        let said: Vec<String> =
            second(&watched).split_ascii_whitespace().map(str::to_owned).collect();
        let known = "5 s 1000 sent/s 990 ended/s p50 1.00 us p99 20.0 us max 3.00 ms 64 open \
                     proxy 25 % CPU, 3.0 MiB 6 s left";
        assert_eq!(said.join(" "), known);
        let moment = Moment { cpu: None, ..watched.moment };
        let last = second(&Watched { moment, left: 0, ..watched });
        assert!(last.ends_with("64 open"), "{last}");
    }

    #[test]
    fn a_result_says_what_became_of_every_unit_and_what_it_cost() {
        let order = order(Protocol::TlsEcho, Pace::constant(1000.0));
        let mut outcome = outcome(1, &[0, 1, 2], 0.5, 0.3);
        let counts = Counts {
            sent: 100,
            answered: 90,
            lost: 5,
            duplicated: 4,
            reordered: 3,
            corrupted: 2,
            errors: [("reset".to_owned(), 7), ("refused".to_owned(), 8)].into(),
            ..Counts::default()
        };
        outcome.run.counts = counts;
        outcome.run.generator.lag_max = 20_000;
        outcome.tally.unanswered = 1;
        (outcome.tally.handshakes_full, outcome.tally.handshakes_resumed) = (11, 12);
        let text = result(&order, &outcome);
        for line in [
            "offered                1000.0/s",
            "ended                  980.0/s, 0.26 MB/s of payload",
            "100 sent, 90 ended, 5 lost (1 unanswered), 4 duplicated, 3 reordered, 2 corrupted",
            "errors                 8 refused, 7 reset",
            "handshakes             11 full, 12 resumed, in the window",
            "proxy, CPU per unit    10.2 us",
            "proxy, CPU             0.10 s of 10 s (0.02 s user, 0.08 s system; softirq of its CPU \
             0.01 s)",
            "proxy, memory          20.0 MiB, 150 descriptors",
            "latest unit left 20.0 us after its time",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("of the lost") && !text.contains("note:"), "{text}");
        outcome.run.groups = crate::report::everything().document.runs[0].groups.clone();
        assert!(result(&order, &outcome).contains("\nechoes "));
        let plain = self::order(Protocol::TcpEcho, Pace::Closed { depth: 1 });
        (outcome.run.offered, outcome.run.cost) = (None, None);
        outcome.run.counts.errors.clear();
        let text = result(&plain, &outcome);
        assert!(text.contains("offered                closed loop\n"), "{text}");
        assert!(text.contains("errors                 none\n"), "{text}");
        assert!(!text.contains("handshakes") && !text.contains("proxy,"), "{text}");
        outcome.run.generator.generator = 0.99;
        let text = result(&plain, &outcome);
        assert!(text.contains("the generator or its backends had no CPU left"), "{text}");
    }

    #[test]
    fn datagrams_that_found_no_room_with_us_are_told_with_the_remedy() {
        let order = order(Protocol::UdpEcho, Pace::constant(1000.0));
        let mut outcome = outcome(1, &[0, 1, 2], 0.5, 0.3);
        let counts = &mut outcome.run.counts;
        (counts.lost, counts.late, counts.dropped) = (9, 4, 5);
        for (room, remedy) in [(BACKEND_ROOM / 2, true), (BACKEND_ROOM, false)] {
            outcome.room = Some(room);
            let text = result(&order, &outcome);
            let mebibytes = room as f64 / f64::from(1 << 20);
            let said = format!(
                "of the lost            4 came after the patience for them, 5 found no room in our \
                 own sockets, where {mebibytes:.1} MiB may wait\n"
            );
            assert!(text.contains(&said), "{said}{text}");
            assert!(text.contains("note: what found no room in our own sockets"), "{text}");
            assert_eq!(text.contains("raise net.core.rmem_max"), remedy, "{text}");
        }
        outcome.run.counts.dropped = 0;
        assert!(!result(&order, &outcome).contains("note:"));
    }
}
