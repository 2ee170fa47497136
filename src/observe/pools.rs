//! Owns the rows that show an operator what the control plane knows of the pools: plain values of
//! one moment. Does not gather them (`control` does) and does not format them (`pools_page` and
//! `pools_exposition` do).

use crate::balance::Standing;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// All pools at one moment. Every time in it counts from the start of the control plane.
#[derive(Clone, Debug, Default)]
pub struct PoolsReport {
    /// When the rows were gathered.
    pub at: Duration,
    /// In the order of the configuration.
    pub pools: Vec<PoolRow>,
}

#[derive(Clone, Debug)]
pub struct PoolRow {
    /// Unique among the pools.
    pub name: Arc<str>,
    pub policy: &'static str,
    /// Health is ignored, because too few backends are healthy.
    pub in_panic: bool,
    /// None: the pool has no queue.
    pub waiting: Option<WaitingRow>,
    /// In the order in which they serve; backends of weight 0 are in none.
    pub tiers: Vec<TierRow>,
    /// Since the start.
    pub changes: ChangeCounts,
    /// In the order of the configuration.
    pub sources: Vec<SourceRow>,
    /// By name, each name once.
    pub backends: Vec<BackendRow>,
    /// Backends that were removed and still have sessions, by name.
    pub leaving: Vec<LeavingRow>,
    /// Backends that the operator drains and that are not there; they drain again if they come.
    pub draining_absent: Vec<Arc<str>>,
}

/// Sessions that wait for a place on a backend.
#[derive(Clone, Copy, Debug)]
pub struct WaitingRow {
    pub sessions: u32,
    pub limit: u32,
}

#[derive(Clone, Copy, Debug)]
pub struct TierRow {
    pub number: u16,
    /// At least one.
    pub backends: usize,
    /// Those that are up or starting.
    pub healthy: usize,
    /// The part of the pool's new sessions that it gets, from 0 to 1.
    pub share: f64,
}

/// How the set of backends has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeCounts {
    pub added: u64,
    pub removed: u64,
    /// Other addresses.
    pub moved: u64,
    /// Another weight, tier or limit.
    pub weighed: u64,
}

