//! What the sockets of the proxy are set to, read from the sockets themselves.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::Socket;

use super::patience::eventually;
use super::peer::Backend;
use super::proxy::{Plan, Proxy};
use super::stream::{expect, send};

/// Its socket of the connection from or to this address.
fn with_peer(proxy: &Proxy, peer: SocketAddr) -> Socket {
    eventually("a socket of the connection", || {
        sockets(proxy).find(|socket| {
            socket.peer_addr().is_ok_and(|address| address.as_socket() == Some(peer))
        })
    })
}

/// Copies of its sockets.
fn sockets(proxy: &Proxy) -> impl Iterator<Item = Socket> {
    let process = pidfd_open(proxy.pid(), PidfdFlags::empty()).unwrap();
    let entries = std::fs::read_dir(proxy.procfs("fd")).unwrap();
    entries.filter_map(move |entry| {
        // It may be closed by now.
        let entry = entry.ok()?;
        let is_socket =
            entry.path().read_link().ok()?.to_str().is_some_and(|it| it.starts_with("socket:"));
        let number = is_socket.then(|| entry.file_name().to_str()?.parse().ok())??;
        Some(pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok()?.into())
    })
}

#[test]
fn each_side_has_the_options_that_were_asked_for_it() {
    let backend = Backend::listen();
    let listener = "keepalive_idle = \"71s\"\nkeepalive_interval = \"7s\"\nkeepalive_probes = 3\n\
                    user_timeout = \"31s\"\nreceive_buffer = \"64KiB\"";
    let pool = "keepalive_idle = \"off\"\nnodelay = false\nuser_timeout = \"41s\"\n\
                send_buffer = \"32KiB\"";
    let proxy = Plan { listener, pool, ..Plan::of(&[backend.address]) }.start();
    let [client, server] = backend.session(&proxy);
    let front = with_peer(&proxy, client.local_addr().unwrap());
    assert!(front.tcp_nodelay().unwrap(), "the default");
    assert!(front.keepalive().unwrap());
    let seconds = Duration::from_secs;
    assert_eq!(front.tcp_keepalive_time().unwrap(), seconds(71));
    assert_eq!(front.tcp_keepalive_interval().unwrap(), seconds(7));
    assert_eq!(front.tcp_keepalive_retries().unwrap(), 3);
    assert_eq!(front.tcp_user_timeout().unwrap(), Some(seconds(31)));
    // The kernel doubles what is asked, for what it needs itself.
    assert_eq!(front.recv_buffer_size().unwrap(), 128 << 10);
    let back = with_peer(&proxy, server.local_addr().unwrap());
    assert!(!back.tcp_nodelay().unwrap());
    assert!(!back.keepalive().unwrap());
    assert_eq!(back.tcp_user_timeout().unwrap(), Some(seconds(41)));
    assert_eq!(back.send_buffer_size().unwrap(), 64 << 10);
}

#[test]
fn a_backend_s_side_has_no_delay_and_is_kept_alive_by_default() {
    let backend = Backend::listen();
    let proxy = Plan::of(&[backend.address]).start();
    let [client, server] = backend.session(&proxy);
    send(&client, 0..10);
    expect(&server, 0..10);
    let back = with_peer(&proxy, server.local_addr().unwrap());
    assert!(back.tcp_nodelay().unwrap());
    assert_eq!(back.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
}
