//! One side of a TLS connection without a socket: bytes in, bytes out. The one place that knows
//! how rustls wants to be driven; decides nothing about when to read, to send or to give up.

use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, CommonState, Error, HandshakeKind,
    ServerConfig,
};

use super::certificate::owner;

/// A TLS connection of which the bytes are moved by somebody else.
pub struct Connection {
    role: Role,
    /// What was received and not yet used: a part of a record, or of a message in several.
    carry: Vec<u8>,
    /// Records to be sent that carry no data: the handshake's, alerts, changes of keys.
    output: Vec<u8>,
    peer_closed: bool,
    /// What it has failed for.
    failure: Option<Failure>,
}

enum Role {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The peer said so, with this alert.
    Alert(AlertDescription),
    /// The peer's certificate is not trusted.
    Certificate(CertificateError),
    /// The peer asked for what this side does not do, or does not keep to the protocol.
    Protocol(Error),
    /// The keys have protected as much as they may.
    KeysExhausted,
    /// There is no name that the peer could prove to have.
    NoName,
    /// There was no room for what had to be written. A mistake of ours.
    NoRoom,
}

impl Failure {
    /// One word for the log and the metric label.
    pub fn as_str(&self) -> &'static str {
        match self {
            Failure::Alert(_) => "alert-received",
            Failure::Certificate(_) => "certificate",
            Failure::Protocol(Error::PeerIncompatible(_)) => "incompatible",
            Failure::Protocol(Error::NoCertificatesPresented) => "no-certificate",
            Failure::Protocol(Error::NoApplicationProtocol) => "no-application-protocol",
            Failure::Protocol(Error::DecryptError) => "decrypt",
            Failure::Protocol(_) => "protocol",
            Failure::KeysExhausted => "keys-exhausted",
            Failure::NoName => "no-name",
            Failure::NoRoom => "no-room",
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Alert(alert) => write!(f, "the peer sent the alert {alert:?}"),
            Failure::Certificate(error) => write!(f, "the peer's certificate: {error}"),
            Failure::Protocol(error) => error.fmt(f),
            Failure::KeysExhausted => f.write_str("the keys have protected as much as they may"),
            Failure::NoName => f.write_str("there is no name that the backend could prove to have"),
            Failure::NoRoom => f.write_str("no room for what had to be written"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::AlertReceived(alert) => Failure::Alert(alert),
            Error::InvalidCertificate(error) => Failure::Certificate(error),
            error => Failure::Protocol(error),
        }
    }
}

impl From<EncryptError> for Failure {
    fn from(error: EncryptError) -> Failure {
        match error {
            EncryptError::InsufficientSize(_) => Failure::NoRoom,
            EncryptError::EncryptExhausted => Failure::KeysExhausted,
        }
    }
}

impl Connection {
    /// The side that was connected to.
    pub fn server(config: Arc<ServerConfig>) -> Result<Connection, Failure> {
        Ok(Connection::new(Role::Server(Box::new(UnbufferedServerConnection::new(config)?))))
    }

    /// The side that connects, to somebody of this name. Its hello is to be sent at once.
    pub fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Connection, Failure> {
        let role = Role::Client(Box::new(UnbufferedClientConnection::new(config, name)?));
        let mut connection = Connection::new(role);
        connection.receive(&mut [], &mut |_| None)?;
        Ok(connection)
    }

    fn new(role: Role) -> Connection {
        let (carry, output) = (Vec::new(), Vec::new());
        Connection { role, carry, output, peer_closed: false, failure: None }
    }

    /// Takes in what was received, which is decrypted where it lies. What it says in the clear goes
    /// to `plain`, piece by piece; `None` from there means that there was no room.
    pub fn receive(
        &mut self,
        bytes: &mut [u8],
        plain: &mut dyn FnMut(&[u8]) -> Option<()>,
    ) -> Result<(), Failure> {
        let mut rest = bytes;
        while let Some(missing) = self.missing() {
            // Only what completes the record is moved to it; the others are used where they are.
            let (piece, after) = rest.split_at_mut(missing.min(rest.len()));
            rest = after;
            self.carry.extend_from_slice(piece);
            self.use_carry(plain)?;
            if rest.is_empty() {
                return Ok(());
            }
        }
        let used = self.process(rest, plain)?;
        self.carry.extend_from_slice(&rest[used..]);
        Ok(())
    }

    /// How many more bytes the first record needs that was begun; all there are, when the pieces
    /// of a message are gathered. `None`: nothing waits.
    fn missing(&self) -> Option<usize> {
        let length = match self.carry[..] {
            [] => return None,
            [_, _, _, high, low, ..] => HEADER + usize::from(u16::from_be_bytes([high, low])),
            _ => HEADER,
        };
        Some(length.checked_sub(self.carry.len()).filter(|count| *count > 0).unwrap_or(usize::MAX))
    }

