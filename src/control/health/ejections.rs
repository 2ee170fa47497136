//! How long a member is ejected, each time longer, and how that is forgotten. Says nothing of
//! whether it may be.

use std::time::Duration;

use crate::config::Ejection;

/// The ejections of one member.
#[derive(Debug, Default)]
pub(super) struct Ejections {
    /// The end of the one that runs.
    until: Option<Duration>,
    /// The next one's length is the first one's doubled so often.
    doublings: u32,
    /// When the last one ended.
    ended: Duration,
    count: u32,
}

impl Ejections {
    /// The end of the one that runs.
    pub(super) fn until(&self) -> Option<Duration> {
        self.until
    }

    /// How many have begun.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Begins one, and says how long it will be.
    pub(super) fn begin(&mut self, settings: &Ejection, now: Duration) -> Duration {
        assert!(self.until.is_none(), "a member is ejected once at a time");
        self.forget(settings, now);
        let length = length(settings, self.doublings);
        if length < settings.max_time {
            self.doublings += 1;
        }
        self.until = Some(now.saturating_add(length));
        self.count += 1;
        length
    }

    pub(super) fn end(&mut self, now: Duration) {
        assert!(self.until.take().is_some(), "only what has begun can end");
        self.ended = now;
    }

    /// A doubling is forgotten for each time that the member has been in for as long as it was
    /// last out. One that fails whenever it returns is out for ever longer; one that had a bad
    /// hour is soon trusted as before.
    fn forget(&mut self, settings: &Ejection, now: Duration) {
        let mut good = now.saturating_sub(self.ended);
        while self.doublings > 0 {
            let out = length(settings, self.doublings - 1);
            let Some(left) = good.checked_sub(out) else { break };
            good = left;
            self.doublings -= 1;
        }
    }
}

fn length(settings: &Ejection, doublings: u32) -> Duration {
    let factor = 2_u32.saturating_pow(doublings);
    settings.base_time.saturating_mul(factor).min(settings.max_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn settings() -> Ejection {
        Ejection {
            failures: 5,
            window: SECOND,
            base_time: 10 * SECOND,
            max_time: 60 * SECOND,
            max_share: 10,
        }
    }

    /// Lengths in seconds of ejections that begin so many seconds after the one before ended.
    fn lengths(pauses: &[u32]) -> Vec<u64> {
        let (mut ejections, mut now) = (Ejections::default(), Duration::ZERO);
        let length = |pause: &u32| {
            now += *pause * SECOND;
            let length = ejections.begin(&settings(), now);
            now += length;
            assert_eq!(ejections.until(), Some(now));
            ejections.end(now);
            length.as_secs()
        };
        pauses.iter().map(length).collect()
    }

    #[test]
    fn each_one_is_twice_as_long_up_to_the_greatest() {
        assert_eq!(lengths(&[0; 6]), [10, 20, 40, 60, 60, 60]);
    }

    #[test]
    fn time_without_one_forgets_a_doubling_after_another() {
        assert_eq!(lengths(&[0, 9, 0]), [10, 20, 40]);
        assert_eq!(lengths(&[0, 10, 0]), [10, 10, 20]);
        // After 40 s out: 40 s forget the third doubling, 20 s more the second.
        assert_eq!(lengths(&[0, 0, 0, 39]), [10, 20, 40, 60]);
        assert_eq!(lengths(&[0, 0, 0, 59]), [10, 20, 40, 40]);
        assert_eq!(lengths(&[0, 0, 0, 60]), [10, 20, 40, 20]);
        assert_eq!(lengths(&[0, 0, 0, 0, 0, 3600, 0]), [10, 20, 40, 60, 60, 10, 20]);
    }

    #[test]
    fn no_length_overflows() {
        let settings = Ejection { max_time: Duration::MAX, ..settings() };
        let mut ejections = Ejections::default();
        for _ in 0..200 {
            ejections.begin(&settings, Duration::ZERO);
            ejections.end(Duration::ZERO);
        }
        assert!(length(&settings, ejections.doublings) >= 1000 * settings.base_time);
    }
}
