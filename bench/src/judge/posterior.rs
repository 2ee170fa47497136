//! Owns what a series of runs that held and runs that missed says of the limit between them; it
//! chooses no run but the most telling rate.

use serde::{Deserialize, Serialize};

/// Where a limit is: between `low` and `high` with the confidence, and as likely above as below
/// the median. Units per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub median: f64,
    pub low: f64,
    pub high: f64,
    pub confidence: f64,
}

/// The weight of each place where the limit may be, and of how wide the way is from rates that
/// always hold to rates that never do. A run is a coin whose chance follows from both; Bayes'
/// rule keeps the account. So a run that went wrong by chance is outweighed by those around it.
pub struct Posterior {
    /// Logarithms of rates, evenly apart.
    places: Vec<f64>,
    /// For each of `SPREADS`, the weights of all places.
    weights: Vec<Vec<f64>>,
}

impl Posterior {
    /// The limit is between two rates, and as likely in any part of that as in another that is as
    /// many times as wide.
    pub fn new(lowest: f64, highest: f64) -> Self {
        let (from, to) = (lowest.ln(), highest.ln());
        let steps = ((to - from) / STEP).ceil().max(1.0) as usize;
        let place = |step: usize| from + (to - from) * step as f64 / steps as f64;
        let places: Vec<f64> = (0..=steps).map(place).collect();
        let even = 1.0 / (places.len() * SPREADS.len()) as f64;
        let weights = vec![vec![even; places.len()]; SPREADS.len()];
        Self { places, weights }
    }

    pub fn learn(&mut self, rate: f64, held: bool) {
        let at = rate.ln();
        for (spread, weights) in SPREADS.iter().zip(&mut self.weights) {
            for (place, weight) in self.places.iter().zip(weights) {
                let holds = 1.0 / (1.0 + ((at - place) / spread).exp());
                let holds = CHANCE + (1.0 - 2.0 * CHANCE) * holds;
                *weight *= if held { holds } else { 1.0 - holds };
            }
        }
        // Every weight was above zero and was multiplied by `CHANCE` at least.
        let sum: f64 = self.weights.iter().flatten().sum();
        self.weights.iter_mut().flatten().for_each(|weight| *weight /= sum);
    }

    pub fn interval(&self) -> Interval {
        let tail = (1.0 - CONFIDENCE) / 2.0;
        Interval {
            median: self.rate_at(0.5),
            low: self.rate_at(tail),
            high: self.rate_at(1.0 - tail),
            confidence: CONFIDENCE,
        }
    }

    /// The rate that the limit is below with this chance.
    fn rate_at(&self, chance: f64) -> f64 {
        let mut below = 0.0;
        for (index, place) in self.places.iter().enumerate() {
            below += self.weights.iter().map(|weights| weights[index]).sum::<f64>();
            if below >= chance {
                return place.exp();
            }
        }
        // The sum of all weights may stay a little below one.
        self.places.last().map_or(0.0, |place| place.exp())
    }
}

impl Interval {
    /// Half of its width, in parts of the median.
    pub fn relative_error(&self) -> f64 {
        (self.high - self.low) / 2.0 / self.median
    }
}

/// A quarter of a per cent between places: finer than any limit is asked for.
const STEP: f64 = 0.0025;
/// Logistic spreads, as parts of the rate: from a cliff to a way of a third of the rate.
const SPREADS: [f64; 4] = [0.002, 0.01, 0.03, 0.08];
/// So often a run holds or misses whatever the rate is.
const CHANCE: f64 = 0.03;
const CONFIDENCE: f64 = 0.95;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bisected(limit: f64, runs: usize) -> Interval {
        let mut posterior = Posterior::new(100.0, 1e6);
        for _ in 0..runs {
            let rate = posterior.interval().median;
            posterior.learn(rate, rate <= limit);
        }
        posterior.interval()
    }

    #[test]
    fn a_run_that_went_wrong_is_outweighed() {
        let mut posterior = Posterior::new(100.0, 1e6);
        posterior.learn(1000.0, false);
        for rate in [1000.0, 1200.0, 1500.0, 2000.0] {
            posterior.learn(rate, true);
        }
        assert!(posterior.interval().median > 2000.0);
    }

    #[test]
    fn nothing_learned_is_known_to_be_nothing() {
        let interval = Posterior::new(100.0, 1e6).interval();
        assert!((interval.median / 1e4 - 1.0).abs() < 0.01, "{interval:?}");
        assert!(interval.low < 200.0 && interval.high > 5e5);
    }

    proptest! {
        #[test]
        fn a_cliff_is_found_wherever_it_is(limit in 150.0..9e5) {
            let interval = bisected(limit, 30);
            prop_assert!(interval.low <= limit * 1.005 && limit * 0.995 <= interval.high);
            prop_assert!(interval.relative_error() < 0.05, "{interval:?}");
        }
    }
}
