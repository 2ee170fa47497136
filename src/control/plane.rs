//! The control plane at work: carries out what the keepers of the pools decide, and tells the
//! server what follows. Decides nothing itself.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::discovery::{self, FileWatch, Outcome, Question, Saved, load, read_listing, save};
use super::health::{BadCheck, Finished, Input as HealthInput, Job, Prober, Probes};
use super::keeper::{Input, Keeper, Output};
use super::nameservers::Nameservers;
use super::notices::Notices;
use super::resolver::ResolverError;
use super::rows;
use crate::balance::{Pool, PoolId, Snapshot};
use crate::config::Config;
use crate::observe::{self, DrainOrder, Drained, Inquirer, Inquiries, Inquiry, PoolsReport, Reply};
use crate::tls::ClientTls;

/// By `PoolId`: how TLS is spoken with the backends of the pool, if it is. Probes see it change.
pub type ProbeTls = Vec<Option<Arc<ArcSwap<ClientTls>>>>;

/// What the server is told.
#[derive(Clone, Debug)]
pub enum Told {
    /// These pools have changed.
    Pools(Vec<(PoolId, Arc<Pool>)>),
    /// The sessions of a backend are to be closed in order.
    EndSessions { pool: Arc<str>, backend: Arc<str> },
    /// So many sessions of a backend are to move to others, over all workers.
    Move { pool: Arc<str>, backend: Arc<str>, count: u32 },
    /// So many sessions of a pool whose keys belong to other backends are to move to those, over
    /// all workers.
    LeadHome { pool: PoolId, count: u32 },
}

/// Why the control plane cannot begin.
#[derive(Debug)]
pub enum ControlError {
    Resolver(ResolverError),
    Check { pool: String, error: BadCheck },
}

/// The keepers of all pools and what they have under way.
pub struct Control {
    /// By pool.
    keepers: Vec<Keeper>,
    /// By pool; none: it is not probed.
    probers: Vec<Option<Arc<Prober>>>,
    nameservers: Nameservers,
    asking: JoinSet<(Question, Outcome)>,
    /// The pools that wait for each answer.
    askers: HashMap<Question, Vec<usize>>,
    reading: JoinSet<(usize, PathBuf, Result<String, String>)>,
    probes: Probes,
    files: Files,
    state: State,
    notices: Notices,
    inquiries: Inquiries,
    /// For whoever wants to inquire; kept so that the inquiries never end.
    inquirer: Inquirer,
    /// Orders that are carried out, and answered once that is published.
    obeyed: Vec<(DrainOrder, Reply<Drained>)>,
    began: Instant,
    /// When the pools that have changed are to be published.
    publication: Option<Duration>,
    published: Duration,
    /// When it is looked next what the workers have counted; none: no pool needs it.
    look: Option<Duration>,
}

/// The watches of all files, and what they tell.
struct Files {
    changed: UnboundedReceiver<(usize, PathBuf)>,
    /// Kept so that `changed` never ends.
    _tell: UnboundedSender<(usize, PathBuf)>,
    _watching: JoinSet<()>,
}

/// Where the last good sets are kept.
struct State {
    directory: Option<PathBuf>,
    /// Pools to be saved, and when.
    due: HashMap<usize, Duration>,
    saving: JoinSet<(usize, std::io::Result<()>)>,
}

/// What ended a wait.
enum Event {
    Answered(Question, Outcome),
    Read(usize, PathBuf, Result<String, String>),
    FileChanged(usize, PathBuf),
    ResolvConfChanged,
    Probed(Finished),
    Saved(usize, std::io::Result<()>),
    Asked(Inquiry),
    Deadline,
}

