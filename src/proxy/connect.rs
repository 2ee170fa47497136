//! How a session gets its backend: choose, connect, and on failure try the next distinct one.
//!
//! A failure of the backend counts against it and leads to the next; a want of our own
//! (descriptors, ports) does not count against anyone. All addresses of a backend are one try.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::balance::{Backend, Key, Pool, PoolId, Traits};
use crate::engine::{Either, Interest, Permit, Permits, Socket, Time, race};
use crate::observe::CloseReason;

use super::accounts::Account;
use super::greeting;
use super::handshakes::begin;
use super::options::socket_options;
use super::queue;
use super::session::{Route, Session};
use super::tls::{Refusal, Tls, count};
use super::worker::Worker;

/// Why one attempt failed.
#[derive(Clone, Copy)]
enum Failure {
    /// The backend refused, or cannot be reached.
    Refused,
    /// The backend did not answer in time.
    TimedOut,
    /// No source port is free towards this backend.
    NoPort,
    /// This host does not speak the family of the address.
    NoWay,
    /// No TLS came about with the backend.
    Tls,
    /// The backend was taken away meanwhile.
    Lost,
    /// It is not the backend's fault, and no other one would do better.
    Ours(CloseReason),
}

impl Failure {
    /// The backend has caused it.
    fn is_the_backends(self) -> bool {
        matches!(self, Failure::Refused | Failure::TimedOut | Failure::Tls)
    }
}

/// A connected backend with a place on it.
pub(super) async fn reach(session: &mut Session) -> Result<(Socket, Route), CloseReason> {
    let id = session.pool_id()?;
    let mut pool = session.pool(id);
    let name = session.server_name().filter(|_| key(&pool) == Some(Key::ServerName));
    let name = name.map(Box::<str>::from);
    let traits = Traits { server_name: name.as_deref(), ..traits(session, &pool) };
    if let Some(key) = pool.key(&traits) {
        session.has_key(key);
    }
    let mut patience = None;
    let mut reason = CloseReason::NoBackend;
    for _ in 0..pool.settings.tries {
        let Some(lease) = queue::place(session, id, &pool, &traits, &mut patience).await? else {
            break;
        };
        let asked = session.worker.engine.now();
        match attempt(session, id, &pool, lease.backend()).await {
            Ok(reached) => {
                let Reached { socket, tls, account, address } = reached;
                let connected = session.worker.engine.now();
                // A connect time-out is a day at most; what is longer is logged as an hour or more.
                let connect_us = connected.since(asked).as_micros().try_into().unwrap_or(u32::MAX);
                let route = Route { lease, account, address, tls, connect_us, connected };
                return Ok((socket, route));
            }
            Err(Failure::Ours(reason)) => return Err(reason),
            Err(Failure::Refused) => reason = CloseReason::ConnectFailed,
            Err(Failure::TimedOut) => reason = CloseReason::ConnectTimeout,
            Err(Failure::NoWay) => reason = CloseReason::ConnectFailed,
            Err(Failure::NoPort) => reason = CloseReason::SourcePorts,
            Err(Failure::Tls) => reason = CloseReason::BackendTls,
            Err(Failure::Lost) => reason = CloseReason::BackendLost,
        }
        session.has_tried(&lease.backend().name);
        // There may be a newer one by now, whose backends are chosen next.
        pool = session.pool(id);
    }
    Err(reason)
}

fn key(pool: &Pool) -> Option<Key> {
    pool.settings.balancing.policy.hashing().map(|hashing| hashing.key)
}

/// What the pool's policy hashes of the connection; asked of the kernel only when it does.
fn traits(session: &Session, pool: &Pool) -> Traits<'static> {
    let key = key(pool);
    let mut traits = Traits::default();
    match key {
        Some(Key::Source | Key::SourcePort) => traits.source = session.source(),
        Some(Key::Destination | Key::DestinationPort) => {
            traits.destination = session.client.local_address().ok();
        }
        Some(Key::ServerName) | None => {}
    }
    traits
}

