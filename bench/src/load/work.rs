//! Owns what a proxy can be asked to do, and how fast; it does not do it.

use clap::ValueEnum;
use serde::Serialize;

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