/// Probes of all pools at the same time: each holds a socket.
const PROBES: usize = 256;
/// Changes that come so close together are published as one.
const PACE: Duration = Duration::from_millis(20);
/// How often it is looked what the workers count against the backends.
const LOOK: Duration = Duration::from_millis(200);
/// So long after a change it is saved, with those that follow it.
const SAVE_AFTER: Duration = Duration::from_secs(1);
/// What is due within this time is done together: hundreds of probes a second wake the thread a
/// hundred times and not several times each.
const GATHERED: Duration = Duration::from_millis(10);
const RESOLV_CONF: &str = "/etc/resolv.conf";

impl Control {
    /// Must be called on a runtime.
    pub fn new(config: &Config, tls: &ProbeTls, seed: u64) -> Result<Control, ControlError> {
        Control::with_resolv_conf(config, tls, seed, Path::new(RESOLV_CONF))
    }

    /// The same with another file in the place of /etc/resolv.conf.
    pub fn with_resolv_conf(
        config: &Config,
        tls: &ProbeTls,
        seed: u64,
        resolv_conf: &Path,
    ) -> Result<Control, ControlError> {
        let prober = |(id, pool): (usize, &crate::config::Pool)| {
            let tls = tls.get(id).cloned().flatten();
            let prober = pool.health.as_ref().map(|health| Prober::new(health, tls).map(Arc::new));
            prober
                .transpose()
                .map_err(|error| ControlError::Check { pool: pool.name.clone(), error })
        };
        let directory = config.process.state_directory.clone();
        let mut random = fastrand::Rng::with_seed(seed);
        let keeper = |pool: &crate::config::Pool| {
            Keeper::new(pool, saved(directory.as_deref(), &pool.name), random.u64(..))
        };
        let keepers: Vec<Keeper> = config.pools.iter().map(keeper).collect();
        let (inquirer, inquiries) = observe::inquiries();
        Ok(Control {
            files: Files::watch(&keepers),
            probers: config.pools.iter().enumerate().map(prober).collect::<Result<_, _>>()?,
            nameservers: Nameservers::new(config, resolv_conf).map_err(ControlError::Resolver)?,
            asking: JoinSet::new(),
            askers: HashMap::new(),
            reading: JoinSet::new(),
            probes: Probes::new(PROBES),
            state: State { directory, due: HashMap::new(), saving: JoinSet::new() },
            notices: Notices::new(),
            inquiries,
            inquirer,
            obeyed: Vec::new(),
            began: Instant::now(),
            publication: None,
            published: Duration::ZERO,
            look: keepers.iter().any(Keeper::counts_failures).then_some(LOOK),
            keepers,
        })
    }

    /// The same for who only looks: what an earlier run saved is read, and nothing is saved.
    pub fn looking(config: &Config, tls: &ProbeTls, seed: u64) -> Result<Control, ControlError> {
        let mut control = Control::new(config, tls, seed)?;
        control.state.directory = None;
        Ok(control)
    }

    /// Who is asked for names, in this order; nobody where no pool has sources.
    pub fn nameservers(&self) -> Vec<SocketAddr> {
        self.nameservers.addresses()
    }

    /// The pools as they are known so far.
    pub fn snapshot(&mut self) -> Snapshot {
        Snapshot::new(self.keepers.iter_mut().map(Keeper::publish).collect())
    }

    /// Asks for everything, and waits until all sources have answered or failed, at most so long.
    pub async fn settle(&mut self, limit: Duration) {
        let now = self.now();
        for keeper in &mut self.keepers {
            keeper.begin(now);
        }
        let end = now.saturating_add(limit);
        // Nobody has sessions yet.
        let mut told = |_| {};
        self.carry_out(&mut told);
        while !self.keepers.iter().all(Keeper::is_settled) && self.now() < end {
            let event = self.next_event(Some(end)).await;
            self.handle(event);
            self.carry_out(&mut told);
        }
    }

