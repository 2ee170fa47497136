//! The bounded pool of pipes that splice moves bytes through.
//!
//! A pipe is lent to a direction only while bytes flow. Only an empty pipe comes back; one that
//! still holds bytes of an ended session is closed instead. A direction whose target takes nothing
//! keeps its pipe, so there are some left that nobody can have alone.

use std::collections::HashMap;
use std::io;

use super::driver::Descriptor;
use super::io::{Io, Owner};

/// Limits of the pool of one worker.
#[derive(Clone, Copy, Debug)]
pub struct PipeSizes {
    /// Pipes at the same time; 0 switches splice off.
    pub count: u32,
    /// Bytes a pipe should hold; the kernel may give less.
    pub size: usize,
}

/// The pool.
pub(super) struct Pipes {
    sizes: PipeSizes,
    idle: Vec<RawPipe>,
    loans: Loans,
    exhausted: u64,
}

/// How many of so many are lent, and to whom.
#[derive(Debug, Default)]
struct Loans {
    limit: usize,
    lent: usize,
    /// Nobody with none is in it.
    by_owner: HashMap<Owner, usize>,
}

/// Both ends of a pipe.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawPipe {
    pub(super) read: Descriptor,
    pub(super) write: Descriptor,
}

impl Pipes {
    pub(super) fn new(sizes: PipeSizes) -> Pipes {
        let loans = Loans { limit: sizes.count as usize, ..Loans::default() };
        Pipes { sizes, idle: Vec::new(), loans, exhausted: 0 }
    }

    /// An empty pipe, unless there is none left for `owner` or the system refuses one more.
    pub(super) fn take(&mut self, owner: Owner, io: &mut Io) -> Option<RawPipe> {
        let pipe = self.loans.may_lend_to(owner).then(|| self.idle.pop());
        let pipe = pipe.and_then(|idle| idle.or_else(|| self.make(io).ok()));
        match pipe {
            Some(_) => self.loans.lend(owner),
            None => self.exhausted += u64::from(self.sizes.count > 0),
        }
        pipe
    }

    fn make(&self, io: &mut Io) -> io::Result<RawPipe> {
        let (read, write) = io.driver.pipe(self.sizes.size)?;
        io.adopt(read);
        io.adopt(write);
        Ok(RawPipe { read, write })
    }

    /// Takes a pipe of `owner` back; `empty` says whether it can be lent again.
    pub(super) fn give_back(&mut self, pipe: RawPipe, owner: Owner, empty: bool, io: &mut Io) {
        self.loans.give_back(owner);
        if empty {
            self.idle.push(pipe);
        } else {
            io.release(pipe.read);
            io.release(pipe.write);
        }
    }

    pub(super) fn close_all(&mut self, io: &mut Io) {
        for pipe in self.idle.drain(..) {
            io.release(pipe.read);
            io.release(pipe.write);
        }
    }

    pub(super) fn size(&self) -> usize {
        self.sizes.size
    }

    pub(super) fn held(&self) -> usize {
        self.loans.lent
    }

    pub(super) fn exhausted(&self) -> u64 {
        self.exhausted
    }
}

impl Loans {
    /// Whether `owner` may have one more: up to so many times what would be left for the others.
    /// Whoever comes next has its part of what is left then, and so on.
    fn may_lend_to(&self, owner: Owner) -> bool {
        let has = self.by_owner.get(&owner).copied().unwrap_or(0);
        has < TIMES_THE_REST * (self.limit - self.lent)
    }

    fn lend(&mut self, owner: Owner) {
        self.lent += 1;
        *self.by_owner.entry(owner).or_default() += 1;
    }

    fn give_back(&mut self, owner: Owner) {
        self.lent -= 1;
        if let Some(has) = self.by_owner.get_mut(&owner) {
            *has -= 1;
            if *has == 0 {
                self.by_owner.remove(&owner);
            }
        }
    }
}

/// Alone an owner has three quarters of all.
const TIMES_THE_REST: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn loans(limit: usize) -> Loans {
        Loans { limit, ..Loans::default() }
    }

    /// Lends to `owner` all that it may have; how many it has got.
    fn exhaust(loans: &mut Loans, owner: u32) -> usize {
        let before = loans.lent;
        while loans.may_lend_to(Owner(owner)) {
            loans.lend(Owner(owner));
        }
        loans.lent - before
    }

    #[test]
    fn whoever_takes_all_that_it_can_leaves_some_for_the_next() {
        let mut loans = loans(64);
        let got = [1, 2, 3, 4].map(|owner| exhaust(&mut loans, owner));
        assert_eq!(got, [48, 12, 3, 1]);
        assert!((1..9).all(|owner| !loans.may_lend_to(Owner(owner))), "more than there are");
    }

    #[test]
    fn a_pool_of_few_is_used() {
        for (limit, alone) in [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3), (8, 6)] {
            assert_eq!(exhaust(&mut loans(limit), 1), alone, "of {limit}");
        }
    }

    #[test]
    fn what_is_given_back_is_for_everyone_again() {
        let mut loans = loans(8);
        assert_eq!((exhaust(&mut loans, 1), exhaust(&mut loans, 2)), (6, 2));
        (0..6).for_each(|_| loans.give_back(Owner(1)));
        assert_eq!(exhaust(&mut loans, 3), 5);
        (0..5).for_each(|_| loans.give_back(Owner(3)));
        (0..2).for_each(|_| loans.give_back(Owner(2)));
        assert_eq!((loans.lent, loans.by_owner.len()), (0, 0), "nobody is remembered");
    }
}
