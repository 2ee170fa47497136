//! Owns one connection as a stream of bytes, in the clear or in TLS; what they mean is not its
//! concern.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;

use ringmain::engine::driver::SocketOptions;
use ringmain::engine::{Block, BlockSize, Buffer, Engine, Interest, Ration, Send, Sent, Socket};
use ringmain::tls::{Agreed, Connection, Gathered, Room, overhead};
use rustix::io::Errno;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use super::cause::Cause;
use super::stage::Stage;
use super::tls::Tickets;

/// A connection that stands.
pub struct Channel {
    engine: Engine,
    socket: Socket,
    tls: Option<RefCell<Tls>>,
}

struct Tls {
    connection: Connection,
    /// What was said together with the end of the handshake.
    early: Vec<u8>,
}

/// How agents speak TLS.
#[derive(Clone)]
pub struct AgentTls {
    pub config: Arc<ClientConfig>,
    pub name: ServerName<'static>,
    /// None: every handshake is a full one.
    pub tickets: Option<Arc<Tickets>>,
}

impl Channel {
    /// Connects, and shakes hands if `tls` says how.
    pub async fn connect(
        stage: &Stage,
        target: SocketAddr,
        source: Option<IpAddr>,
        tls: Option<&AgentTls>,
    ) -> Result<Channel, Cause> {
        let engine = stage.engine.clone();
        let socket = Socket::open(&engine, &target, source, &OPTIONS)?;
        socket.connect(target).await?;
        let channel = Channel { engine, socket, tls: None };
        match tls {
            Some(AgentTls { config, name, .. }) => {
                let connection = Connection::client(Arc::clone(config), name.clone())?;
                channel.shake_hands(connection, &stage.steps).await
            }
            None => Ok(channel),
        }
    }

    /// A connection that was accepted; shakes hands if `tls` says how.
    pub async fn accept(
        stage: &Stage,
        socket: Socket,
        tls: Option<&Arc<ServerConfig>>,
    ) -> Result<Channel, Cause> {
        let channel = Channel { engine: stage.engine.clone(), socket, tls: None };
        match tls {
            Some(config) => {
                let connection = Connection::server(Arc::clone(config))?;
                channel.shake_hands(connection, &stage.steps).await
            }
            None => Ok(channel),
        }
    }

    /// A handshake takes the CPU for as long as many messages do, and those are to leave in time.
    async fn shake_hands(
        mut self,
        mut connection: Connection,
        steps: &Ration,
    ) -> Result<Channel, Cause> {
        let mut early = Gathered::default();
        loop {
            while connection.has_output() {
                let mut block = Block::new(&self.engine, BlockSize::One);
                let length = connection.take_output(block.room());
                block.fill(length);
                self.send_block(block).await?;
            }
            if !connection.is_handshaking() {
                self.tls = Some(RefCell::new(Tls { connection, early: early.into_bytes() }));
                return Ok(self);
            }
            let Some(mut buffer) = self.next_piece().await? else { return Err(Cause::Closed) };
            steps.step(&self.engine).await;
            connection.receive(buffer.bytes_mut(), &mut early)?;
        }
    }

    /// Shows what the handshake came to, if there was one.
    pub fn inspect<T>(&self, look: impl FnOnce(&Agreed) -> T) -> Option<T> {
        self.tls.as_ref().and_then(|tls| tls.borrow().connection.agreed().map(look))
    }

    /// Whether what is said is sealed.
    pub fn is_sealed(&self) -> bool {
        self.tls.is_some()
    }

    /// What was agreed on by ALPN; none without TLS.
    pub fn agreed_protocol(&self) -> Option<Option<Box<[u8]>>> {
        let tls = self.tls.as_ref()?.borrow();
        Some(tls.connection.agreed().and_then(|agreed| agreed.protocol.clone()))
    }

    /// Appends the next bytes to `into`; how many. 0 is the end of the stream.
    pub async fn receive(&self, into: &mut Vec<u8>) -> Result<usize, Cause> {
        let before = into.len();
        let Some(tls) = &self.tls else {
            let Some(buffer) = self.next_piece().await? else { return Ok(0) };
            into.extend_from_slice(&buffer);
            return Ok(buffer.len());
        };
        into.append(&mut tls.borrow_mut().early);
        while into.len() == before {
            if tls.borrow().connection.peer_closed() {
                return Ok(0);
            }
            let Some(mut buffer) = self.next_piece().await? else { return Ok(0) };
            let mut plain = Gathered::default();
            tls.borrow_mut().connection.receive(buffer.bytes_mut(), &mut plain)?;
            into.append(&mut plain.into_bytes());
        }
        Ok(into.len() - before)
    }

    /// Sends all of `bytes`, where nothing is to be done before the other side says something: that
    /// they have left is learned when something else happens, which spares a turn of the engine.
    pub async fn ask(&self, bytes: &[u8]) -> Result<(), Cause> {
        self.send_parts(bytes, true).await
    }

    /// Sends all of `bytes`.
    pub async fn send(&self, bytes: &[u8]) -> Result<(), Cause> {
        self.send_parts(bytes, false).await
    }

