//! Owns one connection as a stream of bytes, in the clear or in TLS; what they mean is not its
//! concern.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;

use ringmain::engine::driver::SocketOptions;
use ringmain::engine::{Block, BlockSize, Buffer, Engine, Send, Sent, Socket};
use ringmain::tls::{Connection, Gathered, overhead};
use rustix::io::Errno;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use super::cause::Cause;

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
}

impl Channel {
    /// Connects, and shakes hands if `tls` says how.
    pub async fn connect(
        engine: &Engine,
        target: SocketAddr,
        source: Option<IpAddr>,
        tls: Option<&AgentTls>,
    ) -> Result<Channel, Cause> {
        let socket = Socket::open(engine, &target, source, &OPTIONS)?;
        socket.connect(target).await?;
        let channel = Channel { engine: engine.clone(), socket, tls: None };
        match tls {
            Some(AgentTls { config, name }) => {
                let connection = Connection::client(Arc::clone(config), name.clone())?;
                channel.shake_hands(connection).await
            }
            None => Ok(channel),
        }
    }

    /// A connection that was accepted; shakes hands if `tls` says how.
    pub async fn accept(
        engine: &Engine,
        socket: Socket,
        tls: Option<&Arc<ServerConfig>>,
    ) -> Result<Channel, Cause> {
        let channel = Channel { engine: engine.clone(), socket, tls: None };
        match tls {
            Some(config) => {
                let connection = Connection::server(Arc::clone(config))?;
                channel.shake_hands(connection).await
            }
            None => Ok(channel),
        }
    }

    async fn shake_hands(mut self, mut connection: Connection) -> Result<Channel, Cause> {
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
            connection.receive(buffer.bytes_mut(), &mut early)?;
        }
    }

    /// Whether the session of TLS was resumed; none without TLS.
    pub fn is_resumed(&self) -> Option<bool> {
        self.tls.as_ref().and_then(|tls| Some(tls.borrow().connection.agreed()?.resumed))
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

    async fn send_block(&self, block: Block) -> Result<(), Cause> {
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
const OPTIONS: SocketOptions = SocketOptions {
    nodelay: true,
    keepalive: None,
    user_timeout: None,
    receive_buffer: None,
    send_buffer: None,
};
