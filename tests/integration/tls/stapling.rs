//! OCSP responses beside the certificate, renewed while the proxy serves: what is shown is the last
//! one that can be read, while it vouches.

use std::sync::{Arc, Mutex};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::super::patience::eventually;
use super::super::peer::Echo;
use super::super::proxy::{Plan, Proxy};
use super::super::stream::pass;
use super::authority::{Authority, Issued};
use super::peer::Tls;
use super::scene::NAME;

/// Verifies servers, and keeps the OCSP response that the last one has shown.
#[derive(Debug)]
struct Kept {
    strict: Arc<WebPkiServerVerifier>,
    shown: Mutex<Vec<u8>>,
}

impl ServerCertVerifier for Kept {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.shown.lock().unwrap() = response.to_vec();
        self.strict.verify_server_cert(end_entity, intermediates, server_name, response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}

/// A proxy whose certificate has a staple, and a client of each version of TLS.
struct Site {
    authority: Authority,
    issued: Issued,
    proxy: Proxy,
    _backend: Echo,
    kept: Arc<Kept>,
    clients: Vec<Arc<ClientConfig>>,
}

const STAPLE: &str = "ocsp.der";
const OLD: &str = "20900101000000Z";
const NEW: &str = "20900108000000Z";
const SECONDS_UNTIL_OLD: u64 = 3_786_912_000;
const WEEK: u64 = 7 * 86_400;

impl Site {
    /// It shows the response that is good until `OLD`.
    fn start() -> Site {
        let (authority, backend) = (Authority::new("the authority"), Echo::start());
        let issued = authority.issue(&[NAME]);
        let [chain, key] = authority.pair("edge", &issued);
        let staple = authority.write_bytes(STAPLE, &issued.vouched(OLD));
        let identity = format!("{{ chain = {chain:?}, key = {key:?}, staple = {staple:?} }}");
        let more = format!("[tls.edge]\ncertificates = [{identity}]\n");
        let listener = "tls = \"edge\"";
        let plan = Plan { listener, more: &more, ..Plan::of(&[backend.address]) };
        let strict = WebPkiServerVerifier::builder(Arc::new(authority.roots())).build().unwrap();
        let kept = Arc::new(Kept { strict, shown: Mutex::default() });
        let client = |version| {
            let builder = ClientConfig::builder_with_protocol_versions(&[version]).dangerous();
            let builder = builder.with_custom_certificate_verifier(kept.clone());
            let mut config = builder.with_no_client_auth();
            // Whoever resumes is shown nothing.
            config.resumption = rustls::client::Resumption::disabled();
            Arc::new(config)
        };
        let clients = rustls::ALL_VERSIONS.iter().copied().map(client).collect();
        let proxy = plan.start();
        Site { authority, issued, proxy, _backend: backend, kept, clients }
    }

    /// Whether new clients of each version are shown this response; all of them are served.
    fn shows(&self, expected: &[u8]) -> bool {
        let shown = self.clients.iter().map(|config| {
            let client = Tls::connect(self.proxy.address(), NAME, config).unwrap();
            pass(&client, &client, 0..1000);
            std::mem::take(&mut *self.kept.shown.lock().unwrap())
        });
        shown.filter(|shown| shown == expected).count() == self.clients.len()
    }

    /// The workers hear of it after the log has told it.
    #[track_caller]
    fn await_shown(&self, expected: &[u8]) {
        eventually("this response", || self.shows(expected).then_some(()));
    }

    fn await_expiry(&self, expected: u64) {
        self.proxy.await_metric("tls_staple_expiry_seconds", |until| until == expected);
    }

    fn reloads(&self) -> [u64; 2] {
        ["result=\"success\"", "result=\"failure\""]
            .map(|result| self.proxy.metric("tls_reloads_total", result))
    }
}

#[test]
fn a_renewed_response_is_shown_in_place_of_the_old_one() {
    let site = Site::start();
    assert!(site.shows(&site.issued.vouched(OLD)));
    site.await_expiry(SECONDS_UNTIL_OLD);
    let open = Tls::connect(site.proxy.address(), NAME, &site.clients[0]).unwrap();
    site.authority.write_bytes(STAPLE, &site.issued.vouched(NEW));
    site.proxy.await_event("TLS material renewed");
    site.await_shown(&site.issued.vouched(NEW));
    site.await_expiry(SECONDS_UNTIL_OLD + WEEK);
    assert_eq!(site.reloads(), [1, 0]);
    pass(&open, &open, 0..10_000);
}

#[test]
fn a_response_that_cannot_be_read_leaves_the_old_one() {
    let site = Site::start();
    for broken in [Some("nonsense"), None] {
        let [_, failures] = site.reloads();
        match broken {
            Some(text) => drop(site.authority.write(STAPLE, text)),
            None => site.authority.remove(STAPLE),
        }
        site.proxy.await_metric("tls_reload_failing", |failing| failing == 1);
        eventually("it is counted", || (site.reloads() == [0, failures + 1]).then_some(()));
        assert!(site.shows(&site.issued.vouched(OLD)));
    }
    site.proxy.await_words("TLS material stays as it was");
    site.proxy.await_words("tls.edge.certificates[0].staple: ");
    site.proxy.await_words("this is no successful OCSP response; give the DER file");
    // What comes next is taken, and the trouble is over.
    site.authority.write_bytes(STAPLE, &site.issued.vouched(NEW));
    site.await_shown(&site.issued.vouched(NEW));
    site.proxy.await_metric("tls_reload_failing", |failing| failing == 0);
    assert_eq!(site.reloads(), [1, 2]);
}

#[test]
fn a_response_that_does_not_vouch_is_left_out_until_one_does() {
    let site = Site::start();
    let lapsed = site.issued.vouched("20200201000000Z");
    let foreign = site.authority.issue(&[NAME]).vouched(OLD);
    let cases = [
        (lapsed, "the OCSP response has lapsed on 2020-02-01 00:00:00 UTC, and is left out"),
        (foreign, "the OCSP response is about another certificate, and is left out"),
    ];
    for (response, words) in cases {
        let events = site.proxy.events();
        site.authority.write_bytes(STAPLE, &response);
        site.proxy.await_words_after(events, words);
        site.await_shown(b"");
        site.authority.write_bytes(STAPLE, &site.issued.vouched(OLD));
        site.await_shown(&site.issued.vouched(OLD));
    }
    assert_eq!(site.reloads(), [4, 0]);
    site.proxy.await_metric("tls_reload_failing", |failing| failing == 0);
}

#[test]
fn a_response_for_a_renewed_certificate_may_come_after_it() {
    let site = Site::start();
    let renewed = site.authority.issue(&[NAME]);
    site.authority.pair("edge", &renewed);
    // The old one is about another certificate now.
    site.await_shown(b"");
    site.authority.write_bytes(STAPLE, &renewed.vouched(NEW));
    site.await_shown(&renewed.vouched(NEW));
}
