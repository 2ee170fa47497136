//! A connected TCP socket, and its operations as futures.
//!
//! At most one receive and one send are in flight on a socket. Dropping a future cancels its
//! operation; a send that was dropped may have moved bytes, so the session ends with it. A receive
//! is the socket's own: it goes on when nobody waits for it, and keeps what came for whoever asks
//! next. Dropping the socket closes it once nothing is in flight.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use socket2::SockAddr;

use super::block::Block;
use super::buffer::Buffer;
use super::driver::{Descriptor, Interest, Operation, SocketOptions, Token};
use super::executor::Engine;
use super::io::{Look, Owner};
use super::pipe::Pipe;
use super::receives::{Piece, Received};
use super::slots::{Keep, Outcome, Payload};

/// One end of a connection.
pub struct Socket {
    engine: Engine,
    descriptor: Descriptor,
    /// The last receive emptied it: wait before trying the next one.
    drained: Cell<bool>,
    /// The receive in flight, or with something to take; else `Token::NONE`.
    receiving: Cell<Token>,
}

/// What is to be sent.
pub struct Load {
    payload: Payload,
    range: Range<u32>,
}

impl From<Buffer> for Load {
    fn from(buffer: Buffer) -> Load {
        let range = buffer.range();
        Load { payload: Payload::Buffer(buffer.into_id()), range }
    }
}

impl From<Block> for Load {
    fn from(block: Block) -> Load {
        let memory = block.into_memory();
        let range = memory.filled();
        Load { payload: Payload::Block(memory), range }
    }
}

/// What became of a send.
#[derive(Debug)]
pub enum Sent {
    /// Every byte is with the kernel.
    Done,
    /// It lasts long; ask again.
    Stalled,
    /// The buffer is wanted back by the relay memory; drop the send and end the session.
    Evicted,
    Failed(io::Error),
}

impl Socket {
    /// Takes charge of a descriptor that the engine has adopted.
    pub(super) fn adopted(engine: Engine, descriptor: Descriptor) -> Socket {
        let (drained, receiving) = (Cell::new(true), Cell::new(Token::NONE));
        Socket { engine, descriptor, drained, receiving }
    }

    /// A socket to connect to `target`, from `source` if given.
    pub fn open(
        engine: &Engine,
        target: &SocketAddr,
        source: Option<IpAddr>,
        options: &SocketOptions,
    ) -> io::Result<Socket> {
        let mut io = engine.core().io.borrow_mut();
        let descriptor = io.driver.open(target, options)?;
        io.adopt(descriptor);
        // From here on a failure closes the socket.
        let bound = source.map(|source| io.driver.bind(descriptor, SocketAddr::new(source, 0)));
        drop(io);
        let socket = Socket::adopted(engine.clone(), descriptor);
        bound.unwrap_or(Ok(()))?;
        Ok(socket)
    }

    pub async fn connect(&self, target: SocketAddr) -> io::Result<()> {
        let address = Box::new(SockAddr::from(target));
        let operation =
            Operation::Connect { socket: self.descriptor, address: NonNull::from(&*address) };
        let (outcome, _) = self.start(operation, Keep::Address(address)).await;
        outcome.checked().map(|_| ())
    }

