//! A local bell: tasks of one engine wait for it, another task rings it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::line::Line;

/// Rings for everyone who waits at that moment; nobody who comes later hears it.
#[derive(Default)]
pub struct Notify {
    rung: Cell<u64>,
    line: RefCell<Line>,
}

impl Notify {
    /// Completes at the first ring after this call, also when it rings before the first poll.
    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, rung: self.rung.get(), seat: None }
    }

    pub fn notify_all(&self) {
        self.rung.set(self.rung.get() + 1);
        // Taken out first: a waker may be foreign, and run anything.
        let mut line = self.line.borrow_mut();
        let waiting: Vec<Waker> = std::iter::from_fn(|| line.call_first()).collect();
        drop(line);
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// See [`Notify::notified`].
pub struct Notified<'n> {
    notify: &'n Notify,
    rung: u64,
    seat: Option<u32>,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let notify = self.notify;
        if notify.rung.get() != self.rung {
            return Poll::Ready(());
        }
        let mut line = notify.line.borrow_mut();
        match self.seat {
            Some(seat) => line.rewake(seat, context.waker()),
            None => self.seat = Some(line.enter(context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        if let Some(seat) = self.seat {
            self.notify.line.borrow_mut().leave(seat);
        }
    }
}
