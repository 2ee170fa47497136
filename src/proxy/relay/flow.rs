//! One direction of a session: by copying first, by splice when it pays.
//!
//! Copying takes a buffer of the worker's relay memory, and at most two behind it, and only while
//! bytes are in flight: that is the back-pressure. A flow that keeps filling its buffers goes over
//! to a pipe, and back when it becomes small or no pipe is left.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::engine::{Either, Interest, Owner, Pipe, Receive, Send, Sent, Socket, Time, race};
use crate::observe::SessionTally;
use crate::proxy::accounts::client_owner;
use crate::proxy::session::Session;
use crate::proxy::tls::Tls;
use crate::proxy::worker::{NEVER, STALL_AFTER};

/// The two parties of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    Backend,
    Client,
}

impl Party {
    fn other(self) -> Party {
        match self {
            Party::Backend => Party::Client,
            Party::Client => Party::Backend,
        }
    }
}

/// How one direction came to its end.
#[derive(Debug)]
pub(super) enum End {
    /// The source ended its stream, and the target was told.
    Finished,
    SourceFailed(io::Error),
    TargetFailed(io::Error),
    /// The relay memory wanted this flow's buffer back.
    Evicted,
}

/// Whether a flow goes on before its source has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopping {
    No,
    /// It ends when everything that its source had sent is with the target.
    OnceEmpty,
    /// It ends when everything that was received is with the target.
    AtOnce,
}

/// What it moves, from where to where.
pub(super) struct Flow<'s> {
    pub(super) session: &'s Session,
    pub(super) source: &'s Socket,
    pub(super) target: &'s Socket,
    /// Where TLS ends here.
    pub(super) source_tls: Option<&'s Tls>,
    pub(super) target_tls: Option<&'s Tls>,
    target_party: Party,
    /// Since when the source's connection is known to be gone: what is left is read, then that is
    /// the end. `NEVER` while it is not.
    source_gone: Cell<Time>,
    pub(super) stopping: Cell<Stopping>,
}

