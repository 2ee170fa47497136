//! The discovery of one pool, sans-IO: answers and the time in, questions and the set of backends
//! out. Resolves, reads and logs nothing itself.
//!
//! Every name is asked on a schedule of its own; a failure keeps its last good answer for the
//! hold of its case. An answer that takes too much away is not believed. No failure of the
//! resolver, however long, takes the last backends of a pool.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::entry::{Entry, Turn};
use super::event::{Doubt, Event, Kept, changes};
use super::failures::Trouble;
use super::found::Found;
use super::listing;
use super::membership::{Membership, Resolution};
use super::question::{Answer, Failure, Kind, Outcome, Question};
use super::report::Tally;
use super::roster::{self, Roster};
use super::saved::Saved;
use super::schedule::{Agenda, Intervals, Purpose, Subject};
use crate::config::{Discovery, Hold, Source, SourceKind};

/// What a pool is made of.
pub struct DiscoveryOptions {
    /// In order: of two that name the same backend, the first has the word.
    pub sources: Vec<Source>,
    /// Backends that the configuration lists itself, with distinct names; before every source.
    pub fixed: Vec<Found>,
    pub discovery: Discovery,
    /// What an earlier run has saved: used for each source that does not answer at the start.
    pub saved: Saved,
}

/// What has happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// An `Ask` has ended. Every one must, within a time that the resolver bounds.
    Answered { question: Question, outcome: Outcome },
    /// The text of a file, or in a few words why there is none; after a `ReadFile`, and whenever
    /// the file has changed.
    FileRead { path: PathBuf, contents: Result<String, String> },
    /// Names are asked of others from now on, or looked for in other domains.
    OthersAreAsked,
    /// The deadline has come.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Ask(Question),
    ReadFile(PathBuf),
    /// `found` gives another set of backends.
    Changed,
    Event(Event),
}

pub struct PoolDiscovery {
    pub(super) sources: Vec<Origin>,
    pub(super) membership: Membership,
    pub(super) entries: BTreeMap<Subject, Entry>,
    agenda: Agenda,
    intervals: Intervals,
    hold: Hold,
    /// As last published, by name.
    found: Vec<Found>,
    published_at: Option<Duration>,
    outputs: VecDeque<Output>,
}

/// A source as configured, and what is to be known of it besides its backends.
pub(super) struct Origin {
    pub source: Source,
    pub title: Arc<str>,
    /// What an earlier run saved, until the source itself has said something.
    saved: BTreeMap<Arc<str>, Found>,
    pub is_saved_reported: bool,
    /// Why the last answer was not believed, as reported.
    pub doubt: Option<Doubt>,
    pub tally: Tally,
}

impl Origin {
    /// It has no question of its own: its names are all there is to ask.
    pub fn is_template(&self) -> bool {
        matches!(self.source.kind, SourceKind::Template { .. })
    }
}

/// The least time between two changes of `found`, so that thousands of answers that come one by
/// one make tens of Snapshots. The first change is published at once.
const PACE: Duration = Duration::from_millis(100);

impl PoolDiscovery {
    /// Everything is asked for at the first `handle`.
    pub fn new(options: DiscoveryOptions, seed: u64) -> PoolDiscovery {
        let DiscoveryOptions { sources, fixed, discovery, saved } = options;
        let mut membership = Membership::new(sources.len(), fixed, &discovery);
        membership.take_change();
        let origin = |source: Source| {
            let title = roster::title(&source.kind);
            let saved = saved.backends(&title, &source);
            let (is_saved_reported, doubt, tally) = (false, None, Tally::default());
            Origin { source, title, saved, is_saved_reported, doubt, tally }
        };
        let mut machine = PoolDiscovery {
            sources: sources.into_iter().map(origin).collect(),
            found: membership.compose(),
            membership,
            entries: BTreeMap::new(),
            agenda: Agenda::default(),
            intervals: Intervals::new(&discovery, seed),
            hold: discovery.hold,
            published_at: None,
            outputs: VecDeque::new(),
        };
        for index in 0..machine.sources.len() {
            machine.start(index);
        }
        machine
    }

