//! The TLS of a probe: no certificate is verified. Opens no connection.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::failure::ProbeFailure;

/// How the probes of one check speak TLS.
pub(super) struct Tls {
    pub config: Arc<ClientConfig>,
    pub name: ServerName<'static>,
}

impl Tls {
    /// None if the name is none that TLS can send.
    pub(super) fn new(server_name: Option<&str>, protocols: &[&[u8]]) -> Option<Tls> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            // The provider's suites are those of both versions; it is not built without them.
            .expect("TLS 1.2 and 1.3 have cipher suites")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified { provider }))
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        // Backends may share a name, and each would refuse the ticket of another.
        config.resumption = Resumption::disabled();
        let name = match server_name {
            Some(name) => ServerName::try_from(name.to_owned()).ok()?,
            None => {
                // A name is needed for form's sake; an address is never sent.
                config.enable_sni = false;
                ServerName::from(IpAddr::from([0, 0, 0, 0]))
            }
        };
        Some(Tls { config: Arc::new(config), name })
    }

    pub(super) async fn connect<S>(&self, stream: S) -> Result<TlsStream<S>, ProbeFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        Ok(connector.connect(self.name.clone(), stream).await?)
    }
}

/// Accepts every certificate. A probe asks whether the backend serves, not who it is: it sends
/// nothing that would have to be kept from anybody, and believes nothing but that. The clients'
/// own TLS passes through, and verifies whom it talks to.
#[derive(Debug)]
struct Unverified {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
