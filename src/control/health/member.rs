//! One member: what its probes and the operator say of it, and the standing that follows. Decides
//! no ejection and plans no probe.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::agenda::Entry;
use super::drain::Drain;
use super::ejections::Ejections;
use super::event::{Cause, LastProbe, ProbeId, Report};
use super::slow_start::SlowStart;
use crate::balance::Standing;
use crate::config::Health;

/// A member of a pool.
#[derive(Debug)]
pub(super) struct Member {
    pub addresses: Arc<[SocketAddr]>,
    pub probing: Probing,
    pub drain: Drain,
    pub ejections: Ejections,
    /// Its place in the agenda.
    pub entry: Entry,
    condition: Condition,
    /// Probes in a row that contradicted the condition: fewer than would change it.
    contrary: u32,
    /// Whether it ails, as was last told.
    told_ailing: Option<bool>,
    last_probe: Option<LastProbe>,
    /// How often each result has occurred: a few words at most.
    probes: Vec<(&'static str, u64)>,
    state: State,
    since: Duration,
    cause: Option<Cause>,
}

/// Whether it is being probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probing {
    /// The pool has no check.
    Off,
    Due(Duration),
    InFlight(ProbeId),
}

/// What its probes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// Nothing yet.
    Unknown,
    Passing,
    Failing,
}

/// What it stands at: the strongest of what speaks against it, in the order Draining, Down,
/// Ejected; and if nothing does, whether it still starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It came while the pool was in use, and no probe has ended yet.
    New,
    Up,
    Starting {
        began: Duration,
        percent: u8,
    },
    Down,
    Ejected,
    Draining,
}

/// A standing's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// `None`: it was new.
    pub from: Option<Standing>,
    pub to: Standing,
}

impl Member {
    /// A member that is taken to be well until its probes say otherwise.
    pub(super) fn trusted(addresses: &[SocketAddr], probing: Probing, now: Duration) -> Member {
        Member::new(addresses, probing, Condition::Passing, State::Up, now)
    }

    /// A member that takes nothing until a probe succeeds or, without a check, until `settle`.
    pub(super) fn fresh(addresses: &[SocketAddr], probing: Probing, now: Duration) -> Member {
        let condition =
            if probing == Probing::Off { Condition::Passing } else { Condition::Unknown };
        Member::new(addresses, probing, condition, State::New, now)
    }

    fn new(
        addresses: &[SocketAddr],
        probing: Probing,
        condition: Condition,
        state: State,
        since: Duration,
    ) -> Member {
        Member {
            addresses: addresses.into(),
            probing,
            drain: Drain::default(),
            ejections: Ejections::default(),
            entry: Entry::default(),
            condition,
            contrary: 0,
            told_ailing: None,
            last_probe: None,
            probes: Vec::new(),
            state,
            since,
            cause: None,
        }
    }

    /// It comes with these words on its drain. One that drains from the beginning never was up.
    pub(super) fn begin(&mut self, drain: Drain) {
        self.drain = drain;
        if drain.is_on() {
            self.state = State::New;
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.state.standing().unwrap_or(Standing::Down)
    }

    pub(super) fn report(&self) -> Report {
        Report {
            standing: self.standing(),
            since: self.since,
            cause: self.cause,
            last_probe: self.last_probe,
            probes: self.probes.clone(),
            ejections: self.ejections.count(),
        }
    }

    /// Some of the last probes disagree with its standing, or none has ended: the next is made
    /// sooner.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.contrary > 0 || self.condition == Condition::Unknown
    }

    /// It is reached at these addresses from now on. What is known of it holds until a probe,
    /// which is due at once, says otherwise. Gives the probe of the old addresses, which nobody
    /// waits for any more.
    pub(super) fn relocate(&mut self, addresses: &[SocketAddr], now: Duration) -> Option<ProbeId> {
        if *self.addresses == *addresses {
            return None;
        }
        let distinct = |addresses: &[SocketAddr]| -> BTreeSet<SocketAddr> {
            addresses.iter().copied().collect()
        };
        let reordered = distinct(&self.addresses) == distinct(addresses);
        self.addresses = addresses.into();
        // Nameservers rotate their answers: the order says nothing of health.
        if reordered || self.probing == Probing::Off {
            return None;
        }
        self.contrary = 0;
        match std::mem::replace(&mut self.probing, Probing::Due(now)) {
            Probing::InFlight(probe) => Some(probe),
            Probing::Off | Probing::Due(_) => None,
        }
    }

