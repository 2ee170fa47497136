//! Owns the epoll instance and what its tokens mean; it reads and writes no socket.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

/// Which socket an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Client(usize),
    Listener(usize),
    Backend(usize),
}

/// Closing a socket takes it out of the poller, so there is no way to remove one.
pub struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    pub fn new() -> Result<Self, Errno> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    pub fn add(&self, socket: impl AsFd, token: Token, flags: EventFlags) -> Result<(), Errno> {
        epoll::add(&self.epoll, socket, token.encode(), flags)
    }

    pub fn modify(&self, socket: impl AsFd, token: Token, flags: EventFlags) -> Result<(), Errno> {
        epoll::modify(&self.epoll, socket, token.encode(), flags)
    }

    /// Fills `events`, after at most `patience`: whole milliseconds, less than a second.
    pub fn wait(&self, events: &mut Vec<Event>, patience: Duration) -> Result<(), Errno> {
        let patience = Timespec { tv_sec: 0, tv_nsec: i64::from(patience.subsec_nanos()) };
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&patience)) {
            // A signal: the interrupt flag says what it meant.
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

impl Token {
    fn encode(self) -> EventData {
        let (kind, index) = match self {
            Self::Client(index) => (0, index),
            Self::Listener(index) => (1, index),
            Self::Backend(index) => (2, index),
        };
        EventData::new_u64(kind << 32 | index as u64)
    }

    pub fn of(event: &Event) -> Self {
        let data = event.data.u64();
        let index = (data & u64::from(u32::MAX)) as usize;
        match data >> 32 {
            0 => Self::Client(index),
            1 => Self::Listener(index),
            _ => Self::Backend(index),
        }
    }
}

/// The other side is gone, or has ended its stream.
pub fn is_end(flags: EventFlags) -> bool {
    flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_kernel() {
        for token in [Token::Client(0), Token::Listener(7), Token::Backend(123_456)] {
            let event = Event { flags: EventFlags::IN, data: token.encode() };
            assert_eq!(Token::of(&event), token);
        }
    }
}
