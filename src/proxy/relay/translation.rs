//! One direction of a session through TLS, on one side or on both: what is received is decrypted,
//! encrypted, or both, into a block, which is sent.
//!
//! Whoever sends to a party also sends what its TLS connection has to say for itself: the answer
//! to a change of keys, the tickets of a handshake, the end.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use crate::engine::{Block, BlockSize, Buffer, Send, Sent};
use crate::proxy::tls::Tls;
use crate::tls::Failure;

use super::flow::{End, Flow, Stopping};

/// What a flow through TLS goes on with.
pub(super) enum Next<T> {
    /// What was waited for.
    Arrived(T),
    /// What the target's connection has to say.
    Output(Block),
}

impl Flow<'_> {
    /// Moves bytes to the end, which is the error.
    pub(super) async fn translate(&self) -> Result<Infallible, End> {
        self.forward_early().await?;
        loop {
            self.translate_pieces().await?;
            Box::pin(self.translate_bulk()).await?;
        }
    }

    /// Moves bytes until the flow has grown so that it pays to read all that is there.
    async fn translate_pieces(&self) -> Result<(), End> {
        let mut full_in_a_row = 0;
        let (mut receiving, mut looked_last) = self.receive_on();
        loop {
            let block = match self.unless_output(&mut receiving).await {
                Next::Arrived(Ok(Some(buffer))) => {
                    full_in_a_row = if buffer.is_full() { full_in_a_row + 1 } else { 0 };
                    self.turn(buffer)?
                }
                Next::Arrived(Ok(None)) => return Err(self.end_of_translation().await?),
                Next::Arrived(Err(error)) if error.raw_os_error() == Some(libc::ECANCELED) => {
                    if looked_last {
                        return Err(self.end_here().await?);
                    }
                    (receiving, looked_last) = self.receive_on();
                    continue;
                }
                Next::Arrived(Err(error)) => return Err(End::SourceFailed(error)),
                Next::Output(block) => block,
            };
            let ended = self.source_tls.is_some_and(Tls::is_over);
            // Nothing that comes behind the last piece is received any more.
            let grown = full_in_a_row >= BULK_AFTER && !self.source.is_receiving();
            if !block.is_empty() {
                let sending = if ended || grown || self.is_stopping() {
                    self.target.send(block)
                } else {
                    receiving = self.source.receive();
                    self.target.send_beside(block, &receiving)
                };
                self.deliver(sending).await?;
            }
            if ended {
                return Err(self.end_of_translation().await?);
            }
            if self.stopping.get() == Stopping::AtOnce && !self.source.is_receiving() {
                return Err(self.end_here().await?);
            }
            if grown {
                return Ok(());
            }
            (receiving, looked_last) = self.receive_on();
        }
    }

    /// What is waited for, or what the target's connection has to say before.
    pub(super) async fn unless_output<T>(&self, waiting: impl Future<Output = T>) -> Next<T> {
        let Some(tls) = self.target_tls else {
            return Next::Arrived(waiting.await);
        };
        let mut wanted = pin!(tls.output_wanted());
        let mut waiting = pin!(waiting);
        poll_fn(|context| {
            // Looked at first: the bell rings for those who wait already.
            if let Some(block) = self.output() {
                return Poll::Ready(Next::Output(block));
            }
            if wanted.as_mut().poll(context).is_ready() {
                wanted.set(tls.output_wanted());
                context.waker().wake_by_ref();
            }
            waiting.as_mut().poll(context).map(Next::Arrived)
        })
        .await
    }

    /// What the target's connection has to say for itself.
    pub(super) fn output(&self) -> Option<Block> {
        self.target_tls?.output(&self.session.worker.engine)
    }

    /// What the target is to get for what was received.
    fn turn(&self, buffer: Buffer) -> Result<Block, End> {
        let mut block = Block::new(&self.session.worker.engine, BlockSize::One);
        let Some(source) = self.source_tls else {
            self.moved(buffer.len());
            self.encrypt(&buffer, &mut block)?;
            return Ok(block);
        };
        source.decrypt(buffer, &mut block);
        self.moved(block.filled().len());
        if self.target_tls.is_none() {
            return Ok(block);
        }
        let mut sealed = Block::new(&self.session.worker.engine, BlockSize::One);
        self.encrypt(block.filled(), &mut sealed)?;
        Ok(sealed)
    }

    fn encrypt(&self, plain: &[u8], block: &mut Block) -> Result<(), End> {
        let Some(target) = self.target_tls else { return Ok(()) };
        if plain.is_empty() {
            return Ok(());
        }
        target.encrypt(plain, block).map_err(target_failed)
    }

    /// Sends on what the source said with the end of its handshake.
    async fn forward_early(&self) -> Result<(), End> {
        let Some(source) = self.source_tls else { return Ok(()) };
        let early = source.take_early();
        for piece in early.chunks(PIECE) {
            self.moved(piece.len());
            self.send_text(piece).await?;
        }
        Ok(())
    }

    /// Sends bytes that are in the clear here.
    pub(super) async fn send_text(&self, text: &[u8]) -> Result<(), End> {
        let mut block = Block::new(&self.session.worker.engine, BlockSize::One);
        match self.target_tls {
            Some(target) => target.encrypt(text, &mut block).map_err(target_failed)?,
            None => block.append(text).ok_or_else(|| target_failed(Failure::NoRoom))?,
        }
        self.deliver(self.target.send(block)).await
    }

    /// Waits until everything is with the kernel.
    pub(super) async fn deliver(&self, mut sending: Send<'_>) -> Result<(), End> {
        match (&mut sending).await {
            Sent::Done => Ok(()),
            Sent::Stalled => Box::pin(self.outlast(&mut sending)).await,
            Sent::Evicted => Err(End::Evicted),
            Sent::Failed(error) => Err(End::TargetFailed(error)),
        }
    }

    /// The source has ended its stream, and the target has what it said: tell the target, in TLS
    /// and then by the socket.
    pub(super) async fn end_of_translation(&self) -> Result<End, End> {
        if let Some(tls) = self.source_tls
            && let Some(failure) = tls.broken()
        {
            self.source_is_gone();
            // The other flow sends the alert, if it still can.
            if !self.source_was_told() {
                tls.alert(&self.session.worker.engine).await;
            }
            return Err(source_failed(failure));
        }
        if let Some(tls) = self.source_tls
            && !tls.peer_closed()
        {
            tls.cut();
        }
        if !self.is_cut() && !self.source_has_failed() {
            self.say_end().await?;
        }
        Ok(self.end_of_stream())
    }

    /// The flow was stopped, and the target has what the source had sent: tell it the end.
    pub(super) async fn end_here(&self) -> Result<End, End> {
        self.say_end().await?;
        Ok(self.stop_here())
    }

    /// A stream that was cut is not passed on as one that ended: there is no word of an end.
    fn is_cut(&self) -> bool {
        self.source_tls.is_some_and(Tls::is_cut)
    }

    async fn say_end(&self) -> Result<(), End> {
        let Some(tls) = self.target_tls else { return Ok(()) };
        tls.close();
        while let Some(block) = self.output() {
            match self.deliver(self.target.send(block)).await {
                // A target that is gone needs no telling; whether that is an error is seen next.
                Ok(()) | Err(End::TargetFailed(_)) => {}
                Err(end) => return Err(end),
            }
        }
        Ok(())
    }
}

fn source_failed(failure: Failure) -> End {
    End::SourceFailed(io::Error::new(io::ErrorKind::InvalidData, failure.to_string()))
}

pub(super) fn target_failed(failure: Failure) -> End {
    End::TargetFailed(io::Error::new(io::ErrorKind::InvalidData, failure.to_string()))
}

/// Full buffers in a row that show a bulk flow.
const BULK_AFTER: u32 = 2;
/// What goes into a block at a time, encrypted or not.
const PIECE: usize = 16 << 10;
