//! TLS passes through, by what its hello says: routes, hellos that come slowly or never, and what
//! is no hello.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{EchConfig, EchMode};
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_128 as HPKE;
use rustls::crypto::hpke::Hpke;
use rustls::{AlertDescription, ClientConfig};
use serde_json::{Value, json};

use super::super::peer::Backend;
use super::super::proxy::{Plan, Proxy, assert_fields};
use super::super::stream::{connect, expect, expect_end, expect_reset, expect_silence, finish};
use super::super::stream::{pass, send};
use super::authority::Authority;
use super::peer::{SecureEcho, Tls, alert, client, server};
use super::scene::Rest;

/// A proxy that ends no TLS, and the backends behind it, which do.
struct Passing {
    authority: Authority,
    proxy: Proxy,
    rest: Rest,
    backend: SecureEcho,
}

impl Passing {
    /// With these lines in the listener.
    fn start(listener: &str) -> Passing {
        let authority = Authority::new("the authority");
        let own =
            authority.issue(&["a.test", "*.fleet.test", "*.b.fleet.test", "x.y.b.fleet.test"]);
        let backend = SecureEcho::start(server_of_any_protocol(&own));
        let address = backend.address;
        let more: String =
            ["exact", "wild", "deep", "h2"].map(|pool| section(pool, address)).concat();
        let proxy = Plan { listener, more: &more, ..Plan::of(&[address]) }.start();
        let rest = Rest::of(&proxy);
        Passing { authority, proxy, rest, backend }
    }

    fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut config = client(&self.authority);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// Bytes go to the backend and back; the session's line.
    fn exchange(&self, name: &str, protocols: &[&str], sessions: usize) -> Value {
        let client = Tls::connect(self.proxy.address(), name, &self.client(protocols)).unwrap();
        pass(&client, &client, 0..200_000);
        client.close();
        finish(&client.socket);
        expect_end(&client);
        self.proxy.sessions(sessions).pop().unwrap()
    }
}

fn server_of_any_protocol(own: &super::authority::Issued) -> rustls::ServerConfig {
    let mut config = server(own);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

fn section(pool: &str, address: SocketAddr) -> String {
    format!("[pool.{pool}]\nbackends = [\"{address}\"]\n")
}

const ROUTES: &str = r#"routes = [
    { server_names = ["a.test"], pool = "exact" },
    { server_names = ["*.fleet.test"], pool = "wild" },
    { server_names = ["*.b.fleet.test"], pool = "deep" },
    { server_names = ["*.b.fleet.test"], alpn = ["h2"], pool = "h2" },
    { server_names = ["gone.fleet.test"], reject = true },
]"#;

#[test]
fn the_hello_says_which_pool_a_session_goes_to() {
    let passing = Passing::start(ROUTES);
    let cases: [(&str, &[&str], &str); 7] = [
        ("a.test", &[], "exact"),
        ("A.Test", &[], "exact"),
        ("other.fleet.test", &["h2"], "wild"),
        ("x.b.fleet.test", &[], "deep"),
        ("x.y.b.fleet.test", &["http/1.1"], "deep"),
        ("x.b.fleet.test", &["http/1.1", "h2"], "h2"),
        ("a.test", &["h2"], "exact"),
    ];
    for (index, (name, protocols, pool)) in cases.into_iter().enumerate() {
        let session = passing.exchange(name, protocols, index + 1);
        assert_fields(&session, json!({ "reason": "finished", "pool": pool }));
        let shown = json!({ "server_name": name.to_lowercase(), "version": null, "failure": null });
        assert_fields(&session["tls"], shown);
    }
    let seen = passing.backend.seen();
    assert_eq!(seen[5].protocol.as_deref(), Some("h2"));
    assert_eq!(seen[4].server_name.as_deref(), Some("x.y.b.fleet.test"));
    passing.rest.await_again(&passing.proxy);
}

