//! Owns a client's handshake, as bytes in and bytes out; the records after it are not its own.

use rustls::CommonState;
use rustls::client::UnbufferedClientConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};

use super::Records;
use crate::load::Fault;

pub struct Handshake {
    connection: UnbufferedClientConnection,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

/// What a handshake waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More from the server.
    Incomplete,
    /// Nothing. What is outgoing has to be sent before the first record.
    Complete,
}

impl Handshake {
    /// The ClientHello is outgoing.
    pub fn begin(connection: UnbufferedClientConnection) -> Result<Self, rustls::Error> {
        let mut handshake = Self { connection, incoming: Vec::new(), outgoing: Vec::new() };
        handshake.advance(&[])?;
        Ok(handshake)
    }

    /// Takes what has come from the server, and adds to what is outgoing.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Progress, rustls::Error> {
        self.incoming.extend_from_slice(bytes);
        loop {
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(&mut self.incoming);
            let reached = match state? {
                ConnectionState::EncodeTlsData(mut data) => {
                    let start = self.outgoing.len();
                    self.outgoing.resize(start + FLIGHT, 0);
                    let encoded = data.encode(&mut self.outgoing[start..]);
                    let length =
                        encoded.map_err(|error| rustls::Error::General(error.to_string()))?;
                    self.outgoing.truncate(start + length);
                    None
                }
                ConnectionState::TransmitTlsData(data) => {
                    data.done();
                    None
                }
                ConnectionState::BlockedHandshake => Some(Progress::Incomplete),
                ConnectionState::WriteTraffic(_) => Some(Progress::Complete),
                state => return Err(rustls::Error::General(format!("{state:?} in a handshake"))),
            };
            self.incoming.drain(..discard);
            if let Some(progress) = reached {
                return Ok(progress);
            }
        }
    }

    /// What is to be sent; to be emptied by whoever has sent it.
    pub fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing
    }

    pub fn state(&self) -> &CommonState {
        &self.connection
    }

    /// The records of a handshake that is complete. They begin with what is still outgoing.
    pub fn into_records(self) -> Result<Records, Fault> {
        // A server has nothing to say before it knows that the client has finished.
        if !self.incoming.is_empty() {
            return Err(Fault::UnexpectedRecord);
        }
        let (secrets, session) = self.connection.dangerous_into_kernel_connection()?;
        Records::new(secrets, session, self.outgoing)
    }
}

/// More than any flight of a client without a certificate.
const FLIGHT: usize = 4096;
