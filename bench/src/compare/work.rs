//! Owns the works that have names, and what each asks of a proxy; it does not ask.

use clap::ValueEnum;
use serde::Serialize;

use crate::certificates::Identity;
use crate::generate::{Ending, Protocol, Suite, Terms};

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

/// What is found out in a work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// What a unit costs.
    Carry(Shape),
    /// What an open connection takes of memory.
    Hold,
}

/// What agents and backends do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub protocol: Protocol,
    /// Open at a time; of units that are connections, in a closed loop.
    pub connections: u32,
    /// Bytes of a message.
    pub size: usize,
    pub ending: Ending,
    pub unit: Unit,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Byte,
    /// And its answer.
    Request,
    Connection,
    /// One way.
    Message,
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
        let echo = |protocol, connections| Shape {
            protocol,
            connections,
            size: MESSAGE,
            ending: Ending::InOrder,
            unit: Unit::Request,
        };
        let stream = |protocol| {
            let (connections, size, unit) = (STREAMS, CHUNK, Unit::Byte);
            Shape { connections, size, unit, ..echo(protocol, STREAMS) }
        };
        let connect = |protocol| Shape { unit: Unit::Connection, ..echo(protocol, VISITS) };
        Task::Carry(match self {
            Self::Bulk => stream(Protocol::StreamDown),
            Self::TlsDownload128 | Self::TlsDownload256 => stream(Protocol::TlsStreamDown),
            Self::TlsUpload128 | Self::TlsUpload256 => stream(Protocol::TlsStreamUp),
            Self::PingPong64 => echo(Protocol::TcpEcho, 64),
            Self::TlsPingPong64 => echo(Protocol::TlsEcho, 64),
            Self::PingPong2000 => echo(Protocol::TcpEcho, 2000),
            Self::TlsPingPong2000 => echo(Protocol::TlsEcho, 2000),
            Self::ConnectReset => Shape { ending: Ending::Reset, ..connect(Protocol::TcpConnect) },
            Self::ConnectFin => connect(Protocol::TcpConnect),
            Self::TlsConnect | Self::TlsConnectRsa => connect(Protocol::TlsConnect),
            Self::TlsResume => connect(Protocol::TlsResume),
            Self::Idle | Self::TlsIdle => return Task::Hold,
        })
    }

    /// What agents and the proxy are to agree on, where they speak TLS.
    pub fn terms(self) -> Option<Terms> {
        let usual = Terms { suite: Some(Suite::Aes128), identity: Identity::Ecdsa };
        match self {
            Self::Bulk
            | Self::PingPong64
            | Self::PingPong2000
            | Self::ConnectReset
            | Self::ConnectFin
            | Self::Idle => None,
            Self::TlsConnect
            | Self::TlsResume
            | Self::TlsDownload128
            | Self::TlsUpload128
            | Self::TlsPingPong64
            | Self::TlsPingPong2000
            | Self::TlsIdle => Some(usual),
            Self::TlsDownload256 | Self::TlsUpload256 => {
                Some(Terms { suite: Some(Suite::Aes256), ..usual })
            }
            Self::TlsConnectRsa => Some(Terms { identity: Identity::Rsa, ..usual }),
        }
    }
}

/// The length of a request, and of its answer.
const MESSAGE: usize = 128;
/// Connections that stream, and what each is given at a time.
const STREAMS: u32 = 8;
const CHUNK: usize = 256 << 10;
/// Connections of a closed loop that come and go.
const VISITS: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Dialogue;

    #[test]
    fn works_differ_in_what_their_names_say() {
        for work in Work::ALL {
            let (name, Task::Carry(shape)) = (work.as_str(), work.task()) else { continue };
            let dialogue = shape.protocol.dialogue();
            let (upload, download) = (Dialogue::Upload, Dialogue::Download);
            assert_eq!(dialogue == upload, name.contains("upload"), "{name}");
            let is_download = name.contains("download") || work == Work::Bulk;
            assert_eq!(dialogue == download, is_download, "{name}");
            let streams = [upload, download].contains(&dialogue);
            assert_eq!(shape.unit == Unit::Byte, streams, "{name}");
            let visits = dialogue == Dialogue::Visit;
            assert_eq!(shape.unit == Unit::Connection, visits, "{name}");
            assert_eq!(visits, name.contains("connect") || name.ends_with("resume"), "{name}");
            assert_eq!(shape.ending == Ending::Reset, name.ends_with("reset"), "{name}");
            assert_eq!(shape.connections == 2_000, name.ends_with("2000"), "{name}");
            let is_sealed = shape.protocol.handshakes().is_some();
            assert_eq!(is_sealed, name.starts_with("tls"), "{name}");
            let resumes = shape.protocol == Protocol::TlsResume;
            assert_eq!(resumes, name.ends_with("resume"), "{name}");
            assert_eq!(work.terms().is_some(), is_sealed, "{name}");
            let Some(terms) = work.terms() else { continue };
            assert_eq!(terms.suite == Some(Suite::Aes256), name.ends_with("256"), "{name}");
            assert_eq!(terms.identity == Identity::Rsa, name.ends_with("rsa"), "{name}");
        }
    }

    #[test]
    fn a_work_has_one_name_everywhere() {
        for work in Work::ALL {
            assert_eq!(work.to_possible_value().unwrap().get_name(), work.as_str());
            assert_eq!(serde_json::to_value(work).unwrap(), work.as_str());
        }
    }
}
