//! How sessions are told to end: by whom a worker's commands are passed on to them.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use crate::observe::CloseReason;

/// The sessions of one worker that can be told something.
#[derive(Default)]
pub(super) struct Controls {
    members: RefCell<Members>,
    open: Cell<usize>,
}

#[derive(Default)]
struct Members {
    slots: Vec<Option<Rc<Line>>>,
    free: Vec<u32>,
}

/// A session's end of the line.
pub(super) struct Control {
    line: Rc<Line>,
    controls: Weak<Controls>,
    slot: u32,
}

#[derive(Default)]
struct Line {
    asked: Cell<Option<CloseReason>>,
    waker: RefCell<Option<Waker>>,
}

impl Controls {
    pub(super) fn enlist(self: &Rc<Self>) -> Control {
        let line = Rc::new(Line::default());
        let mut members = self.members.borrow_mut();
        let slot = members.free.pop().unwrap_or_else(|| {
            members.slots.push(None);
            members.slots.len() as u32 - 1
        });
        members.slots[slot as usize] = Some(Rc::clone(&line));
        self.open.set(self.open.get() + 1);
        Control { line, controls: Rc::downgrade(self), slot }
    }

    /// Sessions enlisted now.
    pub(super) fn open(&self) -> usize {
        self.open.get()
    }

    /// Asks every session to end in order, for `reason`.
    pub(super) fn close_all(&self, reason: CloseReason) {
        for line in self.members.borrow().slots.iter().flatten() {
            line.asked.set(Some(reason));
            if let Some(waker) = line.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

impl Control {
    /// Completes when the session is asked to end.
    pub(super) async fn asked(&self) -> CloseReason {
        std::future::poll_fn(|context| {
            if let Some(reason) = self.line.asked.get() {
                return Poll::Ready(reason);
            }
            let mut waker = self.line.waker.borrow_mut();
            match &mut *waker {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
            Poll::Pending
        })
        .await
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let Some(controls) = self.controls.upgrade() else { return };
        let mut members = controls.members.borrow_mut();
        members.slots[self.slot as usize] = None;
        members.free.push(self.slot);
        controls.open.set(controls.open.get() - 1);
    }
}
