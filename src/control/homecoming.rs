//! When sessions move to the backends that their keys belong to, and how fast. Moves none, and does
//! not know which: the workers take those whose keys belong elsewhere, the longest idle first.

use std::time::Duration;

use crate::config;

/// The homecoming of one pool whose policy hashes. It rests until its backends change, then works
/// until nobody is left to move.
#[derive(Debug)]
pub struct Homecoming {
    /// Sessions per step.
    rate: u32,
    /// When the next step is due; none: it rests.
    next: Option<Duration>,
    /// From when on steps find the workers with what the change has made.
    settles: Duration,
    /// What the last such step has seen.
    last: Option<Census>,
    led: u64,
    /// Steps in a row since everyone could have moved once.
    in_vain: u32,
}

/// Sessions of the pool, over all backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    pub connections: u64,
    /// Of those, the ones that have been asked to move and have not ended yet.
    pub moving: u64,
    /// Those that were ever asked to.
    pub moved: u64,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Up to so many are to move.
    Lead(u32),
    /// Nobody is left to move; so many have been moved since the change.
    Rest { led: u64 },
}

/// Between two steps, and before the first, so that sessions that are just being made settle.
const STEP: Duration = Duration::from_secs(1);
/// The longest time between two steps.
const LONGEST_STEP: Duration = Duration::from_secs(64);

impl Homecoming {
    pub fn new(settings: config::Rebalance) -> Homecoming {
        let (next, settles, last) = (None, Duration::ZERO, None);
        Homecoming { rate: settings.rate, next, settles, last, led: 0, in_vain: 0 }
    }

    /// A backend has come or gone, or has another weight: keys may belong elsewhere.
    pub fn changed(&mut self, now: Duration) {
        let settles = now.saturating_add(STEP);
        // Changes that follow each other quickly do not put it off.
        let next = Some(self.next.map_or(settles, |next| next.min(settles)));
        *self = Homecoming { rate: self.rate, next, settles, last: None, led: 0, in_vain: 0 };
    }

    pub fn next_deadline(&self) -> Option<Duration> {
        self.next
    }

    /// None: nothing is due.
    pub fn take_due(&mut self, census: &Census, now: Duration) -> Option<Step> {
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        let last = std::mem::replace(&mut self.last, (now >= self.settles).then_some(*census));
        if let Some(last) = last {
            let led = census.moved.saturating_sub(last.moved);
            self.led += led;
            if led == 0 && census.moving == 0 {
                self.next = None;
                return Some(Step::Rest { led: self.led });
            }
        }
        self.next = Some(now.saturating_add(self.step(census.connections)));
        Some(Step::Lead(self.rate))
    }

    /// The time until the next step. Once as many have moved as there are, some come back to where
    /// they were, as when the backend that they belong to takes none of them: they are left in
    /// peace for ever longer.
    fn step(&mut self, connections: u64) -> Duration {
        if self.led > connections {
            self.in_vain = self.in_vain.saturating_add(1);
        }
        LONGEST_STEP.min(STEP.saturating_mul(2_u32.saturating_pow(self.in_vain)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn homecoming(rate: u32) -> Homecoming {
        Homecoming::new(config::Rebalance { rate, tolerance: 10 })
    }

    fn census(connections: u64, moving: u64, moved: u64) -> Census {
        Census { connections, moving, moved }
    }

    #[test]
    fn nobody_moves_without_a_change() {
        let mut homecoming = homecoming(5);
        assert_eq!(homecoming.take_due(&census(100, 0, 0), SECOND), None);
        assert_eq!(homecoming.next_deadline(), None);
    }

    #[test]
    fn it_goes_on_until_a_step_finds_nobody() {
        let mut homecoming = homecoming(5);
        homecoming.changed(Duration::ZERO);
        assert_eq!(homecoming.take_due(&census(100, 0, 40), SECOND / 2), None, "not yet");
        for (second, moved) in [(1, 40), (2, 45), (3, 48)] {
            let step = homecoming.take_due(&census(100, 0, moved), second * SECOND);
            assert_eq!(step, Some(Step::Lead(5)));
        }
        let rest = homecoming.take_due(&census(100, 0, 48), 4 * SECOND);
        assert_eq!(rest, Some(Step::Rest { led: 8 }));
        assert_eq!(homecoming.next_deadline(), None);
    }

    #[test]
    fn it_neither_waits_for_changes_to_end_nor_rests_before_they_have_arrived() {
        let mut homecoming = homecoming(5);
        for change in 0..5 {
            homecoming.changed(change * SECOND * 3 / 4);
        }
        // The first step was due before the last change, which is at 3 s.
        for half_seconds in [6, 8, 10] {
            let step = homecoming.take_due(&census(9, 0, 0), half_seconds * SECOND / 2);
            let last = half_seconds == 10;
            assert_eq!(step, Some(if last { Step::Rest { led: 0 } } else { Step::Lead(5) }));
        }
    }

    #[test]
    fn it_waits_for_those_that_take_their_time() {
        let mut homecoming = homecoming(5);
        homecoming.changed(Duration::ZERO);
        for (second, moving, moved) in [(1, 0, 0), (2, 2, 2), (3, 1, 2)] {
            let step = homecoming.take_due(&census(9, moving, moved), second * SECOND);
            assert_eq!(step, Some(Step::Lead(5)), "they may come back to where they were");
        }
        let rest = homecoming.take_due(&census(9, 0, 2), 4 * SECOND);
        assert_eq!(rest, Some(Step::Rest { led: 2 }));
    }

    #[test]
    fn who_comes_back_in_vain_is_left_in_peace_for_ever_longer() {
        let mut homecoming = homecoming(5);
        homecoming.changed(Duration::ZERO);
        let mut pauses = Vec::new();
        for step in 0..12 {
            let now = homecoming.next_deadline().unwrap();
            homecoming.take_due(&census(10, 0, 5 * step), now);
            pauses.push((homecoming.next_deadline().unwrap() - now).as_secs());
        }
        // Three steps for ten sessions: the third begins when they have moved once.
        assert_eq!(pauses, [1, 1, 1, 2, 4, 8, 16, 32, 64, 64, 64, 64]);
        let now = homecoming.next_deadline().unwrap() - 50 * SECOND;
        homecoming.changed(now);
        assert_eq!(homecoming.next_deadline(), Some(now + SECOND), "another change may help");
        homecoming.take_due(&census(10, 0, 100), now + SECOND);
        assert_eq!(homecoming.next_deadline(), Some(now + 2 * SECOND));
    }
}
