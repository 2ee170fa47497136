//! `[pool.NAME.tls]`: TLS towards the backends. Loads no certificate.

use std::path::PathBuf;
use std::time::Duration;

use super::tls::TlsVersion;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolTls {
    pub ca: Trust,
    pub server_name: BackendName,
    /// Absolute paths of the chain and the key that are shown to a backend that asks, both PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    pub alpn: BackendAlpn,
    pub min_version: TlsVersion,
    /// Whether sessions are resumed.
    pub resumption: bool,
    pub handshake_timeout: Duration,
    /// Whoever answers is taken for the backend; then `ca` means nothing.
    pub insecure_skip_verify: bool,
}

/// Who may have signed a backend's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Those that the host trusts.
    System,
    /// An absolute path, PEM.
    File(PathBuf),
}

/// The name that is asked for, and that the backend's certificate must be of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendName {
    /// The backend's host name, or its IP address if it was given without one.
    Backend,
    /// The one that the client asked for.
    Client,
    /// One that TLS can ask for, in lower case.
    Fixed(String),
}

/// The protocols that are offered to a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendAlpn {
    /// Most preferred first, distinct, of 1 to 255 bytes each; may be empty.
    Offer(Vec<String>),
    /// The one that was agreed with the client, if one was.
    Client,
}
