//! Owns the names of what can be sent, and what each consists of; it sends nothing.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::grpc::{ALPN, Service};
use super::wire::{Dialect, Format, Framing, Intake};

/// What agents and backends say to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Every message comes back
    TcpEcho,
    /// The same in TLS 1.3
    TlsEcho,
    /// A connection, one message there and back, and its end
    TcpConnect,
    /// The same with a full handshake of TLS 1.3
    TlsConnect,
    /// The same with a handshake that resumes a session
    TlsResume,
    /// Messages from agents to backends
    StreamUp,
    /// Messages from backends to agents
    StreamDown,
    /// Both at the same time
    StreamBoth,
    /// Messages from agents to backends in TLS 1.3
    TlsStreamUp,
    /// Messages from backends to agents in TLS 1.3
    TlsStreamDown,
    /// Syslog of RFC 5424 on a stream, with lengths
    SyslogTcp,
    /// Syslog of RFC 3164 on a stream, a line each
    SyslogLines,
    /// Syslog of RFC 5424 in TLS (RFC 5425)
    SyslogTls,
    /// A line of JSON for each event
    Ndjson,
    /// Datagrams from agents to backends
    UdpOneWay,
    /// Every datagram comes back
    UdpEcho,
    /// Syslog of RFC 5424, a message in each datagram (RFC 5426)
    SyslogUdp,
    /// Syslog of RFC 3164, likewise
    #[value(name = "syslog-udp-3164")]
    #[serde(rename = "syslog-udp-3164")]
    SyslogUdp3164,
    /// HTTP requests to the logs intake of Datadog
    Datadog,
    /// HTTP requests to Splunk's HTTP event collector
    SplunkHec,
    /// Calls of Vector's own protocol, over HTTP/2
    Vector,
    /// The same in TLS 1.3
    VectorTls,
    /// Calls of OpenTelemetry's OTLP with log records, over HTTP/2
    OtlpGrpc,
    /// The same in TLS 1.3
    OtlpGrpcTls,
}

/// Who speaks, and what is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialogue {
    /// Agents ask on connections that last; every unit is answered.
    Exchange,
    /// Agents send on connections that last; nothing comes back.
    Upload,
    /// Backends send on connections that last.
    Download,
    BothWays,
    /// A connection for each unit.
    Visit,
}

/// What comes of sessions of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshakes {
    Full,
    Resumed,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::TcpEcho => "tcp-echo",
            Protocol::TlsEcho => "tls-echo",
            Protocol::TcpConnect => "tcp-connect",
            Protocol::TlsConnect => "tls-connect",
            Protocol::TlsResume => "tls-resume",
            Protocol::StreamUp => "stream-up",
            Protocol::StreamDown => "stream-down",
            Protocol::StreamBoth => "stream-both",
            Protocol::TlsStreamUp => "tls-stream-up",
            Protocol::TlsStreamDown => "tls-stream-down",
            Protocol::SyslogTcp => "syslog-tcp",
            Protocol::SyslogLines => "syslog-lines",
            Protocol::SyslogTls => "syslog-tls",
            Protocol::Ndjson => "ndjson",
            Protocol::UdpOneWay => "udp-one-way",
            Protocol::UdpEcho => "udp-echo",
            Protocol::SyslogUdp => "syslog-udp",
            Protocol::SyslogUdp3164 => "syslog-udp-3164",
            Protocol::Datadog => "datadog",
            Protocol::SplunkHec => "splunk-hec",
            Protocol::Vector => "vector",
            Protocol::VectorTls => "vector-tls",
            Protocol::OtlpGrpc => "otlp-grpc",
            Protocol::OtlpGrpcTls => "otlp-grpc-tls",
        }
    }

    pub fn dialogue(self) -> Dialogue {
        match self {
            Protocol::TcpEcho | Protocol::TlsEcho | Protocol::UdpEcho => Dialogue::Exchange,
            Protocol::Datadog | Protocol::SplunkHec => Dialogue::Exchange,
            Protocol::Vector | Protocol::VectorTls => Dialogue::Exchange,
            Protocol::OtlpGrpc | Protocol::OtlpGrpcTls => Dialogue::Exchange,
            Protocol::SyslogTcp | Protocol::SyslogLines => Dialogue::Upload,
            Protocol::SyslogTls | Protocol::Ndjson => Dialogue::Upload,
            Protocol::SyslogUdp | Protocol::SyslogUdp3164 => Dialogue::Upload,
            Protocol::UdpOneWay => Dialogue::Upload,
            Protocol::TcpConnect | Protocol::TlsConnect | Protocol::TlsResume => Dialogue::Visit,
            Protocol::StreamUp | Protocol::TlsStreamUp => Dialogue::Upload,
            Protocol::StreamDown | Protocol::TlsStreamDown => Dialogue::Download,
            Protocol::StreamBoth => Dialogue::BothWays,
        }
    }

    /// Who is called over HTTP/2. None: what is said are units on a stream, in a format.
    pub fn service(self) -> Option<Service> {
        match self {
            Protocol::Vector | Protocol::VectorTls => Some(Service::Vector),
            Protocol::OtlpGrpc | Protocol::OtlpGrpcTls => Some(Service::OtlpLogs),
            _ => None,
        }
    }

    /// What both sides have to agree on in TLS, if anything.
    pub fn alpn(self) -> Option<&'static [u8]> {
        self.service().map(|_| ALPN)
    }

    pub fn format(self) -> Format {
        match self {
            Protocol::SyslogTcp | Protocol::SyslogTls => {
                Format::Syslog(Dialect::Rfc5424, Framing::Octets)
            }
            Protocol::SyslogLines => Format::Syslog(Dialect::Rfc3164, Framing::Lines),
            Protocol::SyslogUdp => Format::Syslog(Dialect::Rfc5424, Framing::Datagram),
            Protocol::SyslogUdp3164 => Format::Syslog(Dialect::Rfc3164, Framing::Datagram),
            Protocol::Ndjson => Format::JsonLines,
            Protocol::Datadog => Format::Http(Intake::Datadog),
            Protocol::SplunkHec => Format::Http(Intake::SplunkHec),
            _ => Format::Frame,
        }
    }

    /// Its units are a datagram each, and its agents have no connections.
    pub fn is_datagrams(self) -> bool {
        use Protocol::{SyslogUdp, SyslogUdp3164, UdpEcho, UdpOneWay};
        matches!(self, UdpOneWay | UdpEcho | SyslogUdp | SyslogUdp3164)
    }

    /// None: it goes in the clear.
    pub fn handshakes(self) -> Option<Handshakes> {
        match self {
            Protocol::TlsEcho | Protocol::TlsConnect | Protocol::SyslogTls => {
                Some(Handshakes::Full)
            }
            Protocol::TlsStreamUp | Protocol::TlsStreamDown => Some(Handshakes::Full),
            Protocol::VectorTls | Protocol::OtlpGrpcTls => Some(Handshakes::Full),
            Protocol::TlsResume => Some(Handshakes::Resumed),
            _ => None,
        }
    }
}

impl Dialogue {
    /// Units of agents end at the backends, which count them.
    pub fn ends_at_backends(self) -> bool {
        matches!(self, Dialogue::Upload | Dialogue::BothWays)
    }
}
