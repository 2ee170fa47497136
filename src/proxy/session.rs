//! The story of one connection, from its accept to its line in the access log.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::balance::{Lease, Pool, PoolId};
use crate::engine::{Socket, Time};
use crate::observe::{AccessRecord, CloseReason, RelayMode, TlsFailure, TlsRecord};
use crate::tls::Failure;
use crate::view::{ListenerView, Place};

use super::accounts::Account;
use super::control::{Asked, LineNumber};
use super::evidence::{Course, Evidence};
use super::greeting::{self, Greeting};
use super::tls::{self, Tls};
use super::worker::Worker;
use super::{connect, relay};

/// One client connection and what it leads to.
pub(super) struct Session {
    pub(super) worker: Rc<Worker>,
    pub(super) listener: Arc<ListenerView>,
    pub(super) client: Socket,
    /// Known only when it will be logged.
    client_address: Option<Box<SocketAddr>>,
    /// How the session is told to end.
    line: LineNumber,
    /// The backends that were tried in vain. Boxed, since most sessions have none.
    #[allow(clippy::box_collection)]
    tried: Option<Box<Vec<Arc<str>>>>,
    /// The end of the stream was passed on to the backend, to the client.
    pub(super) told: [Cell<bool>; 2],
    /// The bytes moved towards the backend, towards the client.
    moved: [Cell<u64>; 2],
    /// They were moved by splice, at least for a time.
    pub(super) spliced: [Cell<bool>; 2],
    /// It has spoken for its backend already.
    vouched: Cell<bool>,
    /// How it began, where the listener reads the hello. Boxed, since most do not.
    greeting: Option<Box<Greeting>>,
    /// What was wrong with a handshake of it.
    failure: Cell<Option<Box<TlsFailure>>>,
    route: Option<Route>,
    /// When it is to be closed for its age.
    pub(super) age_limit: Time,
    began: Time,
    reason: Option<CloseReason>,
    /// Held to the end: the session counts until its sockets are closed.
    _place: Place,
}

/// The backend a session was given.
pub(super) struct Route {
    pub(super) lease: Lease,
    pub(super) account: Rc<Account>,
    /// The one of the backend's addresses that was reached.
    pub(super) address: u16,
    /// TLS with the backend.
    pub(super) tls: Option<Box<Tls>>,
    /// How long it took to reach it.
    pub(super) connect_us: u32,
    /// When it was reached.
    pub(super) connected: Time,
}

/// Serves one client to the end.
pub(super) fn serve(
    worker: Rc<Worker>,
    listener: Arc<ListenerView>,
    client: Socket,
    place: Place,
) -> impl Future<Output = ()> {
    // Not an `async fn`: it would hold its arguments beside the session they go into.
    let mut session = Session::begin(worker, listener, client, place);
    async move {
        let reason = session.run().await;
        session.end(reason);
    }
}

impl Session {
    fn begin(
        worker: Rc<Worker>,
        listener: Arc<ListenerView>,
        client: Socket,
        place: Place,
    ) -> Session {
        let now = worker.engine.now();
        let line = worker.controls.enlist();
        // Asked now, because after a reset the kernel no longer knows.
        let logged = worker.access_log.is_some();
        let client_address = logged.then(|| client.peer_address().ok().map(Box::new)).flatten();
        Session {
            client,
            client_address,
            line,
            tried: None,
            told: Default::default(),
            moved: Default::default(),
            spliced: Default::default(),
            vouched: Cell::new(false),
            greeting: None,
            failure: Cell::default(),
            route: None,
            age_limit: now,
            began: now,
            reason: None,
            _place: place,
            listener,
            worker,
        }
    }

    /// The story: its way is read from its hello, a backend is chosen and reached, bytes are
    /// relayed, and something ends it.
    async fn run(&mut self) -> CloseReason {
        if self.listener.preface.is_some()
            && let Err(reason) = Box::pin(self.greet()).await
        {
            return reason;
        }
        let (backend, route) = match Box::pin(connect::reach(self)).await {
            Ok(reached) => reached,
            Err(reason) => {
                // The client must not take this for an orderly end.
                self.client.reset_on_close();
                return reason;
            }
        };
        self.age_limit = self.worker.age_limit(&self.listener);
        let route = self.route.insert(route);
        self.worker.controls.is_served(self.line, &route.account, route.connected);
        route.account.tally.sessions_opened.add(1);
        for socket in [&self.client, &backend] {
            socket.account(route.account.owners());
        }
        relay::relay(self, &backend).await
    }

