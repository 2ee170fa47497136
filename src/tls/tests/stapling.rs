//! OCSP responses beside the certificate: which are shown, until when, and how they are renewed.

use std::sync::{Arc, Mutex};

use rcgen::SerialNumber;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};

use super::super::der::{INTEGER, OCTET_STRING, SEQUENCE};
use super::super::*;
use super::workshop::*;

/// A server whose certificate has the serial number 7, 7, and an OCSP response.
struct Site {
    folder: Folder,
    clock: Arc<Hand>,
    options: ServerOptions,
}

impl Site {
    fn new() -> Site {
        let (folder, authority) = (Folder::new(), Authority::new("ca"));
        let issued = authority.issue_with(&["a.test"], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
            params.serial_number = Some(SerialNumber::from_slice(&[7, 7]));
        });
        let mut files = folder.write_issued("server", &issued);
        files.staple = Some(folder.path("ocsp.der"));
        Site { folder, clock: Hand::new(), options: server_options("edge", vec![files]) }
    }

    fn load(&self) -> Result<ServerTls, Vec<MaterialError>> {
        ServerTls::load(&self.options, &Tickets::new(self.clock.clone()), self.clock.now())
    }

    fn renew(&self, server: &ServerTls) -> Renewal<ServerTls> {
        server.renewed(&self.options, &Tickets::new(self.clock.clone()), self.clock.now())
    }
}

/// An OCSP response, as far as it is read: of one certificate, unsigned.
fn response(serial: &[u8], status: u8, until: Option<&str>) -> Vec<u8> {
    let time = |text: &str| der(0x18, text.as_bytes());
    let about = [der(SEQUENCE, b""), der(4, b""), der(4, b""), der(INTEGER, serial)].concat();
    let mut single = [der(SEQUENCE, &about), der(status, b""), time("20261201000000Z")].concat();
    if let Some(until) = until {
        single.extend(der(0xa0, &time(until)));
    }
    let singles = der(SEQUENCE, &der(SEQUENCE, &single));
    let data = [der(0xa0, &der(INTEGER, &[0])), der(0xa2, b""), time("20261201000000Z"), singles];
    let basic = der(SEQUENCE, &[der(SEQUENCE, &data.concat()), der(SEQUENCE, b"")].concat());
    let bytes = der(SEQUENCE, &[der(6, b"x"), der(OCTET_STRING, &basic)].concat());
    der(SEQUENCE, &[der(0x0a, &[0]), der(0xa0, &bytes)].concat())
}

const GOOD: u8 = 0x80;

/// Keeps the OCSP response that it is shown.
#[derive(Debug)]
struct Kept(Mutex<Vec<u8>>);

impl ServerCertVerifier for Kept {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.0.lock().unwrap() = response.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_tls12_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// What a client of this server is shown beside the certificate.
fn stapled(server: &Arc<ServerConfig>) -> Vec<u8> {
    let kept = Arc::new(Kept(Mutex::default()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_details(provider, Hand::new());
    let builder = builder.with_safe_default_protocol_versions().unwrap().dangerous();
    let client = builder.with_custom_certificate_verifier(kept.clone()).with_no_client_auth();
    shake(server, &Arc::new(client), "a.test").unwrap();
    kept.0.lock().unwrap().clone()
}

#[test]
fn a_staple_is_shown_while_it_vouches_for_the_certificate() {
    let site = Site::new();
    const LATER: Option<&str> = Some("20270102000000Z");
    for (serial, status, until, expected) in [
        (&[7, 7], GOOD, LATER, None),
        (&[7, 7], GOOD, None, None),
        (
            &[7, 8],
            GOOD,
            LATER,
            Some(
                "the OCSP response is about another certificate, and is left out; fetch one for \
                 this certificate",
            ),
        ),
        (
            &[7, 7],
            0xa1,
            LATER,
            Some(
                "the OCSP response does not vouch for the certificate, and is left out; the \
                 certificate may be revoked: have a new one issued",
            ),
        ),
        (
            &[7, 7],
            GOOD,
            Some("20261231235959Z"),
            Some(
                "the OCSP response has lapsed on 2026-12-31 23:59:59 UTC, and is left out; fetch a \
                 current one",
            ),
        ),
    ] {
        let bytes = response(serial, status, until);
        site.folder.write("ocsp.der", &bytes);
        let expected =
            expected.map(|sentence| format!("certificates[0].staple: ocsp.der: {sentence}"));
        let server = site.load().unwrap();
        assert_eq!(sentences(&site.folder, server.warnings()), expected.as_slice());
        let shown = stapled(server.config());
        assert_eq!(shown, if expected.is_none() { bytes } else { Vec::new() });
    }
    for bytes in [&b"nonsense"[..], &der(SEQUENCE, &der(0x0a, &[6]))] {
        site.folder.write("ocsp.der", bytes);
        assert_eq!(
            sentences(&site.folder, &site.load().unwrap_err()),
            ["certificates[0].staple: ocsp.der: this is no successful OCSP response; give the \
                 DER file, such as openssl ocsp -respout writes it"]
        );
    }
}

#[test]
fn a_staple_that_lapses_while_it_is_shown_is_left_out_from_then_on() {
    let site = Site::new();
    let bytes = response(&[7, 7], GOOD, Some("20270102000000Z"));
    site.folder.write("ocsp.der", &bytes);
    let server = site.load().unwrap();
    let [_, staple] = server.expiries() else { panic!("{:?}", server.expiries()) };
    assert_eq!((staple.kind, &*staple.key), (Kind::Staple, "certificates[0].staple"));
    assert_eq!((staple.until, staple.subject()), (at(NOW + DAY), "the OCSP response".to_owned()));
    site.clock.set(NOW + DAY - 1);
    assert_eq!(stapled(server.config()), bytes);
    site.clock.set(NOW + DAY);
    assert_eq!(stapled(server.config()), b"");
    // A certificate that nobody would accept does not come in its place for that.
    let late = Authority::new("ca").issue_with(&["a.test"], &rcgen::PKCS_ED25519, |params| {
        params.not_after = rcgen::date_time_ymd(2026, 12, 31);
    });
    site.folder.write_issued("server", &late);
    assert_eq!(site.renew(&server).errors.len(), 1);
}

#[test]
fn a_renewed_staple_is_shown_in_place_of_the_old_one() {
    let site = Site::new();
    let [old, new] =
        ["20270102000000Z", "20270109000000Z"].map(|until| response(&[7, 7], GOOD, Some(until)));
    site.folder.write("ocsp.der", &old);
    let server = site.load().unwrap();
    assert!(site.options.files().contains(&site.folder.path("ocsp.der")), "it is watched");
    assert!(site.renew(&server).fresh.is_none());
    site.folder.write("ocsp.der", &new);
    let server = site.renew(&server).fresh.unwrap();
    assert_eq!(stapled(server.config()), new);
    assert_eq!(server.expiries()[1].until, at(NOW + 8 * DAY));
    // What was shown goes on when the next one is broken.
    site.folder.write("ocsp.der", b"nonsense");
    let Renewal { fresh, errors } = site.renew(&server);
    assert!(fresh.is_none() && errors.len() == 1, "{errors:?}");
    site.clock.set(NOW + 8 * DAY);
    assert_eq!(stapled(server.config()), b"");
}
