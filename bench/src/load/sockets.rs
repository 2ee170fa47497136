//! Owns how the bench makes its sockets; it does not read or write them.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

/// bbr paces by a clock of its own and distorts figures taken on loopback.
pub const CONGESTION: &str = "cubic";

/// A non-blocking stream that is not connected.
pub fn stream() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_congestion(&socket, CONGESTION)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(socket)
}

/// Accepted streams inherit no delay and the congestion control from the listener.
pub fn listener(address: SocketAddrV4) -> Result<OwnedFd, Errno> {
    let socket = stream()?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

pub fn local_port(socket: impl AsFd) -> Result<u16, Errno> {
    let address = SocketAddrV4::try_from(net::getsockname(socket)?)?;
    Ok(address.port())
}

pub fn accept(listener: impl AsFd) -> Result<OwnedFd, Errno> {
    net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
}

/// Begins to connect; the stream is writable once it has.
pub fn connect(socket: impl AsFd, target: SocketAddrV4) -> Result<(), Errno> {
    match net::connect(socket, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Client addresses and ports, each used again only after more than a million others, so that
/// connections in TIME_WAIT are not in the way. The ports lie below the range from which the
/// kernel gives them out.
#[derive(Default)]
pub struct Sources {
    next: u32,
}

impl Sources {
    pub fn bind_next(&mut self, socket: impl AsFd) -> Result<(), Errno> {
        // Without it, a port in TIME_WAIT is refused even where the connection would be a new one.
        sockopt::set_socket_reuseaddr(socket.as_fd(), true)?;
        let mut tries = 0;
        loop {
            match net::bind(socket.as_fd(), &self.next_address()) {
                Err(Errno::ADDRINUSE) if tries < BIND_TRIES => tries += 1,
                result => return result,
            }
        }
    }

    fn next_address(&mut self) -> SocketAddrV4 {
        let index = self.next;
        self.next = (index + 1) % (SOURCE_ADDRESSES * u32::from(SOURCE_PORTS));
        // Both remainders fit their types by the size of the constants.
        let host = (index % SOURCE_ADDRESSES) as u8 + 1;
        let port = SOURCE_PORT_FIRST + (index / SOURCE_ADDRESSES) as u16;
        SocketAddrV4::new(Ipv4Addr::new(127, 0, 2, host), port)
    }
}

const BACKLOG: i32 = 4096;
const BIND_TRIES: u32 = 64;
const SOURCE_ADDRESSES: u32 = 64;
const SOURCE_PORTS: u16 = 22_000;
const SOURCE_PORT_FIRST: u16 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_source_is_used_again_only_after_all_others() {
        let mut sources = Sources::default();
        let count = SOURCE_ADDRESSES * u32::from(SOURCE_PORTS);
        let seen: HashSet<_> = (0..count).map(|_| sources.next_address()).collect();
        assert_eq!(seen.len(), count as usize);
        assert!(seen.iter().all(|address| address.port() < 32_768));
        assert!(seen.contains(&sources.next_address()));
    }
}
