//! One worker with all that the server would give it, on a world made from a seed, and what must
//! hold after every run. Who connects, and what becomes of it, is for the tests.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crossbeam_utils::CachePadded;
use ringmain::balance::{
    self, Balancing, Member, Pool, PoolId, PoolSettings, Queue, Snapshot, SocketOptions, Standing,
};
use ringmain::engine::driver::simulated::{Faults, Leftovers, Next, Peers, World};
use ringmain::engine::{
    BufferSizes, Engine, EngineSettings, EngineStatus, Inbox, Listener, PipeSizes, Remote, Time,
};
use ringmain::observe::{
    AccessLog, AccessRecord, CloseReason, ListenerTally, Metrics, SessionTally, WorkerMetrics,
};
use ringmain::proxy::{self, Command, WorkerParts};
use ringmain::tls::ClientTls;
use ringmain::view::{Limits, ListenerView, Places, Preface, Publication, View};

use crate::actors::{Answer, Backend, Client, Ending, Fate, Kind, Log, Outcome, Plan};
use crate::security::Wire;

/// What a stage is built from.
pub struct Settings {
    pub seed: u64,
    pub faults: Faults,
    pub engine: EngineSettings,
    pub pools: Vec<Pool>,
    pub listeners: Vec<ListenerSettings>,
    pub process_limit: u32,
    /// With so many left, connections are accepted one at a time.
    pub few_places: u32,
    pub linger_timeout: Duration,
    /// What is read first, by listener, and TLS with the backends, by pool; none where it ends.
    pub prefaces: Vec<Option<Preface>>,
    pub pools_tls: Vec<Option<Arc<ClientTls>>>,
    /// Handshakes with clients at the same time.
    pub handshakes: u32,
    /// Bytes of hellos.
    pub hello_memory: usize,
}

/// A listener of its own for the pool with the same number.
#[derive(Clone, Copy, Debug)]
pub struct ListenerSettings {
    pub limit: Option<u32>,
    pub backlog: usize,
    pub idle_timeout: Option<Duration>,
    pub half_closed_timeout: Duration,
    pub max_connection_age: Option<Duration>,
    pub max_connection_age_jitter: u8,
    pub failure_window: Option<Duration>,
}

pub struct Stage {
    pub world: World,
    pub engine: Engine,
    pub inbox: Inbox<Command>,
    pub publication: Arc<Publication>,
    pub process: Arc<Places>,
    /// The worker does not hear what becomes of the places.
    pub deaf: Arc<AtomicBool>,
    /// Every pool that any View of the run has had.
    pub pools: Vec<Arc<Pool>>,
    seed: u64,
    pub metrics: Arc<WorkerMetrics>,
    listeners: Vec<(usize, Listener)>,
    records: Arc<Mutex<Vec<AccessRecord>>>,
}

impl Settings {
    /// No faults, plenty of everything, and time-outs that no test waits for by chance.
    pub fn plenty(pools: Vec<Pool>) -> Settings {
        let listener = ListenerSettings {
            limit: None,
            backlog: 4096,
            idle_timeout: None,
            half_closed_timeout: HOUR,
            max_connection_age: None,
            max_connection_age_jitter: 0,
            failure_window: None,
        };
        Settings {
            seed: 1,
            faults: Faults::none(),
            engine: EngineSettings {
                buffers: BufferSizes { size: 4096, count: 4096, offered: 16 },
                pipes: PipeSizes { count: 64, size: 64 << 10 },
                stall_after: proxy::STALL_AFTER,
                stalled_share: 4096,
            },
            listeners: vec![listener; pools.len()],
            pools,
            process_limit: 100_000,
            few_places: 512,
            linger_timeout: Duration::from_secs(2),
            prefaces: Vec::new(),
            pools_tls: Vec::new(),
            handshakes: 256,
            hello_memory: 1 << 20,
        }
    }
}

