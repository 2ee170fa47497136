//! The side towards backends: whom to believe, what to show and what to ask for, from its files.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
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
use super::part::{Part, Taking};
use super::problem::{Concern, Findings, MaterialError, MaterialWarning, Problem, Renewal};
use super::server::is_slow;
use super::settings::{Clock, Expiry, MinVersion, provider};
use super::trust::{Anchors, SYSTEM_BUNDLES, Unverified, server_verifier, sha256, system_bundle};

/// How TLS is spoken with the backends of a pool. Immutable: a renewal is a new one.
#[derive(Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    /// By what was agreed with the client; for `Alpn::AsAgreed` only.
    agreed: Option<HashMap<Vec<u8>, Arc<ClientConfig>>>,
    server_name: NameSource,
    fixed: Option<ServerName<'static>>,
    handshake_timeout: Duration,
    parts: Parts,
    warnings: Vec<MaterialWarning>,
    expiries: Vec<Expiry>,
}

/// What is renewed by itself.
#[derive(Debug)]
struct Parts {
    verifier: Part<Arc<dyn ServerCertVerifier>>,
    /// None: nothing is shown to backends.
    identity: Option<Part<Identity>>,
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

impl ClientOptions {
    /// All files that are read.
    pub fn files(&self) -> Vec<PathBuf> {
        let ca = match &self.ca {
            _ if self.insecure_skip_verify => None,
            Authorities::System => system_bundle(SYSTEM_BUNDLES),
            Authorities::File(path) => Some(path.clone()),
        };
        ca.into_iter().chain(self.certificate.clone()).chain(self.key.clone()).collect()
    }
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
        refuse_halves(options, &mut findings);
        let provider = provider(&[], options.min_version, &mut findings);
        let mut taking = Taking::new(now);
        taking.errors = findings.errors;
        let parts = Parts::load(options, &provider, None, now, &mut taking);
        match parts {
            Some(parts) if taking.errors.is_empty() => {
                ClientTls::build(options, provider, clock, fixed, parts, taking)
            }
            _ => Err(taking.errors),
        }
    }

    /// Loads again what the same options name. The authorities, and the pair of certificate and
    /// key: each of these is taken as a whole, or stays as it is.
    pub fn renewed(
        &self,
        options: &ClientOptions,
        clock: &Clock,
        now: UnixTime,
    ) -> Renewal<ClientTls> {
        let provider = provider(&[], options.min_version, &mut Findings::default());
        let mut taking = Taking::new(now);
        let parts = Parts::load(options, &provider, Some(&self.parts), now, &mut taking);
        let mut errors = std::mem::take(&mut taking.errors);
        let Some(parts) = parts.filter(|_| taking.changed) else {
            return Renewal { fresh: None, errors };
        };
        let fixed = self.fixed.clone();
        let built = ClientTls::build(options, provider, clock, fixed, parts, taking);
        let fresh = built.map_err(|more| errors.extend(more)).ok();
        Renewal { fresh, errors }
    }

    /// Sessions are remembered anew: none may be resumed under other authorities, or as somebody
    /// else.
    fn build(
        options: &ClientOptions,
        provider: Arc<CryptoProvider>,
        clock: &Clock,
        fixed: Option<ServerName<'static>>,
        parts: Parts,
        taken: Taking,
    ) -> Result<ClientTls, Vec<MaterialError>> {
        let refused = |error: rustls::Error| {
            let problem = Problem::Refused(error.to_string());
            vec![MaterialError::of_setting("min_version", problem)]
        };
        let config = Arc::new(configure(options, provider, clock, &parts).map_err(refused)?);
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
            parts,
            warnings: taken.warnings,
            expiries: taken.expiries,
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

    /// Whether the certificate that backends may ask for signs for milliseconds.
    pub fn signs_slowly(&self) -> bool {
        self.parts.identity.as_ref().is_some_and(|part| is_slow(&part.value))
    }

    /// What to ask the backend for. `backend` is what it goes by: its host name, or an address, for
    /// which `address` stands, either with a port or without; it may be empty. `asked` is what the
    /// client asked for. `Err`: the backend can not be verified.
    pub fn name_for(
        &self,
        backend: &str,
        address: IpAddr,
        asked: Option<&str>,
    ) -> Result<ServerName<'static>, NameError> {
        if let Some(fixed) = &self.fixed {
            return Ok(fixed.clone());
        }
        if self.server_name == NameSource::Client {
            return named(asked.ok_or(NameError::NotAsked)?);
        }
        let is_address = backend.parse::<IpAddr>().is_ok() || backend.parse::<SocketAddr>().is_ok();
        if is_address || backend.is_empty() {
            return Ok(ServerName::IpAddress(address.into()));
        }
        named(backend.split_once(':').map_or(backend, |(host, _port)| host))
    }

