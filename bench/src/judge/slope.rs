//! Owns drift: how a figure changes with time and how sure that is; it does not know what the
//! figure is.

use serde::{Deserialize, Serialize};

use super::estimate::median_of_sorted;

/// The median of the slopes between all pairs of points (Theil and Sen), with the interval that
/// Kendall's test gives it. Spikes do not move it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slope {
    /// Of the figure, per second.
    pub slope: f64,
    /// The true slope is between these with 95 %.
    pub low: f64,
    pub high: f64,
    /// The median of the figure itself.
    pub level: f64,
}

impl Slope {
    /// From pairs of seconds and a figure. `None` for less than `FEWEST` of them or no time
    /// between them. Long series are first made of medians of neighbours, which also takes away
    /// most of what makes neighbours alike.
    pub fn of(points: &[(f64, f64)]) -> Option<Self> {
        let points = gathered(points);
        if points.len() < FEWEST {
            return None;
        }
        let mut slopes = Vec::new();
        for (index, (at, value)) in points.iter().enumerate() {
            let later = points[index + 1..].iter().filter(|(later, _)| later > at);
            slopes.extend(later.map(|(later, other)| (other - value) / (later - at)));
        }
        if slopes.is_empty() {
            return None;
        }
        slopes.sort_by(f64::total_cmp);
        let mut values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        let count = points.len() as f64;
        // Of all pairs, by how many the ranks may stray if there is no slope.
        let stray = 1.96 * (count * (count - 1.0) * (2.0 * count + 5.0) / 18.0).sqrt();
        let middle = slopes.len() as f64 / 2.0;
        let low = (middle - stray / 2.0).floor().max(0.0) as usize;
        let high = ((middle + stray / 2.0).ceil() as usize).min(slopes.len() - 1);
        Some(Self {
            slope: median_of_sorted(&slopes),
            low: slopes[low],
            high: slopes[high],
            level: median_of_sorted(&values),
        })
    }

    /// Whether a slope of zero is outside the interval.
    pub fn drifts(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// At most `MOST` points: medians of times and figures of as many neighbours as it takes.
fn gathered(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let each = points.len().div_ceil(MOST).max(1);
    let median = |values: Vec<f64>| {
        let mut values = values;
        values.sort_by(f64::total_cmp);
        median_of_sorted(&values)
    };
    let gather = |near: &[(f64, f64)]| {
        let times = near.iter().map(|(at, _)| *at).collect();
        (median(times), median(near.iter().map(|(_, value)| *value).collect()))
    };
    points.chunks(each).map(gather).collect()
}

const FEWEST: usize = 8;
/// Enough for an interval, few enough for all pairs.
const MOST: usize = 120;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An hour of seconds around a line, with noise of a tenth of the level.
    fn hour(slope: f64, seed: u64) -> Vec<(f64, f64)> {
        let mut random = fastrand::Rng::with_seed(seed);
        let at = |second: u32| f64::from(second);
        (0..3600).map(|s| (at(s), 1000.0 + slope * at(s) + 100.0 * random.f64())).collect()
    }

    #[test]
    fn a_leak_below_the_noise_is_seen() {
        let slope = Slope::of(&hour(0.01, 1)).unwrap();
        assert!(slope.drifts());
        assert!(slope.low <= 0.01 && 0.01 <= slope.high, "{slope:?}");
    }

    #[test]
    fn noise_alone_seldom_drifts() {
        let drifts = (0..200).filter(|seed| Slope::of(&hour(0.0, *seed)).unwrap().drifts());
        let drifts = drifts.count();
        assert!(drifts <= 20, "{drifts} of 200");
    }

    #[test]
    fn spikes_do_not_move_a_slope() {
        let mut points = hour(0.0, 3);
        let quiet = Slope::of(&points).unwrap();
        points.iter_mut().skip(3000).step_by(100).for_each(|point| point.1 = 1e9);
        let spiked = Slope::of(&points).unwrap();
        assert!((spiked.slope - quiet.slope).abs() < 0.002, "{spiked:?}");
        assert!(!spiked.drifts());
    }

    #[test]
    fn a_level_that_never_moves_has_no_slope() {
        let flat: Vec<(f64, f64)> = (0..100).map(|at| (f64::from(at), 5.0)).collect();
        let slope = Slope::of(&flat).unwrap();
        assert_eq!((slope.slope, slope.low, slope.high, slope.level), (0.0, 0.0, 0.0, 5.0));
        assert!(!slope.drifts());
    }

    #[test]
    fn too_little_time_says_nothing() {
        assert_eq!(Slope::of(&[(0.0, 1.0); 100]), None);
        assert_eq!(Slope::of(&hour(1.0, 1)[..7]), None);
    }

    proptest! {
        #[test]
        fn a_line_without_noise_is_its_own_slope(slope in -1e3..1e3_f64, level in -1e6..1e6_f64) {
            let points: Vec<(f64, f64)> =
                (0..50).map(|at| (f64::from(at), level + slope * f64::from(at))).collect();
            let found = Slope::of(&points).unwrap();
            prop_assert!((found.slope - slope).abs() <= 1e-6 * slope.abs().max(1.0));
            prop_assert!(found.low <= found.slope && found.slope <= found.high);
        }
    }
}
