//! Everything of an engine that the kernel has a hand in: the driver, the operations in flight,
//! the descriptors and the buffers. It decides what a completion means for each of them; who is
//! woken by it runs later, so nothing here is ever entered twice.

use std::collections::VecDeque;
use std::ops::Range;
use std::ptr::NonNull;
use std::task::Waker;
use std::time::Duration;

use super::block::Blocks;
use super::buffers::Buffers;
use super::driver::{Completion, Descriptor, Driver, Interest, Kind, Operation, Token};
use super::slots::{Keep, Outcome, Payload, Phase, Slots, Stall};
use super::stalls::{self, Stalled};
use super::time::Time;

pub(super) struct Io {
    /// First: dropping the driver ends the kernel's claim on the memory of the others.
    pub(super) driver: Box<dyn Driver>,
    pub(super) buffers: Buffers,
    pub(super) blocks: Blocks,
    pub(super) slots: Slots,
    /// By descriptor number.
    descriptors: Vec<DescriptorState>,
    open: usize,
    /// Receives that found no buffer, first come first served.
    pub(super) parked: VecDeque<Token>,
    sends: usize,
}

#[derive(Clone, Copy, Default)]
struct DescriptorState {
    /// Operations that the kernel has not completed for the last time.
    in_flight: u16,
    /// The socket was dropped: close when nothing is in flight.
    closing: bool,
    /// On whose account its buffers are held.
    owners: [Owner; 2],
}

/// Somebody whose share of the relay memory or of the pipes is limited: a backend, a listener or a
/// client, by a number that the worker chose. 0 is nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Owner(pub u32);

/// What a future finds when it looks at its operation.
pub(super) enum Look {
    Pending,
    /// A send lasts long; it goes on, and this is said once.
    Stalled,
    /// A send must give its buffer up.
    Evicted,
    Finished(Outcome, Keep),
}

impl Io {
    pub(super) fn new(driver: Box<dyn Driver>, buffers: Buffers, blocks: Blocks) -> Io {
        let (slots, parked) = (Slots::new(), VecDeque::new());
        Io { driver, buffers, blocks, slots, descriptors: Vec::new(), open: 0, parked, sends: 0 }
    }

    /// Takes an open descriptor under the engine's care; `release` gives it up.
    pub(super) fn adopt(&mut self, descriptor: Descriptor) {
        let state = self.state(descriptor);
        debug_assert!(!state.closing && state.in_flight == 0, "{descriptor:?} is in use");
        self.open += 1;
    }

    pub(super) fn start(&mut self, operation: Operation, keep: Keep, now: Time) -> Token {
        let token = self.slots.insert(operation, keep, now);
        self.state(operation.descriptor()).in_flight += 1;
        self.sends += usize::from(token.kind() == Kind::Send);
        self.submit(token, &operation);
        token
    }

    /// Sends `range` of what the caller gives up until the send is over. The receive `ahead` is
    /// recalled when there is no room. While it is awaited, that everything was sent is said when
    /// a turn ends for another reason: there is nothing to do before.
    pub(super) fn start_send(
        &mut self,
        socket: Descriptor,
        payload: Payload,
        range: Range<u32>,
        ahead: Token,
        now: Time,
    ) -> Token {
        let length = range.end - range.start;
        let quiet = self.is_awaited(ahead);
        let data = match &payload {
            // SAFETY: the caller held the buffer and gives it up; the range was received into it.
            Payload::Buffer(id) => unsafe { self.buffers.memory(*id).add(range.start as usize) },
            // Boxed, so that it stays where it is when the payload moves into the slot.
            Payload::Block(memory) => NonNull::from(&memory.bytes()[range.start as usize..]).cast(),
        };
        let operation = Operation::Send { socket, data, length, quiet };
        self.start(operation, Keep::Sending { payload, ahead }, now)
    }

    /// What was sent from is free again.
    pub(super) fn reclaim(&mut self, payload: Payload) {
        match payload {
            Payload::Buffer(id) => self.buffers.released(id),
            Payload::Block(memory) => self.blocks.returned(memory),
        }
    }

