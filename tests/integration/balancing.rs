//! Which backend gets a session, and what happens when one does not take it.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};

use serde_json::{Value, json};

use super::patience::eventually;
use super::peer::{Backend, BlackHole, Echo, vacant};
use super::proxy::{Plan, Proxy, assert_fields};
use super::stream::{connect, connect_in_vain, expect_end, finish, pass};

/// A whole session with an echoing backend.
fn exchange(proxy: &Proxy) {
    let client = connect(proxy.address());
    pass(&client, &client, 0..100);
    finish(&client);
    expect_end(&client);
}

fn named(name: &str, backend: &Echo, more: &str) -> String {
    format!("{{ address = \"{}\", name = \"{name}\"{more} }}", backend.address)
}

#[test]
fn weights_share_out_the_sessions() {
    let (heavy, light) = (Echo::start(), Echo::start());
    let backends = vec![named("heavy", &heavy, ", weight = 3"), named("light", &light, "")];
    let proxy = Plan { backends, ..Plan::of(&[]) }.start();
    (0..200).for_each(|_| exchange(&proxy));
    let sessions = proxy.sessions(200);
    let count = sessions.iter().filter(|session| session["backend"] == "heavy").count();
    assert!((149..=151).contains(&count), "{count} of 200");
}

#[test]
fn a_refused_connect_leads_to_the_next_backend() {
    let (refusing, backend) = (vacant(), Echo::start());
    let proxy = Plan::of(&[refusing, backend.address]).start();
    (0..10).for_each(|_| exchange(&proxy));
    let sessions = proxy.sessions(10);
    assert!(sessions.iter().all(|session| session["backend"] == backend.address.to_string()));
    let retried = json!([refusing.to_string()]);
    let retries = sessions.iter().filter(|session| session["tried"] == retried).count();
    // The other backend's turn may be spent on a retry, but the first choices take turns too.
    assert!(retries >= 5, "{retries} of 10");
    assert_eq!(proxy.metric("connect_failures_total", ""), retries as u64);
}

#[test]
fn a_connect_that_is_not_answered_leads_to_the_next_backend() {
    let (silent, backend) = (BlackHole::open(), Echo::start());
    let pool = "connect_timeout = \"300ms\"";
    let proxy = Plan { pool, ..Plan::of(&[silent.address, backend.address]) }.start();
    (0..4).for_each(|_| exchange(&proxy));
    let retried = json!([silent.address.to_string()]);
    let sessions = proxy.sessions(4);
    assert!(sessions.iter().filter(|session| session["tried"] == retried).count() >= 2);
    assert!(sessions.iter().all(|session| session["reason"] == "finished"));
    proxy.await_rest();
}

#[test]
fn a_client_is_reset_when_no_backend_answers_in_time() {
    let silent = BlackHole::open();
    let pool = "connect_timeout = \"300ms\"";
    let proxy = Plan { pool, ..Plan::of(&[silent.address]) }.start();
    connect_in_vain(proxy.address());
    assert_eq!(proxy.session()["reason"], "connect-timeout");
}

#[test]
fn a_client_is_reset_when_all_backends_refuse() {
    let refusing = [vacant(), vacant()];
    let proxy = Plan::of(&refusing).start();
    connect_in_vain(proxy.address());
    let session = proxy.session();
    let expected = json!({
        "reason": "connect-failed",
        "pool": "back",
        "backend": null,
        "backend_address": null,
        "connect_us": null,
        "relay_to_backend": "none",
    });
    assert_fields(&session, expected);
    let mut tried: Vec<_> = session["tried"].as_array().unwrap().iter().map(text).collect();
    tried.sort();
    assert_eq!(tried, refusing.map(|address| address.to_string()));
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn backends_are_given_no_more_connections_than_their_limits() {
    let (one, other) = (Echo::start(), Echo::start());
    let backends = vec![named("one", &one, ", max_connections = 1"), named("other", &other, "")];
    let proxy = Plan { pool: "max_connections = 2", backends, ..Plan::of(&[]) }.start();
    let open = || {
        let client = connect(proxy.address());
        pass(&client, &client, 0..10);
        client
    };
    let clients = [open(), open(), open()];
    assert_eq!(proxy.metric("backend_connections", "backend=\"one\""), 1);
    assert_eq!(proxy.metric("backend_connections", "backend=\"other\""), 2);
    connect_in_vain(proxy.address());
    assert_eq!(proxy.session()["reason"], "backend-limit");
    drop(clients);
    proxy.await_rest();
    drop(open());
}

#[test]
fn source_addresses_are_what_backends_see() {
    let backend = Backend::listen();
    let pool = "source_addresses = [\"127.0.0.2\", \"127.0.0.3\"]";
    let proxy = Plan { pool, ..Plan::of(&[backend.address]) }.start();
    let sources: Vec<_> =
        (0..4).map(|_| backend.session(&proxy)[1].peer_addr().unwrap().ip().to_string()).collect();
    for source in ["127.0.0.2", "127.0.0.3"] {
        assert_eq!(sources.iter().filter(|seen| *seen == source).count(), 2, "{sources:?}");
    }
}

#[test]
fn a_killed_backend_ends_its_sessions_and_the_others_go_on() {
    let (doomed, backend) = (Backend::listen(), Echo::start());
    let proxy = Plan::of(&[doomed.address, backend.address]).start();
    // Each backend gets one of the first two, which say who they are.
    let clients = [connect(proxy.address()), connect(proxy.address())];
    for (mut client, name) in clients.iter().zip([0, 1]) {
        client.write_all(&[name]).unwrap();
    }
    let (killed, mut connection) = (doomed.address, doomed.accept());
    let mut name = [0];
    connection.read_exact(&mut name).unwrap();
    let (mut client, mut alive) =
        (&clients[usize::from(name[0])], &clients[usize::from(1 - name[0])]);
    let mut process = echo_in_a_process(doomed, connection);
    pass(client, client, 0..100_000);
    process.kill().unwrap();
    process.wait().unwrap();

    let failed = eventually("the client is told", || client.write_all(&[0; 1000]).err());
    assert!(matches!(failed.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe));
    let session = json!({ "backend": killed.to_string(), "reason": "backend-reset" });
    assert_fields(&proxy.session(), session);
    alive.read_exact(&mut name).unwrap();
    pass(alive, alive, 0..100_000);
    (0..4).for_each(|_| exchange(&proxy));
    let sessions = proxy.sessions(5);
    assert!(sessions[1..].iter().all(|other| other["backend"] == backend.address.to_string()));
}

/// A backend of one connection that can be killed: `cat` echoes, and holds the listening socket
/// as its standard error.
fn echo_in_a_process(backend: Backend, connection: TcpStream) -> Child {
    let output = connection.try_clone().unwrap();
    Command::new("cat")
        .stdin(OwnedFd::from(connection))
        .stdout(OwnedFd::from(output))
        .stderr(OwnedFd::from(backend.listener))
        .spawn()
        .unwrap()
}
