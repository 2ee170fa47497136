//! How a session gets its backend: choose, connect, and on failure try the next distinct one.
//!
//! A failure of the backend counts against it and leads to the next; a want of our own
//! (descriptors, ports) does not count against anyone.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::balance::{Backend, NoChoice, Pool, Traits};
use crate::engine::{Either, Interest, Socket, Time, race};
use crate::observe::CloseReason;

use super::accounts::Account;
use super::options::socket_options;
use super::session::{Route, Session};

/// Why one attempt failed.
enum Failure {
    /// The backend refused, or cannot be reached.
    Refused,
    /// The backend did not answer in time.
    TimedOut,
    /// No source port is free towards this backend.
    NoPort,
    /// It is not the backend's fault, and no other one would do better.
    Ours(CloseReason),
}

/// A connected backend with a place on it.
pub(super) async fn reach(session: &mut Session) -> Result<(Socket, Route), CloseReason> {
    let view = session.worker.view();
    let pool = Arc::clone(view.snapshot.pool(session.listener.pool));
    drop(view);
    let mut reason = CloseReason::NoBackend;
    for _ in 0..pool.settings.tries {
        let chosen =
            session.worker.choose(session.listener.pool, &Traits::default(), session.tried());
        let lease = match chosen {
            Ok(lease) => lease,
            Err(NoChoice::AtLimit) => return Err(CloseReason::BackendLimit),
            Err(NoChoice::Exhausted) => break,
        };
        let began = session.worker.engine.now();
        match attempt(session, &pool, lease.backend()).await {
            Ok((socket, account)) => {
                let connect = session.worker.engine.now().since(began).as_nanos() as u64;
                return Ok((socket, Route { lease, account, connect }));
            }
            Err(Failure::Ours(reason)) => return Err(reason),
            Err(Failure::Refused) => reason = CloseReason::ConnectFailed,
            Err(Failure::TimedOut) => reason = CloseReason::ConnectTimeout,
            Err(Failure::NoPort) => reason = CloseReason::SourcePorts,
        }
        session.has_tried(&lease.backend().name);
    }
    Err(reason)
}

/// One backend, from each source address until one has a free port.
async fn attempt(
    session: &Session,
    pool: &Arc<Pool>,
    backend: &Arc<Backend>,
) -> Result<(Socket, Rc<Account>), Failure> {
    let worker = &session.worker;
    let account = worker.accounts.of(&session.listener, pool, backend);
    let tally = &account.tally;
    let deadline = worker.engine.now() + pool.settings.connect_timeout;
    let sources = sources(pool, backend, worker.next_source());
    let mut failure = Failure::NoPort;
    for source in sources {
        tally.connect_attempts.add(1);
        let connected = match open(session, pool, backend, source, deadline).await {
            Ok(socket) => connect(session, socket, backend.addresses[0], deadline).await,
            Err(failure) => Err(failure),
        };
        match connected {
            Ok(socket) => return Ok((socket, account)),
            Err(Failure::NoPort) => continue,
            Err(other) => failure = other,
        }
        if matches!(failure, Failure::Refused | Failure::TimedOut) {
            tally.connect_failures.add(1);
        }
        break;
    }
    Err(failure)
}

/// The addresses to connect from: those of the backend's family, in turn; none: the kernel's.
fn sources(pool: &Pool, backend: &Backend, turn: usize) -> impl Iterator<Item = Option<IpAddr>> {
    let family = backend.addresses[0].is_ipv4();
    let fitting: Vec<IpAddr> =
        pool.settings.sources.iter().filter(|source| source.is_ipv4() == family).copied().collect();
    let count = fitting.len();
    (0..count.max(1)).map(move |offset| fitting.get((turn + offset) % count.max(1)).copied())
}

/// A socket for the connection. Without a free descriptor it waits for one.
async fn open(
    session: &Session,
    pool: &Pool,
    backend: &Backend,
    source: Option<IpAddr>,
    deadline: Time,
) -> Result<Socket, Failure> {
    let worker = &session.worker;
    let options = socket_options(&pool.settings.socket);
    loop {
        let freed = worker.descriptor_freed.notified();
        let error = match Socket::open(&worker.engine, &backend.addresses[0], source, &options) {
            Ok(socket) => return Ok(socket),
            Err(error) => error,
        };
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {}
            Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE) => return Err(Failure::NoPort),
            _ => return Err(Failure::Ours(CloseReason::SocketError)),
        }
        worker.awaiting_descriptor(true);
        // Descriptors may also become free elsewhere in the process, unseen from here.
        let again = deadline.min(worker.engine.now() + DESCRIPTOR_RETRY);
        race(freed, worker.engine.sleep_until(again)).await;
        worker.awaiting_descriptor(false);
        if worker.engine.now() >= deadline {
            return Err(Failure::Ours(CloseReason::Descriptors));
        }
    }
}

async fn connect(
    session: &Session,
    socket: Socket,
    address: SocketAddr,
    deadline: Time,
) -> Result<Socket, Failure> {
    let engine = &session.worker.engine;
    let connecting = race(socket.connect(address), engine.sleep_until(deadline));
    let outcome = match race(connecting, abandoned(session, deadline)).await {
        Either::First(Either::First(result)) => result,
        Either::First(Either::Second(())) => return Err(Failure::TimedOut),
        Either::Second(reason) => return Err(Failure::Ours(reason)),
    };
    outcome.map(|()| socket).map_err(|error| classify(&error))
}

/// Completes when the client has gone, or the session is asked to end. The client is looked
/// after only when the connect takes long: almost every connect is over before that.
async fn abandoned(session: &Session, deadline: Time) -> CloseReason {
    let engine = &session.worker.engine;
    let watch = async {
        engine.sleep_until(deadline.min(engine.now() + PATIENCE)).await;
        // A client that has only ended its stream may wait for an answer; one that is gone
        // reports an error, or a hang-up of both directions, whatever is asked.
        session.client.ready(Interest::NONE).await
    };
    match race(session.asked(), watch).await {
        Either::First(reason) => reason,
        Either::Second(_) => CloseReason::ClientAborted,
    }
}

fn classify(error: &io::Error) -> Failure {
    match error.raw_os_error() {
        Some(libc::ETIMEDOUT) => Failure::TimedOut,
        Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE) => Failure::NoPort,
        // Refused, unreachable, reset, forbidden by a firewall ...: this backend, not us.
        _ => Failure::Refused,
    }
}

/// How long a connect may take before the client is looked after.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a descriptor is asked for when none was free.
const DESCRIPTOR_RETRY: Duration = Duration::from_millis(200);
