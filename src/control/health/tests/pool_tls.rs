//! The check `tls`: who passes a whole handshake with the pool's own settings, and who does not.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::DefaultTimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::server::{asking, serve};
use crate::config::Check;
use crate::control::health::{ProbeFailure, Prober};
use crate::tls::{Alpn, Authorities, ClientOptions, ClientTls, Clock, MinVersion, NameSource};

/// An authority, and what it has issued for `agg.test` to both sides.
struct House {
    folder: TempDir,
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
    roots: Arc<RootCertStore>,
}

impl House {
    fn new() -> House {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["agg.test".to_owned()]).unwrap();
        let own = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(folder.path().join("own.pem"), own.pem()).unwrap();
        std::fs::write(folder.path().join("own.key"), key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        House { folder, chain: vec![own.der().clone()], key, roots: Arc::new(roots) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A backend that ends in order what was begun; it may want a certificate of the prober.
    async fn backend(
        &self,
        version: &'static SupportedProtocolVersion,
        wants_certificate: bool,
    ) -> SocketAddr {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        let roots = Arc::clone(&self.roots);
        let verifier = match wants_certificate {
            true => WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap(),
            false => WebPkiClientVerifier::no_client_auth(),
        };
        let key = PrivateKeyDer::Pkcs8(self.key.serialize_der().into());
        let builder = builder.with_client_cert_verifier(verifier);
        let config = builder.with_single_cert(self.chain.clone(), key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        serve(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                stream.read_to_end(&mut Vec::new()).await.ok();
                stream.shutdown().await.ok();
            }
        })
        .await
    }

    fn settings(&self, change: impl FnOnce(&mut ClientOptions)) -> Arc<ArcSwap<ClientTls>> {
        let mut options = ClientOptions {
            ca: Authorities::File(self.path("ca.pem")),
            server_name: NameSource::Backend,
            certificate: None,
            key: None,
            alpn: Alpn::Offer(Vec::new()),
            min_version: MinVersion::Tls12,
            resumption: true,
            handshake_timeout: Duration::from_secs(5),
            insecure_skip_verify: false,
        };
        change(&mut options);
        let clock: Clock = Arc::new(DefaultTimeProvider);
        let tls = ClientTls::load(&options, &clock, UnixTime::now()).unwrap();
        Arc::new(ArcSwap::from_pointee(tls))
    }
}

fn show_own(folder: &Path) -> impl Fn(&mut ClientOptions) {
    let (certificate, key) = (folder.join("own.pem"), folder.join("own.key"));
    move |options| {
        options.certificate = Some(certificate.clone());
        options.key = Some(key.clone());
    }
}

async fn probe(
    settings: &Arc<ArcSwap<ClientTls>>,
    asked: Option<&str>,
    name: &str,
    address: SocketAddr,
) -> Result<(), ProbeFailure> {
    let health = asking(Check::Tls { server_name: asked.map(str::to_owned) });
    let prober = Prober::new(&health, Some(Arc::clone(settings))).unwrap();
    prober.probe(name, &[address]).await
}

#[tokio::test]
async fn a_backend_must_prove_who_it_is() {
    let house = House::new();
    let settings = house.settings(|_| {});
    for version in [&TLS12, &TLS13] {
        let address = house.backend(version, false).await;
        let failed = Err(ProbeFailure::Tls);
        assert_eq!(probe(&settings, None, "agg.test:6000", address).await, Ok(()));
        assert_eq!(probe(&settings, None, "other.test:6000", address).await, failed);
        assert_eq!(probe(&settings, None, "127.0.0.1:6000", address).await, failed);
        let other = House::new();
        let trusting_others = other.settings(|_| {});
        assert_eq!(probe(&trusting_others, None, "agg.test", address).await, failed);
        // A renewal is seen by the probes after it.
        trusting_others.store(settings.load_full());
        assert_eq!(probe(&trusting_others, None, "agg.test", address).await, Ok(()));
    }
}

#[tokio::test]
async fn where_clients_name_the_server_the_check_does() {
    let house = House::new();
    let address = house.backend(&TLS13, false).await;
    let settings = house.settings(|options| options.server_name = NameSource::Client);
    assert_eq!(probe(&settings, Some("agg.test"), "b", address).await, Ok(()));
    assert_eq!(probe(&settings, Some("b.test"), "b", address).await, Err(ProbeFailure::Tls));
}

/// In TLS 1.3 that is said when the handshake seems to be over.
#[tokio::test]
async fn a_backend_that_refuses_the_pools_certificate_is_not_well() {
    let house = House::new();
    let stranger = House::new();
    for version in [&TLS12, &TLS13] {
        let address = house.backend(version, true).await;
        let own = house.settings(show_own(house.folder.path()));
        assert_eq!(probe(&own, None, "agg.test", address).await, Ok(()));
        let nothing = house.settings(|_| {});
        assert_eq!(probe(&nothing, None, "agg.test", address).await, Err(ProbeFailure::Tls));
        let foreign = house.settings(show_own(stranger.folder.path()));
        assert_eq!(probe(&foreign, None, "agg.test", address).await, Err(ProbeFailure::Tls));
    }
}

#[tokio::test]
async fn a_backend_that_speaks_no_tls_is_not_well() {
    let house = House::new();
    let settings = house.settings(|_| {});
    let closes = serve(|stream| async move { drop(stream) }).await;
    assert!(probe(&settings, None, "agg.test", closes).await.is_err());
    let chats = serve(|mut stream| async move {
        stream.write_all(b"220 hello\r\n").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.ok();
    });
    let chats = chats.await;
    assert_eq!(probe(&settings, None, "agg.test", chats).await, Err(ProbeFailure::Tls));
}
