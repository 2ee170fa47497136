//! What a keeper knows of its pool, as plain rows for the operator. Works out nothing that decides.

use std::sync::Arc;

use super::Keeper;
use super::discovery::{Found, SourceReport};
use super::health::Report;
use crate::balance::{Backend, Pool};
use crate::observe::{
    BackendRow, LeavingRow, PoolRow, ProbeRow, SourceRow, TierRow, TroubleRow, WaitingRow,
};

pub(super) fn pool(keeper: &Keeper) -> PoolRow {
    let (pool, discovery) = (keeper.pool(), keeper.discovery());
    let sources: Vec<SourceRow> = discovery.sources().into_iter().enumerate().map(source).collect();
    let keys: Vec<Arc<str>> = sources.iter().map(|source| Arc::clone(&source.key)).collect();
    let backends = discovery.found().iter().filter_map(|found| {
        let key = discovery.source_of(&found.name).and_then(|index| keys.get(index));
        Some(backend(
            found,
            keeper.backend(&found.name)?,
            keeper.health().report(&found.name)?,
            key.map(Arc::clone),
        ))
    });
    PoolRow {
        name: Arc::clone(keeper.name()),
        policy: pool.settings.balancing.policy.as_str(),
        in_panic: pool.in_panic(),
        waiting: pool
            .waiting()
            .map(|waiting| WaitingRow { sessions: waiting.count(), limit: waiting.limit() }),
        tiers: tiers(pool),
        changes: keeper.changes(),
        sources,
        backends: backends.collect(),
        leaving: leaving(keeper),
    }
}

fn tiers(pool: &Pool) -> Vec<TierRow> {
    let tier = |tier: &crate::balance::Tier| TierRow {
        number: tier.number(),
        backends: tier.size(),
        healthy: tier.healthy(),
        share: tier.share(),
    };
    pool.tiers().iter().map(tier).collect()
}

fn source((index, report): (usize, SourceReport)) -> SourceRow {
    let trouble = |(subject, trouble): &(Arc<str>, super::discovery::Trouble)| TroubleRow {
        subject: Arc::clone(subject),
        kind: trouble.as_str(),
        text: trouble.to_string(),
    };
    SourceRow {
        key: format!("sources[{index}]").into(),
        is_pending: report.is_pending(),
        troubles: report.troubles.iter().map(trouble).collect(),
        title: report.title,
        backends: report.backends,
        answers: report.answers,
        failures: report.failures,
        last_answer: report.last_answer,
        doubt: report.doubt.map(|doubt| doubt.to_string()),
        uses_saved: report.uses_saved,
    }
}

fn backend(
    found: &Found,
    backend: &Backend,
    report: Report,
    source: Option<Arc<str>>,
) -> BackendRow {
    let probe = report.last_probe.map(|probe| ProbeRow {
        result: probe.as_str(),
        failure: probe.result.err().map(|failure| failure.to_string()),
        at: probe.at,
        took: probe.took,
    });
    let why = match report.cause {
        Some(cause) => cause.to_string(),
        None => "it was found first, and is taken to be well".to_owned(),
    };
    BackendRow {
        name: Arc::clone(&found.name),
        addresses: found.addresses.clone(),
        source,
        weight: found.weight,
        tier: found.tier,
        connections: backend.connections(),
        limit: found.limit,
        standing: report.standing,
        since: report.since,
        why,
        probe,
        probes: report.probes,
        ejections: report.ejections,
    }
}

/// By name.
fn leaving(keeper: &Keeper) -> Vec<LeavingRow> {
    let with_sessions = keeper.gone().filter(|backend| backend.connections() > 0);
    let mut leaving: Vec<LeavingRow> = with_sessions
        .map(|backend| LeavingRow {
            name: Arc::clone(&backend.name),
            connections: backend.connections(),
        })
        .collect();
    leaving.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    leaving
}
