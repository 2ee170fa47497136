//! Which identity is shown: by the name that is asked for, and by what the client can verify.

use std::sync::Arc;

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use crate::protocol::client_hello::ClientHello;

use super::super::*;
use super::workshop::*;

/// A client that believes `authority`, verifies only signatures of these schemes, and speaks one
/// version.
fn client(
    authority: &Authority,
    schemes: &[SignatureScheme],
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    let algorithms = &mut provider.signature_verification_algorithms;
    let kept = algorithms.mapping.iter().filter(|(scheme, _)| schemes.contains(scheme));
    // For the life of the tests, because rustls wants it so.
    algorithms.mapping = kept.copied().collect::<Vec<_>>().leak();
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_details(Arc::new(provider), Hand::new());
    let builder = builder.with_protocol_versions(&[version]).unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

const ALL: &[SignatureScheme] = &[
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PKCS1_SHA256,
];

/// A server with these certificates, in this order, and their own bytes.
struct Shop {
    authority: Authority,
    server: ServerTls,
    shown: Vec<Vec<u8>>,
    _folder: Folder,
}

impl Shop {
    fn new(certificates: &[(&[&str], &'static rcgen::SignatureAlgorithm)]) -> Shop {
        let (folder, authority) = (Folder::new(), Authority::new("ca"));
        let mut files = Vec::new();
        let mut shown = Vec::new();
        for (index, (names, algorithm)) in certificates.iter().enumerate() {
            let issued = authority.issue_with(names, algorithm, |_| {});
            files.push(folder.write_issued(&index.to_string(), &issued));
            shown.push(issued.certificate.der().to_vec());
        }
        let options = server_options("edge", files);
        let server = ServerTls::load(&options, &Tickets::new(Hand::new()), at(NOW)).unwrap();
        Shop { authority, server, shown, _folder: folder }
    }

    /// The place of the certificate that such a client is shown.
    fn shown_to(
        &self,
        name: &str,
        schemes: &[SignatureScheme],
        version: &'static SupportedProtocolVersion,
    ) -> Result<usize, rustls::Error> {
        let client = client(&self.authority, schemes, version);
        let (_, client) = shake(self.server.config(), &client, name)?;
        let shown = &client.peer_certificates().unwrap()[0];
        Ok(self.shown.iter().position(|own| own == shown.as_ref()).unwrap())
    }
}

#[test]
fn an_exact_name_beats_a_wildcard_which_beats_the_first() {
    let shop = Shop::new(&[
        (&["first.test", "127.0.0.1"], &PKCS_ECDSA_P256_SHA256),
        (&["*.eu.test"], &PKCS_ECDSA_P256_SHA256),
        (&["a.eu.test", "Upper.Test"], &PKCS_ECDSA_P256_SHA256),
    ]);
    let shown = |name: &str| shop.shown_to(name, ALL, &TLS13).ok();
    assert_eq!(shown("first.test"), Some(0));
    assert_eq!(shown("a.eu.test"), Some(2));
    assert_eq!(shown("A.EU.Test"), Some(2));
    assert_eq!(shown("upper.test"), Some(2));
    assert_eq!(shown("b.eu.test"), Some(1));
    // By an address nobody is asked for.
    assert_eq!(shown("127.0.0.1"), Some(0));
    // A wildcard stands for one label, and not for none: the first is shown, which is not wanted.
    assert_eq!(shown("a.b.eu.test"), None);
    assert_eq!(shown("eu.test"), None);
}

#[test]
fn each_client_is_shown_the_first_that_it_can_verify() {
    use SignatureScheme as S;
    let kinds = [&PKCS_ED25519, &PKCS_ECDSA_P384_SHA384, &PKCS_ECDSA_P256_SHA256, &PKCS_RSA_SHA256];
    let shop = Shop::new(&kinds.map(|kind| (&["a.test"] as &[&str], kind)));
    for version in [&TLS13, &TLS12] {
        for (schemes, expected) in [
            (ALL, 0),
            (&ALL[1..2], 1),
            (&ALL[..1], 2),
            (&[S::RSA_PSS_SHA256, S::ECDSA_NISTP256_SHA256], 2),
            (&[S::RSA_PSS_SHA512], 3),
        ] {
            let shown = shop.shown_to("a.test", schemes, version);
            assert_eq!(shown, Ok(expected), "{schemes:?} {version:?}");
        }
    }
    // In TLS 1.3 these sign no handshake.
    assert_eq!(shop.shown_to("a.test", &[S::RSA_PKCS1_SHA256], &TLS12), Ok(3));
    assert!(shop.shown_to("a.test", &[S::RSA_PKCS1_SHA256], &TLS13).is_err());
}

#[test]
fn what_the_client_can_verify_comes_after_the_name() {
    let shop = Shop::new(&[
        (&["other.test"], &PKCS_ECDSA_P256_SHA256),
        (&["a.eu.test"], &PKCS_ECDSA_P256_SHA256),
        (&["*.eu.test"], &PKCS_RSA_SHA256),
    ]);
    let rsa = &[SignatureScheme::RSA_PSS_SHA256];
    assert_eq!(shop.shown_to("a.eu.test", ALL, &TLS13), Ok(1));
    assert_eq!(shop.shown_to("a.eu.test", rsa, &TLS13), Ok(2), "the wildcard is for it too");
    let only_ecdsa = &[SignatureScheme::ECDSA_NISTP256_SHA256];
    let refused = shop.shown_to("b.eu.test", only_ecdsa, &TLS13).unwrap_err();
    assert!(format!("{refused:?}").contains("NoSignatureSchemesInCommon"), "{refused:?}");
}

#[test]
fn a_slow_signature_is_foreseen() {
    let (folder, authority) = (Folder::new(), Authority::new("ca"));
    let key = rcgen::KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, rcgen::RsaKeySize::_3072).unwrap();
    let params = rcgen::CertificateParams::new(vec!["slow.test".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let slow = Issued { certificate, key };
    let quick = authority.issue_with(&["quick.test"], &PKCS_RSA_SHA256, |_| {});
    let both = authority.issue(&["slow.test"]);
    let files = [("quick", &quick), ("slow", &slow), ("both", &both)];
    let files = files.map(|(name, issued)| folder.write_issued(name, issued)).to_vec();
    let options = server_options("edge", files);
    let server = ServerTls::load(&options, &Tickets::new(Hand::new()), at(NOW)).unwrap();
    let [pss, pkcs1, ecdsa] = [0x0804, 0x0401, 0x0403];
    let [newest, older] = [0x0304, 0x0303];
    for (name, version, schemes, expected) in [
        (Some("slow.test"), newest, &[pss, ecdsa][..], true),
        (Some("slow.test"), newest, &[ecdsa], false),
        (Some("slow.test"), newest, &[], true),
        (Some("slow.test"), newest, &[pkcs1, ecdsa], false),
        // Its cipher suites may leave RSA alone.
        (Some("slow.test"), older, &[pkcs1, ecdsa], true),
        (Some("slow.test"), older, &[ecdsa], false),
        (Some("quick.test"), newest, &[pss], false),
        (Some("quick.test"), older, &[pss], false),
        (None, newest, &[pss], false),
    ] {
        let hello = ClientHello {
            server_name: name.map(Box::from),
            alpn: Vec::new(),
            versions: vec![version],
            signature_schemes: schemes.to_vec(),
            encrypted: false,
        };
        assert_eq!(server.signs_slowly(&hello), expected, "{hello:?}");
    }
    assert!(server.may_sign_slowly());
}
