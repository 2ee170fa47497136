//! How a pool's backends are probed, and when they are ejected. Probes none.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// `[pool.NAME.health]`: active checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub check: Check,
    /// From the end of one probe to the begin of the next, before jitter.
    pub interval: Duration,
    /// The interval while a backend is about to change: some of the last probes disagree with its
    /// state.
    pub fast_interval: Duration,
    /// Of a whole probe.
    pub timeout: Duration,
    /// Successes in a row that make a backend up, at least 1.
    pub rise: u32,
    /// Failures in a row that make it down, at least 1.
    pub fall: u32,
    /// Percent of an interval by which each is shortened or lengthened at random, 0 to 50.
    pub jitter: u8,
    /// Addresses to probe from, one of each family at most.
    pub source_addresses: Vec<IpAddr>,
    /// `None`: the port of the traffic.
    pub port: Option<u16>,
    /// `None`: in the clear. For `http` and `grpc`.
    pub tls: Option<CheckTls>,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// A connection is accepted.
    Tcp,
    /// A ClientHello is answered by a ServerHello or an alert.
    TlsHello { server_name: Option<String> },
    Http {
        method: String,
        path: String,
        /// `None`: the backend's address.
        host: Option<String>,
        status: RangeInclusive<u16>,
    },
    /// grpc.health.v1: the service, empty for the whole server, is SERVING.
    Grpc { service: String },
    /// The `vector` source's own vector.Vector/HealthCheck.
    Vector,
    /// Bytes are sent, if any, and bytes are awaited somewhere in the answer, if any.
    SendExpect { send: Vec<u8>, expect: Vec<u8> },
}

/// TLS of a probe. The certificate is not verified: a probe asks whether the backend serves, and
/// carries no data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckTls {
    /// `None`: none is sent.
    pub server_name: Option<String>,
}

/// `[pool.NAME.ejection]`: passive checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row that eject a backend, at least 1.
    pub failures: u32,
    /// How soon after the connect a reset counts as a failure.
    pub window: Duration,
    /// The first ejection's time, which doubles with each that follows.
    pub base_time: Duration,
    pub max_time: Duration,
    /// Percent of the backends that may be ejected at the same time, 1 to 100; one always may, if
    /// there are others.
    pub max_share: u8,
}
