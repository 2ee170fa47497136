//! Owns syslog messages and their framing (RFC 5424, 3164, 6587, 5426).

use std::io::Write;

use super::{Decoded, Mark, message, tag};

/// How a message says what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Rfc5424,
    Rfc3164,
}

/// How messages are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Its length stands before it (RFC 6587, 3.4.1).
    Octets,
    /// A line each (RFC 6587, 3.4.2).
    Lines,
    /// A datagram each (RFC 5426).
    Datagram,
}

/// Appends a message of about `size` bytes without its frame.
pub fn encode(dialect: Dialect, framing: Framing, mark: &Mark, size: usize, out: &mut Vec<u8>) {
    let mut text = Vec::with_capacity(size + 128);
    write_message(dialect, mark, size, &mut text);
    // A vector takes all that is written to it.
    match framing {
        Framing::Octets => write!(out, "{} ", text.len()).unwrap_or_default(),
        Framing::Lines | Framing::Datagram => {}
    }
    out.extend_from_slice(&text);
    if framing == Framing::Lines {
        out.push(b'\n');
    }
}

fn write_message(dialect: Dialect, mark: &Mark, size: usize, out: &mut Vec<u8>) {
    let (hour, minute, second, micros) = message::time_of_day(mark.due);
    let (host, program) = (message::host(mark.stream), message::program(mark.stream));
    let process = 1_000 + mark.stream % 30_000;
    // Facility local0, severity info or, now and then, warning.
    let priority = if mark.sequence.is_multiple_of(20) { 132 } else { 134 };
    let written = match dialect {
        Dialect::Rfc5424 => write!(
            out,
            "<{priority}>1 2026-11-21T{hour:02}:{minute:02}:{second:02}.{micros:06}Z \
             {host}.example.net {program} {process} ID{} [origin software=\"{program}\" \
             ip=\"192.0.2.{}\"] ",
            mark.sequence % 100,
            mark.stream % 250
        ),
        Dialect::Rfc3164 => write!(
            out,
            "<{priority}>Nov 21 {hour:02}:{minute:02}:{second:02} {host} {program}[{process}]: "
        ),
    };
    // A vector takes all that is written to it.
    written.unwrap_or_default();
    let room = size.saturating_sub(out.len() + tag::LENGTH + 1);
    message::say(mark.sequence, room, out);
    out.push(b' ');
    tag::append(mark, 0, out);
}

pub fn decode(framing: Framing, bytes: &[u8]) -> Decoded {
    match framing {
        Framing::Octets => decode_octets(bytes),
        Framing::Lines => decode_line(bytes),
        Framing::Datagram => unit(bytes, bytes.len()),
    }
}

fn decode_octets(bytes: &[u8]) -> Decoded {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > DIGITS || bytes.first() == Some(&b'0') {
        return Decoded::Malformed;
    }
    match bytes.get(digits) {
        None => Decoded::Incomplete,
        Some(b' ') if digits > 0 => {
            let length =
                bytes[..digits].iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
            let start = digits + 1;
            match bytes.get(start..start + length) {
                Some(message) => unit(message, start + length),
                None => Decoded::Incomplete,
            }
        }
        Some(_) => Decoded::Malformed,
    }
}

/// A line of text with a tag near its end.
pub fn decode_line(bytes: &[u8]) -> Decoded {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => unit(&bytes[..end], end + 1),
        None if bytes.len() > LONGEST => Decoded::Malformed,
        None => Decoded::Incomplete,
    }
}

fn unit(message: &[u8], length: usize) -> Decoded {
    match tag::find(message, BEHIND) {
        Some((mark, intact)) => Decoded::Unit { mark, intact, length },
        None => Decoded::Malformed,
    }
}

/// Of a length; a megabyte has so many.
const DIGITS: usize = 7;
const LONGEST: usize = 1 << 20;
/// What stands behind a tag: the end of an object.
const BEHIND: usize = 4;

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::*;

    const MARK: Mark = Mark { stream: 1017, sequence: 40, due: 3_723_000_004_000 };

    #[test]
    fn messages_look_as_agents_write_them() {
        let said = |dialect| {
            let mut out = Vec::new();
            encode(dialect, Framing::Lines, &MARK, 200, &mut out);
            assert_eq!(out.pop(), Some(b'\n'));
            String::from_utf8(out).unwrap()
        };
        let modern = said(Dialect::Rfc5424);
        let head = "<132>1 2026-11-21T01:02:03.000004Z web-017.example.net postgres 2017 ID40 \
                    [origin software=\"postgres\" ip=\"192.0.2.17\"] ";
        assert!(modern.starts_with(head), "{modern}");
        let old = said(Dialect::Rfc3164);
        assert!(old.starts_with("<132>Nov 21 01:02:03 web-017 postgres[2017]: "), "{old}");
        assert_eq!((modern.len(), old.len()), (200, 200));
    }

    #[test]
    fn frames_are_found_wherever_the_stream_is_cut() {
        for framing in [Framing::Octets, Framing::Lines] {
            let mut bytes = Vec::new();
            encode(Dialect::Rfc5424, framing, &MARK, 300, &mut bytes);
            let length = bytes.len();
            for cut in 0..length {
                assert_eq!(decode(framing, &bytes[..cut]), Decoded::Incomplete, "{cut}");
            }
            bytes.extend_from_slice(b"<1");
            assert_eq!(decode(framing, &bytes), Decoded::Unit { mark: MARK, intact: true, length });
            bytes[20] ^= 1;
            let changed = Decoded::Unit { mark: MARK, intact: false, length };
            assert_eq!(decode(framing, &bytes), changed);
        }
    }

    #[test]
    fn a_datagram_is_a_message_whole_or_none() {
        for dialect in [Dialect::Rfc5424, Dialect::Rfc3164] {
            let mut bytes = Vec::new();
            encode(dialect, Framing::Datagram, &MARK, 300, &mut bytes);
            assert!(bytes.len() == 300 && bytes.starts_with(b"<132>"));
            let format = Format::Syslog(dialect, Framing::Datagram);
            assert_eq!(format.decode_whole(&bytes), Some((MARK, true)));
            for cut in 0..300 {
                assert_eq!(format.decode_whole(&bytes[..cut]), None, "{cut}");
            }
            bytes[20] ^= 1;
            assert_eq!(format.decode_whole(&bytes), Some((MARK, false)));
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bytes in [&b"012 x"[..], b"12345678 ", b"<134>1", b" x", b"3 abc", b"12x"] {
            assert_eq!(decode(Framing::Octets, bytes), Decoded::Malformed, "{bytes:?}");
        }
        assert_eq!(decode(Framing::Lines, b"no tag\n"), Decoded::Malformed);
    }
}
