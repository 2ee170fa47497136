//! Owns the channels of a work that streams, which are opened together; it moves no bytes of a
//! stream.

use rustix::event::epoll::EventFlags;

use super::Fault;
use super::backends::Backends;
use super::channel::{Channel, Opening};
use super::dialer::Dialer;
use super::poller::{Poller, Token};
use super::run::Turn;

pub struct Lines {
    dialer: Dialer,
    /// Empty where a channel has ended.
    channels: Vec<Option<Channel>>,
    opened: usize,
}

impl Lines {
    pub const COUNT: usize = 8;

    pub fn new(dialer: Dialer) -> Self {
        Self { dialer, channels: Vec::new(), opened: 0 }
    }

    /// Whether all of them are open, to the backends behind the proxy.
    pub fn are_open(&self, backends: &Backends) -> bool {
        self.opened == Self::COUNT && backends.open() == Self::COUNT
    }

    /// Brings the opening on; to be called in every turn until all are open.
    pub fn open(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        while self.channels.len() < Self::COUNT {
            let channel = self.dialer.dial()?;
            turn.poller.add(&channel, Token::Client(self.channels.len()), EventFlags::IN)?;
            self.channels.push(Some(channel));
        }
        self.opened = 0;
        for channel in self.channels.iter_mut().flatten() {
            if channel.open(&mut self.dialer)? == Opening::Open {
                // The last flight of a handshake, for there is no message yet.
                channel.flush()?;
                self.opened += 1;
            }
        }
        Ok(())
    }

    /// The channel with this number, once all are open and until it has ended.
    pub fn channel(&mut self, place: usize) -> Option<&mut Channel> {
        if self.opened < Self::COUNT {
            return None;
        }
        self.channels.get_mut(place).and_then(Option::as_mut)
    }

    /// Which events are told from now on.
    pub fn watch(&self, flags: EventFlags, poller: &Poller) -> Result<(), Fault> {
        for (place, channel) in self.channels.iter().enumerate() {
            if let Some(channel) = channel {
                poller.modify(channel, Token::Client(place), flags)?;
            }
        }
        Ok(())
    }

    pub fn close(&mut self, place: usize) {
        self.channels[place] = None;
    }

    pub fn are_closed(&self) -> bool {
        self.channels.iter().all(Option::is_none)
    }

    /// Whether all handshakes were what they should have been.
    pub fn verdict(&self) -> Result<(), Fault> {
        self.dialer.verdict()
    }
}