    async fn send_parts(&self, bytes: &[u8], quietly: bool) -> Result<(), Cause> {
        for part in bytes.chunks(RECORD) {
            let mut block = Block::new(&self.engine, BlockSize::One);
            match &self.tls {
                None => block.append(part).ok_or(Cause::Memory)?,
                Some(tls) => {
                    let mut tls = tls.borrow_mut();
                    debug_assert!(
                        tls.connection.output_len() + overhead(part.len()) + part.len()
                            <= block.room().len(),
                        "a block holds a record and what goes before it"
                    );
                    let length = tls.connection.encrypt(part, block.room())?;
                    block.fill(length);
                }
            }
            if quietly {
                finish(self.socket.send_beside(block, &self.socket.receive())).await?;
            } else {
                self.send_block(block).await?;
            }
        }
        Ok(())
    }

    /// Seals as much of `bytes` as a block takes; how much that was.
    pub fn seal(&self, bytes: &[u8]) -> Result<(Block, usize), Cause> {
        let mut block = Block::new(&self.engine, BlockSize::Several);
        let count = bytes.len().min(SEALED_AT_ONCE);
        let Some(tls) = &self.tls else { return Err(Cause::Tls("tls")) };
        let length = tls.borrow_mut().connection.encrypt(&bytes[..count], block.room())?;
        block.fill(length);
        Ok((block, count))
    }

    /// Opens what was read: what it says goes to `room`. How much that is, and whether it was the
    /// end.
    pub fn open(&self, bytes: &mut [u8], room: &mut [u8]) -> Result<(usize, bool), Cause> {
        let Some(tls) = &self.tls else { return Err(Cause::Tls("tls")) };
        let (mut opened, connection) = (Room::new(room), &mut tls.borrow_mut().connection);
        connection.receive(bytes, &mut opened)?;
        Ok((opened.filled(), connection.peer_closed()))
    }

    /// Ends what is being received, so that `read` may follow; what had come says so much.
    pub async fn settle(&self) -> Result<Vec<u8>, Cause> {
        let Some(tls) = &self.tls else { return Ok(Vec::new()) };
        let mut early = std::mem::take(&mut tls.borrow_mut().early);
        self.socket.recall();
        while self.socket.is_receiving() {
            match self.socket.receive().await {
                Ok(Some(mut buffer)) => {
                    let mut plain = Gathered::default();
                    tls.borrow_mut().connection.receive(buffer.bytes_mut(), &mut plain)?;
                    early.append(&mut plain.into_bytes());
                }
                Ok(None) => return Err(Cause::Closed),
                Err(error) if Errno::from_io_error(&error) == Some(Errno::CANCELED) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(early)
    }

    /// Reads what is there as it is; none: nothing is. 0 is the end of the stream.
    pub fn read(&self, room: &mut [u8]) -> Result<Option<usize>, Cause> {
        moved(self.socket.read(room))
    }

    /// The same without looking at it.
    pub fn skip(&self, length: usize) -> Result<Option<usize>, Cause> {
        moved(self.socket.skip(length))
    }

    /// Writes as it is what there is room for; none: there is none.
    pub fn write(&self, bytes: &[u8]) -> Result<Option<usize>, Cause> {
        moved(self.socket.write(bytes))
    }

    pub async fn readable(&self) -> Result<(), Cause> {
        self.socket.ready(Interest::READ).await?;
        Ok(())
    }

    pub async fn writable(&self) -> Result<(), Cause> {
        self.socket.ready(Interest::WRITE).await?;
        Ok(())
    }

    pub async fn send_block(&self, block: Block) -> Result<(), Cause> {
        finish(self.socket.send(block)).await
    }

    /// The next piece of what the other side says.
    async fn next_piece(&self) -> Result<Option<Buffer>, Cause> {
        loop {
            match self.socket.receive().await {
                // A send without room has recalled it; nothing is lost.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::CANCELED) => {}
                received => return Ok(received?),
            }
        }
    }

    /// Says that nothing more will be sent.
    pub async fn end(&self) -> Result<(), Cause> {
        if let Some(tls) = &self.tls {
            let mut block = Block::new(&self.engine, BlockSize::One);
            {
                let connection = &mut tls.borrow_mut().connection;
                connection.close()?;
                let length = connection.take_output(block.room());
                block.fill(length);
            }
            self.send_block(block).await?;
        }
        Ok(self.socket.shutdown_write()?)
    }

    /// Makes the coming close a reset.
    pub fn reset(&self) {
        self.socket.reset_on_close();
    }
}

fn moved(result: io::Result<usize>) -> Result<Option<usize>, Cause> {
    match result {
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn finish(sending: Send<'_>) -> Result<(), Cause> {
    let mut sending = pin!(sending);
    loop {
        match sending.as_mut().await {
            Sent::Done => return Ok(()),
            Sent::Stalled => {}
            // The engine takes blocks back for others only when its memory is used up.
            Sent::Evicted => return Err(Cause::Memory),
            Sent::Failed(error) => return Err(error.into()),
        }
    }
}

/// Parts that are sent at once: a record of TLS holds as much, and a block has room for it.
const RECORD: usize = 16 << 10;
/// As many as a block of several buffers has room for.
const SEALED_AT_ONCE: usize = 4 * RECORD;
const OPTIONS: SocketOptions = SocketOptions {
    nodelay: true,
    keepalive: None,
    user_timeout: None,
    receive_buffer: None,
    send_buffer: None,
};
