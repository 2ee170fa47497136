//! Renewal of TLS material while the process serves: watches the files, publishes what is new, and
//! tells of what could not be renewed and of what lapses. Sessions in progress keep what they have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use crate::config::Config;
use crate::control::ProbeTls;
use crate::control::discovery::FileWatch;
use crate::observe::{TlsExpiry, TlsLapsing, TlsRow};
use crate::tls::{Expiry, Kind};

use super::compose::recompose;
use super::conduct::Baton;
use super::expiry::{Left, OF_DAYS, OF_MONTHS, Reminders, Subject};
use super::material::{Stock, Table};

/// Renews the material of one configuration.
pub(super) struct Renewer {
    config: Config,
    stock: Stock,
    baton: Baton,
    probes: ProbeTls,
    watches: Watches,
    reminders: Reminders,
    /// By table.
    records: Vec<Record>,
}

/// How the renewals of a table went.
#[derive(Clone, Debug, Default)]
struct Record {
    renewed: u64,
    failed: u64,
    /// What could not be renewed and still is not.
    trouble: Vec<String>,
}

/// Why a table is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Its files may have changed.
    Notice,
    /// The operator wants it.
    Signal,
    /// It is in trouble, which may be over without a change.
    Time,
}

/// How long after the last notice the files are read: the halves of a pair are written one after
/// the other.
const QUIET: Duration = Duration::from_millis(500);
/// The longest after the first notice.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked at what time does.
const LOOK: Duration = Duration::from_secs(60);

impl Renewer {
    /// Watches from now on. Must be called on a runtime.
    pub(super) fn new(config: Config, stock: Stock, baton: Baton, probes: ProbeTls) -> Renewer {
        let records = vec![Record::default(); stock.tables.len()];
        let (watches, reminders) = (Watches::new(&stock.tables), Reminders::default());
        Renewer { config, stock, baton, probes, watches, reminders, records }
    }

    /// Never returns.
    pub(super) async fn run(mut self, mut hangup: Signal) {
        let mut look = looks();
        let mut due = Due::default();
        // What has changed since the files were loaded was not watched.
        let all: Vec<usize> = (0..self.records.len()).collect();
        due.notice(&all, Instant::now());
        self.report();
        loop {
            tokio::select! {
                Some(tables) = self.watches.noticed.recv() => due.notice(&tables, Instant::now()),
                () = until(due.at()) => self.renew(due.take(), Cause::Notice).await,
                _ = hangup.recv() => {
                    due.take();
                    tracing::info!("the files of TLS are read again");
                    self.renew(all.iter().copied().collect(), Cause::Signal).await;
                }
                _ = look.tick() => {
                    self.stock.tickets.turn(self.stock.now());
                    let troubled = |table: &usize| !self.records[*table].trouble.is_empty();
                    let tables = (0..self.records.len()).filter(troubled).collect();
                    self.renew(tables, Cause::Time).await;
                    self.remind();
                }
            }
        }
    }

    /// Reads the files of these tables, and publishes what is different.
    async fn renew(&mut self, tables: BTreeSet<usize>, cause: Cause) {
        let (mut fresh, mut outcomes) = (false, Vec::new());
        for index in tables {
            let (table, now) = (self.stock.tables[index].clone(), self.stock.now());
            let (tickets, clock) = (Arc::clone(&self.stock.tickets), Arc::clone(&self.stock.clock));
            // A disk may be slow, and this thread has probes to answer for.
            let reading = spawn_blocking(move || table.renewed(&tickets, &clock, now));
            let Ok((renewed, trouble)) = reading.await else {
                tracing::error!(table = self.stock.tables[index].path, "the renewal panicked");
                continue;
            };
            let before = self.stock.tables[index].clone();
            let is_renewed = renewed.is_some();
            if let Some(renewed) = renewed {
                self.stock.tables[index] = renewed;
                fresh = true;
            }
            outcomes.push((index, before, is_renewed, trouble));
        }
        if fresh {
            self.publish();
        }
        // Told once it counts.
        for (index, before, is_renewed, trouble) in outcomes {
            let renewed = is_renewed.then(|| &self.stock.tables[index]);
            self.records[index].note(&before, renewed, trouble, cause);
        }
        if fresh {
            self.remind();
        }
        self.report();
    }

    fn publish(&self) {
        let material = self.stock.material();
        for (probe, client) in self.probes.iter().zip(&material.clients) {
            if let Some((probe, client)) = probe.as_ref().zip(client.as_ref()) {
                probe.store(Arc::clone(client));
            }
        }
        self.baton.publish_with(|current| recompose(&self.config, material, current));
    }

    fn remind(&mut self) {
        let mut lapsing = Vec::new();
        let mut subjects = Vec::new();
        for table in &self.stock.tables {
            for expiry in table.expiries() {
                let key = format!("{}.{}", table.path, expiry.key);
                let (file, until) = (expiry.file.clone(), expiry.until.as_secs());
                let ahead = match expiry.kind {
                    Kind::Staple => OF_DAYS,
                    Kind::Certificate | Kind::Authority | Kind::RevocationList => OF_MONTHS,
                };
                let subject = Subject { key, file, until, ahead };
                lapsing.push((subject.clone(), expiry.clone()));
                subjects.push(subject);
            }
        }
        for (subject, left) in self.reminders.due(subjects, self.stock.now().as_secs()) {
            let found = lapsing.iter().find(|(of, _)| *of == subject);
            if let Some((_, expiry)) = found {
                remind(&subject.key, expiry, left);
            }
        }
    }

    /// Shows the metrics how it stands.
    fn report(&self) {
        let rows = self.stock.tables.iter().zip(&self.records);
        let rows = rows.map(|(table, record)| record.row(table)).collect();
        self.baton.metrics.set_tls(rows);
    }
}

