//! Owns the forms of units on the wire: bytes from a mark, and the mark from bytes, wherever they
//! are cut. It touches no socket.

mod flow;
mod format;
mod frame;
mod http;
mod inbound;
mod json;
pub mod message;
mod pattern;
mod syslog;
pub mod tag;

pub use flow::{Inflow, Outflow, Wanted};
pub use format::Format;
pub use http::Intake;
pub use inbound::Inbound;
pub use syslog::{Dialect, Framing};
pub use tag::LENGTH as TAG;

/// What every unit carries, so that whoever receives it can tell which one it is, and how long it
/// was on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Who sent it: numbers are counted by stream.
    pub stream: u32,
    pub sequence: u64,
    /// When it was to leave, in nanoseconds of the bench's clock.
    pub due: u64,
}

/// What the bytes at the beginning of a stream are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// So many bytes are one unit; not `intact`: its content was changed on the way.
    Unit { mark: Mark, intact: bool, length: usize },
    /// More has to come.
    Incomplete,
    /// No unit begins like this.
    Malformed,
}

/// What the bytes at the beginning of a stream of answers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// So many bytes are one answer. Without a mark it is for the oldest unit under way.
    Come {
        mark: Option<Mark>,
        intact: bool,
        accepted: bool,
        length: usize,
    },
    Incomplete,
    Malformed,
}
