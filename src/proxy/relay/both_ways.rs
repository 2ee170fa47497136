//! Both directions of a session at once, and how that comes to an end.
//!
//! An end of stream is per direction; a reset ends both, after the bytes received before it were
//! delivered. How one direction moves its bytes is `flow`'s concern.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use crate::engine::{Either, Sleep, Socket, Time, race};
use crate::observe::CloseReason;

use super::flow::{End, Flow, Party};
use crate::proxy::session::Session;

/// What a flow's run comes to: nothing but an end.
type Run = Result<Infallible, End>;

/// What the relay has to decide on.
enum Event {
    /// The flow towards this party came to its end.
    Ended(Party, End),
    /// Nothing has moved for too long.
    Quiet(CloseReason),
    /// The session is asked to end.
    Asked(CloseReason),
}

/// Relays until both directions have ended, or something ends them.
pub(in crate::proxy) async fn relay(session: &Session, backend: &Socket) -> CloseReason {
    let client = &session.client;
    let up = Flow::towards(Party::Backend, session, backend);
    let down = Flow::towards(Party::Client, session, backend);
    let (mut upward, mut downward) = (pin!(up.run()), pin!(down.run()));
    let mut relay = Relay { session, down: &down, ended: [false; 2] };
    let event = relay.next(upward.as_mut(), downward.as_mut()).await;
    let (party, end) = match event {
        Event::Ended(_, End::Finished) => return CloseReason::Finished,
        Event::Ended(party, end) => (party, end),
        Event::Quiet(reason) => return reason,
        Event::Asked(reason) => {
            Box::pin(relay.close_in_order(backend, upward, downward)).await;
            return reason;
        }
    };
    let (gone, error) = match (party, end) {
        // The flow towards the backend comes from the client, and the other way round.
        (Party::Backend, End::SourceFailed(error)) => (Party::Client, error),
        (Party::Client, End::SourceFailed(error)) => (Party::Backend, error),
        (party, End::TargetFailed(error)) => (party, error),
        (_, End::Evicted) => {
            session.client.reset_on_close();
            backend.reset_on_close();
            return CloseReason::RelayMemory;
        }
        (_, End::Finished) => return CloseReason::Finished,
    };
    match gone {
        Party::Client => {
            Box::pin(relay.survive(&up, upward, backend, Party::Backend)).await;
        }
        Party::Backend => {
            Box::pin(relay.survive(&down, downward, client, Party::Client)).await;
        }
    }
    reason(gone, &error)
}

struct Relay<'s> {
    session: &'s Session,
    down: &'s Flow<'s>,
    /// Whether the flow towards each party has ended.
    ended: [bool; 2],
}

