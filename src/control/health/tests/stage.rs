//! A pool's health on virtual time, with backends that answer as they are told. Asserts what holds
//! for every sequence of outputs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::balance::Standing;
use crate::config::{Check, Ejection, Health};
use crate::control::health::{Entrant, Input, Output, PoolHealth, ProbeFailure, ProbeId};

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Every 2 s, in doubt every second; up after 2, down after 3; no jitter.
pub(super) fn health() -> Health {
    Health {
        check: Check::Tcp,
        interval: 2 * SECOND,
        fast_interval: SECOND,
        timeout: SECOND,
        rise: 2,
        fall: 3,
        jitter: 0,
        source_addresses: Vec::new(),
        port: None,
        tls: None,
    }
}

/// After 5 failures for 10 s, at most for 60 s, at most half of the pool.
pub(super) fn ejection() -> Ejection {
    Ejection {
        failures: 5,
        window: SECOND,
        base_time: 10 * SECOND,
        max_time: 60 * SECOND,
        max_share: 50,
    }
}

pub(super) struct Stage {
    pub health: PoolHealth,
    pub now: Duration,
    pub members: BTreeMap<Arc<str>, Vec<SocketAddr>>,
    /// What the next probes of a name answer; a name that is not there answers well.
    pub answers: BTreeMap<Arc<str>, ProbeFailure>,
    /// How long a probe takes.
    pub took: Duration,
    /// Probes under way, with their end.
    pub in_flight: BTreeMap<Arc<str>, (ProbeId, Duration)>,
    /// Every output but the probes, with its time in milliseconds, since last taken.
    pub log: Vec<String>,
    /// When each probe began, since last taken.
    pub probes: Vec<(u128, Arc<str>)>,
    pub outputs: Vec<Output>,
    /// Those that are listed with drain.
    pub drains: BTreeSet<Arc<str>>,
    /// Those that ail, as told.
    pub ailing: BTreeSet<Arc<str>>,
}

impl Stage {
    pub(super) fn new(
        health: Option<Health>,
        ejection: Option<Ejection>,
        slow_start: Option<Duration>,
    ) -> Stage {
        Stage {
            health: PoolHealth::new(health, ejection, slow_start, 7),
            now: Duration::ZERO,
            members: BTreeMap::new(),
            answers: BTreeMap::new(),
            took: Duration::ZERO,
            in_flight: BTreeMap::new(),
            log: Vec::new(),
            probes: Vec::new(),
            outputs: Vec::new(),
            drains: BTreeSet::new(),
            ailing: BTreeSet::new(),
        }
    }

    /// The members are these, each with an address of its own.
    pub(super) fn members(&mut self, names: &[&str]) {
        let address = |name: &str| {
            let port = 1000 + name.bytes().map(u16::from).sum::<u16>();
            vec![SocketAddr::from(([127, 0, 0, 1], port))]
        };
        self.members = names.iter().map(|name| (Arc::from(*name), address(name))).collect();
        self.publish();
    }

    pub(super) fn publish(&mut self) {
        let members = self.members.iter().map(|(name, addresses)| Entrant {
            name,
            addresses,
            drain: self.drains.contains(name),
        });
        self.health.set_members(members, self.now);
        self.ailing.retain(|name| self.members.contains_key(name));
        self.collect();
        let gone = self.in_flight.keys().find(|name| !self.members.contains_key(*name));
        assert_eq!(gone, None, "a probe of nobody is under way");
    }

    pub(super) fn handle(&mut self, input: Input) {
        self.health.handle(input, self.now);
        self.collect();
    }

    pub(super) fn failures(&mut self, name: &str, in_a_row: u32) {
        self.handle(Input::Failures { name: name.into(), in_a_row });
    }

    pub(super) fn drain(&mut self, name: &str, on: bool) {
        self.handle(Input::Drain { name: name.into(), on });
    }