    /// Takes over from a machine with other options, before the first `handle`: what its sources
    /// had, in the form of `to_save`, counts as theirs until they answer.
    pub fn resume(&mut self, current: &Saved) {
        for (index, origin) in self.sources.iter().enumerate() {
            let backends = current.backends(&origin.title, &origin.source);
            self.membership.restore(index, backends.into_values());
        }
        self.membership.take_change();
        self.found = self.membership.compose();
    }

    /// The backends of all sources, with distinct names, by name. It changes with `Changed` only.
    pub fn found(&self) -> &[Found] {
        &self.found
    }

    /// What to save: what each source has, or was saved of it before.
    pub fn to_save(&self) -> Saved {
        let mut saved = Saved::default();
        for (index, origin) in self.sources.iter().enumerate() {
            let backends = origin.saved.values().chain(self.membership.backends(index));
            let distinct: BTreeMap<&Arc<str>, &Found> =
                backends.map(|found| (&found.name, found)).collect();
            saved.insert(&origin.title, distinct.into_values().cloned());
        }
        saved
    }

    /// The files to watch.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.entries.keys().filter_map(|subject| match subject {
            Subject::File(path) => Some(&**path),
            Subject::Name(_) => None,
        })
    }

    /// When to call `handle` with `Tick` at the latest.
    pub fn next_deadline(&self) -> Option<Duration> {
        let publication = self.membership.has_changed().then(|| self.next_publication());
        self.agenda.next().into_iter().chain(publication).min()
    }

    /// What is to be done; to be drained after each `handle`.
    pub fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// `now` is the time since the control thread began, and never goes back.
    pub fn handle(&mut self, input: Input, now: Duration) {
        match input {
            Input::Answered { question, outcome } => self.answered(question, outcome, now),
            Input::FileRead { path, contents } => self.file_read(&path, contents, now),
            Input::OthersAreAsked => self.ask_others(now),
            Input::Tick => {}
        }
        while let Some((purpose, subject)) = self.agenda.take_due(now) {
            match purpose {
                Purpose::Turn => self.take_turn(subject, now),
                Purpose::Expiry => self.expire(&subject),
            }
        }
        self.publish(now);
    }

    fn start(&mut self, index: usize) {
        let source = &self.sources[index].source;
        let ask = |name: &str, kind| Subject::Name(Question { name: name.into(), kind });
        let subject = match &source.kind {
            SourceKind::Dns { name, .. } => ask(name, Kind::Addresses),
            SourceKind::Srv { name } => ask(name, Kind::Services),
            SourceKind::File { path } => Subject::File(path.as_path().into()),
            SourceKind::Template { names, port } => {
                let roster = roster::of_names(source, *port, names);
                return self.adopt(index, roster);
            }
        };
        self.entry(subject).heads.push(index);
    }

    /// The entry of a subject, due at once if there was none.
    fn entry(&mut self, subject: Subject) -> &mut Entry {
        let agenda = &mut self.agenda;
        self.entries.entry(subject).or_insert_with_key(|subject| {
            agenda.add(Duration::ZERO, Purpose::Turn, subject);
            Entry::new()
        })
    }

    fn answered(&mut self, question: Question, outcome: Outcome, now: Duration) {
        let kind = question.kind;
        let subject = Subject::Name(question);
        let Some(entry) = self.entries.get_mut(&subject) else { return };
        if entry.turn != Turn::Asked {
            return;
        }
        if std::mem::take(&mut entry.is_misdirected) && outcome.is_err() {
            let soon = self.intervals.soon();
            return self.set_next(&subject, soon, now);
        }
        let told = match (outcome, kind) {
            (Err(failure), _) => Err(failure),
            (Ok(answer), Kind::Addresses) => self.told_addresses(&subject, &answer, now),
            (Ok(answer), Kind::Services) => self.told_services(&subject, answer, now),
        };
        if let Err(failure) = told {
            self.failed(&subject, Trouble::Unanswered(failure), now);
        }
    }

    fn told_addresses(
        &mut self,
        subject: &Subject,
        answer: &Answer,
        now: Duration,
    ) -> Result<(), Failure> {
        let ips = roster::addresses(&answer.records);
        if ips.is_empty() {
            return Err(Failure::Empty);
        }
        self.succeeded(subject, Some(answer.valid_for), now);
        let Some(entry) = self.entries.get_mut(subject) else { return Ok(()) };
        for (source, name) in &entry.users {
            self.membership.resolved(*source, name, &ips);
            self.sources[*source].saved.remove(name);
        }
        entry.ips = Some(ips.clone());
        self.told(subject, now, |source| match &source.kind {
            SourceKind::Dns { port, .. } => roster::of_addresses(source, *port, &ips),
            _ => Roster::new(),
        });
        Ok(())
    }

    fn told_services(
        &mut self,
        subject: &Subject,
        answer: Answer,
        now: Duration,
    ) -> Result<(), Failure> {
        let services = roster::services(answer.records);
        if !roster::hold_a_backend(&services) {
            return Err(Failure::Empty);
        }
        self.succeeded(subject, Some(answer.valid_for), now);
        self.told(subject, now, |source| roster::of_services(source, &services));
        Ok(())
    }

    fn file_read(&mut self, path: &Path, contents: Result<String, String>, now: Duration) {
        let subject = Subject::File(path.into());
        if !self.entries.contains_key(&subject) {
            return;
        }
        match contents.and_then(|text| listing::parse(path, &text)) {
            Ok(listing) => {
                self.succeeded(&subject, None, now);
                self.told(&subject, now, |source| roster::of_listing(source, &listing));
            }
            Err(reason) => self.failed(&subject, Trouble::Unreadable(reason), now),
        }
    }

    /// Hands a good answer to the sources that it is the word of.
    fn told(&mut self, subject: &Subject, now: Duration, roster: impl Fn(&Source) -> Roster) {
        let heads = self.entries.get(subject).map_or_else(Vec::new, |entry| entry.heads.clone());
        let mut confirm = false;
        for index in heads {
            let roster = roster(&self.sources[index].source);
            let verdict = self.membership.judge(index, &roster);
            let news = self.sources[index].doubt != verdict.err();
            self.sources[index].doubt = verdict.err();
            match verdict {
                Ok(()) => {
                    self.adopt(index, roster);
                    self.sources[index].saved.clear();
                }
                Err(doubt) => {
                    confirm |= matches!(doubt, Doubt::Loss { .. });
                    if news {
                        let source = self.label(index);
                        self.tell(Event::Doubted { source, doubt });
                    }
                }
            }
        }
        if confirm {
            let soon = self.intervals.soon();
            self.set_turn(subject, Turn::Due(now.saturating_add(soon)));
        }
    }

    /// The source wants this roster: the names of new backends are asked for.
    fn adopt(&mut self, index: usize, roster: Roster) {
        let uses = self.membership.uses(index, &roster);
        // Begun before ended: a name that goes from one backend to another stays in use.
        for (question, name) in uses.begun {
            self.begin_use(question, index, name);
        }
        for (question, name) in uses.ended {
            self.end_use(question, index, name);
        }
        let entries = &self.entries;
        self.membership.adopt(index, roster, |question| {
            let entry = entries.get(&Subject::Name(question.clone()));
            entry.map_or(Resolution::Pending, Entry::resolution)
        });
    }

    fn begin_use(&mut self, question: Question, index: usize, name: Arc<str>) {
        let subject = Subject::Name(question);
        let entry = self.entry(subject.clone());
        entry.users.insert((index, name));
        if let Turn::Resting(until) = entry.turn {
            self.set_turn(&subject, Turn::Due(until));
        }
    }

    fn end_use(&mut self, question: Question, index: usize, name: Arc<str>) {
        let subject = Subject::Name(question);
        let least = self.intervals.least();
        let Some(entry) = self.entries.get_mut(&subject) else { return };
        entry.users.remove(&(index, name));
        if !entry.is_needed() && entry.turn != Turn::Asked {
            let until = entry.asked_at.map_or(Duration::ZERO, |at| at.saturating_add(least));
            self.set_turn(&subject, Turn::Resting(until));
        }
    }

    /// A good answer. Without a time to live it holds until the file says otherwise.
    fn succeeded(&mut self, subject: &Subject, valid_for: Option<Duration>, now: Duration) {
        self.count_answer(subject, now);
        let Some(entry) = self.entries.get_mut(subject) else { return };
        let failures = std::mem::take(&mut entry.failures);
        (entry.is_dropped, entry.doubt) = (false, None);
        if let Some(expiry) = entry.expiry.take() {
            self.agenda.remove(expiry, Purpose::Expiry, subject);
        }
        if failures.count() > 0 {
            self.tell(Event::Recovered { subject: self.describe(subject) });
        }
        match valid_for {
            Some(valid_for) => {
                let interval = self.intervals.valid_for(valid_for);
                self.set_next(subject, interval, now);
            }
            None => self.set_turn(subject, Turn::Watched),
        }
    }

    fn failed(&mut self, subject: &Subject, trouble: Trouble, now: Duration) {
        self.count_failure(subject, &trouble);
        let Some(entry) = self.entries.get_mut(subject) else { return };
        let news = entry.failures.note(&trouble, now);
        let count = entry.failures.count();
        if count == 1 {
            for (source, name) in &entry.users {
                self.membership.unresolved(*source, name);
            }
        }
        let interval = self.intervals.retry(count);
        self.set_next(subject, interval, now);
        if trouble.is_silence() {
            self.use_saved(subject);
        } else {
            self.forget_saved(subject);
        }
        if news {
            let kept = self.kept(subject, &trouble);
            self.tell(Event::Failed { subject: self.describe(subject), trouble, kept });
        }
        self.set_expiry(subject, now);
    }

    fn kept(&self, subject: &Subject, trouble: &Trouble) -> Kept {
        let Some(entry) = self.entries.get(subject) else { return Kept::Nothing };
        let mut names = entry.users.iter();
        let something = entry.heads.iter().any(|index| self.membership.has_backends(*index))
            || names.any(|(index, name)| self.membership.has(*index, name));
        match trouble.hold(&self.hold) {
            _ if !something => Kept::Nothing,
            Some(hold) => Kept::For(hold),
            None => Kept::ForEver,
        }
    }

    /// Puts what was saved of those who have said nothing yet in the place of the answer that
    /// does not come.
    fn use_saved(&mut self, subject: &Subject) {
        let Some(entry) = self.entries.get(subject) else { return };
        let mut told = Vec::new();
        for index in &entry.heads {
            let origin = &mut self.sources[*index];
            let saved = std::mem::take(&mut origin.saved);
            if !saved.is_empty() && !self.membership.has_believed(*index) {
                self.membership.restore(*index, saved.into_values());
                told.push(*index);
            }
        }
        for (index, name) in entry.users.iter().filter(|_| entry.ips.is_none()) {
            let origin = &mut self.sources[*index];
            if let Some(found) = origin.saved.remove(name) {
                self.membership.restore(*index, [found]);
                told.push(*index);
            }
        }
        for index in told {
            if !std::mem::replace(&mut self.sources[index].is_saved_reported, true) {
                let source = self.label(index);
                self.tell(Event::SavedUsed { source });
            }
        }
    }

    /// That there is nothing is an answer too.
    fn forget_saved(&mut self, subject: &Subject) {
        let Some(entry) = self.entries.get(subject) else { return };
        for index in &entry.heads {
            self.sources[*index].saved.clear();
        }
        for (index, name) in &entry.users {
            self.sources[*index].saved.remove(name);
        }
    }

    fn set_expiry(&mut self, subject: &Subject, now: Duration) {
        let Some(entry) = self.entries.get_mut(subject) else { return };
        if let Some(before) = entry.expiry.take() {
            self.agenda.remove(before, Purpose::Expiry, subject);
        }
        match entry.failures.expiry(&self.hold) {
            None => {}
            Some(expiry) if expiry <= now => self.expire(subject),
            Some(expiry) => {
                entry.expiry = Some(expiry);
                self.agenda.add(expiry, Purpose::Expiry, subject);
            }
        }
    }

    /// The hold is over: what the subject has last said no longer counts, as far as the pool can
    /// do without it. What must stay is tried again with the next failure.
    fn expire(&mut self, subject: &Subject) {
        let Some(entry) = self.entries.get_mut(subject) else { return };
        entry.expiry = None;
        if entry.is_dropped {
            return;
        }
        entry.ips = None;
        let floor = usize::from(entry.failures.latest().is_some_and(Trouble::is_silence));
        let (mut dropped, mut doubt) = (false, None);
        for (index, name) in &entry.users {
            let had = self.membership.has(*index, name);
            match self.membership.dismiss(*index, name, floor) {
                Ok(()) => dropped |= had,
                Err(reason) => doubt = Some(reason),
            }
        }
        for index in entry.heads.clone() {
            let had = self.membership.has_backends(index);
            match self.membership.may_clear(index, floor) {
                Ok(()) => {
                    self.clear(index);
                    dropped |= had;
                }
                Err(reason) => doubt = Some(reason),
            }
        }
        if dropped {
            self.tell(Event::HoldEnded { subject: self.describe(subject) });
        }
        let Some(entry) = self.entries.get_mut(subject) else { return };
        entry.is_dropped = doubt.is_none();
        let before = std::mem::replace(&mut entry.doubt, doubt);
        if let Some(doubt) = doubt.filter(|_| before.is_none()) {
            self.tell(Event::Doubted { source: self.describe(subject), doubt });
        }
    }

    fn clear(&mut self, index: usize) {
        for (question, name) in self.membership.uses(index, &Roster::new()).ended {
            self.end_use(question, index, name);
        }
        self.membership.clear(index);
    }

    /// Its turn has come.
    fn take_turn(&mut self, subject: Subject, now: Duration) {
        let Some(entry) = self.entries.get_mut(&subject) else { return };
        if let Turn::Resting(_) = entry.turn {
            self.forget(&subject);
            return;
        }
        entry.turn = Turn::Asked;
        entry.asked_at = Some(now);
        self.outputs.push_back(match subject {
            Subject::Name(question) => Output::Ask(question),
            Subject::File(path) => Output::ReadFile(path.to_path_buf()),
        });
    }

    fn forget(&mut self, subject: &Subject) {
        if let Some(expiry) = self.entries.remove(subject).and_then(|entry| entry.expiry) {
            self.agenda.remove(expiry, Purpose::Expiry, subject);
        }
    }

    /// What failed is asked again as soon as it may be, and that a question already on its way
    /// fails says nothing.
    fn ask_others(&mut self, now: Duration) {
        let mut failing = Vec::new();
        for (subject, entry) in &mut self.entries {
            match (subject, entry.turn) {
                (Subject::Name(_), Turn::Asked) => entry.is_misdirected = true,
                (Subject::Name(_), Turn::Due(time)) if entry.failures.count() > 0 => {
                    let least = self.intervals.least();
                    let soonest = entry.asked_at.map_or(now, |at| at.saturating_add(least));
                    failing.push((subject.clone(), soonest.max(now).min(time)));
                }
                _ => {}
            }
        }
        for (subject, time) in failing {
            self.set_turn(&subject, Turn::Due(time));
        }
    }

    /// The next turn after an answer; nobody may need it any more.
    fn set_next(&mut self, subject: &Subject, interval: Duration, now: Duration) {
        let needed = self.entries.get(subject).is_some_and(Entry::is_needed);
        let turn = if needed {
            Turn::Due(now.saturating_add(interval))
        } else {
            Turn::Resting(now.saturating_add(self.intervals.least()))
        };
        self.set_turn(subject, turn);
    }

    fn set_turn(&mut self, subject: &Subject, turn: Turn) {
        let Some(entry) = self.entries.get_mut(subject) else { return };
        if let Some(before) = entry.turn.time() {
            self.agenda.remove(before, Purpose::Turn, subject);
        }
        entry.turn = turn;
        if let Some(time) = turn.time() {
            self.agenda.add(time, Purpose::Turn, subject);
        }
    }

    fn next_publication(&self) -> Duration {
        self.published_at.map_or(Duration::ZERO, |at| at.saturating_add(PACE))
    }

    fn publish(&mut self, now: Duration) {
        if now < self.next_publication() || !self.membership.take_change() {
            return;
        }
        let found = self.membership.compose();
        if found == self.found {
            return;
        }
        let before = std::mem::replace(&mut self.found, found);
        let told = changes(&before, &self.found).into_iter().map(Output::Event);
        self.outputs.extend(told);
        self.outputs.push_back(Output::Changed);
        self.published_at = Some(now);
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}