impl Relay<'_> {
    /// Runs both flows until there is something to decide; `Finished` means both have finished.
    async fn next(
        &mut self,
        mut upward: Pin<&mut impl Future<Output = Run>>,
        mut downward: Pin<&mut impl Future<Output = Run>>,
    ) -> Event {
        let mut asked = pin!(self.session.asked());
        let mut timer = pin!(self.timer());
        poll_fn(|context| {
            if !self.ended[Party::Backend as usize]
                && let Poll::Ready(Err(end)) = upward.as_mut().poll(context)
                && let Some(event) = self.settle(Party::Backend, end, timer.as_mut())
            {
                return Poll::Ready(event);
            }
            if !self.ended[Party::Client as usize]
                && let Poll::Ready(Err(end)) = downward.as_mut().poll(context)
                && let Some(event) = self.settle(Party::Client, end, timer.as_mut())
            {
                return Poll::Ready(event);
            }
            if let Poll::Ready(reason) = asked.as_mut().poll(context) {
                return Poll::Ready(Event::Asked(reason));
            }
            while timer.as_mut().poll(context).is_ready() {
                let deadline = self.deadline();
                if deadline <= self.session.worker.engine.now() {
                    return Poll::Ready(Event::Quiet(self.quiet_reason()));
                }
                timer.as_mut().get_mut().reset(deadline);
            }
            Poll::Pending
        })
        .await
    }

    /// One flow has come to its end: an event, unless the other one goes on alone.
    fn settle(&mut self, party: Party, end: End, timer: Pin<&mut Sleep>) -> Option<Event> {
        self.ended[party as usize] = true;
        let alone = matches!(end, End::Finished) && self.ended != [true; 2];
        if alone {
            // From now on the shorter time-out counts.
            timer.get_mut().reset(self.deadline());
            return None;
        }
        Some(Event::Ended(party, end))
    }

    fn timer(&self) -> Sleep {
        self.session.worker.engine.sleep_until(self.deadline())
    }

    /// When the session will have been quiet for too long. It moves on with every byte, so the
    /// timer is set to where it was and looks again, rather than being set anew for each.
    fn deadline(&self) -> Time {
        let listener = &self.session.listener;
        let limit = match self.half_closed() {
            true => Some(listener.half_closed_timeout),
            false => listener.idle_timeout,
        };
        self.session.last_activity.get() + limit.unwrap_or(Duration::MAX)
    }

    fn half_closed(&self) -> bool {
        self.ended != [false; 2]
    }

    fn quiet_reason(&self) -> CloseReason {
        match self.half_closed() {
            true => CloseReason::HalfClosedTimeout,
            false => CloseReason::IdleTimeout,
        }
    }

    /// One party is gone. What it had sent before is delivered to the other, which then gets the
    /// reset too.
    async fn survive(
        &self,
        flow: &Flow<'_>,
        run: Pin<&mut impl Future<Output = Run>>,
        survivor: &Socket,
        party: Party,
    ) {
        let engine = &self.session.worker.engine;
        // An end of stream from here on is only what the kernel says after an error.
        let deadline = flow.source_is_gone();
        if !self.ended[party as usize] {
            race(run, engine.sleep_until(deadline)).await;
        }
        let mut pause = DELIVERY_CHECK;
        // After a reset of its own the survivor would have unsent bytes for ever.
        let undelivered = || survivor.unsent().is_ok_and(|bytes| bytes > 0) && !survivor.is_gone();
        while undelivered() && engine.now() < deadline {
            engine.sleep_until(deadline.min(engine.now() + pause)).await;
            pause = (pause * 2).min(DELIVERY_CHECK_MOST);
        }
        survivor.reset_on_close();
    }

    /// The session is to end: the client is told first, then what it still sends is delivered
    /// until it ends its stream too, or for a limited time.
    async fn close_in_order(
        &mut self,
        backend: &Socket,
        mut upward: Pin<&mut impl Future<Output = Run>>,
        mut downward: Pin<&mut impl Future<Output = Run>>,
    ) {
        let engine = &self.session.worker.engine;
        let deadline = self.session.worker.linger_deadline();
        self.down.stop_at_rest();
        let ended = &mut self.ended;
        let down = self.down;
        let both = poll_fn(|context| {
            let told = &mut ended[Party::Client as usize];
            if !*told {
                *told = downward.as_mut().poll(context).is_ready() || down.is_at_rest();
                if *told {
                    // An error means that the client is gone, which its own flow reports.
                    self.session.client.shutdown_write().unwrap_or_default();
                }
            }
            let done = &mut ended[Party::Backend as usize];
            if !*done {
                *done = upward.as_mut().poll(context).is_ready();
            }
            if ended == &[true; 2] { Poll::Ready(()) } else { Poll::Pending }
        });
        if let Either::Second(()) = race(both, engine.sleep_until(deadline)).await {
            backend.shutdown_write().unwrap_or_default();
        }
    }
}

fn reason(gone: Party, error: &io::Error) -> CloseReason {
    match (error.raw_os_error(), gone) {
        (Some(libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED), Party::Client) => {
            CloseReason::ClientReset
        }
        (Some(libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED), Party::Backend) => {
            CloseReason::BackendReset
        }
        (Some(libc::ETIMEDOUT | libc::EHOSTUNREACH | libc::ENETUNREACH), Party::Client) => {
            CloseReason::ClientTimedOut
        }
        (Some(libc::ETIMEDOUT | libc::EHOSTUNREACH | libc::ENETUNREACH), Party::Backend) => {
            CloseReason::BackendTimedOut
        }
        _ => CloseReason::SocketError,
    }
}

/// How soon, and then how seldom, it is looked whether everything was delivered.
const DELIVERY_CHECK: Duration = Duration::from_millis(2);
const DELIVERY_CHECK_MOST: Duration = Duration::from_millis(100);
