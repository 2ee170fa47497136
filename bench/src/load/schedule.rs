//! Owns when each unit of a paced run is due; it reads no clock and sends nothing.

use super::Pace;

/// When units are due. In a closed loop they always are.
#[derive(Clone, Copy, Debug)]
pub enum Schedule {
    Always,
    /// Unit `n` is due `n * interval` after `start`. Picoseconds keep a rate of millions per
    /// second exact over a run.
    Even {
        start: u64,
        interval_ps: u64,
    },
}

impl Schedule {
    /// `start` is in nanoseconds.
    pub fn new(pace: Pace, start: u64) -> Self {
        match pace {
            Pace::Full => Self::Always,
            Pace::Rate(rate) => {
                assert!(rate > 0.0, "a rate is positive");
                Self::Even { start, interval_ps: ((1e12 / rate) as u64).max(1) }
            }
        }
    }

    pub fn is_paced(&self) -> bool {
        matches!(self, Self::Even { .. })
    }

    /// When unit `index` ought to begin; in a closed loop that is when it can.
    pub fn intended(&self, index: u64, now: u64) -> u64 {
        match *self {
            Self::Always => now,
            Self::Even { start, interval_ps } => {
                start + (u128::from(index) * u128::from(interval_ps) / 1000) as u64
            }
        }
    }

    /// How many units are due at `now`: the first `n` of them.
    pub fn due(&self, now: u64) -> u64 {
        match *self {
            Self::Always => u64::MAX,
            Self::Even { start, .. } if now < start => 0,
            Self::Even { start, interval_ps } => {
                (((now - start) * 1000 + 999) / interval_ps).saturating_add(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;

    #[test]
    fn a_unit_is_due_exactly_from_its_intended_time_on() {
        for rate in [1.0, 3.0, 7_777.0, 48_000.0, 1_234_567.0] {
            let schedule = Schedule::new(Pace::Rate(rate), 5_000);
            for index in [0, 1, 2, 3, 999, 1_000_003] {
                let intended = schedule.intended(index, 0);
                assert!(schedule.due(intended) > index, "{rate} {index}");
                assert!(schedule.due(intended - 1) <= index, "{rate} {index}");
            }
        }
    }

    #[test]
    fn a_second_holds_as_many_units_as_the_rate_says() {
        let schedule = Schedule::new(Pace::Rate(50_000.0), 0);
        assert_eq!(schedule.due(SECOND - 1), 50_000);
        assert_eq!(schedule.due(10 * SECOND - 1), 500_000);
    }

    #[test]
    fn a_delay_does_not_move_later_units() {
        let schedule = Schedule::new(Pace::Rate(1_000.0), 0);
        assert_eq!(schedule.intended(7, 0), schedule.intended(7, 3 * SECOND));
    }

    #[test]
    fn nothing_is_due_before_the_start() {
        assert_eq!(Schedule::new(Pace::Rate(1e6), 100).due(99), 0);
    }

    #[test]
    fn a_closed_loop_begins_a_unit_whenever_it_can() {
        let schedule = Schedule::new(Pace::Full, 100);
        assert_eq!(schedule.intended(9, 123), 123);
        assert_eq!(schedule.due(0), u64::MAX);
    }
}