    pub(super) fn standing(&self, name: &str) -> Standing {
        self.health.standing(name)
    }

    /// The next thing that happens by itself, and nothing after `end`; whether there was one.
    pub(super) fn step(&mut self, end: Duration) -> bool {
        let deadline = self.health.next_deadline();
        let answer = self.in_flight.iter().map(|(name, (_, at))| (*at, name)).min();
        let answer = answer.map(|(at, name)| (at, Arc::clone(name)));
        let next = [deadline, answer.as_ref().map(|(at, _)| *at)].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= end) else { return false };
        self.now = self.now.max(next);
        match answer.filter(|(at, _)| *at <= self.now) {
            Some((_, name)) => self.answer(&name),
            None => {
                self.handle(Input::Tick);
                let deadline = self.health.next_deadline();
                assert!(deadline.is_none_or(|at| at > self.now), "a tick leaves something due");
            }
        }
        true
    }

    fn answer(&mut self, name: &Arc<str>) {
        let (probe, _) = self.in_flight.remove(name).unwrap();
        let result = self.answers.get(name).map_or(Ok(()), |failure| Err(*failure));
        self.handle(Input::Probed { name: Arc::clone(name), probe, result, took: self.took });
    }

    /// Lets time pass until one more probe of a name has ended, well or not.
    pub(super) fn next_probe(&mut self, name: &str, well: bool) {
        match well {
            true => drop(self.answers.remove(name)),
            false => drop(self.answers.insert(name.into(), ProbeFailure::Refused)),
        }
        let ended = |stage: &Stage| stage.health.report(name).unwrap().last_probe;
        let before = ended(self);
        while ended(self) == before {
            assert!(self.step(Duration::MAX), "{name} is never probed");
        }
    }

    /// Lets so many seconds pass.
    pub(super) fn pass(&mut self, seconds: u32) {
        let end = self.now + seconds * SECOND;
        while self.step(end) {}
        self.now = end;
    }

    pub(super) fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    pub(super) fn take_probes(&mut self, name: &str) -> Vec<u128> {
        let probes = std::mem::take(&mut self.probes);
        probes.into_iter().filter(|(_, probed)| **probed == *name).map(|(at, _)| at).collect()
    }

    fn collect(&mut self) {
        while let Some(output) = self.health.next_output() {
            let at = self.now.as_millis();
            match &output {
                Output::Probe { probe, name, addresses } => {
                    assert_eq!(self.members[name], **addresses, "{name}");
                    let ends = (*probe, self.now + self.took);
                    let other = self.in_flight.insert(Arc::clone(name), ends);
                    assert_eq!(other, None, "two probes of {name} at a time");
                    self.probes.push((at, Arc::clone(name)));
                }
                Output::Cancel { probe, name } => {
                    let cancelled = self.in_flight.remove(name).map(|(probe, _)| probe);
                    assert_eq!(cancelled, Some(*probe), "{name}");
                    self.log.push(format!("{at} {name} cancel"));
                }
                Output::Eject { name } => self.log.push(format!("{at} {name} eject")),
                Output::Readmit { name } => self.log.push(format!("{at} {name} readmit")),
                Output::Ailing { name, on: true } => drop(self.ailing.insert(Arc::clone(name))),
                Output::Ailing { name, on: false } => drop(self.ailing.remove(name)),
                Output::Changed(change) => {
                    assert_ne!(change.from, Some(change.to));
                    assert_eq!(change.to, self.health.standing(&change.name));
                    let from = change.from.map_or("new".to_owned(), described);
                    let (to, cause) = (described(change.to), change.cause.as_str());
                    self.log.push(format!("{at} {} {from} -> {to} {cause}", change.name));
                }
            }
            self.outputs.push(output);
        }
    }
}

pub(super) fn described(standing: Standing) -> String {
    match standing {
        Standing::Starting(percent) => format!("{percent}%"),
        other => other.as_str().to_owned(),
    }
}
