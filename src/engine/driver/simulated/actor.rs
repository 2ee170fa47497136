//! The peers of the process under test: scripts that run inside the world, on its time.
//!
//! It gives them non-blocking calls on their own ends of connections. What they do with them is
//! the tests' affair.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::network::Network;
use super::{ActorId, EndpointId, ListenerId, Owner};
use crate::engine::time::Time;

/// A client or a backend. It must not touch its `World`: all it may use is in `peers`.
pub trait Actor {
    /// Does what can be done now, and says when to be called again.
    fn step(&mut self, peers: &mut Peers<'_>) -> Next;
}

impl<F: FnMut(&mut Peers<'_>) -> Next> Actor for F {
    fn step(&mut self, peers: &mut Peers<'_>) -> Next {
        self(peers)
    }
}

/// When an actor has its next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At this time, or earlier when something changed at one of its ends.
    At(Time),
    /// When something changed at one of its ends.
    OnEvent,
    /// Never. Its ends stay as they are.
    Done,
}

/// The network, as one actor may use it. Errors are those of Linux; what would block is
/// `io::ErrorKind::WouldBlock`.
pub struct Peers<'a> {
    pub(super) network: &'a mut Network,
    pub(super) actor: ActorId,
}

impl Peers<'_> {
    pub fn now(&self) -> Time {
        self.network.agenda.now()
    }

    pub fn after(&self, delay: Duration) -> Next {
        Next::At(self.now() + delay)
    }

    /// Several may listen at one address: connections are spread over them.
    pub fn listen(&mut self, address: SocketAddr, backlog: usize) -> ListenerId {
        self.network.listen(address, backlog, Owner::Actor(self.actor))
    }

    /// Resets what was not accepted. Without another listener, connections are refused then.
    pub fn close_listener(&mut self, listener: ListenerId) {
        self.network.close_listener(listener);
    }

    /// From now on, requests to connect to `address` vanish.
    pub fn black_hole(&mut self, address: SocketAddr) {
        self.network.black_hole(address);
    }

    pub fn accept(&mut self, listener: ListenerId) -> Option<EndpointId> {
        self.network.accept(listener, Owner::Actor(self.actor))
    }

    /// Begins to connect. `source` may leave the port, or all, open (0).
    pub fn connect(&mut self, source: SocketAddr, target: SocketAddr) -> io::Result<EndpointId> {
        let end = self.network.open(source, Owner::Actor(self.actor));
        self.network.connect(end, target)?;
        Ok(end)
    }

    /// Whether the connection came about. To be asked until it did: later it would take the error
    /// that the next read or write should report.
    pub fn is_connected(&mut self, end: EndpointId) -> io::Result<bool> {
        Ok(self.network.connected(end)?)
    }

    pub fn write(&mut self, end: EndpointId, data: &[u8]) -> io::Result<usize> {
        Ok(self.network.write(end, data)?)
    }

    /// 0 is the end of the stream.
    pub fn read(&mut self, end: EndpointId, into: &mut [u8]) -> io::Result<usize> {
        Ok(self.network.read(end, into)?)
    }

    pub fn shutdown_write(&mut self, end: EndpointId) -> io::Result<()> {
        Ok(self.network.shutdown_write(end)?)
    }

    /// Sends what was written, then the end; a reset if there are unread bytes.
    pub fn close(&mut self, end: EndpointId) {
        self.network.close(end, false);
    }

    pub fn reset(&mut self, end: EndpointId) {
        self.network.close(end, true);
    }

    pub fn local_address(&self, end: EndpointId) -> SocketAddr {
        self.network.endpoint(end).local
    }

    pub fn remote_address(&self, end: EndpointId) -> SocketAddr {
        self.network.endpoint(end).remote
    }
}
