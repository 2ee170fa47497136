//! A worker: the thread's loop, and what its sessions share.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::balance::{Chooser, Lease, NoChoice, PoolId, Traits};
use crate::engine::{Either, Engine, EngineStatus, Inbox, Listener, Notify, Time, race};
use crate::observe::{AccessLog, CloseReason, WorkerMetrics, WorkerTally};
use crate::view::{ListenerView, Publication, View, Watch};

use super::accounts::{Account, Accounts};
use super::control::Controls;
use super::handshakes::Handshakes;
use super::hellos::Hellos;
use super::listener;
use super::queue::Queues;
use super::relay::Workbench;
use super::signer::Signer;

/// What a worker is given by the server.
pub struct WorkerParts {
    pub index: u16,
    pub publication: Arc<Publication>,
    pub metrics: Arc<WorkerMetrics>,
    /// `None`: no line is written.
    pub access_log: Option<Arc<AccessLog>>,
    pub inbox: Inbox<Command>,
    /// Seeds the phases of the balancing; different for each worker.
    pub seed: u64,
    /// Where handshakes with long signatures go.
    pub signer: Arc<Signer>,
    /// The wall clock at the engine's time 0, in nanoseconds since 1970, for the access log.
    pub unix_origin: u64,
}

/// What the server tells a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Accept no more; end when the sessions have, and close the rest in order after this time.
    Drain(Duration),
    /// End at once.
    Stop,
    /// Close the sessions of a backend in order. Those that are about to reach it try another.
    EndSessions { pool: Arc<str>, backend: Arc<str> },
    /// Close up to so many sessions of a backend in order, the longest idle first.
    Rebalance { pool: Arc<str>, backend: Arc<str>, count: u32 },
    /// Close up to so many sessions of a pool in order whose keys belong to other backends than
    /// serve them, the longest idle first.
    LeadHome { pool: PoolId, count: u32 },
}

/// What all sessions of a worker share.
pub(super) struct Worker {
    pub(super) engine: Engine,
    pub(super) index: u16,
    pub(super) controls: Controls,
    pub(super) access_log: Option<Arc<AccessLog>>,
    /// Rings when a session has ended while somebody waited for a descriptor.
    pub(super) descriptor_freed: Notify,
    /// Rings when the worker is to accept no more.
    pub(super) drain: Notify,
    draining: Cell<bool>,
    /// Listeners that still accept.
    accepting: Cell<usize>,
    /// Rings with every session that ends while the worker drains.
    session_ended: Notify,
    descriptors_awaited: Cell<u32>,
    metrics: Arc<WorkerMetrics>,
    watch: RefCell<Watch>,
    chooser: RefCell<Chooser>,
    pub(super) accounts: Accounts,
    pub(super) queues: Queues,
    pub(super) handshakes: Handshakes,
    pub(super) hellos: Hellos,
    /// Borrowed only within a step that does not wait.
    pub(super) workbench: RefCell<Workbench>,
    random: RefCell<fastrand::Rng>,
    next_source: Cell<usize>,
    /// What the tallies have been told of the engine's own counts.
    exported: Cell<EngineStatus>,
    unix_origin: u64,
}

/// A send or a wait for a target that lasts so long has stalled.
pub const STALL_AFTER: Duration = Duration::from_secs(1);
/// Later than anything that happens.
pub(super) const NEVER: Time = Time::from_nanos(u64::MAX);
/// How often gauges are brought up to date.
const GAUGES: Duration = Duration::from_secs(1);
/// How long what is in flight may take to be let go at the end.
const WIND_UP: Duration = Duration::from_secs(2);

