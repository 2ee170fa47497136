//! Owns how the bench makes sockets that listen; it does not accept from them.

use std::io;
use std::net::{SocketAddrV4, TcpListener};

use rustix::net::sockopt;

/// bbr paces by a clock of its own and distorts figures taken on loopback.
pub const CONGESTION: &str = "cubic";

/// Accepted streams inherit that they do not wait for acknowledgements.
pub fn listener(address: SocketAddrV4) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    rustix::net::listen(&listener, BACKLOG)?;
    sockopt::set_tcp_nodelay(&listener, true)?;
    Ok(listener)
}

const BACKLOG: i32 = 4096;
