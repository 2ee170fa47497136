//! Who waits for a place on a backend: on each worker, first come first served within a pool.
//!
//! Places become free on any worker, and are announced to all of them; then whoever is first in
//! line here tries to get one. Those behind are not woken before it is their turn.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
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
    let retries = !session.tried().is_empty();
    let choose = || worker.choose(id, traits, session.tried());
    match worker.queues.arrive(id, retries, choose) {
        Ok(lease) => return Ok(Some(lease)),
        Err(NoChoice::Exhausted) => return Ok(None),
        Err(NoChoice::AtLimit) => {}
    }
    let (Some(queue), Some(waiting)) = (&pool.settings.queue, pool.waiting()) else {
        return Err(CloseReason::BackendLimit);
    };
    let waiting = Waiting::join(waiting).ok_or(CloseReason::QueueFull)?;
    let deadline = *patience.get_or_insert(worker.engine.now() + queue.timeout);
    let called = || worker.engine.called();
    let turn = worker.queues.await_turn(id, retries, &waiting, called, choose);
    let served = race(turn, abandoned(session, deadline));
    match race(served, worker.engine.sleep_until(deadline)).await {
        Either::First(Either::First(lease)) => Ok(lease),
        Either::First(Either::Second(reason)) => Err(reason),
        Either::Second(()) => Err(CloseReason::QueueTimeout),
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
    /// Chooses at once, unless others wait: a place that has just been given back is theirs, also
    /// while nobody has told them yet. Who `retries` may try, because it had got a place and could
    /// not use it.
    fn arrive(
        &self,
        pool: PoolId,
        retries: bool,
        choose: impl FnOnce() -> Result<Lease, NoChoice>,
    ) -> Result<Lease, NoChoice> {
        if self.is_empty(pool) || retries { choose() } else { Err(NoChoice::AtLimit) }
    }

    /// Chooses when it is first in line, and again whenever it is `called`, until it has a place;
    /// none: there is no backend to have one on.
    async fn await_turn<C: Future>(
        &self,
        pool: PoolId,
        retries: bool,
        waiting: &WaitingPlace,
        called: impl Fn() -> C,
        choose: impl Fn() -> Result<Lease, NoChoice>,
    ) -> Option<Lease> {
        let turn = self.enter(pool);
        loop {
            turn.comes().await;
            let called = called();
            waiting.listen();
            match choose() {
                Ok(lease) => return Some(lease),
                Err(NoChoice::Exhausted) => return None,
                Err(NoChoice::AtLimit) => {}
            }
            // What is free may be on the backends that this one has tried in vain.
            if retries {
                turn.step_aside();
            }
            called.await;
        }
    }

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
    use std::pin::pin;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Wake};
    use std::time::Duration;

    use super::*;
    use crate::balance::{
        Backend, Balancing, Chooser, Member, PoolSettings, Snapshot, SocketOptions, Standing,
    };
    use crate::engine::driver::simulated::{Faults, World};
    use crate::engine::{BufferSizes, Engine, EngineSettings, PipeSizes, Remote};

    const POOL: PoolId = PoolId(3);

    /// A pool of one backend with one place, and a line for it on a worker.
    struct Line {
        engine: Engine,
        pool: Arc<Pool>,
        chooser: RefCell<Chooser>,
        queues: Queues,
        /// Who got the place, in order, and the place while it is taken.
        served: RefCell<Vec<&'static str>>,
        lease: RefCell<Option<Lease>>,
    }

    impl Line {
        const POOL: PoolId = PoolId(0);

        fn new() -> Rc<Line> {
            let remote = Arc::new(Remote::without_signal());
            let driver = World::new(1, Faults::none()).driver(Arc::clone(&remote));
            let settings = EngineSettings {
                buffers: BufferSizes { size: 4096, count: 4, offered: 1 },
                pipes: PipeSizes { count: 0, size: 4096 },
                stall_after: Duration::from_secs(1),
                stalled_share: 1,
            };
            let engine = Engine::new(driver, Arc::clone(&remote), &settings).unwrap();
            let pool = Arc::new(one_place());
            pool.waiting().unwrap().announce_with(Box::new(move || remote.raise()));
            let snapshot = Arc::new(Snapshot::new(vec![Arc::clone(&pool)]));
            let chooser = RefCell::new(Chooser::new(snapshot, fastrand::Rng::with_seed(1)));
            let (queues, served, lease) = Default::default();
            Rc::new(Line { engine, pool, chooser, queues, served, lease })
        }

        fn choose(&self) -> Result<Lease, NoChoice> {
            self.chooser.borrow_mut().choose(Line::POOL, &Traits::default(), &[])
        }

        /// What a session does: it takes the place, or waits for it.
        async fn serve(self: Rc<Line>, name: &'static str) {
            let lease = match self.queues.arrive(Line::POOL, false, || self.choose()) {
                Err(NoChoice::AtLimit) => {
                    let waiting = self.pool.waiting().unwrap().join().unwrap();
                    let (called, choose) = (|| self.engine.called(), || self.choose());
                    self.queues.await_turn(Line::POOL, false, &waiting, called, choose).await
                }
                chosen => chosen.ok(),
            };
            self.served.borrow_mut().push(name);
            assert!(self.lease.replace(lease).is_none(), "there is one place");
        }

        fn arrives(self: &Rc<Line>, name: &'static str) {
            self.engine.spawn(Rc::clone(self).serve(name));
        }

        /// Lets everyone do what can be done now.
        async fn settle(&self) {
            for _ in 0..10 {
                self.engine.pause().await;
            }
        }
    }

    fn one_place() -> Pool {
        let mut backend = Backend::new("backend".into(), vec![([127, 0, 0, 1], 9).into()]);
        backend.limit = Some(1);
        let member = Member { backend: Arc::new(backend), standing: Standing::Up };
        let queue = crate::balance::Queue { limit: 9, timeout: Duration::from_secs(1) };
        let socket = SocketOptions {
            nodelay: true,
            keepalive: None,
            user_timeout: None,
            receive_buffer: None,
            send_buffer: None,
        };
        let settings = PoolSettings {
            connect_timeout: Duration::from_secs(1),
            tries: 1,
            balancing: Balancing::default(),
            queue: Some(queue),
            sources: Vec::new(),
            socket,
        };
        Pool::new("pool".into(), settings, vec![member], None)
    }

    #[test]
    fn who_arrives_before_the_first_hears_of_a_free_place_does_not_overtake_it() {
        let line = Line::new();
        let scene = async {
            line.arrives("first");
            line.settle().await;
            line.arrives("waits");
            line.settle().await;
            assert_eq!(*line.served.borrow(), ["first"]);
            // The worker hears of the place when it turns to the kernel. Who arrives before that
            // is polled before the one who waits, and finds the place free.
            drop(line.lease.take());
            line.arrives("arrives");
            line.settle().await;
            assert_eq!(*line.served.borrow(), ["first", "waits"]);
            drop(line.lease.take());
            line.settle().await;
            assert_eq!(*line.served.borrow(), ["first", "waits", "arrives"]);
            drop(line.lease.take());
        };
        line.engine.block_on(scene, || {}).unwrap();
        assert!(line.queues.is_empty(Line::POOL));
        assert_eq!(line.pool.waiting().unwrap().count(), 0);
    }

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
