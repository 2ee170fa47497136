//! Owns what was received of a stream and not yet understood; it receives nothing itself.

/// Bytes with a place up to which they have been used.
#[derive(Debug, Default)]
pub struct Inbound {
    bytes: Vec<u8>,
    used: usize,
}

impl Inbound {
    /// Where to append what comes.
    pub fn room(&mut self) -> &mut Vec<u8> {
        if self.used > 0 {
            self.bytes.drain(..self.used);
            self.used = 0;
        }
        &mut self.bytes
    }

    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    /// The first `count` bytes have been used.
    pub fn consume(&mut self, count: usize) {
        self.used = (self.used + count).min(self.bytes.len());
    }
}
