//! How sessions are told to end: a worker's commands are passed on to them here.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::observe::CloseReason;

/// The sessions of one worker that can be told something.
#[derive(Default)]
pub(super) struct Controls(RefCell<Lines>);

#[derive(Default)]
struct Lines {
    lines: Vec<Line>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Line {
    asked: Option<CloseReason>,
    /// Whom to wake when it is asked.
    waker: Option<Waker>,
    in_use: bool,
}

/// A session's line; to be given back with `leave`.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineNumber(u32);

impl Controls {
    pub(super) fn enlist(&self) -> LineNumber {
        let lines = &mut *self.0.borrow_mut();
        let number = lines.free.pop().unwrap_or_else(|| {
            lines.lines.push(Line::default());
            lines.lines.len() as u32 - 1
        });
        lines.lines[number as usize] = Line { in_use: true, ..Line::default() };
        LineNumber(number)
    }

    pub(super) fn leave(&self, number: LineNumber) {
        let lines = &mut *self.0.borrow_mut();
        lines.lines[number.0 as usize] = Line::default();
        lines.free.push(number.0);
    }

    /// Sessions enlisted now.
    pub(super) fn open(&self) -> usize {
        let lines = self.0.borrow();
        lines.lines.len() - lines.free.len()
    }

    /// Asks every session to end in order, for `reason`.
    pub(super) fn close_all(&self, reason: CloseReason) {
        for line in self.0.borrow_mut().lines.iter_mut().filter(|line| line.in_use) {
            line.asked = Some(reason);
            if let Some(waker) = line.waker.take() {
                waker.wake();
            }
        }
    }

    /// Completes when the session is asked to end.
    pub(super) fn asked(&self, number: LineNumber) -> Asked<'_> {
        Asked { controls: self, number }
    }
}

/// See [`Controls::asked`].
pub(super) struct Asked<'c> {
    controls: &'c Controls,
    number: LineNumber,
}

impl Future for Asked<'_> {
    type Output = CloseReason;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<CloseReason> {
        let line = &mut self.controls.0.borrow_mut().lines[self.number.0 as usize];
        if let Some(reason) = line.asked {
            return Poll::Ready(reason);
        }
        match &mut line.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[test]
    fn everyone_is_told_and_a_newcomer_is_not() {
        let controls = Controls::default();
        let (first, second) = (controls.enlist(), controls.enlist());
        let context = &mut Context::from_waker(Waker::noop());
        assert!(pin!(controls.asked(first)).poll(context).is_pending());
        controls.close_all(CloseReason::Drained);
        for line in [first, second] {
            let asked = pin!(controls.asked(line)).poll(context);
            assert_eq!(asked, Poll::Ready(CloseReason::Drained));
        }
        controls.leave(first);
        let newcomer = controls.enlist();
        assert!(pin!(controls.asked(newcomer)).poll(context).is_pending());
        assert_eq!(controls.open(), 2);
    }
}