    fn use_carry(&mut self, plain: &mut dyn FnMut(&[u8]) -> Option<()>) -> Result<(), Failure> {
        let mut carry = std::mem::take(&mut self.carry);
        let used = self.process(&mut carry, plain)?;
        carry.drain(..used);
        // An idle connection keeps no memory for it.
        if !carry.is_empty() {
            self.carry = carry;
        }
        Ok(())
    }

    fn process(
        &mut self,
        bytes: &mut [u8],
        plain: &mut dyn FnMut(&[u8]) -> Option<()>,
    ) -> Result<usize, Failure> {
        self.check()?;
        let Connection { role, output, peer_closed, .. } = self;
        let processed = match role {
            Role::Server(server) => process(&mut **server, bytes, plain, output, peer_closed),
            Role::Client(client) => process(&mut **client, bytes, plain, output, peer_closed),
        };
        processed.inspect_err(|failure| self.failure = Some(failure.clone()))
    }

    /// A connection that has failed is not used again: it may still hold places in what was
    /// received, which is gone.
    fn check(&self) -> Result<(), Failure> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    /// Encrypts `plain` behind what else is to be sent; how many bytes of `room` that took. There
    /// has to be room for both and for the [`overhead`].
    pub fn encrypt(&mut self, plain: &[u8], room: &mut [u8]) -> Result<usize, Failure> {
        self.write(|traffic, output| {
            let before = output.len();
            let (head, rest) = room.split_at_mut_checked(before).ok_or(Failure::NoRoom)?;
            let written = traffic.encrypt(plain, rest)?;
            head.copy_from_slice(&std::mem::take(output));
            Ok(before + written)
        })
    }

    /// Says that nothing more will be sent; what is to be sent for it is output.
    pub fn close(&mut self) -> Result<(), Failure> {
        self.write(|traffic, output| {
            let mut notice = [0; 64];
            let length = traffic.queue_close_notify(&mut notice)?;
            output.extend_from_slice(&notice[..length]);
            Ok(())
        })
    }

    fn write<T>(
        &mut self,
        write: impl FnOnce(&mut dyn Write, &mut Vec<u8>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.check()?;
        let Connection { role, carry, output, peer_closed, .. } = self;
        match role {
            Role::Server(server) => while_writing(&mut **server, carry, output, peer_closed, write),
            Role::Client(client) => while_writing(&mut **client, carry, output, peer_closed, write),
        }
    }

    /// Whether something is to be sent that no data waits for.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Moves what is to be sent into `room`, as far as it fits; how much that was.
    pub fn take_output(&mut self, room: &mut [u8]) -> usize {
        let length = self.output.len().min(room.len());
        room[..length].copy_from_slice(&self.output[..length]);
        self.output.drain(..length);
        if self.output.is_empty() {
            // An idle connection keeps no memory for it.
            self.output = Vec::new();
        }
        length
    }

    /// Bytes that wait to be sent.
    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    pub fn is_server(&self) -> bool {
        matches!(self.role, Role::Server(_))
    }

    pub fn is_handshaking(&self) -> bool {
        self.state().is_handshaking()
    }

    /// The peer has said that it will send no more.
    pub fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// What was agreed: version, cipher suite, protocol and who the peer is.
    pub fn state(&self) -> &CommonState {
        match &self.role {
            Role::Server(server) => server,
            Role::Client(client) => client,
        }
    }

    /// Whom the peer's certificate speaks for, if it has shown one.
    pub fn peer(&self) -> Option<String> {
        owner(self.state().peer_certificates()?.first()?)
    }

    pub fn is_resumed(&self) -> bool {
        self.state().handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

/// What encrypting `length` bytes adds at most, in front of them what else was to be sent.
pub const fn overhead(length: usize) -> usize {
    (length / RECORD + 1) * 64
}

/// What rustls' two kinds of unbuffered connection have in common.
trait Process {
    type Data;
    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    /// Whether something is to be encoded before anything else is looked at.
    fn has_output(&self) -> bool;
}

impl Process for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }

    fn has_output(&self) -> bool {
        self.wants_write()
    }
}

impl Process for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }

    fn has_output(&self) -> bool {
        self.wants_write()
    }
}