/// Trusts the authority, and hides the name that it asks for behind this public one (RFC 9849).
fn hiding(authority: &Authority, public: &str) -> Arc<ClientConfig> {
    let (key, _) = HPKE.generate_key_pair().unwrap();
    let suite = HPKE.suite();
    let length16 = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
    let numbers = [
        u16::from(suite.kem),
        u16::try_from(key.0.len()).unwrap(),
        4,
        u16::from(suite.sym.kdf_id),
        u16::from(suite.sym.aead_id),
    ]
    .map(u16::to_be_bytes);
    let [kem, key_length, symmetric @ ..] = &numbers;
    let name_length = [0, u8::try_from(public.len()).unwrap()];
    let (identifier, no_extensions) = ([7], [0; 2]);
    let body: [&[u8]; 8] = [
        &identifier,
        kem,
        key_length,
        &key.0,
        symmetric.as_flattened(),
        &name_length,
        public.as_bytes(),
        &no_extensions,
    ];
    let body = body.concat();
    let config = [&[0xfe, 0x0d], &length16(body.len())[..], &body].concat();
    let list = [&length16(config.len())[..], &config].concat();
    let mode = EchMode::from(EchConfig::new(list.into(), &[HPKE]).unwrap());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_ech(mode).unwrap();
    Arc::new(builder.with_root_certificates(authority.roots()).with_no_client_auth())
}

#[test]
fn of_a_name_that_is_hidden_the_public_one_decides() {
    let passing = Passing::start(ROUTES);
    let config = hiding(&passing.authority, "a.test");
    // The backend does not know what is hidden either.
    let client = Tls::connect(passing.proxy.address(), "other.fleet.test", &config);
    drop(client.err().unwrap());
    let session = passing.proxy.session();
    assert_fields(&session, json!({ "pool": "exact" }));
    assert_fields(&session["tls"], json!({ "server_name": "a.test" }));
    passing.rest.await_again(&passing.proxy);
}

#[test]
fn what_follows_the_hello_goes_through_pipes_when_it_is_much() {
    let passing = Passing::start(ROUTES);
    let client = Tls::connect(passing.proxy.address(), "a.test", &passing.client(&[])).unwrap();
    pass(&client, &client, 0..MUCH);
    client.close();
    finish(&client.socket);
    expect_end(&client);
    let session = passing.proxy.session();
    let moved = json!({ "relay_to_backend": "splice", "relay_to_client": "splice" });
    assert_fields(&session, moved);
    assert!(session["bytes_to_backend"].as_u64().unwrap() > MUCH, "{session}");
    passing.rest.await_again(&passing.proxy);
}

#[test]
fn what_no_route_matches_goes_to_the_pool_of_the_listener() {
    let authority = Authority::new("the authority");
    let backend = SecureEcho::start(server(&authority.issue(&["else.example"])));
    let more = section("exact", backend.address);
    let proxy = Plan { listener: ROUTE, more: &more, ..Plan::of(&[backend.address]) }.start();
    let config = Arc::new(client(&authority));
    let client = Tls::connect(proxy.address(), "else.example", &config).unwrap();
    pass(&client, &client, 0..200_000);
    client.close();
    expect_end(&client);
    drop(client);
    assert_eq!(proxy.session()["pool"], "back");
    proxy.await_rest();
}

const ROUTE: &str = "routes = [{ server_names = [\"a.test\"], pool = \"exact\" }]";

#[test]
fn a_rejected_name_is_told_by_an_alert() {
    let passing = Passing::start(ROUTES);
    let config = passing.client(&[]);
    let error = Tls::connect(passing.proxy.address(), "gone.fleet.test", &config).err().unwrap();
    assert_eq!(alert(&error), AlertDescription::UnrecognisedName);
    let session = passing.proxy.session();
    assert_fields(&session, json!({ "reason": "no-route", "pool": null, "backend": null }));
    passing.rest.await_again(&passing.proxy);
}

