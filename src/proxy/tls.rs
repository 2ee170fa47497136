//! TLS on one side of a session: the handshake over a socket, and what the relay needs of the
//! connection afterwards. How many handshakes go on at a time is the affair of `handshakes`.

use std::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;

use rustls::ProtocolVersion;

use crate::engine::{
    Block, BlockSize, Buffer, Either, Engine, Notified, Notify, Receive, Send, Sent, Socket, Time,
    race,
};
use crate::observe::{HandshakeCause, HandshakeTally, TlsFailure, TlsRecord};
use crate::tls::{Connection, Failure, Gathered, Room};

use super::handshakes::Slowness;
use super::session::Session;
use super::worker::Worker;

/// One side's TLS connection, shared by the two flows of its session.
pub(super) struct Tls {
    connection: RefCell<Connection>,
    /// Rings when there is something to send that no data waits for.
    wanted: Notify,
    /// What the peer said together with the end of its handshake.
    early: RefCell<Vec<u8>>,
    /// The peer's stream ended without saying so, and then whether something may be missing.
    cut: Cell<Option<bool>>,
    /// The peer was told that nothing more comes.
    told: Cell<bool>,
    /// It has said something since.
    spoke: Cell<bool>,
    failure: RefCell<Option<Failure>>,
    /// Whether the peer was told of it, if there is anything to tell.
    alerted: Cell<Option<bool>>,
    /// Rings when it was.
    alert_sent: Notify,
}

/// Why there is no TLS connection.
pub(super) enum Refusal {
    /// It took too long.
    TimedOut,
    /// The peer left.
    Left,
    /// What was agreed on is that it cannot be.
    Failed(Failure),
}

impl Refusal {
    fn cause(&self) -> HandshakeCause {
        match self {
            Refusal::TimedOut => HandshakeCause::Timeout,
            Refusal::Left => HandshakeCause::Other,
            Refusal::Failed(failure) => HandshakeCause::of(failure.as_str()),
        }
    }
}

/// Counts how a handshake ended.
pub(super) fn count(tally: &HandshakeTally, outcome: &Result<Tls, Refusal>) {
    match outcome {
        Ok(tls) if tls.is_resumed() => tally.resumed.add(1),
        Ok(_) => tally.full.add(1),
        Err(refusal) => tally.failures.add(refusal.cause()),
    }
}

/// Shakes hands on `socket`. `first` was received already. The peer has until `deadline`; what we
/// take ourselves, waiting for a turn or for a signature, comes on top.
pub(super) async fn shake_hands(
    session: &Session,
    socket: &Socket,
    connection: Connection,
    first: Vec<u8>,
    slowness: Slowness,
    deadline: Time,
) -> Result<Tls, Refusal> {
    let worker = &*session.worker;
    let early = Gathered::default();
    Handshake { worker, socket, connection, early, slowness, deadline }.run(first).await
}

struct Handshake<'s> {
    worker: &'s Worker,
    socket: &'s Socket,
    connection: Connection,
    early: Gathered,
    slowness: Slowness,
    deadline: Time,
}

impl Handshake<'_> {
    async fn run(mut self, mut first: Vec<u8>) -> Result<Tls, Refusal> {
        let mut stepped = Ok(());
        if self.slowness.is_next() && !first.is_empty() {
            (self, stepped) = self.step_elsewhere(first).await?;
        } else if !first.is_empty() {
            stepped = self.step(&mut first).await;
        }
        let socket = self.socket;
        loop {
            // Also after a failure, which the peer is told of.
            let receiving = socket.receive();
            while self.connection.has_output() && !self.may_wait() {
                let block = output(&self.worker.engine, &mut self.connection);
                let sending = sent(socket.send_beside(block, &receiving));
                if self.in_time(sending).await?.is_err() {
                    return Err(stepped.err().map_or(Refusal::Left, Refusal::Failed));
                }
            }
            stepped.map_err(Refusal::Failed)?;
            if !self.connection.is_handshaking() {
                return Ok(Tls::new(self.connection, self.early.into_bytes()));
            }
            let Ok(Some(mut buffer)) = self.in_time(received(socket, receiving)).await? else {
                return Err(Refusal::Left);
            };
            if self.slowness.is_next() {
                let bytes = buffer.to_vec();
                drop(buffer);
                (self, stepped) = self.step_elsewhere(bytes).await?;
            } else {
                stepped = self.step(buffer.bytes_mut()).await;
            }
        }
    }

    /// Whether what is to be sent can go with the first data: the tickets of TLS 1.3.
    fn may_wait(&self) -> bool {
        self.connection
            .agreed()
            .is_some_and(|agreed| agreed.server && agreed.version == Some(ProtocolVersion::TLSv1_3))
    }

    /// Waits for the peer, while it has time.
    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, Refusal> {
        match race(work, self.worker.engine.sleep_until(self.deadline)).await {
            Either::First(done) => Ok(done),
            Either::Second(()) => Err(Refusal::TimedOut),
        }
    }

    async fn step(&mut self, bytes: &mut [u8]) -> Result<(), Failure> {
        let engine = &self.worker.engine;
        let began = engine.now();
        self.worker.handshakes.step(engine).await;
        self.deadline = self.deadline + engine.now().since(began);
        let stepped = self.connection.receive(bytes, &mut self.early);
        self.slowness.settle(&self.connection);
        stepped
    }

    /// The same, on the thread for long signatures.
    async fn step_elsewhere(
        self,
        mut bytes: Vec<u8>,
    ) -> Result<(Self, Result<(), Failure>), Refusal> {
        let Handshake { worker, socket, mut connection, mut early, mut slowness, deadline } = self;
        let began = worker.engine.now();
        let stepped = worker.handshakes.signer().run(worker.tally(), move || {
            let outcome = connection.receive(&mut bytes, &mut early);
            (connection, early, outcome)
        });
        // Without an outcome the step has panicked, which was told.
        let (connection, early, outcome) = stepped.await.ok_or(Refusal::Left)?;
        slowness.settle(&connection);
        let deadline = deadline + worker.engine.now().since(began);
        Ok((Handshake { worker, socket, connection, early, slowness, deadline }, outcome))
    }
}

