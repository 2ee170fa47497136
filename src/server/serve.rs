//! The life of the process: everything is opened, the workers run, a signal drains, all is closed.

use std::fmt;
use std::future::pending;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::balance::Snapshot;
use crate::config::{self, Config};
use crate::control::{Control, ControlError};
use crate::engine::support::Unsupported;
use crate::engine::{Inbox, Remote, support};
use crate::observe::{
    AccessLog, AccessLogError, AccessLogFormat, AccessLogOptions, AccessLogTarget, AllowChanges,
    Metrics, Subscriber, serve_admin,
};
use crate::proxy::{Command, Signer, WorkerParts};
use crate::view::{Places, Publication};

use super::compose::compose;
use super::conduct::{Baton, conduct};
use super::cpus::{CpuError, usable_cpus};
use super::limits::{LimitError, budget};
use super::material::{Material, MaterialErrors, Stock};
use super::renewal::Renewer;
use super::sockets::{ListenError, Sockets};
use super::workers::{Blueprint, WorkerError, Workers, engine_settings};

/// Why the server did not start, or did not end in order.
#[derive(Debug)]
pub enum StartError {
    Unsupported(Unsupported),
    Limit(LimitError),
    Cpu(CpuError),
    Material(MaterialErrors),
    Listen(ListenError),
    Worker(WorkerError),
    Control(ControlError),
    AccessLog(AccessLogError),
    Admin(String),
    System(String, std::io::Error),
    /// It had started, and something of its own broke.
    Broken(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Unsupported(error) => error.fmt(f),
            StartError::Limit(error) => error.fmt(f),
            StartError::Cpu(error) => error.fmt(f),
            StartError::Material(error) => error.fmt(f),
            StartError::Listen(error) => error.fmt(f),
            StartError::Worker(error) => error.fmt(f),
            StartError::Control(error) => error.fmt(f),
            StartError::AccessLog(error) => write!(f, "log.access: {error}"),
            StartError::Admin(error) | StartError::Broken(error) => f.write_str(error),
            StartError::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

/// How a server that ran has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Drained after a signal.
    InOrder,
    /// A second signal cut the drain short.
    AtOnce,
}

/// What a running server tells about itself once it serves.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Every listener's name with an address as bound.
    pub listeners: Vec<(Arc<str>, SocketAddr)>,
    /// The admin endpoint's address as bound; none if it is off.
    pub admin: Option<SocketAddr>,
    pub workers: usize,
    pub connections: u32,
}

/// Serves until a signal, or `stop`, ends it. `started` hears when it serves.
pub fn serve(
    config: &Config,
    stop: Option<oneshot::Receiver<()>>,
    started: impl FnOnce(Serving),
) -> Result<Ended, StartError> {
    start(config, None, stop, started)
}

/// Serves like `serve`, and hands each session that ended to `subscriber`, in place of the access
/// log that the configuration names.
pub fn serve_with_subscriber(
    config: &Config,
    subscriber: Subscriber,
    stop: Option<oneshot::Receiver<()>>,
    started: impl FnOnce(Serving),
) -> Result<Ended, StartError> {
    start(config, Some(subscriber), stop, started)
}

fn start(
    config: &Config,
    subscriber: Option<Subscriber>,
    stop: Option<oneshot::Receiver<()>>,
    started: impl FnOnce(Serving),
) -> Result<Ended, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(system("the control thread's runtime could not be made"))?;
    runtime.block_on(run(config, subscriber, stop, started))
}

