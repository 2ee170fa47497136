//! The side towards clients: everything that ends TLS here, loaded from its files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ServerConfig, SignatureScheme};

use crate::protocol::client_hello::ClientHello;

use super::certificate::next_update;
use super::files::look_at_mode;
use super::identities::Identities;
use super::identity::{Identity, Named};
use super::part::{Part, Taking};
use super::problem::{Concern, Findings, MaterialError, MaterialWarning, Problem, Renewal};
use super::settings::{Expiry, MinVersion, provider};
use super::tickets::{Policy, Secrets, Tickets, read_secrets};
use super::trust::{Anchors, Digests, client_verifier, digests, revocation_lists, sha256};

/// How TLS is ended for clients, and what is shown to them. Immutable: a renewal is a new one.
#[derive(Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    /// The same with one protocol of `alpn` alone, in its order.
    agreeing: Vec<Arc<ServerConfig>>,
    identities: Arc<Identities>,
    /// TLS 1.3 is spoken with those who can.
    offers_newest: bool,
    handshake_timeout: Duration,
    parts: Parts,
    warnings: Vec<MaterialWarning>,
    expiries: Vec<Expiry>,
}

/// What is renewed by itself.
#[derive(Debug)]
struct Parts {
    identities: Vec<Part<Identity>>,
    clients: Part<Clients>,
    /// None: tickets are off, or under keys of this process.
    secrets: Option<Part<Arc<Secrets>>>,
}

/// Who is let in.
#[derive(Clone, Debug)]
struct Clients {
    verifier: Arc<dyn ClientCertVerifier>,
    authorities: Digests,
    revocation_lists: Digests,
    /// When the first of the lists lapses.
    lists_until: Option<UnixTime>,
}

/// What a `ServerTls` is loaded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// Of the table: tickets of one name are never good for another.
    pub name: String,
    /// In the order in which they are tried.
    pub certificates: Vec<CertificateFiles>,
    pub min_version: MinVersion,
    /// Names of IANA's registry. Empty: all that are safe, by the client's preference.
    pub cipher_suites: Vec<String>,
    /// Most preferred first. Empty: none is negotiated.
    pub alpn: Vec<Vec<u8>>,
    pub client_auth: ClientAuth,
    /// Needed unless `client_auth` is off.
    pub client_ca: Option<PathBuf>,
    /// Empty: nobody is held to be revoked.
    pub client_crls: Vec<PathBuf>,
    /// None: no session is resumed.
    pub tickets: Option<TicketOptions>,
    pub handshake_timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    pub chain: PathBuf,
    pub key: PathBuf,
    /// An OCSP response, in DER.
    pub staple: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketOptions {
    /// How long one key makes tickets. At most 7 days (RFC 8446, section 4.6.1).
    pub lifetime: Duration,
    /// Secrets that several hosts share. None: keys of this process, which turn over by time.
    pub keys: Option<PathBuf>,
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    Off,
    /// Who shows none is let in; who shows one that is not believed is not.
    Optional,
    Required,
}

impl ServerOptions {
    /// All files that are read.
    pub fn files(&self) -> Vec<PathBuf> {
        let certificates = self.certificates.iter();
        let own = certificates
            .flat_map(|files| [Some(&files.chain), Some(&files.key), files.staple.as_ref()]);
        let keys = self.tickets.as_ref().and_then(|tickets| tickets.keys.as_ref());
        let rest = self.client_crls.iter().map(Some).chain([self.client_ca.as_ref(), keys]);
        own.chain(rest).flatten().cloned().collect()
    }
}