#[test]
fn without_a_pool_of_the_listener_what_no_route_matches_is_rejected() {
    let authority = Authority::new("the authority");
    let backend = SecureEcho::start(server(&authority.issue(&["a.test"])));
    let text = Plan { listener: ROUTE, more: &section("exact", backend.address), ..Plan::of(&[]) };
    let text = text.text("127.0.0.1:0").replace("pool = \"back\"\n", "").replace("[pool.back]", "");
    let proxy = Proxy::start(&text, super::super::proxy::run);
    let config = Arc::new(client(&authority));
    let error = Tls::connect(proxy.address(), "b.test", &config).err().unwrap();
    assert_eq!(alert(&error), AlertDescription::UnrecognisedName);
    assert_eq!(proxy.session()["reason"], "no-route");
    let client = Tls::connect(proxy.address(), "a.test", &config).unwrap();
    pass(&client, &client, 0..1000);
    drop(client);
    proxy.await_rest();
}

/// A client whose hello was not sent yet, and the hello.
fn hello(proxy: &Proxy, config: &Arc<ClientConfig>) -> (Tls, Vec<u8>) {
    let client = Tls::client(connect(proxy.address()), "a.test", config);
    let bytes = client.output();
    (client, bytes)
}

#[test]
fn a_hello_may_come_in_single_bytes() {
    let passing = Passing::start(ROUTES);
    let (client, bytes) = hello(&passing.proxy, &passing.client(&[]));
    let (last, others) = bytes.split_last().unwrap();
    for byte in others.chunks(1) {
        (&client.socket).write_all(byte).unwrap();
        expect_silence(&client.socket, Duration::from_millis(1));
    }
    (&client.socket).write_all(&[*last]).unwrap();
    let client = client.shaken().unwrap();
    pass(&client, &client, 0..20_000);
    client.close();
    expect_end(&client);
    drop(client);
    assert_fields(&passing.proxy.session(), json!({ "reason": "finished", "pool": "exact" }));
    passing.rest.await_again(&passing.proxy);
}

#[test]
fn a_hello_may_come_in_many_records() {
    let passing = Passing::start(ROUTES);
    let config = passing.client(&[]);
    let (client, bytes) = hello(&passing.proxy, &config);
    let mut records = Vec::new();
    for piece in bytes[5..].chunks(50) {
        records.extend([22, 3, 1, 0, piece.len() as u8]);
        records.extend(piece);
    }
    (&client.socket).write_all(&records).unwrap();
    let client = client.shaken().unwrap();
    pass(&client, &client, 0..1000);
    drop(client);
    passing.rest.await_again(&passing.proxy);
}

#[test]
fn a_hello_that_is_late_is_cut_and_nobody_else() {
    let listener = format!("{ROUTES}\nhello_timeout = \"2s\"");
    let passing = Passing::start(&listener);
    let config = passing.client(&[]);
    let other = Tls::connect(passing.proxy.address(), "a.test", &config).unwrap();
    let silent = connect(passing.proxy.address());
    let (client, bytes) = hello(&passing.proxy, &config);
    // It goes on byte by byte, more slowly than it may: the deadline is for the whole.
    let cut = bytes[..bytes.len() - 1].chunks(1).find_map(|byte| {
        let sent = (&client.socket).write_all(byte);
        sent.and_then(|()| receive_nothing(&client)).err()
    });
    let cut = cut.map(|error| error.kind());
    assert!(matches!(cut, Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)), "{cut:?}");
    expect_reset(&silent);
    let sessions = passing.proxy.sessions(2);
    assert!(sessions.iter().all(|session| session["reason"] == "hello-timeout"), "{sessions:?}");
    // Less than a buffer: for more, a pipe may be opened, which is kept for others.
    pass(&other, &other, 0..10_000);
    drop((other, silent, client));
    passing.rest.await_again(&passing.proxy);
}

/// A pause; an error if the connection is reset meanwhile.
fn receive_nothing(client: &Tls) -> Result<(), Error> {
    client.socket.set_read_timeout(Some(Duration::from_millis(25)))?;
    match (&client.socket).read(&mut [0; 1]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
        Ok(length) => panic!("received {length} bytes"),
    }
}

