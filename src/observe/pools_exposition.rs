//! Owns the names, units and help texts of the metrics of pools, their sources and their backends.
//! The format, and what belongs to the process and its workers, is `exposition`'s.

use super::exposition::sample;
use super::pools::{BackendRow, PoolRow, PoolsReport, SourceRow};
use crate::balance::Standing;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType::{Counter, Gauge};
use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Shows all pools. `started` is the time on the clock when the report's own time began.
pub(super) fn encode(
    report: &PoolsReport,
    started: SystemTime,
    encoder: &mut DescriptorEncoder,
) -> fmt::Result {
    encode_pools(&report.pools, encoder)?;
    encode_sources(&report.pools, started, encoder)?;
    encode_backends(&report.pools, encoder)?;
    encode_probes(&report.pools, encoder)
}

fn encode_pools(pools: &[PoolRow], encoder: &mut DescriptorEncoder) -> fmt::Result {
    let help = "Backends of the pool by state.";
    let mut family = encoder.encode_descriptor("pool_backends", help, None, Gauge)?;
    for pool in pools {
        for state in STATES {
            let count = pool.backends.iter().filter(|row| row.standing.as_str() == state).count();
            sample(&mut family, &[("pool", &*pool.name), ("state", state)], count as u64)?;
        }
    }

    let help = "The part of a tier's backends that are up or starting, from 0 to 1.";
    let mut family = encoder.encode_descriptor("pool_tier_healthy_ratio", help, None, Gauge)?;
    for (labels, tier) in tiers(pools) {
        let ratio = tier.healthy as f64 / tier.backends.max(1) as f64;
        family.encode_family(&labels)?.encode_gauge(&ratio)?;
    }

    let help = "The part of the pool's new sessions that a tier gets, from 0 to 1.";
    let mut family = encoder.encode_descriptor("pool_tier_sessions_ratio", help, None, Gauge)?;
    for (labels, tier) in tiers(pools) {
        family.encode_family(&labels)?.encode_gauge(&tier.share)?;
    }

    for (name, help, read) in POOL_GAUGES {
        let mut family = encoder.encode_descriptor(name, help, None, Gauge)?;
        for pool in pools {
            if let Some(value) = read(pool) {
                sample(&mut family, &[("pool", &*pool.name)], value)?;
            }
        }
    }

    let help = "Changes of the pool's set of backends that discovery brought: backends added, \
                removed, moved to other addresses, or weighed anew (weight, tier or limit).";
    let mut family =
        encoder.encode_descriptor("pool_membership_changes_total", help, None, Counter)?;
    for pool in pools {
        let changes = &pool.changes;
        for (change, count) in [
            ("added", changes.added),
            ("removed", changes.removed),
            ("moved", changes.moved),
            ("weighed", changes.weighed),
        ] {
            sample(&mut family, &[("pool", &*pool.name), ("change", change)], count)?;
        }
    }
    Ok(())
}

type TierLabels<'a> = ([(&'static str, &'a str); 1], [(&'static str, u16); 1]);

fn tiers(pools: &[PoolRow]) -> impl Iterator<Item = (TierLabels<'_>, &super::pools::TierRow)> {
    pools.iter().flat_map(|pool| {
        let labels = |number| ([("pool", &*pool.name)], [("tier", number)]);
        pool.tiers.iter().map(move |tier| (labels(tier.number), tier))
    })
}

fn encode_sources(
    pools: &[PoolRow],
    started: SystemTime,
    encoder: &mut DescriptorEncoder,
) -> fmt::Result {
    let sources = named_sources(pools);
    let help = "Good answers of DNS, or readings of a file, by the pool's source.";
    let mut family = encoder.encode_descriptor("discovery_answers_total", help, None, Counter)?;
    for (pool, name, source) in &sources {
        sample(&mut family, &[("pool", *pool), ("source", name)], source.answers)?;
    }

    let help = "Questions to DNS, or readings of a file, that failed, by kind of failure. A kind \
                is shown once it has occurred.";
    let mut family = encoder.encode_descriptor("discovery_failures_total", help, None, Counter)?;
    for (pool, name, source) in &sources {
        for (kind, count) in &source.failures {
            let labels = [("pool", *pool), ("source", name), ("kind", kind)];
            sample(&mut family, &labels, *count)?;
        }
    }

    let help = "When the source last said which backends there are, in seconds since 1970; not \
                shown before it has.";
    let name = "discovery_last_answer_timestamp_seconds";
    let mut family = encoder.encode_descriptor(name, help, None, Gauge)?;
    for (pool, name, source) in &sources {
        if let Some(at) = source.last_answer {
            let seconds = on_the_clock(started, at);
            let labels = [("pool", *pool), ("source", name)];
            family.encode_family(&labels)?.encode_gauge(&seconds)?;
        }
    }

    let help = "Backends of the pool that the source names.";
    let mut family = encoder.encode_descriptor("discovery_backends", help, None, Gauge)?;
    for (pool, name, source) in &sources {
        let backends = source.backends as u64;
        sample(&mut family, &[("pool", *pool), ("source", name)], backends)?;
    }
    Ok(())
}

