//! What is loaded from files, and the sentence of everything that is refused.

use rcgen::date_time_ymd;
use rcgen::{PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256};

use super::super::der::{Der, INTEGER, OCTET_STRING};
use super::super::*;
use super::workshop::*;

fn load(options: &ServerOptions) -> Result<ServerTls, Vec<MaterialError>> {
    ServerTls::load(options, &Tickets::new(Hand::new()), at(NOW))
}

fn errors(folder: &Folder, options: &ServerOptions) -> Vec<String> {
    sentences(folder, &load(options).unwrap_err())
}

fn warnings(folder: &Folder, options: &ServerOptions) -> Vec<String> {
    sentences(folder, load(options).unwrap().warnings())
}

/// What a PKCS#8 key wraps: a SEC1 or a PKCS#1 one.
fn unwrapped(pkcs8: &[u8]) -> Vec<u8> {
    let mut fields = Der::new(pkcs8).sequence().unwrap();
    fields.expect(INTEGER).unwrap();
    fields.sequence().unwrap();
    fields.expect(OCTET_STRING).unwrap().to_owned()
}

#[test]
fn every_kind_of_key_is_taken_in_every_form() {
    let (folder, authority) = (Folder::new(), Authority::new("ca"));
    for (algorithm, legacy) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, Some("EC PRIVATE KEY")),
        (&PKCS_ECDSA_P384_SHA384, Some("EC PRIVATE KEY")),
        (&PKCS_ECDSA_P521_SHA512, Some("EC PRIVATE KEY")),
        (&PKCS_RSA_SHA256, Some("RSA PRIVATE KEY")),
        (&PKCS_ED25519, None),
    ] {
        let issued = authority.issue_with(&["a.test"], algorithm, |_| {});
        let mut files = folder.write_issued("server", &issued);
        let options = server_options("edge", vec![files.clone()]);
        assert_eq!(warnings(&folder, &options), [""; 0]);
        if let Some(label) = legacy {
            let body = unwrapped(issued.key.serialized_der());
            files.key = folder.write("legacy.key", pem(label, &body));
            assert_eq!(warnings(&folder, &server_options("edge", vec![files])), [""; 0], "{label}");
        }
    }
}

#[test]
fn chain_and_key_may_be_in_one_file() {
    let (folder, authority) = (Folder::new(), Authority::new("ca"));
    let issued = authority.issue(&["a.test"]);
    let text = issued.key.serialize_pem() + &issued.certificate.pem() + &authority.pem();
    let path = folder.write("all.pem", text);
    let files = CertificateFiles { chain: path.clone(), key: path, staple: None };
    let loaded = load(&server_options("edge", vec![files])).unwrap();
    assert!(loaded.warnings().is_empty());
}

#[test]
fn all_errors_are_told_at_once_with_key_and_file() {
    let (folder, authority) = (Folder::new(), Authority::new("ca"));
    let good = folder.write_issued("good", &authority.issue(&["a.test"]));
    let other = folder.write_issued("other", &authority.issue(&["b.test"]));
    let absent = folder.path("absent");
    let mut options = server_options(
        "edge",
        vec![
            CertificateFiles { chain: good.chain.clone(), key: other.key, staple: None },
            CertificateFiles { chain: good.key.clone(), key: good.chain.clone(), staple: None },
            CertificateFiles {
                chain: absent.clone(),
                key: absent.clone(),
                staple: Some(absent.clone()),
            },
        ],
    );
    options.client_auth = ClientAuth::Required;
    options.client_ca = Some(absent.clone());
    options.client_crls = vec![absent.clone()];
    options.cipher_suites = vec!["TLS_RSA_WITH_NULL_MD5".to_owned()];
    options.tickets =
        Some(TicketOptions { lifetime: std::time::Duration::from_secs(60), keys: Some(absent) });
    let errors = errors(&folder, &options);
    let missing = "absent: there is no such file; create it, or correct the path";
    assert_eq!(
        errors[0],
        "cipher_suites: \"TLS_RSA_WITH_NULL_MD5\" is no cipher suite of Ringmain; \
        known are TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256, TLS_CHACHA20_POLY1305_SHA256, \
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, \
        TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, \
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"
    );
    assert_eq!(errors[1..], [
        "certificates[0].key: other.key: the private key does not belong to the first certificate \
         of good.pem; give the key that the certificate was issued for".to_owned(),
        "certificates[1].chain: good.key: there is no certificate in the file; give PEM, with \
         BEGIN CERTIFICATE".to_owned(),
        "certificates[1].key: good.pem: there is no private key in the file; give PEM, with BEGIN \
         PRIVATE KEY, BEGIN EC PRIVATE KEY or BEGIN RSA PRIVATE KEY".to_owned(),
        format!("certificates[2].chain: {missing}"),
        format!("certificates[2].key: {missing}"),
        format!("certificates[2].staple: {missing}"),
        format!("client_ca: {missing}"),
        format!("client_crls[0]: {missing}"),
        format!("ticket_keys: {missing}"),
    ]);
}