/// A backend that was reached.
struct Reached {
    socket: Socket,
    tls: Option<Box<Tls>>,
    account: Rc<Account>,
    /// The place of its address among the backend's.
    address: u16,
}

/// One backend, at each of its addresses in their order until one accepts. Each address has an
/// equal part of the time that those before it have left.
async fn attempt(
    session: &Session,
    id: PoolId,
    pool: &Arc<Pool>,
    backend: &Arc<Backend>,
) -> Result<Reached, Failure> {
    let worker = &session.worker;
    let window = session.failure_window(id);
    let account = worker.accounts.of(&session.listener, pool, backend, window);
    session.reaches(&account);
    let mut time = pool.settings.connect_timeout;
    let mut failure = Failure::NoWay;
    for (place, address) in (0..).zip(&backend.addresses) {
        let left = backend.addresses.len() as u32 - u32::from(place);
        let began = worker.engine.now();
        let deadline = began + time / left;
        let connected = attempt_address(session, pool, *address, deadline, &account).await;
        // TLS has a time of its own.
        time = time.saturating_sub(worker.engine.now().since(began));
        let reached = match connected {
            Ok(socket) => {
                let tls = begin_tls(session, id, &socket, backend, *address, &account).await;
                tls.map(|tls| (socket, tls))
            }
            Err(failure) => Err(failure),
        };
        match reached {
            Ok((socket, tls)) => return Ok(Reached { socket, tls, account, address: place }),
            Err(failure @ (Failure::Ours(_) | Failure::Lost)) => return Err(failure),
            // What the backend has caused outweighs what we lack.
            Err(other) if other.is_the_backends() || !failure.is_the_backends() => failure = other,
            Err(_) => {}
        }
    }
    if failure.is_the_backends() && account.failure_window.is_some() {
        backend.failed();
    }
    Err(failure)
}

/// TLS with the backend, if its pool is reached so.
async fn begin_tls(
    session: &Session,
    id: PoolId,
    socket: &Socket,
    backend: &Backend,
    address: SocketAddr,
    account: &Account,
) -> Result<Option<Box<Tls>>, Failure> {
    let view = session.worker.view();
    let Some(Some(settings)) = view.pools_tls.get(id.0) else { return Ok(None) };
    let places = session.worker.handshakes.with_backends(id);
    let _place = place(session, &places, settings.handshake_timeout()).await?;
    let connecting = greeting::connect(session, socket, settings, (&backend.name, address.ip()));
    let outcome = match race(Box::pin(connecting), session.asked()).await {
        Either::First(outcome) => outcome,
        Either::Second(CloseReason::BackendLost) => return Err(Failure::Lost),
        Either::Second(reason) => return Err(Failure::Ours(reason)),
    };
    count(&account.pool_tally.handshakes, &outcome);
    if let Err(Refusal::Failed(failure)) = &outcome {
        session.failed(failure);
    }
    outcome.map(|tls| Some(Box::new(tls))).map_err(|_| Failure::Tls)
}

/// A place for a handshake. A want of it is nobody's fault.
async fn place<'p>(
    session: &Session,
    places: &'p Permits,
    patience: Duration,
) -> Result<Permit<'p>, Failure> {
    let Worker { engine, .. } = &*session.worker;
    let deadline = engine.now() + patience;
    let given = race(begin(places, session.worker.tally()), abandoned(session, deadline));
    match race(given, engine.sleep_until(deadline)).await {
        Either::First(Either::First(place)) => Ok(place),
        Either::First(Either::Second(CloseReason::BackendLost)) => Err(Failure::Lost),
        Either::First(Either::Second(reason)) => Err(Failure::Ours(reason)),
        Either::Second(()) => Err(Failure::Ours(CloseReason::HandshakeTimeout)),
    }
}

