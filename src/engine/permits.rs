//! So many at a time: tasks of one engine take a permit, or wait for one in line.
//!
//! A permit that is given back goes to the first in line and wakes nobody else, so that thousands
//! may wait at no cost to those who work.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::line::Line;

/// A number of permits.
pub struct Permits {
    limit: u32,
    /// Also by those who were called and do not know it yet; less than the limit only while nobody
    /// waits.
    taken: Cell<u32>,
    line: RefCell<Line>,
}

impl Permits {
    pub fn new(limit: u32) -> Permits {
        Permits { limit, taken: Cell::new(0), line: RefCell::default() }
    }

    /// How many are taken.
    pub fn taken(&self) -> u32 {
        self.taken.get()
    }

    /// Whether whoever comes now has to wait.
    pub fn are_taken(&self) -> bool {
        self.taken.get() >= self.limit
    }

    /// Completes when there is one. Whoever is dropped before leaves the line.
    pub fn take(&self) -> Take<'_> {
        Take { permits: self, seat: None }
    }

    fn give_back(&self) {
        let first = self.line.borrow_mut().call_first();
        match first {
            Some(first) => first.wake(),
            None => self.taken.set(self.taken.get() - 1),
        }
    }
}

/// See [`Permits::take`].
pub struct Take<'p> {
    permits: &'p Permits,
    seat: Option<u32>,
}

/// One permit; given back when dropped.
pub struct Permit<'p>(&'p Permits);

impl<'p> Future for Take<'p> {
    type Output = Permit<'p>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Permit<'p>> {
        let permits = self.permits;
        let mut line = permits.line.borrow_mut();
        match self.seat {
            None if !permits.are_taken() => permits.taken.set(permits.taken.get() + 1),
            None => {
                self.seat = Some(line.enter(context.waker().clone()));
                return Poll::Pending;
            }
            Some(seat) if line.was_called(seat) => {
                line.leave(seat);
                self.seat = None;
            }
            Some(seat) => {
                line.rewake(seat, context.waker());
                return Poll::Pending;
            }
        }
        Poll::Ready(Permit(permits))
    }
}

impl Drop for Take<'_> {
    fn drop(&mut self) {
        let Some(seat) = self.seat else { return };
        let called = self.permits.line.borrow_mut().leave(seat);
        if called {
            self.permits.give_back();
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::rc::Rc;
    use std::task::Waker;

    use super::super::tests::plain_engine;
    use super::super::{Either, Time, race};
    use super::*;

    fn poll<'p>(take: &mut Take<'p>) -> Option<Permit<'p>> {
        match Pin::new(take).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    #[test]
    fn whoever_came_first_is_served_first_and_nobody_overtakes() {
        let permits = Permits::new(2);
        let [mut first, mut second, mut third, mut fourth] = [(); 4].map(|()| permits.take());
        let (first, second) = (poll(&mut first).unwrap(), poll(&mut second));
        assert!(poll(&mut third).is_none() && poll(&mut fourth).is_none());
        drop(first);
        assert!(poll(&mut permits.take()).is_none(), "it is another one's");
        assert!(poll(&mut fourth).is_none());
        let third = poll(&mut third).unwrap();
        assert_eq!(permits.taken(), 2);
        drop((second, third));
        assert!(poll(&mut fourth).is_some());
        assert_eq!(permits.taken(), 0);
    }

    #[test]
    fn who_leaves_holds_nobody_up_and_passes_on_what_it_was_given() {
        let permits = Permits::new(1);
        let held = poll(&mut permits.take()).unwrap();
        let [mut first, mut second, mut third] = [(); 3].map(|()| permits.take());
        assert!([&mut first, &mut second, &mut third].into_iter().all(|it| poll(it).is_none()));
        drop(second);
        drop(held);
        drop(first);
        assert!(poll(&mut third).is_some());
        assert_eq!(permits.taken(), 0);
    }

    #[test]
    fn of_thousands_who_wait_the_one_that_is_served_is_polled_alone() {
        const WAITING: usize = 5_000;
        let engine = plain_engine();
        let permits = Rc::new(Permits::new(1));
        let polls: Rc<[Cell<u32>]> = (0..WAITING).map(|_| Cell::new(0)).collect();
        let served = Rc::new(RefCell::new(Vec::new()));
        let turns = engine.block_on(
            async {
                let held = permits.take().await;
                for number in 0..WAITING {
                    let (permits, polls) = (permits.clone(), polls.clone());
                    let (served, engine) = (served.clone(), engine.clone());
                    engine.clone().spawn(async move {
                        // One in three has given up by the time its turn would have come.
                        let patience = if number % 3 == 0 { 1_000_000 } else { u64::MAX };
                        let gives_up = engine.sleep_until(Time::from_nanos(patience));
                        let mut waiting = pin!(race(permits.take(), gives_up));
                        let waited = poll_fn(|context| {
                            polls[number].set(polls[number].get() + 1);
                            waiting.as_mut().poll(context)
                        });
                        if let Either::First(_permit) = waited.await {
                            served.borrow_mut().push(number);
                        }
                    });
                }
                engine.sleep_until(Time::from_nanos(10_000_000)).await;
                let left = || (0..WAITING).filter(|number| number % 3 != 0);
                let all = || polls.iter().map(Cell::get).sum::<u32>() as usize;
                let before = all();
                drop(held);
                engine.pause().await;
                engine.pause().await;
                // Each of them gives it back at once, to the next one, whose turn is the next one.
                let now_served = served.borrow().len();
                assert!((1..=2).contains(&now_served), "{now_served}");
                assert_eq!(all() - before, now_served);
                while served.borrow().len() < left().count() {
                    engine.pause().await;
                }
                assert_eq!(all() - before, left().count(), "each was polled once to be served");
                assert!(served.borrow().iter().copied().eq(left()), "in their order");
            },
            || (),
        );
        turns.unwrap();
        assert_eq!(permits.taken(), 0);
    }
}