impl Stage {
    pub fn new(settings: Settings) -> Stage {
        let world = World::new(settings.seed, settings.faults);
        let remote = Arc::new(Remote::without_signal());
        let driver = world.driver(remote.clone());
        let engine = Engine::new(driver, remote.clone(), &settings.engine).unwrap();
        let caller = remote.clone();
        let deaf = Arc::new(AtomicBool::new(false));
        let hears_not = deaf.clone();
        let announce = Box::new(move || {
            if !hears_not.load(Ordering::SeqCst) {
                caller.raise();
            }
        });
        let (limit, few) = (settings.process_limit, settings.few_places);
        let process = Arc::new(Places::of_process(limit, few, announce));
        let pools: Vec<Arc<Pool>> = settings.pools.into_iter().map(Arc::new).collect();
        for waiting in pools.iter().filter_map(|pool| pool.waiting()) {
            let caller = remote.clone();
            waiting.announce_with(Box::new(move || caller.raise()));
        }
        let mut views = Vec::new();
        let mut listeners = Vec::new();
        let mut prefaces = settings.prefaces.into_iter();
        for (index, listener) in settings.listeners.iter().enumerate() {
            let socket = world.listen(front(index), listener.backlog);
            listeners.push((index, Listener::from_descriptor(&engine, socket)));
            let preface = prefaces.next().flatten();
            views.push(Arc::new(listener.view(index, preface, &process)));
        }
        let limits = Limits {
            linger_timeout: settings.linger_timeout,
            handshakes: settings.handshakes,
            hello_memory: settings.hello_memory,
        };
        let mut pools_tls = settings.pools_tls;
        pools_tls.resize(pools.len(), None);
        let snapshot = Arc::new(Snapshot::new(pools.clone()));
        let windows = settings.listeners.iter().map(|listener| listener.failure_window);
        let view = View {
            snapshot,
            listeners: views,
            pools_tls,
            failure_windows: windows.collect(),
            limits,
        };
        Stage {
            world,
            engine,
            inbox: Inbox::new(64, remote),
            publication: Arc::new(Publication::new(view)),
            pools,
            seed: settings.seed,
            metrics: Metrics::new(1, SystemTime::UNIX_EPOCH).worker(0),
            process,
            deaf,
            listeners,
            records: Arc::default(),
        }
    }

    pub fn client(&self, start: Duration, plan: Plan) -> Rc<Cell<Outcome>> {
        let (client, outcome) = Client::new(plan);
        self.world.spawn(Time::default() + start, client);
        outcome
    }

    /// A backend of pool `pool`, at the address that `pool` gives it.
    pub fn backend(&self, pool: usize, number: usize, kind: Kind) -> Rc<RefCell<Log>> {
        let (backend, log) = Backend::new(address(pool, number), BACKLOG, kind, Wire::Plain);
        self.world.spawn(Time::default(), backend);
        log
    }

    /// Does `act` at `time`.
    pub fn at(&self, time: Duration, mut act: impl FnMut(&mut Peers<'_>) + 'static) {
        self.world.spawn(Time::default() + time, move |peers: &mut Peers<'_>| {
            act(peers);
            Next::Done
        });
    }

