//! What one worker remembers of a pool from choice to choice, and how it picks there.

use std::sync::Arc;

use super::backend::Lease;
use super::chooser::NoChoice;
use super::load;
use super::pool::Pool;
use super::rotation::Rotation;
use super::tier::{Table, Tier, WHOLE};
use super::trial::{Bound, Refusals, Seen, Trial};

/// Where a worker stands in one pool.
#[derive(Debug)]
pub(super) struct Cursor {
    /// By tier.
    tiers: Vec<TierCursor>,
}

#[derive(Debug)]
struct TierCursor {
    turns: Option<Turns>,
    load: Load,
}

#[derive(Debug)]
struct Turns {
    first: Rotation,
    /// For retries. With one cursor for both, the sessions of a dead backend would use up the
    /// turns of those after it, and its own turn would come round all the sooner.
    retry: Rotation,
}

/// The connections of a tier, as counted a few picks ago: to ask every backend for each pick
/// would cost more than the pick, and with a counter for all, workers would wait for each other.
#[derive(Debug, Default)]
struct Load {
    /// This worker's since are included, and the one to come.
    connections: u64,
    weight: u64,
    /// Picks until they are counted again.
    left: usize,
}

/// What is asked of a pool.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) pool: &'a Pool,
    /// The key's hash; `None`: the policy hashes nothing.
    pub(super) key: Option<u64>,
    /// Names that were tried for the same session.
    pub(super) tried: &'a [Arc<str>],
}

/// What a worker's pools have in common.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) random: fastrand::Rng,
    pub(super) seen: Seen,
}

impl Cursor {
    pub(super) fn new(pool: &Pool, random: &mut fastrand::Rng) -> Cursor {
        Cursor { tiers: pool.tiers().iter().map(|tier| TierCursor::new(tier, random)).collect() }
    }

    /// Goes on with another version of the pool.
    pub(super) fn change(&mut self, old: &Pool, new: &Pool, random: &mut fastrand::Rng) {
        let mut olds = old.tiers().iter().zip(std::mem::take(&mut self.tiers)).peekable();
        let tier = |tier: &Tier| {
            // Both are in the order of their numbers.
            while olds.next_if(|(old, _)| old.number() < tier.number()).is_some() {}
            match olds.next_if(|(old, _)| old.number() == tier.number()) {
                Some((old, cursor)) => cursor.changed(old, tier, random),
                None => TierCursor::new(tier, random),
            }
        };
        self.tiers = new.tiers().iter().map(tier).collect();
    }

    /// A backend with a place reserved on it: of the tier whose turn it is, else of the first
    /// that has one to give.
    pub(super) fn choose(
        &mut self,
        request: &Request<'_>,
        tools: &mut Tools,
    ) -> Result<Lease, NoChoice> {
        let pool = request.pool;
        let due = match request.key {
            Some(key) => pool.tier_of_key(key),
            None if pool.tiers().first().is_some_and(|tier| tier.share == WHOLE) => Some(0),
            None => pool.tier_at(tools.random.u32(..WHOLE)),
        };
        let Some(due) = due else { return Err(NoChoice::Exhausted) };
        let others = (0..pool.tiers().len()).filter(|index| *index != due);
        let order = std::iter::once(due).chain(others);
        let mut refusals = Refusals::default();
        let mut ejected_too = pool.in_panic();
        loop {
            for index in order.clone() {
                let lease =
                    self.tiers[index].pick(request, index, ejected_too, &mut refusals, tools);
                if let Some(lease) = lease {
                    return Ok(lease);
                }
            }
            // Of those that are ejected one still may work; but a full one does work, and is
            // worth to wait for.
            if refusals.full {
                return Err(NoChoice::AtLimit);
            }
            if ejected_too || !refusals.ejected {
                return Err(NoChoice::Exhausted);
            }
            ejected_too = true;
        }
    }
}

impl TierCursor {
    fn new(tier: &Tier, random: &mut fastrand::Rng) -> TierCursor {
        let mut rotation = || Rotation::new(tier, random.u64(..));
        let turns = matches!(tier.table, Table::Turns)
            .then(|| Turns { first: rotation(), retry: rotation() });
        TierCursor { turns, load: Load::default() }
    }

    fn changed(mut self, old: &Tier, new: &Tier, random: &mut fastrand::Rng) -> TierCursor {
        let Some(turns) = &mut self.turns else { return TierCursor::new(new, random) };
        if !matches!(new.table, Table::Turns) {
            return TierCursor::new(new, random);
        }
        turns.first.change(old, new, random.u64(..));
        turns.retry.change(old, new, random.u64(..));
        self
    }

    fn pick(
        &mut self,
        request: &Request<'_>,
        index: usize,
        ejected_too: bool,
        refusals: &mut Refusals,
        tools: &mut Tools,
    ) -> Option<Lease> {
        let tier = &request.pool.tiers()[index];
        let hashing = request.pool.settings.balancing.policy.hashing();
        let percent = hashing.and_then(|hashing| hashing.bounded_load);
        let mut trial = Trial {
            tier,
            tried: request.tried,
            ejected_too,
            bound: percent.map(|percent| self.load.bound(tier, percent)),
            refusals: Refusals::default(),
            seen: &mut tools.seen,
        };
        let mut lease = self.pick_from(&mut trial, request.key, &mut tools.random);
        if lease.is_none() && trial.refusals.over_bound {
            // The load was counted a while ago, or those below the bound cannot be taken.
            trial.bound = None;
            lease = self.pick_from(&mut trial, request.key, &mut tools.random);
        }
        refusals.full |= trial.refusals.full;
        refusals.ejected |= trial.refusals.ejected;
        self.load.connections += u64::from(lease.is_some());
        lease
    }

    fn pick_from(
        &mut self,
        trial: &mut Trial<'_>,
        key: Option<u64>,
        random: &mut fastrand::Rng,
    ) -> Option<Lease> {
        let key = key.unwrap_or(0);
        match &trial.tier.table {
            Table::Turns => {
                let turns = self.turns.as_mut()?;
                let first = trial.tried.is_empty();
                let rotation = if first { &mut turns.first } else { &mut turns.retry };
                trial.seen.clear(trial.tier.seats.len());
                rotation.pick(|index| trial.take_unseen(index))
            }
            Table::LeastConnections(draw) => load::least(trial, draw.as_ref()?, random),
            Table::RandomTwo(draw) => load::lesser_of_two(trial, draw.as_ref()?, random),
            Table::Maglev(table) => trial.walk(key, table.walk(key)),
            Table::Ring(table) => trial.walk(key, table.walk(key as u32)),
            Table::Rendezvous(table) => {
                let attempt = |_| {
                    let index = table.highest(key, |index| trial.admits(index));
                    index.map(|index| trial.take(index))
                };
                // A last place may be lost to another worker between the two.
                (0..RACES).map_while(attempt).find_map(|lease| lease)
            }
        }
    }
}

impl Load {
    fn bound(&mut self, tier: &Tier, percent: u16) -> Bound {
        if self.left == 0 {
            let bound = Bound::of(tier, percent);
            (self.connections, self.weight) = (bound.connections, bound.weight);
            self.left = tier.open.len() / COUNTED_PER_PICK;
        } else {
            self.left -= 1;
        }
        Bound { percent, connections: self.connections, weight: self.weight }
    }
}

/// How often the last place of the best may be lost to another worker.
const RACES: usize = 8;
/// Backends counted per pick, on average.
const COUNTED_PER_PICK: usize = 8;
