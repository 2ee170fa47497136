//! The health of one pool's members: when each is probed, which are ejected, what each stands at.
//! Sends no probe and reads no clock: `handle`, `next_output`, `next_deadline`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::agenda::Agenda;
use super::drain::Drain;
use super::event::{Cause, Change, Entrant, Input, LastProbe, Output, ProbeId, Report};
use super::member::{Member, Probing};
use super::slow_start::SlowStart;
use crate::balance::Standing;
use crate::config::{Ejection, Health};

/// What is known of a pool's members, and what is to be done about it.
#[derive(Debug)]
pub struct PoolHealth {
    health: Option<Health>,
    ejection: Option<Ejection>,
    slow_start: SlowStart,
    random: fastrand::Rng,
    members: BTreeMap<Arc<str>, Member>,
    /// It has had members.
    begun: bool,
    /// What the operator said of members that have gone. Discovery may lose and find again what
    /// the operator works on.
    ordered_and_gone: BTreeMap<Arc<str>, Drain>,
    agenda: Agenda,
    outputs: VecDeque<Output>,
    probes_begun: u64,
    /// Members that take new connections.
    eligible: usize,
    /// Members with an ejection that has not ended, whatever else speaks against them.
    ejected: usize,
}

impl PoolHealth {
    /// The health of a pool without members. Without `health` nobody is probed and everyone is
    /// taken to be well; without `ejection` nobody is ejected; without `slow_start` a member that
    /// comes, or comes back, has its whole share at once.
    pub fn new(
        health: Option<Health>,
        ejection: Option<Ejection>,
        slow_start: Option<Duration>,
        seed: u64,
    ) -> PoolHealth {
        PoolHealth {
            health,
            ejection,
            slow_start: SlowStart::new(slow_start),
            random: fastrand::Rng::with_seed(seed),
            members: BTreeMap::new(),
            begun: false,
            ordered_and_gone: BTreeMap::new(),
            agenda: Agenda::default(),
            outputs: VecDeque::new(),
            probes_begun: 0,
            eligible: 0,
            ejected: 0,
        }
    }