#[derive(Clone, Debug)]
pub struct SourceRow {
    /// Its place in the configuration below the pool's, as in `sources[0]`.
    pub key: Arc<str>,
    /// The kind and what is asked. Two sources of a pool may have the same one.
    pub title: Arc<str>,
    /// Nothing was heard of it yet.
    pub is_pending: bool,
    /// How many backends of the pool it names.
    pub backends: usize,
    pub answers: u64,
    /// By kind, those that occurred.
    pub failures: Vec<(&'static str, u64)>,
    pub last_answer: Option<Duration>,
    /// What fails now.
    pub troubles: Vec<TroubleRow>,
    /// Why the last answer is not believed.
    pub doubt: Option<String>,
    /// It has not answered since the start, and what an earlier run saved of it is in use.
    pub uses_saved: bool,
}

#[derive(Clone, Debug)]
pub struct TroubleRow {
    /// The name or the file.
    pub subject: Arc<str>,
    /// The word for it.
    pub kind: &'static str,
    /// The cause and the remedy.
    pub text: String,
}

#[derive(Clone, Debug)]
pub struct BackendRow {
    pub name: Arc<str>,
    /// At least one.
    pub addresses: Vec<SocketAddr>,
    /// The key of the source that names it; none: the configuration itself lists it.
    pub source: Option<Arc<str>>,
    pub weight: u16,
    pub tier: u16,
    /// Places reserved on it, by all workers.
    pub connections: u32,
    /// The most places there are, or `None` where there is no limit.
    pub limit: Option<u32>,
    pub standing: Standing,
    /// When the standing began, and why.
    pub since: Duration,
    pub why: String,
    pub probe: Option<ProbeRow>,
    /// Its probes so far by result, those that occurred.
    pub probes: Vec<(&'static str, u64)>,
    pub ejections: u32,
}

/// The last probe of a backend.
#[derive(Clone, Debug)]
pub struct ProbeRow {
    /// `ok`, or the word for the failure.
    pub result: &'static str,
    /// A sentence, if it failed.
    pub failure: Option<String>,
    /// When it ended.
    pub at: Duration,
    pub took: Duration,
}

#[derive(Clone, Debug)]
pub struct LeavingRow {
    pub name: Arc<str>,
    pub connections: u32,
}

#[cfg(test)]
pub(super) mod samples {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A pool with everything in it, a hundred seconds after the start, and a bare one.
    pub fn report() -> PoolsReport {
        let full = PoolRow {
            name: "full".into(),
            policy: "least-connections",
            in_panic: true,
            waiting: Some(WaitingRow { sessions: 3, limit: 100 }),
            tiers: vec![
                TierRow { number: 0, backends: 4, healthy: 1, share: 0.35 },
                TierRow { number: 2, backends: 1, healthy: 1, share: 0.65 },
            ],
            changes: ChangeCounts { added: 5, removed: 2, moved: 1, weighed: 4 },
            sources: vec![answering("sources[0]"), failing("sources[1]")],
            backends: vec![down("a\"b\\c\n"), up("b:1")],
            leaving: vec![LeavingRow { name: "gone:1".into(), connections: 7 }],
            draining_absent: vec!["away:1".into()],
        };
        let bare = PoolRow {
            name: "bare".into(),
            policy: "round-robin",
            in_panic: false,
            waiting: None,
            tiers: Vec::new(),
            changes: ChangeCounts::default(),
            sources: Vec::new(),
            backends: Vec::new(),
            leaving: Vec::new(),
            draining_absent: Vec::new(),
        };
        PoolsReport { at: 100 * SECOND, pools: vec![full, bare] }
    }

    fn answering(key: &str) -> SourceRow {
        SourceRow {
            key: key.into(),
            title: "srv _x._tcp.example".into(),
            is_pending: false,
            backends: 2,
            answers: 11,
            failures: vec![("timeout", 2), ("refused", 1)],
            last_answer: Some(90 * SECOND),
            troubles: Vec::new(),
            doubt: Some("2 of 3 backends would vanish".to_owned()),
            uses_saved: false,
        }
    }

    /// With the title of the other one.
    fn failing(key: &str) -> SourceRow {
        let trouble = TroubleRow {
            subject: "services of _x._tcp.example".into(),
            kind: "nxdomain",
            text: "the name does not exist".to_owned(),
        };
        SourceRow {
            backends: 0,
            answers: 0,
            failures: vec![("nxdomain", 9)],
            last_answer: None,
            troubles: vec![trouble],
            doubt: None,
            uses_saved: true,
            ..answering(key)
        }
    }

    pub fn up(name: &str) -> BackendRow {
        BackendRow {
            name: name.into(),
            addresses: vec!["10.0.0.5:9000".parse().unwrap(), "[fd00::5]:9000".parse().unwrap()],
            source: Some("sources[0]".into()),
            weight: 3,
            tier: 2,
            connections: 11,
            limit: Some(64),
            standing: Standing::Starting(40),
            since: 95 * SECOND,
            why: "its first probe succeeded".to_owned(),
            probe: Some(ProbeRow {
                result: "ok",
                failure: None,
                at: 99 * SECOND,
                took: Duration::from_micros(1500),
            }),
            probes: vec![("ok", 20), ("refused", 2)],
            ejections: 0,
        }
    }

    fn down(name: &str) -> BackendRow {
        BackendRow {
            source: None,
            limit: None,
            standing: Standing::Ejected,
            why: "5 connections in a row failed".to_owned(),
            probe: Some(ProbeRow {
                result: "refused",
                failure: Some("the connection was refused".to_owned()),
                at: 98 * SECOND,
                took: Duration::ZERO,
            }),
            ejections: 6,
            ..up(name)
        }
    }
}
