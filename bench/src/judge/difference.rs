//! Owns whether two sets of repeated runs differ or only seem to; it does not know what the runs
//! measured.

use serde::{Deserialize, Serialize};

use super::estimate::median_of_sorted;

/// How the second set stands to the first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Second over first: the median of the ratios of all pairs (Hodges and Lehmann).
    pub ratio: f64,
    /// The chance of ranks at least as uneven, if both sets came from one distribution.
    pub chance: f64,
    /// The smallest chance that so few runs can come to.
    pub smallest_chance: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Real,
    Noise,
    /// No outcome of so few runs could have told.
    TooFewRuns,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Noise => "noise",
            Self::TooFewRuns => "too few runs",
        }
    }
}

impl Difference {
    /// `None` where one set is empty or has a value that is no positive number.
    pub fn between(first: &[f64], second: &[f64]) -> Option<Self> {
        let usable = |values: &[f64]| {
            !values.is_empty() && values.iter().all(|value| *value > 0.0 && value.is_finite())
        };
        if !usable(first) || !usable(second) {
            return None;
        }
        let pairs = first.iter().flat_map(|a| second.iter().map(move |b| b / a));
        let mut ratios: Vec<f64> = pairs.collect();
        ratios.sort_by(f64::total_cmp);
        let ranks = Ranks::of(first, second);
        Some(Self {
            ratio: median_of_sorted(&ratios),
            chance: ranks.chance(),
            smallest_chance: smallest_chance(first.len(), second.len()),
        })
    }
}

/// Verdicts on differences that were looked for together. Among many some seem real by chance; the
/// steps of Benjamini and Hochberg keep those to a twentieth of what is called real.
pub fn discoveries(differences: &[Difference]) -> Vec<Verdict> {
    let able: Vec<&Difference> = differences.iter().filter(|of| of.can_tell()).collect();
    let mut chances: Vec<f64> = able.iter().map(|of| of.chance).collect();
    chances.sort_by(f64::total_cmp);
    let count = chances.len() as f64;
    let passes = |(rank, chance): (usize, &f64)| *chance <= FALSE_SHARE * (rank + 1) as f64 / count;
    let threshold = chances.iter().enumerate().rev().find(|&(rank, chance)| passes((rank, chance)));
    let threshold = threshold.map(|(_, chance)| *chance);
    let verdict = |difference: &Difference| match threshold {
        _ if !difference.can_tell() => Verdict::TooFewRuns,
        Some(threshold) if difference.chance <= threshold => Verdict::Real,
        // The sets are as far apart as they can be, and among so many that is not enough.
        _ if difference.chance <= difference.smallest_chance * 1.001 => Verdict::TooFewRuns,
        _ => Verdict::Noise,
    };
    differences.iter().map(verdict).collect()
}

impl Difference {
    fn can_tell(&self) -> bool {
        self.smallest_chance <= FALSE_SHARE
    }
}

/// The ranks of two sets in one order, doubled, so that the middle of equal ones is whole.
struct Ranks {
    all: Vec<usize>,
    /// How many belong to the first set, and their sum.
    count: usize,
    sum: usize,
}

impl Ranks {
    fn of(first: &[f64], second: &[f64]) -> Self {
        let of_first = first.iter().map(|value| (*value, true));
        let mut values: Vec<(f64, bool)> =
            of_first.chain(second.iter().map(|value| (*value, false))).collect();
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut all, mut sum) = (Vec::new(), 0);
        for equal in values.chunk_by(|a, b| a.0 == b.0) {
            // Ranks begin at 1: the doubled middle of those from `begin + 1` to `begin + n`.
            let doubled = 2 * all.len() + equal.len() + 1;
            sum += doubled * equal.iter().filter(|(_, is_first)| *is_first).count();
            all.extend(std::iter::repeat_n(doubled, equal.len()));
        }
        Self { all, count: first.len(), sum }
    }

    /// Of all ways to choose the first set among the values, the share whose rank sum is at least
    /// as far from its mean: the exact test of Mann, Whitney and Wilcoxon, with ties.
    fn chance(&self) -> f64 {
        let total: usize = self.all.iter().sum();
        // ways[k][s]: the share of choices of k values, so far, whose doubled ranks add up to s.
        let mut ways = vec![vec![0.0_f64; total + 1]; self.count + 1];
        ways[0][0] = 1.0;
        for (seen, &rank) in self.all.iter().enumerate() {
            for chosen in (1..=self.count.min(seen + 1)).rev() {
                let (fewer, more) = ways.split_at_mut(chosen);
                for (sum, share) in more[0][rank..].iter_mut().enumerate() {
                    *share += fewer[chosen - 1][sum];
                }
            }
        }
        // Compared without division: sum * size against total * count is sum against its mean.
        let size = self.all.len();
        let distance = |sum: usize| (sum * size).abs_diff(total * self.count);
        let seen = distance(self.sum);
        let shares = &ways[self.count];
        let uneven = shares.iter().enumerate().filter(|(sum, _)| distance(*sum) >= seen);
        let uneven: f64 = uneven.map(|(_, share)| share).sum();
        (uneven / shares.iter().sum::<f64>()).min(1.0)
    }
}

/// Two of all choices are the most uneven: the first set all below, or all above.
fn smallest_chance(first: usize, second: usize) -> f64 {
    let choices = (1..=first).map(|step| (second + step) as f64 / step as f64).product::<f64>();
    (2.0 / choices).min(1.0)
}

