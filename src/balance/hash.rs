//! The 64-bit hashes of keys and names. Independent hosts agree through them, so they are the same
//! on every machine and stay the same from version to version.

use twox_hash::XxHash3_64;

pub(super) fn of_bytes(seed: u64, bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(seed, bytes)
}

/// Every bit of the result depends on every bit of `value`: the finalizer of SplitMix64.
pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The hash's place among `count` equal parts of its range.
pub(super) fn part(hash: u64, count: usize) -> usize {
    ((u128::from(hash) * count as u128) >> 64) as usize
}
