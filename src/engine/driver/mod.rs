//! The seam between the executor and a kernel: operations go down, completions come up.
//!
//! Two drivers stand behind the same trait: `uring` talks to Linux, `simulated` to a world made
//! from a seed. What a socket needs besides ring operations (options, splice, shutdown, close)
//! goes through the driver too, so that a worker and its sessions run unmodified on either.

pub mod simulated;

use std::io;
use std::net::SocketAddr;
use std::ptr::NonNull;
use std::time::Duration;

use socket2::SockAddr;

use super::time::Time;

/// A descriptor number as the driver knows it. Who owns it is `Socket`'s or the reaper's concern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Descriptor(pub i32);

/// Names one operation in flight: slot, the slot's generation, and the kind of operation, packed
/// as the ring carries it in `user_data` (generation 24 bits, slot 32 bits, kind 8 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

/// What an operation is, as far as a completion must be understood without its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Housekeeping of the driver itself; its completion reaches nobody.
    Internal = 0,
    Accept = 1,
    Connect = 2,
    Receive = 3,
    Send = 4,
    Poll = 5,
}

impl Token {
    pub const GENERATION_MASK: u32 = 0x00ff_ffff;

    pub fn new(slot: u32, generation: u32, kind: Kind) -> Token {
        let generation = u64::from(generation & Self::GENERATION_MASK);
        Token(generation << 40 | u64::from(slot) << 8 | kind as u64)
    }

    pub fn slot(self) -> u32 {
        (self.0 >> 8) as u32
    }

    pub fn generation(self) -> u32 {
        (self.0 >> 40) as u32
    }

    pub fn kind(self) -> Kind {
        match self.0 as u8 {
            1 => Kind::Accept,
            2 => Kind::Connect,
            3 => Kind::Receive,
            4 => Kind::Send,
            5 => Kind::Poll,
            _ => Kind::Internal,
        }
    }
}

/// One operation for the kernel. Pointers stay valid until the operation's last completion: the
/// operation's slot keeps what they point to.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    /// Results in the accepted descriptor, non-blocking and close-on-exec. With `multishot` it
    /// completes once for each connection, until a completion says that no more will come.
    Accept { listener: Descriptor, multishot: bool },
    /// Results in 0.
    Connect { socket: Descriptor, address: NonNull<SockAddr> },
    /// Fills a buffer of the group and results in its length; 0 is the end of the stream and
    /// takes no buffer. With `wait_first` the socket is known to be empty, so wait before trying.
    Receive { socket: Descriptor, wait_first: bool },
    /// Sends all bytes unless an error interrupts it; results in the bytes sent.
    Send { socket: Descriptor, data: NonNull<u8>, length: u32 },
    /// Waits for one of `interest` (`Interest` bits; errors and hang-ups always count) and
    /// results in the `Interest` bits that hold.
    Poll { socket: Descriptor, interest: Interest },
}

impl Operation {
    pub fn kind(&self) -> Kind {
        match self {
            Operation::Accept { .. } => Kind::Accept,
            Operation::Connect { .. } => Kind::Connect,
            Operation::Receive { .. } => Kind::Receive,
            Operation::Send { .. } => Kind::Send,
            Operation::Poll { .. } => Kind::Poll,
        }
    }

    pub fn descriptor(&self) -> Descriptor {
        match *self {
            Operation::Accept { listener, .. } => listener,
            Operation::Connect { socket, .. }
            | Operation::Receive { socket, .. }
            | Operation::Send { socket, .. }
            | Operation::Poll { socket, .. } => socket,
        }
    }
}

/// Readiness, in the bits of poll(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest(pub u32);

impl Interest {
    pub const NONE: Interest = Interest(0);
    pub const READ: Interest = Interest(libc::POLLIN as u32);
    pub const WRITE: Interest = Interest(libc::POLLOUT as u32);
    pub const ERROR: Interest = Interest(libc::POLLERR as u32);
    pub const HANG_UP: Interest = Interest(libc::POLLHUP as u32);

    pub fn contains(self, other: Interest) -> bool {
        self.0 & other.0 != 0
    }
}

/// What the kernel said of one operation.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    pub token: Token,
    /// The operation's result, or a negated errno.
    pub result: i32,
    /// The buffer of the group that was filled, by its number.
    pub buffer: Option<u16>,
    /// Further completions will come for this operation.
    pub more: bool,
    /// After a receive: the socket held more bytes than the buffer took.
    pub nonempty: bool,
}

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

    /// Moves at most `length` bytes between a socket and a pipe without blocking; 0 is the end.
    fn splice(&mut self, from: Descriptor, to: Descriptor, length: usize) -> io::Result<usize>;

    /// A pipe of about `size` bytes, non-blocking: reading end, writing end.
    fn pipe(&mut self, size: usize) -> io::Result<(Descriptor, Descriptor)>;

    /// Closes a descriptor that has no operation in flight.
    fn close(&mut self, descriptor: Descriptor);
}
