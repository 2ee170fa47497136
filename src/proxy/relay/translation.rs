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

use crate::engine::{Block, BlockSize, Buffer, Receive, Send, Sent};
use crate::proxy::tls::Tls;
use crate::tls::Failure;

use super::flow::{End, Flow, Stopping};

/// What a flow through TLS goes on with.
enum Next {
    Received(io::Result<Option<Buffer>>),
    /// What the target's connection has to say.
    Output(Block),
}

impl Flow<'_> {
    /// Moves bytes to the end, which is the error.
    pub(super) async fn translate(&self) -> Result<Infallible, End> {
        self.forward_early().await?;
        // How much is received at a time: more, while it comes in full buffers.
        let mut buffers = 1;
        let (mut receiving, mut looked_last) = self.receive_on(buffers);
        loop {
            let block = match self.next(&mut receiving).await {
                Next::Received(Ok(Some(buffer))) => {
                    buffers = if buffer.is_full() { SEVERAL } else { 1 };
                    self.turn_all(buffer)?
                }
                Next::Received(Ok(None)) => return Err(self.end_of_translation().await?),
                Next::Received(Err(error)) if error.raw_os_error() == Some(libc::ECANCELED) => {
                    if looked_last {
                        return Err(self.end_here().await?);
                    }
                    (receiving, looked_last) = self.receive_on(buffers);
                    continue;
                }
                Next::Received(Err(error)) => return Err(End::SourceFailed(error)),
                Next::Output(block) => block,
            };
            let ended = self.source_tls.is_some_and(Tls::peer_closed);
            if !block.is_empty() {
                let sending = if ended || self.is_stopping() {
                    self.target.send(block)
                } else {
                    receiving = self.source.receive_up_to(buffers);
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
            (receiving, looked_last) = self.receive_on(buffers);
        }
    }

    /// Turns what was received, and what has come behind it, into one block.
    fn turn_all(&self, first: Buffer) -> Result<Block, End> {
        let engine = &self.session.worker.engine;
        let mut second = first.is_full().then(|| self.source.received()).flatten();
        let size = if second.is_some() { BlockSize::Several } else { BlockSize::One };
        let mut block = Block::new(engine, size);
        self.turn(first, &mut block)?;
        let mut more = SEVERAL - 1;
        while let Some(buffer) = second {
            self.turn(buffer, &mut block)?;
            more -= 1;
            second = if more > 0 { self.source.received() } else { None };
        }
        Ok(block)
    }

    /// The next piece of the source, or what the target's connection has to say before.
    async fn next(&self, receiving: &mut Receive<'_>) -> Next {
        let Some(tls) = self.target_tls else {
            return Next::Received(receiving.await);
        };
        let engine = &self.session.worker.engine;
        let mut wanted = pin!(tls.output_wanted());
        let mut received = pin!(receiving);
        poll_fn(|context| {
            // Looked at first: the bell rings for those who wait already.
            if let Some(block) = tls.output(engine) {
                return Poll::Ready(Next::Output(block));
            }
            if wanted.as_mut().poll(context).is_ready() {
                wanted.set(tls.output_wanted());
                context.waker().wake_by_ref();
            }
            received.as_mut().poll(context).map(Next::Received)
        })
        .await
    }

    /// Fills the block with what the target is to get for what was received.
    fn turn(&self, buffer: Buffer, block: &mut Block) -> Result<(), End> {
        let Some(source) = self.source_tls else {
            self.moved(buffer.len());
            return self.encrypt(&buffer, block);
        };
        if self.target_tls.is_none() {
            let before = block.filled().len();
            source.decrypt(buffer, block).map_err(source_failed)?;
            self.moved(block.filled().len() - before);
            return Ok(());
        }
        let mut plain = Block::new(&self.session.worker.engine, BlockSize::One);
        source.decrypt(buffer, &mut plain).map_err(source_failed)?;
        self.moved(plain.filled().len());
        self.encrypt(plain.filled(), block)
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
    async fn deliver(&self, mut sending: Send<'_>) -> Result<(), End> {
        match (&mut sending).await {
            Sent::Done => Ok(()),
            Sent::Stalled => Box::pin(self.outlast(&mut sending)).await,
            Sent::Evicted => Err(End::Evicted),
            Sent::Failed(error) => Err(End::TargetFailed(error)),
        }
    }

    /// The source has ended its stream: tell the target, in TLS and then by the socket.
    async fn end_of_translation(&self) -> Result<End, End> {
        if let Some(tls) = self.source_tls
            && !tls.peer_closed()
        {
            tls.cut();
        }
        if !self.is_cut() {
            self.say_end().await?;
        }
        Ok(self.end_of_stream())
    }

    /// The flow was stopped, and the target has what the source had sent: tell it the end.
    async fn end_here(&self) -> Result<End, End> {
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
        while let Some(block) = tls.output(&self.session.worker.engine) {
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

fn target_failed(failure: Failure) -> End {
    End::TargetFailed(io::Error::new(io::ErrorKind::InvalidData, failure.to_string()))
}

/// Buffers that are turned into one block: as many as fit into a large one.
const SEVERAL: u32 = 4;
/// What goes into a block at a time, encrypted or not.
const PIECE: usize = 16 << 10;
