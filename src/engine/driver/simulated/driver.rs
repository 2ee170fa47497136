//! The `Driver` trait on a simulated kernel. It translates; `kernel` and `world` do the work.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ptr::NonNull;
use std::rc::Rc;

use rustix::io::Errno;

use super::super::{
    Completion, Descriptor, Driver, DriverCounters, Operation, SocketOptions, Token, Wait,
};
use super::RingId;
use super::descriptors::Object;
use super::endpoint::Phase;
use super::ring::Buffer;
use super::world::State;
use crate::engine::time::Time;

pub(super) struct SimulatedDriver {
    pub(super) state: Rc<RefCell<State>>,
    pub(super) ring: RingId,
}

impl Driver for SimulatedDriver {
    // SAFETY: the caller keeps the trait's promise: what the operation points to stays valid.
    unsafe fn submit(&mut self, token: Token, operation: &Operation) {
        self.state.borrow_mut().kernel.submit(self.ring, token, operation);
    }

    fn cancel(&mut self, token: Token) {
        self.state.borrow_mut().kernel.cancel(self.ring, token);
    }

    // SAFETY: the caller keeps the trait's promise: the memory is the ring's meanwhile.
    unsafe fn provide(&mut self, id: u16, memory: NonNull<u8>, length: u32) {
        let buffer = Buffer { id, memory, length: length as usize };
        self.state.borrow_mut().kernel.ring(self.ring).provide(buffer);
    }

    fn turn(&mut self, wait: Wait, completions: &mut Vec<Completion>) -> io::Result<bool> {
        self.state.borrow_mut().turn(self.ring, wait, completions)
    }

    fn now(&self) -> Time {
        self.state.borrow().kernel.network.agenda.now()
    }

    fn counters(&self) -> DriverCounters {
        self.state.borrow_mut().kernel.ring(self.ring).counters
    }

    fn open(&mut self, target: &SocketAddr, _: &SocketOptions) -> io::Result<Descriptor> {
        let unspecified: IpAddr = match target {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Ok(self.state.borrow_mut().kernel.open(SocketAddr::new(unspecified, 0))?)
    }

    fn bind(&mut self, socket: Descriptor, address: SocketAddr) -> io::Result<()> {
        let kernel = &mut self.state.borrow_mut().kernel;
        let end = kernel.descriptors.socket(socket)?;
        let endpoint = kernel.network.endpoint(end);
        if endpoint.phase != Phase::Fresh || endpoint.local.is_ipv4() != address.is_ipv4() {
            return Err(Errno::INVAL.into());
        }
        kernel.network.bind(end, address);
        Ok(())
    }

    fn accept_now(&mut self, listener: Descriptor) -> io::Result<Descriptor> {
        Ok(self.state.borrow_mut().kernel.accept_now(listener)?)
    }

    fn peer_address(&mut self, socket: Descriptor) -> io::Result<SocketAddr> {
        let kernel = &mut self.state.borrow_mut().kernel;
        let endpoint = kernel.network.endpoint(kernel.descriptors.socket(socket)?);
        match endpoint.phase {
            Phase::Open => Ok(endpoint.remote),
            // Linux forgets the peer of a connection that is gone.
            Phase::Fresh | Phase::Connecting | Phase::Closed => Err(Errno::NOTCONN.into()),
        }
    }

    fn local_address(&mut self, socket: Descriptor) -> io::Result<SocketAddr> {
        let kernel = &mut self.state.borrow_mut().kernel;
        match kernel.descriptors.object(socket) {
            Object::Socket { end, .. } => Ok(kernel.network.endpoint(end).local),
            Object::Listener(listener) => Ok(kernel.network.listener_address(listener)),
            Object::PipeReader(_) | Object::PipeWriter(_) => Err(Errno::NOTSOCK.into()),
        }
    }

    fn shutdown_write(&mut self, socket: Descriptor) -> io::Result<()> {
        Ok(self.state.borrow_mut().kernel.shutdown_write(socket)?)
    }

    fn reset_on_close(&mut self, socket: Descriptor) {
        let descriptors = &mut self.state.borrow_mut().kernel.descriptors;
        if let Object::Socket { reset_on_close, .. } = &mut descriptors.entry(socket).object {
            *reset_on_close = true;
        }
    }

    fn is_gone(&mut self, socket: Descriptor) -> bool {
        self.state.borrow_mut().kernel.is_gone(socket)
    }

    fn unsent(&mut self, socket: Descriptor) -> io::Result<usize> {
        let kernel = &mut self.state.borrow_mut().kernel;
        Ok(kernel.network.endpoint(kernel.descriptors.socket(socket)?).unacknowledged())
    }

    fn unread(&mut self, socket: Descriptor) -> io::Result<usize> {
        let kernel = &mut self.state.borrow_mut().kernel;
        Ok(kernel.network.endpoint(kernel.descriptors.socket(socket)?).readable())
    }

    fn read(&mut self, socket: Descriptor, room: &mut [u8]) -> io::Result<usize> {
        Ok(self.state.borrow_mut().kernel.read(socket, room)?)
    }

    fn skip(&mut self, socket: Descriptor, length: usize) -> io::Result<usize> {
        // The simulated network holds little; what is skipped here is read like all else.
        let mut room = vec![0; length.min(1 << 20)];
        self.read(socket, &mut room)
    }

    fn write(&mut self, socket: Descriptor, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.state.borrow_mut().kernel.write(socket, bytes)?)
    }

    fn splice(&mut self, from: Descriptor, to: Descriptor, length: usize) -> io::Result<usize> {
        Ok(self.state.borrow_mut().kernel.splice(from, to, length)?)
    }

    fn pipe(&mut self, size: usize) -> io::Result<(Descriptor, Descriptor)> {
        Ok(self.state.borrow_mut().kernel.pipe(size)?)
    }

    fn close(&mut self, descriptor: Descriptor) {
        self.state.borrow_mut().kernel.close(descriptor);
    }
}

impl Drop for SimulatedDriver {
    /// Memory lent to the ring is forgotten with it.
    fn drop(&mut self) {
        let kernel = &mut self.state.borrow_mut().kernel;
        kernel.rings[self.ring.0] = None;
        kernel.descriptors.forget(self.ring);
    }
}
