//! How rustls wants to be driven when somebody else moves the bytes: the handshake of every
//! connection, and the records of TLS 1.2. Asked for once more after a failure it may look at what
//! is gone, so that is for its caller to prevent.

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus, WriteTraffic};
use rustls::{CommonState, Error};

use super::alert::{self, Clue};
use super::connection::{Failure, Plain};
use super::records::Records;

/// One side of a connection.
pub(super) enum Unbuffered {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

impl Unbuffered {
    pub(super) fn state(&self) -> &CommonState {
        match self {
            Unbuffered::Server(server) => server,
            Unbuffered::Client(client) => client,
        }
    }

    /// Goes on as far as `bytes` lead; how many of them were used up. After a failure the alert
    /// that tells the peer is output, and named.
    pub(super) fn process(
        &mut self,
        bytes: &mut [u8],
        plain: &mut dyn Plain,
        output: &mut Vec<u8>,
        peer_closed: &mut bool,
    ) -> Result<usize, Failure> {
        match self {
            Unbuffered::Server(server) => process(&mut **server, bytes, plain, output, peer_closed),
            Unbuffered::Client(client) => process(&mut **client, bytes, plain, output, peer_closed),
        }
    }

    /// Has `write` write something. `carry` was received and has been used as far as it goes.
    pub(super) fn write<T>(
        &mut self,
        carry: &mut [u8],
        output: &mut Vec<u8>,
        peer_closed: &mut bool,
        write: impl FnOnce(&mut dyn Write, &mut Vec<u8>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        match self {
            Unbuffered::Server(server) => {
                while_writing(&mut **server, carry, output, peer_closed, write)
            }
            Unbuffered::Client(client) => {
                while_writing(&mut **client, carry, output, peer_closed, write)
            }
        }
    }

    /// Gives up the connection for its keys, with which its records go on.
    pub(super) fn into_records(self) -> Result<Records, Failure> {
        match self {
            Unbuffered::Server(server) => Records::of_server(*server),
            Unbuffered::Client(client) => Records::of_client(*client),
        }
    }
}

/// What rustls' two kinds of unbuffered connection have in common.
trait Process {
    type Data;
    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    fn state(&self) -> &CommonState;
}

impl Process for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }

    fn state(&self) -> &CommonState {
        self
    }
}

impl Process for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }

    fn state(&self) -> &CommonState {
        self
    }
}

/// What can be written once the handshake is done.
pub(super) trait Write {
    fn encrypt(&mut self, plain: &[u8], room: &mut [u8]) -> Result<usize, Failure>;
    fn queue_close_notify(&mut self, room: &mut [u8]) -> Result<usize, Failure>;
}

impl<Data> Write for WriteTraffic<'_, Data> {
    fn encrypt(&mut self, plain: &[u8], room: &mut [u8]) -> Result<usize, Failure> {
        Ok(WriteTraffic::encrypt(self, plain, room)?)
    }

    fn queue_close_notify(&mut self, room: &mut [u8]) -> Result<usize, Failure> {
        Ok(WriteTraffic::queue_close_notify(self, room)?)
    }
}

fn process<C: Process>(
    connection: &mut C,
    bytes: &mut [u8],
    plain: &mut dyn Plain,
    output: &mut Vec<u8>,
    peer_closed: &mut bool,
) -> Result<usize, Failure> {
    let mut used = 0;
    let mut shown = shown_next(connection, bytes, 0);
    loop {
        let UnbufferedStatus { mut discard, state } = connection.process(&mut bytes[used..shown]);
        let goes_on = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    let place = plain.place(record.payload.len()).ok_or(Failure::NoRoom)?;
                    place.copy_from_slice(record.payload);
                    plain.keep(record.payload.len());
                }
                Ok(true)
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(output, |room| data.encode(room))?;
                Ok(true)
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Ok(true)
            }
            Ok(ConnectionState::PeerClosed) => {
                *peer_closed = true;
                Ok(true)
            }
            // Early data is off.
            Ok(ConnectionState::ReadEarlyData(_)) => return Err(Failure::NoRoom),
            Ok(_) => Ok(false),
            Err(error) => Err(error),
        };
        used += discard;
        match goes_on {
            Ok(true) => {}
            // What follows an end is not looked at.
            Ok(false) if *peer_closed => return Ok(bytes.len()),
            Ok(false) if shown == bytes.len() => return Ok(used),
            Ok(false) => shown = shown_next(connection, bytes, shown),
            Err(error) => {
                let before = output.len();
                gather_alerts(connection, &mut bytes[used..], output)?;
                // What cannot be opened is not used up.
                let clue = Clue { sent: &output[before..], opened_all: used == shown };
                return Err(named(error.into(), clue));
            }
        }
    }
}

/// How much of `bytes` rustls is to see, after so much. While hands are shaken that is a record
/// more, so that it shows which one a failure is about.
fn shown_next<C: Process>(connection: &C, bytes: &[u8], shown: usize) -> usize {
    let record = match &bytes[shown..] {
        [_, _, _, high, low, ..] if connection.state().is_handshaking() => {
            HEADER + usize::from(u16::from_be_bytes([*high, *low]))
        }
        rest => rest.len(),
    };
    bytes.len().min(shown + record)
}

fn named(failure: Failure, clue: Clue<'_>) -> Failure {
    match alert::answer(clue, &failure) {
        Some(alert) => Failure::Answered(Box::new(failure), alert),
        None => failure,
    }
}

/// After a failure, what is still to be sent. The connection is not asked for anything else: it
/// would look at what it has failed for once more.
fn gather_alerts<C: Process>(
    connection: &mut C,
    bytes: &mut [u8],
    output: &mut Vec<u8>,
) -> Result<(), Failure> {
    while connection.state().wants_write() {
        let UnbufferedStatus { state, .. } = connection.process(bytes);
        let Ok(ConnectionState::EncodeTlsData(mut data)) = state else { return Ok(()) };
        encode(output, |room| data.encode(room))?;
    }
    Ok(())
}

/// Appends what rustls encodes, which says how much room it needs.
fn encode(
    output: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), Failure> {
    let before = output.len();
    let mut room = 0;
    loop {
        output.resize(before + room, 0);
        match encode(&mut output[before..]) {
            Ok(written) => {
                output.truncate(before + written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(error)) if error.required_size > room => {
                room = error.required_size;
            }
            Err(_) => return Err(Failure::NoRoom),
        }
    }
}

/// Has rustls come to where it takes data.
fn while_writing<C: Process, T>(
    connection: &mut C,
    carry: &mut [u8],
    output: &mut Vec<u8>,
    peer_closed: &mut bool,
    write: impl FnOnce(&mut dyn Write, &mut Vec<u8>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    loop {
        // What was received has been used as far as it goes, so none of it is used up here.
        let UnbufferedStatus { discard, state } = connection.process(carry);
        debug_assert_eq!(discard, 0, "everything that was received has been used");
        match state? {
            ConnectionState::WriteTraffic(mut traffic) => return write(&mut traffic, output),
            ConnectionState::EncodeTlsData(mut data) => encode(output, |room| data.encode(room))?,
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::PeerClosed => *peer_closed = true,
            _ => return Err(Failure::Protocol(Error::HandshakeNotComplete)),
        }
    }
}

/// Of a record (RFC 8446, section 5.1).
const HEADER: usize = 5;
