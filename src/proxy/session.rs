//! The story of one connection, from its accept to its line in the access log.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::balance::Lease;
use crate::engine::{Socket, Time};
use crate::observe::{AccessRecord, CloseReason, RelayMode};
use crate::view::{ListenerView, Place};

use super::accounts::Account;
use super::control::{Asked, LineNumber};
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
    pub(super) up: Meter,
    pub(super) down: Meter,
    /// When a byte moved last, in either direction.
    pub(super) last_activity: Cell<Time>,
    route: Option<Route>,
    began: Time,
    reason: Option<CloseReason>,
    /// Held to the end: the session counts until its sockets are closed.
    _place: Place,
}

/// The backend a session was given.
pub(super) struct Route {
    pub(super) lease: Lease,
    pub(super) account: Rc<Account>,
    /// How long the connect took, in nanoseconds.
    pub(super) connect: u64,
}

/// What one direction has moved.
#[derive(Default)]
pub(super) struct Meter {
    pub(super) bytes: Cell<u64>,
    /// It was relayed by splice, at least for a time.
    pub(super) spliced: Cell<bool>,
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
            listener,
            client,
            client_address,
            line,
            tried: None,
            told: Default::default(),
            up: Meter::default(),
            down: Meter::default(),
            last_activity: Cell::new(now),
            route: None,
            began: now,
            reason: None,
            _place: place,
            worker,
        }
    }

    /// The story: a backend is chosen and reached, bytes are relayed, and something ends it.
    async fn run(&mut self) -> CloseReason {
        let (backend, route) = match Box::pin(connect::reach(self)).await {
            Ok(reached) => reached,
            Err(reason) => {
                // The client must not take this for an orderly end.
                self.client.reset_on_close();
                return reason;
            }
        };
        let route = self.route.insert(route);
        route.account.tally.sessions_opened.add(1);
        for socket in [&self.client, &backend] {
            socket.account(route.account.owners);
        }
        relay::relay(self, &backend).await
    }

    fn end(mut self, reason: CloseReason) {
        self.reason = Some(reason);
    }

    /// Completes when the session is asked to end.
    pub(super) fn asked(&self) -> Asked<'_> {
        self.worker.controls.asked(self.line)
    }

    pub(super) fn tried(&self) -> &[Arc<str>] {
        self.tried.as_ref().map_or(&[], |tried| tried)
    }

    pub(super) fn has_tried(&mut self, backend: &Arc<str>) {
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
            pool: route.map(|route| Arc::clone(&route.account.pool)),
            backend: backend.map(|backend| Arc::clone(&backend.name)),
            client: self.client_address.as_deref().copied(),
            backend_address: backend.map(|backend| backend.addresses[0]),
            tried: self.tried().to_vec(),
            connect: route.map(|route| Duration::from_nanos(route.connect)),
            total: self.worker.engine.now().since(self.began),
            bytes_to_backend: self.up.bytes.get(),
            bytes_to_client: self.down.bytes.get(),
            relay_to_backend: self.up.mode(route.is_some()),
            relay_to_client: self.down.mode(route.is_some()),
            reason,
            sessions_process: places.process().map_or(0, |process| process.taken()),
            sessions_listener: places.taken(),
            sessions_backend: backend.map_or(0, |backend| backend.connections()),
        }
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

impl Meter {
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes as u64);
    }

    fn mode(&self, connected: bool) -> RelayMode {
        match (self.spliced.get(), connected) {
            (true, _) => RelayMode::Splice,
            (false, true) => RelayMode::Copy,
            (false, false) => RelayMode::None,
        }
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