impl ServerTls {
    /// Loads everything, or says all that is wrong. Tickets of `tickets` stay good where the
    /// policy is what it was.
    pub fn load(
        options: &ServerOptions,
        tickets: &Tickets,
        now: UnixTime,
    ) -> Result<ServerTls, Vec<MaterialError>> {
        let mut findings = Findings::default();
        let provider = provider(&options.cipher_suites, options.min_version, &mut findings);
        if options.certificates.is_empty() {
            findings.refuse("certificates", None, Problem::NoCertificates);
        }
        let mut taking = Taking::new(now);
        taking.errors = findings.errors;
        let parts = Parts::load(options, &provider, None, now, &mut taking);
        match parts {
            Some(parts) if taking.errors.is_empty() => {
                ServerTls::build(options, &provider, parts, tickets, taking)
            }
            _ => Err(taking.errors),
        }
    }

    /// Loads again what the same options name. Each pair of chain and key, what clients are
    /// verified by, and the ticket keys: each of these is taken as a whole, or stays as it is.
    pub fn renewed(
        &self,
        options: &ServerOptions,
        tickets: &Tickets,
        now: UnixTime,
    ) -> Renewal<ServerTls> {
        let provider =
            provider(&options.cipher_suites, options.min_version, &mut Findings::default());
        let mut taking = Taking::new(now);
        let parts = Parts::load(options, &provider, Some(&self.parts), now, &mut taking);
        let mut errors = std::mem::take(&mut taking.errors);
        let Some(parts) = parts.filter(|_| taking.changed) else {
            return Renewal { fresh: None, errors };
        };
        let built = ServerTls::build(options, &provider, parts, tickets, taking);
        let fresh = built.map_err(|more| errors.extend(more)).ok();
        Renewal { fresh, errors }
    }

    fn build(
        options: &ServerOptions,
        provider: &Arc<CryptoProvider>,
        parts: Parts,
        tickets: &Tickets,
        taken: Taking,
    ) -> Result<ServerTls, Vec<MaterialError>> {
        let identities = parts.identities.iter().map(|part| part.value.clone()).collect();
        let identities = Arc::new(Identities::new(identities, Arc::clone(tickets.clock())));
        let config = configure(options, provider, &identities, &parts, tickets, taken.now)
            .map_err(|(key, problem)| vec![MaterialError::of_setting(key, problem)])?;
        let mut suites = provider.cipher_suites.iter();
        Ok(ServerTls {
            agreeing: options.alpn.iter().map(|it| Arc::new(agreeing_on(&config, it))).collect(),
            config: Arc::new(config),
            identities,
            offers_newest: suites.any(|suite| suite.tls13().is_some()),
            handshake_timeout: options.handshake_timeout,
            parts,
            warnings: taken.warnings,
            expiries: taken.expiries,
        })
    }

    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// The configuration for a client whose way depends on this protocol: none but that one is
    /// agreed on. Of one that is not offered here nothing is known, and all that are can be.
    pub fn config_for(&self, protocol: Option<&[u8]>) -> &Arc<ServerConfig> {
        let agreeing = |protocol: &[u8]| {
            self.agreeing.iter().find(|config| config.alpn_protocols[0] == protocol)
        };
        protocol.and_then(agreeing).unwrap_or(&self.config)
    }

    pub fn handshake_timeout(&self) -> Duration {
        self.handshake_timeout
    }

    /// Whether the identity that this client will be shown, or may be, signs by an RSA key of more
    /// than 2,048 bits, which takes the worker for milliseconds.
    pub fn signs_slowly(&self, hello: &ClientHello) -> bool {
        let offered = &hello.signature_schemes;
        let chosen_is_slow = |fits: fn(SignatureScheme) -> bool| {
            let verifies = |scheme| {
                fits(scheme) && (offered.is_empty() || offered.contains(&u16::from(scheme)))
            };
            let chosen = self.identities.choose(hello.server_name.as_deref(), verifies);
            // What nobody verifies is not signed for.
            let signs = |identity: &&Identity| identity.schemes.iter().copied().any(verifies);
            chosen.filter(signs).is_some_and(is_slow)
        };
        // Without TLS 1.3 only the schemes count that go with the cipher suites of both sides, and
        // those are known to rustls alone.
        let newest = self.offers_newest && hello.versions.contains(&TLS13);
        chosen_is_slow(|_| true)
            || !newest && (chosen_is_slow(is_rsa) || chosen_is_slow(|scheme| !is_rsa(scheme)))
    }

