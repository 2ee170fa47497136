//! Owns a client's connection to the proxy: its socket, and TLS on it where the work has TLS. When
//! to send, and what, is the client's.

use std::io::IoSlice;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, send, sendmsg, shutdown,
};

use super::Fault;
use super::dialer::Dialer;
use super::poller::is_end;
use super::tls::{Handshake, Piece, Progress, Records};

pub struct Channel {
    socket: OwnedFd,
    layer: Layer,
    /// The client has ended its stream.
    has_ended: bool,
}

enum Layer {
    Plain,
    Handshake(Box<Handshake>),
    Records(Box<Records>),
    /// While one becomes the other, and after a fault there, which ends the run.
    Between,
}

/// How far a channel is from carrying the first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    Open,
    /// The server has to say more.
    Answer,
    /// The socket takes nothing yet: it is not connected.
    Room,
}

/// What has become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Whole,
    /// The socket takes nothing now, and the message is not kept.
    Nothing,
}

/// What has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    Bytes(usize),
    /// Nothing of the stream.
    Nothing,
    /// The end of the stream.
    End,
}

impl Channel {
    pub fn plain(socket: OwnedFd) -> Self {
        Self { socket, layer: Layer::Plain, has_ended: false }
    }

    pub fn with_tls(socket: OwnedFd, handshake: Handshake) -> Self {
        Self { socket, layer: Layer::Handshake(Box::new(handshake)), has_ended: false }
    }

    /// Brings the handshake on, if there is one. The client's last flight of it is left to be sent
    /// with the first message.
    pub fn open(&mut self, dialer: &mut Dialer) -> Result<Opening, Fault> {
        let Layer::Handshake(handshake) = &mut self.layer else {
            return Ok(Opening::Open);
        };
        let outgoing = handshake.outgoing();
        if !outgoing.is_empty() {
            let sent = send_whole(&self.socket, outgoing).map_err(|_| Fault::ConnectFailed)?;
            if sent == Sent::Nothing {
                return Ok(Opening::Room);
            }
            outgoing.clear();
            return Ok(Opening::Answer);
        }
        let mut buffer = [0; FLIGHT];
        loop {
            let length = match recv(&self.socket, &mut buffer, RecvFlags::empty()) {
                Ok((length, _)) if length > 0 => length,
                Err(Errno::AGAIN) => return Ok(Opening::Answer),
                Ok(_) | Err(_) => return Err(Fault::ClosedEarly),
            };
            if handshake.advance(&buffer[..length])? == Progress::Complete {
                break;
            }
        }
        if let Layer::Handshake(handshake) = mem::replace(&mut self.layer, Layer::Between) {
            dialer.inspect(handshake.state());
            self.layer = Layer::Records(Box::new(handshake.into_records()?));
        }
        Ok(Opening::Open)
    }

    /// The same, when an event has come.
    pub fn open_on(&mut self, flags: EventFlags, dialer: &mut Dialer) -> Result<Opening, Fault> {
        if !is_end(flags) {
            return self.open(dialer);
        }
        if let Layer::Plain = self.layer {
            return Err(Fault::ConnectFailed);
        }
        // What the server has said before it ended may tell why.
        self.open(dialer)?;
        Err(Fault::ClosedEarly)
    }

    /// Sends a short message on an open channel. Once there was room for one there always is: a
    /// line has one on its way at most.
    pub fn send(&mut self, message: &[u8]) -> Result<Sent, Fault> {
        let Layer::Records(records) = &mut self.layer else {
            return send_whole(&self.socket, message);
        };
        records.write(message)?;
        self.flush_whole()?;
        Ok(Sent::Whole)
    }

    /// Receives what has come of a message, which is less than `bytes` can hold: more is a fault or
    /// fills them.
    pub fn receive(&mut self, bytes: &mut [u8]) -> Result<Received, Fault> {
        let Layer::Records(records) = &mut self.layer else {
            return match recv(&self.socket, bytes, RecvFlags::empty()) {
                Ok((0, _)) => Ok(Received::End),
                Ok((length, _)) => Ok(Received::Bytes(length)),
                Err(Errno::AGAIN) => Ok(Received::Nothing),
                Err(_) => Err(Fault::ClosedEarly),
            };
        };
        let mut buffer = [0; ANSWER];
        let mut filled = 0;
        loop {
            let length = match recv(&self.socket, &mut buffer, RecvFlags::empty()) {
                Ok((0, _)) if filled > 0 => break,
                // Some servers answer the end of a client with that of the socket alone.
                Ok((0, _)) if records.has_ended() || self.has_ended => return Ok(Received::End),
                Ok((length, _)) if length > 0 => length,
                Err(Errno::AGAIN) => break,
                Ok(_) | Err(_) => return Err(Fault::ClosedEarly),
            };
            records.read(&buffer[..length], |piece| match piece {
                Piece::Bytes(piece) => {
                    let target = bytes.get_mut(filled..filled + piece.len());
                    target.ok_or(Fault::WrongBytes)?.copy_from_slice(piece);
                    filled += piece.len();
                    Ok(())
                }
                Piece::Unseen(_) => Err(Fault::WrongBytes),
            })?;
            // After the end of TLS comes the end of the socket, and no event may tell.
            if length < buffer.len() && !records.has_ended() {
                break;
            }
        }
        Ok(if filled > 0 { Received::Bytes(filled) } else { Received::Nothing })
    }

