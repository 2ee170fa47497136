//! Owns the certificates of a run and how both sides speak TLS with them; it shakes no hands.

use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer, cipher_suite, kx_group};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::certificates::{Authority, Identity, SERVER_NAME};

use super::super::channel::AgentTls;
use super::super::failure::Failure;
use super::super::protocol::{Handshakes, Protocol};
use super::terms::{Suite, Terms};
use super::{Tickets, Verifier};

/// An authority that lives as long as the run.
pub struct Material {
    pub authority: Authority,
}

impl Material {
    pub fn generate() -> Result<Material, Failure> {
        Authority::generate().map(|authority| Material { authority }).map_err(failure)
    }

    /// Agents that trust the authority. Tickets are gathered first, and then used once each.
    pub fn agents(
        &self,
        protocol: Protocol,
        handshakes: Handshakes,
        terms: Terms,
    ) -> Result<AgentTls, Failure> {
        let provider = Arc::new(offered(terms));
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.root().clone()).map_err(failure)?;
        let strict =
            WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
        let strict = strict.build().map_err(failure)?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(failure)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::new(strict)))
            .with_no_client_auth();
        let tickets = (handshakes == Handshakes::Resumed).then(|| Arc::new(Tickets::default()));
        config.resumption = match &tickets {
            Some(tickets) => Resumption::store(Arc::clone(tickets) as _),
            None => Resumption::disabled(),
        };
        config.alpn_protocols.extend(protocol.alpn().map(<[u8]>::to_vec));
        // The records are the project's own.
        config.enable_secret_extraction = true;
        let name = ServerName::try_from(SERVER_NAME).map_err(failure)?;
        Ok(AgentTls { config: Arc::new(config), name, tickets })
    }

    /// Backends that end TLS themselves.
    pub fn backends(&self, protocol: Protocol) -> Result<Arc<ServerConfig>, Failure> {
        let (certificate, key) = self.authority.server(Identity::Ecdsa);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(failure)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .map_err(failure)?;
        config.alpn_protocols.extend(protocol.alpn().map(<[u8]>::to_vec));
        config.ticketer = Ticketer::new().map_err(failure)?;
        config.enable_secret_extraction = true;
        Ok(Arc::new(config))
    }
}

fn offered(terms: Terms) -> CryptoProvider {
    let usual = aws_lc_rs::default_provider();
    let suite = match terms.suite {
        None => return usual,
        Some(Suite::Aes128) => cipher_suite::TLS13_AES_128_GCM_SHA256,
        Some(Suite::Aes256) => cipher_suite::TLS13_AES_256_GCM_SHA384,
    };
    CryptoProvider { cipher_suites: vec![suite], kx_groups: vec![kx_group::X25519], ..usual }
}

fn failure(error: impl std::fmt::Display) -> Failure {
    Failure::Certificates(error.to_string())
}
