//! Owns the count of keys that another backend gets when one of N leaves or joins.

use ringmain::balance::{Member, Policy};

use super::stage::{Worker, members, policies, pool};
use super::table;

/// One leaves, and is compared with one that joins by reading the same two pools backwards: the
/// share moved is the same, in parts of 1/N with N the larger number.
pub fn report(keys: u32) {
    const COUNTS: [usize; 4] = [3, 10, 100, 300];
    let hashing = policies().into_iter().filter(|(_, policy)| policy.hashing().is_some());
    let rows: Vec<_> = hashing
        .map(|(name, policy)| {
            let cell = |count: &usize| {
                let Moved { all, others } = leave(&policy, *count, keys);
                let parts = |moved: u32| f64::from(moved) / f64::from(keys) * *count as f64;
                format!("{:.3} ({:.3})", parts(all), parts(others))
            };
            (name, COUNTS.iter().map(cell).collect())
        })
        .collect();
    let headings: Vec<String> = COUNTS.iter().map(|count| format!("N = {count}")).collect();
    let title = format!(
        "Keys moved, of {keys}, when one of N leaves or joins, in parts of 1/N (of which between \
         others); the most of {TRIALS}"
    );
    table::print(&title, &headings, &rows);
}

#[derive(Clone, Copy, Default)]
struct Moved {
    all: u32,
    /// Between two backends that were there all the time.
    others: u32,
}

/// The most of a few trials, each with another one that leaves.
fn leave(policy: &Policy, count: usize, keys: u32) -> Moved {
    let all = members(vec![1; count]);
    let before = owners(policy, &all, keys);
    let trials = (0..TRIALS.min(count)).map(|trial| {
        let leaver = trial * count / TRIALS.min(count);
        let mut left = all.clone();
        let name = left.remove(leaver).backend.name.clone();
        // Who comes after the leaver has another index than before.
        let index = |index: u32| index + u32::from(index as usize >= leaver);
        let mut moved = Moved::default();
        for (before, after) in before.iter().zip(owners(policy, &left, keys)) {
            moved.all += u32::from(*before != index(after));
            moved.others +=
                u32::from(*before != index(after) && all[*before as usize].backend.name != name);
        }
        moved
    });
    trials.max_by_key(|moved| moved.all).unwrap_or_default()
}

/// By key, which of the members it belongs to.
fn owners(policy: &Policy, members: &[Member], keys: u32) -> Vec<u32> {
    let indices: std::collections::HashMap<_, _> =
        (0u32..).zip(members).map(|(index, member)| (&member.backend.name, index)).collect();
    let mut worker = Worker::new(&pool(policy, members), 1);
    (0..keys)
        .filter_map(|key| worker.choose(key))
        .map(|lease| indices[&lease.backend().name])
        .collect()
}

const TRIALS: usize = 3;
