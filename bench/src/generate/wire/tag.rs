//! Owns the mark in text: a word of fixed length, with a checksum of what stands before it.

use std::io::Write;

use super::Mark;

/// `rm=` and then, in hexadecimal digits, stream, number, due time and checksum.
pub const LENGTH: usize = 3 + 8 + 1 + 16 + 1 + 16 + 1 + 8;

/// Appends the tag of the message that begins at `start`.
pub fn append(mark: &Mark, start: usize, out: &mut Vec<u8>) {
    let sum = crc32fast::hash(&out[start..]);
    let Mark { stream, sequence, due } = mark;
    // A vector takes all that is written to it.
    write!(out, "rm={stream:08x}.{sequence:016x}.{due:016x}.{sum:08x}").unwrap_or_default();
}

/// The mark of a message, and whether what stands before it is as it was. At most `most` bytes
/// stand behind it.
pub fn find(message: &[u8], most: usize) -> Option<(Mark, bool)> {
    let last = message.len().checked_sub(LENGTH)?;
    let start = (last.saturating_sub(most)..=last)
        .rev()
        .find(|start| message[*start..].starts_with(b"rm="))?;
    let text = std::str::from_utf8(&message[start + 3..start + LENGTH]).ok()?;
    let mut fields = text.split('.');
    let mut field = || u64::from_str_radix(fields.next()?, 16).ok();
    let (stream, sequence, due, sum) = (field()?, field()?, field()?, field()?);
    let mark = Mark { stream: u32::try_from(stream).ok()?, sequence, due };
    Some((mark, u64::from(crc32fast::hash(&message[..start])) == sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_behind_its_message_and_sees_changes_in_it() {
        let mark = Mark { stream: 70_000, sequence: u64::MAX, due: 1 };
        let mut text = b"before|a message with rm= in it ".to_vec();
        append(&mark, 7, &mut text);
        assert_eq!(text.len(), 32 + LENGTH);
        text.extend_from_slice(b"\"}");
        assert_eq!(find(&text[7..], 2), Some((mark, true)));
        assert_eq!(find(&text[7..], 1), None);
        text[10] ^= 1;
        assert_eq!(find(&text[7..], 8), Some((mark, false)));
        assert_eq!(find(b"rm=", 8), None);
    }
}