    /// Ends the client's stream.
    pub fn end(&mut self) -> Result<(), Fault> {
        if let Layer::Records(records) = &mut self.layer {
            records.end()?;
            self.flush_whole()?;
        }
        self.has_ended = true;
        shutdown(&self.socket, Shutdown::Write).map_err(|_| Fault::ClosedEarly)
    }

    /// The socket of an open channel, and the records on it where there is TLS.
    pub fn parts(&mut self) -> (BorrowedFd<'_>, Option<&mut Records>) {
        let records = match &mut self.layer {
            Layer::Records(records) => Some(&mut **records),
            _ => None,
        };
        (self.socket.as_fd(), records)
    }

    /// Sends what is sealed, as far as there is room for it. Returns whether that was all.
    pub fn flush(&mut self) -> Result<bool, Fault> {
        let Layer::Records(records) = &mut self.layer else {
            return Ok(true);
        };
        while !records.is_flushed() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = records.outgoing(&mut slices);
            let mut control = SendAncillaryBuffer::default();
            match sendmsg(&self.socket, &slices[..count], &mut control, SendFlags::NOSIGNAL) {
                Ok(length) => records.sent(length),
                Err(Errno::AGAIN) => return Ok(false),
                Err(_) => return Err(Fault::ClosedEarly),
            }
        }
        Ok(true)
    }

    fn flush_whole(&mut self) -> Result<(), Fault> {
        if self.flush()? { Ok(()) } else { Err(Fault::ShortWrite) }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn send_whole(socket: &OwnedFd, bytes: &[u8]) -> Result<Sent, Fault> {
    match send(socket, bytes, SendFlags::NOSIGNAL) {
        Ok(length) if length == bytes.len() => Ok(Sent::Whole),
        Ok(_) => Err(Fault::ShortWrite),
        Err(Errno::AGAIN) => Ok(Sent::Nothing),
        Err(_) => Err(Fault::ClosedEarly),
    }
}

/// A server's flight fits with a certificate that has no intermediates.
const FLIGHT: usize = 4096;
/// An answer fits, with the tickets that may come before it.
const ANSWER: usize = 1024;
/// Records that one system call sends.
const SLICES: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::Work;
    use super::super::tls::pair::Pair;
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    /// An open channel, the server's end of its socket, and what the server says on it.
    fn channel() -> (Channel, OwnedFd, Pair) {
        let flags = SocketFlags::NONBLOCK;
        let (socket, other) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        let mut pair = Pair::new(Work::TlsConnect.terms().unwrap());
        let layer = Layer::Records(Box::new(pair.agree()));
        (Channel { socket, layer, has_ended: false }, other, pair)
    }

    #[test]
    fn what_comes_with_tickets_and_with_the_end_is_received() {
        let (mut channel, other, mut pair) = channel();
        pair.say(b"answer");
        pair.server.send_close_notify();
        send_whole(&other, &pair.said()).unwrap();
        drop(other);
        let mut bytes = [0; 100];
        assert_eq!(channel.receive(&mut bytes), Ok(Received::Bytes(6)));
        assert_eq!(&bytes[..6], b"answer");
        assert_eq!(channel.receive(&mut bytes), Ok(Received::End));
    }

    #[test]
    fn more_than_was_asked_for_is_a_fault() {
        let (mut channel, other, mut pair) = channel();
        pair.say(b"answer");
        send_whole(&other, &pair.said()).unwrap();
        assert_eq!(channel.receive(&mut [0; 5]), Err(Fault::WrongBytes));
    }

    #[test]
    fn the_end_of_the_socket_is_that_of_the_stream_for_a_client_that_has_ended_alone() {
        let (mut channel, other, _pair) = channel();
        assert_eq!(channel.receive(&mut [0; 1]), Ok(Received::Nothing));
        shutdown(&other, Shutdown::Write).unwrap();
        assert_eq!(channel.receive(&mut [0; 1]), Err(Fault::ClosedEarly));
        channel.end().unwrap();
        assert_eq!(channel.receive(&mut [0; 1]), Ok(Received::End));
    }
}