    /// The next piece of the stream; `None` at its end. From now on, pieces are received whether
    /// somebody waits for them or not, up to the size of a buffer; the next call begins anew.
    pub fn receive(&self) -> Receive<'_> {
        if !self.is_receiving() {
            let (wait_first, now) = (self.drained.get(), self.engine.now());
            let mut io = self.engine.core().io.borrow_mut();
            self.receiving.set(io.start_receive(self.descriptor, wait_first, now));
        }
        Receive(self)
    }

    fn hand_over(&self, piece: Piece) -> Buffer {
        self.drained.set(!piece.nonempty);
        if piece.last {
            self.receiving.set(Token::NONE);
        }
        Buffer::new(self.engine.clone(), piece.id, piece.length)
    }

    /// Whether pieces may still come, or wait, that no new receive was begun for. It is over with
    /// a piece that fills its buffer.
    pub fn is_receiving(&self) -> bool {
        self.receiving.get() != Token::NONE
    }

    /// Asks for the end of what is being received, if anything is: it gives what has come, and
    /// nothing more. That ends the turn, so that a send beside it says that it is done.
    pub fn recall(&self) {
        let waker = self.engine.core().io.borrow_mut().recall(self.receiving.get());
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Gives up what is being received and what nobody has taken: the rest of the stream does not
    /// matter any more.
    pub fn stop_receiving(&self) {
        let token = self.receiving.replace(Token::NONE);
        self.engine.core().io.borrow_mut().orphan(token);
    }

    /// The next piece of the stream if it is there already; else it fails with ECANCELED. What is
    /// being received comes before it, so it is for when nothing is.
    pub fn receive_now(&self) -> Receive<'_> {
        assert!(!self.is_receiving(), "what is being received comes first");
        let now = self.engine.now();
        let mut io = self.engine.core().io.borrow_mut();
        self.receiving.set(io.start_look(self.descriptor, now));
        Receive(self)
    }

    /// Sends all of `load`, a buffer or a block.
    pub fn send(&self, load: impl Into<Load>) -> Send<'_> {
        self.begin_send(load.into(), Token::NONE)
    }

    /// Sends all of `load` while the next piece is received. When the send succeeds there is
    /// nothing to do before that piece is here, so it does not end a turn of the loop by itself,
    /// which spares a system call. When there is no room, `ahead` is recalled, so that it fills no
    /// further buffer.
    pub fn send_beside(&self, load: impl Into<Load>, ahead: &Receive<'_>) -> Send<'_> {
        self.begin_send(load.into(), ahead.0.receiving.get())
    }

    fn begin_send(&self, load: Load, ahead: Token) -> Send<'_> {
        let Load { payload, range } = load;
        let now = self.engine.now();
        let mut io = self.engine.core().io.borrow_mut();
        let token = io.start_send(self.descriptor, payload, range.clone(), ahead, now);
        let (start, end) = (range.start, range.end);
        Send { socket: self, token, over: false, stalled: false, start, end }
    }

    /// Waits for one of `interest`, an error or a hang-up; says which.
    pub async fn ready(&self, interest: Interest) -> io::Result<Interest> {
        let operation = Operation::Poll { socket: self.descriptor, interest, lasting: false };
        let (outcome, _) = self.start(operation, Keep::Nothing).await;
        outcome.checked().map(Interest)
    }

    /// Sends the end of the stream.
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.engine.core().io.borrow_mut().driver.shutdown_write(self.descriptor)
    }

    /// Says on whose account the buffers that are sent on this socket are held.
    pub fn account(&self, owners: [Owner; 2]) {
        self.engine.core().io.borrow_mut().account(self.descriptor, owners);
    }

    /// Makes the coming close a reset.
    pub fn reset_on_close(&self) {
        self.engine.core().io.borrow_mut().driver.reset_on_close(self.descriptor);
    }

    /// Whether the connection is entirely gone, rather than ended by its peer in order.
    pub fn is_gone(&self) -> bool {
        self.engine.core().io.borrow_mut().driver.is_gone(self.descriptor)
    }

    /// Bytes sent that the peer has not acknowledged.
    pub fn unsent(&self) -> io::Result<usize> {
        self.engine.core().io.borrow_mut().driver.unsent(self.descriptor)
    }

    /// Bytes received that nobody has taken, also when the connection is gone.
    pub fn unread(&self) -> usize {
        self.engine.core().io.borrow_mut().driver.unread(self.descriptor).unwrap_or(0)
    }

    pub fn peer_address(&self) -> io::Result<SocketAddr> {
        self.engine.core().io.borrow_mut().driver.peer_address(self.descriptor)
    }

    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.engine.core().io.borrow_mut().driver.local_address(self.descriptor)
    }

    /// Moves what is there into the pipe without blocking; 0 is the end of the stream. Nothing is
    /// being received meanwhile, since that would come before it.
    pub fn splice_into(&self, pipe: &mut Pipe) -> io::Result<usize> {
        assert!(!self.is_receiving(), "what was received comes before what is spliced");
        pipe.fill(self.descriptor)
    }

    /// Moves bytes out of the pipe without blocking.
    pub fn splice_from(&self, pipe: &mut Pipe) -> io::Result<usize> {
        pipe.drain(self.descriptor)
    }

    /// Receives what is there without blocking; 0 is the end of the stream. Nothing is being
    /// received meanwhile, since that would come before it.
    pub fn read(&self, room: &mut [u8]) -> io::Result<usize> {
        assert!(!self.is_receiving(), "what was received comes before what is read");
        self.engine.core().io.borrow_mut().driver.read(self.descriptor, room)
    }

    /// Throws away up to `length` bytes that are there, without blocking and without copying them;
    /// how many. 0 is the end of the stream. Nothing is being received meanwhile, as with `read`.
    pub fn skip(&self, length: usize) -> io::Result<usize> {
        assert!(!self.is_receiving(), "what was received comes before what is skipped");
        self.engine.core().io.borrow_mut().driver.skip(self.descriptor, length)
    }

    /// Sends as much of `bytes` as there is room for without blocking. No send is in flight
    /// meanwhile, since its bytes would come before them.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.engine.core().io.borrow_mut().driver.write(self.descriptor, bytes)
    }

    fn start(&self, operation: Operation, keep: Keep) -> Pending<'_> {
        Pending::start(&self.engine, operation, keep)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.stop_receiving();
        self.engine.core().io.borrow_mut().release(self.descriptor);
    }
}

