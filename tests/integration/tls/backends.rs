//! TLS with backends: whom the proxy believes, what it asks them for and shows to them.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use serde_json::{Value, json};

use super::super::peer::Backend;
use super::super::proxy::{Plan, Proxy, assert_fields};
use super::super::stream::{connect, connect_in_vain, expect, expect_end, expect_reset, finish};
use super::super::stream::{pass, reset, send};
use super::authority::Authority;
use super::peer::{SecureEcho, Tls, client, server, server_verifying};
use super::scene::{NAME, Rest, edge};

/// A proxy that takes plain text and speaks TLS to backends, of which `authority` is believed.
fn encrypting(authority: &Authority, backends: &[SocketAddr], lines: &str) -> Proxy {
    let more = format!("[pool.back.tls]\nca = {:?}\n{lines}\n", authority.file());
    Plan { more: &more, ..Plan::of(backends) }.start()
}

/// A whole session with an echoing backend.
fn exchange(proxy: &Proxy) {
    let client = connect(proxy.address());
    pass(&client, &client, 0..100_000);
    finish(&client);
    expect_end(&client);
}

#[test]
fn much_each_way_at_once_arrives_from_tls_to_tls() {
    let authority = Authority::new("the authority");
    let backend = Backend::listen();
    let own = Arc::new(server(&authority.issue(&["127.0.0.1"])));
    let more = format!("[pool.back.tls]\nca = {:?}\n{}", authority.file(), edge(&authority, ""));
    let plan = Plan { listener: "tls = \"edge\"", more: &more, ..Plan::of(&[backend.address]) };
    let proxy = plan.start();
    let rest = Rest::of(&proxy);
    let config = Arc::new(client(&authority));
    let client = Tls::connect(proxy.address(), NAME, &config).unwrap();
    let server = Tls::accept(backend.accept(), &own).unwrap();
    std::thread::scope(|scope| {
        for (source, target) in [(&client, &server), (&server, &client)] {
            scope.spawn(move || {
                pass(source, target, 0..MUCH);
                source.close();
                expect_end(target);
            });
        }
    });
    let expected =
        json!({ "reason": "finished", "bytes_to_backend": MUCH, "bytes_to_client": MUCH });
    assert_fields(&proxy.session(), expected);
    drop((client, server));
    rest.await_again(&proxy);
}

#[test]
fn plain_clients_reach_backends_by_tls() {
    let authority = Authority::new("the authority");
    let backend = SecureEcho::start(server(&authority.issue(&["127.0.0.1"])));
    let proxy = encrypting(&authority, &[backend.address], "");
    let rest = Rest::of(&proxy);
    (0..5).for_each(|_| exchange(&proxy));
    let sessions = proxy.sessions(5);
    for session in &sessions {
        let expected = json!({ "reason": "finished", "relay_to_backend": "tls", "tried": [] });
        assert_fields(session, expected);
    }
    let seen = backend.seen();
    assert!(seen.iter().all(|seen| seen.server_name.is_none()), "an address is not asked for");
    assert!(!seen[0].resumed && seen[1..].iter().all(|seen| seen.resumed), "{seen:?}");
    for (kind, count) in [("full", 1), ("resumed", 4)] {
        let label = format!("kind=\"{kind}\"");
        assert_eq!(proxy.metric("backend_tls_handshakes_total", &label), count);
    }
    rest.await_again(&proxy);
}

#[test]
fn a_backend_that_is_not_believed_is_passed_over() {
    let authority = Authority::new("the authority");
    let stranger = Authority::new("another authority");
    let wrong = SecureEcho::start(server(&stranger.issue(&["127.0.0.1"])));
    let right = SecureEcho::start(server(&authority.issue(&["127.0.0.1"])));
    let proxy = encrypting(&authority, &[wrong.address, right.address], "");
    let rest = Rest::of(&proxy);
    (0..6).for_each(|_| exchange(&proxy));
    let sessions = proxy.sessions(6);
    let tried = json!([wrong.address.to_string()]);
    assert!(sessions.iter().all(|session| session["backend"] == right.address.to_string()));
    let retried: Vec<_> = sessions.iter().filter(|session| session["tried"] == tried).collect();
    assert!(!retried.is_empty(), "{sessions:?}");
    let cause = "cause=\"certificate\"";
    let failures = proxy.metric("backend_tls_handshake_failures_total", cause);
    assert_eq!(failures, retried.len() as u64);
    rest.await_again(&proxy);
}

#[test]
fn with_no_backend_that_is_believed_a_session_is_reset_and_all_but_one_are_ejected() {
    let authority = Authority::new("the authority");
    let stranger = Authority::new("another authority");
    let wrong = SecureEcho::start(server(&stranger.issue(&["127.0.0.1"])));
    let other_name = SecureEcho::start(server(&authority.issue(&["else.test"])));
    let addresses = [wrong.address, other_name.address];
    let ejecting = "[pool.back.ejection]\nfailures = 3\nmax_share = 100";
    let proxy = encrypting(&authority, &addresses, ejecting);
    for _ in 0..3 {
        connect_in_vain(proxy.address());
    }
    let sessions = proxy.sessions(3);
    for session in &sessions {
        assert_fields(session, json!({ "reason": "backend-tls", "backend": null }));
        assert_eq!(session["tried"].as_array().unwrap().len(), 2);
        assert_eq!(session["tls"]["failure"]["word"], "certificate");
    }
    // Both have failed as often; the last one that could serve is never taken out, whatever the
    // share: an ejection helps only where connections can go elsewhere.
    proxy.await_words("is ejected (was up): 3 connections in a row failed");
    proxy.await_rest();
}

