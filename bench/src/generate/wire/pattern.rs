//! Owns the bytes that fill a unit: different for each, and known to whoever checks them.

use std::sync::LazyLock;

/// Appends `length` bytes for this number.
pub fn fill(number: u64, length: usize, out: &mut Vec<u8>) {
    for_each(number, length, |part| out.extend_from_slice(part));
}

/// Whether `bytes` are those of this number.
pub fn is_intact(number: u64, bytes: &[u8]) -> bool {
    let (mut rest, mut intact) = (bytes, true);
    for_each(number, bytes.len(), |part| {
        let (these, after) = rest.split_at(part.len());
        intact &= these == part;
        rest = after;
    });
    intact
}

fn for_each(number: u64, length: usize, mut take: impl FnMut(&[u8])) {
    let mut left = length;
    // Below the period, so it fits.
    let mut start = (number % PERIOD as u64) as usize;
    while left > 0 {
        let part = &TABLE[start..][..left.min(TABLE.len() - PERIOD)];
        take(part);
        left -= part.len();
        start = (start + part.len()) % PERIOD;
    }
}

/// A prime, so that bytes that were moved by a power of two are noticed.
pub const PERIOD: usize = 251;
static TABLE: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..16_384 + PERIOD).map(|place| (place % PERIOD) as u8).collect());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_filled_is_intact_and_anything_else_is_not() {
        for length in [0, 1, 250, 16_384, 16_385, 100_000] {
            let mut bytes = Vec::new();
            fill(1_000, length, &mut bytes);
            assert_eq!(bytes.len(), length);
            assert!(is_intact(1_000, &bytes));
            if length > 0 {
                assert!(!is_intact(1_001, &bytes));
                bytes[length - 1] ^= 1;
                assert!(!is_intact(1_000, &bytes));
            }
        }
    }
}
