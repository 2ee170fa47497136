//! `ringmain check --resolve`: what each pool would contain now. Asks and probes as `run` does, and
//! saves, serves and changes nothing.

use std::fmt::Display;
use std::time::Duration;

use crate::balance::Standing;
use crate::config::{Config, Pool};
use crate::control::{Control, ControlError, ProbeTls};
use crate::observe::{BackendRow, PoolRow, SourceRow};

use super::output::{Output, count};

/// How many sources did not answer.
pub(super) struct Unanswered {
    pub(super) sources: usize,
    pub(super) of: usize,
}

/// Shows every pool. Must be called on a runtime.
pub(super) async fn resolve(
    config: &Config,
    tls: &ProbeTls,
    out: &mut Output,
) -> Result<Unanswered, ControlError> {
    let mut control = Control::looking(config, tls, SEED)?;
    let nameservers = control.nameservers();
    if !nameservers.is_empty() {
        out.line(format_args!("nameservers: {}", list(&nameservers)));
    }
    control.settle(PATIENCE).await;
    control.probe_all(PATIENCE).await;
    let pools = control.report().pools;
    for (pool, row) in config.pools.iter().zip(&pools) {
        show(pool, row, out);
    }
    let sources: Vec<&SourceRow> = pools.iter().flat_map(|pool| &pool.sources).collect();
    let failed = sources.iter().filter(|source| source.is_pending || !source.troubles.is_empty());
    Ok(Unanswered { sources: failed.count(), of: sources.len() })
}

fn show(pool: &Pool, row: &PoolRow, out: &mut Output) {
    let path = format!("pool.{}", row.name);
    let backends = count(row.backends.len(), "backend");
    out.line(format_args!("\n{path}: {backends}, {}", row.policy));
    for source in &row.sources {
        let backends = count(source.backends, "backend");
        out.line(format_args!("  {}: {}: {backends}", source.key, source.title));
    }
    let is_probed = pool.health.is_some();
    let mut table = vec![HEAD.map(str::to_owned).to_vec()];
    let mut backends: Vec<&BackendRow> = row.backends.iter().collect();
    backends.sort_by_key(|backend| backend.tier);
    table.extend(backends.iter().map(|backend| cells(backend, is_probed)));
    if !backends.is_empty() {
        columns(&table).iter().for_each(|line| out.line(line));
    }
    for source in &row.sources {
        warnings(source).iter().for_each(|text| out.line(format_args!("warning: {path}.{text}")));
    }
    if backends.is_empty() {
        out.line(format_args!(
            "warning: {path}: it has no backend, and would refuse every session until it has one"
        ));
    }
    for backend in backends {
        if let Some(text) = probe_warning(backend, is_probed) {
            out.line(format_args!("warning: {path}: backend {}: {text}", backend.name));
        }
    }
}

const HEAD: [&str; 6] = ["backend", "weight", "tier", "from", "check", "addresses"];

fn cells(backend: &BackendRow, is_probed: bool) -> Vec<String> {
    let check = match &backend.probe {
        Some(probe) => format!("{}, {:.1} ms", probe.result, probe.took.as_secs_f64() * 1000.0),
        None if is_probed => "not probed".to_owned(),
        None => "none".to_owned(),
    };
    let drains = backend.standing == Standing::Draining;
    let check = if drains { format!("draining, {check}") } else { check };
    vec![
        backend.name.to_string(),
        backend.weight.to_string(),
        backend.tier.to_string(),
        backend.source.as_deref().unwrap_or("backends").to_owned(),
        check,
        list(&backend.addresses),
    ]
}

/// Lines in which every column begins at the same place.
fn columns(table: &[Vec<String>]) -> Vec<String> {
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| table.iter().filter_map(|row| Some(row.get(column)?.len())).max())
        .map(Option::unwrap_or_default)
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("  {cell:<width$}"));
        cells.collect::<String>().trim_end().to_owned()
    };
    table.iter().map(line).collect()
}

/// What is wrong with a source, each beginning with its key.
fn warnings(source: &SourceRow) -> Vec<String> {
    let key = &source.key;
    let trouble = |trouble: &crate::observe::TroubleRow| {
        format!("{key}: {}: {}", trouble.subject, trouble.text)
    };
    let mut warnings: Vec<String> = source.troubles.iter().take(TROUBLES).map(trouble).collect();
    if source.troubles.len() > TROUBLES {
        let more = source.troubles.len() - TROUBLES;
        warnings.push(format!("{key}: {more} names more fail"));
    }
    if source.is_pending {
        warnings.push(format!(
            "{key}: {}: nothing was heard within {} s; see that those in \
             resolver.nameservers can be reached",
            source.title,
            PATIENCE.as_secs()
        ));
    }
    if let Some(doubt) = &source.doubt {
        warnings.push(format!("{key}: {}: the answer is not believed: {doubt}", source.title));
    }
    if source.uses_saved {
        warnings.push(format!("{key}: {}: what was saved of it before is used", source.title));
    }
    warnings
}

fn probe_warning(backend: &BackendRow, is_probed: bool) -> Option<String> {
    match &backend.probe {
        Some(probe) => probe.failure.as_ref().map(|failure| format!("the probe failed: {failure}")),
        None => is_probed.then(|| format!("no probe ended within {} s", PATIENCE.as_secs())),
    }
}

fn list(items: &[impl Display]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}

/// How long all sources, and then all probes, may take: longer than a nameserver that is silent and
/// a second one that answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names of one source that are shown with what troubles them.
const TROUBLES: usize = 20;

/// Only the times between questions hang on chance, and nothing is asked twice here.
const SEED: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_begins_at_the_same_place() {
        let row = |name: &str, weight: &str| {
            let mut row = vec![String::new(); HEAD.len()];
            (row[0], row[1], row[5]) =
                (name.to_owned(), weight.to_owned(), "10.0.0.1:1".to_owned());
            row
        };
        let lines = columns(&[row("a", "65535"), row("agg-0.example:6000", "1")]);
        assert_eq!(
            lines,
            [
                "  a                   65535        10.0.0.1:1",
                "  agg-0.example:6000  1            10.0.0.1:1",
            ]
        );
    }

    #[test]
    fn a_flood_of_names_that_fail_is_cut() {
        let trouble = |number| crate::observe::TroubleRow {
            subject: format!("addresses of a-{number}").into(),
            kind: "nxdomain",
            text: "the name does not exist".to_owned(),
        };
        let source = |troubles| SourceRow {
            key: "sources[2]".into(),
            title: "template a-0:1".into(),
            is_pending: false,
            backends: 0,
            answers: 0,
            failures: Vec::new(),
            last_answer: None,
            troubles,
            doubt: None,
            uses_saved: true,
        };
        let shown = warnings(&source((0..25).map(trouble).collect()));
        assert_eq!(shown.len(), 22);
        assert_eq!(shown[0], "sources[2]: addresses of a-0: the name does not exist");
        assert_eq!(shown[20], "sources[2]: 5 names more fail");
        assert_eq!(shown[21], "sources[2]: template a-0:1: what was saved of it before is used");
        assert_eq!(warnings(&source(vec![trouble(0)])).len(), 2);
    }
}
