//! The words of the seam: descriptors, tokens, operations and their completions.

use std::ptr::NonNull;

use socket2::SockAddr;

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
    /// No operation: no slot has this number.
    pub const NONE: Token = Token(u64::MAX);

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
    /// It completes once for each piece that comes, with a buffer each, until `cap` bytes have
    /// come, or until a completion says that no more will: where the kernel knows no cap that is
    /// the first one. With a cap of 1 it is a receive of one piece, which takes what is there also
    /// when it is cancelled right behind its start.
    Receive { socket: Descriptor, wait_first: bool, cap: u32 },
    /// Sends what there is room for at once and results in the bytes sent; -EAGAIN: none. That a
    /// `quiet` one sent everything may be said only when a turn ends for another reason.
    Send { socket: Descriptor, data: NonNull<u8>, length: u32, quiet: bool },
    /// Waits for one of `interest` (`Interest` bits; errors and hang-ups always count) and
    /// results in the bits of poll(2) that hold. Once the peer has ended its stream, a poll may
    /// say just that at once, whatever is asked; a `lasting` one then goes on, and completes for
    /// every event until it is cancelled or says that it is the last.
    Poll { socket: Descriptor, interest: Interest, lasting: bool },
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
