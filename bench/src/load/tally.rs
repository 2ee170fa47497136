//! Owns what a run has counted: units and their latency; it does not decide when counting begins.

use hdrhistogram::Histogram;

use crate::clock::SECOND;

/// Units completed and latencies in nanoseconds, since the window was opened.
pub struct Tally {
    pub units: u64,
    pub latency: Histogram<u64>,
    /// Units intended before the window are not in `latency`: they waited for the measurement.
    window_start: u64,
}

impl Tally {
    pub fn new() -> Self {
        // The bounds are constants that the histogram accepts: 1 <= low, 2 * low <= high.
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX, SIGNIFICANT_DIGITS)
            .expect("constant bounds are valid");
        Self { units: 0, latency, window_start: u64::MAX }
    }

    pub fn open_window(&mut self, now: u64) {
        self.units = 0;
        self.latency.reset();
        self.window_start = now;
    }

    pub fn add(&mut self, units: u64) {
        self.units += units;
    }

    /// One unit that ought to have begun at `intended` has been answered at `now`.
    pub fn add_answer(&mut self, intended: u64, now: u64) {
        self.units += 1;
        if intended >= self.window_start {
            self.latency.saturating_record(now - intended);
        }
    }
}

const LATENCY_MAX: u64 = 60 * SECOND;
const SIGNIFICANT_DIGITS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_counts_from_the_intended_time() {
        let mut tally = Tally::new();
        tally.open_window(1_000);
        tally.add_answer(2_000, 502_000);
        assert!(tally.latency.equivalent(tally.latency.max(), 500_000));
    }

    #[test]
    fn a_unit_intended_before_the_window_counts_as_work_only() {
        let mut tally = Tally::new();
        tally.add_answer(0, 10);
        tally.open_window(1_000);
        tally.add_answer(999, 5_000);
        assert_eq!((tally.units, tally.latency.len()), (1, 0));
    }
}
