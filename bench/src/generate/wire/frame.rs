//! Owns the frames of echoes and streams: length, mark, and a pattern that shows every change.

use super::{Decoded, Mark, pattern};

/// Length of the whole, stream, number and due time, big-endian.
pub const HEADER: usize = 4 + 4 + 8 + 8;
/// Longer ones are no frames.
pub const LONGEST: usize = 1 << 20;

/// Appends a frame of `size` bytes, at least those of the header.
pub fn encode(mark: &Mark, size: usize, out: &mut Vec<u8>) {
    let size = size.clamp(HEADER, LONGEST);
    encode_header(mark, size, out);
    pattern::fill(mark.sequence, size - HEADER, out);
}

/// Appends what is before the filling of a frame of that many bytes, which is a possible length.
pub fn encode_header(mark: &Mark, size: usize, out: &mut Vec<u8>) {
    // At most 1 MiB.
    out.extend_from_slice(&(size as u32).to_be_bytes());
    out.extend_from_slice(&mark.stream.to_be_bytes());
    out.extend_from_slice(&mark.sequence.to_be_bytes());
    out.extend_from_slice(&mark.due.to_be_bytes());
}

pub fn decode(bytes: &[u8]) -> Decoded {
    let Some((length, _)) = bytes.split_first_chunk() else { return Decoded::Incomplete };
    let length = u32::from_be_bytes(*length) as usize;
    if !(HEADER..=LONGEST).contains(&length) {
        return Decoded::Malformed;
    }
    let Some(frame) = bytes.get(..length) else { return Decoded::Incomplete };
    let (header, filling) = frame.split_at(HEADER);
    let Some((mark, _)) = decode_header(header) else { return Decoded::Malformed };
    Decoded::Unit { mark, intact: pattern::is_intact(mark.sequence, filling), length }
}

/// The mark and the length of the frame that this header is of; `None`: it is no header of one.
pub fn decode_header(bytes: &[u8]) -> Option<(Mark, usize)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (stream, rest) = rest.split_first_chunk()?;
    let (sequence, rest) = rest.split_first_chunk()?;
    let (due, _) = rest.split_first_chunk()?;
    let length = u32::from_be_bytes(*length) as usize;
    let stream = u32::from_be_bytes(*stream);
    let (sequence, due) = (u64::from_be_bytes(*sequence), u64::from_be_bytes(*due));
    let possible = (HEADER..=LONGEST).contains(&length);
    possible.then_some((Mark { stream, sequence, due }, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark { stream: 7, sequence: 1_000_001, due: 123_456_789_012 };

    #[test]
    fn a_frame_is_complete_with_its_last_byte_and_not_before() {
        for size in [0, HEADER, HEADER + 1, 128, 20_000] {
            let mut bytes = Vec::new();
            encode(&MARK, size, &mut bytes);
            let length = size.max(HEADER);
            assert_eq!(bytes.len(), length);
            for cut in 0..length {
                assert_eq!(decode(&bytes[..cut]), Decoded::Incomplete, "{cut} of {length}");
            }
            bytes.extend_from_slice(b"what follows");
            assert_eq!(decode(&bytes), Decoded::Unit { mark: MARK, intact: true, length });
        }
    }

    #[test]
    fn changed_content_is_seen_and_an_impossible_length_refused() {
        let mut bytes = Vec::new();
        encode(&MARK, 100, &mut bytes);
        bytes[99] ^= 0x80;
        assert_eq!(decode(&bytes), Decoded::Unit { mark: MARK, intact: false, length: 100 });
        for length in [0u32, HEADER as u32 - 1, LONGEST as u32 + 1, u32::MAX] {
            bytes[..4].copy_from_slice(&length.to_be_bytes());
            assert_eq!(decode(&bytes), Decoded::Malformed, "{length}");
        }
    }
}
