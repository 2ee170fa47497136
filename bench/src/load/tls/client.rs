//! Owns what the clients of one run offer and whom they trust; it begins handshakes, and counts how
//! they ended.

use std::sync::Arc;

use rustls::client::{Resumption, UnbufferedClientConnection, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, SupportedCipherSuite};

use super::tickets::Tickets;
use super::verifier::Verifier;
use super::{Audit, Handshake, Suite, Terms};
use crate::certificates::SERVER_NAME;

/// The clients' TLS in one run.
pub struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    tickets: Option<Arc<Tickets>>,
    pub audit: Audit,
}

impl Client {
    /// Trusts `root` and what it has signed.
    pub fn new(terms: Terms, root: &CertificateDer<'static>) -> Result<Self, rustls::Error> {
        let suite = terms.suite.offered();
        let provider = Arc::new(CryptoProvider {
            cipher_suites: vec![suite],
            kx_groups: vec![kx_group::X25519],
            ..aws_lc_rs::default_provider()
        });
        let mut roots = RootCertStore::empty();
        roots.add(root.clone())?;
        let strict = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone());
        let strict = strict.build().map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::new(strict)))
            .with_no_client_auth();
        let tickets = terms.resumed.then(|| Arc::new(Tickets::default()));
        config.resumption = match &tickets {
            Some(tickets) => Resumption::store(Arc::clone(tickets) as _),
            None => Resumption::disabled(),
        };
        // The records of an agreed connection are sealed and opened here.
        config.enable_secret_extraction = true;
        let name = ServerName::try_from(SERVER_NAME)
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let audit = Audit::new(suite.suite());
        Ok(Self { config: Arc::new(config), name, tickets, audit })
    }

    pub fn begin(&self) -> Result<Handshake, rustls::Error> {
        let config = Arc::clone(&self.config);
        Handshake::begin(UnbufferedClientConnection::new(config, self.name.clone())?)
    }

    /// Where sessions are to be resumed: the tickets at hand, which are kept until `resume`.
    pub fn tickets(&self) -> Option<usize> {
        self.tickets.as_ref().map(|tickets| tickets.len())
    }

    /// From now on, every handshake resumes a session.
    pub fn resume(&mut self) {
        if let Some(tickets) = &self.tickets {
            tickets.hand_out();
            self.audit.expect_resumption();
        }
    }
}

impl Suite {
    fn offered(self) -> SupportedCipherSuite {
        match self {
            Self::Aes128 => cipher_suite::TLS13_AES_128_GCM_SHA256,
            Self::Aes256 => cipher_suite::TLS13_AES_256_GCM_SHA384,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pair::Pair;
    use super::*;
    use crate::certificates::Identity;

    fn terms(resumed: bool) -> Terms {
        Terms { suite: Suite::Aes128, identity: Identity::Ecdsa, resumed }
    }

    fn take_tickets(pair: &mut Pair) {
        let mut records = pair.agree();
        records.read(&pair.said(), |piece| panic!("{piece:?}")).unwrap();
    }

    #[test]
    fn full_and_resumed_handshakes_are_counted_apart() {
        let mut pair = Pair::new(terms(true));
        for _ in 0..3 {
            take_tickets(&mut pair);
        }
        assert_eq!((pair.client.audit.full, pair.client.audit.resumed), (3, 0));
        // A rustls server gives two each time.
        assert_eq!(pair.client.tickets(), Some(6));
        pair.client.resume();
        for _ in 0..5 {
            take_tickets(&mut pair);
        }
        assert_eq!((pair.client.audit.full, pair.client.audit.resumed), (3, 5));
        assert_eq!(pair.client.tickets(), Some(6 - 5 + 2 * 5));
        assert_eq!(pair.client.audit.verdict(), Ok(()));
    }

    #[test]
    fn a_client_that_does_not_resume_offers_no_ticket() {
        let mut pair = Pair::new(terms(false));
        for _ in 0..3 {
            take_tickets(&mut pair);
        }
        assert_eq!(pair.client.tickets(), None);
        assert_eq!((pair.client.audit.full, pair.client.audit.resumed), (3, 0));
        assert_eq!(pair.client.audit.verdict(), Ok(()));
    }
}
