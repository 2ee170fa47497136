//! Owns the reasons for which a run does not count.

use std::fmt;

use rustix::io::Errno;

use super::tls::Violation;

/// Why a run does not count.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    ConnectFailed,
    ClosedEarly,
    WrongBytes,
    ShortWrite,
    Stalled,
    Lingering,
    Interrupted,
    /// No agreement, or a record that can not be opened.
    Tls(rustls::Error),
    /// Nothing that belongs there: a record that is not one, or an unknown message in it.
    UnexpectedRecord,
    /// Handshakes succeeded and were not what they should have been: so many of all.
    Disagreed {
        violation: Violation,
        count: u64,
        of: u64,
    },
    /// Handshakes brought none, so that nothing can be resumed.
    NoTickets,
    Host(Errno),
}

impl Fault {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::ConnectFailed => "connect_failed",
            Self::ClosedEarly => "closed_early",
            Self::WrongBytes => "wrong_bytes",
            Self::ShortWrite => "short_write",
            Self::Stalled => "stalled",
            Self::Lingering => "lingering",
            Self::Interrupted => "interrupted",
            Self::Tls(_) => "tls_failed",
            Self::UnexpectedRecord => "unexpected_record",
            Self::Disagreed { .. } => "handshake_disagreed",
            Self::NoTickets => "no_tickets",
            Self::Host(_) => "host_error",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::Tls(error) => write!(f, ": {error}"),
            Self::Disagreed { violation, count, of } => {
                write!(f, ": {}: {count} of {of} handshakes", violation.as_str())
            }
            Self::Host(errno) => write!(f, ": {errno}"),
            _ => Ok(()),
        }
    }
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Host(errno)
    }
}

impl From<rustls::Error> for Fault {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}