/// What can be written once the handshake is done.
trait Write {
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

/// Goes on as far as `bytes` lead; how many of them were used up. After a failure the alert that
/// tells the peer is output.
fn process<C: Process>(
    connection: &mut C,
    bytes: &mut [u8],
    plain: &mut dyn FnMut(&[u8]) -> Option<()>,
    output: &mut Vec<u8>,
    peer_closed: &mut bool,
) -> Result<usize, Failure> {
    let mut used = 0;
    loop {
        let UnbufferedStatus { mut discard, state } = connection.process(&mut bytes[used..]);
        let error = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    plain(record.payload).ok_or(Failure::NoRoom)?;
                }
                None
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(output, |room| data.encode(room))?;
                None
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                None
            }
            Ok(ConnectionState::PeerClosed) => {
                *peer_closed = true;
                None
            }
            // Early data is off.
            Ok(ConnectionState::ReadEarlyData(_)) => return Err(Failure::NoRoom),
            // What follows an end is not looked at.
            Ok(_) => return Ok(if *peer_closed { bytes.len() } else { used + discard }),
            Err(error) => Some(error),
        };
        used += discard;
        if let Some(error) = error {
            gather_alerts(connection, &mut bytes[used..], output)?;
            return Err(error.into());
        }
    }
}

/// After a failure, what is still to be sent. The connection is not asked for anything else: it
/// would look at what it has failed for once more.
fn gather_alerts<C: Process>(
    connection: &mut C,
    bytes: &mut [u8],
    output: &mut Vec<u8>,
) -> Result<(), Failure> {
    while connection.has_output() {
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

/// Has rustls come to where it takes data, and writes.
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

const HEADER: usize = 5;
/// The most that a record says in the clear (RFC 8446, 5.1).
const RECORD: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;

    use rustls::RootCertStore;
    use rustls::pki_types::PrivateKeyDer;

    /// A client and a server that have not said anything yet.
    struct Pair {
        client: Connection,
        server: Connection,
    }

    fn configs() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
        let made = rcgen::generate_simple_self_signed(["edge.test".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        (Arc::new(client), Arc::new(server))
    }

    fn pair() -> Pair {
        let (client, server) = configs();
        let name = ServerName::try_from("edge.test").unwrap();
        Pair {
            client: Connection::client(client, name).unwrap(),
            server: Connection::server(server).unwrap(),
        }
    }

    fn output(connection: &mut Connection) -> Vec<u8> {
        let mut bytes = vec![0; connection.output_len()];
        assert_eq!(connection.take_output(&mut bytes), bytes.len());
        bytes
    }

    /// What a connection says in the clear when it receives `bytes` in pieces of this length.
    fn received(connection: &mut Connection, bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut said = Vec::new();
        for piece in bytes.to_vec().chunks_mut(piece) {
            let mut plain = |bytes: &[u8]| {
                said.extend_from_slice(bytes);
                Some(())
            };
            connection.receive(piece, &mut plain).unwrap();
        }
        said
    }

    fn shake_hands(pair: &mut Pair, piece: usize) {
        for _ in 0..4 {
            let said = output(&mut pair.client);
            assert!(received(&mut pair.server, &said, piece).is_empty());
            let said = output(&mut pair.server);
            assert!(received(&mut pair.client, &said, piece).is_empty());
        }
        assert!(!pair.client.is_handshaking() && !pair.server.is_handshaking());
        assert!(!pair.client.has_output() && !pair.server.has_output());
    }

    fn encrypted(connection: &mut Connection, plain: &[u8]) -> Vec<u8> {
        let mut room = vec![0; plain.len() + connection.output_len() + overhead(plain.len())];
        let length = connection.encrypt(plain, &mut room).unwrap();
        room.truncate(length);
        room
    }

    #[test]
    fn what_one_side_says_the_other_hears_however_it_is_cut() {
        let text: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        for piece in [1, 5, 6, 100, 16_384, 16_406, 50_000, usize::MAX] {
            let mut pair = pair();
            shake_hands(&mut pair, piece);
            for length in [1, 2, 16_384, 16_385, 100_000] {
                let sent = encrypted(&mut pair.client, &text[..length]);
                assert!(received(&mut pair.server, &sent, piece) == text[..length], "{piece}");
                let sent = encrypted(&mut pair.server, &text[..length]);
                assert!(received(&mut pair.client, &sent, piece) == text[..length], "{piece}");
            }
            assert_eq!(pair.server.carry.capacity(), 0, "an idle connection holds nothing");
        }
    }

    #[test]
    fn many_small_records_are_heard_however_they_are_cut() {
        for piece in [1, 7, 31, 32, 100, usize::MAX] {
            let mut pair = pair();
            shake_hands(&mut pair, usize::MAX);
            let mut sent = Vec::new();
            let mut said = Vec::new();
            for number in 0..200u8 {
                let text = [number; 10];
                sent.extend_from_slice(&encrypted(&mut pair.client, &text));
                said.extend_from_slice(&text);
            }
            let mut heard = Vec::new();
            for part in sent.chunks(1000) {
                heard.extend_from_slice(&received(&mut pair.server, part, piece));
                let answer = encrypted(&mut pair.server, b"meanwhile");
                assert_eq!(received(&mut pair.client, &answer, piece), b"meanwhile");
            }
            assert!(heard == said, "{piece}");
        }
    }

    #[test]
    fn an_end_is_said_and_heard_and_the_other_direction_goes_on() {
        let mut pair = pair();
        shake_hands(&mut pair, usize::MAX);
        pair.client.close().unwrap();
        let said = output(&mut pair.client);
        // What follows the end is not looked at.
        received(&mut pair.server, &[&said[..], b"garbage"].concat(), usize::MAX);
        assert!(pair.server.peer_closed());
        let sent = encrypted(&mut pair.server, b"the answer");
        assert_eq!(received(&mut pair.client, &sent, 3), b"the answer");
        pair.server.close().unwrap();
        let said = output(&mut pair.server);
        received(&mut pair.client, &said, usize::MAX);
        assert!(pair.client.peer_closed());
    }

    #[test]
    fn a_change_of_keys_is_answered_with_what_is_said_next() {
        let mut pair = pair();
        shake_hands(&mut pair, usize::MAX);
        let Role::Client(client) = &mut pair.client.role else { unreachable!() };
        let ConnectionState::WriteTraffic(traffic) =
            client.process_tls_records(&mut []).state.unwrap()
        else {
            panic!("the handshake is done")
        };
        traffic.refresh_traffic_keys().unwrap();
        let sent = encrypted(&mut pair.client, b"under new keys");
        assert_eq!(received(&mut pair.server, &sent, 7), b"under new keys");
        for text in [&b"an answer"[..], b"another"] {
            let sent = encrypted(&mut pair.server, text);
            assert_eq!(received(&mut pair.client, &sent, 7), text);
        }
    }

    #[test]
    fn bytes_that_were_changed_are_refused_with_an_alert() {
        let mut pair = pair();
        shake_hands(&mut pair, usize::MAX);
        let mut sent = encrypted(&mut pair.client, b"hello");
        *sent.last_mut().unwrap() ^= 1;
        let error = pair.server.receive(&mut sent, &mut |_| panic!("nothing is said")).unwrap_err();
        assert_eq!(error.as_str(), "decrypt");
        let mut alert = output(&mut pair.server);
        let heard = pair.client.receive(&mut alert, &mut |_| None).unwrap_err();
        assert_eq!(heard, Failure::Alert(AlertDescription::BadRecordMac));
    }

    #[test]
    fn a_peer_without_anything_in_common_is_told_so() {
        let (_, server) = configs();
        let mut server = Connection::server(server).unwrap();
        let error = server.receive(&mut b"GET / HTTP/1.1\r\n\r\n".to_vec(), &mut |_| None);
        assert_eq!(error.unwrap_err().as_str(), "protocol");
        assert!(server.has_output(), "an alert");
    }

    /// What a server answers to a hello holds several messages in one record: the client that
    /// stops at the first of them still has places in it.
    #[test]
    fn a_failure_within_a_record_is_told_and_lasts() {
        let (client, _) = configs();
        let (_, server) = configs();
        let name = ServerName::try_from("edge.test").unwrap();
        let mut client = Connection::client(client, name).unwrap();
        let mut server = Connection::server(server).unwrap();
        received(&mut server, &output(&mut client), usize::MAX);
        let mut answer = output(&mut server);
        let error = client.receive(&mut answer, &mut |_| None).unwrap_err();
        assert_eq!(error.as_str(), "certificate");
        assert_eq!(client.close(), Err(error.clone()));
        let mut alert = output(&mut client);
        assert!(matches!(server.receive(&mut alert, &mut |_| None), Err(Failure::Alert(_))));
        assert_eq!(client.receive(&mut [0; 10], &mut |_| None), Err(error));
    }

    #[test]
    fn what_does_not_fit_is_said_and_nothing_is_lost_unnoticed() {
        let mut pair = pair();
        shake_hands(&mut pair, usize::MAX);
        assert_eq!(pair.client.encrypt(b"hello", &mut [0; 10]), Err(Failure::NoRoom));
        let mut sent = encrypted(&mut pair.client, b"hello");
        assert_eq!(pair.server.receive(&mut sent, &mut |_| None), Err(Failure::NoRoom));
    }
}
