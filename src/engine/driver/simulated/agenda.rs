//! The virtual clock, and everything that is still to happen, in order of time.
//!
//! It does not make anything happen: `world` takes what is due and hands it on.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

use rustix::io::Errno;

use super::super::{Completion, Token};
use super::{ActorId, EndpointId, RingId};
use crate::engine::time::Time;

/// Something that happens at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A connection request reaches its target; `attempt` counts from 0.
    Request {
        from: EndpointId,
        attempt: u32,
    },
    /// The answer to a request: the connection exists, `by` is its other end.
    Granted {
        to: EndpointId,
        by: EndpointId,
    },
    /// The next `length` bytes of the peer's send queue arrive.
    Data {
        to: EndpointId,
        length: usize,
    },
    /// The peer's end of the stream arrives.
    End {
        to: EndpointId,
    },
    Reset {
        to: EndpointId,
    },
    /// The one who asked for the connection had given up before it was granted.
    Withdrawn {
        to: EndpointId,
    },
    /// The connection dies at both ends at once.
    Cut {
        end: EndpointId,
        errno: Errno,
    },
    /// Who asked for a connection waits for the answer no longer.
    GivenUp {
        end: EndpointId,
    },
    /// A thread that was busy gets to an operation whose descriptor was ready before.
    Look(RingId, Token),
    /// Something changed at one of an actor's ends.
    Stir(ActorId),
    /// The time that an actor asked for, unless it asked for another since.
    Alarm(ActorId),
    /// A completion that was held back reaches its ring.
    Publish(RingId, Completion),
}

#[derive(Default)]
pub(super) struct Agenda {
    now: Time,
    /// Orders events of one moment by when they were scheduled.
    sequence: u64,
    entries: BinaryHeap<Reverse<Entry>>,
}

struct Entry {
    time: Time,
    sequence: u64,
    event: Event,
}

impl Agenda {
    pub(super) fn now(&self) -> Time {
        self.now
    }

    pub(super) fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    /// A moment that has passed means now.
    pub(super) fn at(&mut self, time: Time, event: Event) {
        self.sequence += 1;
        let entry = Entry { time: time.max(self.now), sequence: self.sequence, event };
        self.entries.push(Reverse(entry));
    }

    pub(super) fn next_time(&self) -> Option<Time> {
        self.entries.peek().map(|Reverse(entry)| entry.time)
    }

    /// Takes the next event up to `until` and moves the clock to it. Without one the clock moves
    /// to `until`.
    pub(super) fn advance(&mut self, until: Time) -> Option<Event> {
        if self.next_time().is_none_or(|next| next > until) {
            self.now = self.now.max(until);
            return None;
        }
        let Reverse(entry) = self.entries.pop()?;
        self.now = entry.time;
        Some(entry.event)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> Ordering {
        self.time.cmp(&other.time).then(self.sequence.cmp(&other.sequence))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}
