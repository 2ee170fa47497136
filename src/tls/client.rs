//! The side towards backends: whom to believe, what to show and what to ask for, from its files.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;

use super::identity::{Identity, Named};
use super::problem::{Concern, Findings, MaterialError, MaterialWarning, Problem};
use super::settings::{Clock, Expiry, MinVersion, provider};
use super::trust::{Anchors, SYSTEM_BUNDLES, Unverified, server_verifier};

/// How TLS is spoken with the backends of a pool. Immutable: a renewal is a new one.
#[derive(Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    /// By what was agreed with the client; for `Alpn::AsAgreed` only.
    agreed: Option<HashMap<Vec<u8>, Arc<ClientConfig>>>,
    server_name: NameSource,
    fixed: Option<ServerName<'static>>,
    handshake_timeout: Duration,
    warnings: Vec<MaterialWarning>,
    expiries: Vec<Expiry>,
}

/// What a `ClientTls` is loaded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    pub ca: Authorities,
    pub server_name: NameSource,
    /// Shown to backends that ask for one; with its key.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub alpn: Alpn,
    pub min_version: MinVersion,
    pub resumption: bool,
    pub handshake_timeout: Duration,
    /// Backends are believed whoever they are, so long as they hold the key they show.
    pub insecure_skip_verify: bool,
}

/// Who vouches for the backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorities {
    /// Those that this host trusts.
    System,
    File(PathBuf),
}

/// What a backend is asked for, and must prove to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameSource {
    /// Its own host name, or its address if it has none.
    Backend,
    /// What the client asked for.
    Client,
    Fixed(String),
}

/// Which protocols backends are offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// Most preferred first; empty: none.
    Offer(Vec<Vec<u8>>),
    /// The one that was agreed with the client, if one was. Named are those that can be.
    AsAgreed(Vec<Vec<u8>>),
}

/// Why there is no name to ask a backend for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// The client asked for none, and its name was to be passed on.
    NotAsked,
    /// It is no name of a host.
    Invalid,
}

impl NameError {
    pub fn as_str(self) -> &'static str {
        match self {
            NameError::NotAsked => "no_server_name",
            NameError::Invalid => "invalid_server_name",
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameError::NotAsked => "the client asked for no server name",
            NameError::Invalid => "the server name is no name of a host",
        })
    }
}

impl ClientTls {
    /// Loads everything, or says all that is wrong.
    pub fn load(
        options: &ClientOptions,
        clock: &Clock,
        now: UnixTime,
    ) -> Result<ClientTls, Vec<MaterialError>> {
        let mut findings = Findings::default();
        let fixed = fixed_name(options, &mut findings);
        let config = build(options, clock, now, &mut findings);
        let Some(config) = config.filter(|_| findings.errors.is_empty()) else {
            return Err(findings.errors);
        };
        let config = Arc::new(config);
        let agreed = match &options.alpn {
            Alpn::Offer(_) => None,
            Alpn::AsAgreed(known) => Some(variants(&config, known)),
        };
        Ok(ClientTls {
            config,
            agreed,
            server_name: options.server_name.clone(),
            fixed,
            handshake_timeout: options.handshake_timeout,
            warnings: findings.warnings,
            expiries: findings.expiries,
        })
    }

    /// The configuration for a session whose client has agreed to `agreed`.
    pub fn config_for(&self, agreed: Option<&[u8]>) -> Arc<ClientConfig> {
        let Some((variants, agreed)) = self.agreed.as_ref().zip(agreed) else {
            return Arc::clone(&self.config);
        };
        match variants.get(agreed) {
            Some(variant) => Arc::clone(variant),
            None => Arc::new(offering(&self.config, agreed)),
        }
    }

    pub fn handshake_timeout(&self) -> Duration {
        self.handshake_timeout
    }

    /// What to ask the backend for: `backend` is its host name, and may be empty or an address;
    /// `asked` is what the client asked for. `Err`: the backend can not be verified.
    pub fn name_for(
        &self,
        backend: &str,
        address: IpAddr,
        asked: Option<&str>,
    ) -> Result<ServerName<'static>, NameError> {
        if let Some(fixed) = &self.fixed {
            return Ok(fixed.clone());
        }
        match self.server_name {
            NameSource::Client => named(asked.ok_or(NameError::NotAsked)?),
            _ if backend.is_empty() => Ok(ServerName::IpAddress(address.into())),
            _ => named(backend),
        }
    }

    /// What was found that does not keep it from being used.
    pub fn warnings(&self) -> &[MaterialWarning] {
        &self.warnings
    }

    /// When its certificate lapses, if it has one.
    pub fn expiries(&self) -> &[Expiry] {
        &self.expiries
    }
}

