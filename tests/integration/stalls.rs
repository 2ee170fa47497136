//! Backends that stop reading: what they cost, and that others do not notice.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use super::patience::eventually;
use super::peer::Echo;
use super::proxy::{Plan, Proxy, base, run};
use super::stream::{connect, fill, pass, ready, reset};

/// A backend that accepts nothing and reads nothing: its connections wait in the kernel.
fn frozen() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Accepted connections inherit a small window, and small segments, by which the kernel sizes
    // the queue of the sender: a thousand must not fill the host's memory for TCP.
    socket.set_recv_buffer_size(8 << 10).unwrap();
    socket.set_tcp_mss(536).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(4096).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// Two listeners, one of them leading to the frozen backend.
///
/// Keep-alive finds the clients whose reset was lost, as one is where the host is short of memory
/// for sockets.
fn beside(frozen: SocketAddr, working: SocketAddr, process: &str) -> Proxy {
    let pool = |name: &str, backend| {
        format!(
            "[listener.{name}]\nlisten = \"127.0.0.1:0\"\npool = \"{name}\"\n\
             keepalive_idle = \"1s\"\nkeepalive_interval = \"1s\"\nkeepalive_probes = 3\n\
             [pool.{name}]\nbackends = [\"{backend}\"]\n"
        )
    };
    let (frozen, working) = (pool("frozen", frozen), pool("working", working));
    let config = format!("{}[process]\nworkers = 1\n{process}\n{frozen}{working}", base());
    Proxy::start(&config, run)
}

#[test]
fn a_backend_that_stops_reading_costs_little_and_slows_nobody() {
    let (backend, working) = (frozen(), Echo::start());
    let proxy = beside(backend.1, working.address, "");
    let stalled = connect(proxy.listener("frozen"));
    let client = connect(proxy.listener("working"));
    pass(&client, &client, 0..1 << 20);
    let before = proxy.memory();
    stall(std::slice::from_ref(&stalled));
    pass(&client, &client, 1 << 20..32 << 20);
    let grown = proxy.memory().saturating_sub(before);
    // The buffers that go round; what waits stays in the kernel.
    assert!(grown < 8 << 20, "{grown} bytes more");
}

#[test]
fn a_thousand_sessions_to_a_frozen_backend_do_not_hold_up_the_others() {
    const STALLED: u64 = 1000;
    // More than the sockets behind the proxy take.
    const ENOUGH: usize = 384 << 10;
    let (backend, working) = (frozen(), Echo::start());
    let proxy = beside(backend.1, working.address, "linger_timeout = \"500ms\"");
    let address = proxy.listener("frozen");
    let stalled: Vec<_> = (0..STALLED).map(|_| connect_small(address)).collect();
    let held = |gauge| proxy.metric(gauge, "");
    let all_hold = || held("worker_buffers_held") + held("worker_pipes_held") >= STALLED;
    let mut taken = vec![0; stalled.len()];
    eventually("every session holds a buffer or a pipe", || {
        for (client, taken) in stalled.iter().zip(&mut taken) {
            *taken += fill(client, ENOUGH - *taken);
        }
        all_hold().then_some(())
    });
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let client = connect(proxy.listener("working"));
                pass(&client, &client, 0..8 << 20);
            });
        }
    });
    assert_eq!(proxy.metric("sessions_closed_total", "listener=\"frozen\""), 0);
    stalled.into_iter().for_each(reset);
    proxy.await_rest();
}

#[test]
fn a_frozen_backend_that_holds_more_than_its_share_loses_sessions() {
    let (backend, working) = (frozen(), Echo::start());
    // 64 buffers, of which one backend may hold 32.
    let process = "relay_memory = \"1MiB\"\nrelay_share = 50\npipes = 0";
    let proxy = beside(backend.1, working.address, process);
    let address = proxy.listener("frozen");
    let stalled: Vec<_> = (0..48).map(|_| connect(address)).collect();
    stall(&stalled);
    let ended = proxy.sessions(16);
    assert!(ended.iter().all(|session| session["reason"] == "relay-memory"));
    let client = connect(proxy.listener("working"));
    pass(&client, &client, 0..4 << 20);
    // A session holds up to two buffers behind the one that it sends: the last one that is closed
    // may give back three.
    let kept = eventually("the frozen backend keeps to its share", || {
        let held = proxy.metric("worker_buffers_held", "");
        (held <= 32).then_some(held)
    });
    assert!(kept >= 30, "no more than it must: {kept} buffers are left of 32");
    let ended = proxy.sessions(16).len();
    // With three buffers each, ten sessions keep as much.
    assert!((16..=38).contains(&ended), "{ended} sessions were closed");
}

#[test]
fn what_the_kernel_holds_of_a_stalled_session_is_limited_where_that_is_asked_for() {
    let frozen = frozen();
    // What a session takes with such buffers towards the client and towards the backend.
    let taken = |receive: &str, send: &str| {
        let listener = &*format!("receive_buffer = \"{receive}\"");
        let pool = &*format!("send_buffer = \"{send}\"");
        let process = "workers = 1\npipes = 0";
        let proxy = Plan { process, listener, pool, ..Plan::of(&[frozen.1]) }.start();
        let client = connect_small(proxy.address());
        let (mut taken, mut quiet) = (0, 0);
        eventually("everything is full", || {
            let more = fill(&client, 64 << 10);
            taken += more;
            quiet = if more == 0 { quiet + 1 } else { 0 };
            (quiet == 20).then_some(())
        });
        taken
    };
    // What the kernel's own limit lets pass as a rule.
    let least = taken("8KiB", "8KiB");
    for (receive, send) in [("200KiB", "8KiB"), ("8KiB", "200KiB")] {
        let more = taken(receive, send);
        println!("{receive} and {send}: {more} bytes; with 8KiB each {least}");
        assert!(more > least + (100 << 10), "{receive} and {send}: {more} bytes, {least}");
    }
}

#[test]
fn bulk_goes_through_the_smallest_buffers_each_way() {
    let echo = Echo::start();
    let least = "receive_buffer = \"4KiB\"\nsend_buffer = \"4KiB\"";
    let proxy = Plan { listener: least, pool: least, ..Plan::of(&[echo.address]) }.start();
    let client = connect(proxy.address());
    pass(&client, &client, 0..4 << 20);
}

/// Sends until nothing between the clients and the frozen backend takes any more.
fn stall(clients: &[TcpStream]) {
    eventually("everything is full", || {
        let taken: usize = clients.iter().map(|client| fill(client, 64 << 10)).sum();
        (taken == 0).then_some(())
    });
}

/// A client with little room of its own: a thousand that stall must not fill the host's memory.
fn connect_small(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_send_buffer_size(32 << 10).unwrap();
    socket.connect(&address.into()).unwrap();
    ready(socket.into())
}