    /// The pool has these members, with distinct names, and no others.
    ///
    /// The first members that the pool ever has are up at once, so that a start waits for no probe.
    /// So are those that come when nobody else takes connections, as when the whole set is
    /// replaced: whoever connects would be refused until a probe has ended. All others that come
    /// later are admitted by their first probe, which is made at once. A member with other
    /// addresses keeps its standing and is probed at once.
    pub fn set_members<'a>(
        &mut self,
        members: impl IntoIterator<Item = Entrant<'a>>,
        now: Duration,
    ) {
        self.advance(now);
        let members: BTreeMap<_, _> =
            members.into_iter().map(|entrant| (entrant.name, entrant)).collect();
        let gone = self.members.keys().filter(|name| !members.contains_key(name));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.remove(&name);
        }
        let (count, starts, alone) = (members.len(), !self.begun, self.eligible == 0);
        self.begun |= count > 0;
        for (index, entrant) in members.into_values().enumerate() {
            let Entrant { name, addresses, drain } = entrant;
            if let Some(member) = self.members.get_mut(name) {
                if let Some(probe) = member.relocate(addresses, now) {
                    self.outputs.push_back(Output::Cancel { probe, name: Arc::clone(name) });
                }
                member.drain.list(drain);
                self.review(name, now, listed(drain));
            } else if starts {
                let due = now.saturating_add(self.spread(index, count));
                self.add(entrant, Member::trusted(addresses, self.first_probe(due), now), now);
            } else if alone {
                self.add(entrant, Member::trusted(addresses, self.first_probe(now), now), now);
            } else {
                self.add(entrant, Member::fresh(addresses, self.first_probe(now), now), now);
            }
        }
        self.advance(now);
    }

    pub fn handle(&mut self, input: Input, now: Duration) {
        match input {
            // Before time moves on: what an ejected member failed at before its return is not
            // held against it.
            Input::Failures { name, in_a_row } => self.failures(&name, in_a_row, now),
            Input::Probed { name, probe, result, took } => {
                self.advance(now);
                self.probed(&name, probe, LastProbe { at: now, took, result }, now);
            }
            Input::Drain { name, on } => {
                self.advance(now);
                self.drain(&name, on, now);
            }
            Input::Tick => {}
        }
        self.advance(now);
    }

    /// What is to be done, oldest first.
    pub fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When a `Tick` is due, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.agenda.next()
    }

    /// Down for what is no member, and for a new member before its first probe has ended.
    pub fn standing(&self, name: &str) -> Standing {
        self.members.get(name).map_or(Standing::Down, Member::standing)
    }

    pub fn report(&self, name: &str) -> Option<Report> {
        self.members.get(name).map(Member::report)
    }

    /// Every member in the order of the names.
    pub fn reports(&self) -> impl Iterator<Item = (&Arc<str>, Report)> {
        self.members.iter().map(|(name, member)| (name, member.report()))
    }

    /// The operator has said something of this name, which has gone and may come again.
    pub fn remembers(&self, name: &str) -> bool {
        self.ordered_and_gone.contains_key(name)
    }

    /// Those that have gone and would drain if they came again, by name.
    pub fn drained_and_gone(&self) -> impl Iterator<Item = &Arc<str>> {
        let gone = self.ordered_and_gone.iter();
        gone.filter(|(_, drain)| drain.is_on()).map(|(name, _)| name)
    }

    fn add(&mut self, entrant: Entrant<'_>, mut member: Member, now: Duration) {
        let name = entrant.name;
        let mut drain = self.ordered_and_gone.remove(name).unwrap_or_default();
        drain.list(entrant.drain);
        let cause = match drain.is_on() {
            true if drain.is_ordered() => Cause::Drained,
            true => Cause::DrainListed,
            false => Cause::Unprobed,
        };
        member.begin(drain);
        self.eligible += usize::from(member.standing().is_eligible());
        self.members.insert(Arc::clone(name), member);
        self.review(name, now, cause);
    }

    fn remove(&mut self, name: &Arc<str>) {
        let Some(mut member) = self.members.remove(name) else { return };
        if let Probing::InFlight(probe) = member.probing {
            self.outputs.push_back(Output::Cancel { probe, name: Arc::clone(name) });
        }
        if member.drain.is_ordered() && self.ordered_and_gone.len() < ORDERED_AND_GONE_MAX {
            self.ordered_and_gone.insert(Arc::clone(name), member.drain);
        }
        self.eligible -= usize::from(member.standing().is_eligible());
        self.ejected -= usize::from(member.ejections.until().is_some());
        self.agenda.plan(name, &mut member.entry, None);
    }

    fn probed(&mut self, name: &Arc<str>, id: ProbeId, probe: LastProbe, now: Duration) {
        let (Some(health), Some(member)) = (&self.health, self.members.get_mut(name)) else {
            return;
        };
        // The result of another member of that name, or of addresses that it had.
        if member.probing != Probing::InFlight(id) {
            return;
        }
        let cause = member.probed(probe, health);
        let pause = if member.is_in_doubt() { health.fast_interval } else { health.interval };
        let pause = jittered(pause, health.jitter, &mut self.random);
        member.probing = Probing::Due(now.saturating_add(pause));
        self.review(name, now, cause.unwrap_or(Cause::SlowStart));
    }

    fn failures(&mut self, name: &Arc<str>, in_a_row: u32, now: Duration) {
        let (Some(ejection), Some(member)) = (&self.ejection, self.members.get(name)) else {
            return;
        };
        // An ejection helps by sending connections elsewhere: there has to be somewhere.
        let spared = !member.standing().is_eligible() || self.eligible < 2;
        let share = self.members.len() * usize::from(ejection.max_share) / 100;
        if in_a_row < ejection.failures || spared || self.ejected >= share.max(1) {
            return;
        }
        let Some(member) = self.members.get_mut(name) else { return };
        let ejected_for = member.ejections.begin(ejection, now);
        self.ejected += 1;
        self.outputs.push_back(Output::Eject { name: Arc::clone(name) });
        self.review(name, now, Cause::ConnectionsFailed { in_a_row, ejected_for });
    }

    fn drain(&mut self, name: &Arc<str>, on: bool, now: Duration) {
        let Some(member) = self.members.get_mut(name) else {
            if let Some(drain) = self.ordered_and_gone.get_mut(name) {
                drain.order(on);
            }
            self.ordered_and_gone.retain(|_, drain| drain.is_ordered());
            return;
        };
        member.drain.order(on);
        self.review(name, now, if on { Cause::Drained } else { Cause::Undrained });
    }

    /// Does what time alone asks for.
    fn advance(&mut self, now: Duration) {
        while let Some(name) = self.agenda.due(now) {
            let Some(member) = self.members.get_mut(&name) else {
                unreachable!("who goes leaves the agenda");
            };
            if matches!(member.probing, Probing::Due(at) if at <= now) {
                self.probes_begun += 1;
                let probe = ProbeId(self.probes_begun);
                member.probing = Probing::InFlight(probe);
                let addresses = Arc::clone(&member.addresses);
                self.outputs.push_back(Output::Probe { probe, name: Arc::clone(&name), addresses });
            }
            let mut cause = Cause::SlowStart;
            if member.ejections.until().is_some_and(|until| until <= now) {
                member.ejections.end(now);
                self.ejected -= 1;
                self.outputs.push_back(Output::Readmit { name: Arc::clone(&name) });
                cause = Cause::EjectionEnded;
            }
            self.review(&name, now, cause);
        }
    }

    /// Says what has become of a member, and plans what comes next. Without another cause, only
    /// a slow start can have gone on.
    fn review(&mut self, name: &Arc<str>, now: Duration, cause: Cause) {
        let Some(member) = self.members.get_mut(name) else { return };
        if let Some(step) = member.settle(now, self.slow_start, cause) {
            let was_eligible = step.from.is_some_and(Standing::is_eligible);
            self.eligible -= usize::from(was_eligible);
            self.eligible += usize::from(step.to.is_eligible());
            let back = matches!(step.from, Some(Standing::Down | Standing::Draining));
            if back && step.to.is_eligible() {
                // What failed before is no reason to eject it now.
                self.outputs.push_back(Output::Readmit { name: Arc::clone(name) });
            }
            let (from, to) = (step.from, step.to);
            let change = Change { name: Arc::clone(name), from, to, cause };
            self.outputs.push_back(Output::Changed(change));
        }
        if let Some(on) = member.tell_ailing() {
            self.outputs.push_back(Output::Ailing { name: Arc::clone(name), on });
        }
        let deadline = member.deadline(now, self.slow_start);
        self.agenda.plan(name, &mut member.entry, deadline);
    }

    fn first_probe(&self, at: Duration) -> Probing {
        if self.health.is_some() { Probing::Due(at) } else { Probing::Off }
    }

    /// How long the first probe of one of so many members waits: not at all in a small pool, while
    /// a large one is spread over the whole interval.
    fn spread(&self, index: usize, count: usize) -> Duration {
        let interval = self.health.as_ref().map_or(Duration::ZERO, |health| health.interval);
        let [index, count] = [index, count].map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        if count <= AT_ONCE_MAX {
            return Duration::ZERO;
        }
        let pace = FIRST_PROBES_PACE.min(interval / count);
        pace.saturating_mul(index)
    }
}

/// The time shortened or lengthened by so many percent of it at most.
fn jittered(time: Duration, percent: u8, random: &mut fastrand::Rng) -> Duration {
    let deviation = (2.0 * random.f64() - 1.0) * f64::from(percent.min(100)) / 100.0;
    time.mul_f64(1.0 + deviation)
}

/// Members whose first probes all go out at once.
const AT_ONCE_MAX: u32 = 16;

/// The time between two first probes in larger pools, unless the interval asks for less.
const FIRST_PROBES_PACE: Duration = Duration::from_millis(2);

/// The cause of what has changed because the list was read again. It can only be its word on
/// drains: where a member is reached does not change its standing.
fn listed(drain: bool) -> Cause {
    if drain { Cause::DrainListed } else { Cause::DrainUnlisted }
}

/// Members of which the operator's word is remembered after they have gone.
const ORDERED_AND_GONE_MAX: usize = 1024;
