//! Weighted round robin: a stride schedule with a cursor, one per worker and tier.
//!
//! In one period of virtual time each backend comes up as often as its weight says, evenly
//! spaced. A period is written down when it is first needed, so that a pick only reads the next
//! entry. Where it is too long for that, because large weights have no common divisor, it is
//! played from a heap of next turns. Workers begin at random phases, so that their cursors do not
//! march in step.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap};

use super::tier::{Seat, Tier};

/// The turns of one tier's open seats on one worker.
#[derive(Debug)]
pub(super) enum Rotation {
    Played(Schedule),
    /// The seats of one period in their order, and which is next; it lies within them.
    Written(Box<[u32]>, usize),
}

/// Turns that are worked out one by one.
#[derive(Debug)]
pub(super) struct Schedule {
    turns: BinaryHeap<Reverse<Turn>>,
    /// Virtual time of the last pick.
    time: u64,
    /// Turns in a period.
    length: u64,
    /// Turns passed over in a pick, kept for its memory.
    skipped: Vec<Turn>,
}

/// When a seat's turn comes; equal times in the order of `rank`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    time: u64,
    rank: u32,
    index: u32,
    stride: u64,
}

impl Rotation {
    /// A schedule that begins at a phase drawn from `random`.
    pub(super) fn new(tier: &Tier, random: u64) -> Rotation {
        Rotation::Played(Schedule::new(tier, random % PERIOD, random, |_| None))
    }

    /// Goes on with another version of the tier: a backend of the same name keeps its turn, so
    /// that a change of others does not bring anyone forward.
    pub(super) fn change(&mut self, old: &Tier, new: &Tier, random: u64) {
        let same = |(one, other): (&Seat, &Seat)| {
            one.weight == other.weight && one.backend.name == other.backend.name
        };
        if old.seats.len() == new.seats.len() && old.seats.iter().zip(&new.seats).all(same) {
            return;
        }
        let ahead = self.ahead(old.seats.len());
        // Both are in the order of their names.
        let mut olds = old.seats.iter().zip(ahead).peekable();
        let kept = |seat: &Seat| {
            let name = &seat.backend.name;
            while olds.next_if(|(old, _)| old.backend.name < *name).is_some() {}
            olds.next_if(|(old, _)| old.backend.name == *name).and_then(|(_, ahead)| ahead)
        };
        *self = Rotation::Played(Schedule::new(new, 0, random, kept));
    }

    /// The first seat in turn that `accept` takes. Those it does not take lose their turn; it may
    /// be asked about them more than once.
    pub(super) fn pick<T>(&mut self, mut accept: impl FnMut(usize) -> Option<T>) -> Option<T> {
        if let Rotation::Played(schedule) = self {
            if !schedule.can_be_written() {
                return schedule.pick(accept);
            }
            *self = Rotation::Written(schedule.write(), 0);
        }
        let Rotation::Written(seats, next) = self else { return None };
        for _ in 0..seats.len() {
            let index = seats[*next] as usize;
            *next = if *next + 1 == seats.len() { 0 } else { *next + 1 };
            let picked = accept(index);
            if picked.is_some() {
                return picked;
            }
        }
        None
    }

    /// By seat, the time from now to its turn.
    fn ahead(&self, count: usize) -> Vec<Option<u64>> {
        let mut ahead = vec![None; count];
        match self {
            Rotation::Played(schedule) => {
                for Reverse(turn) in &schedule.turns {
                    ahead[turn.index as usize] = Some(turn.time.saturating_sub(schedule.time));
                }
            }
            Rotation::Written(seats, next) => {
                let turns = seats[*next..].iter().chain(&seats[..*next]);
                for (position, index) in (0u64..).zip(turns) {
                    let time = (position + 1) * (PERIOD / seats.len() as u64);
                    ahead[*index as usize].get_or_insert(time);
                }
            }
        }
        ahead
    }
}

impl Schedule {
    /// `kept` is asked about every open seat in order, and gives the time from now to its turn if
    /// it had one.
    fn new(
        tier: &Tier,
        phase: u64,
        random: u64,
        mut kept: impl FnMut(&Seat) -> Option<u64>,
    ) -> Schedule {
        let divisor = tier.open_seats().fold(0, |divisor, (_, seat)| gcd(divisor, seat.weight));
        // By weight, how many have it and how many of them have a place already.
        let mut equals: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for (_, seat) in tier.open_seats() {
            equals.entry(seat.weight).or_default().0 += 1;
        }
        let mut length = 0;
        let turn = |(index, seat): (usize, &Seat)| {
            let weight = u64::from(seat.weight / divisor);
            length += weight;
            let stride = PERIOD.div_ceil(weight);
            // Each seat's turns lie at its own place within its strides, so that seats of equal
            // weight do not come in a row. The next one from now on, or the one it had, brought
            // nearer when the weight has grown.
            let (count, placed) = equals.entry(seat.weight).or_default();
            let rank = (*placed + (random >> 32)) % *count;
            *placed += 1;
            let part = u128::from(2 * rank + 1) * u128::from(stride) / u128::from(2 * *count);
            let fresh = (part as u64 + stride - phase % stride) % stride;
            // So early that all its turns of the period come within it.
            let latest = PERIOD - 1 - (weight - 1) * stride;
            let time = kept(seat).unwrap_or(fresh).min(latest);
            Reverse(Turn { time, rank: rank as u32, index: index as u32, stride })
        };
        let turns = tier.open_seats().map(turn).collect();
        Schedule { turns, time: 0, length, skipped: Vec::new() }
    }

