//! The side towards clients: everything that ends TLS here, loaded from its files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};

use super::files::look_at_mode;
use super::identities::Identities;
use super::identity::{Identity, Named};
use super::problem::{Concern, Findings, MaterialError, MaterialWarning, Problem};
use super::settings::{Expiry, MinVersion, provider};
use super::tickets::{Policy, Tickets, read_secrets};
use super::trust::{Anchors, Digests, client_verifier, digests, revocation_lists};

/// How TLS is ended for clients, and what is shown to them. Immutable: a renewal is a new one.
#[derive(Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    identities: Arc<Identities>,
    handshake_timeout: Duration,
    warnings: Vec<MaterialWarning>,
    expiries: Vec<Expiry>,
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

impl ServerTls {
    /// Loads everything, or says all that is wrong. Tickets of `tickets` stay good where the
    /// policy is what it was.
    pub fn load(
        options: &ServerOptions,
        tickets: &Tickets,
        now: UnixTime,
    ) -> Result<ServerTls, Vec<MaterialError>> {
        let mut findings = Findings::default();
        let built = build(options, tickets, now, &mut findings);
        match built {
            Some((config, identities)) if findings.errors.is_empty() => Ok(ServerTls {
                config: Arc::new(config),
                identities,
                handshake_timeout: options.handshake_timeout,
                warnings: findings.warnings,
                expiries: findings.expiries,
            }),
            _ => Err(findings.errors),
        }
    }

    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    pub fn handshake_timeout(&self) -> Duration {
        self.handshake_timeout
    }

    /// Whether the identity that this client will be shown signs by an RSA key of more than 2,048
    /// bits, which takes the worker for milliseconds.
    pub fn signs_slowly(&self, server_name: Option<&str>, signature_schemes: &[u16]) -> bool {
        let verifies =
            |scheme| signature_schemes.is_empty() || signature_schemes.contains(&u16::from(scheme));
        let chosen = self.identities.choose(server_name, verifies);
        chosen.and_then(|identity| identity.rsa_bits).is_some_and(|bits| bits > 2_048)
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

fn build(
    options: &ServerOptions,
    tickets: &Tickets,
    now: UnixTime,
    findings: &mut Findings,
) -> Option<(ServerConfig, Arc<Identities>)> {
    let provider = provider(&options.cipher_suites, findings);
    let identities = identities(options, &provider, now, findings);
    let clients = clients(options, &provider, now, findings);
    let secrets = options.tickets.as_ref().and_then(|tickets| tickets.keys.as_ref());
    let secrets = secrets.map(|path| {
        let (secrets, mode) = findings.accept("ticket_keys", path, read_secrets(path))?;
        look_at_mode(findings, "ticket_keys", path, mode);
        Some(secrets)
    });
    let clock = Arc::clone(tickets.clock());
    let versions = options.min_version.versions();
    let builder = ServerConfig::builder_with_details(Arc::clone(&provider), clock)
        .with_protocol_versions(versions)
        .map_err(|_| findings.refuse("cipher_suites", None, Problem::NoUsableCipherSuite))
        .ok()?;
    let clients = clients?;
    if !findings.errors.is_empty() {
        return None;
    }
    let mut config = builder
        .with_client_cert_verifier(clients.verifier)
        .with_cert_resolver(Arc::clone(&identities) as _);
    config.alpn_protocols = options.alpn.clone();
    // Whoever lists suites means the order.
    config.ignore_client_order = !options.cipher_suites.is_empty();
    config.max_early_data_size = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // An agent holds one connection and comes back with one: a second ticket would be made, sent
    // and thrown away.
    config.send_tls13_tickets = usize::from(options.tickets.is_some());
    if let Some(resumption) = &options.tickets {
        let policy = Policy {
            name: &options.name,
            client_auth: options.client_auth,
            authorities: clients.authorities,
            revocation_lists: clients.revocation_lists,
        };
        let secrets = secrets.flatten();
        let producer = tickets.producer(&policy, resumption.lifetime, secrets.as_ref(), now);
        let refuse = |problem| findings.refuse("tickets", None, problem);
        config.ticketer = producer.map_err(refuse).ok()?;
    }
    Some((config, identities))
}

fn identities(
    options: &ServerOptions,
    provider: &rustls::crypto::CryptoProvider,
    now: UnixTime,
    findings: &mut Findings,
) -> Arc<Identities> {
    if options.certificates.is_empty() {
        findings.refuse("certificates", None, Problem::NoCertificates);
    }
    let mut identities = Vec::new();
    for (index, files) in options.certificates.iter().enumerate() {
        let keys = ["chain", "key", "staple"].map(|part| format!("certificates[{index}].{part}"));
        let chain = Named { key: &keys[0], file: &files.chain };
        let key = Named { key: &keys[1], file: &files.key };
        let staple = files.staple.as_ref().map(|file| Named { key: &keys[2], file });
        identities.extend(Identity::load(chain, key, staple, provider, now, findings));
        if identities.last().is_some_and(|identity| identity.names.is_empty()) {
            findings.warn(&keys[0], Some(&files.chain), Concern::NoNames);
        }
    }
    Arc::new(Identities::new(identities))
}

struct Clients {
    verifier: Arc<dyn ClientCertVerifier>,
    authorities: Digests,
    revocation_lists: Digests,
}

fn clients(
    options: &ServerOptions,
    provider: &Arc<rustls::crypto::CryptoProvider>,
    now: UnixTime,
    findings: &mut Findings,
) -> Option<Clients> {
    if options.client_auth == ClientAuth::Off {
        let verifier = WebPkiClientVerifier::no_client_auth();
        return Some(Clients { verifier, authorities: Vec::new(), revocation_lists: Vec::new() });
    }
    let Some(path) = &options.client_ca else {
        findings.refuse("client_ca", None, Problem::NoClientCa);
        return None;
    };
    let anchors = findings.accept("client_ca", path, Anchors::load(path));
    let mut lists = Vec::new();
    for (index, file) in options.client_crls.iter().enumerate() {
        let key = format!("client_crls[{index}]");
        lists.push(revocation_lists(Named { key: &key, file }, now, findings));
    }
    let anchors = anchors?;
    let lists = lists.into_iter().collect::<Option<Vec<_>>>()?.concat();
    let (authorities, revocation_lists) = (anchors.digests.clone(), digests(&lists));
    let optional = options.client_auth == ClientAuth::Optional;
    let verifier = client_verifier(&anchors, lists, optional, provider);
    let verifier = findings.accept("client_ca", path, verifier)?;
    Some(Clients { verifier, authorities, revocation_lists })
}

impl ClientAuth {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            ClientAuth::Off => "off",
            ClientAuth::Optional => "optional",
            ClientAuth::Required => "required",
        }
    }
}