/// Closed when the peer may still have to read what it was told.
pub(super) async fn part(session: &Session, socket: &Socket) {
    let engine = &session.worker.engine;
    if socket.shutdown_write().is_err() {
        return;
    }
    let gone = async { while let Ok(Some(_)) = received(socket, socket.receive()).await {} };
    race(gone, engine.sleep_until(engine.now() + PARTING)).await;
}

/// Sends an alert, and parts.
pub(super) async fn send_alert(session: &Session, socket: &Socket, alert: &[u8]) {
    let mut block = Block::new(&session.worker.engine, BlockSize::One);
    if block.append(alert).is_some() && sent(socket.send(block)).await.is_ok() {
        part(session, socket).await;
    }
}

/// As much of what is to be sent as fits into a block.
fn output(engine: &Engine, connection: &mut Connection) -> Block {
    let mut block = Block::new(engine, BlockSize::One);
    let length = connection.take_output(block.room());
    block.fill(length);
    block
}

/// What comes next. A send that finds no room recalls the receive that was begun beside it, which
/// says nothing about the peer.
async fn received<'s>(
    socket: &'s Socket,
    mut receiving: Receive<'s>,
) -> io::Result<Option<Buffer>> {
    loop {
        match receiving.await {
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => {
                receiving = socket.receive();
            }
            received => return received,
        }
    }
}

/// A send of a handshake; the deadline of the whole is for the peer that does not take it.
async fn sent(mut sending: Send<'_>) -> Result<(), Sent> {
    loop {
        match (&mut sending).await {
            Sent::Done => return Ok(()),
            Sent::Stalled => {}
            failed => return Err(failed),
        }
    }
}

impl Tls {
    fn new(connection: Connection, early: Vec<u8>) -> Tls {
        Tls {
            connection: RefCell::new(connection),
            wanted: Notify::default(),
            early: RefCell::new(early),
            cut: Cell::new(None),
            told: Cell::new(false),
            spoke: Cell::new(false),
            failure: RefCell::default(),
            alerted: Cell::new(None),
            alert_sent: Notify::default(),
        }
    }

    /// What the peer said with the end of the handshake.
    pub(super) fn take_early(&self) -> Vec<u8> {
        std::mem::take(&mut *self.early.borrow_mut())
    }

    /// Decrypts what was received, behind what `block` holds.
    pub(super) fn decrypt(&self, mut buffer: Buffer, block: &mut Block) {
        let mut room = Room::new(block.room());
        self.open(buffer.bytes_mut(), &mut room);
        let filled = room.filled();
        block.fill(filled);
    }

    /// Decrypts what was received, as far as it makes sense; see [`Tls::is_over`].
    pub(super) fn open(&self, sealed: &mut [u8], room: &mut Room<'_>) {
        let mut connection = self.connection.borrow_mut();
        let before = room.filled();
        let received = connection.receive(sealed, room);
        if self.told.get() && room.filled() > before {
            self.spoke.set(true);
        }
        if connection.has_output() {
            self.wanted.notify_all();
        }
        if let Err(failure) = received {
            if connection.has_output() && self.alerted.get().is_none() {
                self.alerted.set(Some(false));
            }
            self.failed(&failure);
        }
    }