#[test]
fn a_backend_that_speaks_no_tls_is_passed_over() {
    let authority = Authority::new("the authority");
    let plain = super::super::peer::Echo::start();
    let silent = Backend::listen();
    let lines = "handshake_timeout = \"2s\"";
    let proxy = encrypting(&authority, &[plain.address, silent.address], lines);
    connect_in_vain(proxy.address());
    assert_fields(&proxy.session(), json!({ "reason": "backend-tls", "backend": null }));
    let failures = |cause: &str| {
        let label = format!("cause=\"{cause}\"");
        proxy.metric("backend_tls_handshake_failures_total", &label)
    };
    assert_eq!((failures("timeout"), failures("timeout") + failures("protocol")), (1, 2));
    proxy.await_rest();
}

/// What a backend was asked for by a client that asks the proxy for `NAME`, or for what `client`
/// says, and what the log says.
fn asked(lines: &str, names: &[&str], protocols: &[&str]) -> (super::peer::Seen, Value) {
    let authority = Authority::new("the authority");
    let mut own = server(&authority.issue(names));
    own.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let backend = SecureEcho::start(own);
    let edge = edge(&authority, "alpn = [\"h2\", \"http/1.1\"]");
    let more = format!("[pool.back.tls]\nca = {:?}\n{lines}\n{edge}", authority.file());
    let plan = Plan { listener: "tls = \"edge\"", more: &more, ..Plan::of(&[backend.address]) };
    let proxy = plan.start();
    let mut config: ClientConfig = client(&authority);
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let client = Tls::connect(proxy.address(), NAME, &Arc::new(config)).unwrap();
    pass(&client, &client, 0..10_000);
    client.close();
    expect_end(&client);
    drop(client);
    let session = proxy.session();
    assert_eq!(session["reason"], "finished");
    proxy.await_rest();
    (backend.seen().remove(0), session)
}

#[test]
fn a_backend_is_asked_for_the_name_that_is_configured() {
    let (seen, _) = asked("server_name = \"client\"", &[NAME], &[]);
    assert_eq!(seen.server_name.as_deref(), Some(NAME));
    let (seen, _) = asked("server_name = \"fixed.test\"", &["fixed.test"], &[]);
    assert_eq!(seen.server_name.as_deref(), Some("fixed.test"));
    let (seen, _) = asked("server_name = \"backend\"", &["127.0.0.1"], &[]);
    assert_eq!(seen.server_name, None);
}

#[test]
fn a_backend_is_offered_the_protocols_that_are_configured() {
    let name = "server_name = \"client\"\n";
    let (seen, session) = asked(&format!("{name}alpn = \"client\""), &[NAME], &["http/1.1"]);
    assert_eq!(seen.protocol.as_deref(), Some("http/1.1"));
    assert_eq!(session["tls"]["protocol"], "http/1.1");
    let (seen, _) = asked(&format!("{name}alpn = \"client\""), &[NAME], &[]);
    assert_eq!(seen.protocol, None);
    let (seen, session) = asked(&format!("{name}alpn = [\"h2\"]"), &[NAME], &["http/1.1"]);
    assert_eq!(seen.protocol.as_deref(), Some("h2"));
    assert_eq!(session["tls"]["protocol"], "http/1.1");
}

#[test]
fn a_backend_that_asks_is_shown_a_certificate() {
    let authority = Authority::new("the authority");
    let own = authority.issue(&["the proxy"]);
    let [certificate, key] = authority.pair("client", &own);
    let config = server_verifying(&authority.issue(&["127.0.0.1"]), &authority);
    let backend = SecureEcho::start(config);
    let lines = format!("certificate = {certificate:?}\nkey = {key:?}");
    let proxy = encrypting(&authority, &[backend.address], &lines);
    exchange(&proxy);
    assert_eq!(backend.seen()[0].client.as_ref(), own.chain().first());
    proxy.await_rest();
}

#[test]
fn a_name_that_the_client_does_not_give_cannot_be_asked_for() {
    let authority = Authority::new("the authority");
    let backend = SecureEcho::start(server(&authority.issue(&[NAME])));
    let edge = edge(&authority, "");
    let more =
        format!("[pool.back.tls]\nca = {:?}\nserver_name = \"client\"\n{edge}", authority.file());
    let plan = Plan { listener: "tls = \"edge\"", more: &more, ..Plan::of(&[backend.address]) };
    let proxy = plan.start();
    let mut config = client(&authority);
    config.enable_sni = false;
    let client = Tls::connect(proxy.address(), NAME, &Arc::new(config)).unwrap();
    expect_reset(&client);
    let session = proxy.session();
    assert_fields(&session, json!({ "reason": "backend-tls", "backend": null }));
    assert_eq!(session["tls"]["server_name"], json!(null));
    assert!(backend.seen().is_empty());
    proxy.await_rest();
}