/// Every source with its pool and a name that is unique in it.
fn named_sources(pools: &[PoolRow]) -> Vec<(&str, String, &SourceRow)> {
    let mut named = Vec::new();
    for pool in pools {
        let mut titles = HashSet::new();
        for source in &pool.sources {
            let name = match titles.insert(&*source.title) {
                true => source.title.to_string(),
                false => format!("{} ({})", source.title, source.key),
            };
            named.push((&*pool.name, name, source));
        }
    }
    named
}

/// A clock before 1970 is shown as 1970.
fn on_the_clock(started: SystemTime, at: Duration) -> f64 {
    (started + at).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn encode_backends(pools: &[PoolRow], encoder: &mut DescriptorEncoder) -> fmt::Result {
    let help = "1 for the state that the backend is in, 0 for the others.";
    let mut family = encoder.encode_descriptor("backend_state", help, None, Gauge)?;
    for (labels, row) in backends(pools) {
        for state in STATES {
            let is_in = u64::from(row.standing.as_str() == state);
            sample(&mut family, &(labels, [("state", state)]), is_in)?;
        }
    }
    for (name, help, read) in BACKEND_GAUGES {
        let mut family = encoder.encode_descriptor(name, help, None, Gauge)?;
        for (labels, row) in backends(pools) {
            if let Some(value) = read(row) {
                sample(&mut family, &labels, value)?;
            }
        }
    }
    let help = "Times the backend was taken out because connections to it failed, since it is in \
                the pool.";
    let mut family = encoder.encode_descriptor("backend_ejections_total", help, None, Counter)?;
    for (labels, row) in backends(pools) {
        sample(&mut family, &labels, row.ejections.into())?;
    }
    Ok(())
}

fn encode_probes(pools: &[PoolRow], encoder: &mut DescriptorEncoder) -> fmt::Result {
    let help = "How long the last probe of the backend took; not shown before there was one.";
    let mut family =
        encoder.encode_descriptor("backend_probe_duration_seconds", help, None, Gauge)?;
    for (labels, row) in backends(pools) {
        if let Some(probe) = &row.probe {
            family.encode_family(&labels)?.encode_gauge(&probe.took.as_secs_f64())?;
        }
    }
    let help = "Probes of the backend that ended, by result: ok, or why it failed. A result is \
                shown once it has occurred.";
    let mut family = encoder.encode_descriptor("backend_probes_total", help, None, Counter)?;
    for (labels, row) in backends(pools) {
        for (result, count) in &row.probes {
            sample(&mut family, &(labels, [("result", *result)]), *count)?;
        }
    }
    Ok(())
}

type BackendLabels<'a> = [(&'static str, &'a str); 2];

fn backends(pools: &[PoolRow]) -> impl Iterator<Item = (BackendLabels<'_>, &BackendRow)> {
    pools.iter().flat_map(|pool| {
        let labels = |row| [("pool", &*pool.name), ("backend", row)];
        pool.backends.iter().map(move |row| (labels(&*row.name), row))
    })
}

/// The words of `Standing`, in the order in which an operator thinks of them.
const STATES: [&str; 5] = [
    Standing::Up.as_str(),
    Standing::Starting(0).as_str(),
    Standing::Down.as_str(),
    Standing::Ejected.as_str(),
    Standing::Draining.as_str(),
];

/// A metric's name without prefix, its help text, and how to read it; none: it is not shown.
type Described<T> = (&'static str, &'static str, fn(&T) -> Option<u64>);

const POOL_GAUGES: [Described<PoolRow>; 3] = [
    (
        "pool_in_panic",
        "1 while health is ignored because too few backends of the pool are healthy, or 0.",
        |pool| Some(pool.in_panic.into()),
    ),
    (
        "pool_sessions_waiting",
        "Sessions that wait for a place on a backend; not shown where the pool has no queue.",
        |pool| pool.waiting.map(|waiting| waiting.sessions.into()),
    ),
    (
        "pool_sessions_waiting_limit",
        "The most sessions that may wait; not shown where the pool has no queue.",
        |pool| pool.waiting.map(|waiting| waiting.limit.into()),
    ),
];

const BACKEND_GAUGES: [Described<BackendRow>; 5] = [
    ("backend_connections", "Connections reserved on the backend, by all workers.", |row| {
        Some(row.connections.into())
    }),
    (
        "backend_connections_limit",
        "The most connections the backend is given; not shown where there is no limit.",
        |row| row.limit.map(u64::from),
    ),
    ("backend_weight", "The backend's share of new sessions, relative to its tier.", |row| {
        Some(row.weight.into())
    }),
    (
        "backend_tier",
        "The backend's tier; a tier serves when too few backends of the lower ones can.",
        |row| Some(row.tier.into()),
    ),
    (
        "backend_probe_success",
        "1 if the last probe of the backend succeeded, or 0; not shown before there was one.",
        |row| row.probe.as_ref().map(|probe| u64::from(probe.failure.is_none())),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::Metrics;
    use crate::observe::pools::samples;

    fn render(report: PoolsReport) -> String {
        Metrics::new(1, UNIX_EPOCH + Duration::from_secs(1_700_000_000)).render(report)
    }

    #[track_caller]
    fn assert_lines(text: &str, lines: &[&str]) {
        for line in lines {
            let line = format!("ringmain_{line}");
            assert!(text.lines().any(|present| present == line), "no line {line}\nin\n{text}");
        }
    }

    #[test]
    fn a_pool_tells_how_many_can_serve_and_who_waits() {
        let text = render(samples::report());
        assert_lines(
            &text,
            &[
                r#"pool_backends{pool="full",state="up"} 0"#,
                r#"pool_backends{pool="full",state="starting"} 1"#,
                r#"pool_backends{pool="full",state="ejected"} 1"#,
                r#"pool_backends{pool="bare",state="up"} 0"#,
                r#"pool_tier_healthy_ratio{pool="full",tier="0"} 0.25"#,
                r#"pool_tier_healthy_ratio{pool="full",tier="2"} 1.0"#,
                r#"pool_tier_sessions_ratio{pool="full",tier="2"} 0.65"#,
                r#"pool_in_panic{pool="full"} 1"#,
                r#"pool_in_panic{pool="bare"} 0"#,
                r#"pool_sessions_waiting{pool="full"} 3"#,
                r#"pool_sessions_waiting_limit{pool="full"} 100"#,
                r#"pool_membership_changes_total{pool="full",change="added"} 5"#,
                r#"pool_membership_changes_total{pool="full",change="removed"} 2"#,
                r#"pool_membership_changes_total{pool="full",change="moved"} 1"#,
                r#"pool_membership_changes_total{pool="full",change="weighed"} 4"#,
            ],
        );
        assert!(!text.contains(r#"sessions_waiting{pool="bare"}"#), "it has no queue");
    }

    #[test]
    fn a_source_tells_what_it_answers_and_two_of_one_title_stay_apart() {
        let first = r#"pool="full",source="srv _x._tcp.example""#;
        let second = r#"pool="full",source="srv _x._tcp.example (sources[1])""#;
        let text = render(samples::report());
        assert_lines(
            &text,
            &[
                &format!("discovery_answers_total{{{first}}} 11"),
                &format!("discovery_answers_total{{{second}}} 0"),
                &format!("discovery_failures_total{{{first},kind=\"timeout\"}} 2"),
                &format!("discovery_failures_total{{{first},kind=\"refused\"}} 1"),
                &format!("discovery_failures_total{{{second},kind=\"nxdomain\"}} 9"),
                &format!("discovery_last_answer_timestamp_seconds{{{first}}} 1700000090.0"),
                &format!("discovery_backends{{{first}}} 2"),
            ],
        );
        let unheard = format!("timestamp_seconds{{{second}}}");
        assert!(!text.contains(&unheard), "it has never answered");
    }

    #[test]
    fn a_backend_tells_its_state_and_its_probes_and_its_name_is_escaped() {
        let (odd, plain) = (r#"pool="full",backend="a\"b\\c\n""#, r#"pool="full",backend="b:1""#);
        let text = render(samples::report());
        assert_lines(
            &text,
            &[
                &format!("backend_state{{{odd},state=\"ejected\"}} 1"),
                &format!("backend_state{{{odd},state=\"up\"}} 0"),
                &format!("backend_state{{{plain},state=\"starting\"}} 1"),
                &format!("backend_connections{{{odd}}} 11"),
                &format!("backend_connections_limit{{{plain}}} 64"),
                &format!("backend_weight{{{odd}}} 3"),
                &format!("backend_tier{{{odd}}} 2"),
                &format!("backend_ejections_total{{{odd}}} 6"),
                &format!("backend_probe_success{{{odd}}} 0"),
                &format!("backend_probe_success{{{plain}}} 1"),
                &format!("backend_probe_duration_seconds{{{plain}}} 0.0015"),
                &format!("backend_probes_total{{{plain},result=\"ok\"}} 20"),
                &format!("backend_probes_total{{{plain},result=\"refused\"}} 2"),
            ],
        );
        let limits = format!("backend_connections_limit{{{odd}}}");
        assert!(!text.contains(&limits), "a backend without a limit shows none");
        let states = text.lines().filter(|line| line.starts_with("ringmain_backend_state{"));
        assert_eq!(states.count(), 2 * STATES.len());
    }

    #[test]
    fn no_series_is_shown_twice() {
        let text = render(samples::report());
        let series = text.lines().filter(|line| !line.starts_with('#'));
        let series: Vec<_> = series.map(|line| line.rsplit_once(' ').expect("a value").0).collect();
        let distinct: HashSet<_> = series.iter().collect();
        assert_eq!(distinct.len(), series.len());
    }

    #[test]
    fn ten_thousand_backends_make_a_page_that_can_be_scraped() {
        let mut report = samples::report();
        let named =
            |index| samples::up(&format!("aggregator-{index}.vector.svc.cluster.local:6000"));
        report.pools[0].backends = (0..10_000).map(named).collect();
        let text = render(report);
        assert!(text.len() < 20_000_000, "{} bytes", text.len());
    }
}