    /// Nothing more will be heard of the peer, because it said so or because of a failure.
    pub(super) fn is_over(&self) -> bool {
        self.peer_closed() || self.failure.borrow().is_some()
    }

    /// Why the connection cannot go on.
    pub(super) fn broken(&self) -> Option<Failure> {
        self.failure.borrow().clone()
    }

    /// Bytes that were received and wait for the rest of their record.
    pub(super) fn carried(&self) -> usize {
        self.connection.borrow().carried()
    }

    /// Encrypts behind what `block` holds, and behind what else is to be sent.
    pub(super) fn encrypt(&self, plain: &[u8], block: &mut Block) -> Result<(), Failure> {
        let written = self.seal(plain, block.room())?;
        block.fill(written);
        Ok(())
    }

    /// Encrypts behind what else is to be sent; how much room that took.
    pub(super) fn seal(&self, plain: &[u8], room: &mut [u8]) -> Result<usize, Failure> {
        let written = self.connection.borrow_mut().encrypt(plain, room);
        written.inspect_err(|failure| self.failed(failure))
    }

    fn failed(&self, failure: &Failure) {
        self.failure.borrow_mut().get_or_insert_with(|| failure.clone());
    }

    /// What is to be sent and no data waits for; `None`: nothing, and all before it was sent.
    pub(super) fn output(&self, engine: &Engine) -> Option<Block> {
        let mut connection = self.connection.borrow_mut();
        if connection.has_output() {
            return Some(output(engine, &mut connection));
        }
        if self.alerted.get() == Some(false) {
            self.alerted.set(Some(true));
            self.alert_sent.notify_all();
        }
        None
    }

    /// Completes when the peer was told of the failure, or will not read of it.
    pub(super) async fn alert(&self, engine: &Engine) {
        let sent = async {
            while self.alerted.get() == Some(false) {
                self.alert_sent.notified().await;
            }
        };
        race(sent, engine.sleep_until(engine.now() + PARTING)).await;
    }

    /// Rings when there may be such output.
    pub(super) fn output_wanted(&self) -> Notified<'_> {
        self.wanted.notified()
    }

    /// Says that nothing more will be sent, by what is output then.
    pub(super) fn close(&self) {
        self.told.set(true);
        if let Err(failure) = self.connection.borrow_mut().close() {
            self.failed(&failure);
        }
    }

    /// Whether the peer has said that it will send no more.
    pub(super) fn peer_closed(&self) -> bool {
        self.connection.borrow().peer_closed()
    }

    /// The peer's stream has ended without saying so. Whoever was told the end first and leaves
    /// without another byte had nothing to add: few programs wait to say their own end then, and
    /// TLS 1.2 has the one who began not wait for it either (RFC 5246, 7.2.1).
    pub(super) fn cut(&self) {
        self.cut.set(Some(!self.told.get() || self.spoke.get()));
    }

    /// The other side is not told of an end that was not said.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.get().is_some()
    }

    /// Something may be missing of the peer's stream.
    pub(super) fn is_truncated(&self) -> bool {
        self.cut.get() == Some(true)
    }

    /// What was agreed on, for the log.
    pub(super) fn describe(&self, record: &mut TlsRecord) {
        let connection = self.connection.borrow();
        let Some(agreed) = connection.agreed() else { return };
        record.version = agreed.version.and_then(|version| match version {
            ProtocolVersion::TLSv1_2 => Some("1.2"),
            ProtocolVersion::TLSv1_3 => Some("1.3"),
            _ => None,
        });
        record.cipher = agreed.suite.and_then(|suite| suite.as_str());
        record.protocol =
            agreed.protocol.as_deref().map(|name| String::from_utf8_lossy(name).into());
        record.client = agreed.peer.as_ref().map(|owner| owner.to_string().into());
        record.resumed = agreed.resumed;
    }

    /// What was wrong with it, if anything.
    pub(super) fn failure(&self) -> Option<TlsFailure> {
        self.failure.borrow().as_ref().map(told)
    }

    fn is_resumed(&self) -> bool {
        self.connection.borrow().agreed().is_some_and(|agreed| agreed.resumed)
    }

    /// The protocol that was agreed on.
    pub(super) fn protocol(&self) -> Option<Vec<u8>> {
        Some(self.connection.borrow().agreed()?.protocol.as_deref()?.to_vec())
    }
}

/// A failure as the log tells it.
pub(super) fn told(failure: &Failure) -> TlsFailure {
    TlsFailure::new(failure.as_str(), failure)
}

/// How long a refused peer may take to read why.
const PARTING: Duration = Duration::from_secs(1);