    /// Waits until a probe of each backend has ended, where there is a check, at most so long.
    pub async fn probe_all(&mut self, limit: Duration) {
        let mut awaited: HashSet<(Arc<str>, Arc<str>)> = HashSet::new();
        for (keeper, _) in self.keepers.iter().zip(&self.probers).filter(|(_, p)| p.is_some()) {
            let unprobed = keeper.health().reports().filter(|(_, row)| row.last_probe.is_none());
            let named = unprobed.map(|(name, _)| (Arc::clone(keeper.name()), Arc::clone(name)));
            awaited.extend(named);
        }
        let end = self.now().saturating_add(limit);
        let mut told = |_| {};
        self.carry_out(&mut told);
        while !awaited.is_empty() && self.now() < end {
            let event = self.next_event(Some(end)).await;
            if let Event::Probed(Finished { pool, name, .. }) = &event {
                awaited.remove(&(Arc::clone(pool), Arc::clone(name)));
            }
            self.handle(event);
            self.carry_out(&mut told);
        }
    }

    /// Keeps the pools current for ever.
    pub async fn run(mut self, mut told: impl FnMut(Told)) {
        loop {
            self.carry_out(&mut told);
            self.publish(&mut told);
            self.answer_orders();
            let event = self.next_event(None).await;
            self.handle(event);
        }
    }

    pub fn keepers(&self) -> &[Keeper] {
        &self.keepers
    }

    /// Everything about the pools that an operator may want to know.
    pub fn report(&self) -> PoolsReport {
        PoolsReport { at: self.now(), pools: self.keepers.iter().map(rows::pool).collect() }
    }

    /// What asks for such reports while this runs. Nothing is done for it when nobody asks.
    pub fn inquirer(&self) -> Inquirer {
        self.inquirer.clone()
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    async fn next_event(&mut self, end: Option<Duration>) -> Event {
        let deadline = self.deadlines().chain(end).min();
        let deadline = deadline.map(|deadline| self.began + deadline);
        tokio::select! {
            Some(answered) = self.asking.join_next(), if !self.asking.is_empty() => {
                let (question, outcome) = unwind(answered);
                Event::Answered(question, outcome)
            }
            Some(read) = self.reading.join_next(), if !self.reading.is_empty() => {
                let (pool, path, contents) = unwind(read);
                Event::Read(pool, path, contents)
            }
            Some((pool, path)) = self.files.changed.recv() => Event::FileChanged(pool, path),
            () = self.nameservers.changed() => Event::ResolvConfChanged,
            finished = self.probes.finished() => Event::Probed(finished),
            Some(saved) = self.state.saving.join_next(), if !self.state.saving.is_empty() => {
                let (pool, result) = unwind(saved);
                Event::Saved(pool, result)
            }
            Some(inquiry) = self.inquiries.recv() => Event::Asked(inquiry),
            () = until(deadline) => Event::Deadline,
        }
    }

    fn deadlines(&self) -> impl Iterator<Item = Duration> {
        let keepers = self.keepers.iter().filter_map(Keeper::next_deadline).min().map(gathered);
        let notices = self.notices.next_deadline();
        let save = self.state.due.values().min().copied();
        [keepers, self.look, notices, save, self.publication].into_iter().flatten()
    }

    fn handle(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Answered(question, outcome) => {
                for pool in self.askers.remove(&question).unwrap_or_default() {
                    let (question, outcome) = (question.clone(), outcome.clone());
                    let input = discovery::Input::Answered { question, outcome };
                    self.keepers[pool].handle(Input::Discovery(input), now);
                }
            }
            Event::Read(pool, path, contents) => {
                let input = discovery::Input::FileRead { path, contents };
                self.keepers[pool].handle(Input::Discovery(input), now);
            }
            Event::FileChanged(pool, path) => self.read(pool, path),
            Event::ResolvConfChanged => self.ask_others(now),
            Event::Probed(Finished { pool, name, probe, result, took }) => {
                let input = HealthInput::Probed { name, probe, result, took };
                let keeper = self.keepers.iter_mut().find(|keeper| *keeper.name() == pool);
                if let Some(keeper) = keeper {
                    keeper.handle(Input::Health(input), now);
                }
            }
            Event::Saved(pool, Err(error)) => {
                let pool = &**self.keepers[pool].name();
                tracing::warn!(
                    pool,
                    "process.state_directory: the backends could not be saved: {error}; make it a \
                     directory that the user of this process may write to"
                );
            }
            Event::Saved(_, Ok(())) => {}
            Event::Asked(Inquiry::Report(reply)) => reply.answer(self.report()),
            Event::Asked(Inquiry::Drain(order, reply)) => self.drain(order, reply, now),
            Event::Deadline => {}
        }
        let looks = self.look.is_some_and(|look| look <= now);
        if looks {
            self.look = Some(now + LOOK);
        }
        for keeper in &mut self.keepers {
            if looks {
                keeper.look_at_failures(now);
            }
            if keeper.next_deadline().is_some_and(|deadline| deadline <= now) {
                keeper.handle(Input::Tick, now);
            }
        }
        if let Some(lines) = self.notices.take_suppressed(now) {
            tracing::warn!(lines, "changes of pools that were too many to log");
        }
        self.save(now);
    }

