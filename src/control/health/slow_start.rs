//! The share that a member takes while it starts. Knows nothing of why it starts.

use std::time::Duration;

/// How a member's share grows from nothing to the whole: in equal steps, each with the share of
/// its middle, so that the pool is published a handful of times and the sum is that of a straight
/// line.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlowStart {
    /// Never zero; none: a member has its whole share at once.
    length: Option<Duration>,
}

impl SlowStart {
    pub(super) fn new(length: Option<Duration>) -> SlowStart {
        SlowStart { length: length.filter(|length| !length.is_zero()) }
    }

    /// Percent of the share after this time, 1 to 99; none once it is the whole.
    pub(super) fn percent(self, elapsed: Duration) -> Option<u8> {
        let step = step(self.length?, elapsed).filter(|step| *step < STEPS)?;
        Some((step * STEP_PERCENT + STEP_PERCENT / 2) as u8)
    }

    /// After which time the share grows next, if it ever does.
    pub(super) fn next(self, elapsed: Duration) -> Option<Duration> {
        let length = self.length?;
        let step = step(length, elapsed).filter(|step| *step < STEPS)?;
        // The division rounds down; a step that has not come must not seem to be due.
        let soonest = elapsed.saturating_add(Duration::from_nanos(1));
        Some((length.saturating_mul(step + 1) / STEPS).max(soonest))
    }
}

/// Which step this is, counted from 0.
fn step(length: Duration, elapsed: Duration) -> Option<u32> {
    let steps = elapsed.as_nanos().saturating_mul(u128::from(STEPS)) / length.as_nanos();
    u32::try_from(steps).ok()
}

const STEPS: u32 = 10;

const STEP_PERCENT: u32 = 100 / STEPS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_in_ten_steps() {
        let start = SlowStart::new(Some(Duration::from_secs(20)));
        let (mut elapsed, mut shares) = (Duration::ZERO, Vec::new());
        while let Some(percent) = start.percent(elapsed) {
            shares.push((elapsed.as_secs(), percent));
            let next = start.next(elapsed).unwrap();
            assert_eq!(start.percent(next - Duration::from_nanos(1)), Some(percent));
            elapsed = next;
        }
        let expected = [5, 15, 25, 35, 45, 55, 65, 75, 85, 95];
        assert_eq!(
            shares,
            [0, 2, 4, 6, 8, 10, 12, 14, 16, 18].into_iter().zip(expected).collect::<Vec<_>>()
        );
        assert_eq!((elapsed.as_secs(), start.next(elapsed)), (20, None));
    }

    #[test]
    fn every_length_ends() {
        for nanoseconds in [1, 3, 7, 15, 99, 1001] {
            let start = SlowStart::new(Some(Duration::from_nanos(nanoseconds)));
            let mut elapsed = Duration::ZERO;
            for _ in 0..50 {
                match start.next(elapsed) {
                    Some(next) => elapsed = next,
                    None => break,
                }
            }
            assert_eq!(start.next(elapsed), None, "{nanoseconds} ns");
            assert_eq!(start.percent(elapsed), None);
        }
    }

    #[test]
    fn without_a_length_the_share_is_the_whole() {
        for length in [None, Some(Duration::ZERO)] {
            let start = SlowStart::new(length);
            assert_eq!((start.percent(Duration::ZERO), start.next(Duration::ZERO)), (None, None));
        }
    }
}
