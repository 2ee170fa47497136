//! The records of a connection of TLS 1.3 once hands are shaken (RFC 8446, sections 4.6, 5 and 6):
//! opened from where they were received to where they are wanted, and sealed likewise, with no copy
//! between. What they carry besides data is dealt with here: tickets, changes of keys, alerts.
//!
//! rustls has made the keys, makes those that follow, and keeps the tickets.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, Error, ExtractedSecrets,
    HandshakeType, InvalidMessage, PeerMisbehaved, SupportedCipherSuite,
};

use super::connection::{Failure, Plain};

/// Both directions of an established connection.
pub(super) struct Records {
    opening: Key,
    sealing: Key,
    source: Source,
    /// How many records one key may protect.
    limit: u64,
    /// The beginning of a message of which the rest has not come.
    joined: Vec<u8>,
    /// Records in a row that said nothing.
    fruitless: u8,
    /// An answer to a change of keys waits to be sent; one is enough for several.
    answering: bool,
}

/// Where keys and tickets come from and go to.
enum Source {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

/// What protects one direction.
struct Key {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
}

/// What a record means for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// It goes on.
    On,
    /// The peer will send no more.
    Closed,
}

impl Records {
    pub(super) fn of_server(server: UnbufferedServerConnection) -> Result<Records, Failure> {
        let (secrets, connection) = server.dangerous_into_kernel_connection()?;
        let limit = limit_of(&connection);
        Records::new(secrets, Source::Server(connection), limit)
    }

    pub(super) fn of_client(client: UnbufferedClientConnection) -> Result<Records, Failure> {
        let (secrets, connection) = client.dangerous_into_kernel_connection()?;
        let limit = limit_of(&connection);
        Records::new(secrets, Source::Client(connection), limit)
    }

    fn new(secrets: ExtractedSecrets, source: Source, limit: u64) -> Result<Records, Failure> {
        Ok(Records {
            opening: Key::new(secrets.rx)?,
            sealing: Key::new(secrets.tx)?,
            source,
            limit,
            joined: Vec::new(),
            fruitless: 0,
            answering: false,
        })
    }

    /// The record that `bytes` begin with, once it is there as a whole. What cannot become one is
    /// refused at once.
    pub(super) fn first(bytes: &[u8]) -> Result<Option<&[u8]>, Failure> {
        if let Some(kind) = bytes.first().filter(|kind| **kind != DATA) {
            return Err(not_data(*kind));
        }
        let [_, _, _, high, low, ..] = *bytes else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > SEALED_MAX {
            return Err(Error::PeerSentOversizedRecord.into());
        }
        Ok(bytes.get(..HEADER + length))
    }

    /// Opens a whole record. What it says goes to `plain`, and what has to be answered to `output`.
    pub(super) fn open(
        &mut self,
        record: &[u8],
        plain: &mut dyn Plain,
        output: &mut Vec<u8>,
    ) -> Result<Opened, Failure> {
        let (header, sealed) = record.split_at(HEADER);
        let length = sealed.len().checked_sub(TAG).ok_or(Error::DecryptError)?;
        let (sealed, tag) = sealed.split_at(length);
        let text = plain.place(length).ok_or(Failure::NoRoom)?;
        let nonce = self.opening.nonce()?;
        self.opening
            .key
            .open_separate_gather(nonce, Aad::from(header), sealed, tag, text)
            .map_err(|_| Error::DecryptError)?;
        // The kind is the last byte that is not padding.
        let end = text
            .iter()
            .rposition(|byte| *byte != 0)
            .ok_or(misbehaved(PeerMisbehaved::IllegalTlsInnerPlaintext))?;
        if end > RECORD {
            return Err(Error::PeerSentOversizedRecord.into());
        }
        if text[end] == DATA {
            plain.keep(end);
            return self.heard_data(end);
        }
        let (kind, message) = (text[end], text[..end].to_vec());
        match kind {
            ALERT => self.heard_alert(&message),
            HANDSHAKE => self.heard_messages(&message, output).map(|()| Opened::On),
            _ => Err(invalid(InvalidMessage::InvalidContentType)),
        }
    }

    fn heard_data(&mut self, length: usize) -> Result<Opened, Failure> {
        if !self.joined.is_empty() {
            return Err(misbehaved(PeerMisbehaved::MessageInterleavedWithHandshakeMessage));
        }
        if length > 0 {
            self.fruitless = 0;
            return Ok(Opened::On);
        }
        self.said_nothing(PeerMisbehaved::TooManyEmptyFragments).map(|()| Opened::On)
    }

    fn heard_alert(&mut self, message: &[u8]) -> Result<Opened, Failure> {
        let [_, description] = *message else {
            return Err(invalid(match message {
                [] => InvalidMessage::InvalidEmptyPayload,
                _ => InvalidMessage::MissingData("AlertMessagePayload"),
            }));
        };
        match AlertDescription::from(description) {
            AlertDescription::CloseNotify => Ok(Opened::Closed),
            // An end follows it.
            AlertDescription::UserCanceled => {
                self.said_nothing(PeerMisbehaved::TooManyWarningAlertsReceived).map(|()| Opened::On)
            }
            description => Err(Failure::Alert(description)),
        }
    }

