//! Owns the addresses that programs of a test listen on, where they cannot be told to take a port
//! of the kernel's choice.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// An address of loopback that no one else here has, with a port that is free there for TCP and
/// UDP. Since other connections begin at 127.0.0.1 it stays free, also between the end of a program
/// and its next start.
pub fn own() -> SocketAddr {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // 127.64.0.0 and what follows: so that neither the low addresses that presets name are met, nor
    // as a rule those of another process that runs these tests.
    let number = TAKEN.fetch_add(1, Ordering::Relaxed);
    let bits = Ipv4Addr::new(127, 64, 0, 1).to_bits() + ((process::id() % 4096) << 10) + number;
    for _ in 0..ATTEMPTS {
        let listener = TcpListener::bind((Ipv4Addr::from_bits(bits), 0)).unwrap();
        let address = listener.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port of 127.0.0.0/8 is free for both TCP and UDP");
}

const ATTEMPTS: usize = 100;
