//! Which parties of a run speak TLS with whom, and their keys and certificates. Keys are made once;
//! what remembers sessions is made for each run, which is therefore the same each time. So are
//! the lengths of everything that is sent: signatures by Ed25519 have one length.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use fastrand::Rng;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ED25519};
use ringmain::balance::PoolId;
use ringmain::engine::Time;
use ringmain::tls::{
    Alpn, Authorities, CertificateFiles, ClientAuth, ClientOptions, ClientTls, Connection,
    MinVersion, NameSource, ServerOptions, ServerTls, TicketOptions, Tickets,
};
use ringmain::view::{Outcome, PlainText, Preface, Routes};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;

/// Where TLS is spoken on the way from a listener's clients to its backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    Nowhere,
    /// From end to end; the proxy reads the hello.
    Passthrough,
    /// Between the clients and the proxy.
    Termination,
    /// Between the proxy and the backends.
    Origination,
    /// On both sides of the proxy.
    Reencryption,
}

impl Security {
    /// Clients speak it.
    pub fn of_clients(self) -> bool {
        !matches!(self, Security::Nowhere | Security::Origination)
    }

    /// Backends speak it.
    pub fn of_backends(self) -> bool {
        !matches!(self, Security::Nowhere | Security::Termination)
    }

    /// The proxy sees the end of a stream of the clients as TLS says it.
    pub fn ends_here(self) -> bool {
        matches!(self, Security::Termination | Security::Reencryption)
    }

    /// The proxy sees the end of a stream of the backends as TLS says it.
    pub fn begins_here(self) -> bool {
        matches!(self, Security::Origination | Security::Reencryption)
    }
}

/// What one end of a connection speaks.
#[derive(Clone, Default)]
pub enum Wire {
    #[default]
    Plain,
    Client(Arc<ClientConfig>, Arc<Clock>),
    Server(Arc<ServerConfig>, Arc<Clock>),
}

impl Wire {
    /// The TLS to speak, if any.
    pub fn connection(&self) -> Option<(Connection, Arc<Clock>)> {
        let (connection, clock) = match self {
            Wire::Plain => return None,
            Wire::Client(config, clock) => {
                let name = ServerName::try_from(NAME).unwrap();
                (Connection::client(config.clone(), name), clock)
            }
            Wire::Server(config, clock) => (Connection::server(config.clone()), clock),
        };
        Some((connection.unwrap(), clock.clone()))
    }

    pub fn is_plain(&self) -> bool {
        matches!(self, Wire::Plain)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wire::Plain => "Plain",
            Wire::Client(..) => "Client",
            Wire::Server(..) => "Server",
        })
    }
}

/// The time of day in a run, which passes with its virtual time.
#[derive(Debug)]
pub struct Clock(AtomicU64);

impl Clock {
    pub fn set(&self, now: Time) {
        self.0.store(START + now.as_nanos() / 1_000_000_000, Ordering::Relaxed);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::Relaxed))))
    }
}

/// What all parties of a run have.
pub struct Keyring {
    clock: Arc<Clock>,
    /// TLS 1.3, TLS 1.2.
    clients: [Arc<ClientConfig>; 2],
    backends: Arc<ServerConfig>,
    /// The proxy's, towards clients and towards backends.
    ended: Arc<ServerTls>,
    begun: Arc<ClientTls>,
}

impl Keyring {
    /// `patience`: how long the proxy lets a handshake take.
    pub fn new(patience: Duration) -> Keyring {
        let clock = Arc::new(Clock(AtomicU64::new(START)));
        let now = clock.current_time().unwrap();
        let tickets = Tickets::new(clock.clone());
        let ended = ServerTls::load(&server_options(patience), &tickets, now).unwrap();
        let begun = ClientTls::load(&client_options(patience), &(clock.clone() as _), now).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let client = |version| {
            let mut roots = RootCertStore::empty();
            roots.add(MADE.authority.clone()).unwrap();
            let config = ClientConfig::builder_with_details(provider.clone(), clock.clone())
                .with_protocol_versions(&[version]);
            let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
            config.enable_secret_extraction = true;
            Arc::new(config)
        };
        let mut backends = ServerConfig::builder_with_details(provider.clone(), clock.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![MADE.certificate.clone()], MADE.key.clone_key())
            .unwrap();
        backends.enable_secret_extraction = true;
        Keyring {
            clients: [client(&TLS13), client(&TLS12)],
            backends: Arc::new(backends),
            ended: Arc::new(ended),
            begun: Arc::new(begun),
            clock,
        }
    }

    pub fn client(&self, security: Security, random: &mut Rng) -> Wire {
        match security.of_clients() {
            true => Wire::Client(self.clients[random.usize(..2)].clone(), self.clock.clone()),
            false => Wire::Plain,
        }
    }

    pub fn backend(&self, security: Security) -> Wire {
        match security.of_backends() {
            true => Wire::Server(self.backends.clone(), self.clock.clone()),
            false => Wire::Plain,
        }
    }

    /// What the proxy reads first where clients speak TLS.
    pub fn preface(&self, security: Security, pool: PoolId, timeout: Duration) -> Option<Preface> {
        let tls = security.ends_here().then(|| self.ended.clone());
        let routes = Routes::new(Outcome::Relay { pool, tls }, []);
        let plain_text = PlainText::Reject;
        security.of_clients().then_some(Preface { timeout, size: 4096, plain_text, routes })
    }

    /// How the proxy speaks with the backends.
    pub fn towards(&self, security: Security) -> Option<Arc<ClientTls>> {
        security.begins_here().then(|| self.begun.clone())
    }
}

/// What is made once.
struct Made {
    folder: TempDir,
    authority: CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

static MADE: LazyLock<Made> = LazyLock::new(|| {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.serial_number = Some(1.into());
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
    params.serial_number = Some(2.into());
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in
        [(AUTHORITY, authority.pem()), (CHAIN, certificate.pem()), (KEY, key.serialize_pem())]
    {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    Made {
        folder,
        authority: authority.der().clone(),
        certificate: certificate.der().clone(),
        key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
    }
});

impl Made {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn server_options(handshake_timeout: Duration) -> ServerOptions {
    ServerOptions {
        name: "edge".to_owned(),
        certificates: vec![CertificateFiles {
            chain: MADE.file(CHAIN),
            key: MADE.file(KEY),
            staple: None,
        }],
        min_version: MinVersion::Tls12,
        cipher_suites: Vec::new(),
        alpn: Vec::new(),
        client_auth: ClientAuth::Off,
        client_ca: None,
        client_crls: Vec::new(),
        // Some tickets are too old when their clients come again.
        tickets: Some(TicketOptions { lifetime: Duration::from_secs(1), keys: None }),
        handshake_timeout,
    }
}

fn client_options(handshake_timeout: Duration) -> ClientOptions {
    ClientOptions {
        ca: Authorities::File(MADE.file(AUTHORITY)),
        server_name: NameSource::Fixed(NAME.to_owned()),
        certificate: None,
        key: None,
        alpn: Alpn::Offer(Vec::new()),
        min_version: MinVersion::Tls12,
        resumption: true,
        handshake_timeout,
        insecure_skip_verify: false,
    }
}

/// Whom everyone asks for.
const NAME: &str = "everyone.test";

const AUTHORITY: &str = "authority.pem";
const CHAIN: &str = "everyone.pem";
const KEY: &str = "everyone.key";

/// 2027-01-01 00:00:00 UTC.
const START: u64 = 1_798_761_600;
