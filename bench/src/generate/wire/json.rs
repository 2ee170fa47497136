//! Owns log events as JSON objects, alone on a line or together in the body of a request.

use std::io::Write;

use super::{Mark, message, tag};

/// Appends a line with one object of about `size` bytes; its tag is its last field.
pub fn encode_line(mark: &Mark, size: usize, out: &mut Vec<u8>) {
    let start = out.len();
    let (hour, minute, second, micros) = message::time_of_day(mark.due);
    let (host, program) = (message::host(mark.stream), message::program(mark.stream));
    // A vector takes all that is written to it.
    write!(
        out,
        "{{\"timestamp\":\"2026-11-21T{hour:02}:{minute:02}:{second:02}.{micros:06}Z\",\
         \"host\":\"{host}\",\"service\":\"{program}\",\"level\":\"info\",\"message\":\""
    )
    .unwrap_or_default();
    let behind = b"\",\"mark\":\"".len() + tag::LENGTH + b"\"}\n".len();
    let room = size.saturating_sub(out.len() - start + behind);
    message::say(mark.sequence, room, out);
    out.extend_from_slice(b"\",\"mark\":\"");
    tag::append(mark, start, out);
    out.extend_from_slice(b"\"}\n");
}

#[cfg(test)]
mod tests {
    use super::super::{Decoded, syslog};
    use super::*;

    #[test]
    fn a_line_is_an_object_of_the_size_asked_for() {
        let mark = Mark { stream: 3, sequence: 9, due: 1_000_000_000 };
        let mut line = Vec::new();
        encode_line(&mark, 400, &mut line);
        assert_eq!(line.len(), 400);
        let object: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(object["host"], "web-003");
        let unit = Decoded::Unit { mark, intact: true, length: 400 };
        assert_eq!(syslog::decode_line(&line), unit);
    }
}