    /// When `event` was first seen to have happened, to within a millisecond. The first look is at
    /// `from`.
    pub fn moment(
        &self,
        from: Duration,
        event: impl Fn() -> bool + 'static,
    ) -> Rc<Cell<Option<Duration>>> {
        let moment = Rc::new(Cell::new(None));
        let seen = moment.clone();
        self.world.spawn(Time::default() + from, move |peers: &mut Peers<'_>| {
            if !event() {
                return peers.after(Duration::from_millis(1));
            }
            seen.set(Some(peers.now().since(Time::default())));
            Next::Done
        });
        moment
    }

    /// Tells the worker at `time`.
    pub fn tell(&self, time: Duration, command: Command) {
        let inbox = self.inbox.clone();
        self.at(time, move |_| inbox.push(command.clone()).expect("the inbox has room"));
    }

    /// Publishes a View at `time`, with these pools in place of their last versions.
    pub fn publish(&self, time: Duration, pools: Vec<(PoolId, Arc<Pool>)>) {
        let (publication, inbox) = (self.publication.clone(), self.inbox.clone());
        self.at(time, move |_| {
            let old = publication.current();
            let snapshot = Arc::new(old.snapshot.with_pools(pools.clone()));
            publication.publish(View { snapshot, ..View::clone(&old) });
            inbox.wake();
        });
    }

    /// What was logged, in the order in which the sessions ended.
    pub fn records(&self) -> Vec<AccessRecord> {
        self.records.lock().unwrap().clone()
    }

    /// Has the worker drain when all these clients are done, and runs it.
    pub fn run_until_done<'c>(&mut self, clients: impl IntoIterator<Item = &'c Rc<Cell<Outcome>>>) {
        let clients: Vec<_> = clients.into_iter().cloned().collect();
        self.drain(Time::default() + 10 * HOUR, HOUR, move || clients.iter().all(is_over));
        self.run();
    }

    /// Has the worker drain at `time`, or before when `done` says so.
    pub fn drain(&self, time: Time, limit: Duration, done: impl Fn() -> bool + 'static) {
        let inbox = self.inbox.clone();
        self.world.spawn(Time::default(), move |peers: &mut Peers<'_>| {
            if peers.now() < time && !done() {
                return peers.after(GLANCE.min(time.since(peers.now())));
            }
            inbox.push(Command::Drain(limit)).expect("the inbox has room");
            Next::Done
        });
    }

    /// Runs the worker until a command ends it, and then the world until everyone has noticed.
    pub fn run(&mut self) {
        let records = self.records.clone();
        let keep = move |record| records.lock().unwrap().push(record);
        let capacity = NonZeroUsize::new(1 << 16).unwrap();
        let log = AccessLog::subscribed(Box::new(keep), capacity, Arc::default()).unwrap();
        let log = Arc::new(log);
        let parts = WorkerParts {
            index: 0,
            publication: self.publication.clone(),
            metrics: self.metrics.clone(),
            access_log: Some(log.clone()),
            inbox: self.inbox.clone(),
            seed: self.seed,
            signer: Arc::default(),
            unix_origin: 0,
        };
        let listeners = std::mem::take(&mut self.listeners);
        proxy::run(&self.engine, listeners, parts).unwrap();
        assert_eq!(log.flush_and_stop(Duration::from_secs(10)), 0, "lines lost");
        self.world.run(AFTERWARDS);
        self.check_nothing_left();
        self.check_accounts();
    }

    fn check_nothing_left(&self) {
        let EngineStatus {
            tasks,
            operations,
            descriptors,
            buffers_held,
            blocks_held,
            pipes_held,
            timers,
            ..
        } = self.engine.status();
        let buffers = buffers_held + blocks_held;
        let held = [tasks, operations, descriptors, buffers, pipes_held, timers];
        let named = "tasks, operations, descriptors, buffers and blocks, pipes, timers";
        assert_eq!(held, [0; 6], "{named}: {:?}", self.engine.describe_operations());
        let left = self.world.leftovers();
        let buffers_provided = left.buffers_provided;
        assert_eq!(left, Leftovers { buffers_provided, ..Leftovers::default() });
        assert_eq!(self.process.taken(), 0, "places of the process");
        for listener in &self.publication.current().listeners {
            assert_eq!(listener.places.taken(), 0, "places of {}", listener.name);
        }
        for waiting in self.pools.iter().filter_map(|pool| pool.waiting()) {
            assert_eq!(waiting.count(), 0, "sessions that wait for a place");
        }
        for Member { backend, .. } in self.pools.iter().flat_map(|pool| pool.members()) {
            assert_eq!(backend.connections(), 0, "leases on {}", backend.name);
        }
    }

    /// Whatever was begun has ended, and was counted once.
    fn check_accounts(&self) {
        for index in 0..self.publication.current().listeners.len() {
            let listener = self.listener(index);
            let mut ended = total(|reason| listener.sessions_closed.get(reason));
            for tally in self.sessions_of(index) {
                let closed = total(|reason| tally.sessions_closed.get(reason));
                assert_eq!(tally.sessions_opened.get(), closed, "sessions opened and closed");
                ended += closed;
            }
            assert_eq!(listener.accepted.get(), ended, "connections accepted and sessions ended");
        }
    }

    pub fn listener(&self, index: usize) -> Arc<CachePadded<ListenerTally>> {
        self.metrics.listener(&listener_name(index))
    }

    /// What was counted for a listener's sessions on one backend of its pool.
    pub fn session(
        &self,
        listener: usize,
        backend: &balance::Backend,
    ) -> Arc<CachePadded<SessionTally>> {
        let pool = &self.pools[listener].name;
        self.metrics.session(&listener_name(listener), pool, &backend.name)
    }

    pub fn sessions_of(&self, listener: usize) -> Vec<Arc<CachePadded<SessionTally>>> {
        let name = &self.pools[listener].name;
        let pools = self.pools.iter().filter(|pool| pool.name == *name);
        let members = pools.flat_map(|pool| pool.members());
        members.map(|member| self.session(listener, &member.backend)).collect()
    }

    /// Sessions that ended for `reason`, with a backend or without.
    pub fn ended(&self, reason: CloseReason) -> u64 {
        let listeners = 0..self.publication.current().listeners.len();
        listeners.map(|index| self.ended_at(index, reason)).sum()
    }

    /// The same, of one listener.
    pub fn ended_at(&self, index: usize, reason: CloseReason) -> u64 {
        let sessions = self.sessions_of(index);
        let routed = sessions.iter().map(|tally| tally.sessions_closed.get(reason));
        self.listener(index).sessions_closed.get(reason) + routed.sum::<u64>()
    }
}