#[test]
fn what_is_no_hello_is_rejected() {
    let passing = Passing::start(ROUTES);
    let stream = connect(passing.proxy.address());
    (&stream).write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    (&stream).read_to_end(&mut answer).unwrap();
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 10], "the alert unexpected_message");
    drop(stream);
    let session = passing.proxy.session();
    assert_fields(&session, json!({ "reason": "bad-hello", "pool": null }));
    let text = "the alert unexpected_message was sent: the first bytes are no TLS";
    assert_eq!(session["tls"]["failure"], json!({ "word": "plain-text", "text": text }));
    passing.rest.await_again(&passing.proxy);
}

#[test]
fn what_is_no_hello_is_told_apart_in_the_log_and_the_metrics() {
    let passing = Passing::start(ROUTES);
    let cases: [(&[u8], &str, &str); 4] = [
        (&[0x80, 46, 1, 0, 2, 0, 21, 0, 0, 0, 16], "ssl-v2", "protocol_version"),
        (&[22, 9, 1, 0, 5, 1, 0, 0, 1, 0], "record-version", "protocol_version"),
        (&[22, 3, 1, 0, 4, 2, 0, 0, 0], "message-type", "unexpected_message"),
        (&[22, 3, 1, 0xff, 0xff, 1], "long-record", "record_overflow"),
    ];
    for (index, (bytes, word, alert)) in cases.into_iter().enumerate() {
        let stream = connect(passing.proxy.address());
        (&stream).write_all(bytes).unwrap();
        (&stream).read_to_end(&mut Vec::new()).unwrap();
        drop(stream);
        let session = passing.proxy.sessions(index + 1).pop().unwrap();
        let failure = &session["tls"]["failure"];
        assert_eq!((&session["reason"], &failure["word"]), (&json!("bad-hello"), &json!(word)));
        let told = format!("the alert {alert} was sent: ");
        assert!(failure["text"].as_str().unwrap().starts_with(&told), "{session}");
        let label = format!("cause=\"{word}\"");
        assert_eq!(passing.proxy.metric("tls_hellos_refused_total", &label), 1);
    }
    passing.rest.await_again(&passing.proxy);
}

#[test]
fn a_client_that_only_fails_by_its_protocols_is_told_so() {
    let passing = Passing::start(
        "routes = [{ server_names = [\"a.test\"], alpn = [\"h2\"], pool = \"exact\" },\n\
         { alpn = [\"mqtt\"], reject = true }, { server_names = [\"b.test\"], reject = true }]",
    );
    let cases: [(&str, &[&str], AlertDescription, &str, &str); 2] = [
        (
            "c.test",
            &["mqtt"],
            AlertDescription::NoApplicationProtocol,
            "no-application-protocol",
            "the alert no_application_protocol was sent: no route leads anywhere for the \
             protocols offered",
        ),
        (
            "b.test",
            &["h2"],
            AlertDescription::UnrecognisedName,
            "unrecognized-name",
            "the alert unrecognized_name was sent: no route leads anywhere for the server name",
        ),
    ];
    for (index, (name, protocols, expected, word, text)) in cases.into_iter().enumerate() {
        let config = passing.client(protocols);
        let error = Tls::connect(passing.proxy.address(), name, &config).err().unwrap();
        assert_eq!(alert(&error), expected);
        let session = passing.proxy.sessions(index + 1).pop().unwrap();
        assert_eq!(session["reason"], "no-route");
        assert_eq!(session["tls"]["failure"], json!({ "word": word, "text": text }));
    }
    passing.rest.await_again(&passing.proxy);
}

#[test]
fn an_alert_is_not_answered() {
    let passing = Passing::start(ROUTES);
    let stream = connect(passing.proxy.address());
    (&stream).write_all(&[21, 3, 1, 0, 2, 2, 40]).unwrap();
    expect_reset(&stream);
    drop(stream);
    let session = passing.proxy.session();
    assert_fields(&session, json!({ "reason": "bad-hello", "pool": null }));
    let text = "an alert came in place of a hello";
    assert_eq!(session["tls"]["failure"], json!({ "word": "alert", "text": text }));
    passing.rest.await_again(&passing.proxy);
}

