//! When each name is asked for again: intervals with jitter, and the agenda of what is to come.
//! Asks nothing itself.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::question::Question;
use crate::config::Discovery;

/// What can be asked: each exists once for a pool, however many backends hang on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Name(Question),
    File(Arc<Path>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// It is to be asked, or, when nobody needs it, to be forgotten.
    Turn,
    /// Its last good answer is held no longer.
    Expiry,
}

/// Everything that has a time.
#[derive(Default)]
pub(super) struct Agenda {
    entries: BTreeSet<(Duration, Purpose, Subject)>,
}

impl Agenda {
    pub fn add(&mut self, time: Duration, purpose: Purpose, subject: &Subject) {
        self.entries.insert((time, purpose, subject.clone()));
    }

    pub fn remove(&mut self, time: Duration, purpose: Purpose, subject: &Subject) {
        self.entries.remove(&(time, purpose, subject.clone()));
    }

    pub fn next(&self) -> Option<Duration> {
        self.entries.first().map(|(time, _, _)| *time)
    }

    /// Takes the first whose time has come.
    pub fn take_due(&mut self, now: Duration) -> Option<(Purpose, Subject)> {
        if self.next()? > now {
            return None;
        }
        self.entries.pop_first().map(|(_, purpose, subject)| (purpose, subject))
    }
}

/// How long until a name is asked for again. Each interval is shortened at random by up to a
/// tenth, so that names asked together part; where that would go below the least, it is
/// lengthened by as much instead.
pub(super) struct Intervals {
    min: Duration,
    max: Duration,
    retry: Duration,
    random: fastrand::Rng,
}

impl Intervals {
    pub fn new(discovery: &Discovery, seed: u64) -> Intervals {
        let (min, max) = (discovery.min_interval, discovery.max_interval);
        let random = fastrand::Rng::with_seed(seed);
        Intervals { min, max: max.max(min), retry: discovery.retry_interval, random }
    }

    /// After a good answer.
    pub fn valid_for(&mut self, time_to_live: Duration) -> Duration {
        self.jittered(time_to_live.clamp(self.min, self.max), self.min)
    }

    /// After so many failures in a row, at least one.
    pub fn retry(&mut self, failures: u32) -> Duration {
        let doubled = self.retry.saturating_mul(1 << failures.saturating_sub(1).min(30));
        self.jittered(doubled.min(self.max.max(self.retry)), self.retry)
    }

    /// After an answer that another must confirm.
    pub fn soon(&mut self) -> Duration {
        self.jittered(self.min, self.min)
    }

    /// The least time between two questions for a name.
    pub fn least(&self) -> Duration {
        self.min
    }

    fn jittered(&mut self, interval: Duration, least: Duration) -> Duration {
        let tenth = interval / 10;
        let shortest = interval.saturating_sub(tenth).max(least);
        let jittered = shortest.saturating_add(tenth.mul_f64(self.random.f64()));
        jittered.min(self.max.max(shortest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn intervals(seed: u64) -> Intervals {
        let discovery = Discovery {
            min_interval: seconds(2),
            max_interval: seconds(60),
            retry_interval: seconds(1),
            ..Discovery::default()
        };
        Intervals::new(&discovery, seed)
    }

    #[test]
    fn an_interval_is_the_time_to_live_within_bounds_and_a_tenth() {
        for seed in 0..256 {
            let mut intervals = intervals(seed);
            for (time_to_live, shortest, longest) in
                [(0, 2000, 2200), (1, 2000, 2200), (30, 27_000, 30_000), (9999, 54_000, 60_000)]
            {
                let interval = intervals.valid_for(seconds(time_to_live));
                let allowed = Duration::from_millis(shortest)..=Duration::from_millis(longest);
                assert!(allowed.contains(&interval), "seed {seed}: {time_to_live}: {interval:?}");
            }
        }
    }

    #[test]
    fn retries_are_doubled_up_to_the_longest_interval() {
        let mut intervals = intervals(1);
        for (failures, base) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (1000, 60)] {
            let interval = intervals.retry(failures);
            let tenth = seconds(base) / 10;
            let allowed = (seconds(base) - tenth).max(seconds(1))..=seconds(base) + tenth;
            assert!(allowed.contains(&interval), "{failures}: {interval:?}");
        }
    }

    #[test]
    fn names_asked_together_part() {
        let mut intervals = intervals(7);
        let distinct: BTreeSet<Duration> =
            (0..500).map(|_| intervals.valid_for(seconds(30))).collect();
        let spread = *distinct.last().unwrap() - *distinct.first().unwrap();
        assert!(distinct.len() > 490 && spread > Duration::from_millis(2500), "{spread:?}");
    }
}
