//! How sessions end: in order, by a reset, by a time-out; and what still arrives.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::patience::eventually;
use super::peer::{Backend, BlackHole};
use super::proxy::{Plan, Proxy, assert_fields};
use super::stream::{
    connect, expect, expect_end, expect_reset, expect_silence, finish, pass, reset, send,
};

const SOME: u64 = 300_000;

fn serving() -> (Backend, Proxy) {
    let backend = Backend::listen();
    let proxy = Plan::of(&[backend.address]).start();
    (backend, proxy)
}

#[test]
fn half_close_by_the_client_keeps_the_other_direction() {
    let (backend, proxy) = serving();
    let [client, server] = backend.session(&proxy);
    pass(&client, &server, 0..SOME);
    finish(&client);
    expect_end(&server);
    pass(&server, &client, 0..SOME);
    finish(&server);
    expect_end(&client);
    assert_eq!(proxy.session()["reason"], "finished");
    proxy.await_rest();
}

#[test]
fn half_close_by_the_backend_keeps_the_other_direction() {
    let (backend, proxy) = serving();
    let [client, server] = backend.session(&proxy);
    pass(&server, &client, 0..SOME);
    finish(&server);
    expect_end(&client);
    pass(&client, &server, 0..SOME);
    finish(&client);
    expect_end(&server);
    assert_eq!(proxy.session()["reason"], "finished");
    proxy.await_rest();
}

#[test]
fn both_sides_may_end_at_the_same_time() {
    let (backend, proxy) = serving();
    for _ in 0..50 {
        let [client, server] = backend.session(&proxy);
        std::thread::scope(|scope| {
            for own in [&client, &server] {
                scope.spawn(move || {
                    send(own, 0..1000);
                    finish(own);
                    expect(own, 0..1000);
                    expect_end(own);
                });
            }
        });
    }
    assert!(proxy.sessions(50).iter().all(|session| session["reason"] == "finished"));
    proxy.await_rest();
}

#[test]
fn a_reset_by_the_client_reaches_the_backend_after_the_bytes() {
    let (backend, proxy) = serving();
    let [client, server] = backend.session(&proxy);
    send(&client, 0..32_000);
    reset(client);
    expect(&server, 0..32_000);
    expect_reset(&server);
    let expected = json!({ "reason": "client-reset", "bytes_to_backend": 32_000 });
    assert_fields(&proxy.session(), expected);
    proxy.await_rest();
}

#[test]
fn a_reset_by_the_backend_reaches_the_client_after_the_bytes() {
    let (backend, proxy) = serving();
    let [client, server] = backend.session(&proxy);
    send(&server, 0..32_000);
    reset(server);
    expect(&client, 0..32_000);
    expect_reset(&client);
    assert_eq!(proxy.session()["reason"], "backend-reset");
    proxy.await_rest();
}

/// A worker that is busy learns of a connection, of the bytes and of the reset all at once, and
/// then the kernel calls that a connect that failed.
#[test]
fn bytes_before_a_reset_arrive_also_when_the_connect_is_noticed_after_it() {
    let silent = BlackHole::open();
    let plan = Plan { pool: "connect_timeout = \"30s\"", ..Plan::of(&[silent.address]) };
    let proxy = plan.start();
    let client = connect(proxy.address());
    eventually("the proxy connects", || is_connecting_to(silent.address).then_some(()));
    proxy.signal(Signal::STOP);
    eventually("the proxy stands still", || proxy.is_stopped().then_some(()));
    let server = silent.accept();
    send(&server, 0..32_000);
    reset(server);
    proxy.signal(Signal::CONT);
    expect(&client, 0..32_000);
    expect_reset(&client);
    assert_eq!(proxy.session()["reason"], "backend-reset");
    proxy.await_rest();
}

/// Whether a request to connect there waits for an answer.
fn is_connecting_to(address: SocketAddr) -> bool {
    const SYN_SENT: &str = "02";
    let port = format!(":{:04X}", address.port());
    std::fs::read_to_string("/proc/net/tcp").unwrap().lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[2].ends_with(&port) && fields[3] == SYN_SENT
    })
}

#[test]
fn a_reset_after_a_half_close_is_no_end_of_stream() {
    let (backend, proxy) = serving();
    let [client, server] = backend.session(&proxy);
    finish(&client);
    expect_end(&server);
    send(&server, 0..1000);
    reset(server);
    expect(&client, 0..1000);
    expect_reset(&client);
    assert_eq!(proxy.session()["reason"], "backend-reset");
}

#[test]
fn an_idle_session_is_closed_in_order() {
    let backend = Backend::listen();
    let plan = Plan { listener: "idle_timeout = \"2s\"", ..Plan::of(&[backend.address]) };
    let proxy = plan.start();
    let [client, server] = backend.session(&proxy);
    pass(&client, &server, 0..10);
    expect_end(&client);
    expect_end(&server);
    assert_eq!(proxy.session()["reason"], "idle-timeout");
    proxy.await_rest();
}

#[test]
fn a_half_closed_session_has_its_own_time_out() {
    let backend = Backend::listen();
    let plan = Plan { listener: "half_closed_timeout = \"300ms\"", ..Plan::of(&[backend.address]) };
    let proxy = plan.start();
    let [client, server] = backend.session(&proxy);
    finish(&client);
    expect_end(&server);
    expect_end(&client);
    assert_eq!(proxy.session()["reason"], "half-closed-timeout");
    let [client, server] = backend.session(&proxy);
    expect_silence(&client, Duration::from_millis(600));
    pass(&server, &client, 0..10);
}
