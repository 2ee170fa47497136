//! Owns the tests of runs with TLS, and of what is told of servers that do not keep to the terms.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::server::{ProducesTickets, WantsServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{AlertDescription, CertificateError, ConfigBuilder, Error, ServerConfig};

use super::stage::{
    AUTHORITY, CHANGED, INTACT, Spoil, Stage, broken_proxy, plain_proxy, server_config, tls_proxy,
};
use crate::certificates::{Authority, Identity};
use crate::load::tls::Violation;
use crate::load::{Fault, Hold, Pace, Task, Work};
use crate::peer;

fn identity(work: Work) -> Identity {
    work.terms().unwrap().identity
}

#[test]
fn every_work_with_tls_goes_through_a_plain_proxy_at_both_paces() {
    let mut stage = Stage::new();
    let proxy = |identity| tls_proxy(stage.backend, server_config(identity));
    let (ecdsa, rsa) = (proxy(Identity::Ecdsa), proxy(Identity::Rsa));
    let is_many = |work| work == Work::TlsPingPong2000;
    for work in Work::ALL.into_iter().filter(|work| work.terms().is_some() && !is_many(*work)) {
        if work.task() == Task::Hold {
            continue;
        }
        let target = if identity(work) == Identity::Ecdsa { ecdsa } else { rsa };
        let is_stream = work.as_str().contains("load");
        let rate = if is_stream { 5e7 } else { 100.0 };
        for pace in [Pace::Full, Pace::Rate(rate)] {
            let outcome = stage.run(work, pace, target).unwrap();
            assert!(outcome.tally.units > 0, "{work:?} {pace:?}");
        }
    }
}

#[test]
fn connections_with_tls_are_held() {
    let mut stage = Stage::new();
    let target = tls_proxy(stage.backend, server_config(Identity::Ecdsa));
    let terms = Work::TlsIdle.terms();
    let hold = Hold { terms, target, few: 2, all: 20, quiet: Duration::ZERO };
    stage.site.hold(&hold, || Ok(())).unwrap();
}

fn fault(work: Work, config: ServerConfig) -> Option<Fault> {
    let mut stage = Stage::new();
    let target = tls_proxy(stage.backend, config);
    stage.run(work, Pace::Full, target).err()
}

#[test]
fn a_server_without_tickets_can_not_be_resumed() {
    let mut config = server_config(Identity::Ecdsa);
    config.send_tls13_tickets = 0;
    assert_eq!(fault(Work::TlsResume, config), Some(Fault::NoTickets));
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
fn handshakes_that_are_not_resumed_are_counted_and_told() {
    let mut config = server_config(Identity::Ecdsa);
    config.ticketer = Arc::new(Forgetful);
    match fault(Work::TlsResume, config) {
        Some(Fault::Disagreed { violation: Violation::NotResumed, count, of }) => {
            // Those that gathered the tickets were meant to be full.
            assert!(count > 0 && of > count, "{count} of {of}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let (certificate, key) = Authority::generate().unwrap().server(Identity::Ecdsa);
    let config = peer::tls_config(vec![certificate], key).unwrap();
    // Both authorities have the same name.
    let expected = Error::InvalidCertificate(CertificateError::BadSignature);
    assert_eq!(fault(Work::TlsConnect, config), Some(Fault::Tls(expected)));
}

#[test]
fn a_signature_with_another_key_is_refused() {
    let (certificate, _) = AUTHORITY.server(Identity::Ecdsa);
    let (_, other) = Authority::generate().unwrap().server(Identity::Ecdsa);
    let key = aws_lc_rs::sign::any_ecdsa_type(&other).unwrap();
    let shown = CertifiedKey::new(vec![certificate], key);
    let config = builder(aws_lc_rs::default_provider());
    let config = config.with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    let expected = Error::InvalidCertificate(CertificateError::BadSignature);
    assert_eq!(fault(Work::TlsConnect, config), Some(Fault::Tls(expected)));
}

fn builder(provider: CryptoProvider) -> ConfigBuilder<ServerConfig, WantsServerCert> {
    ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
}

#[test]
fn a_server_that_does_not_have_the_suite_is_told() {
    let (certificate, key) = AUTHORITY.server(Identity::Ecdsa);
    let provider = CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_256_GCM_SHA384],
        ..aws_lc_rs::default_provider()
    };
    let config = builder(provider).with_single_cert(vec![certificate], key).unwrap();
    let expected = Error::AlertReceived(AlertDescription::HandshakeFailure);
    assert_eq!(fault(Work::TlsPingPong64, config), Some(Fault::Tls(expected)));
}

#[test]
fn a_server_that_speaks_no_tls_is_told() {
    let mut stage = Stage::new();
    let target = plain_proxy(stage.backend);
    let result = stage.run(Work::TlsConnect, Pace::Full, target);
    assert!(matches!(result.err(), Some(Fault::Tls(_))));
}

/// Ends TLS in front of a proxy that breaks what it carries.
fn run_spoiled(work: Work, there: Spoil, back: Spoil) -> Option<Fault> {
    let mut stage = Stage::new();
    let broken = broken_proxy(stage.backend, there, back);
    let target = tls_proxy(broken.into(), server_config(Identity::Ecdsa));
    stage.run(work, Pace::Full, target).err()
}

#[test]
fn a_byte_changed_behind_tls_is_found_out() {
    for work in [Work::TlsPingPong64, Work::TlsConnect, Work::TlsDownload128] {
        let fault = run_spoiled(work, INTACT, CHANGED);
        assert_eq!(fault, Some(Fault::WrongBytes), "{work:?}");
    }
    let fault = run_spoiled(Work::TlsUpload128, CHANGED, INTACT);
    assert_eq!(fault, Some(Fault::WrongBytes));
}

#[test]
fn streams_that_lose_their_end_behind_tls_are_found_out() {
    static PASSED: AtomicUsize = AtomicUsize::new(0);
    let cut: Spoil = |bytes| {
        let is_late = PASSED.fetch_add(bytes.len(), Ordering::Relaxed) > 1_000_000;
        Some(if is_late { &[] } else { bytes })
    };
    assert_eq!(run_spoiled(Work::TlsUpload256, cut, INTACT), Some(Fault::WrongBytes));
    PASSED.store(0, Ordering::Relaxed);
    assert_eq!(run_spoiled(Work::TlsDownload256, INTACT, cut), Some(Fault::WrongBytes));
}

#[test]
fn a_sealed_byte_that_is_changed_is_found_out() {
    let mut stage = Stage::new();
    let tls = tls_proxy(stage.backend, server_config(Identity::Ecdsa));
    // Past the server's first flight, whose end a handshake would notice as well.
    let target = broken_proxy(tls.into(), INTACT, |bytes| {
        if bytes.len() < 500 { CHANGED(bytes) } else { Some(bytes) }
    });
    let result = stage.run(Work::TlsPingPong64, Pace::Full, target);
    assert_eq!(result.err(), Some(Fault::Tls(Error::DecryptError)));
}