    /// Learns from its beginning where it goes.
    async fn greet(&mut self) -> Result<(), CloseReason> {
        let listener = Arc::clone(&self.listener);
        let Some(preface) = &listener.preface else { return Ok(()) };
        match greeting::greet(self, preface).await {
            Ok(greeting) => {
                self.greeting = Some(Box::new(greeting));
                Ok(())
            }
            Err(refused) => {
                self.greeting = refused.greeting;
                if !refused.told {
                    // The client must not take this for an orderly end.
                    self.client.reset_on_close();
                }
                Err(refused.reason)
            }
        }
    }

    fn end(mut self, reason: CloseReason) {
        self.reason = Some(reason);
    }

    /// The pool that it goes to: its listener's, or its route's.
    pub(super) fn pool_id(&self) -> Result<PoolId, CloseReason> {
        let pool = self.greeting().map_or(self.listener.pool, |greeting| greeting.pool);
        pool.ok_or(CloseReason::NoBackend)
    }

    /// The pool that it was to go to, once its way was known.
    fn sought(&self) -> Option<PoolId> {
        match &self.greeting {
            None if self.listener.preface.is_some() => None,
            _ => self.pool_id().ok(),
        }
    }

    /// This pool, as it is now.
    pub(super) fn pool(&self, id: PoolId) -> Arc<Pool> {
        Arc::clone(self.worker.view().snapshot.pool(id))
    }

    /// How soon after the connect a reset by this pool's backends counts against them.
    pub(super) fn failure_window(&self, id: PoolId) -> Option<Duration> {
        self.worker.view().failure_windows[id.0]
    }

    pub(super) fn greeting(&self) -> Option<&Greeting> {
        self.greeting.as_deref()
    }

    /// What was read of the client before its way was known, for the backend; taken once.
    pub(super) fn take_prelude(&self) -> Vec<u8> {
        self.greeting().map(Greeting::take_prelude).unwrap_or_default()
    }

    pub(super) fn has_prelude(&self) -> bool {
        self.greeting().is_some_and(Greeting::has_prelude)
    }

    pub(super) fn client_tls(&self) -> Option<&Tls> {
        self.greeting()?.tls.as_ref()
    }

    pub(super) fn backend_tls(&self) -> Option<&Tls> {
        self.route.as_ref()?.tls.as_deref()
    }

    /// The name that the client asked for.
    pub(super) fn server_name(&self) -> Option<&str> {
        self.greeting()?.hello.as_ref()?.server_name.as_deref()
    }

    /// Notes what was wrong with a handshake, for the log.
    pub(super) fn failed(&self, failure: &Failure) {
        self.failure.set(Some(Box::new(tls::told(failure))));
    }

    /// Notes why the hello led nowhere, for the log.
    pub(super) fn refused(&self, failure: TlsFailure) {
        self.failure.set(Some(Box::new(failure)));
    }

    /// A party's stream may have been cut short.
    pub(super) fn truncated(&self) -> Option<CloseReason> {
        let cut = |tls: Option<&Tls>| tls.is_some_and(Tls::is_truncated);
        (cut(self.client_tls()) || cut(self.backend_tls())).then_some(CloseReason::TlsTruncated)
    }

    /// Where its client connects from, unless the client has gone.
    pub(super) fn source(&self) -> Option<SocketAddr> {
        let known = self.client_address.as_deref().copied();
        known.or_else(|| self.client.peer_address().ok())
    }

