//! Handshakes with clients: protocols, limits of time and number, and those that are cut.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use rustls::AlertDescription;
use rustls::version::{TLS12, TLS13};
use serde_json::json;

use super::super::proxy::{Plan, assert_fields};
use super::super::stream::{connect, expect_end, expect_silence, finish, pass};
use super::authority::Authority;
use super::peer::{SecureEcho, Tls, alert, client, client_of, server};
use super::scene::{NAME, Scene, Settings};

#[test]
fn the_protocol_that_leads_to_a_pool_is_the_one_that_is_agreed_on() {
    let authority = Authority::new("the authority");
    let [new, old, rest] = [(); 3].map(|()| super::super::peer::Backend::listen());
    let more = format!(
        "{}[pool.new]\nbackends = [\"{}\"]\n[pool.old]\nbackends = [\"{}\"]\n",
        super::scene::edge(&authority, "alpn = [\"h2\", \"http/1.1\", \"mqtt\"]"),
        new.address,
        old.address
    );
    let listener = "tls = \"edge\"\nroutes = [{ alpn = [\"h2\"], pool = \"new\" },\n\
                    { alpn = [\"http/1.1\"], pool = \"old\" }]";
    let plan = Plan { listener, more: &more, ..Plan::of(&[rest.address]) };
    let proxy = plan.start();
    let mut config = client(&authority);
    for (offered, backend, agreed) in [
        (&["http/1.1", "h2"][..], &old, Some("http/1.1")),
        (&["h2", "http/1.1"], &new, Some("h2")),
        (&["mqtt", "http/1.1", "h2"], &old, Some("http/1.1")),
        (&["mqtt"], &rest, Some("mqtt")),
        (&[], &rest, None),
    ] {
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let client = Tls::connect(proxy.address(), NAME, &Arc::new(config.clone())).unwrap();
        assert_eq!(client.protocol().as_deref(), agreed, "{offered:?}");
        let server = backend.accept();
        pass(&client, &server, 0..100);
    }
    proxy.await_rest();
}

#[test]
fn a_protocol_is_agreed_on_or_the_client_is_refused() {
    let scene = Scene::start("alpn = [\"h2\", \"http/1.1\"]");
    let mut config = client(&scene.authority);
    for (offered, agreed) in
        [(vec!["http/1.1", "h2"], Some("h2")), (vec!["http/1.1"], Some("http/1.1")), (vec![], None)]
    {
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let (client, server) = scene.session(&Arc::new(config.clone()));
        assert_eq!(client.protocol().as_deref(), agreed);
        pass(&client, &server, 0..100);
        client.close();
        finish(&server);
        expect_end(&client);
    }
    config.alpn_protocols = vec![b"smtp".to_vec()];
    let error = Tls::connect(scene.proxy.address(), NAME, &Arc::new(config)).err().unwrap();
    assert_eq!(alert(&error), AlertDescription::NoApplicationProtocol);
    let sessions = scene.proxy.sessions(4);
    let shown: Vec<_> = sessions.iter().map(|session| &session["tls"]["protocol"]).collect();
    assert_eq!(json!(shown), json!(["h2", "http/1.1", null, null]));
    assert_fields(&sessions[3], json!({ "reason": "client-tls", "backend": null }));
    let failure = &sessions[3]["tls"]["failure"];
    assert_eq!(failure["word"], "no-application-protocol");
    let text = failure["text"].as_str().unwrap();
    assert!(text.starts_with("the alert no_application_protocol was sent: "), "{text}");
    scene.await_rest();
}

/// A client whose hello is sent, and that says nothing more.
fn stalled(scene: &Scene) -> Tls {
    let client = Tls::client(connect(scene.proxy.address()), NAME, &scene.client());
    (&client.socket).write_all(&client.output()).unwrap();
    client
}

#[test]
fn a_handshake_that_stalls_is_cut_at_its_deadline() {
    let scene = Scene::start("handshake_timeout = \"2s\"");
    let (other, its_server) = scene.session(&scene.client());
    let client = stalled(&scene);
    // The answer to its hello may be read, then there is nothing more.
    let ended = std::io::copy(&mut &client.socket, &mut std::io::sink());
    assert_eq!(ended.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset));
    assert_fields(&scene.proxy.session(), json!({ "reason": "handshake-timeout", "pool": "back" }));
    assert_eq!(scene.proxy.metric("tls_handshake_failures_total", "cause=\"timeout\""), 1);
    pass(&other, &its_server, 0..1000);
    drop((other, its_server));
    scene.await_rest();
}

#[test]
fn a_client_that_leaves_during_the_handshake_is_forgotten() {
    let scene = Scene::start("");
    for leave in [finish, |_: &std::net::TcpStream| {}] {
        let client = stalled(&scene);
        leave(&client.socket);
    }
    let sessions = scene.proxy.sessions(2);
    let reasons: Vec<_> = sessions.iter().map(|session| &session["reason"]).collect();
    assert_eq!(json!(reasons), json!(["client-aborted", "client-aborted"]));
    scene.await_rest();
}

