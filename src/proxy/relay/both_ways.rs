//! Both directions of a session at once, and how that comes to an end.
//!
//! An end of stream is per direction; a reset ends both, after the bytes received before it were
//! delivered. How one direction moves its bytes is `flow`'s concern.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::engine::{Either, Socket, Time, race};
use crate::observe::CloseReason;

use super::flow::{End, Flow, Party, Stopping};
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
    // A flow that has come to its end is none.
    let (mut upward, mut downward) = (pin!(Some(up.run())), pin!(Some(down.run())));
    let event = next(session, upward.as_mut(), downward.as_mut()).await;
    let (party, end, asked) = match event {
        Event::Ended(party, end) => (party, end, None),
        Event::Quiet(reason) => {
            // Of what was given up on the way, only a reset tells.
            let cut = [&up, &down].into_iter().filter(|flow| flow.holds_bytes());
            cut.for_each(|flow| flow.target.reset_on_close());
            return reason;
        }
        Event::Asked(reason) => {
            session.is_asked(reason);
            let closing =
                close_in_order(session, backend, upward.as_mut(), &down, downward.as_mut());
            match Box::pin(closing).await {
                None => return reason,
                Some((party, end)) => (party, end, Some(reason)),
            }
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
            return asked.unwrap_or(CloseReason::RelayMemory);
        }
        (last, End::Finished) => {
            let now = session.worker.engine.now();
            session.testify(CloseReason::Finished, now, last == Party::Client);
            return session.truncated().unwrap_or(CloseReason::Finished);
        }
    };
    let reason = asked.unwrap_or_else(|| reason(gone, &error));
    match gone {
        Party::Client => {
            downward.set(None);
            Box::pin(survive(&up, upward, backend)).await;
        }
        Party::Backend => {
            // By when it was noticed, and not by how long it takes to deliver what came before.
            session.testify(reason, down.source_is_gone(), false);
            upward.set(None);
            Box::pin(survive(&down, downward, client)).await;
        }
    }
    reason
}

/// Runs both flows until there is something to decide; `Finished` means both have finished.
async fn next(
    session: &Session,
    mut upward: Pin<&mut Option<impl Future<Output = Run>>>,
    mut downward: Pin<&mut Option<impl Future<Output = Run>>>,
) -> Event {
    let mut asked = pin!(session.asked());
    let mut timer = pin!(session.worker.engine.sleep_until(deadline(session, false)));
    poll_fn(|context| {
        let before = [upward.is_some(), downward.is_some()];
        if let Poll::Ready(end) = poll(upward.as_mut(), context)
            && (!matches!(end, End::Finished) || downward.is_none())
        {
            return Poll::Ready(Event::Ended(Party::Backend, end));
        }
        if let Poll::Ready(end) = poll(downward.as_mut(), context)
            && (!matches!(end, End::Finished) || upward.is_none())
        {
            return Poll::Ready(Event::Ended(Party::Client, end));
        }
        let after = [upward.is_some(), downward.is_some()];
        let half_closed = after != [true; 2];
        if after != before {
            // From now on the shorter time-out counts.
            timer.as_mut().get_mut().reset(deadline(session, half_closed));
        }
        if let Poll::Ready(reason) = asked.as_mut().poll(context) {
            return Poll::Ready(Event::Asked(reason));
        }
        while timer.as_mut().poll(context).is_ready() {
            let now = session.worker.engine.now();
            if session.age_limit <= now {
                return Poll::Ready(Event::Asked(CloseReason::MaxAge));
            }
            if quiet_limit(session, half_closed) <= now {
                return Poll::Ready(Event::Quiet(quiet_reason(half_closed)));
            }
            timer.as_mut().get_mut().reset(deadline(session, half_closed));
        }
        Poll::Pending
    })
    .await
}

/// When to look again at how long it has lasted. With every byte it may be quiet for longer, so
/// the timer is set to where that was, rather than being set anew for each.
fn deadline(session: &Session, half_closed: bool) -> Time {
    quiet_limit(session, half_closed).min(session.age_limit)
}

/// When the session will have been quiet for too long.
fn quiet_limit(session: &Session, half_closed: bool) -> Time {
    let limit = match half_closed {
        true => Some(session.listener.half_closed_timeout),
        false => session.listener.idle_timeout,
    };
    session.last_activity() + limit.unwrap_or(Duration::MAX)
}