    /// Does what the keepers have asked for.
    fn carry_out(&mut self, told: &mut impl FnMut(Told)) {
        for id in 0..self.keepers.len() {
            while let Some(output) = self.keepers[id].next_output() {
                self.carry_out_one(id, output, told);
            }
            if self.keepers[id].is_stale() {
                self.publication.get_or_insert(self.now().max(self.published + PACE));
            }
        }
    }

    fn carry_out_one(&mut self, id: usize, output: Output, told: &mut impl FnMut(Told)) {
        let now = self.now();
        let pool = Arc::clone(self.keepers[id].name());
        match output {
            Output::Ask(question) => self.ask(id, question),
            Output::ReadFile(path) => self.read(id, path),
            Output::Save => {
                self.state.due.entry(id).or_insert(now + SAVE_AFTER);
            }
            Output::Probe { probe, name, addresses } => {
                if let Some(prober) = self.probers[id].clone() {
                    self.probes.start(Job { pool, name, probe, addresses, prober });
                }
            }
            Output::CancelProbe(probe) => self.probes.cancel(&pool, probe),
            Output::EndSessions(backend) => {
                // First nobody is sent to it any more.
                self.publication = Some(now);
                self.publish(told);
                told(Told::EndSessions { pool, backend });
            }
            Output::Move { backend, count } => told(Told::Move { pool, backend, count }),
            Output::LeadHome { count } => told(Told::LeadHome { pool: PoolId(id), count }),
            Output::Note { text, is_warning } => self.note(&pool, &text, is_warning, now),
        }
    }

    fn drain(&mut self, order: DrainOrder, reply: Reply<Drained>, now: Duration) {
        let keeper = self.keepers.iter_mut().find(|keeper| *keeper.name() == order.pool);
        let Some(keeper) = keeper else { return reply.answer(Drained::NoSuchPool) };
        if !keeper.drain(&order.backend, order.drain, now) {
            return reply.answer(Drained::NoSuchBackend);
        }
        // Who hears that it holds may rely on it.
        self.publication = Some(now);
        self.obeyed.push((order, reply));
    }

    fn answer_orders(&mut self) {
        let at = self.now();
        for (order, reply) in std::mem::take(&mut self.obeyed) {
            let keeper = self.keepers.iter().find(|keeper| *keeper.name() == order.pool);
            let backend = keeper.and_then(|keeper| rows::backend(keeper, &order.backend));
            reply.answer(match backend {
                Some(backend) => Drained::Now { at, backend: Box::new(backend) },
                None => Drained::WhenItReturns,
            });
        }
    }

    fn ask_others(&mut self, now: Duration) {
        if self.nameservers.renew() {
            for keeper in &mut self.keepers {
                keeper.handle(Input::Discovery(discovery::Input::OthersAreAsked), now);
            }
        }
    }

