//! Owns which form a unit has; the forms themselves are beside it.

use super::{Decoded, Mark, frame};

/// The form of the units of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Frame,
}

impl Format {
    /// Appends a unit of about `size` bytes; no form goes below what its mark takes.
    pub fn encode(self, mark: &Mark, size: usize, out: &mut Vec<u8>) {
        match self {
            Format::Frame => frame::encode(mark, size, out),
        }
    }

    pub fn decode(self, bytes: &[u8]) -> Decoded {
        match self {
            Format::Frame => frame::decode(bytes),
        }
    }
}
