//! Which identity is shown to whom: by the name the client asks for, and by what it can verify.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::identity::Identity;
use super::settings::Clock;

/// All identities of one side, in the order of the configuration. Choosing allocates nothing.
#[derive(Debug)]
pub(super) struct Identities {
    clock: Clock,
    identities: Vec<Identity>,
    /// Places in `identities`, in order, by the whole name.
    exact: HashMap<Box<str>, Vec<usize>>,
    /// The same for wildcards, by what follows `*.`.
    wildcard: HashMap<Box<str>, Vec<usize>>,
}

impl Identities {
    pub(super) fn new(identities: Vec<Identity>, clock: Clock) -> Identities {
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
        Identities { clock, identities, exact, wildcard }
    }

    /// The identity for a name in lower case, whether or not it ends with a dot: with the name
    /// itself, else with a wildcard for it (RFC 9525, section 6.3: in place of one whole label),
    /// else the first; and of several the first whose signatures the client verifies. Without one,
    /// the handshake will end by what is chosen.
    pub(super) fn choose(
        &self,
        name: Option<&str>,
        verifies: impl Fn(SignatureScheme) -> bool,
    ) -> Option<&Identity> {
        let name = name.map(|name| name.strip_suffix('.').unwrap_or(name));
        let parent = name.and_then(|name| name.split_once('.')).map(|(_, parent)| parent);
        let exact = name.and_then(|name| self.exact.get(name));
        let wildcard = parent.and_then(|parent| self.wildcard.get(parent));
        let named = exact.into_iter().chain(wildcard).flatten().map(|at| &self.identities[*at]);
        first_that_fits(named, &verifies)
            .or_else(|| first_that_fits(self.identities.iter(), &verifies))
    }
}

/// Of these the first whose signatures are verified, else the first.
fn first_that_fits<'a>(
    identities: impl Iterator<Item = &'a Identity> + Clone,
    verifies: &impl Fn(SignatureScheme) -> bool,
) -> Option<&'a Identity> {
    let signs = |wanted: fn(SignatureScheme) -> bool| {
        let fits = move |scheme: &SignatureScheme| wanted(*scheme) && verifies(*scheme);
        identities.clone().find(|identity| identity.schemes.iter().any(fits))
    };
    // Whoever speaks TLS 1.3 offers PKCS#1 for the signatures in certificates only (RFC 8446,
    // section 4.2.3), and which version it will be is not told here.
    signs(|scheme| !is_pkcs1(scheme)).or_else(|| signs(is_pkcs1)).or(identities.clone().next())
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has left only the schemes that go with a cipher suite of both sides.
        let offered = hello.signature_schemes();
        let chosen = self.choose(hello.server_name(), |scheme| offered.contains(&scheme));
        chosen.map(|identity| Arc::clone(identity.shown_by(&self.clock)))
    }
}

fn is_pkcs1(scheme: SignatureScheme) -> bool {
    use SignatureScheme::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512};
    matches!(scheme, RSA_PKCS1_SHA256 | RSA_PKCS1_SHA384 | RSA_PKCS1_SHA512)
}
