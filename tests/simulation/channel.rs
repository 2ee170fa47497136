//! One end of a connection as the actors use it: bytes, an end, an error, the same in the clear and
//! through TLS. Decides nothing about when to do what.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use ringmain::engine::driver::simulated::{EndpointId, Peers};
use ringmain::tls::{Connection, Gathered, overhead};

use crate::security::{Clock, Wire};

pub struct Channel {
    end: EndpointId,
    /// `None`: in the clear.
    tls: Option<Box<Tls>>,
}

/// What a TLS connection holds beside its own state.
struct Tls {
    connection: Connection,
    clock: Arc<Clock>,
    /// In the clear, and not read yet.
    plain: Vec<u8>,
    /// Encrypted, and not written yet.
    records: Vec<u8>,
    /// It has said that it will send no more.
    closed: bool,
    /// The other's stream has ended, and nothing had said that it would.
    cut: bool,
}

impl Channel {
    pub fn new(end: EndpointId, wire: &Wire) -> Channel {
        let tls = wire.connection().map(|(connection, clock)| {
            let (plain, records) = Default::default();
            Box::new(Tls { connection, clock, plain, records, closed: false, cut: false })
        });
        Channel { end, tls }
    }

    /// Whether the connection came about, without a word about its TLS. To be asked until it did.
    pub fn is_connected(&self, peers: &mut Peers<'_>) -> io::Result<bool> {
        peers.is_connected(self.end)
    }

    pub fn is_plain(&self) -> bool {
        self.tls.is_none()
    }

    /// Nothing can be said yet but what belongs to TLS.
    fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.connection.is_handshaking())
    }

    /// What ended was cut short, or may have been.
    pub fn is_cut(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.cut)
    }

    /// 0 is the end of the stream, or where it was cut.
    pub fn read(&mut self, peers: &mut Peers<'_>, into: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return peers.read(self.end, into) };
        tls.clock.set(peers.now());
        let mut received = [0; 4096];
        while tls.plain.is_empty() && !tls.connection.peer_closed() && !tls.cut {
            match peers.read(self.end, &mut received)? {
                0 if tls.connection.is_handshaking() => return Err(ErrorKind::UnexpectedEof.into()),
                0 => tls.cut = true,
                length => tls.take(&mut received[..length])?,
            }
        }
        let length = tls.plain.len().min(into.len());
        into[..length].copy_from_slice(&tls.plain[..length]);
        tls.plain.drain(..length);
        Ok(length)
    }

    /// Writes all or nothing of `data` when there is TLS: what the network does not take at once
    /// goes with `flush`, and until then nothing more is taken.
    pub fn write(&mut self, peers: &mut Peers<'_>, data: &[u8]) -> io::Result<usize> {
        if !self.flush(peers)? || self.is_handshaking() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let Some(tls) = &mut self.tls else { return peers.write(self.end, data) };
        let mut room = vec![0; data.len() + overhead(data.len())];
        let length = tls.connection.encrypt(data, &mut room).map_err(invalid)?;
        tls.records.extend_from_slice(&room[..length]);
        self.flush(peers)?;
        Ok(data.len())
    }

    /// Writes what TLS has to say; whether all of it is written. To be called at each step.
    pub fn flush(&mut self, peers: &mut Peers<'_>) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        tls.clock.set(peers.now());
        tls.gather();
        while !tls.records.is_empty() {
            match peers.write(self.end, &tls.records) {
                Ok(length) => drop(tls.records.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Ends the stream, by the notice of TLS and then by that of TCP; whether that is done.
    pub fn shutdown_write(&mut self, peers: &mut Peers<'_>) -> io::Result<bool> {
        self.say_end()?;
        self.cut_write(peers)
    }

    /// Ends the stream without a word of TLS.
    pub fn cut_write(&mut self, peers: &mut Peers<'_>) -> io::Result<bool> {
        let flushed = self.flush(peers)?;
        if flushed {
            peers.shutdown_write(self.end)?;
        }
        Ok(flushed)
    }

    /// Ends the stream in order and closes; whether that is done.
    pub fn close(&mut self, peers: &mut Peers<'_>) -> io::Result<bool> {
        self.say_end()?;
        // Whoever is gone needs not be told.
        let flushed = self.flush(peers).unwrap_or(true);
        if flushed {
            peers.close(self.end);
        }
        Ok(flushed)
    }

    /// Closes without a word of TLS.
    pub fn abandon(&mut self, peers: &mut Peers<'_>) {
        peers.close(self.end);
    }

    pub fn reset(&mut self, peers: &mut Peers<'_>) {
        peers.reset(self.end);
    }

    fn say_end(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls
            && !tls.closed
        {
            tls.closed = true;
            tls.connection.close().map_err(invalid)?;
        }
        Ok(())
    }
}

impl Tls {
    fn take(&mut self, received: &mut [u8]) -> io::Result<()> {
        let mut heard = Gathered::default();
        let received = self.connection.receive(received, &mut heard);
        self.plain.extend_from_slice(&heard.into_bytes());
        received.map_err(invalid)
    }

    fn gather(&mut self) {
        let before = self.records.len();
        self.records.resize(before + self.connection.output_len(), 0);
        self.connection.take_output(&mut self.records[before..]);
    }
}

/// No one here sends what makes no sense: the actor that sees it fails the run.
fn invalid(failure: ringmain::tls::Failure) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, failure.to_string())
}
