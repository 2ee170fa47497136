//! The few bytes of gRPC and protobuf that a health call needs: its request, and the status in its
//! reply. Every byte of a reply is looked at within bounds.

/// A gRPC message: not compressed, with its length before it.
pub(super) fn framed(message: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(message.len()).ok()?;
    Some([&[0], &length.to_be_bytes()[..], message].concat())
}

/// A protobuf message with this text as its first field, which is left out if it is empty, as
/// proto3 does.
pub(super) fn text_message(text: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if text.is_empty() {
        return message;
    }
    message.push(1 << 3 | LENGTH_DELIMITED);
    let mut length = text.len();
    while length >= 0x80 {
        message.push(length as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend_from_slice(text.as_bytes());
    message
}

/// The enumeration in the first field of a reply, which is 0 where it is left out; none if the
/// bytes are not exactly one such message. Of a repeated field the last one counts, and fields
/// that are not known are skipped, as protobuf wants it.
pub(super) fn status(reply: &[u8]) -> Option<u64> {
    let (header, message) = reply.split_at_checked(5)?;
    let (compressed, length) = header.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    if *compressed != 0 || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    let (mut status, mut rest) = (0, Reader { rest: message });
    while !rest.rest.is_empty() {
        let tag = rest.varint()?;
        let (field, kind) = (tag >> 3, (tag & 7) as u8);
        match (field, kind) {
            (0, _) => return None,
            (1, VARINT) => status = rest.varint()?,
            (1, _) => return None,
            (_, VARINT) => drop(rest.varint()?),
            (_, EIGHT_BYTES) => rest.skip(8)?,
            (_, LENGTH_DELIMITED) => {
                let length = usize::try_from(rest.varint()?).ok()?;
                rest.skip(length)?;
            }
            (_, FOUR_BYTES) => rest.skip(4)?,
            _ => return None,
        }
    }
    Some(status)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    /// At most 64 bits in at most ten bytes.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            // What does not fit into the last byte is dropped, as other readers do.
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.rest = self.rest.get(length..)?;
        Some(())
    }
}

const VARINT: u8 = 0;
const EIGHT_BYTES: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const FOUR_BYTES: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(message: &[u8]) -> Option<u64> {
        status(&framed(message).unwrap())
    }

    #[test]
    fn a_request_is_written_as_protobuf_writes_it() {
        assert_eq!(framed(&text_message("")).unwrap(), [0, 0, 0, 0, 0]);
        assert_eq!(framed(&text_message("ab")).unwrap(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = text_message(&"x".repeat(300));
        assert_eq!((long.len(), &long[..3]), (303, &[0x0a, 0xac, 0x02][..]));
    }

    #[test]
    fn the_status_is_found_among_other_fields() {
        for (message, status) in [
            (&[][..], Some(0)),
            (&[0x08, 1], Some(1)),
            (&[0x08, 2, 0x08, 1], Some(1)),
            (&[0x08, 0xac, 0x02], Some(300)),
            // Fields 2 to 5, one of each kind.
            (&[0x10, 0x96, 1, 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x08, 1], Some(1)),
            (&[0x22, 2, 9, 9, 0x2d, 1, 2, 3, 4, 0x08, 1], Some(1)),
        ] {
            assert_eq!(status_of(message), status, "{message:?}");
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for message in [
            &[0x08][..],
            &[0x08, 0x80],
            &[0x0a, 1, 1],
            &[0x00, 1],
            &[0x13, 1],
            &[0x17, 1],
            &[0x12, 5, 1],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ] {
            assert_eq!(status_of(message), None, "{message:?}");
        }
        assert_eq!(status(&[1, 0, 0, 0, 2, 8, 1]), None, "compressed");
        assert_eq!(status(&[0, 0, 0, 0, 2, 8, 1, 0]), None, "longer than it says");
        assert_eq!(status(&[0, 0xff, 0xff, 0xff, 0xff, 8, 1]), None, "shorter than it says");
    }

    #[test]
    fn a_reply_cut_anywhere_is_refused() {
        let reply = framed(&[0x22, 2, 9, 9, 0x08, 0x81, 0x00]).unwrap();
        assert_eq!(status(&reply), Some(1));
        for length in 0..reply.len() {
            assert_eq!(status(&reply[..length]), None, "{length}");
        }
    }

    #[test]
    fn no_bytes_can_do_harm() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..20_000 {
            let message: Vec<u8> = (0..random.usize(..24)).map(|_| random.u8(..)).collect();
            // Whatever is read is read within the bytes; that it returns at all is the test.
            std::hint::black_box((status_of(&message), status(&message)));
        }
    }
}
