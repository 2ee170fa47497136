//! Owns what a proxy can be asked to do, and how fast; it does not do it.

use clap::ValueEnum;
use serde::Serialize;

use super::tls::{Suite, Terms};
use crate::certificates::Identity;

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
    /// memory of the proxy for each of 2,000 connections that were used and are quiet
    Idle,
    /// connect-fin with TLS, ended by the proxy: a full handshake with an ECDSA certificate (P-256)
    TlsConnect,
    /// the same with sessions resumed by tickets
    TlsResume,
    /// the same with full handshakes and an RSA certificate (2,048 bits)
    TlsConnectRsa,
    /// bulk with AES-128-GCM between client and proxy
    #[serde(rename = "tls-download-128")]
    #[value(name = "tls-download-128")]
    TlsDownload128,
    /// the same from client to backend
    #[serde(rename = "tls-upload-128")]
    #[value(name = "tls-upload-128")]
    TlsUpload128,
    /// bulk with AES-256-GCM between client and proxy
    #[serde(rename = "tls-download-256")]
    #[value(name = "tls-download-256")]
    TlsDownload256,
    /// the same from client to backend
    #[serde(rename = "tls-upload-256")]
    #[value(name = "tls-upload-256")]
    TlsUpload256,
    /// pingpong-64 with AES-128-GCM between client and proxy
    #[serde(rename = "tls-pingpong-64")]
    #[value(name = "tls-pingpong-64")]
    TlsPingPong64,
    /// the same on 2,000 connections
    #[serde(rename = "tls-pingpong-2000")]
    #[value(name = "tls-pingpong-2000")]
    TlsPingPong2000,
    /// idle with TLS between client and proxy
    TlsIdle,
}

/// How fast units are begun.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Closed loop: the next unit begins when one has ended.
    Full,
    /// Open loop: so many units per second, however slow the answers are.
    Rate(f64),
}

/// What is found out in a work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// What a unit costs.
    Carry(Shape),
    /// What an open connection takes of memory.
    Hold,
}

/// What clients and backends do, whether there is TLS or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A unit is a byte.
    Download,
    /// A unit is a byte.
    Upload,
    /// A unit is a request and its answer.
    PingPong { lines: usize },
    /// A unit is a connection.
    Connect(Ending),
}

/// How a client ends its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Reset,
    /// Ends its stream, then waits for the end of the other.
    Fin,
}

impl Work {
    pub const ALL: [Self; 16] = [
        Self::Bulk,
        Self::PingPong64,
        Self::PingPong2000,
        Self::ConnectReset,
        Self::ConnectFin,
        Self::Idle,
        Self::TlsConnect,
        Self::TlsResume,
        Self::TlsConnectRsa,
        Self::TlsDownload128,
        Self::TlsUpload128,
        Self::TlsDownload256,
        Self::TlsUpload256,
        Self::TlsPingPong64,
        Self::TlsPingPong2000,
        Self::TlsIdle,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::PingPong64 => "pingpong-64",
            Self::PingPong2000 => "pingpong-2000",
            Self::ConnectReset => "connect-reset",
            Self::ConnectFin => "connect-fin",
            Self::Idle => "idle",
            Self::TlsConnect => "tls-connect",
            Self::TlsResume => "tls-resume",
            Self::TlsConnectRsa => "tls-connect-rsa",
            Self::TlsDownload128 => "tls-download-128",
            Self::TlsUpload128 => "tls-upload-128",
            Self::TlsDownload256 => "tls-download-256",
            Self::TlsUpload256 => "tls-upload-256",
            Self::TlsPingPong64 => "tls-pingpong-64",
            Self::TlsPingPong2000 => "tls-pingpong-2000",
            Self::TlsIdle => "tls-idle",
        }
    }

    pub fn task(self) -> Task {
        Task::Carry(match self {
            Self::Bulk | Self::TlsDownload128 | Self::TlsDownload256 => Shape::Download,
            Self::TlsUpload128 | Self::TlsUpload256 => Shape::Upload,
            Self::PingPong64 | Self::TlsPingPong64 => Shape::PingPong { lines: 64 },
            Self::PingPong2000 | Self::TlsPingPong2000 => Shape::PingPong { lines: 2000 },
            Self::ConnectReset => Shape::Connect(Ending::Reset),
            Self::ConnectFin | Self::TlsConnect | Self::TlsResume | Self::TlsConnectRsa => {
                Shape::Connect(Ending::Fin)
            }
            Self::Idle | Self::TlsIdle => return Task::Hold,
        })
    }

    /// What a client and the proxy are to agree on, where they speak TLS.
    pub fn terms(self) -> Option<Terms> {
        let usual = Terms { suite: Suite::Aes128, identity: Identity::Ecdsa, resumed: false };
        match self {
            Self::Bulk
            | Self::PingPong64
            | Self::PingPong2000
            | Self::ConnectReset
            | Self::ConnectFin
            | Self::Idle => None,
            Self::TlsConnect
            | Self::TlsDownload128
            | Self::TlsUpload128
            | Self::TlsPingPong64
            | Self::TlsPingPong2000
            | Self::TlsIdle => Some(usual),
            Self::TlsDownload256 | Self::TlsUpload256 => {
                Some(Terms { suite: Suite::Aes256, ..usual })
            }
            Self::TlsConnectRsa => Some(Terms { identity: Identity::Rsa, ..usual }),
            Self::TlsResume => Some(Terms { resumed: true, ..usual }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_work_has_one_name_everywhere() {
        for work in Work::ALL {
            assert_eq!(work.to_possible_value().unwrap().get_name(), work.as_str());
            assert_eq!(serde_json::to_value(work).unwrap(), work.as_str());
        }
    }
}
