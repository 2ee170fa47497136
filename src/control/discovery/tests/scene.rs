//! The resolver and the files that the tests give to a machine, and what it made of them.
//! Everything happens on virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Discovery, Hold, Source, SourceKind};
use crate::control::discovery::*;

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// One machine and the world as it is told.
pub(super) struct Scene {
    pub machine: PoolDiscovery,
    pub now: Duration,
    /// What is answered at once; what is not in here is left open.
    pub zone: BTreeMap<Question, Outcome>,
    pub files: BTreeMap<PathBuf, Result<String, String>>,
    /// Asked and not answered.
    pub open: BTreeSet<Question>,
    pub asked: Vec<(Duration, Question)>,
    pub events: Vec<String>,
    /// When the set changed.
    pub changes: Vec<Duration>,
}

pub(super) fn options(kinds: &[SourceKind]) -> DiscoveryOptions {
    let source = |kind: &SourceKind| Source {
        kind: kind.clone(),
        weight: 1,
        tier: 0,
        max_connections: None,
    };
    DiscoveryOptions {
        sources: kinds.iter().map(source).collect(),
        fixed: Vec::new(),
        discovery: Discovery::default(),
        saved: Saved::default(),
    }
}

pub(super) fn dns(name: &str) -> SourceKind {
    SourceKind::Dns { name: name.into(), port: 1 }
}

pub(super) fn srv(name: &str) -> SourceKind {
    SourceKind::Srv { name: name.into() }
}

pub(super) fn template(names: &[&str]) -> SourceKind {
    SourceKind::Template { names: names.iter().map(|name| name.to_string()).collect(), port: 1 }
}

pub(super) fn file(path: &str) -> SourceKind {
    SourceKind::File { path: path.into() }
}

pub(super) fn endless() -> Hold {
    let (nxdomain, empty, unreadable) = (None, None, None);
    Hold { nxdomain, empty, refused: None, failed: None, timeout: None, unreadable }
}

pub(super) fn addresses_of(name: &str) -> Question {
    Question { name: name.into(), kind: Kind::Addresses }
}

pub(super) fn services_of(name: &str) -> Question {
    Question { name: name.into(), kind: Kind::Services }
}

pub(super) fn ips(ips: &[&str]) -> Outcome {
    let records = ips.iter().map(|ip| Record::Address(ip.parse().unwrap())).collect();
    Ok(Answer { records, valid_for: 10 * SECOND })
}

/// Targets on port 1 without additional addresses.
pub(super) fn targets(names: &[&str]) -> Outcome {
    let service = |name: &&str| {
        let (target, addresses) = ((*name).into(), Vec::new());
        Record::Service(Service { target, port: 1, priority: 0, weight: 1, addresses })
    };
    Ok(Answer { records: names.iter().map(service).collect(), valid_for: 10 * SECOND })
}

impl Scene {
    pub fn new(options: DiscoveryOptions) -> Scene {
        Scene {
            machine: PoolDiscovery::new(options, 1),
            now: Duration::ZERO,
            zone: BTreeMap::new(),
            files: BTreeMap::new(),
            open: BTreeSet::new(),
            asked: Vec::new(),
            events: Vec::new(),
            changes: Vec::new(),
        }
    }

    pub fn set(&mut self, question: Question, outcome: Outcome) {
        self.zone.insert(question, outcome);
    }

    /// Answers an open question, or one that was never asked.
    pub fn answer(&mut self, question: Question, outcome: Outcome) {
        self.open.remove(&question);
        self.handle(Input::Answered { question, outcome });
    }

    pub fn write(&mut self, path: &str, contents: &str) {
        self.files.insert(path.into(), Ok(contents.into()));
        let (path, contents) = (path.into(), Ok(contents.into()));
        self.handle(Input::FileRead { path, contents });
    }

    /// Lets so many seconds pass.
    pub fn pass(&mut self, seconds: u64) {
        self.run_to(self.now + u32::try_from(seconds).unwrap() * SECOND);
    }

    pub fn run_to(&mut self, end: Duration) {
        while let Some(deadline) = self.machine.next_deadline().filter(|time| *time <= end) {
            self.now = self.now.max(deadline);
            self.handle(Input::Tick);
            let next = self.machine.next_deadline();
            assert!(next.is_none_or(|next| next > self.now), "a deadline that is over stays");
        }
        self.now = end;
    }

    /// Hands this over, and everything that the world answers to it at once.
    pub fn handle(&mut self, input: Input) {
        self.machine.handle(input, self.now);
        while let Some(output) = self.machine.next_output() {
            let answer = match output {
                Output::Ask(question) => self.ask(question),
                Output::ReadFile(path) => {
                    let contents = self.files.get(&path).cloned();
                    contents.map(|contents| Input::FileRead { path, contents })
                }
                Output::Changed => {
                    self.changes.push(self.now);
                    None
                }
                Output::Event(event) => {
                    self.events.push(event.to_string());
                    None
                }
            };
            if let Some(answer) = answer {
                self.machine.handle(answer, self.now);
            }
        }
    }

    fn ask(&mut self, question: Question) -> Option<Input> {
        self.asked.push((self.now, question.clone()));
        assert!(self.open.insert(question.clone()), "asked twice at once: {question:?}");
        let outcome = self.zone.get(&question)?.clone();
        self.open.remove(&question);
        Some(Input::Answered { question, outcome })
    }

    /// The names of all backends, between spaces.
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.machine.found().iter().map(|found| &*found.name).collect();
        names.join(" ")
    }

    /// Each backend with its addresses, weight and tier.
    pub fn backends(&self) -> Vec<String> {
        let line = |found: &Found| {
            let addresses: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
            let addresses = addresses.join(",");
            format!("{} {addresses} w{} t{}", found.name, found.weight, found.tier)
        };
        self.machine.found().iter().map(line).collect()
    }

    /// Events that hold this text.
    pub fn told(&self, text: &str) -> usize {
        self.events.iter().filter(|event| event.contains(text)).count()
    }

    pub fn times_asked(&self, question: &Question) -> usize {
        self.asked.iter().filter(|(_, asked)| asked == question).count()
    }
}
