//! Owns the form of the page that shows the pools: JSON, for people with `jq` and for scripts.
//! Does not gather what it shows, and does not serve it (`admin` does).

use super::pools::{BackendRow, PoolRow, PoolsReport, ProbeRow, SourceRow, TroubleRow};
use crate::balance::Standing;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The report as JSON with a line feed at its end. Ages and durations are in seconds.
pub(super) fn render(report: &PoolsReport) -> String {
    let pools: Vec<Value> = report.pools.iter().map(|row| pool(row, report.at)).collect();
    format!("{:#}\n", json!({ "pools": pools }))
}

fn pool(row: &PoolRow, now: Duration) -> Value {
    let tiers = row.tiers.iter().map(|tier| {
        json!({
            "tier": tier.number,
            "backends": tier.backends,
            "healthy": tier.healthy,
            "sessions_ratio": tier.share,
        })
    });
    let leaving = row
        .leaving
        .iter()
        .map(|backend| json!({ "backend": &*backend.name, "connections": backend.connections }));
    json!({
        "pool": &*row.name,
        "policy": row.policy,
        "in_panic": row.in_panic,
        "waiting": row.waiting.map(|waiting| json!({
            "sessions": waiting.sessions,
            "limit": waiting.limit,
        })),
        "tiers": tiers.collect::<Vec<Value>>(),
        "membership_changes": {
            "added": row.changes.added,
            "removed": row.changes.removed,
            "moved": row.changes.moved,
            "weighed": row.changes.weighed,
        },
        "sources": row.sources.iter().map(|row| source(row, now)).collect::<Vec<Value>>(),
        "backends": row.backends.iter().map(|row| backend(row, now)).collect::<Vec<Value>>(),
        "leaving": leaving.collect::<Vec<Value>>(),
    })
}

fn source(row: &SourceRow, now: Duration) -> Value {
    let trouble = |trouble: &TroubleRow| {
        json!({
            "subject": &*trouble.subject,
            "kind": trouble.kind,
            "text": trouble.text,
        })
    };
    json!({
        "key": &*row.key,
        "source": &*row.title,
        "backends": row.backends,
        "answers": row.answers,
        "failures": counts(&row.failures),
        "last_answer_age_seconds": row.last_answer.map(|at| age(at, now)),
        "troubles": row.troubles.iter().map(trouble).collect::<Vec<Value>>(),
        "doubt": row.doubt,
        "uses_saved": row.uses_saved,
    })
}

fn backend(row: &BackendRow, now: Duration) -> Value {
    let addresses: Vec<String> = row.addresses.iter().map(ToString::to_string).collect();
    let probe = |probe: &ProbeRow| {
        json!({
            "result": probe.result,
            "failure": probe.failure,
            "age_seconds": age(probe.at, now),
            "duration_seconds": probe.took.as_secs_f64(),
        })
    };
    let starting_percent = match row.standing {
        Standing::Starting(percent) => Some(percent),
        _ => None,
    };
    json!({
        "backend": &*row.name,
        "addresses": addresses,
        "source": row.source.as_deref().unwrap_or("backends"),
        "weight": row.weight,
        "tier": row.tier,
        "connections": row.connections,
        "connections_limit": row.limit,
        "state": row.standing.as_str(),
        "starting_percent": starting_percent,
        "since_seconds": age(row.since, now),
        "why": row.why,
        "last_probe": row.probe.as_ref().map(probe),
        "probes": counts(&row.probes),
        "ejections": row.ejections,
    })
}

fn counts(counts: &[(&'static str, u64)]) -> Map<String, Value> {
    counts.iter().map(|(word, count)| ((*word).to_owned(), (*count).into())).collect()
}

/// To the millisecond, which is what a person can use.
fn age(at: Duration, now: Duration) -> f64 {
    now.saturating_sub(at).as_millis() as f64 / 1000.0
}