    fn can_be_written(&self) -> bool {
        !self.turns.is_empty() && self.length <= LONGEST.max(2 * self.turns.len() as u64)
    }

    fn write(&mut self) -> Box<[u32]> {
        let mut seats = Vec::with_capacity(self.length as usize);
        while let Some(mut top) = self.turns.peek_mut()
            && top.0.time < PERIOD
        {
            seats.push(top.0.index);
            top.0.time += top.0.stride;
        }
        seats.into()
    }

    fn pick<T>(&mut self, mut accept: impl FnMut(usize) -> Option<T>) -> Option<T> {
        let mut picked = None;
        while picked.is_none()
            && let Some(mut top) = self.turns.peek_mut()
        {
            picked = accept(top.0.index as usize);
            if picked.is_some() {
                self.time = top.0.time;
                top.0.time += top.0.stride;
            } else {
                self.skipped.push(PeekMut::pop(top).0);
            }
        }
        let missed = |mut turn: Turn| {
            if picked.is_some() {
                // With one of large weight that may be many.
                let turns = (self.time - turn.time) / turn.stride + 1;
                turn.time += turns * turn.stride;
            }
            Reverse(turn)
        };
        self.turns.extend(self.skipped.drain(..).map(missed));
        if self.turns.peek().is_some_and(|Reverse(turn)| turn.time >= PERIOD) {
            self.begin_again();
        }
        picked
    }

    /// Keeps times small; once in a period.
    fn begin_again(&mut self) {
        let turns = std::mem::take(&mut self.turns).into_iter();
        let earlier =
            |Reverse(turn): Reverse<Turn>| Reverse(Turn { time: turn.time - PERIOD, ..turn });
        self.turns = turns.map(earlier).collect();
        self.time = self.time.saturating_sub(PERIOD);
    }
}

fn gcd(mut one: u32, mut other: u32) -> u32 {
    while other > 0 {
        (one, other) = (other, one % other);
    }
    one
}

