//! Operation slots: who waits for an operation, and what the kernel may touch until it is over.
//!
//! A slot lives from the start of an operation to its last completion, also when the future that
//! started it is dropped meanwhile. Its generation makes old names harmless.

use std::collections::VecDeque;
use std::task::Waker;

use socket2::SockAddr;

use super::block::Memory;
use super::buffers::Queue;
use super::driver::{Kind, Operation, Token};
use super::time::Time;

/// What a finished operation hands to its future: the result, or a negated errno.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome(pub(super) i32);

/// What the kernel may touch, or what belongs to nobody else while the operation runs.
#[derive(Debug)]
pub(super) enum Keep {
    Nothing,
    /// What a send reads from, and the receive to recall when there is no room.
    Sending {
        payload: Payload,
        ahead: Token,
    },
    /// What a receive was given and nobody has taken yet; after its last piece more was waiting.
    Received {
        queue: Queue,
        nonempty: bool,
    },
    /// Where a connect goes; boxed, since the kernel holds a pointer to it.
    Address(#[allow(dead_code, reason = "the kernel reads it")] Box<SockAddr>),
    /// Descriptors accepted and not yet taken. Boxed, since other slots are many and small.
    #[allow(clippy::box_collection)]
    Accepted(Box<VecDeque<i32>>),
}

/// What a send reads from.
#[derive(Debug)]
pub(super) enum Payload {
    Buffer(u16),
    Block(Box<Memory>),
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// No operation; the next free slot.
    Free { next: u32 },
    /// With the kernel.
    InFlight,
    /// The kernel said "not yet": a poll is in flight in its place, the operation follows.
    Waiting,
    /// A lasting poll has found what was asked, and was cancelled; its last completion ends it.
    Ending(Outcome),
    /// A receive that found no buffer and waits for one, not with the kernel.
    Parked,
    /// The last completion is here, the future has not looked yet.
    Finished(Outcome),
    /// The future is gone; the last completion frees the slot.
    Orphaned,
}

pub(super) struct Slot {
    pub(super) phase: Phase,
    pub(super) generation: u32,
    pub(super) operation: Operation,
    pub(super) keep: Keep,
    pub(super) waker: Option<Waker>,
    /// When it was started, for finding what has stalled.
    pub(super) since: Time,
    /// A send that has lasted so long that its direction should look after its source.
    pub(super) stall: Stall,
    /// A send whose buffer is wanted back: its future ends it.
    pub(super) evicted: bool,
    /// A receive that is to take what is there and wait for nothing.
    pub(super) recalled: bool,
}

/// What is known of a send that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stall {
    None,
    /// It has stalled, and its future has not been told.
    Noticed,
    /// Its future knows.
    Told,
}

/// All operations of one engine.
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: u32,
    live: usize,
}

const NONE: u32 = u32::MAX;

impl Slots {
    pub(super) fn new() -> Slots {
        Slots { slots: Vec::new(), free: NONE, live: 0 }
    }

    /// Operations that have not had their last completion taken.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn insert(&mut self, operation: Operation, keep: Keep, now: Time) -> Token {
        self.live += 1;
        let kind = operation.kind();
        let fresh = |generation| Slot {
            phase: Phase::InFlight,
            generation,
            operation,
            keep,
            waker: None,
            since: now,
            stall: Stall::None,
            evicted: false,
            recalled: false,
        };
        if self.free == NONE {
            self.slots.push(fresh(0));
            return Token::new(self.slots.len() as u32 - 1, 0, kind);
        }
        let index = self.free;
        let slot = &mut self.slots[index as usize];
        let Phase::Free { next } = slot.phase else {
            unreachable!("the free list holds free slots")
        };
        self.free = next;
        let generation = slot.generation;
        *slot = fresh(generation);
        Token::new(index, generation, kind)
    }

    /// The slot of an operation that is not over.
    pub(super) fn find(&mut self, token: Token) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(token.slot() as usize)?;
        let alive =
            slot.generation == token.generation() && !matches!(slot.phase, Phase::Free { .. });
        alive.then_some(slot)
    }

    /// What an operation holds that is not over.
    pub(super) fn keep(&self, token: Token) -> Option<&Keep> {
        let slot = self.slots.get(token.slot() as usize)?;
        (slot.generation == token.generation()).then_some(&slot.keep)
    }

    /// Ends an operation and gives back what it kept.
    pub(super) fn remove(&mut self, token: Token) -> Keep {
        let free = self.free;
        let slot = &mut self.slots[token.slot() as usize];
        debug_assert_eq!(slot.generation, token.generation(), "an operation ends once");
        slot.phase = Phase::Free { next: free };
        slot.generation = (slot.generation + 1) & Token::GENERATION_MASK;
        slot.waker = None;
        self.free = token.slot();
        self.live -= 1;
        std::mem::replace(&mut slot.keep, Keep::Nothing)
    }

    /// Sends that are with the kernel.
    pub(super) fn sends(&self) -> impl Iterator<Item = (Token, &Slot)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let sending = matches!(slot.phase, Phase::InFlight | Phase::Waiting)
                && slot.operation.kind() == Kind::Send;
            sending.then(|| (Token::new(index as u32, slot.generation, Kind::Send), slot))
        })
    }

    /// What is in flight, for reports of what should not be.
    pub(super) fn describe(&self) -> Vec<String> {
        let live = self.slots.iter().filter(|slot| !matches!(slot.phase, Phase::Free { .. }));
        live.map(|slot| format!("{:?} {:?}", slot.operation, slot.phase)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::driver::{Descriptor, Interest};
    use super::*;

    #[test]
    fn an_old_name_does_not_find_the_slots_new_owner() {
        let poll =
            Operation::Poll { socket: Descriptor(3), interest: Interest::READ, lasting: false };
        let mut slots = Slots::new();
        let first = slots.insert(poll, Keep::Nothing, Time::default());
        assert!(slots.find(first).is_some());
        slots.remove(first);
        let second = slots.insert(poll, Keep::Nothing, Time::default());
        assert_eq!(first.slot(), second.slot());
        assert!(slots.find(first).is_none());
        assert!(slots.find(second).is_some());
        assert_eq!(slots.live(), 1);
    }

    #[test]
    fn tokens_carry_slot_generation_and_kind() {
        let token = Token::new(u32::MAX - 1, Token::GENERATION_MASK, Kind::Send);
        assert_eq!(token.slot(), u32::MAX - 1);
        assert_eq!(token.generation(), Token::GENERATION_MASK);
        assert_eq!(token.kind(), Kind::Send);
    }
}
