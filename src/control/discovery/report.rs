//! What is known of each source, for the operator: what it has answered, what troubles it. Counts
//! for nobody else, and decides nothing.

use std::sync::Arc;
use std::time::Duration;

use super::entry::Entry;
use super::event::Doubt;
use super::failures::{CASES, Trouble};
use super::machine::PoolDiscovery;
use super::question::{Kind, Question};
use super::schedule::Subject;

/// One source of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceReport {
    pub title: Arc<str>,
    /// How many it has in the pool, those that another source names as well included.
    pub backends: usize,
    /// Good answers to its questions, those about the targets of services included.
    pub answers: u64,
    /// Failures by their words, those that occurred.
    pub failures: Vec<(&'static str, u64)>,
    /// When it last said which backends there are; for a template, when any of its names last had
    /// addresses.
    pub last_answer: Option<Duration>,
    /// What fails now: each name or file, and how.
    pub troubles: Vec<(Arc<str>, Trouble)>,
    /// Why its last answer is not believed.
    pub doubt: Option<Doubt>,
    /// It has not answered since the start, and what an earlier run saved of it is in use.
    pub uses_saved: bool,
}

/// What has been counted of a source.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    answers: u64,
    failures: [u64; CASES.len()],
    last_answer: Option<Duration>,
}

impl SourceReport {
    /// Nothing was heard of it yet, neither an answer nor a failure.
    pub fn is_pending(&self) -> bool {
        self.answers == 0 && self.failures.is_empty()
    }
}

impl PoolDiscovery {
    /// The sources in the order of the configuration.
    pub fn sources(&self) -> Vec<SourceReport> {
        let report = |(index, origin): (usize, &super::machine::Origin)| {
            let Tally { answers, failures, last_answer } = &origin.tally;
            let occurred = CASES.into_iter().zip(*failures).filter(|(_, count)| *count > 0);
            SourceReport {
                title: Arc::clone(&origin.title),
                backends: self.membership.count(index),
                answers: *answers,
                failures: occurred.collect(),
                last_answer: *last_answer,
                troubles: Vec::new(),
                doubt: origin.doubt,
                uses_saved: origin.is_saved_reported && last_answer.is_none(),
            }
        };
        let mut reports: Vec<_> = self.sources.iter().enumerate().map(report).collect();
        for (subject, entry) in &self.entries {
            if let Some(trouble) = entry.failures.latest() {
                for index in sources_of(entry) {
                    reports[index].troubles.push((name(subject), trouble.clone()));
                }
            }
        }
        reports
    }

    /// The source whose word on the backend counts; none: the configuration itself lists it.
    pub fn source_of(&self, backend: &str) -> Option<usize> {
        self.membership.source_of(backend)
    }

    /// There is news that `found` does not show yet.
    pub fn is_changing(&self) -> bool {
        self.membership.has_changed()
    }

    pub(super) fn count_answer(&mut self, subject: &Subject, now: Duration) {
        let Some(entry) = self.entries.get(subject) else { return };
        for index in sources_of(entry) {
            let origin = &mut self.sources[index];
            origin.tally.answers += 1;
            if entry.heads.contains(&index) || origin.is_template() {
                origin.tally.last_answer = Some(now);
            }
        }
    }

    pub(super) fn count_failure(&mut self, subject: &Subject, trouble: &Trouble) {
        let Some(entry) = self.entries.get(subject) else { return };
        for index in sources_of(entry) {
            self.sources[index].tally.failures[trouble.case()] += 1;
        }
    }

    /// What is asked about, with the first source that asks.
    pub(super) fn describe(&self, subject: &Subject) -> Arc<str> {
        let entry = self.entries.get(subject);
        match entry.and_then(|entry| sources_of(entry).first().copied()) {
            Some(index) => format!("sources[{index}]: {}", name(subject)).into(),
            // Its last user has gone meanwhile.
            None => format!("sources: {}", name(subject)).into(),
        }
    }

    /// A source and its place.
    pub(super) fn label(&self, index: usize) -> Arc<str> {
        format!("sources[{index}]: {}", self.sources[index].title).into()
    }
}

/// Those that ask about it, each once, in order.
fn sources_of(entry: &Entry) -> Vec<usize> {
    let users = entry.users.iter().map(|(index, _)| *index);
    let mut sources: Vec<usize> = entry.heads.iter().copied().chain(users).collect();
    sources.sort_unstable();
    sources.dedup();
    sources
}

fn name(subject: &Subject) -> Arc<str> {
    match subject {
        Subject::Name(Question { name, kind: Kind::Addresses }) => format!("addresses of {name}"),
        Subject::Name(Question { name, kind: Kind::Services }) => format!("services of {name}"),
        Subject::File(path) => format!("file {}", path.display()),
    }
    .into()
}