/// A client in the clear, and a backend's end of TLS.
fn session(proxy: &Proxy, backend: &Backend, authority: &Authority) -> (std::net::TcpStream, Tls) {
    let config = Arc::new(server(&authority.issue(&["127.0.0.1"])));
    let client = connect(proxy.address());
    (client, Tls::accept(backend.accept(), &config).unwrap())
}

#[test]
fn half_close_keeps_the_other_direction() {
    let authority = Authority::new("the authority");
    let backend = Backend::listen();
    let proxy = encrypting(&authority, &[backend.address], "");
    let rest = Rest::of(&proxy);
    for client_first in [true, false] {
        let (client, server) = session(&proxy, &backend, &authority);
        pass(&client, &server, 0..100_000);
        if client_first {
            finish(&client);
            expect_end(&server);
            pass(&server, &client, 0..100_000);
            server.close();
            expect_end(&client);
        } else {
            server.close();
            expect_end(&client);
            pass(&client, &server, 100_000..200_000);
            finish(&client);
            expect_end(&server);
        }
    }
    assert!(proxy.sessions(2).iter().all(|session| session["reason"] == "finished"));
    rest.await_again(&proxy);
}

#[test]
fn a_backends_stream_cut_short_is_delivered_and_told() {
    let authority = Authority::new("the authority");
    let backend = Backend::listen();
    let proxy = encrypting(&authority, &[backend.address], "");
    let rest = Rest::of(&proxy);
    let (client, server) = session(&proxy, &backend, &authority);
    send(&server, 0..100_000);
    server.socket.shutdown(std::net::Shutdown::Write).unwrap();
    expect(&client, 0..100_000);
    expect_end(&client);
    pass(&client, &server, 0..100_000);
    finish(&client);
    expect_end(&server);
    let expected = json!({ "reason": "tls-truncated", "bytes_to_client": 100_000 });
    assert_fields(&proxy.session(), expected);
    rest.await_again(&proxy);
}

/// Many programs leave without a word of TLS once they were told the end: then nothing is missing,
/// unless they were still speaking.
#[test]
fn a_backend_that_leaves_after_the_client_has_ended_has_finished_unless_it_was_speaking() {
    let authority = Authority::new("the authority");
    let backend = Backend::listen();
    let proxy = encrypting(&authority, &[backend.address], "");
    let rest = Rest::of(&proxy);
    for (number, (answer, reason)) in [(0, "finished"), (1, "tls-truncated")].iter().enumerate() {
        let (client, server) = session(&proxy, &backend, &authority);
        pass(&client, &server, 0..100_000);
        pass(&server, &client, 0..100_000);
        finish(&client);
        expect_end(&server);
        pass(&server, &client, 100_000..100_000 + answer);
        server.socket.shutdown(std::net::Shutdown::Write).unwrap();
        expect_end(&client);
        assert_eq!(proxy.sessions(number + 1)[number]["reason"], *reason);
    }
    rest.await_again(&proxy);
}

/// From TLS to TLS the client is not told an end that the backend has not said.
#[test]
fn an_end_that_the_backend_does_not_say_is_not_told_to_the_client() {
    let authority = Authority::new("the authority");
    let backend = Backend::listen();
    let own = Arc::new(server(&authority.issue(&["127.0.0.1"])));
    let more = format!("[pool.back.tls]\nca = {:?}\n{}", authority.file(), edge(&authority, ""));
    let plan = Plan { listener: "tls = \"edge\"", more: &more, ..Plan::of(&[backend.address]) };
    let proxy = plan.start();
    let rest = Rest::of(&proxy);
    let client = Tls::connect(proxy.address(), NAME, &Arc::new(client(&authority))).unwrap();
    let server = Tls::accept(backend.accept(), &own).unwrap();
    pass(&server, &client, 0..100_000);
    client.close();
    expect_end(&server);
    server.socket.shutdown(std::net::Shutdown::Write).unwrap();
    let received = (&client).read(&mut [0; 1]).map_err(|error| error.kind());
    assert_eq!(received, Err(std::io::ErrorKind::UnexpectedEof));
    drop((client, server));
    assert_eq!(proxy.session()["reason"], "finished");
    rest.await_again(&proxy);
}

#[test]
fn a_reset_by_the_backend_reaches_the_client_after_the_bytes() {
    let authority = Authority::new("the authority");
    let backend = Backend::listen();
    let proxy = encrypting(&authority, &[backend.address], "");
    let rest = Rest::of(&proxy);
    let (client, server) = session(&proxy, &backend, &authority);
    send(&server, 0..10_000);
    reset(server.socket);
    expect(&client, 0..10_000);
    expect_reset(&client);
    assert_eq!(proxy.session()["reason"], "backend-reset");
    rest.await_again(&proxy);
}

/// It passes in seconds, with the peers built for debugging.
const MUCH: u64 = 64 << 20;
