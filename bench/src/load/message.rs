//! Owns the bytes of a request, which are those of its answer too.

/// The length of a request, and of its answer.
pub(super) const MESSAGE: usize = 128;

/// A message that no other unit of the same run has, so that a swapped answer is found out.
pub(super) fn message(place: usize, sequence: u64) -> [u8; MESSAGE] {
    let mut message = [b'.'; MESSAGE];
    message[..8].copy_from_slice(&sequence.to_le_bytes());
    message[8..16].copy_from_slice(&(place as u64).to_le_bytes());
    message
}