/// Serves until a command ends it. `listeners` are this worker's own sockets with the place of
/// each one's settings in the View. An error means that the kernel broke its promises.
pub fn run(
    engine: &Engine,
    listeners: Vec<(usize, Listener)>,
    parts: WorkerParts,
) -> io::Result<()> {
    let inbox = parts.inbox.clone();
    let worker = Rc::new(Worker::new(engine.clone(), parts));
    for (index, socket) in listeners {
        engine.spawn(listener::accept(Rc::clone(&worker), index, socket));
    }
    engine.spawn(Rc::clone(&worker).keep_gauges());
    let each_turn = || worker.refresh();
    engine.block_on(worker.obey(&inbox), each_turn)?;
    engine.wind_up(WIND_UP)?;
    worker.export_gauges();
    Ok(())
}

impl Worker {
    fn new(engine: Engine, parts: WorkerParts) -> Worker {
        let watch = Watch::new(parts.publication);
        let snapshot = Arc::clone(&watch.view().snapshot);
        let limits = watch.view().limits.clone();
        let mut random = fastrand::Rng::with_seed(parts.seed);
        let chooser = Chooser::new(snapshot, random.fork());
        Worker {
            engine,
            index: parts.index,
            controls: Controls::default(),
            access_log: parts.access_log,
            descriptor_freed: Notify::default(),
            drain: Notify::default(),
            draining: Cell::new(false),
            accepting: Cell::new(0),
            session_ended: Notify::default(),
            descriptors_awaited: Cell::new(0),
            watch: RefCell::new(watch),
            chooser: RefCell::new(chooser),
            queues: Queues::default(),
            handshakes: Handshakes::new(limits.handshakes, parts.signer),
            hellos: Hellos::new(limits.hello_memory),
            workbench: RefCell::default(),
            random: RefCell::new(random),
            accounts: Accounts::new(Arc::clone(&parts.metrics)),
            metrics: parts.metrics,
            next_source: Cell::new(0),
            exported: Cell::default(),
            unix_origin: parts.unix_origin,
        }
    }

    /// Follows the server's commands to the end.
    async fn obey(&self, inbox: &Inbox<Command>) {
        let Some(limit) = self.heed(inbox).await else { return };
        self.draining.set(true);
        self.drain.notify_all();
        let deadline = self.engine.now() + limit;
        let drained = async {
            self.all_ended(deadline).await;
            self.controls.close_all(CloseReason::Drained);
            self.all_ended(self.linger_deadline(self.engine.now()) + Duration::from_millis(100))
                .await;
        };
        let stopped = async { while self.heed(inbox).await.is_some() {} };
        race(drained, stopped).await;
    }

    /// Follows what concerns single sessions, until it is told to drain, and how long that may
    /// take, or to stop: none.
    async fn heed(&self, inbox: &Inbox<Command>) -> Option<Duration> {
        loop {
            let command = inbox.next(&self.engine).await;
            // From here on backends are chosen from no older View than the command's sender had
            // published.
            self.refresh();
            match command {
                Command::Drain(limit) => return Some(limit),
                Command::Stop => return None,
                Command::EndSessions { pool, backend } => {
                    self.controls.close_lost(&pool, &backend);
                }
                Command::Rebalance { pool, backend, count } => {
                    let theirs = |account: &Account, _| account.is_of(&pool, &backend);
                    self.controls.move_idlest(count as usize, theirs);
                }
                Command::LeadHome { pool, count } => self.lead_home(pool, count as usize),
            }
            // Each looks through all sessions: one per turn, however many there are.
            self.engine.pause().await;
        }
    }

    fn lead_home(&self, pool: PoolId, count: usize) {
        let view = self.view();
        let pool = view.snapshot.pool(pool);
        let Some(homes) = pool.homes() else { return };
        self.controls.move_idlest(count, |account, key| {
            *account.pool == *pool.name && homes.is_astray(key, account.backend())
        });
    }

    async fn all_ended(&self, deadline: Time) {
        let mut timer = std::pin::pin!(self.engine.sleep_until(deadline));
        while self.controls.open() + self.accepting.get() > 0 {
            if let Either::Second(()) = race(self.session_ended.notified(), timer.as_mut()).await {
                return;
            }
        }
    }