#[test]
fn with_as_many_handshakes_as_may_be_others_wait_and_are_served() {
    let settings = Settings { process: "workers = 1\nmax_handshakes = 1", ..Settings::default() };
    let scene = Scene::start_with("", settings);
    let first = stalled(&scene);
    scene.proxy.await_metric("worker_tls_handshakes_open", |open| open == 1);
    let waiting: Vec<_> = (0..8).map(|_| stalled(&scene)).collect();
    for client in &waiting {
        expect_silence(&client.socket, Duration::from_millis(50));
    }
    assert_eq!(scene.proxy.metric("worker_tls_handshakes_open", ""), 1);
    let first = first.shaken().unwrap();
    let server = scene.backend.accept();
    pass(&first, &server, 0..1000);
    for client in waiting {
        let client = client.shaken().unwrap();
        pass(&client, scene.backend.accept(), 0..1000);
    }
    drop((first, server));
    scene.await_rest();
}

#[test]
fn draining_lets_a_handshake_finish() {
    let mut scene = Scene::start("");
    let client = stalled(&scene);
    scene.proxy.await_metric("worker_tls_handshakes_open", |open| open == 1);
    scene.proxy.signal(Signal::TERM);
    scene.proxy.await_event("draining: no new connections");
    let client = client.shaken().unwrap();
    let server = scene.backend.accept();
    pass(&client, &server, 0..100_000);
    client.close();
    finish(&server);
    expect_end(&client);
    assert_eq!(scene.proxy.exit_code(), 0);
    assert_eq!(scene.proxy.session()["reason"], "finished");
}

#[test]
fn at_the_drain_deadline_a_handshake_is_cut() {
    let process = "workers = 1\ndrain_timeout = \"300ms\"";
    let mut scene = Scene::start_with("", Settings { process, ..Settings::default() });
    let client = stalled(&scene);
    scene.proxy.await_metric("worker_tls_handshakes_open", |open| open == 1);
    scene.proxy.signal(Signal::TERM);
    assert_eq!(scene.proxy.exit_code(), 0);
    assert_eq!(scene.proxy.session()["reason"], "drained");
    drop(client);
}

#[test]
fn an_identity_that_signs_for_long_serves() {
    let authority = Authority::new("the authority");
    let slow = authority.identity("slow", &authority.issue_slow(&["slow.test"]));
    let backend = super::super::peer::Backend::listen();
    let more = format!("[tls.edge]\ncertificates = [{slow}]");
    let listener = "tls = \"edge\"";
    let plan = Plan { listener, more: &more, ..Plan::of(&[backend.address]) };
    let proxy = plan.start();
    let rest = super::scene::Rest::of(&proxy);
    for version in [&TLS13, &TLS12] {
        let config = Arc::new(client_of(&authority, &[version]));
        for _ in 0..3 {
            let client = Tls::connect(proxy.address(), "slow.test", &config).unwrap();
            let server = backend.accept();
            pass(&client, &server, 0..10_000);
            pass(&server, &client, 0..10_000);
            client.close();
            finish(&server);
            expect_end(&client);
        }
    }
    assert!(proxy.sessions(6).iter().all(|session| session["reason"] == "finished"));
    assert_eq!(proxy.metric("worker_tls_long_steps_total", ""), 6, "each hello's answer");
    assert_eq!(proxy.metric("worker_tls_long_steps_abandoned_total", ""), 0);
    rest.await_again(&proxy);
}

#[test]
fn early_data_is_refused_and_the_session_goes_on() {
    let scene = Scene::start("");
    // Another server of this name has given the client a ticket for it.
    let mut config = server(&scene.authority.issue(&[NAME]));
    config.max_early_data_size = 1 << 14;
    let other = SecureEcho::start(config);
    let mut config = client_of(&scene.authority, &[&TLS13]);
    config.enable_early_data = true;
    let config = Arc::new(config);
    let visit = Tls::connect(other.address, NAME, &config).unwrap();
    pass(&visit, &visit, 0..1_000);
    let client = Tls::client(connect(scene.proxy.address()), NAME, &config);
    client.say_early(b"once more");
    let client = client.shaken().unwrap();
    assert!(!client.is_early_data_taken());
    let server = scene.backend.accept();
    pass(&client, &server, 0..10_000);
    pass(&server, &client, 0..10_000);
    drop((client, server));
    scene.await_rest();
}

#[test]
fn a_hello_that_comes_with_the_first_bytes_of_a_wrong_handshake_is_answered() {
    let scene = Scene::start("");
    let client = stalled(&scene);
    // A record of the handshake that nothing allows here.
    (&client.socket).write_all(&[22, 3, 3, 0, 4, 2, 0, 0, 0]).unwrap();
    let ended = std::io::copy(&mut &client.socket, &mut std::io::sink());
    ended.unwrap();
    drop(client);
    let session = scene.proxy.session();
    assert_eq!(session["reason"], "client-tls");
    assert_eq!(session["tls"]["failure"]["word"], "decrypt", "{session}");
    scene.await_rest();
}
