//! Owns the forms of units on the wire: bytes from a mark, and the mark from bytes, wherever they
//! are cut. It touches no socket.

mod format;
mod frame;
mod inbound;
mod pattern;

pub use format::Format;
pub use inbound::Inbound;

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