    pub(super) fn submit(&mut self, token: Token, operation: &Operation) {
        // SAFETY: the slot keeps buffer and address until the last completion (`finish`).
        unsafe { self.driver.submit(token, operation) };
    }

    /// Hands an operation to the kernel again after something else stood in its place. What had
    /// recalled it then did not reach the operation itself.
    pub(super) fn submit_again(&mut self, token: Token) {
        let Some(slot) = self.slots.find(token) else { return };
        slot.phase = Phase::InFlight;
        let (operation, recalled) = (slot.operation, slot.recalled);
        self.submit(token, &operation);
        if recalled {
            self.driver.cancel(token);
        }
    }

    fn state(&mut self, descriptor: Descriptor) -> &mut DescriptorState {
        let index = descriptor.0 as usize;
        if index >= self.descriptors.len() {
            self.descriptors.resize(index + 1, DescriptorState::default());
        }
        &mut self.descriptors[index]
    }

    /// Takes in a completion; gives back whom to wake.
    pub(super) fn complete(&mut self, completion: Completion) -> Option<Waker> {
        let Completion { token, result, buffer, more, .. } = completion;
        if buffer.is_some() {
            self.buffers.taken();
        }
        let slot = self.slots.find(token).unwrap_or_else(|| {
            panic!("the driver completed {token:?}, which is not in flight: {result}")
        });
        if token.kind() == Kind::Accept {
            return self.accepted(token, result, more);
        }
        match slot.phase {
            Phase::Orphaned => {
                if let Some(id) = buffer {
                    self.buffers.released(id);
                }
                if !more {
                    self.finish(token);
                }
                None
            }
            Phase::Ending(outcome) if !more => self.polled(token, outcome),
            Phase::Ending(_) => None,
            Phase::InFlight if token.kind() == Kind::Receive => self.received(completion),
            Phase::InFlight if result == -libc::EAGAIN => {
                let waker = self.found_no_room(token);
                self.wait_until_ready(token, false);
                waker
            }
            Phase::InFlight if token.kind() != Kind::Poll => {
                slot.phase = Phase::Finished(Outcome(result));
                slot.waker.take()
            }
            Phase::InFlight | Phase::Waiting => self.poll_event(token, result, more),
            Phase::Free { .. } | Phase::Parked | Phase::Finished(_) => {
                unreachable!("{token:?} is not with the kernel")
            }
        }
    }

    /// A send must wait: nothing more is received behind it. Without a receive that may end a turn,
    /// it must say itself when it is done.
    fn found_no_room(&mut self, token: Token) -> Option<Waker> {
        let slot = self.slots.find(token)?;
        if let Operation::Send { quiet, .. } = &mut slot.operation {
            *quiet = false;
        }
        match slot.keep {
            Keep::Sending { ahead, .. } => self.recall(ahead),
            _ => None,
        }
    }

    /// A poll says something. Once the peer has ended its stream a poll is told so at once and
    /// every time, whatever it asked for; a lasting poll is told only once and goes on.
    fn poll_event(&mut self, token: Token, result: i32, more: bool) -> Option<Waker> {
        let asked = self.interest(token);
        let found = Interest(result.max(0) as u32);
        let useful = result < 0
            || [asked, Interest::ERROR, Interest::HANG_UP].iter().any(|bits| found.contains(*bits));
        let outcome = Outcome(result);
        match (useful, more) {
            (true, false) => return self.polled(token, outcome),
            (true, true) => {
                self.slots.find(token)?.phase = Phase::Ending(outcome);
                self.driver.cancel(token);
            }
            (false, true) => {}
            (false, false) => self.wait_until_ready(token, true),
        }
        None
    }

    /// A poll is over: it was asked for, or the operation follows in whose place it stood.
    fn polled(&mut self, token: Token, outcome: Outcome) -> Option<Waker> {
        let slot = self.slots.find(token)?;
        if token.kind() == Kind::Poll || outcome.0 < 0 {
            slot.phase = Phase::Finished(outcome);
            return slot.waker.take();
        }
        self.submit_again(token);
        None
    }