    /// Whether there is an identity that signs so, for what is not known of a client.
    pub fn may_sign_slowly(&self) -> bool {
        self.parts.identities.iter().any(|part| is_slow(&part.value))
    }

    /// What was found that does not keep it from being used.
    pub fn warnings(&self) -> &[MaterialWarning] {
        &self.warnings
    }

    /// When its certificates and revocation lists lapse, in the order of the options.
    pub fn expiries(&self) -> &[Expiry] {
        &self.expiries
    }
}

impl Parts {
    /// Reads all files. None: a part could not be loaded and there was none before.
    fn load(
        options: &ServerOptions,
        provider: &Arc<CryptoProvider>,
        before: Option<&Parts>,
        now: UnixTime,
        taking: &mut Taking,
    ) -> Option<Parts> {
        let mut identities = Vec::new();
        for index in 0..options.certificates.len() {
            let loaded = Part::load(|findings| identity(options, index, provider, now, findings));
            let before = before.map(|before| &before.identities[index]);
            identities.push(taking.take(before, loaded));
        }
        let loaded = Part::load(|findings| clients(options, provider, now, findings));
        let clients = taking.take(before.map(|before| &before.clients), loaded);
        let keys = options.tickets.as_ref().and_then(|tickets| tickets.keys.as_ref());
        let secrets = keys.map(|path| {
            let loaded = Part::load(|findings| secrets(path, findings));
            taking.take(before.and_then(|before| before.secrets.as_ref()), loaded)
        });
        Some(Parts {
            identities: identities.into_iter().collect::<Option<_>>()?,
            clients: clients?,
            secrets: secrets.map_or(Some(None), |secrets| secrets.map(Some))?,
        })
    }
}

fn identity(
    options: &ServerOptions,
    index: usize,
    provider: &CryptoProvider,
    now: UnixTime,
    findings: &mut Findings,
) -> Option<(Identity, [u8; 32])> {
    let files = &options.certificates[index];
    let keys = ["chain", "key", "staple"].map(|part| format!("certificates[{index}].{part}"));
    let chain = Named { key: &keys[0], file: &files.chain };
    let key = Named { key: &keys[1], file: &files.key };
    let staple = files.staple.as_ref().map(|file| Named { key: &keys[2], file });
    let identity = Identity::load(chain, key, staple, provider, now, findings)?;
    if identity.names.is_empty() {
        findings.warn(chain.key, Some(chain.file), Concern::NoNames);
    }
    let digest = identity.digest();
    Some((identity, digest))
}

fn clients(
    options: &ServerOptions,
    provider: &Arc<CryptoProvider>,
    now: UnixTime,
    findings: &mut Findings,
) -> Option<(Clients, [u8; 32])> {
    if options.client_auth == ClientAuth::Off {
        let verifier = WebPkiClientVerifier::no_client_auth();
        let (authorities, revocation_lists) = (Vec::new(), Vec::new());
        let clients = Clients { verifier, authorities, revocation_lists, lists_until: None };
        return Some((clients, [0; 32]));
    }
    let Some(path) = &options.client_ca else {
        findings.refuse("client_ca", None, Problem::NoClientCa);
        return None;
    };
    let anchors = Anchors::load(Named { key: "client_ca", file: path }, now, findings);
    let mut lists = Vec::new();
    for (index, file) in options.client_crls.iter().enumerate() {
        let key = format!("client_crls[{index}]");
        lists.push(revocation_lists(Named { key: &key, file }, now, findings));
    }
    let anchors = anchors?;
    let lists = lists.into_iter().collect::<Option<Vec<_>>>()?.concat();
    let (authorities, revocation_lists) = (anchors.digests.clone(), digests(&lists));
    let lists_until = lists.iter().filter_map(|list| next_update(list)).min();
    let optional = options.client_auth == ClientAuth::Optional;
    let verifier = client_verifier(&anchors, lists, optional, provider);
    let verifier = findings.accept("client_ca", path, verifier)?;
    let [own, revoked] = [&authorities, &revocation_lists].map(|all| sha256(all.as_flattened()));
    let digest = sha256(&[own, revoked].concat());
    Some((Clients { verifier, authorities, revocation_lists, lists_until }, digest))
}

