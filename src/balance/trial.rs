//! One choice within one tier: who may be taken just now, and what stood against the others.

use std::sync::Arc;

use super::backend::Lease;
use super::hash;
use super::tier::{Seat, Tier};

/// What a policy asks about its candidates.
pub(super) struct Trial<'a> {
    pub(super) tier: &'a Tier,
    /// Names that were tried for the same session.
    pub(super) tried: &'a [Arc<str>],
    /// Fast ejection is ignored.
    pub(super) ejected_too: bool,
    /// Above it a backend is passed over.
    pub(super) bound: Option<Bound>,
    pub(super) refusals: Refusals,
    pub(super) seen: &'a mut Seen,
}

/// What stood against at least one of the candidates.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refusals {
    pub(super) full: bool,
    pub(super) over_bound: bool,
    pub(super) ejected: bool,
}

/// The most that backends may have: `percent` of the tier's mean load by weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) percent: u16,
    /// Connections of the tier's open seats, the new one included.
    pub(super) connections: u64,
    /// Of the same seats, as in `Seat::weight`.
    pub(super) weight: u64,
}

impl Trial<'_> {
    /// Whether it could be taken now.
    pub(super) fn admits(&mut self, index: usize) -> bool {
        let seat = &self.tier.seats[index];
        let backend = &seat.backend;
        if seat.weight == 0 || self.tried.contains(&backend.name) {
            return false;
        }
        if !self.ejected_too && backend.is_ejected() {
            self.refusals.ejected = true;
            return false;
        }
        if backend.is_full() {
            self.refusals.full = true;
            return false;
        }
        let over = self.bound.is_some_and(|bound| bound.bars(seat));
        self.refusals.over_bound |= over;
        !over
    }

    /// Reserves a place on it, if it can be taken.
    pub(super) fn take(&mut self, index: usize) -> Option<Lease> {
        if !self.admits(index) {
            return None;
        }
        let lease = self.tier.seats[index].backend.lease();
        self.refusals.full |= lease.is_none();
        lease
    }

    /// Takes the first that can be, of a walk in which some come up again and some never.
    pub(super) fn walk(&mut self, hash: u64, walk: impl Iterator<Item = usize>) -> Option<Lease> {
        let count = self.tier.seats.len();
        let mut left = self.tier.open.len();
        self.seen.clear(count);
        for index in candidates(hash, count, walk) {
            if self.tier.seats[index].weight == 0 || self.seen.has(index) {
                continue;
            }
            let lease = self.take(index);
            if lease.is_some() {
                return lease;
            }
            self.seen.mark(index);
            left -= 1;
            if left == 0 {
                return None;
            }
        }
        None
    }

    /// Takes it, unless it was refused before in this choice.
    pub(super) fn take_unseen(&mut self, index: usize) -> Option<Lease> {
        if self.seen.has(index) {
            return None;
        }
        let lease = self.take(index);
        if lease.is_none() {
            self.seen.mark(index);
        }
        lease
    }
}

/// Those of a walk, and then everyone, for who never comes up in it: where that search begins, the
/// key's hash says.
pub(super) fn candidates(
    hash: u64,
    count: usize,
    walk: impl Iterator<Item = usize>,
) -> impl Iterator<Item = usize> {
    let first = hash::part(hash::mix(hash), count);
    // Most walks end at the first step, and of those that do not, almost all within these.
    walk.take(WALK_PER_SEAT * count + WALK).chain(first..count).chain(0..first)
}

impl Bound {
    pub(super) fn of(tier: &Tier, percent: u16) -> Bound {
        let seats = || tier.open_seats().map(|(_, seat)| seat);
        let connections: u64 = seats().map(|seat| u64::from(seat.backend.connections())).sum();
        let weight = seats().map(|seat| u64::from(seat.weight)).sum();
        Bound { percent, connections: connections + 1, weight }
    }

    /// Whether it has as many as it may.
    pub(super) fn bars(&self, seat: &Seat) -> bool {
        self.is_passed(seat.backend.connections(), seat.weight)
    }

    fn is_passed(&self, connections: u32, weight: u32) -> bool {
        let load = u128::from(connections) * 100 * u128::from(self.weight);
        load >= u128::from(self.connections) * u128::from(self.percent) * u128::from(weight)
    }
}

/// Which indices were marked since the last `clear`, which costs nothing.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By index, the round it was marked in.
    rounds: Vec<u32>,
    round: u32,
}

impl Seen {
    pub(super) fn clear(&mut self, count: usize) {
        if self.round == u32::MAX {
            (self.round, self.rounds) = (0, Vec::new());
        }
        self.round += 1;
        if self.rounds.len() < count {
            self.rounds.resize(count, 0);
        }
    }

    pub(super) fn has(&self, index: usize) -> bool {
        self.rounds[index] == self.round
    }

    pub(super) fn mark(&mut self, index: usize) {
        self.rounds[index] = self.round;
    }
}

/// Steps of a walk for each seat. Who has not come up by then owns far less than its share of a
/// table, or the others far more.
const WALK_PER_SEAT: usize = 8;
const WALK: usize = 64;
