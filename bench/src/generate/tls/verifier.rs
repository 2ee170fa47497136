//! Owns the check of servers' certificates and signatures, at a price that a generator can pay;
//! whom to trust is decided elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

/// Checks the chain of the first certificate that is good, and takes one of the same bytes for as
/// good. Of the signatures of handshakes it checks the first and then samples, as one costs more
/// than most else of a client's handshake. That both sides have the same keys, and have seen the
/// same bytes, is checked in all of them.
#[derive(Debug)]
pub struct Verifier {
    strict: Arc<WebPkiServerVerifier>,
    good: OnceLock<CertificateDer<'static>>,
    signatures: AtomicU64,
}

impl Verifier {
    pub fn new(strict: Arc<WebPkiServerVerifier>) -> Self {
        Self { strict, good: OnceLock::new(), signatures: AtomicU64::new(0) }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.good.get().is_some_and(|good| good == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let verified = self.strict.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        self.good.get_or_init(|| end_entity.clone().into_owned());
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let earlier = self.signatures.fetch_add(1, Ordering::Relaxed);
        if !earlier.is_multiple_of(SIGNATURES_PER_SAMPLE) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        self.strict.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}

/// Believes whoever answers, whatever they show and sign.
#[derive(Debug)]
pub struct Credulous {
    schemes: Vec<SignatureScheme>,
}

impl Credulous {
    pub fn new(provider: &CryptoProvider) -> Self {
        Self { schemes: provider.signature_verification_algorithms.supported_schemes() }
    }
}

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

const SIGNATURES_PER_SAMPLE: u64 = 16;
