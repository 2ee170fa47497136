//! Which identity is shown to whom: by the name the client asks for, and by what it can verify.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::identity::Identity;

/// All identities of one side, in the order of the configuration. Choosing allocates nothing.
#[derive(Debug)]
pub(super) struct Identities {
    identities: Vec<Identity>,
    /// Places in `identities`, in order, by the whole name.
    exact: HashMap<Box<str>, Vec<usize>>,
    /// The same for wildcards, by what follows `*.`.
    wildcard: HashMap<Box<str>, Vec<usize>>,
}

impl Identities {
    pub(super) fn new(identities: Vec<Identity>) -> Identities {
        let mut exact: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        let mut wildcard: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (index, identity) in identities.iter().enumerate() {
            for name in &identity.names {
                let (places, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut wildcard, parent),
                    None => (&mut exact, name.as_str()),
                };
                places.entry(name.into()).or_default().push(index);
            }
        }
        Identities { identities, exact, wildcard }
    }

    /// The identity for a name in lower case: with the name itself, else with a wildcard for it
    /// (RFC 9525, section 6.3: in place of one whole label), else the first; and of several the
    /// first that `verifies`. With none that does, the handshake will end by what is chosen.
    pub(super) fn choose(
        &self,
        name: Option<&str>,
        verifies: impl Fn(&[SignatureScheme]) -> bool,
    ) -> Option<&Identity> {
        let parent = name.and_then(|name| name.split_once('.')).map(|(_, parent)| parent);
        let exact = name.and_then(|name| self.exact.get(name));
        let wildcard = parent.and_then(|parent| self.wildcard.get(parent));
        let mut named = exact.into_iter().chain(wildcard).flatten().map(|at| &self.identities[*at]);
        let can = |identity: &&Identity| verifies(&identity.schemes);
        match named.clone().next() {
            Some(first) => Some(named.find(can).unwrap_or(first)),
            None => self.identities.iter().find(can).or(self.identities.first()),
        }
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has left only the schemes that go with a cipher suite of both sides.
        let offered = hello.signature_schemes();
        let newest = hello.cipher_suites().iter().any(|suite| u16::from(*suite) >> 8 == 0x13);
        let verifies = |schemes: &[SignatureScheme]| {
            schemes.iter().any(|scheme| offered.contains(scheme) && !(newest && is_pkcs1(*scheme)))
        };
        self.choose(hello.server_name(), verifies).map(|identity| Arc::clone(&identity.certified))
    }
}

/// Whoever speaks TLS 1.3 offers these for the signatures in certificates only (RFC 8446,
/// section 4.2.3).
pub(super) fn is_pkcs1(scheme: SignatureScheme) -> bool {
    use SignatureScheme::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512};
    matches!(scheme, RSA_PKCS1_SHA256 | RSA_PKCS1_SHA384 | RSA_PKCS1_SHA512)
}
