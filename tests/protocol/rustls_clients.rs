//! Hellos that rustls makes here and now: with and without a name, in old and new versions, with
//! classic and post-quantum key shares, encrypted, and in several records.

use std::sync::Arc;

use ringmain::protocol::client_hello::{ClientHello, Progress};
use rustls::client::{EchConfig, EchGreaseConfig, EchMode};
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_128 as HPKE;
use rustls::crypto::aws_lc_rs::kx_group::{X25519, X25519MLKEM768};
use rustls::crypto::hpke::Hpke;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, SupportedProtocolVersion,
    WantsVerifier, WantsVersions,
};

use crate::anatomy::{vector8, vector16};
use crate::reading::{LIMIT, complete, read_pieces};

fn builder(group: &'static dyn SupportedKxGroup) -> ConfigBuilder<ClientConfig, WantsVersions> {
    let provider = CryptoProvider { kx_groups: vec![group], ..aws_lc_rs::default_provider() };
    ClientConfig::builder_with_provider(Arc::new(provider))
}

fn trustless(builder: ConfigBuilder<ClientConfig, WantsVerifier>) -> ClientConfig {
    builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
}

fn plain(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    trustless(builder(X25519).with_protocol_versions(versions).unwrap())
}

/// What the client sends first.
fn hello(config: ClientConfig, name: &'static str) -> Vec<u8> {
    let name = ServerName::try_from(name).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut bytes).unwrap();
    }
    bytes
}

#[track_caller]
fn read_byte_by_byte(bytes: &[u8]) -> ClientHello {
    let hello = complete(bytes);
    let expected = (Progress::Complete(hello.clone()), bytes.len());
    assert_eq!(read_pieces(LIMIT, bytes.chunks(1)), expected);
    hello
}

fn schemes() -> Vec<u16> {
    let provider = aws_lc_rs::default_provider();
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    schemes.into_iter().map(u16::from).collect()
}

#[test]
fn each_version_is_offered_as_configured() {
    let cases: [(&[&SupportedProtocolVersion], &[u16]); 3] =
        [(&[&TLS12], &[0x0303]), (&[&TLS13], &[0x0304]), (&[&TLS13, &TLS12], &[0x0304, 0x0303])];
    for (versions, expected) in cases {
        let hello = read_byte_by_byte(&hello(plain(versions), "Logs.Example.COM"));
        assert_eq!(hello.versions, expected);
        assert_eq!(hello.server_name.as_deref(), Some("logs.example.com"));
        assert_eq!(hello.signature_schemes, schemes());
        assert!(hello.alpn.is_empty() && !hello.encrypted);
    }
}

#[test]
fn no_name_is_read_where_none_is_sent() {
    let mut config = plain(&[&TLS13]);
    config.enable_sni = false;
    assert_eq!(read_byte_by_byte(&hello(config, "logs.example.com")).server_name, None);
    let by_address = hello(plain(&[&TLS13]), "192.0.2.1");
    assert_eq!(read_byte_by_byte(&by_address).server_name, None);
}

#[test]
fn protocols_are_offered_in_their_order() {
    let mut config = plain(&[&TLS13]);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), vec![0xff, 0]];
    let alpn = read_byte_by_byte(&hello(config, "a.example")).alpn;
    assert_eq!(alpn, [Box::from(&b"h2"[..]), (*b"http/1.1").into(), [0xff, 0].into()]);
}

#[test]
fn a_post_quantum_key_share_is_passed_over() {
    let hybrid = builder(X25519MLKEM768).with_protocol_versions(&[&TLS13]).unwrap();
    let bytes = hello(trustless(hybrid), "a.example");
    // An ML-KEM-768 encapsulation key alone has 1,184 bytes.
    assert!(bytes.len() > 1_184);
    assert_eq!(read_byte_by_byte(&bytes).server_name.as_deref(), Some("a.example"));
}

#[test]
fn a_hello_that_the_client_cuts_into_records_is_the_same() {
    for size in [32, 33, 64, 500, 1_000] {
        let hybrid = builder(X25519MLKEM768).with_protocol_versions(&[&TLS13]).unwrap();
        let mut config = trustless(hybrid);
        config.max_fragment_size = Some(size);
        let bytes = hello(config, "a.example");
        assert_eq!(usize::from(u16::from_be_bytes([bytes[3], bytes[4]])), size - 5);
        assert_eq!(read_byte_by_byte(&bytes).server_name.as_deref(), Some("a.example"));
    }
}

#[test]
fn of_an_encrypted_hello_the_outer_one_is_read() {
    let (key, _) = HPKE.generate_key_pair().unwrap();
    let suite = HPKE.suite();
    let symmetric = [u16::from(suite.sym.kdf_id), u16::from(suite.sym.aead_id)];
    let body = [
        &[7][..],
        &u16::from(suite.kem).to_be_bytes(),
        &vector16(&key.0),
        &vector16(&symmetric.map(u16::to_be_bytes).concat()),
        &[0],
        &vector8(b"public.example"),
        &vector16(&[]),
    ];
    let list = vector16(&[&[0xfe, 0x0d][..], &vector16(&body.concat())].concat());
    let ech = EchMode::from(EchConfig::new(list.into(), &[HPKE]).unwrap());
    let bytes = hello(trustless(builder(X25519).with_ech(ech).unwrap()), "secret.example");
    let hello = read_byte_by_byte(&bytes);
    assert!(hello.encrypted);
    assert_eq!(hello.server_name.as_deref(), Some("public.example"));
}

#[test]
fn a_pretended_inner_hello_looks_like_a_real_one() {
    let (key, _) = HPKE.generate_key_pair().unwrap();
    let ech = EchMode::from(EchGreaseConfig::new(HPKE, key));
    let bytes = hello(trustless(builder(X25519).with_ech(ech).unwrap()), "a.example");
    let hello = read_byte_by_byte(&bytes);
    assert!(hello.encrypted);
    assert_eq!(hello.server_name.as_deref(), Some("a.example"));
}
