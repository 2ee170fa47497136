//! Owns which form a unit and its answer have; the forms themselves are beside it.

use super::http::{self, Intake};
use super::syslog::{self, Dialect, Framing};
use super::{Answer, Decoded, Mark, frame, json};

/// The form of the units of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Frame,
    Syslog(Dialect, Framing),
    JsonLines,
    Http(Intake),
}

impl Format {
    /// Appends a unit of about `size` bytes; no form goes below what its mark takes.
    pub fn encode(self, mark: &Mark, size: usize, out: &mut Vec<u8>) {
        match self {
            Format::Frame => frame::encode(mark, size, out),
            Format::Syslog(dialect, framing) => syslog::encode(dialect, framing, mark, size, out),
            Format::JsonLines => json::encode_line(mark, size, out),
            Format::Http(intake) => intake.encode(intake.host(), mark, size, out),
        }
    }

    pub fn decode(self, bytes: &[u8]) -> Decoded {
        match self {
            Format::Frame => frame::decode(bytes),
            Format::Syslog(_, framing) => syslog::decode(framing, bytes),
            Format::JsonLines => syslog::decode_line(bytes),
            Format::Http(_) => http::decode(bytes),
        }
    }

    /// What a datagram says. None: it is no unit, or not all of one.
    pub fn decode_whole(self, datagram: &[u8]) -> Option<(Mark, bool)> {
        match self.decode(datagram) {
            Decoded::Unit { mark, intact, length } if length == datagram.len() => {
                Some((mark, intact))
            }
            _ => None,
        }
    }

    /// Appends what is answered to `unit`, which has this mark.
    pub fn answer(self, mark: &Mark, unit: &[u8], out: &mut Vec<u8>) {
        match self {
            Format::Http(intake) => http::answer(intake, mark, out),
            _ => out.extend_from_slice(unit),
        }
    }

    pub fn decode_answer(self, bytes: &[u8]) -> Answer {
        match self {
            Format::Http(_) => http::decode_answer(bytes),
            _ => match self.decode(bytes) {
                Decoded::Unit { mark, intact, length } => {
                    Answer::Come { mark: Some(mark), intact, accepted: true, length }
                }
                Decoded::Incomplete => Answer::Incomplete,
                Decoded::Malformed => Answer::Malformed,
            },
        }
    }
}