    /// Messages may begin and end anywhere in records.
    fn heard_messages(&mut self, part: &[u8], output: &mut Vec<u8>) -> Result<(), Failure> {
        if part.is_empty() {
            return Err(invalid(InvalidMessage::InvalidEmptyPayload));
        }
        let mut joined = std::mem::take(&mut self.joined);
        joined.extend_from_slice(part);
        let mut rest = &joined[..];
        self.said_nothing(PeerMisbehaved::TooManyEmptyFragments)?;
        while let [kind, high, middle, low, after @ ..] = rest {
            let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
            if length > MESSAGE_MAX {
                return Err(invalid(InvalidMessage::HandshakePayloadTooLarge));
            }
            let Some((message, after)) = after.split_at_checked(length) else { break };
            rest = after;
            self.heard_message(*kind, message, rest.is_empty(), output)?;
        }
        self.joined = rest.to_vec();
        Ok(())
    }

    fn heard_message(
        &mut self,
        kind: u8,
        message: &[u8],
        last: bool,
        output: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        match (kind, &mut self.source) {
            (NEW_SESSION_TICKET, Source::Client(client)) => {
                Ok(client.handle_new_session_ticket(message)?)
            }
            // What follows is under other keys, so it cannot be in the same record.
            (KEY_UPDATE, _) if !last => {
                Err(misbehaved(PeerMisbehaved::KeyEpochWithPendingFragment))
            }
            (KEY_UPDATE, source) => {
                self.opening = Key::new(source.next_opening()?)?;
                match *message {
                    [UPDATE_NOT_REQUESTED] => Ok(()),
                    [UPDATE_REQUESTED] => self.answer_update(output),
                    [_] => Err(invalid(InvalidMessage::InvalidKeyUpdate)),
                    [] => Err(invalid(InvalidMessage::MissingData("KeyUpdateRequest"))),
                    [..] => Err(invalid(InvalidMessage::TrailingData("KeyUpdateRequest"))),
                }
            }
            _ => Err(Error::InappropriateHandshakeMessage {
                expect_types: vec![HandshakeType::KeyUpdate],
                got_type: kind.into(),
            }
            .into()),
        }
    }

    fn answer_update(&mut self, output: &mut Vec<u8>) -> Result<(), Failure> {
        if std::mem::replace(&mut self.answering, true) {
            return Ok(());
        }
        let mut room = [0; 64];
        let length = self.update(&mut room)?;
        output.extend_from_slice(&room[..length]);
        Ok(())
    }

    /// What was to be sent is on its way.
    pub(super) fn answered(&mut self) {
        self.answering = false;
    }

    /// Such records cost the peer little and us much.
    fn said_nothing(&mut self, misbehaviour: PeerMisbehaved) -> Result<(), Failure> {
        self.fruitless += 1;
        if self.fruitless > FRUITLESS_MAX { Err(misbehaved(misbehaviour)) } else { Ok(()) }
    }

    /// Seals data into as many records as it takes; how much of `room` that was.
    pub(super) fn seal(&mut self, data: &[u8], room: &mut [u8]) -> Result<usize, Failure> {
        let mut written = 0;
        for piece in data.chunks(RECORD) {
            if self.sealing.sequence >= self.limit {
                written += self.update(&mut room[written..])?;
            }
            written += self.sealing.seal(DATA, piece, &mut room[written..])?;
        }
        Ok(written)
    }

    /// Changes the keys of what is sent, and says so.
    fn update(&mut self, room: &mut [u8]) -> Result<usize, Failure> {
        let message = [KEY_UPDATE, 0, 0, 1, UPDATE_NOT_REQUESTED];
        let written = self.sealing.seal(HANDSHAKE, &message, room)?;
        self.sealing = Key::new(self.source.next_sealing()?)?;
        Ok(written)
    }

    /// Says that nothing more will be sent.
    pub(super) fn close(&mut self, output: &mut Vec<u8>) -> Result<(), Failure> {
        self.alert(WARNING, AlertDescription::CloseNotify, output)
    }

    /// Tells the peer what was wrong with what it sent; the failure with the alert for it.
    pub(super) fn refuse(&mut self, failure: Failure, output: &mut Vec<u8>) -> Failure {
        let Some(alert) = answer(&failure) else { return failure };
        match self.alert(FATAL, alert, output) {
            Ok(()) => Failure::Answered(Box::new(failure), alert),
            // Without keys that last there is nothing to tell it with.
            Err(_) => failure,
        }
    }

    fn alert(
        &mut self,
        level: u8,
        description: AlertDescription,
        output: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let mut room = [0; 64];
        let length = self.sealing.seal(ALERT, &[level, description.into()], &mut room)?;
        output.extend_from_slice(&room[..length]);
        Ok(())
    }
}

