//! Owns medians of repeated runs and how sure they are; it does not know what the runs measured.

use serde::{Deserialize, Serialize};

/// The median of repeated measurements, with an interval that the true median is in. It supposes
/// nothing of their distribution: the interval is made of two of the measurements themselves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub median: f64,
    pub low: f64,
    pub high: f64,
    /// How likely such an interval holds the true median: 0.95 or a little more from six
    /// measurements on; with fewer it is all of them, and this says what that is worth.
    pub confidence: f64,
    pub runs: u32,
}

impl Estimate {
    /// `None` when there are no measurements. Those that are NaN are left out.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
        values.sort_by(f64::total_cmp);
        let runs = values.len();
        if runs == 0 {
            return None;
        }
        let (cut, confidence) = cut(runs);
        Some(Self {
            median: median_of_sorted(&values),
            low: values[cut],
            high: values[runs - 1 - cut],
            confidence,
            runs: runs as u32,
        })
    }

    pub fn scaled(&self, factor: f64) -> Self {
        let (low, high) = (self.low * factor, self.high * factor);
        Self { median: self.median * factor, low: low.min(high), high: low.max(high), ..*self }
    }
}

/// How many measurements may be left out at each end, and the confidence of what is left. The true
/// median is below the k-th smallest of n with the chance of fewer than k heads among n coins.
fn cut(runs: usize) -> (usize, f64) {
    let mut tail = 0.5_f64.powi(runs as i32);
    let mut coefficient = tail;
    let mut best = (0, 1.0 - 2.0 * tail);
    for left_out in 1..runs.div_ceil(2) {
        coefficient *= (runs - left_out + 1) as f64 / left_out as f64;
        tail += coefficient;
        let confidence = 1.0 - 2.0 * tail;
        if confidence < WANTED {
            break;
        }
        best = (left_out, confidence);
    }
    (best.0, best.1.max(0.0))
}

/// Not empty.
pub fn median_of_sorted(values: &[f64]) -> f64 {
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        values[middle - 1].midpoint(values[middle])
    } else {
        values[middle]
    }
}

const WANTED: f64 = 0.95;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_estimate_ignores_order_and_outliers() {
        let estimate = Estimate::of([3.0, 1000.0, 1.0, 2.0, 2.5]).unwrap();
        assert_eq!((estimate.median, estimate.low, estimate.high), (2.5, 1.0, 1000.0));
        assert!((estimate.confidence - 0.9375).abs() < 1e-12);
    }

    #[test]
    fn the_interval_is_that_of_the_sign_test() {
        // Tables of the sign test at 95 %: from 6 on one can cut nothing, from 9 one, from 12 two.
        for (runs, left_out) in [(6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (15, 3), (20, 5)] {
            assert_eq!(cut(runs).0, left_out, "{runs}");
            assert!(cut(runs).1 >= 0.95, "{runs}");
        }
        for (runs, confidence) in [(3, 0.75), (9, 0.9609), (12, 0.9614), (20, 0.9586)] {
            assert!((cut(runs).1 - confidence).abs() < 1e-4, "{runs}: {}", cut(runs).1);
        }
    }

    #[test]
    fn one_value_is_certain_of_nothing() {
        let estimate = Estimate::of([7.0]).unwrap();
        assert_eq!((estimate.low, estimate.high, estimate.confidence), (7.0, 7.0, 0.0));
        assert_eq!(Estimate::of([]), None);
        assert_eq!(Estimate::of([f64::NAN]), None);
    }

    #[test]
    fn so_many_intervals_hold_the_truth_as_they_say() {
        let mut random = fastrand::Rng::with_seed(5);
        for runs in [5, 9, 20] {
            let mut held = 0;
            for _ in 0..4000 {
                // Skewed, as latencies are: the median of an exponential is ln 2.
                let draws = (0..runs).map(|_| -(1.0 - random.f64()).ln());
                let estimate = Estimate::of(draws.collect::<Vec<_>>()).unwrap();
                held += u32::from((estimate.low..=estimate.high).contains(&2.0_f64.ln()));
            }
            let wanted = cut(runs).1;
            assert!((f64::from(held) / 4000.0 - wanted).abs() < 0.02, "{runs}: {held}");
        }
    }

    proptest! {
        #[test]
        fn the_median_is_within_its_interval(values in prop::collection::vec(-1e9..1e9, 1..60)) {
            let estimate = Estimate::of(values).unwrap();
            prop_assert!(estimate.low <= estimate.median && estimate.median <= estimate.high);
        }

        #[test]
        fn a_scale_changes_the_unit_and_nothing_else(
            values in prop::collection::vec(0.1..1e6, 1..30),
            factor in 0.001..1000.0,
        ) {
            let scaled = Estimate::of(values.iter().map(|value| value * factor)).unwrap();
            let estimate = Estimate::of(values).unwrap().scaled(factor);
            prop_assert!((scaled.median / estimate.median - 1.0).abs() < 1e-9);
            prop_assert!((scaled.low / estimate.low - 1.0).abs() < 1e-9);
            prop_assert_eq!(scaled.confidence, estimate.confidence);
        }
    }
}
