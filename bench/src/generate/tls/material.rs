//! Owns the certificates of a run and how both sides speak TLS with them; it shakes no hands.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;

use crate::certificates::{Authority, Identity, SERVER_NAME};

use super::super::channel::AgentTls;
use super::super::failure::Failure;
use super::super::protocol::{Handshakes, Protocol};
use super::Trust;
use super::terms::Terms;
use super::trust::failure;

/// An authority that lives as long as the run.
pub struct Material {
    pub authority: Authority,
    /// Whom its servers speak for.
    name: ServerName<'static>,
}

impl Material {
    pub fn generate() -> Result<Material, Failure> {
        let name = ServerName::try_from(SERVER_NAME).map_err(failure)?;
        Ok(Material { authority: Authority::generate().map_err(failure)?, name })
    }

    /// Its servers speak for this name, by which somebody in between may tell where they are.
    pub fn generate_for(name: ServerName<'static>) -> Result<Material, Failure> {
        let authority = Authority::generate_for(&name.to_str()).map_err(failure)?;
        Ok(Material { authority, name })
    }

    /// Agents that trust the authority.
    pub fn agents(
        &self,
        protocol: Protocol,
        handshakes: Handshakes,
        terms: Terms,
    ) -> Result<AgentTls, Failure> {
        self.trust().agents(protocol, handshakes, terms)
    }

    pub fn trust(&self) -> Trust {
        Trust::new(vec![self.authority.root().clone()], self.name.clone())
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
