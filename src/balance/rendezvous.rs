//! Rendezvous hashing: every backend's name is hashed with the key, and the highest wins. Nothing
//! is kept but the names' hashes, no key moves but those of who leaves or to who joins, and a pick
//! looks at everyone once.
//!
//! Weighted after Schindelhauer and Schomaker ("Weighted Distributed Hash Tables", 2005): with a
//! hash h, read as a number between 0 and 1, a backend scores -weight / ln(h).

use super::hash;

/// The hashes and weights of a tier's backends, each in a row of its own for speed.
#[derive(Debug)]
pub(super) struct Rendezvous {
    names: Box<[u64]>,
    weights: Box<[f64]>,
}

impl Rendezvous {
    pub(super) fn new(members: &[(&str, u16)]) -> Rendezvous {
        Rendezvous {
            names: members.iter().map(|(name, _)| hash::of_bytes(0, name.as_bytes())).collect(),
            weights: members.iter().map(|(_, weight)| f64::from(*weight)).collect(),
        }
    }

    /// The highest of those that `admits`, which is asked of few.
    pub(super) fn highest(&self, key: u64, mut admits: impl FnMut(usize) -> bool) -> Option<usize> {
        let mut best = None;
        let mut highest = 0.0;
        for (index, (name, weight)) in self.names.iter().zip(&self.weights).enumerate() {
            // From 2^-53 to 1 - 2^-53: neither end, so that every logarithm is below 0.
            let number = ((hash::mix(key ^ name) >> 12) as f64 + 0.5) * UNIT;
            // As -ln(h) is at least 1 - h, the score is at most weight / (1 - h). Almost nobody
            // can win then, and the logarithm, which is slow, is asked for a few times per pick.
            if highest * (1.0 - number) >= *weight || !admits(index) {
                continue;
            }
            let score = -weight / number.ln();
            if score > highest {
                (best, highest) = (Some(index), score);
            }
        }
        best
    }
}

/// 2^-52: a double holds so many bits and the half that is added.
const UNIT: f64 = 1.0 / (1u64 << 52) as f64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Passing over who cannot win changes nothing.
        #[test]
        fn it_is_the_highest_score(
            weights in prop::collection::vec(1u16.., 1..40),
            key: u64,
            closed: u64,
        ) {
            let names: Vec<String> = (0..weights.len()).map(|index| index.to_string()).collect();
            let members: Vec<_> =
                names.iter().map(String::as_str).zip(weights.iter().copied()).collect();
            let table = Rendezvous::new(&members);
            let admits = |index: usize| closed >> index & 1 == 0;
            let score = |index: &usize| {
                let number = ((hash::mix(key ^ table.names[*index]) >> 12) as f64 + 0.5) * UNIT;
                -table.weights[*index] / number.ln()
            };
            let highest = (0..weights.len())
                .filter(|index| admits(*index))
                .max_by(|one, other| score(one).total_cmp(&score(other)));
            prop_assert_eq!(table.highest(key, admits), highest);
        }
    }
}
