//! Who waits for a place on a backend: on each worker, first come first served within a pool.
//!
//! Places become free on any worker, and are announced to all of them; then whoever is first in
//! line here tries to get one. Those behind are not woken before it is their turn.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::task::{Poll, Waker};

use crate::balance::{Lease, NoChoice, Pool, PoolId, Traits, Waiting, WaitingPlace};
use crate::engine::{Either, Time, race};
use crate::observe::CloseReason;

use super::connect::abandoned;
use super::session::Session;

/// A place on a backend that the session has not tried yet, waited for if the pool lets sessions
/// wait; none: there is no such backend. `patience` is when the session gives up, once it has
/// begun to wait: the time is for all its waiting together.
pub(super) async fn place(
    session: &Session,
    id: PoolId,
    pool: &Pool,
    traits: &Traits<'_>,
    patience: &mut Option<Time>,
) -> Result<Option<Lease>, CloseReason> {
    let worker = &session.worker;
    // Nobody overtakes those who wait, but for who had got a place and could not use it.
    if worker.queues.is_empty(id) || !session.tried().is_empty() {
        match worker.choose(id, traits, session.tried()) {
            Ok(lease) => return Ok(Some(lease)),
            Err(NoChoice::Exhausted) => return Ok(None),
            Err(NoChoice::AtLimit) => {}
        }
    }
    let (Some(queue), Some(waiting)) = (&pool.settings.queue, pool.waiting()) else {
        return Err(CloseReason::BackendLimit);
    };
    let waiting = Waiting::join(waiting).ok_or(CloseReason::QueueFull)?;
    let deadline = *patience.get_or_insert(worker.engine.now() + queue.timeout);
    let served = race(await_turn(session, id, traits, &waiting), abandoned(session, deadline));
    match race(served, worker.engine.sleep_until(deadline)).await {
        Either::First(Either::First(lease)) => Ok(lease),
        Either::First(Either::Second(reason)) => Err(reason),
        Either::Second(()) => Err(CloseReason::QueueTimeout),
    }
}

async fn await_turn(
    session: &Session,
    id: PoolId,
    traits: &Traits<'_>,
    waiting: &WaitingPlace,
) -> Option<Lease> {
    let worker = &session.worker;
    let turn = worker.queues.enter(id);
    loop {
        turn.comes().await;
        let called = worker.engine.called();
        waiting.listen();
        match worker.choose(id, traits, session.tried()) {
            Ok(lease) => return Some(lease),
            Err(NoChoice::Exhausted) => return None,
            Err(NoChoice::AtLimit) => {}
        }
        // What is free may be on the backends that this one has tried in vain.
        if !session.tried().is_empty() {
            turn.step_aside();
        }
        called.await;
    }
}

/// The lines of one worker, by pool.
#[derive(Default)]
pub(super) struct Queues(RefCell<HashMap<PoolId, Queue>>);

#[derive(Default)]
struct Queue {
    /// In the order of their numbers.
    waiters: VecDeque<Waiter>,
    last: u64,
}

struct Waiter {
    number: u64,
    /// Whom to wake when it is first.
    waker: Option<Waker>,
    /// It goes on trying, and holds nobody up.
    aside: bool,
}

/// A position in a line; left when dropped.
struct Turn<'q> {
    queues: &'q Queues,
    pool: PoolId,
    number: u64,
}

impl Queues {
    fn is_empty(&self, pool: PoolId) -> bool {
        self.0.borrow().get(&pool).is_none_or(|queue| queue.waiters.is_empty())
    }

    fn enter(&self, pool: PoolId) -> Turn<'_> {
        let mut queues = self.0.borrow_mut();
        let queue = queues.entry(pool).or_default();
        queue.last += 1;
        queue.waiters.push_back(Waiter { number: queue.last, waker: None, aside: false });
        Turn { queues: self, pool, number: queue.last }
    }
}

impl Turn<'_> {
    /// Completes when everyone before this one has left or stepped aside.
    async fn comes(&self) {
        poll_fn(|context| {
            self.in_queue(|queue, position| {
                if queue.waiters.range(..position).all(|waiter| waiter.aside) {
                    return Poll::Ready(());
                }
                queue.waiters[position].waker = Some(context.waker().clone());
                Poll::Pending
            })
        })
        .await;
    }

    /// Lets those behind try as well.
    fn step_aside(&self) {
        self.in_queue(|queue, position| {
            queue.waiters[position].aside = true;
            queue.wake_first();
        });
    }

    fn in_queue<T>(&self, act: impl FnOnce(&mut Queue, usize) -> T) -> T {
        let mut queues = self.queues.0.borrow_mut();
        let queue = queues.entry(self.pool).or_default();
        let position = queue.waiters.partition_point(|waiter| waiter.number < self.number);
        act(queue, position)
    }
}

impl Queue {
    /// Wakes the first of those who have not stepped aside, if it does not try already.
    fn wake_first(&mut self) {
        let first = self.waiters.iter_mut().find(|waiter| !waiter.aside);
        if let Some(waker) = first.and_then(|waiter| waiter.waker.take()) {
            waker.wake();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.in_queue(|queue, position| {
            queue.waiters.remove(position);
            queue.wake_first();
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Wake};

    use super::*;

    const POOL: PoolId = PoolId(3);

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn comes(turn: &Turn<'_>, waker: &Waker) -> bool {
        pin!(turn.comes()).poll(&mut Context::from_waker(waker)).is_ready()
    }

    #[test]
    fn the_first_comes_first_and_only_the_next_is_woken() {
        let queues = Queues::default();
        assert!(queues.is_empty(POOL));
        let woken: [Arc<Woken>; 3] = Default::default();
        let wakers = woken.each_ref().map(|woken| Waker::from(Arc::clone(woken)));
        let counts = || woken.each_ref().map(|woken| woken.0.load(Ordering::Relaxed));
        let [first, second, third] = [(); 3].map(|()| queues.enter(POOL));
        assert!(comes(&first, &wakers[0]));
        assert!(!comes(&second, &wakers[1]) && !comes(&third, &wakers[2]));
        assert!(comes(&queues.enter(PoolId(0)), &wakers[2]), "another pool has another line");
        drop(first);
        assert_eq!(counts(), [0, 1, 0]);
        assert!(comes(&second, &wakers[1]) && !comes(&third, &wakers[2]));
        drop(second);
        assert_eq!(counts(), [0, 1, 1]);
        assert!(comes(&third, &wakers[2]));
        drop(third);
        assert!(queues.is_empty(POOL));
    }

    #[test]
    fn who_leaves_from_the_middle_holds_nobody_up() {
        let queues = Queues::default();
        let [first, second, third] = [(); 3].map(|()| queues.enter(POOL));
        let waker = Waker::noop();
        drop(second);
        assert!(comes(&first, waker) && !comes(&third, waker));
        drop(first);
        assert!(comes(&third, waker));
    }

    #[test]
    fn who_steps_aside_goes_on_trying_and_lets_the_next_try() {
        let queues = Queues::default();
        let [first, second, third] = [(); 3].map(|()| queues.enter(POOL));
        let waker = Waker::noop();
        assert!(!comes(&second, waker));
        first.step_aside();
        assert!(comes(&first, waker) && comes(&second, waker) && !comes(&third, waker));
    }
}
