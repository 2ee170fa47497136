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
        "draining_absent": row.draining_absent.iter().map(|name| &**name).collect::<Vec<&str>>(),
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

pub(super) fn backend(row: &BackendRow, now: Duration) -> Value {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::pools::samples;

    fn page() -> Value {
        serde_json::from_str(&render(&samples::report())).expect("JSON")
    }

    #[test]
    fn a_pool_shows_its_policy_its_tiers_and_who_waits() {
        let page = page();
        let full = &page["pools"][0];
        assert_eq!(full["pool"], "full");
        assert_eq!(full["policy"], "least-connections");
        assert_eq!(full["in_panic"], true);
        assert_eq!(full["waiting"], json!({ "sessions": 3, "limit": 100 }));
        let tier = json!({ "tier": 0, "backends": 4, "healthy": 1, "sessions_ratio": 0.35 });
        assert_eq!(full["tiers"][0], tier);
        assert_eq!(full["membership_changes"]["removed"], 2);
        assert_eq!(full["leaving"], json!([{ "backend": "gone:1", "connections": 7 }]));
        assert_eq!(full["draining_absent"], json!(["away:1"]));
        assert_eq!(page["pools"][1]["waiting"], Value::Null, "it has no queue");
    }

    #[test]
    fn a_source_shows_its_last_answer_and_its_trouble() {
        let sources = &page()["pools"][0]["sources"];
        assert_eq!(sources[0]["source"], "srv _x._tcp.example");
        assert_eq!(sources[0]["last_answer_age_seconds"], 10.0);
        assert_eq!(sources[0]["failures"], json!({ "timeout": 2, "refused": 1 }));
        assert_eq!(sources[0]["doubt"], "2 of 3 backends would vanish");
        assert_eq!(sources[1]["key"], "sources[1]");
        assert_eq!(sources[1]["last_answer_age_seconds"], Value::Null);
        assert_eq!(sources[1]["troubles"][0]["kind"], "nxdomain");
        assert_eq!(sources[1]["troubles"][0]["text"], "the name does not exist");
        assert_eq!(sources[1]["uses_saved"], true);
    }

    #[test]
    fn a_backend_shows_its_state_since_when_and_why() {
        let backends = &page()["pools"][0]["backends"];
        let starting = &backends[1];
        assert_eq!(starting["addresses"], json!(["10.0.0.5:9000", "[fd00::5]:9000"]));
        assert_eq!(starting["state"], "starting");
        assert_eq!(starting["starting_percent"], 40);
        assert_eq!(starting["since_seconds"], 5.0);
        assert_eq!(starting["why"], "its first probe succeeded");
        assert_eq!(starting["connections"], 11);
        assert_eq!(starting["connections_limit"], 64);
        let probe = json!({
            "result": "ok", "failure": null, "age_seconds": 1.0, "duration_seconds": 0.0015,
        });
        assert_eq!(starting["last_probe"], probe);
        assert_eq!(starting["probes"], json!({ "ok": 20, "refused": 2 }));
        let ejected = &backends[0];
        assert_eq!(ejected["source"], "backends", "where the configuration lists it");
        assert_eq!((&ejected["state"], &ejected["ejections"]), (&json!("ejected"), &json!(6)));
        assert_eq!(ejected["last_probe"]["failure"], "the connection was refused");
        assert_eq!(ejected["starting_percent"], Value::Null);
    }
}