    /// Notes that sessions may still begin, until the guard is dropped.
    pub(super) fn begin_accepting(self: &Rc<Self>) -> Accepting {
        self.accepting.set(self.accepting.get() + 1);
        Accepting(Rc::clone(self))
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Goes over to a newer View, if there is one. Once per turn.
    fn refresh(&self) {
        if self.watch.borrow_mut().refresh() {
            let view = self.view();
            self.chooser.borrow_mut().update(&view.snapshot);
            // What the new View no longer has is not kept alive.
            self.accounts.forget();
        }
    }

    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(self.watch.borrow().view())
    }

    pub(super) fn choose(
        &self,
        pool: PoolId,
        traits: &Traits<'_>,
        tried: &[Arc<str>],
    ) -> Result<Lease, NoChoice> {
        self.chooser.borrow_mut().choose(pool, traits, tried)
    }

    /// Until when bytes may be delivered that were received before a session's end.
    pub(super) fn linger_deadline(&self, end: Time) -> Time {
        end + self.watch.borrow().view().limits.linger_timeout
    }

    /// When a session that gets its backend now is to be closed for its age.
    pub(super) fn age_limit(&self, listener: &ListenerView) -> Time {
        let Some(age) = listener.max_connection_age else { return NEVER };
        let percent = listener.max_connection_age_jitter.min(100);
        let spread = age.saturating_mul(percent.into()) / 100;
        let within = u64::try_from(2 * spread.as_nanos()).unwrap_or(u64::MAX);
        let drawn = Duration::from_nanos(self.random.borrow_mut().u64(0..=within));
        self.engine.now() + (age - spread) + drawn
    }

    pub(super) fn tally(&self) -> &WorkerTally {
        &self.metrics.tally
    }

    pub(super) fn unix_nanos(&self, time: Time) -> u64 {
        self.unix_origin + time.as_nanos()
    }

    /// The turn among the source addresses.
    pub(super) fn next_source(&self) -> usize {
        let turn = self.next_source.get();
        self.next_source.set(turn.wrapping_add(1));
        turn
    }

    /// Begins or ends waiting for a descriptor.
    pub(super) fn awaiting_descriptor(&self, begins: bool) {
        let awaited = self.descriptors_awaited.get();
        self.descriptors_awaited.set(if begins { awaited + 1 } else { awaited - 1 });
    }

    pub(super) fn session_ended(&self) {
        if self.descriptors_awaited.get() > 0 {
            self.descriptor_freed.notify_all();
        }
        if self.draining.get() {
            self.session_ended.notify_all();
        }
    }

    async fn keep_gauges(self: Rc<Self>) {
        loop {
            self.export_gauges();
            self.engine.sleep_until(self.engine.now() + GAUGES).await;
        }
    }

    fn export_gauges(&self) {
        let status = self.engine.status();
        let before = self.exported.replace(status);
        let tally = &self.metrics.tally;
        tally.turns.add(status.driver.turns - before.driver.turns);
        tally.completions.add(status.driver.completions - before.driver.completions);
        let overflows = &tally.completion_queue_overflows;
        overflows.add(status.driver.overflows - before.driver.overflows);
        tally.buffers_exhausted.add(status.buffers_exhausted - before.buffers_exhausted);
        tally.pipes_exhausted.add(status.pipes_exhausted - before.pipes_exhausted);
        tally.panics.add(status.panics - before.panics);
        tally.sessions_open.set(self.controls.open() as u64);
        tally.buffers_held.set(status.buffers_held as u64);
        tally.blocks_held.set(status.blocks_held as u64);
        tally.tls_handshakes_open.set(self.handshakes.open().into());
        tally.hello_bytes_held.set(self.hellos.held() as u64);
        tally.pipes_held.set(status.pipes_held as u64);
        tally.operations_in_flight.set(status.operations as u64);
        tally.descriptors_open.set(status.descriptors as u64);
    }
}

/// See [`Worker::begin_accepting`].
pub(super) struct Accepting(Rc<Worker>);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.accepting.set(self.0.accepting.get() - 1);
        self.0.session_ended();
    }
}
