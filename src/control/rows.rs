//! What a keeper knows of its pool, as plain rows for the operator. Works out nothing that decides.

use std::sync::Arc;

use super::Keeper;
use super::discovery::{Found, SourceReport};
use crate::balance::Pool;
use crate::observe::{
    BackendRow, LeavingRow, PoolRow, ProbeRow, SourceRow, TierRow, TroubleRow, WaitingRow,
};

pub(super) fn pool(keeper: &Keeper) -> PoolRow {
    let (pool, discovery) = (keeper.pool(), keeper.discovery());
    let sources: Vec<SourceRow> = discovery.sources().into_iter().enumerate().map(source).collect();
    let keys: Vec<Arc<str>> = sources.iter().map(|source| Arc::clone(&source.key)).collect();
    let backends = discovery.found().iter().filter_map(|found| {
        let key = discovery.source_of(&found.name).and_then(|index| keys.get(index));
        row(found, keeper, key.map(Arc::clone))
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
        draining_absent: keeper.health().drained_and_gone().cloned().collect(),
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
        key: key(index),
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

/// The place of a source in the configuration, below the pool's.
fn key(index: usize) -> Arc<str> {
    format!("sources[{index}]").into()
}

/// One backend of the pool.
pub(super) fn backend(keeper: &Keeper, name: &str) -> Option<BackendRow> {
    let discovery = keeper.discovery();
    let found = discovery.found().iter().find(|found| *found.name == *name)?;
    let key = discovery.source_of(name).map(key);
    row(found, keeper, key)
}

fn row(found: &Found, keeper: &Keeper, source: Option<Arc<str>>) -> Option<BackendRow> {
    let backend = keeper.backend(&found.name)?;
    let report = keeper.health().report(&found.name)?;
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
    Some(BackendRow {
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
    })
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::discovery::{Input as DiscoveryInput, Saved};
    use super::super::health::{Input as HealthInput, ProbeFailure};
    use super::super::keeper::{Input, Output};
    use super::*;
    use crate::config::parse;

    const SECOND: Duration = Duration::from_secs(1);

    /// A pool of one fixed backend and those of two files, one of which cannot be read.
    fn keeper(lines: &str) -> Keeper {
        let text = format!(
            "[listener.l]\nlisten = \"127.0.0.1:1\"\npool = \"p\"\n\
             [pool.p]\nbackends = [\"10.0.0.9:1\"]\n\
             sources = [{{ file = \"/none\" }}, {{ file = \"/f\", tier = 1 }}]\n{lines}\n"
        );
        let config = parse(&text, "test").unwrap_or_else(|errors| panic!("{errors}"));
        let mut keeper = Keeper::new(&config.pools[0], Saved::default(), 1);
        keeper.begin(Duration::ZERO);
        read(&mut keeper, "/none", Err("cannot be opened".to_owned()), SECOND);
        read(&mut keeper, "/f", Ok("10.0.0.1:1 weight=7\n10.0.0.2:1\n".to_owned()), SECOND);
        keeper.publish();
        keeper
    }

    fn read(keeper: &mut Keeper, path: &str, contents: Result<String, String>, now: Duration) {
        let read = DiscoveryInput::FileRead { path: path.into(), contents };
        keeper.handle(Input::Discovery(read), now);
    }

    /// Ends every probe that is asked for.
    fn probe(keeper: &mut Keeper, result: Result<(), ProbeFailure>, now: Duration) {
        let outputs: Vec<Output> = std::iter::from_fn(|| keeper.next_output()).collect();
        for output in outputs {
            if let Output::Probe { probe, name, .. } = output {
                let took = Duration::from_millis(3);
                let probed = HealthInput::Probed { name, probe, result, took };
                keeper.handle(Input::Health(probed), now);
            }
        }
    }

    #[test]
    fn a_row_says_where_each_backend_comes_from_and_what_each_source_says() {
        let row = pool(&keeper("policy = \"random-two\"\nqueue = 5"));
        assert_eq!((&*row.name, row.policy, row.in_panic), ("p", "random-two", false));
        assert_eq!(row.waiting.map(|waiting| (waiting.sessions, waiting.limit)), Some((0, 5)));
        let origin = |row: &BackendRow| {
            let source = row.source.as_deref().unwrap_or("-").to_owned();
            (row.name.to_string(), source, row.weight, row.tier)
        };
        let origins: Vec<_> = row.backends.iter().map(origin).collect();
        let expected = |name: &str, source: &str, weight, tier| {
            (name.to_owned(), source.to_owned(), weight, tier)
        };
        assert_eq!(
            origins,
            [
                expected("10.0.0.1:1", "sources[1]", 7, 1),
                expected("10.0.0.2:1", "sources[1]", 1, 1),
                expected("10.0.0.9:1", "-", 1, 0),
            ]
        );
        let tiers: Vec<_> = row.tiers.iter().map(|tier| (tier.number, tier.backends)).collect();
        assert_eq!(tiers, [(0, 1), (1, 2)]);
        assert_eq!(row.changes.added, 2, "what the configuration lists was there");
        let [none, some] = &row.sources[..] else { panic!("{:?}", row.sources) };
        assert_eq!(
            (none.troubles[0].kind, &*none.troubles[0].text),
            ("unreadable", "cannot be opened")
        );
        assert_eq!((none.last_answer, some.last_answer), (None, Some(SECOND)));
        assert_eq!((&*some.title, some.backends, some.answers), ("file /f", 2, 1));
    }

    #[test]
    fn a_row_says_what_the_last_probe_found_and_why_the_state_is_what_it_is() {
        let mut keeper = keeper("[pool.p.health]\ncheck = \"tcp\"");
        let fixed = |keeper: &Keeper| pool(keeper).backends[2].clone();
        let row = fixed(&keeper);
        assert_eq!(row.standing.as_str(), "up");
        assert_eq!(row.why, "it was found first, and is taken to be well");
        assert!(row.probe.is_none() && row.probes.is_empty());
        for second in 1..=3 {
            probe(&mut keeper, Err(ProbeFailure::Refused), second * 10 * SECOND);
            keeper.handle(Input::Tick, (second * 10 + 9) * SECOND);
        }
        let row = fixed(&keeper);
        assert_eq!(row.standing.as_str(), "down");
        assert_eq!(row.since, 30 * SECOND);
        assert!(row.why.starts_with("3 probes in a row failed"), "{}", row.why);
        assert_eq!(row.probes, [("refused", 3)]);
        let last = row.probe.expect("a probe");
        assert_eq!((last.result, last.at), ("refused", 30 * SECOND));
        assert_eq!(last.failure.as_deref(), Some("the connection was refused"));
        probe(&mut keeper, Ok(()), 40 * SECOND);
        let row = fixed(&keeper);
        assert_eq!(row.probes, [("refused", 3), ("ok", 1)]);
        let last = row.probe.expect("a probe");
        assert_eq!((last.result, last.failure), ("ok", None));
    }

    #[test]
    fn what_was_removed_is_shown_while_it_has_sessions() {
        let mut keeper = keeper("");
        let backend = Arc::clone(keeper.backend("10.0.0.1:1").expect("it is there"));
        let lease = backend.lease();
        read(&mut keeper, "/f", Ok("10.0.0.2:1\n".to_owned()), 2 * SECOND);
        let row = pool(&keeper);
        assert_eq!((row.backends.len(), row.changes.removed), (2, 1));
        assert_eq!(row.leaving.len(), 1);
        assert_eq!((&*row.leaving[0].name, row.leaving[0].connections), ("10.0.0.1:1", 1));
        drop(lease);
        assert!(pool(&keeper).leaving.is_empty());
    }

    #[test]
    fn a_note_about_a_source_has_its_place_in_the_configuration() {
        let mut keeper = keeper("");
        let notes: Vec<String> = std::iter::from_fn(|| keeper.next_output())
            .filter_map(|output| match output {
                Output::Note { text, is_warning: true } => Some(text),
                _ => None,
            })
            .collect();
        assert_eq!(
            notes,
            ["pool.p.sources[0]: file /none: cannot be opened \
              (there is no earlier answer to keep)"]
        );
    }
}
