//! Sockets that their owner reads: datagrams, on the real ring.

use std::net::UdpSocket;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv, sockopt};

use super::super::race::{Either, race};
use super::*;

/// A socket in the engine's care, and one that sends to it.
fn pair(engine: &Engine) -> (Polled, UdpSocket) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.connect(socket.local_addr().unwrap()).unwrap();
    (Polled::new(engine, socket.into()), peer)
}

fn take(socket: &Polled) -> Result<usize, Errno> {
    let mut room = [0; 100];
    recv(socket, &mut room, RecvFlags::DONTWAIT).map(|(length, _)| length)
}

#[test]
fn a_datagram_without_bytes_is_no_end() {
    let engine = engine(4, 4);
    run(&engine, async {
        let (socket, peer) = pair(&engine);
        assert_eq!(take(&socket), Err(Errno::AGAIN));
        engine.spawn(async move {
            peer.send(b"").unwrap();
            peer.send(b"more").unwrap();
        });
        let found = socket.ready(Interest::READ).await.unwrap();
        assert!(found.contains(Interest::READ) && !found.contains(Interest::HANG_UP));
        assert_eq!([take(&socket), take(&socket)], [Ok(0), Ok(4)]);
        assert_eq!(take(&socket), Err(Errno::AGAIN));
    });
}

#[test]
fn a_wait_that_is_given_up_lets_the_socket_close() {
    let engine = engine(4, 4);
    run(&engine, async {
        let (socket, _peer) = pair(&engine);
        let limit = engine.sleep_until(engine.now() + Duration::from_millis(1));
        let waited = race(socket.ready(Interest::READ), limit).await;
        assert!(matches!(waited, Either::Second(())));
    });
}

#[test]
fn what_finds_no_room_is_counted_by_the_kernel() {
    let engine = engine(4, 4);
    run(&engine, async {
        let (socket, peer) = pair(&engine);
        sockopt::set_socket_recv_buffer_size(&socket, 4096).unwrap();
        assert_eq!(socket.packets_dropped().unwrap(), 0);
        (0..200).for_each(|_| assert_eq!(peer.send(&[7; 100]).unwrap(), 100));
        let mut taken = 0;
        while take(&socket).is_ok() {
            taken += 1;
        }
        let dropped = socket.packets_dropped().unwrap();
        assert!(taken > 0 && dropped > 0, "{taken} taken, {dropped} dropped");
        assert_eq!(taken + dropped, 200);
    });
}