/// A trailing dot makes a name of DNS absolute and is never in a certificate.
fn named(name: &str) -> Result<ServerName<'static>, NameError> {
    let name = name.strip_suffix('.').unwrap_or(name).to_owned();
    ServerName::try_from(name).map_err(|_| NameError::Invalid)
}

fn fixed_name(options: &ClientOptions, findings: &mut Findings) -> Option<ServerName<'static>> {
    let NameSource::Fixed(name) = &options.server_name else { return None };
    let refuse = |_| findings.refuse("server_name", None, Problem::BadServerName(name.clone()));
    named(name).map_err(refuse).ok()
}

fn build(
    options: &ClientOptions,
    clock: &Clock,
    now: UnixTime,
    findings: &mut Findings,
) -> Option<ClientConfig> {
    let provider = provider(&[], findings);
    let verifier = verifier(options, &provider, findings);
    let identity = identity(options, &provider, now, findings);
    let verifier = verifier?;
    let builder = ClientConfig::builder_with_details(provider, Arc::clone(clock))
        .with_protocol_versions(options.min_version.versions())
        .map_err(|error| findings.refuse("min_version", None, Problem::Refused(error.to_string())))
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some(identity) => {
            let shown = SingleCertAndKey::from(identity.certified);
            builder.with_client_cert_resolver(Arc::new(shown) as Arc<dyn ResolvesClientCert>)
        }
        None => builder.with_no_client_auth(),
    };
    if let Alpn::Offer(protocols) = &options.alpn {
        config.alpn_protocols = protocols.clone();
    }
    config.resumption = match options.resumption {
        true => Resumption::in_memory_sessions(REMEMBERED),
        false => Resumption::disabled(),
    };
    config.enable_early_data = false;
    Some(config)
}

/// Sessions that are remembered for resumption, of all backends of a pool. rustls keeps up to
/// eight of each name.
const REMEMBERED: usize = 2_048;

fn verifier(
    options: &ClientOptions,
    provider: &Arc<CryptoProvider>,
    findings: &mut Findings,
) -> Option<Arc<dyn ServerCertVerifier>> {
    if options.insecure_skip_verify {
        findings.warn("insecure_skip_verify", None, Concern::Unverified);
        return Some(Arc::new(Unverified(provider.signature_verification_algorithms)));
    }
    let (file, anchors) = match &options.ca {
        Authorities::System => (None, Anchors::of_system(SYSTEM_BUNDLES)),
        Authorities::File(path) => (Some(path.as_path()), Anchors::load(path)),
    };
    let verifier = anchors.and_then(|anchors| server_verifier(&anchors, provider));
    verifier.map_err(|problem| findings.refuse("ca", file, problem)).ok()
}

fn identity(
    options: &ClientOptions,
    provider: &CryptoProvider,
    now: UnixTime,
    findings: &mut Findings,
) -> Option<Identity> {
    match (&options.certificate, &options.key) {
        (Some(chain), Some(key)) => {
            let chain = Named { key: "certificate", file: chain };
            let key = Named { key: "key", file: key };
            Identity::load(chain, key, None, provider, now, findings)
        }
        (Some(chain), None) => {
            findings.refuse("certificate", Some(chain), Problem::CertificateWithoutKey);
            None
        }
        (None, Some(key)) => {
            findings.refuse("key", Some(key), Problem::KeyWithoutCertificate);
            None
        }
        (None, None) => None,
    }
}

fn variants(config: &ClientConfig, known: &[Vec<u8>]) -> HashMap<Vec<u8>, Arc<ClientConfig>> {
    let variant = |agreed: &Vec<u8>| (agreed.clone(), Arc::new(offering(config, agreed)));
    known.iter().map(variant).collect()
}

fn offering(config: &ClientConfig, protocol: &[u8]) -> ClientConfig {
    let mut config = config.clone();
    config.alpn_protocols = vec![protocol.to_owned()];
    config
}
