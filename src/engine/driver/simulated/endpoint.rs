//! One end of a TCP connection: its queues and its state, as Linux keeps them.
//!
//! It knows neither time nor owner's business: `network` moves what travels between two ends.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;

use super::super::Interest;
use super::{EndpointId, Owner};
use crate::engine::time::Time;

/// The connection as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Fresh,
    Connecting,
    Open,
    /// Nothing is sent or received any more; what was received before stays readable.
    Closed,
}

/// The stream towards this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Open,
    Ended,
}

/// The stream away from this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    Open,
    /// The end waits behind bytes that have not left.
    Ending,
    /// The end is under way.
    Ended,
    /// The end has arrived.
    Acknowledged,
}

pub(super) struct Endpoint {
    pub(super) owner: Owner,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// The other end; none until a connection exists.
    pub(super) peer: Option<EndpointId>,
    pub(super) phase: Phase,
    pub(super) incoming: Incoming,
    pub(super) outgoing: Outgoing,
    /// Reported once, to whoever asks first.
    pub(super) error: Option<Errno>,
    received: VecDeque<u8>,
    /// Written here and not yet in the peer's receive queue.
    unsent: VecDeque<u8>,
    /// How many bytes of `unsent`, from its front, are under way.
    pub(super) under_way: usize,
    pub(super) link: Link,
    /// What was sent from here arrives in order: the latest arrival so far.
    pub(super) last_arrival: Time,
}

/// The sizes and the delay of one end, drawn from the seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// Bytes that may wait to be read, those under way included.
    pub(super) window: usize,
    /// Bytes that may wait to be sent.
    pub(super) capacity: usize,
    pub(super) latency: Duration,
}

impl Endpoint {
    pub(super) fn new(owner: Owner, local: SocketAddr, remote: SocketAddr, link: Link) -> Endpoint {
        Endpoint {
            owner,
            local,
            remote,
            peer: None,
            phase: Phase::Fresh,
            incoming: Incoming::Open,
            outgoing: Outgoing::Open,
            error: None,
            received: VecDeque::new(),
            unsent: VecDeque::new(),
            under_way: 0,
            link,
            last_arrival: Time::default(),
        }
    }