async fn run(
    config: &Config,
    subscriber: Option<Subscriber>,
    stop: Option<oneshot::Receiver<()>>,
    started: impl FnOnce(Serving),
) -> Result<Ended, StartError> {
    support::probe().map_err(StartError::Unsupported)?;
    let cpus = usable_cpus(&config.process).map_err(StartError::Cpu)?;
    let budget = budget(config, cpus.len()).map_err(StartError::Limit)?;
    let stock = Stock::load(config).map_err(StartError::Material)?;
    warn(config, &stock);
    let (mut signals, hangup) = signals().map_err(system("signals cannot be received"))?;
    let sockets = Sockets::open(config, cpus.len()).map_err(StartError::Listen)?;
    let admin = bind_admin(config).await?;
    let admin_address = admin.as_ref().and_then(|listener| listener.local_addr().ok());
    let metrics = Arc::new(Metrics::new(cpus.len(), wall_clock()));
    let probe_tls = stock.probe_tls();
    let mut control = Control::new(config, &probe_tls, seed()).map_err(StartError::Control)?;
    // Whoever connects meanwhile waits in the backlog.
    tokio::select! {
        () = control.settle(SETTLE) => {}
        () = signals.next() => return Ok(Ended::InOrder),
    }
    let (snapshot, inquirer) = (control.snapshot(), control.inquirer());
    let access_log = start_access_log(config, subscriber, &metrics)?;
    let books = (Arc::clone(&metrics), access_log.clone());
    let composed = (config, stock.material(), snapshot);
    let plane = Plane::new(composed, books, &sockets, &cpus, budget.connections)?;
    let publication = plane.publication;
    let mut workers = Workers::start(plane.blueprints).map_err(StartError::Worker)?;
    let inboxes = workers.inboxes().to_vec();
    let baton =
        Baton { publication: Arc::clone(&publication), metrics: Arc::clone(&metrics), inboxes };
    let renewer = Renewer::new(config.clone(), stock, baton.clone(), probe_tls);
    let mut renewed = tokio::spawn(renewer.run(hangup));
    let mut conducted = conduct(control, baton);
    let (admin_end, admin_ends) = oneshot::channel::<()>();
    if let Some(listener) = admin {
        let ends = async { admin_ends.await.unwrap_or_default() };
        let allow = allow_changes(config.admin.allow_changes);
        tokio::spawn(serve_admin(listener, Arc::clone(&metrics), inquirer, allow, ends));
    }
    let serving = Serving {
        listeners: listeners(&publication, &sockets),
        admin: admin_address,
        workers: workers.count(),
        connections: budget.connections,
    };
    announce(&serving);
    started(serving);

    let broken = tokio::select! {
        () = signals.next() => None,
        () = stopped(stop) => None,
        number = workers.ended() => number.map(|number| format!("worker {number} ended by itself")),
        _ = &mut conducted => Some("the control plane ended by itself".to_owned()),
        _ = &mut renewed => Some("the renewal of TLS ended by itself".to_owned()),
    };
    let outcome = match broken {
        Some(what) => Err(StartError::Broken(what)),
        None => Ok(drain(config, &metrics, sockets, &mut workers, &mut signals).await),
    };
    conducted.abort();
    renewed.abort();
    workers.tell(Command::Stop).await;
    let joined = workers.join().map_err(StartError::Broken);
    drop(admin_end);
    access_log.iter().for_each(|log| finish(log));
    joined.and(outcome)
}

/// Tells of what is no error, and deserves a look all the same.
fn warn(config: &Config, stock: &Stock) {
    for warning in config.warnings().into_iter().chain(stock.warnings()) {
        tracing::warn!("{warning}");
    }
}

/// Lets the access log write what is queued.
fn finish(log: &AccessLog) {
    let lost = log.flush_and_stop(ACCESS_LOG_FLUSH);
    if lost > 0 {
        tracing::warn!(lines = lost, "access-log lines could not be written before the end");
    }
}

/// Every listener's name with an address as bound.
fn listeners(publication: &Publication, sockets: &Sockets) -> Vec<(Arc<str>, SocketAddr)> {
    let listeners = publication.current().listeners.clone();
    let name = |(index, address): (usize, _)| (Arc::clone(&listeners[index].name), address);
    sockets.addresses().map(name).collect()
}

/// Tells the log and the service manager that clients are served.
fn announce(serving: &Serving) {
    for (listener, address) in &serving.listeners {
        tracing::info!(listener = &**listener, %address, "listening");
    }
    tracing::info!(workers = serving.workers, max_connections = serving.connections, "serving");
    tell_manager(&[sd_notify::NotifyState::Ready]);
}

/// Lets the sessions finish; a second signal ends it at once.
async fn drain(
    config: &Config,
    metrics: &Metrics,
    sockets: Sockets,
    workers: &mut Workers,
    signals: &mut Signals,
) -> Ended {
    let limit = config.process.drain_timeout;
    tracing::info!(limit_seconds = limit.as_secs_f64(), "draining: no new connections");
    tell_manager(&[sd_notify::NotifyState::Stopping]);
    metrics.set_draining(true);
    workers.tell(Command::Drain(limit)).await;
    // The workers' own handles close once they have served what was queued.
    sockets.close();
    let all_ended = async {
        for _ in 0..workers.count() {
            workers.ended().await;
        }
    };
    tokio::select! {
        () = all_ended => {
            tracing::info!("drained");
            Ended::InOrder
        }
        () = signals.next() => {
            tracing::warn!("a second signal: ending at once");
            Ended::AtOnce
        }
    }
}

/// What the data plane is made of.
struct Plane {
    publication: Arc<Publication>,
    blueprints: Vec<Blueprint>,
}