    /// Completes when the session is asked to end.
    pub(super) fn asked(&self) -> Asked<'_> {
        self.worker.controls.asked(self.line)
    }

    /// It is about to end for this reason.
    pub(super) fn is_asked(&self, reason: CloseReason) {
        if let (Some(route), CloseReason::Rebalanced) = (&self.route, reason) {
            route.lease.moves();
        }
    }

    /// Bytes have moved towards the backend (0) or the client (1).
    pub(super) fn moved(&self, towards: usize, bytes: usize) {
        let now = self.worker.engine.now();
        let moved = &self.moved[towards];
        moved.set(moved.get() + bytes as u64);
        self.worker.controls.is_active(self.line, now);
        if let Some(route) = &self.route
            && let Some(window) = route.account.failure_window
            && !self.vouched.get()
            && now.since(route.connected) >= window
        {
            self.vouched.set(true);
            route.lease.backend().succeeded();
        }
    }

    /// When a byte moved last, in either direction.
    pub(super) fn last_activity(&self) -> Time {
        self.worker.controls.last_activity(self.line)
    }

    /// Its backend is chosen by this hash.
    pub(super) fn has_key(&self, key: u64) {
        self.worker.controls.has_key(self.line, key);
    }

    /// From now on it is to do with this backend, and hears of what becomes of it.
    pub(super) fn reaches(&self, account: &Rc<Account>) {
        self.worker.controls.reaches(self.line, account);
    }

    pub(super) fn tried(&self) -> &[Arc<str>] {
        self.tried.as_ref().map_or(&[], |tried| tried)
    }

    /// Notes that the backend was tried in vain.
    pub(super) fn has_tried(&mut self, backend: &Arc<str>) {
        self.worker.controls.gives_up(self.line);
        self.tried.get_or_insert_default().push(Arc::clone(backend));
    }

    pub(super) fn route(&self) -> Option<&Route> {
        self.route.as_ref()
    }

    fn record(&self, reason: CloseReason) -> AccessRecord {
        let route = self.route.as_ref();
        let backend = route.map(|route| route.lease.backend());
        let places = &self.listener.places;
        AccessRecord {
            accepted_unix_ns: self.worker.unix_nanos(self.began),
            worker: self.worker.index,
            listener: Arc::clone(&self.listener.name),
            pool: self.sought().map(|id| Arc::clone(&self.pool(id).name)),
            backend: backend.map(|backend| Arc::clone(&backend.name)),
            client: self.client_address.as_deref().copied(),
            backend_address: route.and_then(Route::address),
            tried: self.tried().to_vec(),
            connect: route.map(|route| Duration::from_micros(route.connect_us.into())),
            total: self.worker.engine.now().since(self.began),
            bytes_to_backend: self.moved[0].get(),
            bytes_to_client: self.moved[1].get(),
            relay_to_backend: self.mode(0),
            relay_to_client: self.mode(1),
            reason,
            tls: self.tls_record(),
            sessions_process: places.process().map_or(0, |process| process.taken()),
            sessions_listener: places.taken(),
            sessions_backend: backend.map_or(0, |backend| backend.connections()),
        }
    }

    /// What was seen of TLS; `None` if nobody looked.
    fn tls_record(&self) -> Option<Box<TlsRecord>> {
        let sides = [self.client_tls(), self.backend_tls()];
        let failures = sides.into_iter().flatten().filter_map(Tls::failure);
        let failure = failures.last().or_else(|| self.failure.take().map(|failure| *failure));
        if self.greeting.is_none() && self.backend_tls().is_none() && failure.is_none() {
            return None;
        }
        let mut record = TlsRecord { failure, ..TlsRecord::default() };
        record.server_name = self.server_name().map(Into::into);
        if let Some(tls) = self.client_tls() {
            tls.describe(&mut record);
        }
        Some(Box::new(record))
    }

    fn mode(&self, towards: usize) -> RelayMode {
        let tls = self.client_tls().is_some() || self.backend_tls().is_some();
        match (self.spliced[towards].get(), self.route.is_some()) {
            (true, _) => RelayMode::Splice,
            (false, true) if tls => RelayMode::Tls,
            (false, true) => RelayMode::Copy,
            (false, false) => RelayMode::None,
        }
    }

    /// The relay has come to its end for `reason`, which may speak for or against the backend.
    pub(super) fn testify(&self, reason: CloseReason, end: Time, client_ended_first: bool) {
        let Some(route) = &self.route else { return };
        let Some(window) = route.account.failure_window else { return };
        let course = Course {
            reason,
            age: end.since(route.connected),
            bytes_to_backend: self.moved[0].get(),
            bytes_to_client: self.moved[1].get(),
            client_ended_first,
        };
        match course.evidence(window) {
            Some(Evidence::For) => route.lease.backend().succeeded(),
            Some(Evidence::Against) => route.lease.backend().failed(),
            None => {}
        }
    }
}

impl Route {
    fn address(&self) -> Option<SocketAddr> {
        self.lease.backend().addresses.get(usize::from(self.address)).copied()
    }
}

/// Every session is counted and logged once, however it ends.
impl Drop for Session {
    fn drop(&mut self) {
        let reason = self.reason.unwrap_or_else(|| {
            // Cut short: the client must not take it for an orderly end.
            self.client.reset_on_close();
            let panics = std::thread::panicking();
            if panics { CloseReason::Panicked } else { CloseReason::Drained }
        });
        match &self.route {
            Some(route) => route.account.tally.sessions_closed.add(reason),
            None => self.worker.accounts.of_listener(&self.listener).sessions_closed.add(reason),
        }
        if let Some(log) = &self.worker.access_log {
            log.push(self.record(reason));
        }
        self.worker.controls.leave(self.line);
        self.worker.session_ended();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// An idle connection should cost at most 1 KiB of our memory. This is the larger part of it;
    /// two operation slots, a timer and a task slot come on top.
    #[test]
    fn a_session_stays_small() {
        let size = size_of_future(serve);
        assert!(size <= 848, "a session has grown to {size} bytes");
    }
}