#[test]
fn a_broken_chain_file_is_refused() {
    let (folder, authority) = (Folder::new(), Authority::new("ca"));
    let issued = authority.issue(&["a.test"]);
    let files = folder.write_issued("server", &issued);
    let options = server_options("edge", vec![files]);
    let text = issued.certificate.pem();
    for (chain, expected) in [
        (
            text[..text.len() / 2].to_owned(),
            "this is no proper PEM (the last section has no end); copy the file again",
        ),
        (
            text.replace("MII", "M!I"),
            "this is no proper PEM (the text between the markers is no base64); copy the file \
             again",
        ),
        (
            text.replace("BEGIN CERTIFICATE-----", "BEGIN CERTIFICATE--"),
            "this is no proper PEM (a line that begins a section is broken); copy the file again",
        ),
        (
            text.clone() + &pem("CERTIFICATE", b"nonsense"),
            "certificate 2 of the file cannot be read (it is broken); have it issued again",
        ),
    ] {
        folder.write("server.pem", chain);
        let expected = format!("certificates[0].chain: server.pem: {expected}");
        assert_eq!(errors(&folder, &options), [expected]);
    }
}

#[test]
fn a_chain_cut_anywhere_is_refused_or_is_whole() {
    let (folder, authority) = (Folder::new(), Authority::new("ca"));
    let issued = authority.issue(&["a.test"]);
    let options = server_options("edge", vec![folder.write_issued("server", &issued)]);
    let text = issued.certificate.pem();
    let whole = text.find("-----END CERTIFICATE-----").unwrap() + "-----END CERTIFICATE-----".len();
    for length in 0..text.len() {
        folder.write("server.pem", &text[..length]);
        assert_eq!(load(&options).is_ok(), length >= whole, "{length}");
    }
}

#[test]
fn a_key_that_can_not_be_used_is_refused() {
    let (folder, authority) = (Folder::new(), Authority::new("ca"));
    let issued = authority.issue(&["a.test"]);
    let options = server_options("edge", vec![folder.write_issued("server", &issued)]);
    let key = issued.key.serialize_pem();
    for (key, expected) in [
        (
            pem("ENCRYPTED PRIVATE KEY", b"sealed"),
            "the private key is encrypted with a passphrase; decrypt it, such as with openssl pkey \
             -in KEY -out PLAIN, and protect the file by its mode",
        ),
        (
            key.clone() + &key,
            "there are several private keys in the file; leave the one that is used",
        ),
        (
            pem("PRIVATE KEY", b"nonsense"),
            "the private key cannot be used (failed to parse private key as RSA, ECDSA, or EdDSA); \
             give an ECDSA key on P-256, P-384 or P-521, an Ed25519 key, or an RSA key of 2,048 to \
             8,192 bits",
        ),
    ] {
        folder.write("server.key", key);
        let expected = format!("certificates[0].key: server.key: {expected}");
        assert_eq!(errors(&folder, &options), [expected]);
    }
    folder.write("server.key", [0xff; 64]);
    assert_eq!(load(&options).unwrap_err()[0].problem.as_str(), "no_key");
}

#[test]
fn a_folder_in_place_of_a_file_is_refused() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("folder")).unwrap();
    let path = folder.path("folder");
    let files = CertificateFiles { chain: path.clone(), key: path, staple: None };
    let expected = "folder: the file cannot be read (is a directory)";
    let expected = ["chain", "key"].map(|part| format!("certificates[0].{part}: {expected}"));
    assert_eq!(errors(&folder, &server_options("edge", vec![files])), expected);
}

#[test]
fn what_lacks_its_other_half_is_refused() {
    let (folder, authority) = (Folder::new(), Authority::new("ca"));
    let mut options = server_options("edge", Vec::new());
    options.client_auth = ClientAuth::Optional;
    assert_eq!(
        errors(&folder, &options),
        [
            "certificates: no certificate is given; give at least one",
            "client_ca: clients are to be verified and by whom is not said; give client_ca",
        ]
    );
    let files = folder.write_issued("server", &authority.issue(&["a.test"]));
    let mut options = server_options("edge", vec![files]);
    options.min_version = MinVersion::Tls13;
    options.cipher_suites = vec!["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".to_owned()];
    assert_eq!(
        errors(&folder, &options),
        ["cipher_suites: no cipher suite is left for min_version; add one of TLS 1.3, such as \
         TLS_AES_128_GCM_SHA256, or leave cipher_suites empty"]
    );
}