impl ListenerSettings {
    fn view(&self, index: usize, preface: Option<Preface>, process: &Arc<Places>) -> ListenerView {
        ListenerView {
            name: listener_name(index),
            pool: Some(PoolId(index)),
            preface,
            idle_timeout: self.idle_timeout,
            half_closed_timeout: self.half_closed_timeout,
            max_connection_age: self.max_connection_age,
            max_connection_age_jitter: self.max_connection_age_jitter,
            places: Arc::new(Places::of_listener(self.limit, process.clone())),
        }
    }
}

/// A client of listener 0 that expects its bytes back.
pub fn plan(stream: u64, length: u64) -> Plan {
    Plan {
        stream,
        target: front(0),
        source: ANYWHERE,
        length,
        chunk: 4096,
        pause: Duration::from_millis(1),
        deaf_until: Time::default(),
        answer: Answer::Echo,
        ending: Ending::HalfClose,
        wire: Wire::Plain,
    }
}

/// A client that names its stream and never reads; the error that its connection ends with.
pub fn silent_client(
    stage: &Stage,
    start: Duration,
    stream: u64,
) -> Rc<Cell<Option<io::ErrorKind>>> {
    let failure = Rc::new(Cell::new(None));
    let seen = failure.clone();
    let (mut end, mut named) = (None, false);
    stage.world.spawn(Time::default() + start, move |peers: &mut Peers<'_>| {
        let end = *end.get_or_insert_with(|| peers.connect(ANYWHERE, front(0)).unwrap());
        match peers.is_connected(end) {
            Ok(connected) => {
                if connected && !std::mem::replace(&mut named, true) {
                    peers.write(end, &stream.to_le_bytes()).unwrap();
                }
                Next::OnEvent
            }
            Err(error) => {
                seen.set(Some(error.kind()));
                peers.close(end);
                Next::Done
            }
        }
    });
    failure
}

pub fn is_over(outcome: &Rc<Cell<Outcome>>) -> bool {
    matches!(outcome.get().fate, Fate::Done | Fate::Failed(_))
}

/// A pool of `count` backends, all alike.
pub fn pool(index: usize, count: usize) -> Pool {
    let backend = |number| {
        let name = format!("backend-{number}").into();
        let backend = balance::Backend::new(name, vec![address(index, number)]);
        Member { backend: Arc::new(backend), standing: Standing::Up }
    };
    let settings = PoolSettings {
        connect_timeout: Duration::from_secs(5),
        tries: 3,
        balancing: Balancing::default(),
        queue: None,
        sources: Vec::new(),
        socket: SocketOptions {
            nodelay: true,
            keepalive: None,
            user_timeout: None,
            receive_buffer: None,
            send_buffer: None,
        },
    };
    let members = (0..count).map(backend).collect();
    Pool::new(format!("pool-{index}").into(), settings, members, None)
}

/// A pool of one backend that is at these addresses.
pub fn pool_at(addresses: Vec<SocketAddr>) -> Pool {
    with_members(pool(0, 1), |members| {
        let mut backend = members[0].backend.renewed();
        backend.addresses = addresses;
        members[0].backend = Arc::new(backend);
    })
}

/// The pool with a limit on each backend, and a queue.
pub fn queued(pool: Pool, backend_limit: Option<u32>, queue: Queue) -> Pool {
    let mut settings = pool.settings.clone();
    settings.queue = Some(queue);
    let mut members = pool.members().to_vec();
    for member in &mut members {
        let mut backend = member.backend.renewed();
        backend.limit = backend_limit;
        member.backend = Arc::new(backend);
    }
    Pool::new(pool.name, settings, members, None)
}

/// The pool with other members.
pub fn with_members(pool: Pool, change: impl FnOnce(&mut Vec<Member>)) -> Pool {
    let mut members = pool.members().to_vec();
    change(&mut members);
    Pool::new(pool.name, pool.settings, members, None)
}

/// Where listener `index` accepts.
pub fn front(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 1000 + index as u16))
}

/// Where a backend of a pool is.
pub fn address(pool: usize, number: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, pool as u8], 9000 + number as u16))
}

pub fn listener_name(index: usize) -> Arc<str> {
    format!("listener-{index}").into()
}

fn total(count: impl Fn(CloseReason) -> u64) -> u64 {
    CloseReason::ALL.into_iter().map(count).sum()
}

/// An address and a port that the network chooses.
pub const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

pub const HOUR: Duration = Duration::from_secs(3600);

/// Connections that a backend lets wait.
const BACKLOG: usize = 4096;

/// How often it is looked whether a run is over.
const GLANCE: Duration = Duration::from_millis(20);

/// Longer than anyone outside waits for anything: a connect gives up after 127 seconds.
const AFTERWARDS: Duration = Duration::from_secs(300);
