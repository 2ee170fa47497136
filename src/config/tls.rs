//! `[tls.NAME]`: how TLS is ended here. Loads no certificate.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// As a table's key it is unique among them; never `off`.
    pub name: String,
    /// At least one, with distinct chains. Which one serves depends on the client.
    pub certificates: Vec<Certificate>,
    pub min_version: TlsVersion,
    /// Distinct names of `CIPHER_SUITES`; for `min_version` there is one at least. Empty: all of
    /// them.
    pub cipher_suites: Vec<String>,
    /// Most preferred first, distinct, of 1 to 255 bytes each. Empty: none is negotiated.
    pub alpn: Vec<String>,
    pub client_auth: ClientAuth,
    /// None if and only if clients are not asked for a certificate.
    pub client_ca: Option<PathBuf>,
    /// Empty: no certificate of a client is taken to be revoked.
    pub client_crls: Vec<PathBuf>,
    /// Whether sessions are resumed.
    pub tickets: bool,
    pub ticket_lifetime: Duration,
    /// None: the keys are this process's own.
    pub ticket_keys: Option<PathBuf>,
    /// From the first byte of the client to the end of the handshake.
    pub handshake_timeout: Duration,
}

/// The files of one identity, all of them absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// PEM, the certificate of the server first.
    pub chain: PathBuf,
    pub key: PathBuf,
    /// An OCSP response, DER.
    pub staple: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// Whether a client shows a certificate of its own. One that is shown is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    Off,
    Optional,
    Required,
}