fn quiet_reason(half_closed: bool) -> CloseReason {
    match half_closed {
        true => CloseReason::HalfClosedTimeout,
        false => CloseReason::IdleTimeout,
    }
}

/// One party is gone. What it had sent before is delivered to the other, which then gets the reset
/// too; what that one sends is nobody's.
async fn survive(
    flow: &Flow<'_>,
    mut run: Pin<&mut Option<impl Future<Output = Run>>>,
    survivor: &Socket,
) {
    let engine = &flow.session.worker.engine;
    survivor.stop_receiving();
    // An end of stream from here on is only what the kernel says after an error.
    let deadline = flow.session.worker.linger_deadline(flow.source_is_gone());
    if run.is_some() {
        race(poll_fn(|context| poll(run.as_mut(), context)), engine.sleep_until(deadline)).await;
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

/// The session is to end. What the backend had sent is delivered, and the client is told that this
/// was the end; what the client still sends is delivered until it ends its stream too. A client
/// that has done so already waits for its answer, and gets all of it. None of it takes longer than
/// bytes may linger. A party that fails meanwhile is given back.
async fn close_in_order(
    session: &Session,
    backend: &Socket,
    mut upward: Pin<&mut Option<impl Future<Output = Run>>>,
    down: &Flow<'_>,
    mut downward: Pin<&mut Option<impl Future<Output = Run>>>,
) -> Option<(Party, End)> {
    let engine = &session.worker.engine;
    let deadline = session.worker.linger_deadline(engine.now());
    let mut stopping = upward.is_some();
    if stopping {
        down.stop(Stopping::OnceEmpty);
    }
    // A backend that goes on sending does not keep the client from hearing of the end.
    let half = engine.now() + deadline.since(engine.now()) / 2;
    let mut insisting = pin!(engine.sleep_until(half));
    let (mut emptying, mut empty) = (pin!(discard(backend)), false);
    let in_order = poll_fn(|context| {
        if stopping && insisting.as_mut().poll(context).is_ready() {
            stopping = false;
            down.stop(Stopping::AtOnce);
        }
        if let Poll::Ready(end) = poll(upward.as_mut(), context) {
            if !matches!(end, End::Finished) {
                return Poll::Ready(Some((Party::Backend, end)));
            }
            shut(backend);
        }
        if let Poll::Ready(end) = poll(downward.as_mut(), context)
            && !matches!(end, End::Finished)
        {
            return Poll::Ready(Some((Party::Client, end)));
        }
        empty = empty || (downward.is_none() && emptying.as_mut().poll(context).is_ready());
        if empty && upward.is_none() { Poll::Ready(None) } else { Poll::Pending }
    });
    match race(in_order, engine.sleep_until(deadline)).await {
        Either::First(outcome) => outcome,
        Either::Second(()) => {
            shut(backend);
            None
        }
    }
}

/// Lets a flow go on, if it has not ended; a flow that ends is dropped, with all that it holds.
fn poll(
    mut run: Pin<&mut Option<impl Future<Output = Run>>>,
    context: &mut Context<'_>,
) -> Poll<End> {
    match run.as_mut().as_pin_mut().map(|run| run.poll(context)) {
        Some(Poll::Ready(Err(end))) => {
            run.set(None);
            Poll::Ready(end)
        }
        Some(Poll::Pending) | None => Poll::Pending,
    }
}

/// Takes what the backend still sends when the client can get nothing more: unread, it would keep
/// the backend from reading, and make the close a reset. Completes with the backend's end.
async fn discard(backend: &Socket) {
    loop {
        match backend.receive().await {
            Ok(None) => return,
            Ok(Some(_)) => {}
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => {}
            // That the backend is gone shows to whoever sends to it.
            Err(_) => return,
        }
    }
}

/// An error means that the backend is gone, and then there is nobody to tell.
fn shut(backend: &Socket) {
    backend.shutdown_write().unwrap_or_default();
}

fn reason(gone: Party, error: &io::Error) -> CloseReason {
    match (error.raw_os_error(), gone) {
        (None, Party::Client) if is_of_tls(error) => CloseReason::ClientTls,
        (None, Party::Backend) if is_of_tls(error) => CloseReason::BackendTls,
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

/// The bytes were there, and made no sense.
fn is_of_tls(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// How soon, and then how seldom, it is looked whether everything was delivered.
const DELIVERY_CHECK: Duration = Duration::from_millis(2);
const DELIVERY_CHECK_MOST: Duration = Duration::from_millis(100);
