//! A listening socket: connections as they come, or one at a time when places are few.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::task::Poll;

use super::driver::{Descriptor, Interest, Operation, Token};
use super::executor::Engine;
use super::slots::Keep;
use super::socket::{Pending, Socket};

/// A listening socket of this worker. Dropped, it is closed once nothing is in flight on it.
pub struct Listener {
    engine: Engine,
    descriptor: Descriptor,
    /// One accept takes one connection: other workers accept on the same socket, or the kernel
    /// knows no other.
    singly: Cell<bool>,
}

/// Connections of one listener as they come; see [`Listener::incoming`].
pub struct Incoming<'l> {
    listener: &'l Listener,
    /// The multishot accept in flight, armed again when the kernel ended it.
    armed: Option<Token>,
    stopping: bool,
}

impl Listener {
    /// Accepts on `socket`; `shared` says that other workers do so too.
    pub fn new(engine: &Engine, socket: OwnedFd, shared: bool) -> Listener {
        let descriptor = Descriptor(socket.into_raw_fd());
        let listener = Listener::from_descriptor(engine, descriptor);
        // The kernel wakes whoever has waited longest, and a multishot accept keeps its place in
        // that queue: on a shared socket it would take everyone.
        listener.singly.set(shared);
        listener
    }

    /// A listening socket that the engine's driver knows, and that nobody else owns.
    pub fn from_descriptor(engine: &Engine, descriptor: Descriptor) -> Listener {
        engine.core().io.borrow_mut().adopt(descriptor);
        Listener { engine: engine.clone(), descriptor, singly: Cell::new(false) }
    }

    /// Accepts whatever comes. Connections that were accepted and not taken when this is dropped
    /// are closed, so `stop` it and take them first.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self, armed: None, stopping: false }
    }

    /// Waits until a connection can be accepted.
    pub async fn ready(&self) -> io::Result<()> {
        let interest = Interest::READ;
        let operation = Operation::Poll { socket: self.descriptor, interest, lasting: false };
        let (outcome, _) = Pending::start(&self.engine, operation, Keep::Nothing).await;
        outcome.checked().map(|_| ())
    }

    /// Takes one connection that is waiting already; `WouldBlock` when there is none.
    pub fn accept_now(&self) -> io::Result<Socket> {
        let mut io = self.engine.core().io.borrow_mut();
        let accepted = io.driver.accept_now(self.descriptor)?;
        io.adopt(accepted);
        drop(io);
        Ok(Socket::adopted(self.engine.clone(), accepted))
    }

    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.engine.core().io.borrow_mut().driver.local_address(self.descriptor)
    }
}

impl Incoming<'_> {
    /// The next connection; `None` after `stop`, when all were taken. After an error the accept is
    /// no longer armed; the next call arms it again.
    pub async fn next(&mut self) -> io::Result<Option<Socket>> {
        let engine = &self.listener.engine;
        poll_fn(|context| {
            loop {
                let mut io = engine.core().io.borrow_mut();
                let listener = self.listener.descriptor;
                if self.stopping && self.armed.is_none() {
                    return Poll::Ready(Ok(None));
                }
                let token = *self.armed.get_or_insert_with(|| {
                    let multishot = !self.listener.singly.get();
                    let operation = Operation::Accept { listener, multishot };
                    io.start(operation, Keep::Accepted(Box::default()), engine.now())
                });
                match io.look_accepted(token, context.waker()) {
                    None => return Poll::Pending,
                    Some(Ok(number)) => {
                        drop(io);
                        let accepted = Socket::adopted(engine.clone(), Descriptor(number));
                        return Poll::Ready(Ok(Some(accepted)));
                    }
                    Some(Err(errno)) => {
                        self.armed = None;
                        if errno == -libc::EINVAL && !self.listener.singly.replace(true) {
                            continue;
                        }
                        // The kernel may end a multishot without an error, after an overflow of
                        // the completion queue for one: arm it again.
                        if errno != 0 && !self.stopping {
                            return Poll::Ready(Err(io::Error::from_raw_os_error(-errno)));
                        }
                    }
                }
            }
        })
        .await
    }

    /// Asks the kernel to accept no more. `next` gives what it had accepted, then `None`.
    pub fn stop(&mut self) {
        if let Some(token) = self.armed
            && !self.stopping
        {
            self.listener.engine.core().io.borrow_mut().driver.cancel(token);
        }
        self.stopping = true;
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        if let Some(token) = self.armed.take() {
            self.listener.engine.core().io.borrow_mut().orphan(token);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.engine.core().io.borrow_mut().release(self.descriptor);
    }
}