    /// What was found that does not keep it from being used.
    pub fn warnings(&self) -> &[MaterialWarning] {
        &self.warnings
    }

    /// When its certificate and its authorities lapse, those of this host aside.
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

/// A pair has both halves.
fn refuse_halves(options: &ClientOptions, findings: &mut Findings) {
    match (&options.certificate, &options.key) {
        (Some(chain), None) => {
            findings.refuse("certificate", Some(chain), Problem::CertificateWithoutKey);
        }
        (None, Some(key)) => findings.refuse("key", Some(key), Problem::KeyWithoutCertificate),
        _ => {}
    }
}

impl Parts {
    /// Reads all files. None: a part could not be loaded and there was none before.
    fn load(
        options: &ClientOptions,
        provider: &Arc<CryptoProvider>,
        before: Option<&Parts>,
        now: UnixTime,
        taking: &mut Taking,
    ) -> Option<Parts> {
        let loaded = Part::load(|findings| verifier(options, provider, now, findings));
        let verifier = taking.take(before.map(|before| &before.verifier), loaded);
        let identity =
            options.certificate.as_ref().zip(options.key.as_ref()).map(|(chain, key)| {
                let chain = Named { key: "certificate", file: chain };
                let key = Named { key: "key", file: key };
                let loaded = Part::load(|findings| {
                    let identity = Identity::load(chain, key, None, provider, now, findings)?;
                    let digest = identity.digest();
                    Some((identity, digest))
                });
                taking.take(before.and_then(|before| before.identity.as_ref()), loaded)
            });
        let identity = identity.map_or(Some(None), |identity| identity.map(Some));
        Some(Parts { verifier: verifier?, identity: identity? })
    }
}

fn configure(
    options: &ClientOptions,
    provider: Arc<CryptoProvider>,
    clock: &Clock,
    parts: &Parts,
) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_details(provider, Arc::clone(clock))
        .with_protocol_versions(options.min_version.versions())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&parts.verifier.value));
    let mut config = match &parts.identity {
        Some(identity) => {
            let shown = SingleCertAndKey::from(Arc::clone(&identity.value.certified));
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
    // The records that follow the handshake are sealed and opened without rustls.
    config.enable_secret_extraction = true;
    Ok(config)
}

/// Sessions that are remembered for resumption, of all backends of a pool. rustls keeps up to
/// eight of each name, behind one lock for all workers: its calls took 0.1 microseconds each alone
/// and 0.15 with four threads at it, of the hundreds that a handshake takes.
const REMEMBERED: usize = 2_048;

fn verifier(
    options: &ClientOptions,
    provider: &Arc<CryptoProvider>,
    now: UnixTime,
    findings: &mut Findings,
) -> Option<(Arc<dyn ServerCertVerifier>, [u8; 32])> {
    if options.insecure_skip_verify {
        findings.warn("insecure_skip_verify", None, Concern::Unverified);
        return Some((Arc::new(Unverified(provider.signature_verification_algorithms)), [0; 32]));
    }
    let (file, anchors) = match &options.ca {
        Authorities::System => {
            let anchors = Anchors::of_system(SYSTEM_BUNDLES);
            (None, anchors.map_err(|problem| findings.refuse("ca", None, problem)).ok()?)
        }
        Authorities::File(path) => {
            let named = Named { key: "ca", file: path };
            (Some(path.as_path()), Anchors::load(named, now, findings)?)
        }
    };
    let digest = sha256(anchors.digests.as_flattened());
    let verifier = server_verifier(&anchors, provider);
    let verifier = verifier.map_err(|problem| findings.refuse("ca", file, problem)).ok()?;
    Some((verifier, digest))
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
