//! The seam between the executor and a kernel: operations go down, completions come up.
//!
//! Two drivers stand behind the same trait: `uring` talks to Linux, `simulated` to a world made
//! from a seed. What a socket needs besides ring operations (options, splice, bulk, shutdown,
//! close) goes through the driver too, so that a worker and its sessions run unmodified on either.

mod buffer_ring;
mod capped_receive;
mod operation;
mod silent_sends;
pub mod simulated;
pub mod uring;

use std::io;
use std::net::SocketAddr;
use std::ptr::NonNull;
use std::time::Duration;

use super::time::Time;

pub use operation::{Completion, Descriptor, Interest, Kind, Operation, Token};

/// How long a turn may wait for the first completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Take what is there.
    No,
    /// Wait until something happens or this much time has passed.
    For(Duration),
    /// Wait until something happens.
    Forever,
}

/// Socket options that are set where a socket is made. Accepted sockets inherit the listener's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    pub nodelay: bool,
    pub keepalive: Option<Keepalive>,
    /// TCP_USER_TIMEOUT: unacknowledged bytes end the connection after so long.
    pub user_timeout: Option<Duration>,
    /// SO_RCVBUF in bytes, which the kernel doubles for its own bookkeeping, and then no longer
    /// adapts. The window that a peer is offered follows from it, so it is set before the connect,
    /// and on a listening socket for those that it accepts.
    pub receive_buffer: Option<u32>,
    /// SO_SNDBUF, likewise.
    pub send_buffer: Option<u32>,
}

/// TCP keep-alive; whole seconds, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    pub idle: Duration,
    pub interval: Duration,
    pub probes: u32,
}

/// What the driver counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverCounters {
    /// Turns, each one system call.
    pub turns: u64,
    pub completions: u64,
    /// Turns in which the completion queue had overflowed. Nothing is lost; multishots end.
    pub overflows: u64,
    /// Times the submission queue was full and had to be handed over early.
    pub early_submissions: u64,
}

/// A kernel, or a simulation of one. One driver belongs to one worker thread.
pub trait Driver {
    /// Queues `operation`; `turn` hands it over. It always completes, at least with an error,
    /// but for `Internal` tokens.
    ///
    /// # Safety
    /// What the operation's pointers point to stays valid and, for sends and addresses,
    /// unchanged, until the operation's last completion was taken from `turn`.
    unsafe fn submit(&mut self, token: Token, operation: &Operation);

    /// Asks for the end of an operation in flight, after everything submitted before. The
    /// operation still completes, with -ECANCELED or with what it had achieved.
    fn cancel(&mut self, token: Token);

    /// Offers buffer `id` of the group to coming receives.
    ///
    /// # Safety
    /// `memory` is valid for `length` bytes and belongs to the driver until a completion names
    /// `id`, or until the driver is dropped.
    unsafe fn provide(&mut self, id: u16, memory: NonNull<u8>, length: u32);

    /// One turn: hands over what was queued, waits, appends what completed. Returns whether the
    /// worker's `Remote` was woken. An error means that the engine itself is broken.
    fn turn(&mut self, wait: Wait, completions: &mut Vec<Completion>) -> io::Result<bool>;

    /// Monotonic time.
    fn now(&self) -> Time;

    fn counters(&self) -> DriverCounters;

    /// A TCP socket for the family of `target`, non-blocking and close-on-exec.
    fn open(&mut self, target: &SocketAddr, options: &SocketOptions) -> io::Result<Descriptor>;

    /// Binds to a local address; the port is chosen as late as the kernel can.
    fn bind(&mut self, socket: Descriptor, address: SocketAddr) -> io::Result<()>;

    /// Accepts a connection that is already waiting, else fails with `WouldBlock`.
    fn accept_now(&mut self, listener: Descriptor) -> io::Result<Descriptor>;

    fn peer_address(&mut self, socket: Descriptor) -> io::Result<SocketAddr>;

    fn local_address(&mut self, socket: Descriptor) -> io::Result<SocketAddr>;

    /// Sends the end of the stream; receiving goes on.
    fn shutdown_write(&mut self, socket: Descriptor) -> io::Result<()>;

    /// Makes the coming `close` a reset.
    fn reset_on_close(&mut self, socket: Descriptor);

    /// Whether the connection is entirely gone: tells an end of stream from the 0 that a receive
    /// gives after another operation consumed the socket's error.
    fn is_gone(&mut self, socket: Descriptor) -> bool;

    /// Bytes not yet acknowledged by the peer.
    fn unsent(&mut self, socket: Descriptor) -> io::Result<usize>;

    /// Bytes that were received and wait to be read, also after the connection has died.
    fn unread(&mut self, socket: Descriptor) -> io::Result<usize>;

    /// Receives what is there into `room` without blocking; 0 is the end of the stream.
    fn read(&mut self, socket: Descriptor, room: &mut [u8]) -> io::Result<usize>;

    /// Throws away up to `length` bytes that are there, without blocking and without looking at
    /// them; how many. 0 is the end of the stream.
    fn skip(&mut self, socket: Descriptor, length: usize) -> io::Result<usize>;

    /// Sends as much of `bytes` as the socket takes without blocking.
    fn write(&mut self, socket: Descriptor, bytes: &[u8]) -> io::Result<usize>;

    /// Moves at most `length` bytes between a socket and a pipe without blocking; 0 is the end.
    fn splice(&mut self, from: Descriptor, to: Descriptor, length: usize) -> io::Result<usize>;

    /// A pipe of about `size` bytes, non-blocking: reading end, writing end.
    fn pipe(&mut self, size: usize) -> io::Result<(Descriptor, Descriptor)>;

    /// Closes a descriptor that has no operation in flight.
    fn close(&mut self, descriptor: Descriptor);
}
