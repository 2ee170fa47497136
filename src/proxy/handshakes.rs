//! How many TLS handshakes a worker has under way, how fast they go on, and which of their steps
//! are left to another thread. Shakes no hands itself.
//!
//! A handshake costs more than thousands of messages, so only a few steps of them are taken in a
//! turn of the loop, and those that sign with a large RSA key are taken on a thread of their own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::balance::PoolId;
use crate::engine::{Engine, Permits, Ration, Take};
use crate::observe::WorkerTally;
use crate::protocol::client_hello::ClientHello;
use crate::tls::{ClientTls, Connection, ServerTls};

use super::signer::Signer;

/// The handshakes of one worker.
pub(super) struct Handshakes {
    limit: u32,
    with_clients: Permits,
    /// By pool, so that backends that do not answer hold up nobody's way to others.
    with_backends: RefCell<HashMap<PoolId, Rc<Permits>>>,
    steps: Ration,
    signer: Arc<Signer>,
}

impl Handshakes {
    pub(super) fn new(limit: u32, signer: Arc<Signer>) -> Handshakes {
        Handshakes {
            limit,
            with_clients: Permits::new(limit),
            with_backends: RefCell::default(),
            steps: Ration::new(STEPS_PER_TURN),
            signer,
        }
    }

    /// Handshakes with clients under way.
    pub(super) fn open(&self) -> u32 {
        self.with_clients.taken()
    }

    /// Those with clients.
    pub(super) fn with_clients(&self) -> &Permits {
        &self.with_clients
    }

    /// Those with the backends of a pool.
    pub(super) fn with_backends(&self, pool: PoolId) -> Rc<Permits> {
        let mut pools = self.with_backends.borrow_mut();
        Rc::clone(pools.entry(pool).or_insert_with(|| Rc::new(Permits::new(self.limit))))
    }

    pub(super) fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Waits for a turn of the loop in which few steps were taken.
    pub(super) async fn step(&self, engine: &Engine) {
        self.steps.step(engine).await;
    }
}

/// A place among `permits`, once not too many others are under way.
pub(super) fn begin<'p>(permits: &'p Permits, tally: &WorkerTally) -> Take<'p> {
    tally.tls_handshakes_delayed.add(permits.are_taken().into());
    permits.take()
}

/// Which steps of a handshake sign for so long that sessions of the worker would feel it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slowness {
    /// The next one may.
    next: bool,
    /// A server signs with its answer to a hello, and may be given another one, of which nothing is
    /// known: then those steps may. `None`: this one was the last.
    again: Option<bool>,
    /// A client signs with any step.
    always: bool,
}

impl Slowness {
    pub(super) fn of_server(settings: &ServerTls, hello: &ClientHello) -> Slowness {
        let (next, again) = (settings.signs_slowly(hello), Some(settings.may_sign_slowly()));
        Slowness { next, again, always: false }
    }

    pub(super) fn of_client(settings: &ClientTls) -> Slowness {
        let slow = settings.signs_slowly();
        Slowness { next: slow, again: None, always: slow }
    }

    pub(super) fn is_next(self) -> bool {
        self.next
    }

    /// A step was taken, and what came of it is still to be sent.
    pub(super) fn settle(&mut self, connection: &Connection) {
        if connection.has_output() && !self.always {
            let again = self.again.take().unwrap_or(false);
            self.next = again && connection.was_retried();
        }
    }
}

/// Steps of handshakes in a turn of the loop: one signs for about 50 us, so that established
/// sessions wait for a fraction of a millisecond. With as many handshakes as a worker can do beside
/// it, half of a ping-pong took up to 1.3 ms; with four steps 2.0 ms, with eight 2.4 ms. With one
/// it was 0.9 ms, but with bursts of hellos that never go on it doubled the median, as each turn
/// costs something.
const STEPS_PER_TURN: u32 = 2;