fn secrets(path: &Path, findings: &mut Findings) -> Option<(Arc<Secrets>, [u8; 32])> {
    let (secrets, mode) = findings.accept("ticket_keys", path, read_secrets(path))?;
    look_at_mode(findings, "ticket_keys", path, mode);
    let each: Vec<[u8; 32]> = secrets.iter().map(|secret| sha256(secret)).collect();
    Some((Arc::new(secrets), sha256(each.as_flattened())))
}

/// What rustls takes; or the setting that it refuses.
fn configure(
    options: &ServerOptions,
    provider: &Arc<CryptoProvider>,
    identities: &Arc<Identities>,
    parts: &Parts,
    tickets: &Tickets,
    now: UnixTime,
) -> Result<ServerConfig, (&'static str, Problem)> {
    let clock = Arc::clone(tickets.clock());
    let clients = &parts.clients.value;
    let mut config = ServerConfig::builder_with_details(Arc::clone(provider), clock)
        .with_protocol_versions(options.min_version.versions())
        .map_err(|error| ("cipher_suites", Problem::Refused(error.to_string())))?
        .with_client_cert_verifier(Arc::clone(&clients.verifier))
        .with_cert_resolver(Arc::clone(identities) as _);
    config.alpn_protocols = options.alpn.clone();
    // Whoever lists suites means the order.
    config.ignore_client_order = !options.cipher_suites.is_empty();
    config.max_early_data_size = 0;
    // The records that follow the handshake are sealed and opened without rustls.
    config.enable_secret_extraction = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // An agent holds one connection and comes back with one: a second ticket would be made, sent
    // and thrown away.
    config.send_tls13_tickets = usize::from(options.tickets.is_some());
    if let Some(resumption) = &options.tickets {
        let policy = Policy {
            name: &options.name,
            client_auth: options.client_auth,
            authorities: &clients.authorities,
            revocation_lists: &clients.revocation_lists,
            holds_until: clients.lists_until,
        };
        let secrets = parts.secrets.as_ref().map(|part| &*part.value);
        let producer = tickets.producer(&policy, resumption.lifetime, secrets, now);
        config.ticketer = producer.map_err(|problem| ("tickets", problem))?;
    }
    Ok(config)
}

fn agreeing_on(config: &ServerConfig, protocol: &[u8]) -> ServerConfig {
    let mut config = config.clone();
    config.alpn_protocols = vec![protocol.to_owned()];
    config
}

/// Whether a signature of it takes a worker for milliseconds.
pub(super) fn is_slow(identity: &Identity) -> bool {
    identity.rsa_bits.is_some_and(|bits| bits > 2_048)
}

fn is_rsa(scheme: SignatureScheme) -> bool {
    use SignatureScheme as S;
    matches!(scheme, S::RSA_PSS_SHA256 | S::RSA_PSS_SHA384 | S::RSA_PSS_SHA512)
        || matches!(scheme, S::RSA_PKCS1_SHA256 | S::RSA_PKCS1_SHA384 | S::RSA_PKCS1_SHA512)
}

/// The version's number in a hello.
const TLS13: u16 = 0x0304;

impl ClientAuth {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            ClientAuth::Off => "off",
            ClientAuth::Optional => "optional",
            ClientAuth::Required => "required",
        }
    }
}