/// One address, from each source address until one has a free port.
async fn attempt_address(
    session: &Session,
    pool: &Pool,
    address: SocketAddr,
    deadline: Time,
    account: &Account,
) -> Result<Socket, Failure> {
    let tally = &account.tally;
    for source in sources(pool, address, session.worker.next_source()) {
        tally.connect_attempts.add(1);
        let connected = match open(session, pool, address, source, deadline).await {
            Ok(socket) => connect(session, socket, address, deadline).await,
            Err(failure) => Err(failure),
        };
        match connected {
            Err(Failure::NoPort) => continue,
            Err(failure) if failure.is_the_backends() => tally.connect_failures.add(1),
            _ => {}
        }
        return connected;
    }
    Err(Failure::NoPort)
}

/// The addresses to connect from: those of the target's family, in turn; none: the kernel's.
fn sources(pool: &Pool, target: SocketAddr, turn: usize) -> impl Iterator<Item = Option<IpAddr>> {
    let family = target.is_ipv4();
    let fitting: Vec<IpAddr> =
        pool.settings.sources.iter().filter(|source| source.is_ipv4() == family).copied().collect();
    let count = fitting.len();
    (0..count.max(1)).map(move |offset| fitting.get((turn + offset) % count.max(1)).copied())
}

/// A socket for the connection. Without a free descriptor it waits for one.
async fn open(
    session: &Session,
    pool: &Pool,
    address: SocketAddr,
    source: Option<IpAddr>,
    deadline: Time,
) -> Result<Socket, Failure> {
    let worker = &session.worker;
    let options = socket_options(&pool.settings.socket);
    loop {
        let freed = worker.descriptor_freed.notified();
        let error = match Socket::open(&worker.engine, &address, source, &options) {
            Ok(socket) => return Ok(socket),
            Err(error) => error,
        };
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {}
            Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE) => return Err(Failure::NoPort),
            Some(libc::EAFNOSUPPORT) => return Err(Failure::NoWay),
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
        Either::Second(CloseReason::BackendLost) => return Err(Failure::Lost),
        Either::Second(reason) => return Err(Failure::Ours(reason)),
    };
    match outcome {
        Ok(()) => Ok(socket),
        // A connect hears of the error only: the backend has answered, spoken and reset by now.
        // What it said is its client's, and the relay sees for itself how the connection ended.
        Err(error) if was_reset(&error) && socket.unread() > 0 => Ok(socket),
        Err(error) => Err(classify(&error)),
    }
}

/// A connection that never came about is refused instead.
fn was_reset(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECONNRESET | libc::EPIPE))
}

/// Completes when the client has gone, or the session is asked to end. The client is looked
/// after only when what it waits for takes long: almost every connect is over before that.
pub(super) async fn abandoned(session: &Session, deadline: Time) -> CloseReason {
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
        Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE | libc::EAGAIN) => Failure::NoPort,
        Some(libc::ENOBUFS | libc::ENOMEM) => Failure::Ours(CloseReason::SocketError),
        // Refused, unreachable, reset, forbidden by a firewall ...: this backend, not us.
        _ => Failure::Refused,
    }
}

/// How long a connect may take before the client is looked after.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a descriptor is asked for when none was free.
const DESCRIPTOR_RETRY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_host_lacks_does_not_speak_against_the_backend() {
        let is_the_backends =
            |errno| classify(&io::Error::from_raw_os_error(errno)).is_the_backends();
        let ours = [libc::EADDRNOTAVAIL, libc::EADDRINUSE, libc::EAGAIN];
        assert!(!ours.into_iter().chain([libc::ENOBUFS, libc::ENOMEM]).any(is_the_backends));
        let theirs = [libc::ECONNREFUSED, libc::EHOSTUNREACH, libc::ETIMEDOUT, libc::ECONNRESET];
        assert!(theirs.into_iter().all(is_the_backends));
    }
}
