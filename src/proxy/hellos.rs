//! How much memory the hellos take that a worker reads. Reads none itself.
//!
//! There is a limit for all of them together. Whoever reaches it has the hello that has been read
//! for the longest time, and is not whole, give way: most are whole with the first piece, so that
//! a flood of those that never will be keeps nobody out, and whoever waits with a whole one for a
//! handshake is not disturbed.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

use crate::engine::Line;

/// The hellos of one worker.
pub(super) struct Hellos {
    limit: usize,
    held: Cell<usize>,
    /// Those that are not whole.
    line: RefCell<Line>,
}

/// What one session holds; given back when dropped.
pub(super) struct Share<'h> {
    hellos: &'h Hellos,
    bytes: usize,
    seat: Option<u32>,
}

impl Hellos {
    pub(super) fn new(limit: usize) -> Hellos {
        Hellos { limit, held: Cell::new(0), line: RefCell::default() }
    }

    /// How many bytes there are.
    pub(super) fn held(&self) -> usize {
        self.held.get()
    }

    pub(super) fn share(&self) -> Share<'_> {
        Share { hellos: self, bytes: 0, seat: None }
    }

    /// Has one give way if there are too many. When it has, it is looked again.
    fn limit(&self) {
        let first = (self.held.get() > self.limit).then(|| self.line.borrow_mut().call_first());
        if let Some(first) = first.flatten() {
            first.wake();
        }
    }
}

impl Share<'_> {
    /// So many more bytes are held, of a hello that is whole now or goes on.
    pub(super) fn grow(&mut self, bytes: usize, goes_on: bool) {
        self.bytes += bytes;
        self.hellos.held.set(self.hellos.held.get() + bytes);
        let mut line = self.hellos.line.borrow_mut();
        match (goes_on, self.seat) {
            // Whom to wake is told with the next poll.
            (true, None) => self.seat = Some(line.enter(Waker::noop().clone())),
            (false, Some(seat)) => {
                line.leave(seat);
                self.seat = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
        drop(line);
        self.hellos.limit();
    }

    /// Completes when its hello is to give way.
    pub(super) async fn gives_way(&self) {
        poll_fn(|context| {
            let mut line = self.hellos.line.borrow_mut();
            match self.seat {
                Some(seat) if line.was_called(seat) => return Poll::Ready(()),
                Some(seat) => line.rewake(seat, context.waker()),
                None => {}
            }
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        if let Some(seat) = self.seat {
            self.hellos.line.borrow_mut().leave(seat);
        }
        self.hellos.held.set(self.hellos.held.get() - self.bytes);
        self.hellos.limit();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    fn is_to_give_way(share: &Share<'_>) -> bool {
        pin!(share.gives_way()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_one_that_is_read_for_the_longest_time_gives_way_until_there_is_room() {
        let hellos = Hellos::new(1_000);
        let [mut whole, mut small, mut first, mut second] = [(); 4].map(|()| hellos.share());
        whole.grow(900, false);
        small.grow(1, true);
        first.grow(90, true);
        assert!(![&whole, &small, &first].into_iter().any(is_to_give_way));
        second.grow(50, true);
        let called = [&whole, &small, &first, &second].map(is_to_give_way);
        assert_eq!(called, [false, true, false, false]);
        drop(small);
        assert!(is_to_give_way(&first) && !is_to_give_way(&second), "that was not enough");
        drop(first);
        assert!(!is_to_give_way(&second));
        assert_eq!(hellos.held(), 950);
        // What has become whole is not asked any more.
        second.grow(10, false);
        let mut last = hellos.share();
        last.grow(41, true);
        assert!(is_to_give_way(&last), "nobody else is left");
        drop((last, second, whole));
        assert_eq!(hellos.held(), 0);
    }
}
