//! What one driver has in the simulated kernel: queues, operations in flight, lent buffers.
//!
//! It keeps account and panics where the engine breaks a rule; `kernel` performs the operations.

use std::collections::{BTreeMap, VecDeque};
use std::ptr::NonNull;
use std::sync::Arc;

use super::super::{Completion, DriverCounters, Operation, Token};
use crate::engine::remote::Remote;
use crate::engine::time::Time;

pub(super) struct Ring {
    pub(super) remote: Arc<Remote>,
    /// Queued by the driver, not handed over.
    pub(super) queue: VecDeque<Request>,
    /// From submission until the last completion was taken, by token.
    pub(super) operations: BTreeMap<u64, InFlight>,
    /// Buffers offered to receives, oldest first.
    buffers: VecDeque<Buffer>,
    /// Posted, and not taken.
    pub(super) completions: Vec<Completion>,
    /// Of sends that were done without a word; shown when a turn ends for another reason.
    pub(super) silent: Vec<Completion>,
    pub(super) counters: DriverCounters,
    /// The completion queue overflows in this turn.
    pub(super) overflowing: bool,
    /// When its thread goes on without any event: the end of its latest wait. None is never.
    pub(super) deadline: Option<Time>,
}

/// One entry of the submission queue.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request {
    Start(Token),
    Cancel(Token),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) operation: Operation,
    pub(super) stage: Stage,
    /// Bytes that a send has moved so far.
    pub(super) sent: usize,
    /// Bytes that a receive has brought so far.
    pub(super) received: usize,
    /// Completions of one operation stay in order: none is seen before this.
    pub(super) visible_at: Time,
    /// Its descriptor was ready, and the thread has not got to it yet.
    pub(super) to_be_looked_at: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// In the submission queue.
    Queued,
    /// With the kernel.
    Started,
    /// Its last completion was posted and waits to be taken.
    Finished,
}

/// Memory that the driver may write to until a completion names the buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffer {
    pub(super) id: u16,
    pub(super) memory: NonNull<u8>,
    pub(super) length: usize,
}

impl Ring {
    pub(super) fn new(remote: Arc<Remote>) -> Ring {
        Ring {
            remote,
            queue: VecDeque::new(),
            operations: BTreeMap::new(),
            buffers: VecDeque::new(),
            completions: Vec::new(),
            silent: Vec::new(),
            counters: DriverCounters::default(),
            overflowing: false,
            deadline: None,
        }
    }

    /// # Panics
    /// When the token names an operation in flight already.
    pub(super) fn begin(&mut self, token: Token, operation: &Operation) {
        let operation = InFlight {
            operation: *operation,
            stage: Stage::Queued,
            sent: 0,
            received: 0,
            visible_at: Time::default(),
            to_be_looked_at: false,
        };
        if let Some(other) = self.operations.insert(token.0, operation) {
            panic!("{token:?} is submitted again while in flight as {other:?}");
        }
        self.queue.push_back(Request::Start(token));
    }

    pub(super) fn in_flight(&mut self, token: Token) -> &mut InFlight {
        // The kernel asks for tokens that it took from the queue, or that hold a descriptor: both
        // stay in `operations` until the last completion is taken.
        self.operations.get_mut(&token.0).expect("the token is in flight")
    }

    /// The operation when it is with the kernel.
    pub(super) fn started(&mut self, token: Token) -> Option<&mut InFlight> {
        self.operations.get_mut(&token.0).filter(|operation| operation.stage == Stage::Started)
    }

    /// # Panics
    /// When the driver has the buffer already.
    pub(super) fn provide(&mut self, buffer: Buffer) {
        let offered = self.buffers.iter().any(|other| other.id == buffer.id);
        assert!(!offered, "buffer {} is provided twice", buffer.id);
        self.buffers.push_back(buffer);
    }

    pub(super) fn next_buffer(&self) -> Option<Buffer> {
        self.buffers.front().copied()
    }

    /// The next buffer was filled.
    pub(super) fn use_buffer(&mut self) {
        self.buffers.pop_front();
    }

    pub(super) fn buffers_provided(&self) -> usize {
        self.buffers.len()
    }

    /// Something that its thread would not sleep through.
    pub(super) fn is_awake(&self, now: Time) -> bool {
        !self.completions.is_empty()
            || self.remote.is_raised()
            || self.deadline.is_some_and(|deadline| deadline <= now)
    }
}
