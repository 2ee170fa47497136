//! Owns the curve of rate and latency and where it bends; it makes no runs.

use serde::{Deserialize, Serialize};

use super::estimate::Estimate;
use crate::figures::Run;

/// One offered rate of the curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Units per second.
    pub rate: f64,
    /// Nanoseconds, at the quantile of the curve.
    pub latency: Estimate,
}

/// Where more load begins to cost more latency than it is worth: the rate with the most power,
/// which is rate divided by latency (Kleinrock). It needs no scale and no threshold; for an M/M/1
/// queue it is half of its capacity, and for a system that is fast until it is full, its limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Knee {
    pub rate: f64,
    /// Nanoseconds, the median at that rate.
    pub latency: f64,
    /// Rates whose power can not be told from the knee's.
    pub low: f64,
    pub high: f64,
}

/// The open-loop runs by their rates, lowest first. Rates within a hundredth are one point.
pub fn curve(runs: &[Run], quantile: f64) -> Vec<Point> {
    let answered = runs.iter().filter(|run| !run.latency.is_empty());
    let mut all: Vec<(f64, f64)> = answered
        .filter_map(|run| Some((run.offered?, run.latency.quantile(quantile) as f64)))
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut points = Vec::new();
    let mut rest = all.as_slice();
    while let Some(&(first, _)) = rest.first() {
        let together = rest.partition_point(|(rate, _)| *rate <= first * SAME_RATE);
        let (near, others) = rest.split_at(together);
        let rates = Estimate::of(near.iter().map(|(rate, _)| *rate));
        let latencies = Estimate::of(near.iter().map(|(_, latency)| *latency));
        points.extend(
            rates.zip(latencies).map(|(rate, latency)| Point { rate: rate.median, latency }),
        );
        rest = others;
    }
    points
}

/// `None` for fewer than `FEWEST` points, or where the last point has the most power: then the
/// curve has no bend yet. Latency is taken to rise with the rate: one lucky run among others that
/// were slow at lower rates is not a knee.
pub fn knee(curve: &[Point]) -> Option<Knee> {
    let usable: Vec<&Point> = curve.iter().filter(|point| point.latency.median > 0.0).collect();
    if usable.len() < FEWEST {
        return None;
    }
    let latencies = rising(&usable);
    let power = |index: usize| usable[index].rate / latencies[index];
    let places = || 0..usable.len();
    let best = places().max_by(|a, b| power(*a).total_cmp(&power(*b)))?;
    if best + 1 == usable.len() {
        return None;
    }
    let near = || places().filter(|index| power(*index) >= power(best) * SAME_POWER);
    Some(Knee {
        rate: usable[best].rate,
        latency: latencies[best],
        low: usable[near().next()?].rate,
        high: usable[near().next_back()?].rate,
    })
}

/// The latencies as a curve that never falls, as near to them as can be: neighbours that fall are
/// made one, at the mean of their logarithms, weighed by their runs.
fn rising(points: &[&Point]) -> Vec<f64> {
    // Logarithm, weight and how many points it stands for.
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for point in points {
        let mut pool = (point.latency.median.ln(), f64::from(point.latency.runs), 1);
        while let Some(before) = pools.pop_if(|before| before.0 > pool.0) {
            let weight = before.1 + pool.1;
            let mean = (before.0 * before.1 + pool.0 * pool.1) / weight;
            pool = (mean, weight, before.2 + pool.2);
        }
        pools.push(pool);
    }
    let spread = pools.iter().map(|(mean, _, count)| std::iter::repeat_n(mean.exp(), *count));
    spread.flatten().collect()
}

const FEWEST: usize = 5;
const SAME_RATE: f64 = 1.01;
/// Latencies vary by more than this from run to run.
const SAME_POWER: f64 = 0.95;

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(rates: impl Iterator<Item = f64>, latency: impl Fn(f64) -> f64) -> Vec<Point> {
        let estimate = |value| Estimate::of([value]).unwrap();
        rates.map(|rate| Point { rate, latency: estimate(latency(rate)) }).collect()
    }

    fn tens() -> impl Iterator<Item = f64> {
        (1..20).map(|step| f64::from(step) * 50.0)
    }

    #[test]
    fn the_knee_of_a_queue_is_at_half_of_its_capacity() {
        let curve = drawn(tens(), |rate| 1e9 / (1000.0 - rate));
        let knee = knee(&curve).unwrap();
        assert_eq!(knee.rate, 500.0);
        assert!((knee.latency - 2e6).abs() < 1.0);
        assert!(knee.low < 500.0 && knee.high > 500.0 && knee.high < 700.0, "{knee:?}");
    }

    #[test]
    fn the_knee_of_a_step_is_the_last_rate_before_it() {
        let curve = drawn(tens(), |rate| if rate <= 700.0 { 1e5 } else { 1e8 });
        assert_eq!(knee(&curve).unwrap().rate, 700.0);
    }

    #[test]
    fn a_lucky_run_beyond_the_bend_is_no_knee() {
        let latency = |rate| match rate {
            900.0 => 2e4,
            rate if rate <= 400.0 => 1e5,
            _ => 3e8,
        };
        assert_eq!(knee(&drawn(tens(), latency)).unwrap().rate, 400.0);
    }

    #[test]
    fn a_curve_that_does_not_bend_has_no_knee() {
        assert_eq!(knee(&drawn(tens(), |_| 1e5)), None);
        assert_eq!(knee(&drawn(tens().take(4), |rate| 1e9 / (1000.0 - rate))), None);
        assert_eq!(knee(&[]), None);
    }
}
