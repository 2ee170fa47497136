//! Thousands of connections at once: all of them served, none left, and what each one costs.

use std::net::TcpStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::peer::Backend;
use super::proxy::Plan;
use super::stream::{expect, send};

const CONNECTIONS: usize = 5000;
/// Bytes of user-space memory for an idle connection.
const MEMORY_MOST: u64 = 2048;

#[test]
fn thousands_of_idle_connections_cost_little_and_leave_nothing() {
    raise_descriptor_limit();
    let backend = Backend::listen();
    let process = "workers = 1\nmax_connections = 6000";
    let proxy = Plan { process, ..Plan::of(&[backend.address]) }.start();
    let descriptors = proxy.descriptors();
    // Afterwards every buffer that goes round has been used.
    let [client, server] = backend.session(&proxy);
    (0..600).for_each(|place| exchange(&client, &server, place));
    drop([client, server]);
    proxy.await_rest();
    let memory = proxy.memory();

    let sessions: Vec<_> = (0..CONNECTIONS).map(|_| backend.session(&proxy)).collect();
    for (place, [client, server]) in (0..).zip(&sessions) {
        exchange(client, server, place);
        exchange(server, client, place);
    }
    proxy.await_metric("worker_sessions_open", |open| open == CONNECTIONS as u64);
    proxy.await_metric("worker_buffers_held", |held| held == 0);
    proxy.await_descriptors(descriptors + 2 * CONNECTIONS);
    let each = (proxy.memory() - memory) / CONNECTIONS as u64;
    println!("{each} bytes of memory for an idle connection");
    assert!(each <= MEMORY_MOST, "{each} bytes for an idle connection");

    drop(sessions);
    proxy.await_rest();
    proxy.await_descriptors(descriptors);
}

fn exchange(source: &TcpStream, target: &TcpStream, place: u64) {
    send(source, place..place + 8);
    expect(target, place..place + 8);
}

/// Both ends of every connection are in this process.
fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let enough = maximum.is_none_or(|maximum| maximum >= 2 * CONNECTIONS as u64 + 4000);
    assert!(enough, "this test needs more descriptors: `ulimit -n` says {maximum:?}");
}
