//! Owns the bytes of a stream and how those that come are checked; it decides no pace.

use std::os::fd::AsFd;

use rustix::net::{RecvFlags, recv};

use super::Fault;
use super::channel::Channel;
use super::tls::Piece;

/// The bytes of a stream: byte `n` follows from `n`, so that any part of it can be checked.
pub struct Pattern {
    bytes: Vec<u8>,
}

impl Pattern {
    pub fn new() -> Self {
        let byte = |index: usize| (((index % PERIOD) * 31) >> 3) as u8;
        Self { bytes: (0..PERIOD + CHUNK as usize).map(byte).collect() }
    }

    /// `length` bytes from `position` on, at most a chunk.
    pub fn at(&self, position: u64, length: usize) -> &[u8] {
        let start = (position % PERIOD as u64) as usize;
        &self.bytes[start..start + length]
    }
}

/// What has come of one stream.
#[derive(Default)]
pub struct Intake {
    received: u64,
    reads: u64,
}

impl Intake {
    /// Receives once; 0 is the end. Most reads let the kernel drop the bytes (MSG_TRUNC), which
    /// spares the copy; some are compared with the pattern.
    pub fn receive(
        &mut self,
        socket: impl AsFd,
        scratch: &mut [u8],
        pattern: &Pattern,
    ) -> Result<u64, Fault> {
        self.reads += 1;
        let length = if self.reads % READS_PER_SAMPLE == 1 {
            let sample = &mut scratch[..SAMPLE];
            let (length, _) = recv(socket, &mut *sample, RecvFlags::empty())?;
            self.compare(&sample[..length], pattern)?;
            length
        } else {
            let (_, length) = recv(socket, scratch, RecvFlags::TRUNC)?;
            self.received += length as u64;
            length
        };
        Ok(length as u64)
    }

    /// The same on a client's channel; `None` is the end. Records are sampled as reads are.
    pub fn receive_on(
        &mut self,
        channel: &mut Channel,
        scratch: &mut [u8],
        pattern: &Pattern,
    ) -> Result<Option<u64>, Fault> {
        let (socket, records) = channel.parts();
        let Some(records) = records else {
            let length = self.receive(socket, scratch, pattern)?;
            return Ok((length > 0).then_some(length));
        };
        let (length, _) = recv(socket, &mut scratch[..SEALED], RecvFlags::empty())?;
        if length == 0 {
            return if records.has_ended() { Ok(None) } else { Err(Fault::ClosedEarly) };
        }
        records.sample(READS_PER_SAMPLE);
        let before = self.received;
        records.read(&scratch[..length], |piece| match piece {
            Piece::Bytes(bytes) => self.compare(bytes, pattern),
            Piece::Unseen(length) => {
                self.received += length as u64;
                Ok(())
            }
        })?;
        Ok(Some(self.received - before))
    }

    fn compare(&mut self, bytes: &[u8], pattern: &Pattern) -> Result<(), Fault> {
        if bytes != pattern.at(self.received, bytes.len()) {
            return Err(Fault::WrongBytes);
        }
        self.received += bytes.len() as u64;
        Ok(())
    }
}

/// What a stream hands to the kernel at a time.
pub const CHUNK: u64 = 256 * 1024;
/// What reads of a stream need.
pub const SCRATCH: usize = 1024 * 1024;
/// A prime: no buffer size divides it, so that bytes out of place differ.
const PERIOD: usize = 65_521;
const READS_PER_SAMPLE: u64 = 64;
const SAMPLE: usize = 64 * 1024;
/// What is read of sealed bytes at a time: the headers of all records are looked at, while they are
/// in the cache.
const SEALED: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_depends_on_the_position_alone() {
        let pattern = Pattern::new();
        let whole = pattern.at(1_000, CHUNK as usize);
        assert_eq!(pattern.at(1_000 + 70_000, 100), &whole[70_000..70_100]);
        assert_ne!(pattern.at(1_000, 100), pattern.at(1_000 + 65_536, 100));
    }
}
