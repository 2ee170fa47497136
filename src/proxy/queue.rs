//! Who waits for a place on a backend: on each worker, first come first served within a pool.
//!
//! Places become free on any worker, and are announced to all of them; then whoever is first in
//! line here tries to get one. Those behind are not woken before it is their turn.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use crate::balance::{Lease, NoChoice, Pool, PoolId, Traits, Waiting, WaitingPlace};
use crate::engine::{Either, Permits, Time, race};
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

/// The queues of one worker, by pool.
#[derive(Default)]
pub(super) struct Queues(RefCell<HashMap<PoolId, Rc<Queue>>>);

struct Queue {
    /// Had by who tries to get a place; the others wait in line for it.
    head: Permits,
    /// Sessions that wait, those that have stepped aside among them.
    waiting: Cell<u32>,
}

/// One session that waits, until it is dropped.
struct Waiter<'q>(&'q Queue);

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
        let queue = self.of(pool);
        let _waiter = Waiter::new(&queue);
        let mut head = Some(queue.head.take().await);
        loop {
            let called = called();
            waiting.listen();
            match choose() {
                Ok(lease) => return Some(lease),
                Err(NoChoice::Exhausted) => return None,
                Err(NoChoice::AtLimit) => {}
            }
            // What is free may be on the backends that this one has tried in vain: it goes on
            // trying, and holds nobody up.
            if retries {
                drop(head.take());
            }
            called.await;
        }
    }

    fn is_empty(&self, pool: PoolId) -> bool {
        self.0.borrow().get(&pool).is_none_or(|queue| queue.waiting.get() == 0)
    }

    fn of(&self, pool: PoolId) -> Rc<Queue> {
        let mut queues = self.0.borrow_mut();
        Rc::clone(queues.entry(pool).or_default())
    }
}

impl Default for Queue {
    fn default() -> Queue {
        Queue { head: Permits::new(1), waiting: Cell::default() }
    }
}

impl Waiter<'_> {
    fn new(queue: &Queue) -> Waiter<'_> {
        queue.waiting.set(queue.waiting.get() + 1);
        Waiter(queue)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Wake, Waker};
    use std::time::Duration;

    use super::*;
    use crate::balance::{
        Backend, Balancing, Chooser, Member, PoolSettings, Snapshot, SocketOptions, Standing,
    };
    use crate::engine::driver::simulated::{Faults, World};
    use crate::engine::{BufferSizes, Engine, EngineSettings, Notify, PipeSizes, Remote};

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

    /// Sessions in queues, which never get a place.
    struct Scene {
        queues: Queues,
        pool: Pool,
        /// Tells those who try that a place may be free.
        bell: Notify,
    }

    /// One of them, and how often it has tried.
    struct Session<'s> {
        future: Pin<Box<dyn Future<Output = Option<Lease>> + 's>>,
        tries: Rc<Cell<u32>>,
    }

    impl Scene {
        fn new() -> Scene {
            Scene { queues: Queues::default(), pool: one_place(), bell: Notify::default() }
        }

        fn session(&self, pool: PoolId, retries: bool) -> Session<'_> {
            let tries = Rc::<Cell<u32>>::default();
            let counted = Rc::clone(&tries);
            let future = async move {
                let waiting = self.pool.waiting().unwrap().join().unwrap();
                let choose = || {
                    counted.set(counted.get() + 1);
                    Err(NoChoice::AtLimit)
                };
                let called = || self.bell.notified();
                self.queues.await_turn(pool, retries, &waiting, called, choose).await
            };
            Session { future: Box::pin(future), tries }
        }
    }

    impl Session<'_> {
        /// How often it has tried by now.
        fn tries(&mut self, waker: &Waker) -> u32 {
            assert!(self.future.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
            self.tries.get()
        }
    }

    #[test]
    fn the_first_comes_first_and_only_the_next_is_woken() {
        let scene = Scene::new();
        assert!(scene.queues.is_empty(POOL));
        let woken: [Arc<Woken>; 3] = Default::default();
        let wakers = woken.each_ref().map(|woken| Waker::from(Arc::clone(woken)));
        let counts = || woken.each_ref().map(|woken| woken.0.load(Ordering::Relaxed));
        let [mut first, mut second, mut third] = [(); 3].map(|()| scene.session(POOL, false));
        assert_eq!(first.tries(&wakers[0]), 1);
        assert_eq!((second.tries(&wakers[1]), third.tries(&wakers[2])), (0, 0));
        let another = scene.session(PoolId(0), false).tries(&wakers[2]);
        assert_eq!(another, 1, "another pool has another line");
        drop(first);
        assert_eq!(counts(), [0, 1, 0]);
        assert_eq!((second.tries(&wakers[1]), third.tries(&wakers[2])), (1, 0));
        drop(second);
        assert_eq!(counts(), [0, 1, 1]);
        assert_eq!(third.tries(&wakers[2]), 1);
        assert!(!scene.queues.is_empty(POOL));
        drop(third);
        assert!(scene.queues.is_empty(POOL));
    }

    #[test]
    fn who_leaves_from_the_middle_holds_nobody_up() {
        let scene = Scene::new();
        let [mut first, mut second, mut third] = [(); 3].map(|()| scene.session(POOL, false));
        let tries = [&mut first, &mut second, &mut third].map(|it| it.tries(Waker::noop()));
        assert_eq!(tries, [1, 0, 0]);
        drop(second);
        assert_eq!((first.tries(Waker::noop()), third.tries(Waker::noop())), (1, 0));
        drop(first);
        assert_eq!(third.tries(Waker::noop()), 1);
    }

    #[test]
    fn who_steps_aside_goes_on_trying_and_lets_the_next_try() {
        let scene = Scene::new();
        let mut sessions = [true, false, false].map(|retries| scene.session(POOL, retries));
        let mut tries = || sessions.each_mut().map(|it| it.tries(Waker::noop()));
        assert_eq!(tries(), [1, 1, 0]);
        scene.bell.notify_all();
        assert_eq!(tries(), [2, 2, 0]);
    }
}
