//! A socket that its owner reads and writes itself, without blocking, as sockets of datagrams are:
//! the engine says when there is something to do, and closes it when nothing is in flight.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};

use super::driver::{Descriptor, Interest, Operation};
use super::executor::Engine;
use super::slots::Keep;
use super::socket::Pending;

/// A socket in the engine's care. Dropped, it is closed once nothing is in flight on it.
pub struct Polled {
    engine: Engine,
    descriptor: Descriptor,
}

impl Polled {
    /// Takes charge of `socket`.
    pub fn new(engine: &Engine, socket: OwnedFd) -> Polled {
        let descriptor = Descriptor(socket.into_raw_fd());
        engine.core().io.borrow_mut().adopt(descriptor);
        Polled { engine: engine.clone(), descriptor }
    }

    /// Waits for one of `interest`, an error or a hang-up; says which.
    pub async fn ready(&self, interest: Interest) -> io::Result<Interest> {
        let operation = Operation::Poll { socket: self.descriptor, interest, lasting: false };
        let (outcome, _) = Pending::start(&self.engine, operation, Keep::Nothing).await;
        outcome.checked().map(Interest)
    }

    /// Packets that came and found no room in the receive buffer, since the socket was made; from
    /// 2^32 on it begins anew (SO_MEMINFO, Linux 4.12).
    pub fn packets_dropped(&self) -> io::Result<u32> {
        let mut values = [0u32; libc::SK_MEMINFO_DROPS as usize + 1];
        let mut length = size_of_val(&values) as libc::socklen_t;
        // SAFETY: the values and their length live through the call.
        let result = unsafe {
            libc::getsockopt(
                self.descriptor.0,
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                values.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(values[libc::SK_MEMINFO_DROPS as usize])
    }
}

impl AsFd for Polled {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the engine closes the descriptor when this is dropped, and not before.
        unsafe { BorrowedFd::borrow_raw(self.descriptor.0) }
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        self.engine.core().io.borrow_mut().release(self.descriptor);
    }
}
