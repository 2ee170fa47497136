//! Who is let in: the accepting of one listening socket, within the limits.
//!
//! Far from a limit a multishot accept takes whatever comes. Where fewer places are left than lie
//! in the backlogs of all workers, a connection is accepted only when there is a place for it, one
//! at a time; the others wait in the kernel's backlog and are served later. Nobody is accepted and
//! then turned away.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Either, Listener, Socket, race};
use crate::view::{ListenerView, Place};

use super::control::LineNumber;
use super::session;
use super::worker::Worker;

/// Accepts on `socket` until the worker drains; then what the kernel had queued is served, and
/// the socket closed. `index` is the listener's place in the View.
pub(super) async fn accept(worker: Rc<Worker>, index: usize, socket: Listener) {
    // The worker does not end before what the kernel had queued is served.
    let _accepting = worker.begin_accepting();
    let door = Door { worker, index, socket };
    while !door.worker.is_draining() {
        let outcome = match door.listener().places.are_few() {
            true => door.accept_one().await,
            false => door.accept_freely().await,
        };
        if let Err(error) = outcome {
            door.rest_after(&error).await;
        }
    }
    door.accept_the_rest();
}

struct Door {
    worker: Rc<Worker>,
    index: usize,
    socket: Listener,
}

impl Door {
    fn listener(&self) -> Arc<ListenerView> {
        Arc::clone(&self.worker.view().listeners[self.index])
    }

    /// Accepts until places become few or the worker drains.
    async fn accept_freely(&self) -> io::Result<()> {
        let mut incoming = self.socket.incoming();
        let outcome = loop {
            // Other workers take places too.
            let called = race(self.worker.engine.called(), self.worker.drain.notified());
            match race(incoming.next(), called).await {
                Either::First(Ok(Some(client))) => {
                    self.welcome(self.listener().places.take(), client);
                }
                Either::First(Ok(None)) => break Ok(()),
                Either::First(Err(error)) => break Err(error),
                Either::Second(_) => {}
            }
            if self.listener().places.are_few() || self.worker.is_draining() {
                break Ok(());
            }
        };
        if outcome.is_ok() {
            incoming.stop();
            while let Some(client) = incoming.next().await? {
                self.welcome(self.listener().places.take(), client);
            }
        }
        outcome
    }

    /// Accepts one connection if there is a place for it, else waits for a place.
    async fn accept_one(&self) -> io::Result<()> {
        let freed = self.worker.engine.called();
        let listener = self.listener();
        let drain = self.worker.drain.notified();
        let Some(place) = listener.places.take() else {
            self.worker.accounts.of_listener(&listener).accept_pauses_limit.add(1);
            race(freed, drain).await;
            return Ok(());
        };
        match self.socket.accept_now() {
            Ok(client) => {
                self.welcome(Some(place), client);
                self.worker.engine.pause().await;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // The place is not kept while nobody comes: another worker may need it.
                drop(place);
                match race(self.socket.ready(), drain).await {
                    Either::First(ready) => ready,
                    Either::Second(()) => Ok(()),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Serves what is still in the backlog when the worker drains; closing the socket with
    /// connections in it would reset them.
    fn accept_the_rest(&self) {
        let listener = self.listener();
        while let Some(place) = listener.places.take()
            && let Ok(client) = self.socket.accept_now()
        {
            self.welcome(Some(place), client);
        }
    }

    /// Starts a session. One that was accepted in a burst beyond the last place waits for one.
    fn welcome(&self, place: Option<Place>, client: Socket) {
        let (worker, listener) = (Rc::clone(&self.worker), self.listener());
        worker.accounts.of_listener(&listener).accepted.add(1);
        let engine = worker.engine.clone();
        match place {
            Some(place) => engine.spawn(session::serve(worker, listener, client, place)),
            None => {
                let line = worker.controls.enlist();
                engine.spawn(serve_later(worker, listener, client, line));
            }
        }
    }

    /// After an error: at once, when it concerns one connection only; when a resource is short,
    /// when some of it may have become free.
    async fn rest_after(&self, error: &io::Error) {
        let worker = &self.worker;
        let rest = match error.raw_os_error() {
            Some(libc::ECANCELED | libc::ECONNABORTED | libc::EPROTO | libc::EINTR) => return,
            // Errors that were pending on the new connection (accept(2), "Error handling").
            Some(libc::ENETDOWN | libc::ENOPROTOOPT | libc::EHOSTDOWN | libc::ENONET) => return,
            Some(libc::EHOSTUNREACH | libc::EOPNOTSUPP | libc::ENETUNREACH) => return,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                worker.accounts.of_listener(&self.listener()).accept_pauses_descriptors.add(1);
                DESCRIPTOR_REST
            }
            _ => {
                tracing::warn!(%error, listener = &*self.listener().name, "accepting failed");
                ERROR_REST
            }
        };
        let freed = worker.descriptor_freed.notified();
        let over = worker.engine.sleep_until(worker.engine.now() + rest);
        worker.awaiting_descriptor(true);
        race(race(freed, worker.drain.notified()), over).await;
        worker.awaiting_descriptor(false);
    }
}

/// Starts the session when there is a place for it. The client is on the worker's list while it
/// waits, so that a worker that drains waits for it too, and ends it when its time is over.
async fn serve_later(
    worker: Rc<Worker>,
    listener: Arc<ListenerView>,
    client: Socket,
    line: LineNumber,
) {
    let place = race(await_place(&worker, &listener), worker.controls.asked(line)).await;
    match place {
        Either::First(place) => {
            let session = session::serve(Rc::clone(&worker), listener, client, place);
            worker.controls.leave(line);
            session.await;
        }
        Either::Second(reason) => {
            // The client must not take this for an orderly end.
            client.reset_on_close();
            worker.accounts.of_listener(&listener).sessions_closed.add(reason);
            worker.controls.leave(line);
            worker.session_ended();
        }
    }
}

async fn await_place(worker: &Worker, listener: &ListenerView) -> Place {
    loop {
        let freed = worker.engine.called();
        if let Some(place) = listener.places.take() {
            return place;
        }
        freed.await;
    }
}

/// A pause of accepting for want of descriptors, unless a session ends sooner.
const DESCRIPTOR_REST: Duration = Duration::from_millis(500);
/// A pause after an error that should not happen.
const ERROR_REST: Duration = Duration::from_secs(1);
