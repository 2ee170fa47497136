//! Weighted round robin: a stride schedule with a cursor, one per worker and pool.
//!
//! In one period of virtual time each backend comes up as often as its weight says, evenly
//! spaced. The schedule is a heap of next turns, so that a pick costs the logarithm of the number
//! of backends whatever the weights. Workers begin at random phases, so that their cursors do not
//! march in step.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::HashMap;
use std::sync::Arc;

use super::backend::Backend;
use super::pool::Pool;

/// The turns of one pool's backends on one worker.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    turns: BinaryHeap<Reverse<Turn>>,
    /// Virtual time of the last pick.
    time: u64,
    /// Turns passed over in a pick, kept for its memory.
    skipped: Vec<Turn>,
}

/// When a backend's turn comes; equal times in the order of `rank`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    time: u64,
    rank: u32,
    index: u32,
    stride: u64,
}

/// One period of virtual time. The largest weight still has a stride of 65,537 units, so that
/// rounding a stride is an error of at most 1 in 65,537.
const PERIOD: u64 = 1 << 32;

impl Rotation {
    /// A schedule that begins at a phase drawn from `random`.
    pub(super) fn new(pool: &Pool, random: u64) -> Rotation {
        let mut rotation = Rotation { time: random % PERIOD, ..Rotation::default() };
        rotation.turns = turns(pool, rotation.time, random >> 32, |_| None);
        rotation
    }

    /// Goes on with another version of the pool: a backend of the same name keeps its turn, so
    /// that a change of others does not bring anyone forward.
    pub(super) fn change(&mut self, old: &Pool, new: &Pool) {
        let kept: HashMap<&str, Turn> = self
            .turns
            .iter()
            .map(|Reverse(turn)| (&*old.backends[turn.index as usize].name, *turn))
            .collect();
        self.turns = turns(new, self.time, 0, |name| kept.get(name).copied());
    }

    /// The first backend in turn that `accept` takes. Those it does not take lose their turn.
    pub(super) fn pick<T>(
        &mut self,
        pool: &Pool,
        mut accept: impl FnMut(&Arc<Backend>) -> Option<T>,
    ) -> Option<T> {
        let mut picked = None;
        while picked.is_none()
            && let Some(Reverse(turn)) = self.turns.pop()
        {
            picked = accept(&pool.backends[turn.index as usize]);
            if picked.is_some() {
                self.time = turn.time;
            }
            self.skipped.push(Turn { time: turn.time + turn.stride, ..turn });
        }
        self.turns.extend(self.skipped.drain(..).map(Reverse));
        picked
    }
}

fn turns(
    pool: &Pool,
    time: u64,
    random: u64,
    kept: impl Fn(&str) -> Option<Turn>,
) -> BinaryHeap<Reverse<Turn>> {
    let count = pool.backends.len().max(1);
    let first = random as usize % count;
    let weighted = pool.backends.iter().enumerate().filter(|(_, backend)| backend.weight > 0);
    weighted
        .map(|(index, backend)| {
            let stride = PERIOD / u64::from(backend.weight);
            let rank = ((index + count - first) % count) as u32;
            // Each backend's turns lie at its own place within its strides, so that backends of
            // equal weight do not come in a row. The next one from now on, or the one it had,
            // brought nearer when the weight has grown.
            let place = stride * (2 * u64::from(rank) + 1) / (2 * count as u64);
            let next = time - time % stride + place;
            let next = if next < time { next + stride } else { next };
            let next = kept(&backend.name).map_or(next, |turn| turn.time.min(time + stride));
            Reverse(Turn { time: next, rank, index: index as u32, stride })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pool::tests::pool;
    use super::*;

    fn picks(rotation: &mut Rotation, pool: &Pool, count: usize) -> Vec<String> {
        let name = |backend: &Arc<Backend>| Some(backend.name.to_string());
        (0..count).map(|_| rotation.pick(pool, name).unwrap()).collect()
    }

    #[test]
    fn equal_weights_take_turns_strictly() {
        let pool = pool(&[1, 1, 1]);
        for phase in 0..50u64 {
            let mut rotation = Rotation::new(&pool, phase.wrapping_mul(0x9e37_79b9_7f4a_7c15));
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
            .map(|n| Rotation::new(&pool, n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .map(|mut rotation| picks(&mut rotation, &pool, 1).remove(0))
            .collect();
        first.sort();
        first.dedup();
        assert!(first.len() >= 6, "{first:?}");
    }

    #[test]
    fn a_heavy_backend_is_spread_out() {
        let pool = pool(&[5, 1, 1]);
        let picked = picks(&mut Rotation::new(&pool, 0), &pool, 70);
        assert_eq!(picked.iter().filter(|name| *name == "b0").count(), 50);
        let run = picked.chunk_by(|a, b| a == b).map(<[String]>::len).max();
        assert!(run <= Some(3), "{picked:?}");
    }

    #[test]
    fn weight_zero_receives_nothing() {
        let pool = pool(&[0, 1]);
        assert!(picks(&mut Rotation::new(&pool, 3), &pool, 10).iter().all(|name| name == "b1"));
    }

    #[test]
    fn nothing_acceptable_is_no_pick_and_harms_nobody() {
        let pool = pool(&[1, 1]);
        let mut rotation = Rotation::new(&pool, 0);
        assert!(rotation.pick(&pool, |_| None::<()>).is_none());
        let mut picked = picks(&mut rotation, &pool, 4);
        picked.sort();
        assert_eq!(picked, ["b0", "b0", "b1", "b1"]);
    }

    #[test]
    fn a_newcomer_does_not_make_the_others_start_again() {
        let (old, new) = (pool(&[1, 1, 1]), pool(&[1, 1, 1, 1]));
        let mut rotation = Rotation::new(&old, 0);
        let before = picks(&mut rotation, &old, 1);
        rotation.change(&old, &new);
        let after = picks(&mut rotation, &new, 3);
        assert!(!after.contains(&before[0]), "{before:?} then {after:?}");
    }

    proptest! {
        /// Over whole periods every backend gets exactly its share, to within one turn.
        #[test]
        fn shares_are_exact(
            weights in prop::collection::vec(1u16..=200, 1..20),
            random: u64,
            rounds in 1usize..4,
        ) {
            let pool = pool(&weights);
            let mut rotation = Rotation::new(&pool, random);
            let total: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
            let picked = picks(&mut rotation, &pool, total * rounds);
            for (index, weight) in weights.iter().enumerate() {
                let name = format!("b{index}");
                let count = picked.iter().filter(|picked| **picked == name).count();
                prop_assert!(count.abs_diff(usize::from(*weight) * rounds) <= 1);
            }
        }
    }
}
