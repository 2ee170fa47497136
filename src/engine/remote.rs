//! The way in from another thread: a flag that is raised, and the tasks to wake.
//!
//! It does not carry data; an `Inbox` does, and raises the flag when it has something.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::SegQueue;
use rustix::event::{EventfdFlags, eventfd};

/// One per engine, shared with whoever may wake it.
pub struct Remote {
    /// Set by the first who raises, cleared by the engine before it looks for work.
    raised: AtomicBool,
    /// Tasks woken from other threads, as their wakers know them.
    wakes: SegQueue<u64>,
    /// Interrupts the engine's wait. A simulation polls the flag and has none.
    signal: Option<OwnedFd>,
}

impl Remote {
    /// For an engine on a real ring, which keeps a read on `signal` in flight at all times.
    pub fn with_signal() -> std::io::Result<Remote> {
        let signal = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Remote { signal: Some(signal), ..Remote::without_signal() })
    }

    /// For a simulated engine, which looks at the flag in each turn.
    pub fn without_signal() -> Remote {
        Remote { raised: AtomicBool::new(false), wakes: SegQueue::new(), signal: None }
    }

    /// Makes the engine's present or next wait end. Cheap when it is raised already.
    pub fn raise(&self) {
        if self.raised.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(signal) = &self.signal {
            // The counter of an eventfd cannot overflow here: it is written once per raising.
            // A failure would mean a closed descriptor, which the borrow rules out.
            let written = rustix::io::write(signal, &1u64.to_ne_bytes());
            debug_assert_eq!(written, Ok(8));
        }
    }

    /// Takes the flag down. Whatever was queued before a `raise` is visible afterwards.
    pub fn lower(&self) -> bool {
        self.raised.swap(false, Ordering::AcqRel)
    }

    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    pub(super) fn wake_task(&self, task: u64) {
        self.wakes.push(task);
        self.raise();
    }

    pub(super) fn next_woken_task(&self) -> Option<u64> {
        self.wakes.pop()
    }

    pub(super) fn signal(&self) -> Option<BorrowedFd<'_>> {
        self.signal.as_ref().map(OwnedFd::as_fd)
    }
}