/// Of the differences that are called real so many may be chance.
const FALSE_SHARE: f64 = 0.05;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verdict(difference: Difference) -> Verdict {
        discoveries(&[difference])[0]
    }

    fn between(first: &[f64], second: &[f64]) -> Difference {
        Difference::between(first, second).unwrap()
    }

    #[test]
    fn chances_are_those_of_the_published_tables() {
        // U = 0 with 5 and 5 is 2 of 252; U = 2 with 4 and 4 is 8 of 70, two-sided.
        let apart = between(&[1.0, 2.0, 3.0, 4.0, 5.0], &[6.0, 7.0, 8.0, 9.0, 10.0]);
        assert!((apart.chance - 2.0 / 252.0).abs() < 1e-12, "{apart:?}");
        assert_eq!(apart.chance, apart.smallest_chance);
        let close = between(&[1.0, 2.0, 3.0, 6.0], &[4.0, 5.0, 7.0, 8.0]);
        assert!((close.chance - 8.0 / 70.0).abs() < 1e-12, "{close:?}");
    }

    #[test]
    fn equal_values_share_their_rank() {
        let same = between(&[3.0; 6], &[3.0; 6]);
        assert_eq!((same.chance, same.ratio), (1.0, 1.0));
        assert_eq!(verdict(same), Verdict::Noise);
        // Ranks 1.5 1.5 3 and 4 5.5 5.5: again the most uneven of 20, and its mirror.
        let tied = between(&[1.0, 1.0, 2.0], &[3.0, 4.0, 4.0]);
        assert!((tied.chance - 0.1).abs() < 1e-12, "{tied:?}");
    }

    #[test]
    fn three_runs_each_can_not_tell() {
        let three = between(&[1.0, 1.01, 1.02], &[9.0, 9.1, 9.2]);
        assert_eq!(verdict(three), Verdict::TooFewRuns);
        let four = between(&[1.0, 1.01, 1.02, 1.03], &[9.0, 9.1, 9.2, 9.3]);
        assert_eq!(verdict(four), Verdict::Real);
    }

    #[test]
    fn sets_that_are_apart_are_never_called_noise() {
        // With 5 and 3 runs the least chance is 1 in 28: one of many looks can come to that.
        let apart = between(&[1.0, 1.1, 1.2, 1.3, 1.4], &[9.0, 9.1, 9.2]);
        let same = between(&[1.0, 1.1, 1.2, 1.3, 1.4], &[1.05, 1.15, 1.25]);
        assert_eq!(verdict(apart), Verdict::Real);
        let verdicts = discoveries(&[apart, same, same, same]);
        assert_eq!(verdicts[..2], [Verdict::TooFewRuns, Verdict::Noise]);
    }

    #[test]
    fn the_ratio_is_of_the_second_to_the_first() {
        let double = between(&[10.0, 11.0, 12.0, 9.0, 10.5], &[20.0, 22.0, 24.0, 18.0, 21.0]);
        assert!((double.ratio - 2.0).abs() < 0.1, "{double:?}");
    }

    #[test]
    fn what_is_not_positive_has_no_ratio() {
        assert_eq!(Difference::between(&[], &[1.0]), None);
        assert_eq!(Difference::between(&[1.0], &[0.0]), None);
        assert_eq!(Difference::between(&[f64::NAN], &[1.0]), None);
    }

    #[test]
    fn equal_systems_seldom_seem_different_however_often_one_looks() {
        let mut random = fastrand::Rng::with_seed(11);
        let mut draw = || (0..6).map(|_| 100.0 + 5.0 * random.f64()).collect::<Vec<_>>();
        let mut families = 0;
        for _ in 0..200 {
            let differences: Vec<_> = (0..20).map(|_| between(&draw(), &draw())).collect();
            let is_real = |verdict: &Verdict| *verdict == Verdict::Real;
            families += u32::from(discoveries(&differences).iter().any(is_real));
        }
        // Each of them alone at a twentieth would show one in two of three families of twenty.
        assert!(families <= 200 / 10, "{families}");
    }

    #[test]
    fn a_real_difference_among_many_is_found() {
        let mut random = fastrand::Rng::with_seed(12);
        let mut draw = |level: f64| (0..8).map(|_| level + 5.0 * random.f64()).collect::<Vec<_>>();
        let mut differences: Vec<_> =
            (0..10).map(|_| between(&draw(100.0), &draw(100.0))).collect();
        differences.push(between(&draw(100.0), &draw(120.0)));
        let verdicts = discoveries(&differences);
        assert_eq!(verdicts[10], Verdict::Real);
        assert!(verdicts[..10].iter().all(|verdict| *verdict == Verdict::Noise), "{verdicts:?}");
    }

    proptest! {
        #[test]
        fn the_order_of_sets_turns_the_ratio_and_keeps_the_chance(
            first in prop::collection::vec(1.0..1e6, 1..9),
            second in prop::collection::vec(1.0..1e6, 1..9),
        ) {
            let (there, back) = (between(&first, &second), between(&second, &first));
            prop_assert!((there.chance - back.chance).abs() < 1e-9);
            prop_assert!((0.0..=1.0).contains(&there.chance));
            prop_assert!(there.chance >= there.smallest_chance - 1e-9);
            // With an even number of pairs the median is a mean of two, and does not quite turn.
            if first.len() * second.len() % 2 == 1 {
                prop_assert!((there.ratio * back.ratio - 1.0).abs() < 1e-9);
            }
        }
    }
}
