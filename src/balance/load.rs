//! The policies that go by load: least connections, and the lesser of two drawn at random.
//!
//! Loads are the connections of all workers, and the one to come is counted with them: with none
//! open, the one of the largest weight is first. Where several are equal chance decides, so that
//! workers do not all run to the same.

use std::ops::ControlFlow;

use super::backend::Lease;
use super::draw::Draw;
use super::trial::Trial;

/// The one with the fewest connections for its weight: of all in a small tier, of a sample in a
/// large one.
pub(super) fn least(
    trial: &mut Trial<'_>,
    draw: &Draw,
    random: &mut fastrand::Rng,
) -> Option<Lease> {
    if trial.tier.open.len() <= SCANNED {
        return least_of_all(trial, random);
    }
    lesser_of(SAMPLE, trial, draw, random)
}

/// The less loaded of two drawn by weight.
pub(super) fn lesser_of_two(
    trial: &mut Trial<'_>,
    draw: &Draw,
    random: &mut fastrand::Rng,
) -> Option<Lease> {
    lesser_of(2, trial, draw, random)
}

fn lesser_of(
    count: usize,
    trial: &mut Trial<'_>,
    draw: &Draw,
    random: &mut fastrand::Rng,
) -> Option<Lease> {
    let mut best = Best::default();
    // Who cannot be taken, or was drawn just before, is drawn again a few times.
    let mut last = None;
    for _ in 0..2 * count + DRAWS {
        let drawn = draw.draw(random);
        if last == Some(drawn) || !trial.admits(drawn) {
            continue;
        }
        last = Some(drawn);
        best.offer(trial, drawn, random);
        if best.offered == count {
            break;
        }
    }
    // With very few left that can be taken, or one that has almost all the weight, there were
    // fewer than that.
    let taken = best.index.and_then(|index| trial.take(index));
    taken.or_else(|| least_of_all(trial, random))
}

fn least_of_all(trial: &mut Trial<'_>, random: &mut fastrand::Rng) -> Option<Lease> {
    let tier = trial.tier;
    let attempt = |_| {
        let mut best = Best::default();
        for (index, _) in tier.open_seats() {
            if trial.admits(index) {
                best.offer(trial, index, random);
            }
        }
        match best.index {
            None => ControlFlow::Break(None),
            // Its last place may have gone since; then there is a better one now.
            Some(index) => match trial.take(index) {
                None => ControlFlow::Continue(()),
                lease => ControlFlow::Break(lease),
            },
        }
    };
    (0..RACES).try_for_each(attempt).break_value().flatten()
}

/// The least loaded of those that were offered.
#[derive(Default)]
struct Best {
    index: Option<usize>,
    /// Connections, the new one included, and the weight they are held against.
    load: u64,
    weight: u64,
    /// How many were equal to it, itself included.
    equal: u32,
    offered: usize,
}

impl Best {
    fn offer(&mut self, trial: &Trial<'_>, index: usize, random: &mut fastrand::Rng) {
        let seat = &trial.tier.seats[index];
        let (load, weight) = (u64::from(seat.backend.connections()) + 1, u64::from(seat.weight));
        self.offered += 1;
        // By a product, since quotients would be rounded: at most 2^32 times 2^23.
        let (here, there) = (load * self.weight, self.load * weight);
        let wins = if self.index.is_none() || here < there {
            self.equal = 1;
            true
        } else {
            self.equal += u32::from(here == there);
            here == there && random.u32(..self.equal) == 0
        };
        if wins {
            (self.index, self.load, self.weight) = (Some(index), load, weight);
        }
    }
}

/// Backends that are all looked at for each pick; about a cache miss each.
const SCANNED: usize = 16;
/// Backends drawn where there are more. The fullest of them is then rarely above the mean.
const SAMPLE: usize = 8;
/// Draws beyond twice the wanted ones.
const DRAWS: usize = 4;
/// How often the last place of the best may be lost to another worker.
const RACES: usize = 8;
