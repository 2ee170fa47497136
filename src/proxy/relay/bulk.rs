//! One direction of a session through TLS while plenty comes: what the source has is read, turned
//! and written in one step that does not wait, on the worker's bench. A pipe would be the way if
//! the kernel could do TLS.

use std::convert::Infallible;
use std::io;

use crate::engine::{Block, BlockSize};
use crate::proxy::tls::Tls;
use crate::tls::{Room, overhead};

use super::flow::{DEMOTE_AFTER, End, FAIR_BYTES, Flow, SMALL, Stopping};
use super::translation::{Next, target_failed};
use super::workbench::Areas;

/// What a step did.
#[derive(Default)]
struct Step {
    /// Bytes that the source had.
    read: usize,
    /// What the target did not take.
    rest: Option<Block>,
    source: After,
}

/// What is known of the source after a step.
#[derive(Default)]
enum After {
    /// It may have more.
    #[default]
    Open,
    /// It has no more at the moment.
    Empty,
    Ended,
    Failed(io::Error),
}

impl Flow<'_> {
    /// Moves bytes until the flow has become small.
    pub(super) async fn translate_bulk(&self) -> Result<(), End> {
        let mut small_in_a_row = 0;
        loop {
            let moved = self.turn_what_is_there().await?;
            if self.is_stopping() {
                return Err(self.end_here().await?);
            }
            small_in_a_row = match moved {
                0 => small_in_a_row,
                1..SMALL => small_in_a_row + 1,
                _ => 0,
            };
            if small_in_a_row >= DEMOTE_AFTER {
                return Ok(());
            }
            match self.unless_output(self.readable_or_stopped()).await {
                Next::Arrived(ready) => ready.map_err(End::SourceFailed)?,
                Next::Output(block) => self.deliver(self.target.send(block)).await?,
            }
        }
    }

    /// Moves what the source holds, and lets the others run now and then; how much that was.
    async fn turn_what_is_there(&self) -> Result<usize, End> {
        let mut moved = 0;
        let mut since_pause = 0;
        loop {
            // It goes before what is encrypted from now on.
            if let Some(block) = self.output() {
                self.deliver(self.target.send(block)).await?;
            }
            let step = self.step()?;
            if let Some(block) = step.rest {
                self.deliver(self.target.send(block)).await?;
            }
            moved += step.read;
            since_pause += step.read;
            match step.source {
                After::Failed(error) => return Err(End::SourceFailed(error)),
                After::Ended => return self.end_of_bulk().await.map(|never| match never {}),
                _ if self.source_tls.is_some_and(Tls::is_over) => {
                    return self.end_of_bulk().await.map(|never| match never {});
                }
                After::Empty => return Ok(moved),
                After::Open if self.stopping.get() == Stopping::AtOnce => return Ok(moved),
                After::Open => {}
            }
            if since_pause >= FAIR_BYTES {
                since_pause = 0;
                self.session.worker.engine.pause().await;
            }
        }
    }

    async fn end_of_bulk(&self) -> Result<Infallible, End> {
        Err(self.end_of_translation().await?)
    }

    /// Reads, turns and writes, as far as each goes without waiting. What has begun to come is
    /// waited for as long as turning the first of it takes: most of the cost is per write.
    fn step(&self) -> Result<Step, End> {
        let worker = &self.session.worker;
        let mut bench = worker.workbench.borrow_mut();
        let Areas { received, opened, made } = bench.areas(&worker.engine);
        let (mut step, mut length) = (Step::default(), 0);
        loop {
            // What waits for the rest of its record comes in addition.
            let carried = self.source_tls.map_or(0, Tls::carried);
            let room = (made.len() - length).saturating_sub(carried + OVERHEAD);
            let limit = received.len().min(room);
            if limit < SMALLEST {
                break;
            }
            match self.source.read(&mut received[..limit]) {
                Ok(0) => step.source = After::Ended,
                Ok(count) => {
                    step.read += count;
                    length +=
                        self.turn_bulk(&mut received[..count], opened, &mut made[length..])?;
                    if count < limit {
                        continue;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    step.source = After::Empty;
                }
                Err(error) => step.source = After::Failed(error),
            }
            break;
        }
        step.rest = self.write(&made[..length])?;
        Ok(step)
    }

    /// Puts into `made` what the target is to get for what was received; how much that is.
    fn turn_bulk(
        &self,
        received: &mut [u8],
        opened: &mut [u8],
        made: &mut [u8],
    ) -> Result<usize, End> {
        let Some(source) = self.source_tls else {
            self.moved(received.len());
            return self.seal(received, made);
        };
        let clear = if self.target_tls.is_some() { &mut *opened } else { &mut *made };
        let mut room = Room::new(clear);
        source.open(received, &mut room);
        let length = room.filled();
        self.moved(length);
        if self.target_tls.is_some() { self.seal(&opened[..length], made) } else { Ok(length) }
    }

    fn seal(&self, plain: &[u8], room: &mut [u8]) -> Result<usize, End> {
        match self.target_tls {
            Some(target) if !plain.is_empty() => target.seal(plain, room).map_err(target_failed),
            _ => Ok(0),
        }
    }

    /// Writes as much as the target takes; the rest is to be sent.
    fn write(&self, bytes: &[u8]) -> Result<Option<Block>, End> {
        let written = match bytes {
            [] => return Ok(None),
            bytes => match self.target.write(bytes) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) => return Err(End::TargetFailed(error)),
            },
        };
        if written == bytes.len() {
            return Ok(None);
        }
        let mut rest = Block::new(&self.session.worker.engine, BlockSize::Several);
        rest.append(&bytes[written..]).unwrap_or_else(|| unreachable!("a block holds as much"));
        Ok(Some(rest))
    }
}

/// What the records of a step add at most.
const OVERHEAD: usize = overhead(128 << 10);
/// Less is left for the next step.
const SMALLEST: usize = 1 << 10;
