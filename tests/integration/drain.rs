//! How the process ends: sessions finish, or are closed when the time is over, or at once.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use super::patience::{DEADLINE, eventually};
use super::peer::{Backend, Echo};
use super::proxy::{Plan, Proxy};
use super::stream::{connect, expect_end, expect_silence, finish, pass};

/// From now on nobody is accepted.
fn await_refusal(proxy: &Proxy) {
    eventually("connections are refused", || {
        let refused = TcpStream::connect_timeout(&proxy.address(), DEADLINE).err()?;
        (refused.kind() == ErrorKind::ConnectionRefused).then_some(())
    });
}

#[test]
fn without_sessions_a_signal_ends_it_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut proxy = Plan::of(&[Echo::start().address]).start();
        proxy.signal(signal);
        assert_eq!(proxy.exit_code(), 0);
    }
}

#[test]
fn draining_refuses_new_connections_and_lets_open_sessions_finish() {
    let backend = Echo::start();
    let mut proxy = Plan { process: "workers = 2", ..Plan::of(&[backend.address]) }.start();
    let client = connect(proxy.address());
    pass(&client, &client, 0..100_000);
    assert!(proxy.get("/healthz").0.contains("200"));
    proxy.signal(Signal::TERM);
    await_refusal(&proxy);
    assert!(proxy.get("/healthz").0.contains("503"));
    pass(&client, &client, 100_000..4_000_000);
    assert!(proxy.is_running());
    finish(&client);
    expect_end(&client);
    assert_eq!(proxy.exit_code(), 0);
    // Those that were accepted while it was looked whether they are refused have lines as well.
    let own = proxy.session_of(client.local_addr().unwrap());
    assert_eq!(own["reason"], "finished");
}

#[test]
fn at_the_drain_deadline_sessions_are_closed_in_order() {
    let backend = Backend::listen();
    let process = "workers = 1\ndrain_timeout = \"500ms\"";
    let mut proxy = Plan { process, ..Plan::of(&[backend.address]) }.start();
    let [client, server] = backend.session(&proxy);
    pass(&server, &client, 0..100);
    proxy.signal(Signal::TERM);
    // The client is told first; what it still sends is delivered.
    expect_end(&client);
    pass(&client, &server, 0..100_000);
    finish(&client);
    expect_end(&server);
    assert_eq!(proxy.exit_code(), 0);
    assert_eq!(proxy.session()["reason"], "drained");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let backend = Echo::start();
    let mut proxy = Plan::of(&[backend.address]).start();
    let client = connect(proxy.address());
    pass(&client, &client, 0..100);
    proxy.signal(Signal::TERM);
    proxy.await_event("draining: no new connections");
    expect_silence(&client, Duration::from_millis(100));
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit_code(), 130);
    assert_eq!(proxy.session()["reason"], "drained");
}

#[test]
fn what_waits_to_be_accepted_is_served_before_the_end() {
    let backend = Echo::start();
    let mut proxy = Plan { process: "workers = 2", ..Plan::of(&[backend.address]) }.start();
    let clients: Vec<_> = (0..100).map(|_| connect(proxy.address())).collect();
    proxy.signal(Signal::TERM);
    for client in clients {
        pass(&client, &client, 0..1000);
    }
    assert_eq!(proxy.exit_code(), 0);
    assert_eq!(proxy.sessions(100).len(), 100);
}