    fn ask(&mut self, pool: usize, question: Question) {
        let askers = self.askers.entry(question.clone()).or_default();
        askers.push(pool);
        if askers.len() > 1 {
            return;
        }
        let resolver = self.nameservers.resolver();
        self.asking.spawn(async move {
            let outcome = match resolver {
                Some(resolver) => resolver.ask(&question).await,
                None => Err(discovery::Failure::Timeout),
            };
            (question, outcome)
        });
    }

    fn read(&mut self, pool: usize, path: PathBuf) {
        self.reading.spawn_blocking(move || {
            let contents = read_listing(&path);
            (pool, path, contents)
        });
    }

    fn note(&mut self, pool: &str, text: &str, is_warning: bool, now: Duration) {
        if !self.notices.may_write(now) {
            return;
        }
        if is_warning {
            tracing::warn!(pool, "{text}");
        } else {
            tracing::info!(pool, "{text}");
        }
    }

    /// Publishes what has changed, once it is time.
    fn publish(&mut self, told: &mut impl FnMut(Told)) {
        let now = self.now();
        if self.publication.is_none_or(|publication| publication > now) {
            return;
        }
        (self.publication, self.published) = (None, now);
        let stale = self.keepers.iter_mut().enumerate().filter(|(_, keeper)| keeper.is_stale());
        let pools: Vec<_> = stale.map(|(id, keeper)| (PoolId(id), keeper.publish())).collect();
        if !pools.is_empty() {
            told(Told::Pools(pools));
        }
    }

    fn save(&mut self, now: Duration) {
        let Some(directory) = &self.state.directory else { return self.state.due.clear() };
        let due: Vec<usize> =
            self.state.due.iter().filter(|(_, due)| **due <= now).map(|(pool, _)| *pool).collect();
        for pool in due {
            self.state.due.remove(&pool);
            let saved = self.keepers[pool].discovery().to_save();
            let (directory, name) = (directory.clone(), Arc::clone(self.keepers[pool].name()));
            if !saved.is_empty() {
                self.state.saving.spawn_blocking(move || (pool, save(&directory, &name, &saved)));
            }
        }
    }
}

impl Files {
    fn watch(keepers: &[Keeper]) -> Files {
        let (tell, changed) = unbounded_channel();
        let mut watching = JoinSet::new();
        for (pool, keeper) in keepers.iter().enumerate() {
            for path in keeper.discovery().files() {
                let (tell, mut watch) = (tell.clone(), FileWatch::new(path));
                let path = path.to_owned();
                watching.spawn(async move {
                    loop {
                        watch.changed().await;
                        if tell.send((pool, path.clone())).is_err() {
                            return;
                        }
                    }
                });
            }
        }
        Files { changed, _tell: tell, _watching: watching }
    }
}

/// What an earlier run has saved of the pool; nothing, with a line in the log, if it cannot be
/// used.
fn saved(directory: Option<&Path>, pool: &str) -> Saved {
    let Some(directory) = directory else { return Saved::default() };
    load(directory, pool).unwrap_or_else(|error| {
        tracing::warn!(pool, "process.state_directory: {}: {error}", directory.display());
        Saved::default()
    })
}

/// The next time at which what is due is looked at.
fn gathered(deadline: Duration) -> Duration {
    let periods = deadline.as_nanos().div_ceil(GATHERED.as_nanos());
    GATHERED.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX)).max(deadline)
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A task's own panic goes on here: the tasks take input that may be anything, so this is a
/// defect that must not be hidden.
fn unwind<T>(ended: Result<T, JoinError>) -> T {
    match ended {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The set is only dropped as a whole.
            Err(error) => unreachable!("a task of the control plane was cancelled: {error}"),
        },
    }
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlError::Resolver(error) => write!(f, "{}: {error}", error.key()),
            ControlError::Check { pool, error } => {
                write!(f, "pool.{pool}.health.{}: {error}; give another", error.key())
            }
        }
    }
}