impl Record {
    /// Counts and tells how one renewal went. The same trouble is told once, however often the
    /// files are looked at.
    fn note(
        &mut self,
        before: &Table,
        renewed: Option<&Table>,
        trouble: Vec<String>,
        cause: Cause,
    ) {
        if renewed.is_some() {
            self.renewed += 1;
            tracing::info!(table = before.path, "TLS material renewed");
        }
        for warning in renewed.iter().flat_map(|table| table.warnings()) {
            if !before.warnings().contains(warning) {
                tracing::warn!("{}.{warning}", before.path);
            }
        }
        let told = trouble == self.trouble && cause != Cause::Signal;
        if !trouble.is_empty() && !told {
            self.failed += 1;
            let trouble = trouble.join(" | ");
            tracing::error!(table = before.path, "TLS material stays as it was: {trouble}");
        }
        if trouble.is_empty() && !self.trouble.is_empty() && renewed.is_none() {
            tracing::info!(table = before.path, "the files of TLS are in order again");
        }
        self.trouble = trouble;
    }

    fn row(&self, table: &Table) -> TlsRow {
        let expiry = |expiry: &Expiry| TlsExpiry {
            kind: match expiry.kind {
                Kind::Certificate => TlsLapsing::Certificate,
                Kind::Authority => TlsLapsing::Authority,
                Kind::RevocationList => TlsLapsing::RevocationList,
                Kind::Staple => TlsLapsing::Staple,
            },
            file: expiry.file.display().to_string(),
            until: expiry.until.as_secs(),
        };
        TlsRow {
            table: table.label.clone(),
            expiries: table.expiries().iter().map(expiry).collect(),
            renewed: self.renewed,
            failed: self.failed,
            in_trouble: !self.trouble.is_empty(),
        }
    }
}

/// `key` is that of the table and the one within it.
fn remind(key: &str, expiry: &Expiry, left: Left) {
    let remedy = match expiry.kind {
        Kind::Certificate => "renew it",
        Kind::Authority => "put the next one in place",
        Kind::RevocationList => "fetch a current one",
        Kind::Staple => "it is left out from then on; fetch a current one",
    };
    let (what, date, file) = (expiry.subject(), expiry.date(), expiry.file.display());
    match left {
        Left::Days(days @ 2..) => {
            tracing::warn!("{key}: {file}: {what} lapses in {days} days, on {date}; {remedy}");
        }
        Left::Days(_) => {
            tracing::error!("{key}: {file}: {what} lapses soon, on {date}; {remedy}");
        }
        Left::Lapsed => tracing::error!("{key}: {file}: {what} has lapsed on {date}; {remedy}"),
    }
}

/// Tables whose files may have changed, until the files are quiet.
#[derive(Debug, Default)]
struct Due {
    tables: BTreeSet<usize>,
    /// Of the notices since the tables were last taken.
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Due {
    fn notice(&mut self, tables: &[usize], now: Instant) {
        self.tables.extend(tables);
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// When the files are to be read.
    fn at(&self) -> Option<Instant> {
        let (first, last) = self.first.zip(self.last)?;
        Some((last + QUIET).min(first + PATIENCE))
    }

    fn take(&mut self) -> BTreeSet<usize> {
        std::mem::take(self).tables
    }
}

/// Returns at that moment, or never.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn looks() -> Interval {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

/// The watches of all files, a folder each, and the tables that they tell of.
struct Watches {
    noticed: UnboundedReceiver<Vec<usize>>,
    /// Kept so that `noticed` never ends.
    _tell: UnboundedSender<Vec<usize>>,
    /// Ended when dropped.
    _watching: JoinSet<()>,
}

impl Watches {
    fn new(tables: &[Table]) -> Watches {
        let (tell, noticed) = unbounded_channel();
        let mut watching = JoinSet::new();
        for (paths, tables) in folders(tables) {
            let (tell, mut watch) = (tell.clone(), FileWatch::of_folder(paths));
            watching.spawn(async move {
                loop {
                    watch.changed().await;
                    if tell.send(tables.clone()).is_err() {
                        return;
                    }
                }
            });
        }
        Watches { noticed, _tell: tell, _watching: watching }
    }
}

/// The files of each folder, and the tables that have one there.
fn folders(tables: &[Table]) -> Vec<(Vec<PathBuf>, Vec<usize>)> {
    let mut folders: BTreeMap<PathBuf, (BTreeSet<PathBuf>, BTreeSet<usize>)> = BTreeMap::new();
    for (index, table) in tables.iter().enumerate() {
        for file in table.files() {
            let folder = file.parent().map(Path::to_owned).unwrap_or_default();
            let (files, tables) = folders.entry(folder).or_default();
            files.insert(file);
            tables.insert(index);
        }
    }
    let listed = |(files, tables): (BTreeSet<_>, BTreeSet<_>)| {
        (files.into_iter().collect(), tables.into_iter().collect())
    };
    folders.into_values().map(listed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_read_when_they_are_quiet_or_after_a_while() {
        let begun = Instant::now();
        let after = |milliseconds| begun + Duration::from_millis(milliseconds);
        let mut due = Due::default();
        assert_eq!(due.at(), None);
        due.notice(&[2], after(0));
        assert_eq!(due.at(), Some(after(500)));
        due.notice(&[1, 2], after(400));
        assert_eq!(due.at(), Some(after(900)));
        // Somebody writes without an end.
        for step in 2..30 {
            due.notice(&[1], after(step * 400));
        }
        assert_eq!(due.at(), Some(after(5_000)));
        assert_eq!(due.take(), BTreeSet::from([1, 2]));
        assert_eq!(due.at(), None);
    }
}
