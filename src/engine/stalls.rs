//! Who must give a buffer up: decided from the stalled sends and on whose account they hold theirs.
//!
//! An owner that holds more than its share loses the longest-stalled of the excess. While receives
//! wait for a buffer, the longest-stalled of those who hold the most lose theirs, so that one
//! frozen backend pays for the want it causes, and not who waits for a slow peer beside it.

use std::collections::HashMap;

use super::driver::Token;
use super::io::Owner;
use super::time::Time;

/// A send that has stalled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stalled {
    pub(super) since: Time,
    pub(super) token: Token,
    /// Who answers for its buffers, as far as it is known.
    pub(super) owners: [Owner; 2],
    /// Its own, and those that wait behind it.
    pub(super) buffers: usize,
}

/// The sends that lose their buffers: for exceeding `share`, or because `wanted` receives wait.
pub(super) fn evicted(mut stalled: Vec<Stalled>, share: usize, wanted: usize) -> Vec<Token> {
    stalled.sort_by_key(|send| send.since);
    let mut held: HashMap<Owner, usize> = HashMap::new();
    for send in &stalled {
        for owner in send.owners {
            *held.entry(owner).or_default() += send.buffers;
        }
    }
    held.remove(&Owner::default());
    // What a send answers for is the lesser of its owners' holdings: a listener that leads to a
    // frozen backend may lead to others too.
    let weight = |held: &HashMap<Owner, usize>, send: &Stalled| {
        send.owners.iter().filter_map(|owner| held.get(owner)).min().copied().unwrap_or(0)
    };
    let most = stalled.iter().map(|send| weight(&held, send)).max().unwrap_or(0);
    let (mut evicted, mut freed) = (Vec::new(), 0);
    for send in stalled {
        let excess = send.owners.iter().any(|owner| held.get(owner).is_some_and(|n| *n > share));
        let heavy = freed < wanted && 2 * weight(&held, &send) >= most;
        if excess || heavy {
            for owner in send.owners {
                held.entry(owner).and_modify(|count| *count -= send.buffers);
            }
            freed += send.buffers;
            evicted.push(send.token);
        }
    }
    evicted
}

#[cfg(test)]
mod tests {
    use super::super::driver::Kind;
    use super::*;

    /// Sends number `range`, stalled one after another, of this listener and this backend.
    fn stalled(range: std::ops::Range<u32>, owners: [u32; 2]) -> Vec<Stalled> {
        let send = |number| Stalled {
            since: Time::from_nanos(u64::from(number)),
            token: Token::new(number, 0, Kind::Send),
            owners: owners.map(Owner),
            buffers: 1,
        };
        range.map(send).collect()
    }

    fn numbers(evicted: Vec<Token>) -> Vec<u32> {
        evicted.into_iter().map(Token::slot).collect()
    }

    #[test]
    fn nobody_loses_a_buffer_that_nobody_needs() {
        assert!(evicted(stalled(0..9, [1, 2]), 10, 0).is_empty());
    }

    #[test]
    fn the_excess_over_the_share_goes_longest_stalled_first() {
        assert_eq!(numbers(evicted(stalled(0..9, [1, 2]), 6, 0)), [0, 1, 2]);
    }

    #[test]
    fn a_want_is_paid_by_who_holds_the_most() {
        let mut all = stalled(0..2, [1, 7]);
        all.extend(stalled(10..20, [1, 8]));
        assert_eq!(numbers(evicted(all, 100, 3)), [10, 11, 12]);
    }

    #[test]
    fn buffers_that_wait_behind_a_send_count_like_its_own() {
        let mut all = stalled(0..3, [1, 2]);
        all[0].buffers = 3;
        assert_eq!(numbers(evicted(all.clone(), 4, 0)), [0]);
        assert_eq!(numbers(evicted(all, 100, 3)), [0]);
    }

    #[test]
    fn among_equals_the_longest_stalled_pays() {
        let mut all = stalled(5..7, [1, 7]);
        all.extend(stalled(0..2, [1, 8]));
        assert_eq!(numbers(evicted(all, 100, 1)), [0]);
    }
}
