//! A local bell: tasks of one engine wait for it, another task rings it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Rings for everyone who waits at that moment; nobody who comes later hears it.
#[derive(Default)]
pub struct Notify {
    rung: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Notify {
    /// Completes at the first ring after this call, also when it rings before the first poll.
    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, rung: self.rung.get() }
    }

    pub fn notify_all(&self) {
        self.rung.set(self.rung.get() + 1);
        // Taken out first: a waker may be foreign, and run anything.
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// See [`Notify::notified`].
pub struct Notified<'n> {
    notify: &'n Notify,
    rung: u64,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.notify.rung.get() != self.rung {
            return Poll::Ready(());
        }
        let mut waiting = self.notify.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}
