//! Owns the reasons for which a run does not count.

use std::fmt;

use rustix::io::Errno;

/// Why a run does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    ConnectFailed,
    ClosedEarly,
    WrongBytes,
    ShortWrite,
    Stalled,
    Lingering,
    Interrupted,
    Host(Errno),
}

impl Fault {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConnectFailed => "connect_failed",
            Self::ClosedEarly => "closed_early",
            Self::WrongBytes => "wrong_bytes",
            Self::ShortWrite => "short_write",
            Self::Stalled => "stalled",
            Self::Lingering => "lingering",
            Self::Interrupted => "interrupted",
            Self::Host(_) => "host_error",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
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