/// The alert that answers a failure.
fn answer(failure: &Failure) -> Option<AlertDescription> {
    match failure {
        // Nobody is told of our own mistakes, nor of what it said itself.
        Failure::Alert(_) | Failure::KeysExhausted | Failure::NoName | Failure::NoRoom => None,
        Failure::Protocol(Error::DecryptError) => Some(AlertDescription::BadRecordMac),
        Failure::Protocol(Error::PeerSentOversizedRecord) => Some(AlertDescription::RecordOverflow),
        Failure::Protocol(
            Error::PeerMisbehaved(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            // Nothing at all in what must not be empty (RFC 8446, section 5.4).
            | Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::InvalidEmptyPayload,
            ),
        ) => Some(AlertDescription::UnexpectedMessage),
        Failure::Protocol(Error::InvalidMessage(InvalidMessage::InvalidKeyUpdate)) => {
            Some(AlertDescription::IllegalParameter)
        }
        Failure::Protocol(_) | Failure::Certificate(_) => Some(AlertDescription::DecodeError),
        Failure::Answered(_, alert) => Some(*alert),
    }
}

impl Source {
    fn next_opening(&mut self) -> Result<(u64, ConnectionTrafficSecrets), Error> {
        match self {
            Source::Server(server) => server.update_rx_secret(),
            Source::Client(client) => client.update_rx_secret(),
        }
    }

    fn next_sealing(&mut self) -> Result<(u64, ConnectionTrafficSecrets), Error> {
        match self {
            Source::Server(server) => server.update_tx_secret(),
            Source::Client(client) => client.update_tx_secret(),
        }
    }
}

impl Key {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Key, Failure> {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(Failure::Protocol(Error::EncryptError)),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| Error::EncryptError)?;
        let iv = iv.as_ref().try_into().map_err(|_| Error::EncryptError)?;
        Ok(Key { key: LessSafeKey::new(key), iv, sequence })
    }

    /// That of the next record; none is ever used twice (RFC 8446, section 5.3).
    fn nonce(&mut self) -> Result<Nonce, Failure> {
        let mut nonce = self.iv;
        for (byte, number) in nonce[NONCE_LEN - 8..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        self.sequence = self.sequence.checked_add(1).ok_or(Failure::KeysExhausted)?;
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    /// Writes one record; how long it is.
    fn seal(&mut self, kind: u8, text: &[u8], room: &mut [u8]) -> Result<usize, Failure> {
        let sealed = text.len() + 1 + TAG;
        let record = room.get_mut(..HEADER + sealed).ok_or(Failure::NoRoom)?;
        let (header, record) = record.split_at_mut(HEADER);
        let [high, low] = u16::try_from(sealed).map_err(|_| Failure::NoRoom)?.to_be_bytes();
        header.copy_from_slice(&[DATA, LEGACY[0], LEGACY[1], high, low]);
        let (sealed, rest) = record.split_at_mut(text.len());
        let nonce = self.nonce()?;
        self.key
            .seal_out_of_place_scatter(nonce, Aad::from(&*header), text, sealed, &[kind], rest)
            .map_err(|_| Error::EncryptError)?;
        Ok(HEADER + text.len() + 1 + TAG)
    }
}

fn limit_of<Data>(connection: &KernelConnection<Data>) -> u64 {
    match connection.negotiated_cipher_suite() {
        SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
        // Those connections stay with rustls.
        SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
    }
}

fn misbehaved(how: PeerMisbehaved) -> Failure {
    Error::PeerMisbehaved(how).into()
}

fn invalid(how: InvalidMessage) -> Failure {
    Error::InvalidMessage(how).into()
}

/// Everything is data on its outside by now.
fn not_data(kind: u8) -> Failure {
    let expect_types = vec![ContentType::ApplicationData];
    Error::InappropriateMessage { expect_types, got_type: kind.into() }.into()
}

const HEADER: usize = 5;
const TAG: usize = 16;
/// What a record says at most, sealed and in the clear.
const SEALED_MAX: usize = RECORD + 256;
const RECORD: usize = 1 << 14;
/// What every record says of its version.
const LEGACY: [u8; 2] = [3, 3];
/// The longest message that rustls takes as well.
const MESSAGE_MAX: usize = 0xffff;
/// As many as BoringSSL and rustls put up with.
const FRUITLESS_MAX: u8 = 32;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
const UPDATE_NOT_REQUESTED: u8 = 0;
const UPDATE_REQUESTED: u8 = 1;

const WARNING: u8 = 1;
const FATAL: u8 = 2;

#[cfg(test)]
impl Records {
    pub(super) fn limit_to(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// A record of any kind, as a peer would send it that keeps to nothing.
    pub(super) fn seal_as(&mut self, kind: u8, text: &[u8]) -> Vec<u8> {
        let mut room = vec![0; text.len() + 64];
        let length = self.sealing.seal(kind, text, &mut room).unwrap();
        room.truncate(length);
        room
    }

    /// Goes on under the next keys, after it has said so.
    pub(super) fn follow(&mut self) {
        self.sealing = Key::new(self.source.next_sealing().unwrap()).unwrap();
    }

    /// How many records the key has protected.
    pub(super) fn sealed(&self) -> u64 {
        self.sealing.sequence
    }
}
