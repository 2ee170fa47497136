//! Owns whom agents ask for, and whose word they take for it that they have found them; it shakes
//! no hands.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};

use super::super::channel::AgentTls;
use super::super::failure::Failure;
use super::super::protocol::{Handshakes, Protocol};
use super::terms::{Suite, Terms};
use super::tickets::Tickets;
use super::verifier::{Credulous, Verifier};

/// A server by its name, and who vouches for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trust {
    /// None: whoever answers is believed.
    roots: Option<Vec<CertificateDer<'static>>>,
    name: ServerName<'static>,
}

impl Trust {
    pub fn new(roots: Vec<CertificateDer<'static>>, name: ServerName<'static>) -> Trust {
        Trust { roots: Some(roots), name }
    }

    /// Believes whoever answers.
    pub fn blind(name: ServerName<'static>) -> Trust {
        Trust { roots: None, name }
    }

    /// Believes all authorities of a PEM file of which a verification can make use.
    pub fn of_file(path: &Path, name: ServerName<'static>) -> Result<Trust, Failure> {
        let refused = |what: String| {
            let path = path.display();
            Failure::Options(format!(
                "{path} {what}; give --ca a file with certificates of authorities in PEM"
            ))
        };
        let text =
            std::fs::read(path).map_err(|error| refused(format!("can not be read ({error})")))?;
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let roots = roots.map_err(|error| refused(format!("is no PEM ({error})")))?;
        let usable = RootCertStore::empty().add_parsable_certificates(roots.iter().cloned()).0;
        if usable == 0 {
            return Err(refused("has no certificate of an authority".to_owned()));
        }
        Ok(Trust::new(roots, name))
    }

    /// Whom requests over HTTP are for, where somebody is asked for by a name: with the port,
    /// unless it is that of the scheme.
    pub fn host(&self, target: SocketAddr, is_sealed: bool) -> Option<String> {
        let usual = if is_sealed { 443 } else { 80 };
        match &self.name {
            ServerName::IpAddress(address) if IpAddr::from(*address) == target.ip() => None,
            ServerName::IpAddress(address) => {
                Some(SocketAddr::new((*address).into(), target.port()).to_string())
            }
            name if target.port() == usual => Some(name.to_str().into_owned()),
            name => Some(format!("{}:{}", name.to_str(), target.port())),
        }
    }

    pub fn is_blind(&self) -> bool {
        self.roots.is_none()
    }

    /// Agents that trust so. Tickets are gathered first, and then used once each.
    pub fn agents(
        &self,
        protocol: Protocol,
        handshakes: Handshakes,
        terms: Terms,
    ) -> Result<AgentTls, Failure> {
        let provider = Arc::new(offered(terms));
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(failure)?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(provider)?)
            .with_no_client_auth();
        let tickets = (handshakes == Handshakes::Resumed).then(|| Arc::new(Tickets::default()));
        config.resumption = match &tickets {
            Some(tickets) => Resumption::store(Arc::clone(tickets) as _),
            None => Resumption::disabled(),
        };
        config.alpn_protocols.extend(protocol.alpn().map(<[u8]>::to_vec));
        // The records are the project's own.
        config.enable_secret_extraction = true;
        Ok(AgentTls { config: Arc::new(config), name: self.name.clone(), tickets })
    }

    fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, Failure> {
        let Some(certificates) = &self.roots else {
            return Ok(Arc::new(Credulous::new(&provider)));
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        let strict = WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
        Ok(Arc::new(Verifier::new(strict.build().map_err(failure)?)))
    }
}

/// Of rustls, or of whoever signs.
pub fn failure(error: impl std::fmt::Display) -> Failure {
    Failure::Certificates(error.to_string())
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

#[cfg(test)]
mod tests {
    use rustls::{CipherSuite, NamedGroup};

    use super::super::super::directory::Directory;
    use super::super::Material;
    use super::*;

    #[test]
    fn requests_are_for_whom_agents_ask_by_name() {
        let host = |name: &str, target: &str, is_sealed| {
            let name = ServerName::try_from(name.to_owned()).unwrap();
            Trust::blind(name).host(target.parse().unwrap(), is_sealed)
        };
        let named = |text: &str| Some(text.to_owned());
        assert_eq!(host("logs.example", "10.0.0.1:6000", true), named("logs.example:6000"));
        assert_eq!(host("logs.example", "10.0.0.1:443", true), named("logs.example"));
        assert_eq!(host("logs.example", "10.0.0.1:443", false), named("logs.example:443"));
        assert_eq!(host("logs.example", "10.0.0.1:80", false), named("logs.example"));
        assert_eq!(host("10.0.0.1", "10.0.0.1:6000", true), None);
        assert_eq!(host("10.0.0.2", "10.0.0.1:6000", true), named("10.0.0.2:6000"));
        assert_eq!(host("fd00::2", "[fd00::1]:443", true), named("[fd00::2]:443"));
    }

    #[test]
    fn a_file_without_authorities_is_refused_with_its_name_and_the_remedy() {
        let directory = Directory::create().unwrap();
        let path = directory.path().join("ca.pem");
        let name = || ServerName::try_from("bench.test").unwrap();
        let said = || Trust::of_file(&path, name()).unwrap_err().to_string();
        assert!(said().contains("ca.pem can not be read (No such file"), "{}", said());
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nnever\n").unwrap();
        assert!(said().contains("ca.pem is no PEM"), "{}", said());
        std::fs::write(&path, "# nothing yet\n").unwrap();
        let none = said();
        assert!(none.contains("has no certificate") && none.contains("--ca"), "{none}");
        let material = Material::generate().unwrap();
        material.authority.write(directory.path()).unwrap();
        let pem = directory.path().join("ecdsa.pem");
        assert!(!Trust::of_file(&pem, name()).unwrap().is_blind());
    }

    #[test]
    fn what_is_agreed_on_is_all_that_is_offered() {
        for (suite, name) in [
            (Suite::Aes128, CipherSuite::TLS13_AES_128_GCM_SHA256),
            (Suite::Aes256, CipherSuite::TLS13_AES_256_GCM_SHA384),
        ] {
            let provider = offered(Terms { suite: Some(suite), ..Terms::default() });
            let suites: Vec<CipherSuite> =
                provider.cipher_suites.iter().map(|suite| suite.suite()).collect();
            let groups: Vec<NamedGroup> =
                provider.kx_groups.iter().map(|group| group.name()).collect();
            assert_eq!((suites, groups), (vec![name], vec![NamedGroup::X25519]));
        }
        let usual = offered(Terms::default());
        assert!(usual.cipher_suites.len() > 1 && usual.kx_groups.len() > 1);
    }
}
