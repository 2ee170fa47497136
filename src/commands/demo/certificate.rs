//! The demo's own certificate: made at start, trusted by its client, in a file for curl to read.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::NamedTempFile;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::error::DemoError;

pub(super) struct Certificate {
    /// For the backend: shows the certificate.
    pub(super) acceptor: TlsAcceptor,
    /// For the client: trusts this certificate and no other.
    pub(super) connector: TlsConnector,
    /// Removed with this value.
    file: NamedTempFile,
}

impl Certificate {
    /// Makes a key and a self-signed certificate for `NAME` and 127.0.0.1.
    pub(super) fn generate() -> Result<Certificate, DemoError> {
        let names = [NAME.to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).map_err(DemoError::Certificate)?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let chain = vec![made.cert.der().clone()];
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).map_err(DemoError::Tls)?;

        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key.into()))
            .map_err(DemoError::Tls)?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(DemoError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Certificate {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
            file: write(&made.cert.pem())
                .map_err(|error| DemoError::System("the certificate cannot be written", error))?,
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }
}

fn write(pem: &str) -> std::io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix("ringmain-demo-").suffix(".pem").tempfile()?;
    file.write_all(pem.as_bytes())?;
    Ok(file)
}

/// The name that clients verify.
pub(super) const NAME: &str = "localhost";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_there_as_long_as_the_certificate() {
        let certificate = Certificate::generate().expect("made");
        let path = certificate.path().to_owned();
        let pem = std::fs::read_to_string(&path).expect("read");
        assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"), "{pem}");
        drop(certificate);
        assert!(!path.exists());
    }
}
