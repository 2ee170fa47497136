//! Owns the proof that agents of a target believe whom they are told to believe, and nobody else.

use rustls::pki_types::ServerName;

use super::super::agents::{Fault, Site};
use super::super::bench::failure;
use super::super::cause::Cause;
use super::super::course::Arrivals;
use super::super::order::Order;
use super::super::protocol::Protocol;
use super::super::tls::{Material, Trust};
use super::scene::{backend, open, order, play_trusting};

const SEALED: [Protocol; 4] =
    [Protocol::TlsEcho, Protocol::TlsResume, Protocol::SyslogTls, Protocol::VectorTls];

fn short(protocol: Protocol) -> Order {
    order(protocol, 4, open(50.0, Arrivals::Constant), 2)
}

fn name(text: &str) -> ServerName<'static> {
    ServerName::try_from(text.to_owned()).unwrap()
}

/// An authority for servers of this name.
fn authority_of(text: &str) -> Material {
    Material::generate_for(name(text)).unwrap()
}

fn root(material: &Material) -> Vec<rustls::pki_types::CertificateDer<'static>> {
    vec![material.authority.root().clone()]
}

#[test]
fn whom_a_given_authority_vouches_for_is_believed() {
    for text in ["logs.example", "127.0.0.1"] {
        let (target, other) = (authority_of(text), authority_of(text));
        // A file may have others as well, and before it.
        let trust = Trust::new([root(&other), root(&target)].concat(), name(text));
        for protocol in SEALED {
            let outcome = play_trusting(&short(protocol), &target, &trust).unwrap();
            let counts = outcome.tally.counts();
            assert_eq!((counts.sent, counts.answered), (100, 100), "{protocol:?}: {counts:?}");
        }
    }
}

#[test]
fn who_can_not_be_believed_is_refused_with_the_reason() {
    let (target, other) = (authority_of("logs.example"), authority_of("logs.example"));
    for protocol in SEALED {
        for (trust, reason) in [
            (Trust::new(root(&other), name("logs.example")), "its signature is of another key"),
            (Trust::new(root(&target), name("metrics.example")), "not for the name asked for"),
            (Trust::new(root(&target), name("127.0.0.1")), "not for the name asked for"),
        ] {
            let order = short(protocol);
            let fault = play_trusting(&order, &target, &trust).err().unwrap();
            let refused = matches!(
                fault,
                Fault::NotConnected { cause: Some(Cause::Certificate(_)), connected: 0, .. }
            );
            assert!(refused, "{protocol:?}: {fault:?}");
            let site = Site { target: backend(0), sources: Vec::new(), tls: None, host: None };
            let said = failure(fault, &order, &[site]).to_string();
            assert!(said.contains(reason) && said.contains("127.0.0.1:9000"), "{said}");
            assert!(said.contains("--ca") && said.contains("--insecure"), "{said}");
            assert!(!said.contains("--connections"), "{said}");
        }
    }
}

#[test]
fn whoever_answers_is_believed_where_that_is_asked_for() {
    let target = authority_of("logs.example");
    for protocol in SEALED {
        let blind = Trust::blind(name("metrics.example"));
        let counts = play_trusting(&short(protocol), &target, &blind).unwrap().tally.counts();
        assert_eq!((counts.sent, counts.answered), (100, 100), "{protocol:?}: {counts:?}");
    }
}

/// More than are kept where they are fewer, at two for each handshake.
#[test]
fn as_many_tickets_are_gathered_as_there_may_be_connections() {
    let material = Material::generate().unwrap();
    let order = order(Protocol::TlsResume, 4_200, open(100.0, Arrivals::Constant), 1);
    let tally = play_trusting(&order, &material, &material.trust()).unwrap().tally;
    let counts = tally.counts();
    assert_eq!((counts.sent, counts.answered), (100, 100), "{counts:?}");
    assert_eq!((tally.handshakes_full, tally.handshakes_resumed), (0, 100));
}