    /// What a poll for an operation asks for.
    fn interest(&mut self, token: Token) -> Interest {
        match self.slots.find(token).map(|slot| slot.operation) {
            Some(Operation::Poll { interest, .. }) => interest,
            Some(Operation::Receive { .. }) => Interest::READ,
            _ => Interest::WRITE,
        }
    }

    /// Polls in an operation's place: the kernel said "not yet", as older ones do on non-blocking
    /// sockets, or the poll that stood there must last.
    pub(super) fn wait_until_ready(&mut self, token: Token, lasting: bool) {
        let interest = self.interest(token);
        let Some(slot) = self.slots.find(token) else { return };
        if token.kind() != Kind::Poll {
            slot.phase = Phase::Waiting;
        }
        let poll = Operation::Poll { socket: slot.operation.descriptor(), interest, lasting };
        self.submit(token, &poll);
    }

    fn accepted(&mut self, token: Token, result: i32, more: bool) -> Option<Waker> {
        if let Ok(number) = u32::try_from(result) {
            self.adopt(Descriptor(number as i32));
        }
        let slot = self.slots.find(token)?;
        if matches!(slot.phase, Phase::Orphaned) {
            if result >= 0 {
                self.release(Descriptor(result));
            }
            if !more {
                self.finish(token);
            }
            return None;
        }
        if let (Keep::Accepted(queue), 0..) = (&mut slot.keep, result) {
            queue.push_back(result);
        }
        if !more {
            slot.phase = Phase::Finished(Outcome(result));
        }
        slot.waker.take()
    }

    /// The next connection of an accept; `None` with nothing to take, and the end after the last.
    pub(super) fn look_accepted(
        &mut self,
        token: Token,
        waker: &Waker,
    ) -> Option<Result<i32, i32>> {
        let slot = self.slots.find(token)?;
        if let Keep::Accepted(queue) = &mut slot.keep
            && let Some(number) = queue.pop_front()
        {
            return Some(Ok(number));
        }
        if let Phase::Finished(outcome) = slot.phase {
            self.finish(token);
            return Some(Err(outcome.0.min(0)));
        }
        slot.waker = Some(waker.clone());
        None
    }

