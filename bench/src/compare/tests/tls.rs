//! Owns the tests of runs with TLS, and of what is told of servers that do not keep to the terms.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert, WantsServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ConfigBuilder, ServerConfig};

use super::super::subject::{Speed, Subject};
use super::super::work::{Task, Work};
use super::stage::{CHANGED, INTACT, Places, Spoil, Stage, broken_proxy, plain_proxy, tls_proxy};
use crate::certificates::{Authority, Identity};
use crate::peer;

#[test]
fn every_work_with_tls_goes_through_a_plain_proxy_at_both_speeds() {
    let stage = Stage::new();
    let proxy = |identity| tls_proxy(stage.backend, stage.server_config(identity));
    let (ecdsa, rsa) = (proxy(Identity::Ecdsa), proxy(Identity::Rsa));
    for work in Work::ALL.into_iter().filter(|&work| work != Work::TlsPingPong2000) {
        let (Some(terms), Task::Carry(_)) = (work.terms(), work.task()) else { continue };
        let target = if terms.identity == Identity::Ecdsa { ecdsa } else { rsa };
        let is_stream = work.as_str().contains("load");
        let rate = if is_stream { 5e7 } else { 100.0 };
        for speed in [Speed::Full, Speed::Rate(rate)] {
            let figures = stage.run(work, speed, target);
            assert!(
                figures.as_ref().is_ok_and(|of| of.rate > 0.0),
                "{work:?} {speed:?}: {:?}",
                figures.err()
            );
        }
    }
}

#[test]
fn connections_with_tls_are_held() {
    let stage = Stage::new();
    let target = tls_proxy(stage.backend, stage.server_config(Identity::Ecdsa));
    stage.hold(Work::TlsIdle, [2, 20], target, || Ok(())).unwrap();
}

#[test]
fn a_server_without_tickets_can_not_be_resumed() {
    let stage = Stage::new();
    let mut config = stage.server_config(Identity::Ecdsa);
    config.send_tls13_tickets = 0;
    let target = tls_proxy(stage.backend, config);
    assert_eq!(stage.fault(Work::TlsResume, target), "no_tickets");
}

/// Makes tickets and knows none of them.
#[derive(Debug)]
struct Forgetful;

impl ProducesTickets for Forgetful {
    fn enabled(&self) -> bool {
        true
    }
    fn lifetime(&self) -> u32 {
        3600
    }
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        Some(plain.to_vec())
    }
    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

#[test]
fn handshakes_that_are_not_resumed_are_told() {
    let stage = Stage::new();
    let mut config = stage.server_config(Identity::Ecdsa);
    config.ticketer = Arc::new(Forgetful);
    let target = tls_proxy(stage.backend, config);
    assert_eq!(stage.fault(Work::TlsResume, target), "handshake_disagreed");
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let stage = Stage::new();
    let (certificate, key) = Authority::generate().unwrap().server(Identity::Ecdsa);
    let config = peer::tls_config(vec![certificate], key).unwrap();
    let target = tls_proxy(stage.backend, config);
    assert_eq!(stage.fault(Work::TlsConnect, target), "tls_certificate");
}

#[test]
fn a_signature_with_another_key_is_refused() {
    let stage = Stage::new();
    let (certificate, _) = stage.between.material.authority.server(Identity::Ecdsa);
    let (_, other) = Authority::generate().unwrap().server(Identity::Ecdsa);
    let key = aws_lc_rs::sign::any_ecdsa_type(&other).unwrap();
    let shown = CertifiedKey::new(vec![certificate], key);
    let config = builder(aws_lc_rs::default_provider());
    let config = config.with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    let target = tls_proxy(stage.backend, config);
    assert_eq!(stage.fault(Work::TlsConnect, target), "tls_certificate");
}

fn builder(provider: CryptoProvider) -> ConfigBuilder<ServerConfig, WantsServerCert> {
    ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
}

/// A proxy that ends TLS with one suite.
fn with_aes_256_alone(stage: &Stage) -> SocketAddrV4 {
    let (certificate, key) = stage.between.material.authority.server(Identity::Ecdsa);
    let provider = CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_256_GCM_SHA384],
        ..aws_lc_rs::default_provider()
    };
    let config = builder(provider).with_single_cert(vec![certificate], key).unwrap();
    tls_proxy(stage.backend, config)
}

#[test]
fn a_server_that_does_not_have_the_suite_is_told() {
    let stage = Stage::new();
    let target = with_aes_256_alone(&stage);
    assert_eq!(stage.fault(Work::TlsConnect, target), "tls_alert");
    assert_eq!(stage.fault(Work::TlsPingPong64, target), "not_connected");
}

#[test]
fn each_work_takes_the_suite_that_its_name_says() {
    let stage = Stage::new();
    let target = with_aes_256_alone(&stage);
    for work in [Work::TlsDownload256, Work::TlsUpload256] {
        assert_eq!(stage.fault(work, target), "", "{work:?}");
    }
}

