//! The demo's own certificates, one of a backend and one of the proxy: made at start, in memory
//! alone, and trusted by its client.

use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::error::DemoError;
use super::memory::MemoryFile;

pub(super) struct Certificates {
    /// For the backend: shows the certificate for `PASSED`.
    pub(super) acceptor: TlsAcceptor,
    /// For the proxy, which shows the certificate for `ENDED`.
    pub(super) edge: Identity,
    /// For the client: trusts these certificates and no other.
    pub(super) connector: TlsConnector,
    /// The same for curl.
    pub(super) trusted: MemoryFile,
}

/// What `certificates` of a configuration names.
pub(super) struct Identity {
    pub(super) chain: MemoryFile,
    pub(super) key: MemoryFile,
}

impl Certificates {
    /// Makes keys and self-signed certificates.
    pub(super) fn generate() -> Result<Certificates, DemoError> {
        let [passed, ended] = [made(PASSED)?, made(ENDED)?];
        let key = PrivatePkcs8KeyDer::from(passed.signing_key.serialize_der());
        let chain = vec![passed.cert.der().clone()];
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for made in [&passed, &ended] {
            roots.add(made.cert.der().clone()).map_err(DemoError::Tls)?;
        }

        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key.into()))
            .map_err(DemoError::Tls)?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(DemoError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Certificates {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            edge: Identity {
                chain: in_memory(&ended.cert.pem())?,
                key: in_memory(&ended.signing_key.serialize_pem())?,
            },
            connector: TlsConnector::from(Arc::new(client)),
            trusted: in_memory(&(passed.cert.pem() + &ended.cert.pem()))?,
        })
    }
}

fn made(name: &str) -> Result<CertifiedKey<KeyPair>, DemoError> {
    rcgen::generate_simple_self_signed([name.to_owned()]).map_err(DemoError::Certificate)
}

fn in_memory(pem: &str) -> Result<MemoryFile, DemoError> {
    MemoryFile::with(pem).map_err(|error| DemoError::System("no file in memory", error))
}

/// The server name of sessions that pass through: the backend has its certificate.
pub(super) const PASSED: &str = "localhost";
/// The server name of sessions whose TLS the proxy ends. Programs take what ends like this for
/// this host (RFC 6761, section 6.3).
pub(super) const ENDED: &str = "ended.localhost";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_and_key_are_for_who_loads_them_and_both_are_trusted() {
        let certificates = Certificates::generate().expect("made");
        let read = |file: &MemoryFile| std::fs::read_to_string(file.path()).expect("read");
        let chain = read(&certificates.edge.chain);
        assert!(chain.starts_with("-----BEGIN CERTIFICATE-----"), "{chain}");
        assert!(read(&certificates.edge.key).starts_with("-----BEGIN PRIVATE KEY-----"));
        let trusted = read(&certificates.trusted);
        assert_eq!(trusted.matches("-----BEGIN CERTIFICATE-----").count(), 2);
        assert!(trusted.contains(&chain), "{trusted}");
    }
}