    /// Takes note of a probe's end; the cause is given if that changed its condition.
    pub(super) fn probed(&mut self, probe: LastProbe, health: &Health) -> Option<Cause> {
        self.last_probe = Some(probe);
        self.count(probe.as_str());
        let in_a_row = self.contrary.saturating_add(1);
        let (condition, cause) = match (self.condition, probe.result) {
            // It says something of this host and nothing of the backend.
            (_, Err(failure)) if failure.is_ours() => return None,
            (Condition::Passing, Ok(())) | (Condition::Failing, Err(_)) => {
                self.contrary = 0;
                return None;
            }
            (Condition::Unknown, Ok(())) => (Condition::Passing, Cause::FirstProbeSucceeded),
            (Condition::Unknown, Err(failure)) => {
                (Condition::Failing, Cause::FirstProbeFailed(failure))
            }
            (Condition::Failing, Ok(())) if in_a_row >= health.rise => {
                (Condition::Passing, Cause::ProbesSucceeded { in_a_row })
            }
            (Condition::Passing, Err(last)) if in_a_row >= health.fall => {
                (Condition::Failing, Cause::ProbesFailed { in_a_row, last })
            }
            (Condition::Failing, Ok(())) | (Condition::Passing, Err(_)) => {
                self.contrary = in_a_row;
                return None;
            }
        };
        (self.condition, self.contrary) = (condition, 0);
        Some(cause)
    }

    fn count(&mut self, result: &'static str) {
        match self.probes.iter_mut().find(|(word, _)| *word == result) {
            Some((_, count)) => *count += 1,
            None => self.probes.push((result, 1)),
        }
    }

    /// Brings the standing in line with what is known, for this cause; gives the change, if there
    /// is one. It is the only place that changes the standing.
    pub(super) fn settle(
        &mut self,
        now: Duration,
        slow_start: SlowStart,
        cause: Cause,
    ) -> Option<Step> {
        let (from, to) = (self.state, self.indicated(now, slow_start));
        if from == to {
            return None;
        }
        assert!(from.may_become(to), "{from:?} may not become {to:?}");
        self.state = to;
        if !matches!((from, to), (State::Starting { .. }, State::Starting { .. })) {
            (self.since, self.cause) = (now, Some(cause));
        }
        Some(Step { from: from.standing(), to: self.standing() })
    }

    /// Whether its probes fail or it is ejected, if that is not what was last told. Unlike its
    /// standing this shows through a drain.
    pub(super) fn tell_ailing(&mut self) -> Option<bool> {
        let ailing = match self.condition {
            Condition::Unknown => return None,
            Condition::Failing => true,
            Condition::Passing => self.ejections.until().is_some(),
        };
        let before = self.told_ailing.replace(ailing);
        (before != Some(ailing)).then_some(ailing)
    }

    /// When time alone changes something of it.
    pub(super) fn deadline(&self, now: Duration, slow_start: SlowStart) -> Option<Duration> {
        let probe = match self.probing {
            Probing::Due(at) => Some(at),
            Probing::Off | Probing::InFlight(_) => None,
        };
        let step = match self.state {
            State::Starting { began, .. } => {
                let elapsed = now.saturating_sub(began);
                slow_start.next(elapsed).map(|elapsed| began.saturating_add(elapsed))
            }
            _ => None,
        };
        [probe, self.ejections.until(), step].into_iter().flatten().min()
    }

    fn indicated(&self, now: Duration, slow_start: SlowStart) -> State {
        if self.drain.is_on() {
            return State::Draining;
        }
        match self.condition {
            Condition::Unknown if self.state == State::New => return State::New,
            // It was drained before its first probe ended.
            Condition::Unknown => return State::Down,
            Condition::Failing => return State::Down,
            Condition::Passing => {}
        }
        if self.ejections.until().is_some() {
            return State::Ejected;
        }
        let began = match self.state {
            State::Up => return State::Up,
            State::Starting { began, .. } => began,
            State::New | State::Down | State::Ejected | State::Draining => now,
        };
        let percent = slow_start.percent(now.saturating_sub(began));
        percent.map_or(State::Up, |percent| State::Starting { began, percent })
    }
}

impl State {
    /// A new member has none that anybody was told of.
    fn standing(self) -> Option<Standing> {
        match self {
            State::New => None,
            State::Up => Some(Standing::Up),
            State::Starting { percent, .. } => Some(Standing::Starting(percent)),
            State::Down => Some(Standing::Down),
            State::Ejected => Some(Standing::Ejected),
            State::Draining => Some(Standing::Draining),
        }
    }

    fn may_become(self, next: State) -> bool {
        match (self, next) {
            // A share never shrinks, and a start is not begun again while it goes on.
            (
                State::Starting { began, percent },
                State::Starting { began: again, percent: more },
            ) => began == again && percent < more,
            (State::Up, State::Starting { .. }) => false,
            // Only what takes connections, or has just been failing, can be out for their sake.
            (State::New, State::Ejected) => false,
            // A member is new but once.
            (_, State::New) => false,
            _ => self != next,
        }
    }
}
