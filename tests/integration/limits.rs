//! Limits on connections: the surplus waits in the kernel, is served later, and costs no CPU.

use std::net::TcpStream;
use std::time::Duration;

use super::patience::eventually;
use super::peer::Echo;
use super::proxy::{Plan, Proxy};
use super::stream::{connect, expect, expect_silence, has_received, pass, send};

#[test]
fn the_surplus_over_the_process_limit_waits_and_is_served_later() {
    let backend = Echo::start();
    let process = "workers = 2\nmax_connections = 4";
    the_surplus_waits(&Plan { process, ..Plan::of(&[backend.address]) }.start());
}

#[test]
fn the_surplus_over_a_listener_limit_waits_and_is_served_later() {
    let backend = Echo::start();
    let listener = "max_connections = 4";
    the_surplus_waits(&Plan { listener, ..Plan::of(&[backend.address]) }.start());
}

/// With a limit of 4, of which each is used.
fn the_surplus_waits(proxy: &Proxy) {
    let served: Vec<_> = (0..4).map(|_| open(proxy)).collect();
    let waiting: Vec<_> = (0..12).map(|_| connect(proxy.address())).collect();
    waiting.iter().for_each(|client| send(client, 0..100));
    let before = processor_time(proxy);
    expect_silence(&waiting[0], Duration::from_secs(1));
    let used = processor_time(proxy) - before;
    assert!(used < Duration::from_millis(500), "{used:?} in a second of waiting");
    assert_eq!(proxy.metric("connections_accepted_total", ""), 4);
    for client in served {
        pass(&client, &client, 100..200);
    }
    serve_all(waiting, || assert!(proxy.metric("backend_connections", "") <= 4));
    assert!(proxy.sessions(16).iter().all(|session| session["reason"] == "finished"));
}

#[test]
fn a_burst_beyond_a_large_limit_is_served_without_loss() {
    let backend = Echo::start();
    // More than the places below which connections are accepted one by one.
    let process = "workers = 2\nmax_connections = 600";
    let proxy = Plan { process, ..Plan::of(&[backend.address]) }.start();
    let clients: Vec<_> = (0..800).map(|_| connect(proxy.address())).collect();
    clients.iter().for_each(|client| send(client, 0..100));
    serve_all(clients, || assert!(proxy.metric("backend_connections", "") <= 600));
    assert!(proxy.sessions(800).iter().all(|session| session["reason"] == "finished"));
    proxy.await_rest();
}

/// In whatever order the clients are served, each one leaves as soon as it was.
fn serve_all(mut clients: Vec<TcpStream>, check: impl Fn()) {
    eventually("everyone is served", || {
        check();
        clients.retain(|client| {
            let served = has_received(client);
            if served {
                expect(client, 0..100);
            }
            !served
        });
        clients.is_empty().then_some(())
    });
}

fn open(proxy: &Proxy) -> TcpStream {
    let client = connect(proxy.address());
    pass(&client, &client, 0..100);
    client
}

/// What the process has used so far.
fn processor_time(proxy: &Proxy) -> Duration {
    let stat = std::fs::read_to_string(proxy.procfs("stat")).unwrap();
    // The name before it may hold spaces. utime and stime are fields 14 and 15 (proc_pid_stat(5)).
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// USER_HZ, which Linux promises to user space.
const TICKS_PER_SECOND: u64 = 100;
