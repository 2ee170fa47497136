//! Owns the load: its works, its generator and the backends behind the proxy, all in one thread; it
//! knows nothing of which proxy it measures.

mod backends;
mod bulk;
mod connections;
mod pingpong;
mod poller;
mod run;
mod schedule;
pub mod sockets;
mod tally;

use std::fmt;

use clap::ValueEnum;
use rustix::io::Errno;
use serde::Serialize;

pub use run::{Outcome, Plan, Site};
pub use tally::Tally;

/// What the proxy is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// 8 connections that stream from backend to client
    Bulk,
    /// 128 bytes each way, over and over, on 64 connections
    #[value(alias = "latency")]
    #[serde(rename = "pingpong-64")]
    #[value(name = "pingpong-64")]
    PingPong64,
    /// the same on 2,000 connections
    #[serde(rename = "pingpong-2000")]
    #[value(name = "pingpong-2000")]
    PingPong2000,
    /// connect, 128 bytes each way, the client resets
    ConnectReset,
    /// connect, 128 bytes each way, the client ends its stream and waits for the other end
    ConnectFin,
}

/// How fast units are begun.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Closed loop: the next unit begins when one has ended.
    Full,
    /// Open loop: so many units per second, however slow the answers are.
    Rate(f64),
}

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

impl Work {
    pub const ALL: [Self; 5] =
        [Self::Bulk, Self::PingPong64, Self::PingPong2000, Self::ConnectReset, Self::ConnectFin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::PingPong64 => "pingpong-64",
            Self::PingPong2000 => "pingpong-2000",
            Self::ConnectReset => "connect-reset",
            Self::ConnectFin => "connect-fin",
        }
    }
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

/// The length of a request, and of its answer.
const MESSAGE: usize = 128;

/// A message that no other unit of the same run has, so that a swapped answer is found out.
fn message(place: usize, sequence: u64) -> [u8; MESSAGE] {
    let mut message = [b'.'; MESSAGE];
    message[..8].copy_from_slice(&sequence.to_le_bytes());
    message[8..16].copy_from_slice(&(place as u64).to_le_bytes());
    message
}
