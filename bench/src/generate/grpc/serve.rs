//! Owns what a backend does on one connection of HTTP/2: it takes calls, and has each of them
//! answered by itself. How it behaves is told by its house.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, Connection, SendResponse};
use ringmain::engine::{Either, Notify, race};

use super::super::backends::House;
use super::super::cause::Cause;
use super::super::channel::Channel;
use super::Service;
use super::answer;
use super::bridge::{Bridge, End};
use super::status::Broken;

/// What the calls of one connection share.
pub struct Visit {
    pub house: Rc<House>,
    pub service: Service,
    /// Calls that are never answered: one that nobody held would be reset.
    pub unanswered: RefCell<Vec<SendResponse<Bytes>>>,
    leaving: Cell<bool>,
    /// Rings when the connection is to end.
    changed: Notify,
}

/// Serves until the agent or the backend ends the connection.
pub async fn serve(house: &Rc<House>, channel: &Channel, service: Service) -> Result<(), Cause> {
    let bridge = Rc::<Bridge>::default();
    let carrying = bridge.carry(channel, usize::MAX, async || house.stand_still().await);
    match race(speak(house, service, bridge.end()), carrying).await {
        Either::First(ended) | Either::Second(ended) => ended,
    }
}

async fn speak(house: &Rc<House>, service: Service, end: End) -> Result<(), Cause> {
    let handshake = Builder::new()
        .max_concurrent_streams(STREAMS)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake::<_, Bytes>(end);
    let mut connection = handshake.await.map_err(|error| Broken::from(error).cause())?;
    let visit = Rc::new(Visit {
        house: Rc::clone(house),
        service,
        unanswered: RefCell::default(),
        leaving: Cell::new(false),
        changed: Notify::default(),
    });
    let goodbye = async {
        match house.behaviour.connection_age {
            Some(age) => house.stage.pause(age).await,
            None => std::future::pending().await,
        }
    };
    match race(take(&visit, &mut connection), goodbye).await {
        Either::First(ended) => return ended,
        // What is under way is answered, and nothing else begins.
        Either::Second(()) => connection.graceful_shutdown(),
    }
    take(&visit, &mut connection).await
}

/// Takes calls until the connection has ended.
async fn take(visit: &Rc<Visit>, connection: &mut Connection<End, Bytes>) -> Result<(), Cause> {
    loop {
        let changed = visit.changed.notified();
        if visit.leaving.take() {
            connection.abrupt_shutdown(Reason::NO_ERROR);
        }
        match race(connection.accept(), changed).await {
            Either::First(Some(Ok((request, respond)))) => {
                visit.house.stage.engine.spawn(answer::answer(Rc::clone(visit), request, respond));
            }
            Either::First(Some(Err(error))) => return Err(Broken::from(error).cause()),
            Either::First(None) => return Ok(()),
            Either::Second(()) => {}
        }
    }
}

impl Visit {
    /// Ends the connection at once, whatever is under way on it.
    pub fn leave(&self) {
        self.leaving.set(true);
        self.changed.notify_all();
    }
}

/// As many at a time, and as much of each, as hyper's servers take by default.
const STREAMS: u32 = 200;
const WINDOW: u32 = 1 << 20;