    /// Bytes first, then the end, then the error, then 0 for ever: tcp_recvmsg's order.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        let length = into.len().min(self.received.len());
        if length > 0 {
            let (front, back) = self.received.as_slices();
            let split = length.min(front.len());
            into[..split].copy_from_slice(&front[..split]);
            into[split..length].copy_from_slice(&back[..length - split]);
            self.received.drain(..length);
            return Ok(length);
        }
        if self.incoming == Incoming::Ended {
            return Ok(0);
        }
        if let Some(errno) = self.error.take() {
            return Err(errno);
        }
        match self.phase {
            Phase::Fresh => Err(Errno::NOTCONN),
            Phase::Connecting | Phase::Open => Err(Errno::AGAIN),
            Phase::Closed => Ok(0),
        }
    }

    pub(super) fn write(&mut self, data: &[u8]) -> Result<usize, Errno> {
        if let Some(errno) = self.error.take() {
            return Err(errno);
        }
        if self.phase == Phase::Connecting {
            return Err(Errno::AGAIN);
        }
        if self.phase != Phase::Open || self.outgoing != Outgoing::Open {
            return Err(Errno::PIPE);
        }
        let length = data.len().min(self.room());
        if length == 0 && !data.is_empty() {
            return Err(Errno::AGAIN);
        }
        self.unsent.extend(&data[..length]);
        Ok(length)
    }

    /// Whether this was news.
    pub(super) fn shutdown_write(&mut self) -> Result<bool, Errno> {
        if self.phase != Phase::Open {
            return Err(Errno::NOTCONN);
        }
        let news = self.outgoing == Outgoing::Open;
        if news {
            self.outgoing = Outgoing::Ending;
        }
        Ok(news)
    }

    /// The readiness that tcp_poll would report.
    pub(super) fn readiness(&self) -> Interest {
        let closed = self.phase == Phase::Closed;
        let no_more_in = closed || self.incoming == Incoming::Ended;
        let no_more_out = closed || self.outgoing != Outgoing::Open;
        let mut ready = Interest::NONE;
        let mut set = |holds: bool, bit: Interest| ready.0 |= if holds { bit.0 } else { 0 };
        set((no_more_in && no_more_out) || self.phase == Phase::Fresh, Interest::HANG_UP);
        if self.phase != Phase::Connecting {
            set(no_more_in || !self.received.is_empty(), Interest::READ);
            // Linux wakes writers only when a third of the send queue is free.
            set(no_more_out || self.unsent.len() * 3 <= self.link.capacity * 2, Interest::WRITE);
        }
        set(self.error.is_some(), Interest::ERROR);
        ready
    }

    /// A reset arrived. After the peer's end of the stream it shows as EPIPE, to sends only.
    pub(super) fn reset(&mut self) {
        let errno = match (self.phase, self.incoming, self.outgoing) {
            (Phase::Connecting, ..) => Errno::CONNREFUSED,
            (_, Incoming::Ended, Outgoing::Open) => Errno::PIPE,
            _ => Errno::CONNRESET,
        };
        self.fail(errno);
    }

    /// The connection dies. What was received stays readable; what was not sent stays counted, as
    /// SIOCOUTQ keeps counting it.
    pub(super) fn fail(&mut self, errno: Errno) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closed;
            self.error = Some(errno);
        }
    }

    /// The peer's end of the stream arrived.
    pub(super) fn end(&mut self) {
        self.incoming = Incoming::Ended;
        self.close_if_both_ended();
    }

    /// The end of the stream sent from here arrived.
    pub(super) fn end_acknowledged(&mut self) {
        self.outgoing = Outgoing::Acknowledged;
        self.close_if_both_ended();
    }

    /// Linux closes the socket once both ends are acknowledged, whoever began: what remains is a
    /// time-wait record that no descriptor refers to.
    fn close_if_both_ended(&mut self) {
        if self.incoming == Incoming::Ended && self.outgoing == Outgoing::Acknowledged {
            self.phase = Phase::Closed;
        }
    }

    /// Moves the first `length` bytes under way into the receive queue of `target`.
    pub(super) fn deliver(&mut self, target: &mut Endpoint, length: usize) {
        let (front, back) = self.unsent.as_slices();
        let split = length.min(front.len());
        target.received.extend(&front[..split]);
        target.received.extend(&back[..length - split]);
        self.unsent.drain(..length);
        self.under_way -= length;
    }

    /// Throws away what nobody will read; whether there was anything.
    pub(super) fn discard_received(&mut self) -> bool {
        !std::mem::take(&mut self.received).is_empty()
    }

    /// SIOCOUTQ: the end of the stream counts as one byte until it has arrived.
    pub(super) fn unacknowledged(&self) -> usize {
        let ending = matches!(self.outgoing, Outgoing::Ending | Outgoing::Ended);
        self.unsent.len() + usize::from(ending)
    }

    /// What IORING_CQE_F_SOCK_NONEMPTY says: after the end there is the end to read.
    pub(super) fn is_nonempty(&self) -> bool {
        !self.received.is_empty() || self.incoming == Incoming::Ended
    }

    /// Bytes that wait to be read.
    pub(super) fn readable(&self) -> usize {
        self.received.len()
    }

    /// Bytes written here that the peer has not got.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// Bytes that a write would take.
    pub(super) fn room(&self) -> usize {
        self.link.capacity.saturating_sub(self.unsent.len())
    }

    /// Bytes that the peer may have under way.
    pub(super) fn window_left(&self) -> usize {
        self.link.window.saturating_sub(self.received.len())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Endpoint { local, remote, phase, incoming, outgoing, error, .. } = self;
        let (readable, unsent) = (self.received.len(), self.unsent.len());
        write!(out, "{local} -> {remote} {phase:?}, in {incoming:?} {readable}, ")?;
        write!(out, "out {outgoing:?} {unsent} ({} under way), error {error:?}", self.under_way)
    }
}