#[test]
fn each_certificate_is_asked_for_where_it_is_shown() {
    let stage = Stage::new();
    let proxy = |identity| tls_proxy(stage.backend, stage.server_config(identity));
    let nowhere = plain_proxy(stage.backend);
    let ecdsa = Places { ecdsa: proxy(Identity::Ecdsa), ..Places::all_at(nowhere) };
    let rsa = Places { rsa: proxy(Identity::Rsa), ..Places::all_at(nowhere) };
    for (work, places) in [(Work::TlsConnect, ecdsa), (Work::TlsConnectRsa, rsa)] {
        let figures = stage.run_subject(Subject::Work(work), Speed::Full, &places);
        assert!(figures.is_ok(), "{work:?}: {:?}", figures.err());
    }
}

/// Shows one certificate so many times, and then another.
#[derive(Debug)]
struct Changing {
    first: Arc<CertifiedKey>,
    then: Arc<CertifiedKey>,
    shown: AtomicUsize,
}

impl ResolvesServerCert for Changing {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_first = self.shown.fetch_add(1, Ordering::Relaxed) < 10;
        Some(Arc::clone(if is_first { &self.first } else { &self.then }))
    }
}

/// What is said of a server that begins well, and then has another key: that of its certificate,
/// which nobody has signed whom clients trust, or one that is not.
fn fault_of_a_change(has_other_certificate: bool) -> String {
    let stage = Stage::new();
    let known = stage.between.material.authority.server(Identity::Ecdsa);
    let other = Authority::generate().unwrap().server(Identity::Ecdsa);
    let shown = |certificate, key| {
        Arc::new(CertifiedKey::new(
            vec![certificate],
            aws_lc_rs::sign::any_ecdsa_type(key).unwrap(),
        ))
    };
    let certificate = if has_other_certificate { &other.0 } else { &known.0 };
    let resolver = Changing {
        first: shown(known.0.clone(), &known.1),
        then: shown(certificate.clone(), &other.1),
        shown: AtomicUsize::new(0),
    };
    let config = builder(aws_lc_rs::default_provider()).with_cert_resolver(Arc::new(resolver));
    stage.fault(Work::TlsConnect, tls_proxy(stage.backend, config))
}

#[test]
fn a_certificate_that_changes_is_verified_anew() {
    assert_eq!(fault_of_a_change(true), "tls_certificate");
}

#[test]
fn signatures_are_looked_at_again_and_again() {
    assert_eq!(fault_of_a_change(false), "tls_certificate");
}

#[test]
fn a_server_that_speaks_no_tls_is_told() {
    let stage = Stage::new();
    let target = plain_proxy(stage.backend);
    // The backend makes nothing of a hello, and says so by its end.
    let said = stage.fault(Work::TlsConnect, target);
    assert!(["closed", "reset"].contains(&&*said), "{said}");
}

/// Ends TLS in front of a proxy that breaks what it carries.
fn fault_behind(work: Work, there: Spoil, back: Spoil) -> String {
    let stage = Stage::new();
    let broken = broken_proxy(stage.backend, there, back);
    let target = tls_proxy(broken.into(), stage.server_config(Identity::Ecdsa));
    stage.fault(work, target)
}

#[test]
fn a_byte_changed_behind_tls_is_found_out() {
    for work in [Work::TlsPingPong64, Work::TlsConnect] {
        assert_eq!(fault_behind(work, INTACT, CHANGED), "wrong_bytes", "{work:?}");
    }
    let streams = [
        fault_behind(Work::TlsDownload128, INTACT, CHANGED),
        fault_behind(Work::TlsUpload128, CHANGED, INTACT),
    ];
    for said in streams {
        // It may be one of a header.
        assert!(["wrong_bytes", "malformed"].contains(&&*said), "{said}");
    }
}

#[test]
fn streams_that_lose_their_end_behind_tls_are_found_out() {
    static PASSED: AtomicUsize = AtomicUsize::new(0);
    let cut: Spoil = |bytes| {
        let is_late = PASSED.fetch_add(bytes.len(), Ordering::Relaxed) > 5_000_000;
        Some(if is_late { &[] } else { bytes })
    };
    assert_eq!(fault_behind(Work::TlsUpload256, cut, INTACT), "lost");
    PASSED.store(0, Ordering::Relaxed);
    assert_eq!(fault_behind(Work::TlsDownload256, INTACT, cut), "lost");
}

#[test]
fn a_sealed_byte_that_is_changed_is_found_out() {
    let stage = Stage::new();
    let tls = tls_proxy(stage.backend, stage.server_config(Identity::Ecdsa));
    // Past the server's first flight, whose end a handshake would notice as well.
    let target = broken_proxy(tls.into(), INTACT, |bytes| {
        if bytes.len() < 500 { CHANGED(bytes) } else { Some(bytes) }
    });
    assert_eq!(stage.fault(Work::TlsConnect, target), "tls_decrypt");
}
