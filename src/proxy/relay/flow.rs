//! One direction of a session: by copying first, by splice when it pays.
//!
//! Copying takes a buffer of the worker's relay memory, and at most two behind it, and only while
//! bytes are in flight: that is the back-pressure. A flow that keeps filling its buffers goes over
//! to a pipe, and back when it becomes small or no pipe is left.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::time::Duration;

use crate::engine::{Either, Interest, Pipe, Send, Sent, Socket, Time, race};
use crate::observe::SessionTally;
use crate::proxy::session::{Meter, Session};
use crate::proxy::worker::STALL_AFTER;

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

/// What it moves, from where to where.
pub(super) struct Flow<'s> {
    session: &'s Session,
    source: &'s Socket,
    target: &'s Socket,
    target_party: Party,
    /// The source's connection is known to be gone: what is left is read, then that is the end.
    /// Until when it may be delivered.
    source_gone: Cell<Option<Time>>,
    /// Nothing is on its way: every byte received was handed to the target.
    at_rest: Cell<bool>,
    /// Receive no more once at rest.
    stopping: Cell<bool>,
}

impl<'s> Flow<'s> {
    pub(super) fn towards(party: Party, session: &'s Session, backend: &'s Socket) -> Flow<'s> {
        let (source, target) = match party {
            Party::Backend => (&session.client, backend),
            Party::Client => (backend, &session.client),
        };
        Flow {
            session,
            source,
            target,
            target_party: party,
            source_gone: Cell::new(None),
            at_rest: Cell::new(true),
            stopping: Cell::new(false),
        }
    }

    /// Moves bytes to the end, which is the error.
    pub(super) async fn run(&self) -> Result<Infallible, End> {
        loop {
            let pipe = self.copy().await?;
            self.count(|tally| tally.splice_promotions.add(1));
            self.meter().spliced.set(true);
            // Boxed, like all that few sessions need at a time: every session has room for it.
            Box::pin(self.splice(pipe)).await?;
            self.count(|tally| tally.splice_demotions.add(1));
        }
    }

    /// Notes that the source's connection is gone; until when what it sent may be delivered. The
    /// time runs from when that was first noticed.
    pub(super) fn source_is_gone(&self) -> Time {
        let noted = self.source_gone.get();
        let deadline = noted.unwrap_or_else(|| self.session.worker.linger_deadline());
        self.source_gone.set(Some(deadline));
        deadline
    }

    pub(super) fn stop_at_rest(&self) {
        self.stopping.set(true);
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.at_rest.get()
    }

    /// Copies until the flow has grown so that a pipe pays; gives the pipe.
    async fn copy(&self) -> Result<Pipe, End> {
        let mut full_in_a_row = 0;
        // It has filled many buffers, and nothing that comes behind them is received any more.
        let mut grown;
        let mut receiving = self.source.receive();
        loop {
            let mut sending = match (&mut receiving).await {
                Ok(Some(buffer)) => {
                    full_in_a_row = if buffer.is_full() { full_in_a_row + 1 } else { 0 };
                    grown = full_in_a_row >= PROMOTE_AFTER && !self.source.is_receiving();
                    self.moved(buffer.len());
                    self.at_rest.set(false);
                    if grown || self.stopping.get() {
                        self.target.send(buffer)
                    } else {
                        // Begun together with the send, so that both cost one turn of the loop.
                        receiving = self.source.receive();
                        self.target.send_beside(buffer, &receiving)
                    }
                }
                Ok(None) => return Err(self.end_of_stream()),
                Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => {
                    receiving = self.source.receive();
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
            self.at_rest.set(true);
            if self.stopping.get() {
                return Err(self.end_of_stream());
            }
            if grown {
                full_in_a_row = 0;
                if let Some(pipe) = Pipe::borrow_from(&self.session.worker.engine) {
                    return Ok(pipe);
                }
                receiving = self.source.receive();
            }
        }
    }

    /// Waits for a send that has stalled.
    async fn outlast(&self, sending: &mut Send<'_>) -> Result<(), End> {
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
            engine.sleep_until(self.source_is_gone()).await;
        };
        match race(stalled, source_lost).await {
            Either::First(output) => Ok(output),
            Either::Second(()) => Err(End::SourceFailed(reset())),
        }
    }

    /// Moves through a pipe until the flow has become small, or no pipe is left.
    async fn splice(&self, first: Pipe) -> Result<(), End> {
        let engine = &self.session.worker.engine;
        let mut lent = Some(first);
        let mut small_in_a_row = 0;
        loop {
            let Some(mut pipe) = lent.take().or_else(|| Pipe::borrow_from(engine)) else {
                return Ok(());
            };
            let moved = self.empty_source(&mut pipe).await?;
            drop(pipe);
            small_in_a_row = match moved {
                0 => small_in_a_row,
                1..SMALL => small_in_a_row + 1,
                _ => 0,
            };
            if small_in_a_row >= DEMOTE_AFTER {
                return Ok(());
            }
            if self.stopping.get() {
                return Err(self.end_of_stream());
            }
            // Most of the cost is per wake-up, not per byte: a stream that comes in pieces is let
            // gather for a beat, together with the others. A fast one does not wait, since its
            // source might, and one that has paused is waited for in the kernel.
            if (1..PLENTY).contains(&moved) {
                engine.sleep_until(engine.now() + BEAT).await;
            } else {
                self.source.ready(Interest::READ).await.map_err(End::SourceFailed)?;
            }
        }
    }

    /// Moves what the source holds, and lets the others run now and then; how much that was.
    async fn empty_source(&self, pipe: &mut Pipe) -> Result<usize, End> {
        let mut moved = 0;
        let mut since_pause = 0;
        loop {
            let piece = match self.source.splice_into(pipe) {
                Ok(0) => return Err(self.end_of_stream()),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(moved),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(End::SourceFailed(error)),
            };
            moved += piece;
            since_pause += piece;
            self.moved(piece);
            self.at_rest.set(false);
            self.empty_pipe(pipe).await?;
            self.at_rest.set(true);
            // Little came, so little is left: waiting costs less than finding nothing.
            if piece < pipe.size() / 2 {
                return Ok(moved);
            }
            if since_pause >= FAIR_BYTES {
                since_pause = 0;
                self.session.worker.engine.pause().await;
            }
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
        let mut ready = std::pin::pin!(self.target.ready(Interest::WRITE));
        let patience = engine.sleep_until(engine.now() + STALL_AFTER);
        let ready = match race(ready.as_mut(), patience).await {
            Either::First(ready) => ready,
            Either::Second(()) => self.while_watching_the_source(ready).await?,
        };
        ready.map(|_| ()).map_err(End::TargetFailed)
    }

    /// The source has ended its stream: tell the target. After an error the kernel says the same
    /// once more, and that is no end of stream. A source that we told of the end is gone in order.
    fn end_of_stream(&self) -> End {
        if !self.stopping.get() && (self.source_gone.get().is_some() || self.source_was_cut()) {
            return End::SourceFailed(reset());
        }
        // The second end is told by closing the sockets, which spares a system call.
        let told = self.source_was_told() || self.target.shutdown_write().is_ok();
        self.session.told[self.target_party as usize].set(told);
        if told { End::Finished } else { End::TargetFailed(reset()) }
    }

    /// We have passed the end of the other direction on to the source.
    fn source_was_told(&self) -> bool {
        self.session.told[self.target_party.other() as usize].get()
    }

    /// The source's connection is gone, and not because both sides ended it in order.
    fn source_was_cut(&self) -> bool {
        !self.source_was_told() && self.source.is_gone()
    }

    fn meter(&self) -> &Meter {
        match self.target_party {
            Party::Backend => &self.session.up,
            Party::Client => &self.session.down,
        }
    }

    fn moved(&self, bytes: usize) {
        self.meter().add(bytes);
        self.session.last_activity.set(self.session.worker.engine.now());
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

/// Full buffers in a row that show a bulk flow: 64 KiB with the default buffers.
const PROMOTE_AFTER: u32 = 4;
/// What was moved between two waits, if less: the flow is small.
const SMALL: usize = 16 << 10;
/// Small moves in a row that end the use of a pipe.
const DEMOTE_AFTER: u32 = 8;
/// What was moved between two waits, if more: the flow is fast, about 4 Gbit/s and above.
const PLENTY: usize = 512 << 10;
/// Timers round up to their tick of about a millisecond, so that the flows that wait for it go on
/// in the same turn.
const BEAT: Duration = Duration::from_nanos(1);
/// Bytes that one flow moves before the others get their turn.
const FAIR_BYTES: usize = 1 << 20;