impl<'s> Flow<'s> {
    pub(super) fn towards(party: Party, session: &'s Session, backend: &'s Socket) -> Flow<'s> {
        let client = (&session.client, session.client_tls());
        let backend = (backend, session.backend_tls());
        let ((source, source_tls), (target, target_tls)) = match party {
            Party::Backend => (client, backend),
            Party::Client => (backend, client),
        };
        Flow {
            session,
            source,
            target,
            source_tls,
            target_tls,
            target_party: party,
            source_gone: Cell::new(NEVER),
            stopping: Cell::new(Stopping::No),
        }
    }

    /// Moves bytes to the end, which is the error.
    pub(super) async fn run(&self) -> Result<Infallible, End> {
        // Boxed, like all that few sessions need at a time: every session has room for it.
        if self.target_party == Party::Backend && self.session.has_prelude() {
            Box::pin(self.send_prelude()).await?;
        }
        if self.source_tls.is_some() || self.target_tls.is_some() {
            return Box::pin(self.translate()).await;
        }
        loop {
            let pipe = self.copy().await?;
            self.count(|tally| tally.splice_promotions.add(1));
            self.session.spliced[self.target_party as usize].set(true);
            Box::pin(self.splice(pipe)).await?;
            self.count(|tally| tally.splice_demotions.add(1));
        }
    }

    /// Sends what was read before the way was known.
    async fn send_prelude(&self) -> Result<(), End> {
        let prelude = self.session.take_prelude();
        for piece in prelude.chunks(PRELUDE_PIECE) {
            self.moved(piece.len());
            self.send_text(piece).await?;
        }
        Ok(())
    }

    /// Whether its source has sent what its target has not taken.
    pub(super) fn holds_bytes(&self) -> bool {
        self.source.unread() > 0 || self.target.unsent().is_ok_and(|bytes| bytes > 0)
    }

    /// Notes that the source's connection is gone; since when that is known.
    pub(super) fn source_is_gone(&self) -> Time {
        let since = self.source_gone.get().min(self.session.worker.engine.now());
        self.source_gone.set(since);
        since
    }

    /// Has it end before its source does, from the next poll on. It tells the target then.
    pub(super) fn stop(&self, stopping: Stopping) {
        self.stopping.set(stopping);
        self.source.recall();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.get() != Stopping::No
    }

    /// Copies until the flow has grown so that a pipe pays; gives the pipe.
    async fn copy(&self) -> Result<Pipe, End> {
        let mut full_in_a_row = 0;
        // It has filled many buffers, and nothing that comes behind them is received any more.
        let mut grown;
        let (mut receiving, mut looked_last) = self.receive_on();
        loop {
            let mut begun_beside = false;
            let mut sending = match (&mut receiving).await {
                Ok(Some(buffer)) => {
                    full_in_a_row = if buffer.is_full() { full_in_a_row + 1 } else { 0 };
                    grown = full_in_a_row >= PROMOTE_AFTER && !self.source.is_receiving();
                    self.moved(buffer.len());
                    if grown || self.is_stopping() {
                        self.target.send(buffer)
                    } else {
                        // Begun together with the send, so that both cost one turn of the loop.
                        receiving = self.source.receive();
                        begun_beside = true;
                        self.target.send_beside(buffer, &receiving)
                    }
                }
                Ok(None) => return Err(self.end_of_stream()),
                Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => {
                    if looked_last {
                        return Err(self.stop_here());
                    }
                    (receiving, looked_last) = self.receive_on();
                    continue;
                }
                Err(error) => return Err(End::SourceFailed(error)),
            };
            match (&mut sending).await {
                Sent::Done => {}
                Sent::Stalled => Box::pin(self.outlast(&mut sending)).await?,
                Sent::Evicted => return Err(End::Evicted),
                Sent::Failed(error) => return Err(End::TargetFailed(error)),
            }
            if begun_beside {
                continue;
            }
            if self.stopping.get() == Stopping::AtOnce && !self.source.is_receiving() {
                return Err(self.stop_here());
            }
            if grown {
                full_in_a_row = 0;
                if let Some(pipe) = Pipe::borrow_from(&self.session.worker.engine, self.taker()) {
                    return Ok(pipe);
                }
            }
            (receiving, looked_last) = self.receive_on();
        }
    }

    /// Who keeps a pipe when it takes nothing more.
    fn taker(&self) -> Owner {
        let taker = match self.target_party {
            Party::Backend => self.session.route().map(|route| route.account.backend_owner()),
            Party::Client => {
                self.target.peer_address().ok().map(|client| client_owner(client.ip()))
            }
        };
        // One that is gone holds nothing up.
        taker.unwrap_or_default()
    }

    /// The next receive, and whether it only takes what is there. What is being received comes
    /// first; when that is recalled, it has not looked for more.
    pub(super) fn receive_on(&self) -> (Receive<'s>, bool) {
        match self.is_stopping() && !self.source.is_receiving() {
            true => (self.source.receive_now(), true),
            false => (self.source.receive(), false),
        }
    }

    /// Waits for a send that has stalled.
    pub(super) async fn outlast(&self, sending: &mut Send<'_>) -> Result<(), End> {
        loop {
            match self.while_watching_the_source(&mut *sending).await? {
                Sent::Done => return Ok(()),
                Sent::Stalled => {}
                Sent::Evicted => return Err(End::Evicted),
                Sent::Failed(error) => return Err(End::TargetFailed(error)),
            }
        }
    }

    /// Waits for a stalled target, and notices meanwhile when the source is reset: then the
    /// target has a limited time left.
    async fn while_watching_the_source<T>(
        &self,
        stalled: impl Future<Output = T>,
    ) -> Result<T, End> {
        let engine = &self.session.worker.engine;
        let source_lost = async {
            let lost = match self.source.ready(Interest::NONE).await {
                Ok(found) => found.contains(Interest::ERROR) || self.source_was_cut(),
                Err(_) => true,
            };
            if !lost {
                // Both directions of the source have ended in order; nothing more will come.
                std::future::pending::<()>().await;
            }
            let deadline = self.session.worker.linger_deadline(self.source_is_gone());
            engine.sleep_until(deadline).await;
        };
        match race(stalled, source_lost).await {
            Either::First(output) => Ok(output),
            Either::Second(()) => Err(End::SourceFailed(reset())),
        }
    }

    /// Moves through a pipe until the flow has become small, or no pipe is left.
    async fn splice(&self, first: Pipe) -> Result<(), End> {
        let engine = &self.session.worker.engine;
        let owner = first.owner();
        let mut lent = Some(first);
        let mut small_in_a_row = 0;
        let mut beats_left_out = 0;
        loop {
            let Some(mut pipe) = lent.take().or_else(|| Pipe::borrow_from(engine, owner)) else {
                return Ok(());
            };
            let moved = self.empty_source(&mut pipe).await?;
            drop(pipe);
            if self.is_stopping() {
                return Err(self.stop_here());
            }
            small_in_a_row = match moved {
                0 => small_in_a_row,
                1..SMALL => small_in_a_row + 1,
                _ => 0,
            };
            if small_in_a_row >= DEMOTE_AFTER {
                return Ok(());
            }
            // Most of the cost is per wake-up, not per byte: a stream that comes in pieces is let
            // gather for a beat, together with the others. A fast one does not wait, since its
            // source might.
            if (1..PLENTY).contains(&moved) && beats_left_out == 0 {
                engine.sleep_until(engine.now() + BEAT).await;
                if self.is_stopping() || self.source.unread() > 0 {
                    continue;
                }
                beats_left_out = BEATS_LEFT_OUT;
            }
            // What has paused, or comes in pieces further apart, is waited for in the kernel.
            beats_left_out = beats_left_out.saturating_sub(1);
            self.readable_or_stopped().await.map_err(End::SourceFailed)?;
        }
    }

    pub(super) async fn readable_or_stopped(&self) -> io::Result<()> {
        let mut ready = pin!(self.source.ready(Interest::READ));
        poll_fn(|context| match ready.as_mut().poll(context) {
            Poll::Pending if self.is_stopping() => Poll::Ready(Ok(())),
            polled => polled.map_ok(|_| ()),
        })
        .await
    }

    /// Moves what the source holds, and lets the others run now and then; how much that was.
    async fn empty_source(&self, pipe: &mut Pipe) -> Result<usize, End> {
        let mut moved = 0;
        let mut since_pause = 0;
        loop {
            let first = match self.source.splice_into(pipe) {
                Ok(0) => return Err(self.end_of_stream()),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(moved),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(End::SourceFailed(error)),
            };
            let second = self.top_up(pipe, first);
            let piece = first + second.as_ref().map_or(0, |second| second.unwrap_or(0));
            moved += piece;
            since_pause += piece;
            self.moved(piece);
            self.empty_pipe(pipe).await?;
            let last = second.map_err(End::SourceFailed)?.unwrap_or(first);
            let enough = match self.stopping.get() {
                // Little came, so little is left: waiting costs less than finding nothing.
                Stopping::No => last < pipe.size() / 2,
                Stopping::OnceEmpty => false,
                Stopping::AtOnce => true,
            };
            if enough {
                return Ok(moved);
            }
            if since_pause >= FAIR_BYTES {
                since_pause = 0;
                self.session.worker.engine.pause().await;
            }
        }
    }

    /// Adds what has come behind the first piece: what a program sends at once comes in two packets
    /// as a rule, and most of the cost is per send. How much that was; `None`: it was not tried. An
    /// end is met again.
    fn top_up(&self, pipe: &mut Pipe, first: usize) -> io::Result<Option<usize>> {
        if !(SMALL..pipe.size()).contains(&first) {
            return Ok(None);
        }
        match self.source.splice_into(pipe) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(0)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Some(0)),
            topped_up => topped_up.map(Some),
        }
    }

    async fn empty_pipe(&self, pipe: &mut Pipe) -> Result<(), End> {
        while pipe.held() > 0 {
            match self.target.splice_from(pipe) {
                Ok(0) => return Err(End::TargetFailed(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.target_ready().await?
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(End::TargetFailed(error)),
            }
        }
        Ok(())
    }

    async fn target_ready(&self) -> Result<(), End> {
        let engine = &self.session.worker.engine;
        let mut ready = pin!(self.target.ready(Interest::WRITE));
        let patience = engine.sleep_until(engine.now() + STALL_AFTER);
        let ready = match race(ready.as_mut(), patience).await {
            Either::First(ready) => ready,
            Either::Second(()) => self.while_watching_the_source(ready).await?,
        };
        ready.map(|_| ()).map_err(End::TargetFailed)
    }

    /// The source has ended its stream: tell the target. After an error the kernel says the same
    /// once more, and that is no end of stream. A source that we told of the end is gone in order.
    pub(super) fn end_of_stream(&self) -> End {
        if self.source_has_failed() {
            return End::SourceFailed(reset());
        }
        // The second end is told by closing the sockets, which spares a system call.
        let told = self.source_was_told() || self.target.shutdown_write().is_ok();
        self.session.told[self.target_party as usize].set(told);
        if told { End::Finished } else { End::TargetFailed(reset()) }
    }

    /// The flow was stopped, and the target has what the source had sent: tell it the end.
    pub(super) fn stop_here(&self) -> End {
        debug_assert!(!self.source.is_receiving(), "what is received is delivered");
        let told = self.target.shutdown_write().is_ok();
        self.session.told[self.target_party as usize].set(told);
        if told { End::Finished } else { End::TargetFailed(reset()) }
    }

    /// What looks like the end of the source's stream is none.
    pub(super) fn source_has_failed(&self) -> bool {
        let said_so = self.source_tls.is_some_and(Tls::peer_closed);
        !said_so && (self.source_gone.get() != NEVER || self.source_was_cut())
    }

    /// We have passed the end of the other direction on to the source.
    pub(super) fn source_was_told(&self) -> bool {
        self.session.told[self.target_party.other() as usize].get()
    }

    /// The source's connection is gone, and not because both sides ended it in order.
    fn source_was_cut(&self) -> bool {
        !self.source_was_told() && self.source.is_gone()
    }

    pub(super) fn moved(&self, bytes: usize) {
        self.session.moved(self.target_party as usize, bytes);
        self.count(|tally| match self.target_party {
            Party::Backend => tally.bytes_to_backend.add(bytes as u64),
            Party::Client => tally.bytes_to_client.add(bytes as u64),
        });
    }

    fn count(&self, count: impl FnOnce(&SessionTally)) {
        if let Some(route) = self.session.route() {
            count(&route.account.tally);
        }
    }
}

fn reset() -> io::Error {
    io::Error::from_raw_os_error(libc::ECONNRESET)
}

/// What is sent at a time of what was read before.
const PRELUDE_PIECE: usize = 16 << 10;
/// Full buffers in a row that show a bulk flow: 64 KiB with the default buffers.
const PROMOTE_AFTER: u32 = 4;
/// What was moved between two waits, if less: the flow is small.
pub(super) const SMALL: usize = 16 << 10;
/// Small moves in a row that end the use of a pipe or of the workbench.
pub(super) const DEMOTE_AFTER: u32 = 8;
/// What was moved between two waits, if more: the flow is fast, about 4 Gbit/s and above.
const PLENTY: usize = 512 << 10;
/// Timers round up to their tick of about a millisecond, so that the flows that wait for it go on
/// in the same turn.
const BEAT: Duration = Duration::from_nanos(1);
/// After a beat in which nothing came, so many pieces are not waited for.
const BEATS_LEFT_OUT: u32 = 16;
/// Bytes that one flow moves before the others get their turn.
pub(super) const FAIR_BYTES: usize = 1 << 20;