impl Plane {
    fn new(
        (config, material, snapshot): (&Config, Material, Snapshot),
        (metrics, access_log): (Arc<Metrics>, Option<Arc<AccessLog>>),
        sockets: &Sockets,
        cpus: &[usize],
        connections: u32,
    ) -> Result<Plane, StartError> {
        let remotes: Result<Vec<_>, _> =
            cpus.iter().map(|_| Remote::with_signal().map(Arc::new)).collect();
        let remotes = remotes.map_err(system("an eventfd could not be made"))?;
        let announcer = |remotes: &[Arc<Remote>]| {
            let awaiting = remotes.to_vec();
            Box::new(move || awaiting.iter().for_each(|remote| remote.raise()))
        };
        for waiting in snapshot.pools().filter_map(|(_, pool)| pool.waiting()) {
            waiting.announce_with(announcer(&remotes));
        }
        let few = sockets.backlogs(config);
        let process = Arc::new(Places::of_process(connections, few, announcer(&remotes)));
        let publication = Arc::new(Publication::new(compose(config, material, snapshot, &process)));
        metrics.set_view_version(publication.version());
        let per_worker = connections.div_ceil(cpus.len() as u32);
        let (settings, sizes) = engine_settings(&config.process, per_worker);
        // Here, so that it may run on any CPU: workers are pinned to theirs.
        let signer = Arc::new(Signer::default());
        signer.start();
        let mut blueprints = Vec::new();
        for (index, (cpu, remote)) in cpus.iter().zip(remotes).enumerate() {
            let listeners = sockets.for_worker(index);
            let listeners = listeners.map_err(system("a listening socket cannot be shared"))?;
            let parts = WorkerParts {
                index: index as u16,
                publication: Arc::clone(&publication),
                metrics: metrics.worker(index),
                access_log: access_log.clone(),
                inbox: Inbox::new(INBOX, Arc::clone(&remote)),
                seed: seed(),
                signer: Arc::clone(&signer),
                unix_origin: 0,
            };
            blueprints.push(Blueprint { cpu: *cpu, listeners, remote, settings, sizes, parts });
        }
        Ok(Plane { publication, blueprints })
    }
}

fn start_access_log(
    config: &Config,
    subscriber: Option<Subscriber>,
    metrics: &Metrics,
) -> Result<Option<Arc<AccessLog>>, StartError> {
    let capacity = NonZeroUsize::new(config.log.access_queue).unwrap_or(NonZeroUsize::MIN);
    if let Some(subscriber) = subscriber {
        let log = AccessLog::subscribed(subscriber, capacity, metrics.access_log());
        return Ok(Some(Arc::new(log.map_err(StartError::AccessLog)?)));
    }
    let target = match &config.log.access {
        config::AccessLog::Off => return Ok(None),
        config::AccessLog::Stdout => AccessLogTarget::Stdout,
        config::AccessLog::File(path) => AccessLogTarget::File(path.clone()),
    };
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    let format = match (config.log.format, &target) {
        (config::LogFormat::Text, _) => AccessLogFormat::Text,
        (config::LogFormat::Auto, AccessLogTarget::Stdout) if terminal => AccessLogFormat::Text,
        _ => AccessLogFormat::Json,
    };
    let options = AccessLogOptions { target, format, capacity };
    let log = AccessLog::start(options, metrics.access_log()).map_err(StartError::AccessLog)?;
    Ok(Some(Arc::new(log)))
}

async fn bind_admin(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = config.admin.listen else { return Ok(None) };
    let listener = TcpListener::bind(address).await.map_err(|error| {
        StartError::Admin(format!(
            "admin.listen: cannot listen on {address}: {error}; choose another address, or \
             switch the endpoint off with listen = \"off\""
        ))
    })?;
    // As bound: the kernel chooses a port for 0.
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(%address, "metrics at /metrics");
    Ok(Some(listener))
}

fn allow_changes(from: config::AllowChanges) -> AllowChanges {
    match from {
        config::AllowChanges::Loopback => AllowChanges::Loopback,
        config::AllowChanges::All => AllowChanges::All,
        config::AllowChanges::Off => AllowChanges::Off,
    }
}

/// Those that end the process, and the one that has files read again.
fn signals() -> std::io::Result<(Signals, Signal)> {
    Ok((Signals::new()?, signal(SignalKind::hangup())?))
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Signals { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn stopped(stop: Option<oneshot::Receiver<()>>) {
    match stop {
        // A dropped sender asks for the same.
        Some(stop) => stop.await.unwrap_or_default(),
        None => pending().await,
    }
}

/// Tells systemd, if it is there; if it is not, that is no error.
fn tell_manager(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

fn system(what: &str) -> impl FnOnce(std::io::Error) -> StartError {
    let what = what.to_owned();
    move |error| StartError::System(what, error)
}

#[allow(clippy::disallowed_methods, reason = "the server reads the clock")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

#[allow(clippy::disallowed_methods, reason = "the server draws the seeds")]
fn seed() -> u64 {
    fastrand::u64(..)
}

/// Commands that a worker's inbox holds. More wait until it has taken some.
const INBOX: usize = 256;
/// How long the sources of all pools together may take to answer before the first client is
/// served.
const SETTLE: Duration = Duration::from_secs(5);
/// How long the access log may take to write what is queued at the end.
const ACCESS_LOG_FLUSH: Duration = Duration::from_secs(2);
