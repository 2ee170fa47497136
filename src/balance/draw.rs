//! A random draw by weight, at the same cost for any number of backends: an alias table.

/// Draws an index as often as its weight says.
#[derive(Debug)]
pub(super) struct Draw {
    columns: Box<[Column]>,
}

/// An equal part of the range, which belongs to at most two.
#[derive(Clone, Copy, Debug)]
struct Column {
    /// Of 2^32 parts of the column, how many are `own`'s.
    border: u64,
    own: u32,
    other: u32,
}

impl Draw {
    /// Of indices with their weights, which are above 0; at least one.
    pub(super) fn new(weights: &[(u32, u32)]) -> Draw {
        let count = weights.len() as u64;
        let total: u64 = weights.iter().map(|(_, weight)| u64::from(*weight)).sum();
        // In units in which a column holds `total`, everyone has `weight * count` of them.
        let mut small = Vec::new();
        let mut large = Vec::new();
        for (index, weight) in weights {
            let amount = u64::from(*weight) * count;
            if amount < total { small.push((*index, amount)) } else { large.push((*index, amount)) }
        }
        let mut columns = Vec::with_capacity(weights.len());
        while let Some((other, amount)) = large.pop() {
            let Some((own, part)) = small.pop() else {
                columns.push(Column { border: FULL, own: other, other });
                continue;
            };
            let border = (u128::from(part) * u128::from(FULL) / u128::from(total)) as u64;
            columns.push(Column { border, own, other });
            // What the small one leaves of the column is the large one's.
            let rest = amount - (total - part);
            if rest < total { small.push((other, rest)) } else { large.push((other, rest)) }
        }
        // The sums are whole numbers, so that nobody is left over.
        debug_assert!(small.is_empty());
        Draw { columns: columns.into() }
    }

    pub(super) fn draw(&self, random: &mut fastrand::Rng) -> usize {
        let random = random.u64(..);
        let scaled = u128::from(random) * self.columns.len() as u128;
        let column = &self.columns[(scaled >> 64) as usize];
        let within = u64::from((scaled >> 32) as u32);
        (if within < column.border { column.own } else { column.other }) as usize
    }
}

const FULL: u64 = 1 << 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Over all columns everyone has what the weight says, to within rounding.
        #[test]
        fn shares_are_those_of_the_weights(
            weights in prop::collection::vec(1u32..=6_553_500, 1..50),
        ) {
            let numbered: Vec<_> = (0u32..).zip(weights.iter().copied()).collect();
            let draw = Draw::new(&numbered);
            let mut parts = vec![0u64; weights.len()];
            for column in &draw.columns {
                parts[column.own as usize] += column.border;
                parts[column.other as usize] += FULL - column.border;
            }
            let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            for (part, weight) in parts.iter().zip(&weights) {
                let share = *part as f64 / (FULL * weights.len() as u64) as f64;
                let expected = f64::from(*weight) / total as f64;
                prop_assert!((share - expected).abs() < 1e-8, "{share} of {expected}");
            }
        }
    }

    #[test]
    fn draws_follow_the_table() {
        let draw = Draw::new(&[(4, 1), (7, 3)]);
        let mut random = fastrand::Rng::with_seed(1);
        let heavy = (0..40_000).filter(|_| draw.draw(&mut random) == 7).count();
        assert!((29_500..30_500).contains(&heavy), "{heavy}");
    }
}