    /// A future looks at its operation. A finished one is over with this.
    pub(super) fn look(&mut self, token: Token, waker: &Waker) -> Look {
        let Some(slot) = self.slots.find(token) else {
            unreachable!("a future looks at its own operation, and once after its end")
        };
        if let Phase::Finished(outcome) = slot.phase {
            let keep = self.finish(token);
            return Look::Finished(outcome, keep);
        }
        match &mut slot.waker {
            Some(current) => current.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        if slot.evicted {
            return Look::Evicted;
        }
        if slot.stall == Stall::Noticed {
            slot.stall = Stall::Told;
            return Look::Stalled;
        }
        Look::Pending
    }

    /// A future was dropped: its operation is cancelled, and freed by its last completion.
    pub(super) fn orphan(&mut self, token: Token) {
        let Some(slot) = self.slots.find(token) else { return };
        slot.waker = None;
        match slot.phase {
            Phase::InFlight | Phase::Waiting | Phase::Ending(_) => {
                slot.phase = Phase::Orphaned;
                self.give_back(token);
                self.driver.cancel(token);
            }
            Phase::Parked => {
                self.parked.retain(|parked| *parked != token);
                self.finish(token);
            }
            Phase::Finished(_) => {
                self.give_back(token);
                if let Keep::Sending { payload, .. } = self.finish(token) {
                    self.reclaim(payload);
                }
            }
            Phase::Free { .. } | Phase::Orphaned => {}
        }
    }

    /// What an orphan was given and nobody will take.
    fn give_back(&mut self, token: Token) {
        let Some(slot) = self.slots.find(token) else { return };
        match &mut slot.keep {
            Keep::Accepted(queue) => {
                for number in std::mem::take(&mut **queue) {
                    self.release(Descriptor(number));
                }
            }
            Keep::Received { queue, .. } => self.buffers.release_all(queue),
            Keep::Nothing | Keep::Sending { .. } | Keep::Address(_) => {}
        }
    }

    /// Ends an operation. What an orphan kept is given back here; else it is the caller's.
    pub(super) fn finish(&mut self, token: Token) -> Keep {
        let Some(slot) = self.slots.find(token) else { unreachable!("it ends once") };
        let orphaned = matches!(slot.phase, Phase::Orphaned);
        let descriptor = slot.operation.descriptor();
        self.sends -= usize::from(token.kind() == Kind::Send);
        let keep = self.slots.remove(token);
        let state = self.state(descriptor);
        state.in_flight -= 1;
        if state.closing && state.in_flight == 0 {
            self.close(descriptor);
        }
        match keep {
            Keep::Sending { payload, .. } if orphaned => {
                self.reclaim(payload);
                Keep::Nothing
            }
            keep => keep,
        }
    }

    /// The owner of a descriptor is gone. Its operations were cancelled when their futures were
    /// dropped, in the order of submission, so the close waits for their last completions.
    pub(super) fn release(&mut self, descriptor: Descriptor) {
        let state = self.state(descriptor);
        debug_assert!(!state.closing, "{descriptor:?} is released once");
        if state.in_flight == 0 {
            self.close(descriptor);
        } else {
            state.closing = true;
        }
    }

    fn close(&mut self, descriptor: Descriptor) {
        *self.state(descriptor) = DescriptorState::default();
        self.open -= 1;
        self.driver.close(descriptor);
    }

    /// Puts back to the kernel what was returned, and with it the receives that waited.
    pub(super) fn offer_buffers(&mut self) {
        self.buffers.offer(&mut *self.driver);
        self.resume_parked();
    }

    pub(super) fn sends_in_flight(&self) -> usize {
        self.sends
    }

    /// Notes on whose account the buffers sent on a socket are held.
    pub(super) fn account(&mut self, socket: Descriptor, owners: [Owner; 2]) {
        self.state(socket).owners = owners;
    }

    /// Tells sends that have lasted `limit` so, once each, and takes the buffers of some away.
    pub(super) fn mark_stalled(&mut self, now: Time, limit: Duration, share: usize) -> Vec<Waker> {
        let stalled: Vec<Stalled> = self
            .slots
            .sends()
            .filter(|(_, slot)| now.since(slot.since) >= limit && !slot.evicted)
            .map(|(token, slot)| {
                let owners = self.owners(slot.operation.descriptor());
                let buffers = match &slot.keep {
                    Keep::Sending { payload, ahead } => {
                        self.weight(payload) + self.received_ahead(*ahead)
                    }
                    _ => 0,
                };
                Stalled { since: slot.since, token, owners, buffers }
            })
            .collect();
        let mut wakers = Vec::new();
        for send in &stalled {
            // Said once, however late this look is: the thread may have had to wait for its CPU.
            if let Some(slot) = self.slots.find(send.token)
                && slot.stall == Stall::None
            {
                slot.stall = Stall::Noticed;
                wakers.extend(slot.waker.clone());
            }
        }
        let wanted = self.parked.len() + self.blocks.excess();
        for token in stalls::evicted(stalled, share, wanted) {
            if let Some(slot) = self.slots.find(token) {
                slot.evicted = true;
                wakers.extend(slot.waker.clone());
            }
        }
        wakers
    }

    fn weight(&self, payload: &Payload) -> usize {
        match payload {
            Payload::Buffer(_) => 1,
            Payload::Block(memory) => self.blocks.weight(memory),
        }
    }

    fn owners(&self, socket: Descriptor) -> [Owner; 2] {
        self.descriptors.get(socket.0 as usize).map_or_else(Default::default, |state| state.owners)
    }

    pub(super) fn live_operations(&self) -> usize {
        self.slots.live()
    }

    pub(super) fn open_descriptors(&self) -> usize {
        self.open
    }

    pub(super) fn describe(&self) -> Vec<String> {
        self.slots.describe()
    }
}

/// How often sends are looked over.
pub(super) const STALL_INTERVAL: Duration = Duration::from_millis(250);
