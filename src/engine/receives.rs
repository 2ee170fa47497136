//! Receives: what their completions bring, who takes it, and who waits for a buffer.
//!
//! A receive fills one buffer after the other until its cap is used up, mostly the size of one:
//! small pieces cost one operation for many, and a stream that fills its buffers costs one for
//! each, as without a cap. What came waits in the operation's slot, and what came late is put
//! behind it in the same buffer, so that never more than two wait, however small the pieces. An
//! operation that has ended lasts until the last of it is taken.

use std::task::Waker;

use super::buffers::Queue;
use super::driver::{Completion, Descriptor, Operation, Token};
use super::io::Io;
use super::slots::{Keep, Outcome, Phase};
use super::time::Time;

/// What a future finds when it looks at its receive.
pub(super) enum Received {
    Pending,
    Piece(Piece),
    /// The end of the stream, or a negated errno. The operation is over.
    Ended(Outcome),
}

/// What a receive brought: a buffer, how much of it was filled, and whether more was waiting.
pub(super) struct Piece {
    pub(super) id: u16,
    pub(super) length: u32,
    pub(super) nonempty: bool,
    /// The operation is over with it.
    pub(super) last: bool,
}

impl Io {
    /// Starts a receive that goes on until it has filled as much as a buffer.
    pub(super) fn start_receive(
        &mut self,
        socket: Descriptor,
        wait_first: bool,
        now: Time,
    ) -> Token {
        let cap = self.buffers.size();
        self.begin(Operation::Receive { socket, wait_first, cap }, now)
    }

    /// Starts a receive that takes one piece if it is there already, and waits for nothing.
    pub(super) fn start_look(&mut self, socket: Descriptor, now: Time) -> Token {
        // It waits before it takes a buffer: with nothing there, it needs none.
        let token = self.begin(Operation::Receive { socket, wait_first: true, cap: 1 }, now);
        // Nobody waits for it yet.
        self.recall(token);
        token
    }

    fn begin(&mut self, receive: Operation, now: Time) -> Token {
        let keep = Keep::Received { queue: Queue::EMPTY, nonempty: false };
        self.start(receive, keep, now)
    }

    /// Takes in a completion of a receive; gives back whom to wake.
    pub(super) fn received(&mut self, completion: Completion) -> Option<Waker> {
        let Completion { token, result, buffer, more, nonempty } = completion;
        let slot = self.slots.find(token)?;
        let Keep::Received { queue, nonempty: said } = &mut slot.keep else {
            unreachable!("a receive keeps what it was given")
        };
        *said = nonempty;
        match (buffer, u32::try_from(result)) {
            (Some(id), Ok(length @ 1..)) => self.buffers.append(queue, id, length),
            (Some(id), _) => self.buffers.released(id),
            (None, _) => {}
        }
        if result == -libc::ENOBUFS {
            self.buffers.ran_out();
        }
        if more {
            return slot.waker.take();
        }
        // With something to take, the next receive finds out whether it still has to wait.
        match queue.is_empty().then_some(-result) {
            Some(libc::EAGAIN) => {
                let recalled = slot.recalled;
                self.wait_until_ready(token, false);
                if recalled {
                    // Its end was asked for when it had just said "not yet", and there may be
                    // something by now: the poll says so, or is over at once.
                    self.driver.cancel(token);
                }
            }
            // Also when it was recalled: it has not found out whether something is there.
            Some(libc::ENOBUFS) => {
                slot.phase = Phase::Parked;
                self.parked.push_back(token);
            }
            _ => {
                slot.phase = Phase::Finished(Outcome(result));
                return slot.waker.take();
            }
        }
        None
    }

    /// The next piece, if it is here. The operation is over with its last one.
    pub(super) fn take_received(&mut self, token: Token) -> Option<Piece> {
        let slot = self.slots.find(token)?;
        let Keep::Received { queue, nonempty } = &mut slot.keep else {
            unreachable!("a receive keeps what it was given")
        };
        let (id, length) = self.buffers.take_first(queue)?;
        let nonempty = *nonempty;
        let last = queue.is_empty()
            && matches!(slot.phase, Phase::Finished(outcome) if !outcome.is_news());
        if last {
            self.finish(token);
        }
        Some(Piece { id, length, nonempty, last })
    }

    /// A future looks for the next piece.
    pub(super) fn look_received(&mut self, token: Token, waker: &Waker) -> Received {
        if let Some(piece) = self.take_received(token) {
            return Received::Piece(piece);
        }
        let Some(slot) = self.slots.find(token) else {
            unreachable!("a socket looks at its own receive, and once after its end")
        };
        if let Phase::Finished(outcome) = slot.phase {
            self.finish(token);
            return Received::Ended(outcome);
        }
        match &mut slot.waker {
            Some(current) => current.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        Received::Pending
    }

    /// Asks for the end of a receive that nobody should fill any more. It still completes: with
    /// what had come before, then with -ECANCELED. Gives back whom to wake if that is now.
    pub(super) fn recall(&mut self, token: Token) -> Option<Waker> {
        let slot = self.slots.find(token)?;
        if std::mem::replace(&mut slot.recalled, true) {
            return None;
        }
        match slot.phase {
            Phase::InFlight | Phase::Waiting => self.driver.cancel(token),
            Phase::Parked => {
                slot.phase = Phase::Finished(CANCELLED);
                self.parked.retain(|parked| *parked != token);
                return slot.waker.take();
            }
            Phase::Free { .. } | Phase::Ending(_) | Phase::Finished(_) | Phase::Orphaned => {}
        }
        None
    }

    /// Whether a receive has nothing to be taken, and will say so when it has.
    pub(super) fn is_awaited(&mut self, token: Token) -> bool {
        self.slots.find(token).is_some_and(|slot| {
            let queued = matches!(&slot.keep, Keep::Received { queue, .. } if !queue.is_empty());
            matches!(slot.phase, Phase::InFlight) && !queued
        })
    }

    /// Buffers that were filled and wait to be taken.
    pub(super) fn received_ahead(&self, token: Token) -> usize {
        match self.slots.keep(token) {
            Some(Keep::Received { queue, .. }) => self.buffers.count(queue),
            _ => 0,
        }
    }

    /// Submits the receives that waited for a buffer, as far as there are some.
    pub(super) fn resume_parked(&mut self) {
        let mut chances = if self.parked.is_empty() { 0 } else { self.buffers.available() };
        while chances > 0
            && let Some(token) = self.parked.pop_front()
        {
            self.submit_again(token);
            chances -= 1;
        }
    }
}

impl Outcome {
    /// Whether whoever receives must hear of it: neither of a cap that was used up, nor of what
    /// only keeps the rest waiting.
    fn is_news(self) -> bool {
        self.0 <= 0 && self.0 != -libc::EAGAIN && self.0 != -libc::ENOBUFS
    }
}

/// What becomes of a receive that was recalled and has nothing more to give.
const CANCELLED: Outcome = Outcome(-libc::ECANCELED);
