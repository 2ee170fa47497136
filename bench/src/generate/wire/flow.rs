//! Owns long frames of streams that are never in one piece on the way: they are written from memory
//! that has their bytes already, and read without being kept. It touches no socket.

use super::frame::{self, HEADER, LONGEST};
use super::pattern::{self, PERIOD};
use super::{Decoded, Mark};

/// Where frames are written from. What fills them depends on their number alone, so that a frame is
/// a place in the same bytes, with a header before it.
#[derive(Debug, Default)]
pub struct Outflow {
    bytes: Vec<u8>,
    /// Where a header is now.
    header: Option<usize>,
    scratch: Vec<u8>,
}

impl Outflow {
    /// The frame, whole, until the next one is asked for. Asked for once more it is the same.
    pub fn frame(&mut self, mark: &Mark, size: usize) -> &[u8] {
        let size = size.clamp(HEADER, LONGEST);
        let start = (mark.sequence % PERIOD as u64) as usize;
        if let Some(header) = self.header.replace(start) {
            let place = header..header + HEADER;
            place.for_each(|place| self.bytes[place] = filling(place));
        }
        let known = self.bytes.len();
        self.bytes.extend((known..start + size).map(filling));
        self.scratch.clear();
        frame::encode_header(mark, size, &mut self.scratch);
        let frame = &mut self.bytes[start..start + size];
        frame[..HEADER].copy_from_slice(&self.scratch);
        frame
    }
}

/// The filling of frame `n` begins with the bytes from `HEADER + n` on, as `pattern` has them.
fn filling(place: usize) -> u8 {
    // A remainder of 251 fits.
    ((place + PERIOD * HEADER - HEADER) % PERIOD) as u8
}

/// What has come of the frame that comes in. Every 64th is looked at whole, and the first.
#[derive(Debug, Default)]
pub struct Inflow {
    header: Vec<u8>,
    body: Option<Body>,
}

#[derive(Debug)]
struct Body {
    mark: Mark,
    length: usize,
    /// Bytes that are still to come.
    left: usize,
    is_checked: bool,
    is_intact: bool,
}

/// What is to be read next, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Bytes(usize),
    /// Nobody looks at these.
    Any(usize),
}

impl Inflow {
    pub fn wanted(&self) -> Wanted {
        match &self.body {
            None => Wanted::Bytes(HEADER - self.header.len()),
            Some(body) if body.is_checked => Wanted::Bytes(body.left),
            Some(body) => Wanted::Any(body.left),
        }
    }

    /// Takes in bytes of the stream, as far as the frame goes: how many of them, and the frame if
    /// it has ended.
    pub fn take(&mut self, bytes: &[u8]) -> (usize, Option<Decoded>) {
        let Some(body) = &mut self.body else {
            let used = bytes.len().min(HEADER - self.header.len());
            self.header.extend_from_slice(&bytes[..used]);
            return (used, self.begin());
        };
        let used = bytes.len().min(body.left);
        if body.is_checked {
            let at = (body.length - HEADER - body.left) as u64;
            body.is_intact &= pattern::is_intact(body.mark.sequence + at, &bytes[..used]);
        }
        (used, self.skip(used))
    }

    /// So many bytes of the body went by unseen.
    pub fn skip(&mut self, count: usize) -> Option<Decoded> {
        let body = self.body.as_mut()?;
        body.left -= count.min(body.left);
        if body.left > 0 {
            return None;
        }
        let Body { mark, is_intact: intact, length, .. } = self.body.take()?;
        Some(Decoded::Unit { mark, intact, length })
    }

    fn begin(&mut self) -> Option<Decoded> {
        if self.header.len() < HEADER {
            return None;
        }
        let Some((mark, length)) = frame::decode_header(&self.header) else {
            return Some(Decoded::Malformed);
        };
        self.header.clear();
        let is_checked = mark.sequence.is_multiple_of(SAMPLING);
        let left = length - HEADER;
        self.body = Some(Body { mark, length, left, is_checked, is_intact: true });
        if left == 0 { self.skip(0) } else { None }
    }
}

/// Of so many frames one is looked at.
const SAMPLING: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(sequence: u64) -> Mark {
        Mark { stream: 3, sequence, due: 77 }
    }

    #[test]
    fn frames_from_one_place_are_those_of_the_usual_encoder() {
        let mut outflow = Outflow::default();
        for (sequence, size) in [(0, 100_000), (250, 70_000), (251, 70_000), (64, 24), (3, 300)] {
            let mut expected = Vec::new();
            frame::encode(&mark(sequence), size, &mut expected);
            for _ in 0..2 {
                assert!(outflow.frame(&mark(sequence), size) == expected, "{sequence}");
            }
        }
    }

    /// Feeds parts of this length, and skips what nobody wants to see.
    fn read(bytes: &[u8], part: usize) -> Vec<Decoded> {
        let (mut inflow, mut rest, mut units) = (Inflow::default(), bytes, Vec::new());
        while !rest.is_empty() {
            let (used, unit) = match inflow.wanted() {
                Wanted::Bytes(most) => inflow.take(&rest[..most.min(part).min(rest.len())]),
                Wanted::Any(most) => {
                    let count = most.min(part).min(rest.len());
                    (count, inflow.skip(count))
                }
            };
            rest = &rest[used..];
            units.extend(unit);
        }
        units
    }

    #[test]
    fn frames_are_counted_however_they_are_cut_and_samples_are_checked() {
        let mut bytes = Vec::new();
        let sizes = [(0, 5_000), (1, 24), (2, 9_000), (64, 700)];
        for (sequence, size) in sizes {
            frame::encode(&mark(sequence), size, &mut bytes);
        }
        let unit = |(sequence, length): (u64, usize), intact| Decoded::Unit {
            mark: mark(sequence),
            intact,
            length,
        };
        for part in [1, 7, 24, 1_000, usize::MAX] {
            assert_eq!(read(&bytes, part), sizes.map(|of| unit(of, true)), "{part}");
        }
        // One that is looked at, and one that is not.
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes[6_000] ^= 1;
        let seen = read(&bytes, 500);
        assert_eq!((seen[2], seen[3]), (unit(sizes[2], true), unit(sizes[3], false)));
        bytes[0] = 0xff;
        assert_eq!(read(&bytes[..24], 24), [Decoded::Malformed]);
    }
}