/// One period of virtual time, above the square of the largest weight in hundredths: all turns
/// of a seat then fit into it, although strides are rounded up.
const PERIOD: u64 = 1 << 48;
/// The longest period that is written down, beside one of twice the number of seats: 64 KiB.
const LONGEST: u64 = 16_384;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pool::Pool;
    use super::super::pool::tests::pool;
    use super::*;

    fn tier(pool: &Pool) -> &Tier {
        &pool.tiers()[0]
    }

    fn rotation(pool: &Pool, random: u64) -> Rotation {
        Rotation::new(tier(pool), random)
    }

    fn picks(rotation: &mut Rotation, pool: &Pool, count: usize) -> Vec<String> {
        let name = |index: usize| Some(tier(pool).seats[index].backend.name.to_string());
        (0..count).map(|_| rotation.pick(name).unwrap()).collect()
    }

    #[test]
    fn equal_weights_take_turns_strictly() {
        let pool = pool(&[7, 7, 7]);
        for phase in 0..50u64 {
            let mut rotation = rotation(&pool, phase.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let picked = picks(&mut rotation, &pool, 9);
            assert_eq!(picked[0..3], picked[3..6]);
            assert_eq!(picked[0..3], picked[6..9]);
            let mut round = picked[0..3].to_vec();
            round.sort();
            assert_eq!(round, ["b0", "b1", "b2"]);
        }
    }

    #[test]
    fn workers_begin_with_different_backends() {
        let pool = pool(&[1; 8]);
        let mut first: Vec<String> = (0..64u64)
            .map(|n| rotation(&pool, n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .map(|mut rotation| picks(&mut rotation, &pool, 1).remove(0))
            .collect();
        first.sort();
        first.dedup();
        assert!(first.len() >= 6, "{first:?}");
    }

    #[test]
    fn a_heavy_backend_is_spread_out() {
        let pool = pool(&[5, 1, 1]);
        let picked = picks(&mut rotation(&pool, 0), &pool, 70);
        assert_eq!(picked.iter().filter(|name| *name == "b0").count(), 50);
        let run = picked.chunk_by(|a, b| a == b).map(<[String]>::len).max();
        assert!(run <= Some(3), "{picked:?}");
    }

    #[test]
    fn nothing_acceptable_is_no_pick_and_harms_nobody() {
        let pool = pool(&[1, 1]);
        for earlier in [0, 4] {
            let mut rotation = rotation(&pool, 0);
            picks(&mut rotation, &pool, earlier);
            assert!(rotation.pick(|_| None::<()>).is_none());
            let mut picked = picks(&mut rotation, &pool, 4);
            picked.sort();
            assert_eq!(picked, ["b0", "b0", "b1", "b1"]);
        }
    }

    #[test]
    fn a_newcomer_does_not_make_the_others_start_again() {
        let (old, new) = (pool(&[1, 1, 1]), pool(&[1, 1, 1, 1]));
        // While the first period is played, and from what was written of it.
        for earlier in [0, 6] {
            let mut rotation = rotation(&old, 0);
            picks(&mut rotation, &old, earlier);
            let before = picks(&mut rotation, &old, 1);
            rotation.change(tier(&old), tier(&new), 0);
            let after = picks(&mut rotation, &new, 3);
            assert!(!after.contains(&before[0]), "{before:?} then {after:?}");
        }
    }

    #[test]
    fn frequent_changes_do_not_starve_anyone() {
        let pools = [pool(&[3, 1, 1, 1]), pool(&[3, 1, 1, 1, 1])];
        let mut rotation = rotation(&pools[0], 5);
        let mut picked = Vec::new();
        for turn in 0..1200 {
            let (now, next) = (&pools[turn % 2], &pools[(turn + 1) % 2]);
            picked.extend(picks(&mut rotation, now, 1 + turn % 3));
            rotation.change(tier(now), tier(next), turn as u64 * 0x9e37_79b9_7f4a);
        }
        let count = |name: &str| picked.iter().filter(|picked| *picked == name).count();
        let fair = picked.len() * 2 / 13;
        assert!(count("b0").abs_diff(3 * fair) <= fair / 2, "{}", count("b0"));
        for name in ["b1", "b2", "b3"] {
            assert!(count(name).abs_diff(fair) <= fair / 4, "{name}: {}", count(name));
        }
    }

    #[test]
    fn a_period_that_is_too_long_goes_on_from_the_heap() {
        let pool = pool(&[65_535, 65_534, 1]);
        let mut rotation = rotation(&pool, 9);
        let total = 65_535 + 65_534 + 1;
        let picked = picks(&mut rotation, &pool, 3 * total);
        assert!(matches!(rotation, Rotation::Played(_)));
        for (name, weight) in [("b0", 65_535), ("b1", 65_534), ("b2", 1)] {
            let count = picked.iter().filter(|picked| *picked == name).count();
            assert!(count.abs_diff(3 * weight) <= 3, "{name}: {count}");
        }
        let Rotation::Played(schedule) = &rotation else { unreachable!() };
        assert!(schedule.turns.iter().all(|Reverse(turn)| turn.time < 3 * PERIOD));
    }

    /// The light one alone serves for longer than its strides would fit into the clock.
    #[test]
    fn a_heavy_backend_that_is_passed_over_does_not_catch_up() {
        let pool = pool(&[65_535, 65_534, 1]);
        let mut rotation = rotation(&pool, 9);
        for _ in 0..200_000 {
            assert_eq!(rotation.pick(|index| (index == 2).then_some(index)), Some(2));
        }
        let picked = picks(&mut rotation, &pool, 1000);
        assert!(picked.iter().filter(|name| *name == "b0").count().abs_diff(500) <= 2);
    }

    proptest! {
        /// Over whole periods every backend gets exactly its share, whatever turns it brought from
        /// an earlier version of the pool.
        #[test]
        fn shares_are_exact(
            weights in prop::collection::vec(1u16..=200, 1..20),
            earlier in prop::collection::vec(1u16..=200, 1..20),
            picked_earlier in 0usize..100,
            random: u64,
            rounds in 1usize..4,
        ) {
            let earlier = super::super::pool::tests::pool(&earlier);
            let pool = pool(&weights);
            let mut rotation = rotation(&earlier, random);
            picks(&mut rotation, &earlier, picked_earlier);
            rotation.change(tier(&earlier), tier(&pool), random);
            let total: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
            let picked = picks(&mut rotation, &pool, total * rounds);
            for (index, weight) in weights.iter().enumerate() {
                let name = format!("b{index}");
                let count = picked.iter().filter(|picked| **picked == name).count();
                prop_assert_eq!(count, usize::from(*weight) * rounds);
            }
        }
    }
}
