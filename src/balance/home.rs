//! Where keys belong now, without taking a place there: to find the sessions that a change has left
//! elsewhere.

use super::backend::Backend;
use super::chooser::Traits;
use super::hash;
use super::pool::Pool;
use super::tier::{Seat, Table, Tier, WHOLE};
use super::trial::{Bound, candidates};

/// The homes of the keys of one pool, at one moment.
pub struct Homes<'p> {
    pool: &'p Pool,
    /// By tier, where load is bounded.
    bounds: Vec<Option<Bound>>,
}

impl Pool {
    /// The hash of what its policy hashes of a connection; none: it hashes nothing.
    pub fn key(&self, traits: &Traits<'_>) -> Option<u64> {
        self.keying.as_ref().map(|keying| keying.hash(traits))
    }

    /// None: the policy hashes nothing.
    pub fn homes(&self) -> Option<Homes<'_>> {
        let percent = self.settings.balancing.policy.hashing()?.bounded_load;
        let bound = |tier| percent.map(|percent| Bound::of(tier, percent));
        Some(Homes { pool: self, bounds: self.tiers().iter().map(bound).collect() })
    }

    /// The tier that a key's sessions go to first. Another hash than that which picks within the
    /// tier, or each tier but the first would see only a part of the keys, close to each other.
    pub(super) fn tier_of_key(&self, key: u64) -> Option<usize> {
        self.tier_at(hash::part(hash::mix(key ^ TIER), WHOLE as usize) as u32)
    }
}

impl Homes<'_> {
    /// Whether the session of this key is served by another backend than would serve it now, and
    /// that one has room. Who gets no new sessions keeps those it has: what becomes of them is
    /// asked when a backend is lost.
    pub fn is_astray(&self, key: u64, backend: &str) -> bool {
        let is_its = |seat: &Seat| &*seat.backend.name == backend;
        let serves = |tier: &Tier| tier.seat(backend).is_some_and(|seat| self.is_open(seat));
        let Some((tier, bound)) = self.pool.tier_of_key(key).map(|index| self.tier(index)) else {
            return false;
        };
        let Some(home) = tier.home(key, |seat| self.is_open(seat)) else { return false };
        let has_room = !home.backend.is_full() && !bound.is_some_and(|bound| bound.bars(home));
        !is_its(home) && has_room && self.pool.tiers().iter().any(serves)
    }

    fn tier(&self, index: usize) -> (&Tier, Option<Bound>) {
        (&self.pool.tiers()[index], self.bounds[index])
    }

    fn is_open(&self, seat: &Seat) -> bool {
        seat.weight > 0 && (self.pool.in_panic() || !Backend::is_ejected(&seat.backend))
    }
}

impl Tier {
    /// The first in the order of the key that `admits`.
    fn home(&self, key: u64, admits: impl Fn(&Seat) -> bool) -> Option<&Seat> {
        let count = self.seats.len();
        let admitted = |index: &usize| admits(&self.seats[*index]);
        let index = match &self.table {
            Table::Maglev(table) => candidates(key, count, table.walk(key)).find(admitted),
            Table::Ring(table) => candidates(key, count, table.walk(key as u32)).find(admitted),
            Table::Rendezvous(table) => table.highest(key, |index| admitted(&index)),
            Table::Turns | Table::LeastConnections(_) | Table::RandomTwo(_) => None,
        };
        index.map(|index| &self.seats[index])
    }

    fn seat(&self, name: &str) -> Option<&Seat> {
        let place = self.seats.binary_search_by(|seat| (*seat.backend.name).cmp(name));
        place.ok().map(|place| &self.seats[place])
    }
}

/// Mixed into a key's hash where it chooses the tier.
const TIER: u64 = 0x7469_6572;