#[test]
fn what_is_no_hello_may_pass_as_it_is() {
    let backend = Backend::listen();
    let listener = format!("{ROUTE}\nplain_text = \"pass\"");
    let more = section("exact", backend.address);
    let proxy = Plan { listener: &listener, more: &more, ..Plan::of(&[backend.address]) }.start();
    let rest = Rest::of(&proxy);
    let client = connect(proxy.address());
    (&client).write_all(b"<13>").unwrap();
    send(&client, 0..300_000);
    finish(&client);
    let server = backend.accept();
    let mut first = [0; 4];
    (&server).read_exact(&mut first).unwrap();
    assert_eq!(first, *b"<13>");
    expect(&server, 0..300_000);
    expect_end(&server);
    pass(&server, &client, 0..300_000);
    finish(&server);
    expect_end(&client);
    let expected = json!({ "reason": "finished", "pool": "back", "bytes_to_backend": 300_004 });
    assert_fields(&proxy.session(), expected);
    rest.await_again(&proxy);
}

#[test]
fn a_hello_has_a_greatest_size() {
    let listener = format!("{ROUTES}\nhello_size = \"4KiB\"");
    let passing = Passing::start(&listener);
    let protocols = |count: usize| -> Vec<String> {
        (0..count).map(|number| format!("{number:060}")).chain(["h2".to_owned()]).collect()
    };
    for (count, passes) in [(50, true), (80, false)] {
        let protocols = protocols(count);
        let protocols: Vec<_> = protocols.iter().map(|name| name.as_str()).collect();
        let config = passing.client(&protocols);
        match Tls::connect(passing.proxy.address(), "a.test", &config) {
            Ok(client) => {
                assert!(passes);
                pass(&client, &client, 0..1000);
            }
            Err(error) => {
                assert!(!passes);
                assert_eq!(alert(&error), AlertDescription::DecodeError);
            }
        }
    }
    let sessions = passing.proxy.sessions(2);
    let refused = sessions.iter().find(|session| session["reason"] == "bad-hello").unwrap();
    assert_eq!(refused["tls"]["failure"]["word"], "too-large");
    passing.rest.await_again(&passing.proxy);
}

#[test]
fn a_client_that_leaves_before_its_hello_is_forgotten() {
    let passing = Passing::start(ROUTES);
    let (client, bytes) = hello(&passing.proxy, &passing.client(&[]));
    (&client.socket).write_all(&bytes[..20]).unwrap();
    drop(client);
    assert_eq!(passing.proxy.session()["reason"], "client-aborted");
    passing.rest.await_again(&passing.proxy);
}

#[test]
fn one_listener_ends_tls_for_some_names_and_passes_others() {
    let authority = Authority::new("the authority");
    let plain = Backend::listen();
    let secure = SecureEcho::start(server(&authority.issue(&["a.test"])));
    let more =
        format!("{}{}", section("exact", secure.address), super::scene::edge(&authority, ""));
    let listener = "tls = \"edge\"\n\
         routes = [{ server_names = [\"a.test\"], pool = \"exact\", tls = \"off\" }]";
    let proxy = Plan { listener, more: &more, ..Plan::of(&[plain.address]) }.start();
    let rest = Rest::of(&proxy);
    let config = Arc::new(client(&authority));
    let passed = Tls::connect(proxy.address(), "a.test", &config).unwrap();
    pass(&passed, &passed, 0..10_000);
    let ended = Tls::connect(proxy.address(), super::scene::NAME, &config).unwrap();
    let server = plain.accept();
    pass(&ended, &server, 0..10_000);
    assert_ne!(passed.peer(), ended.peer());
    drop((passed, ended, server));
    rest.await_again(&proxy);
}

const MUCH: u64 = 32 << 20;