#[test]
fn a_certificate_out_of_its_time_is_told_and_serves() {
    let (folder, authority) = (Folder::new(), Authority::new("ca"));
    let algorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
    let past = authority.issue_with(&["a.test"], algorithm, |params| {
        params.not_after = date_time_ymd(2026, 12, 31);
    });
    let future = authority.issue_with(&["a.test"], algorithm, |params| {
        params.not_before = date_time_ymd(2027, 1, 2);
    });
    let nameless = authority.issue(&[]);
    let files = vec![
        folder.write_issued("past", &past),
        folder.write_issued("future", &future),
        folder.write_issued("nameless", &nameless),
    ];
    let options = server_options("edge", files);
    assert_eq!(
        warnings(&folder, &options),
        [
            "certificates[0].chain: past.pem: the certificate was valid until 2026-12-31 00:00:00 \
         UTC: who verifies it refuses it; renew it",
            "certificates[1].chain: future.pem: the certificate is valid from 2027-01-02 00:00:00 \
             UTC only: who verifies it refuses it; check this host's clock, or put the \
             certificate in place later",
            "certificates[2].chain: nameless.pem: the certificate has no DNS name among its \
             subject alternative names: it is shown only where no other certificate fits, and few \
             clients will accept it",
        ]
    );
    let loaded = load(&options).unwrap();
    let until: Vec<u64> = loaded.expiries().iter().map(|expiry| expiry.until.as_secs()).collect();
    // The ends of 2026-12-31 and 2027-12-31 as they are in the certificates: at midnight.
    assert_eq!(until, [NOW - DAY, NOW + 364 * DAY, NOW + 364 * DAY]);
}

#[test]
fn every_certificate_of_a_chain_is_looked_at() {
    let (folder, authority) = (Folder::new(), Authority::new("root"));
    let between = authority.delegate_until("between", (2026, 12, 31));
    let issued = between.issue(&["a.test"]);
    let mut files = folder.write_issued("server", &issued);
    files.chain = folder.write("chain.pem", issued.certificate.pem() + &between.pem());
    let options = server_options("edge", vec![files]);
    assert_eq!(
        warnings(&folder, &options),
        ["certificates[0].chain: chain.pem: certificate 2 of the file was valid until 2026-12-31 \
             00:00:00 UTC: who verifies it refuses it; renew it"]
    );
    let loaded = load(&options).unwrap();
    let expiries: Vec<_> = loaded.expiries().iter().map(|it| (it.subject(), it.until)).collect();
    let expected = [
        ("the certificate".to_owned(), at(NOW + 364 * DAY)),
        ("certificate 2 of the file".to_owned(), at(NOW - DAY)),
    ];
    assert_eq!(expiries, expected);
}

#[test]
fn a_chain_in_the_wrong_order_is_told() {
    let (folder, authority) = (Folder::new(), Authority::new("root"));
    let between = authority.delegate("between");
    let issued = between.issue(&["a.test"]);
    let mut files = folder.write_issued("server", &issued);
    let own = issued.certificate.pem();
    files.chain = folder.write("chain.pem", own.clone() + &between.pem() + &authority.pem());
    let options = server_options("edge", vec![files]);
    assert_eq!(warnings(&folder, &options), [""; 0]);
    folder.write("chain.pem", own + &authority.pem() + &between.pem());
    assert_eq!(
        warnings(&folder, &options),
        ["certificates[0].chain: chain.pem: certificate 2 of the file did not issue the one \
             before it, and some clients will refuse the chain; put the server's own certificate \
             first, then each issuer in turn"]
    );
}

#[test]
fn a_secret_that_everybody_may_read_is_told() {
    let (folder, authority) = (Folder::new(), Authority::new("ca"));
    let files = folder.write_issued("server", &authority.issue(&["a.test"]));
    let keys = folder.write("tickets", "ab".repeat(48));
    for path in [&files.key, &keys, &files.chain] {
        set_mode(path, 0o644);
    }
    let mut options = server_options("edge", vec![files]);
    options.tickets = options.tickets.map(|tickets| TicketOptions { keys: Some(keys), ..tickets });
    let expected = "everybody on this host may read this secret (mode 0644); take the right away, \
                    such as with chmod 0640";
    assert_eq!(
        warnings(&folder, &options),
        [
            format!("certificates[0].key: server.key: {expected}"),
            format!("ticket_keys: tickets: {expected}"),
        ]
    );
}
