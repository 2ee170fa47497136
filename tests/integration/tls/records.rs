//! How the proxy cuts what it encrypts: into small records while little comes, so that nobody waits
//! for the rest of one, and into full ones while plenty does.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::version::TLS13;

use super::peer::client_of;
use super::scene::Scene;

/// The most that a record says in the clear (RFC 8446, section 5.1).
const FULL: usize = 1 << 14;

/// Receives one record; how much it says in the clear.
fn record(mut socket: &TcpStream) -> usize {
    let mut header = [0; 5];
    socket.read_exact(&mut header).unwrap();
    let [kind, _, _, high, low] = header;
    assert_eq!(kind, 23, "a record of data");
    let length = usize::from(u16::from_be_bytes([high, low]));
    socket.read_exact(&mut vec![0; length]).unwrap();
    const TYPE_AND_TAG: usize = 1 + 16;
    length - TYPE_AND_TAG
}

#[test]
fn records_are_as_small_as_what_comes_and_as_large_as_they_may_be() {
    // A ticket would be a record too.
    let scene = Scene::start("tickets = false");
    let config = Arc::new(client_of(&scene.authority, &[&TLS13]));
    let (client, mut server) = scene.session(&config);
    for length in [1, 100, 1_400, 1] {
        server.write_all(&vec![7; length]).unwrap();
        assert_eq!(record(&client.socket), length);
    }
    const PLENTY: usize = 16 << 20;
    let writer = std::thread::spawn(move || {
        server.write_all(&vec![7; PLENTY]).unwrap();
        server
    });
    let (mut received, mut full, mut count) = (0, 0, 0);
    while received < PLENTY {
        let length = record(&client.socket);
        assert!((1..=FULL).contains(&length), "{length}");
        received += length;
        full += usize::from(length == FULL);
        count += 1;
    }
    assert_eq!(received, PLENTY);
    println!("{full} of {count} records are full");
    assert!(full * FULL > PLENTY / 2, "{full} of {count} records are full");
    // And small again once little comes.
    let mut server = writer.join().unwrap();
    server.write_all(&[7; 10]).unwrap();
    assert_eq!(record(&client.socket), 10);
    drop((client, server));
    scene.await_rest();
}