/// A wait for the next piece; see [`Socket::receive`]. A receive that was recalled fails with
/// ECANCELED after the pieces that had come before; nothing is lost, and the next one goes on.
pub struct Receive<'s>(&'s Socket);

impl Future for Receive<'_> {
    type Output = io::Result<Option<Buffer>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let socket = self.0;
        let token = socket.receiving.get();
        let received = socket.engine.core().io.borrow_mut().look_received(token, context.waker());
        match received {
            Received::Pending => Poll::Pending,
            Received::Piece(piece) => Poll::Ready(Ok(Some(socket.hand_over(piece)))),
            Received::Ended(outcome) => {
                socket.drained.set(true);
                socket.receiving.set(Token::NONE);
                Poll::Ready(outcome.checked().map(|_| None))
            }
        }
    }
}

/// A send under way; see [`Socket::send`]. After `Stalled` it can be awaited again.
pub struct Send<'s> {
    socket: &'s Socket,
    token: Token,
    over: bool,
    /// `Stalled` was said: once for the whole send.
    stalled: bool,
    /// Where in the buffer the operation in flight begins and ends.
    start: u32,
    end: u32,
}

impl Future for Send<'_> {
    type Output = Sent;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Sent> {
        let socket = self.socket;
        loop {
            let mut io = socket.engine.core().io.borrow_mut();
            let (outcome, keep) = match io.look(self.token, context.waker()) {
                // The rest of a short send is an operation of its own, and may stall again.
                Look::Stalled if !std::mem::replace(&mut self.stalled, true) => {
                    return Poll::Ready(Sent::Stalled);
                }
                Look::Pending | Look::Stalled => return Poll::Pending,
                Look::Evicted => return Poll::Ready(Sent::Evicted),
                Look::Finished(outcome, keep) => (outcome, keep),
            };
            let Keep::Sending { payload, ahead } = keep else {
                unreachable!("a send keeps what it reads from")
            };
            // A short send goes on where it stopped.
            self.start += u32::try_from(outcome.0).unwrap_or(0);
            if outcome.0 > 0 && self.start < self.end {
                let (range, now) = (self.start..self.end, socket.engine.now());
                self.token = io.start_send(socket.descriptor, payload, range, ahead, now);
                continue;
            }
            self.over = true;
            io.reclaim(payload);
            return Poll::Ready(match outcome.checked() {
                Ok(_) if self.start == self.end => Sent::Done,
                Ok(_) => Sent::Failed(io::ErrorKind::WriteZero.into()),
                Err(error) => Sent::Failed(error),
            });
        }
    }
}

impl Drop for Send<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.socket.engine.core().io.borrow_mut().orphan(self.token);
        }
    }
}

/// An operation in flight, as a future of its outcome and of what it kept.
pub(super) struct Pending<'e> {
    engine: &'e Engine,
    token: Token,
    over: bool,
}

impl<'e> Pending<'e> {
    pub(super) fn start(engine: &'e Engine, operation: Operation, keep: Keep) -> Pending<'e> {
        let token = engine.core().io.borrow_mut().start(operation, keep, engine.now());
        Pending { engine, token, over: false }
    }
}

impl Future for Pending<'_> {
    type Output = (Outcome, Keep);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let look = self.engine.core().io.borrow_mut().look(self.token, context.waker());
        match look {
            Look::Finished(outcome, keep) => {
                self.over = true;
                Poll::Ready((outcome, keep))
            }
            Look::Pending | Look::Stalled | Look::Evicted => Poll::Pending,
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.engine.core().io.borrow_mut().orphan(self.token);
        }
    }
}

impl Outcome {
    pub(super) fn checked(&self) -> io::Result<u32> {
        u32::try_from(self.0).map_err(|_| io::Error::from_raw_os_error(-self.0))
    }
}
