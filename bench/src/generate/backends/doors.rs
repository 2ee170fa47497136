//! Owns the sockets at which the backends of one group of agents are reached; who comes in is not
//! its concern.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use ringmain::engine::Listener;

use super::super::datagrams::{self, BACKEND_ROOM, Port, grant_room};
use super::super::protocol::Protocol;
use super::house::House;

/// Open, and not served yet.
pub enum Doors {
    Streams(Vec<TcpListener>),
    /// With the bytes that may wait at the one with the least room.
    Datagrams(Vec<UdpSocket>, usize),
}

impl Doors {
    pub fn open(protocol: Protocol, addresses: &[SocketAddr]) -> io::Result<Doors> {
        if !protocol.is_datagrams() {
            let listeners: io::Result<_> = addresses.iter().map(|at| listen(*at)).collect();
            return Ok(Doors::Streams(listeners?));
        }
        let (mut sockets, mut least) = (Vec::new(), BACKEND_ROOM);
        for address in addresses {
            let socket = UdpSocket::bind(address)?;
            least = least.min(grant_room(&socket, BACKEND_ROOM)?);
            sockets.push(socket);
        }
        Ok(Doors::Datagrams(sockets, least))
    }

    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Doors::Streams(listeners) => listeners.iter().map(TcpListener::local_addr).collect(),
            Doors::Datagrams(sockets, _) => sockets.iter().map(UdpSocket::local_addr).collect(),
        }
    }

    /// Bytes that may wait at a socket of datagrams.
    pub fn room(&self) -> Option<usize> {
        match self {
            Doors::Streams(_) => None,
            Doors::Datagrams(_, least) => Some(*least),
        }
    }

    /// The same sockets once more, for a run of several.
    pub fn try_clone(&self) -> io::Result<Doors> {
        Ok(match self {
            Doors::Streams(listeners) => {
                let copies: io::Result<_> = listeners.iter().map(TcpListener::try_clone).collect();
                Doors::Streams(copies?)
            }
            Doors::Datagrams(sockets, least) => {
                let copies: io::Result<_> = sockets.iter().map(UdpSocket::try_clone).collect();
                Doors::Datagrams(copies?, *least)
            }
        })
    }

    /// Has the house serve all who come.
    pub fn serve(self, house: &Rc<House>) {
        let engine = &house.stage.engine;
        match self {
            Doors::Streams(listeners) => listeners.into_iter().for_each(|socket| {
                let listener = Listener::new(engine, OwnedFd::from(socket), false);
                engine.spawn(Rc::clone(house).open(listener));
            }),
            Doors::Datagrams(sockets, _) => sockets.into_iter().for_each(|socket| {
                let port = Port::adopt(&house.stage, socket);
                port.forget();
                engine.spawn(datagrams::serve(Rc::clone(house), port));
            }),
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    rustix::net::listen(&listener, BACKLOG)?;
    // Accepted connections inherit it: answers do not wait for acknowledgements.
    rustix::net::sockopt::set_tcp_nodelay(&listener, true)?;
    Ok(listener)
}

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
