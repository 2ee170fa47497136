//! One side of a TLS connection without a socket: bytes in, bytes out. rustls shakes hands; the
//! records that follow are ours in TLS 1.3, and rustls' in TLS 1.2. Decides nothing about when to
//! read, to send or to give up.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::EncryptError;
use rustls::{
    AlertDescription, CertificateError, CipherSuite, ClientConfig, Error, HandshakeKind,
    NamedGroup, ProtocolVersion, ServerConfig,
};

use super::alert::alert_name;
use super::owner::{Owner, owner};
use super::records::{Opened, Records};
use super::unbuffered::Unbuffered;

/// A TLS connection of which the bytes are moved by somebody else.
pub struct Connection {
    stage: Stage,
    /// Known once hands are shaken.
    agreed: Option<Box<Agreed>>,
    /// What was received and not yet used: a part of a record, or of a message in several.
    carry: Vec<u8>,
    /// Records to be sent that carry no data: the handshake's, alerts, changes of keys.
    output: Vec<u8>,
    peer_closed: bool,
    /// What it has failed for. A connection that has failed is not used again.
    failure: Option<Failure>,
}

/// Who deals with what is received and sent.
enum Stage {
    Rustls(Unbuffered),
    Records(Box<Records>),
    /// It failed on the way from one to the other.
    Over,
}

/// What both sides have agreed on.
#[derive(Debug)]
pub struct Agreed {
    pub version: Option<ProtocolVersion>,
    pub suite: Option<CipherSuite>,
    /// In which the keys were agreed on.
    pub group: Option<NamedGroup>,
    /// By ALPN.
    pub protocol: Option<Box<[u8]>>,
    /// Whom the client's certificate speaks for, if this is the server and it has shown one.
    pub peer: Option<Box<Owner>>,
    /// From a ticket, without certificates.
    pub resumed: bool,
    /// The server asked for another hello first.
    pub retried: bool,
    /// This side was connected to.
    pub server: bool,
}

/// Where decrypted bytes go.
pub trait Plain {
    /// Room for so many bytes behind what was kept; `None` if there is less.
    fn place(&mut self, length: usize) -> Option<&mut [u8]>;

    /// Keeps so many bytes of the last place, from its beginning.
    fn keep(&mut self, length: usize);
}

/// Decrypted bytes in memory that is there already.
pub struct Room<'m> {
    memory: &'m mut [u8],
    filled: usize,
}

/// Decrypted bytes, as many as come.
#[derive(Default)]
pub struct Gathered {
    bytes: Vec<u8>,
    kept: usize,
}

impl<'m> Room<'m> {
    pub fn new(memory: &'m mut [u8]) -> Room<'m> {
        Room { memory, filled: 0 }
    }

    /// How many bytes were kept.
    pub fn filled(&self) -> usize {
        self.filled
    }
}

impl Plain for Room<'_> {
    fn place(&mut self, length: usize) -> Option<&mut [u8]> {
        self.memory.get_mut(self.filled..)?.get_mut(..length)
    }

    fn keep(&mut self, length: usize) {
        self.filled += length;
    }
}

impl Gathered {
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.truncate(self.kept);
        self.bytes
    }
}

impl Plain for Gathered {
    fn place(&mut self, length: usize) -> Option<&mut [u8]> {
        self.bytes.resize(self.kept + length, 0);
        self.bytes.get_mut(self.kept..)
    }

    fn keep(&mut self, length: usize) {
        self.kept += length;
    }
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
    /// One of the others, which the peer was told of by this alert.
    Answered(Box<Failure>, AlertDescription),
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
            Failure::Answered(failure, _) => failure.as_str(),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Alert(alert) => write!(f, "the peer sent the alert {}", alert_name(*alert)),
            Failure::Certificate(error) => write!(f, "the peer's certificate: {error}"),
            Failure::Protocol(error) => error.fmt(f),
            Failure::KeysExhausted => f.write_str("the keys have protected as much as they may"),
            Failure::NoName => f.write_str("there is no name that the backend could prove to have"),
            Failure::NoRoom => f.write_str("no room for what had to be written"),
            Failure::Answered(failure, alert) => {
                write!(f, "the alert {} was sent: {failure}", alert_name(*alert))
            }
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
        let server = UnbufferedServerConnection::new(config)?;
        Ok(Connection::new(Unbuffered::Server(Box::new(server))))
    }

    /// The side that connects, to somebody of this name. Its hello is to be sent at once.
    pub fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Connection, Failure> {
        let client = UnbufferedClientConnection::new(config, name)?;
        let mut connection = Connection::new(Unbuffered::Client(Box::new(client)));
        connection.receive(&mut [], &mut Gathered::default())?;
        Ok(connection)
    }

    fn new(unbuffered: Unbuffered) -> Connection {
        Connection {
            stage: Stage::Rustls(unbuffered),
            agreed: None,
            carry: Vec::new(),
            output: Vec::new(),
            peer_closed: false,
            failure: None,
        }
    }

    /// Takes in what was received, which may be decrypted where it lies. What it says in the clear
    /// goes to `plain`.
    pub fn receive(&mut self, bytes: &mut [u8], plain: &mut dyn Plain) -> Result<(), Failure> {
        self.check()?;
        let settled = self.take_in(bytes, plain).and_then(|()| self.settle());
        settled.map_err(|failure| self.failure.insert(failure).clone())
    }

    fn check(&self) -> Result<(), Failure> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn take_in(&mut self, bytes: &mut [u8], plain: &mut dyn Plain) -> Result<(), Failure> {
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

    fn use_carry(&mut self, plain: &mut dyn Plain) -> Result<(), Failure> {
        let mut carry = std::mem::take(&mut self.carry);
        let used = self.process(&mut carry, plain)?;
        carry.drain(..used);
        // An idle connection keeps no memory for it.
        if !carry.is_empty() {
            self.carry = carry;
        }
        Ok(())
    }

    fn process(&mut self, bytes: &mut [u8], plain: &mut dyn Plain) -> Result<usize, Failure> {
        let Connection { stage, output, peer_closed, .. } = self;
        match stage {
            Stage::Rustls(unbuffered) => unbuffered.process(bytes, plain, output, peer_closed),
            Stage::Records(records) => open_all(records, bytes, plain, output, peer_closed)
                .map_err(|failure| records.refuse(failure, output)),
            Stage::Over => Ok(0),
        }
    }

    /// Notes what was agreed on once hands are shaken, and takes over from rustls.
    fn settle(&mut self) -> Result<(), Failure> {
        let Stage::Rustls(unbuffered) = &self.stage else { return Ok(()) };
        let state = unbuffered.state();
        if state.is_handshaking() {
            return Ok(());
        }
        let agreed = self.agreed.get_or_insert_with(|| Agreed::of(unbuffered));
        let ours = agreed.version == Some(ProtocolVersion::TLSv1_3);
        // Whole records that wait are parts of a message that rustls is gathering.
        let gathering = self.carry.len() >= HEADER && self.missing() == Some(usize::MAX);
        if !ours || gathering || self.peer_closed || state.wants_write() {
            return Ok(());
        }
        if let Stage::Rustls(unbuffered) = std::mem::replace(&mut self.stage, Stage::Over) {
            self.stage = Stage::Records(Box::new(unbuffered.into_records()?));
        }
        Ok(())
    }

    /// Encrypts `plain` behind what else is to be sent; how many bytes of `room` that took. There
    /// has to be room for both and for the [`overhead`].
    pub fn encrypt(&mut self, plain: &[u8], room: &mut [u8]) -> Result<usize, Failure> {
        self.check()?;
        let Connection { stage, carry, output, peer_closed, .. } = self;
        let (before, length) = match stage {
            Stage::Records(records) => (output.len(), records.seal(plain, behind(output, room)?)?),
            Stage::Rustls(unbuffered) => {
                // To come to where it writes, rustls may have more to say.
                unbuffered.write(carry, output, peer_closed, |traffic, output| {
                    Ok((output.len(), traffic.encrypt(plain, behind(output, room)?)?))
                })?
            }
            Stage::Over => return Err(Failure::NoRoom),
        };
        room[..before].copy_from_slice(&self.output);
        self.output_taken(before);
        Ok(before + length)
    }

    /// Says that nothing more will be sent; what is to be sent for it is output.
    pub fn close(&mut self) -> Result<(), Failure> {
        self.check()?;
        let Connection { stage, carry, output, peer_closed, .. } = self;
        match stage {
            Stage::Records(records) => records.close(output),
            Stage::Rustls(unbuffered) => {
                unbuffered.write(carry, output, peer_closed, |traffic, output| {
                    let mut notice = [0; 64];
                    let length = traffic.queue_close_notify(&mut notice)?;
                    output.extend_from_slice(&notice[..length]);
                    Ok(())
                })
            }
            Stage::Over => Ok(()),
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
        self.output_taken(length);
        length
    }

    fn output_taken(&mut self, length: usize) {
        self.output.drain(..length);
        if !self.output.is_empty() {
            return;
        }
        // An idle connection keeps no memory for it.
        self.output = Vec::new();
        if let Stage::Records(records) = &mut self.stage {
            records.answered();
        }
    }

    /// Bytes that wait to be sent.
    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Bytes that were received and wait for the rest of their record.
    pub fn carried(&self) -> usize {
        self.carry.len()
    }

    pub fn is_handshaking(&self) -> bool {
        self.agreed.is_none()
    }

    /// The client was asked for another hello, and hands are not shaken yet.
    pub fn was_retried(&self) -> bool {
        let Stage::Rustls(unbuffered) = &self.stage else { return false };
        let kind = unbuffered.state().handshake_kind();
        self.is_handshaking() && kind == Some(HandshakeKind::FullWithHelloRetryRequest)
    }

    /// The peer has said that it will send no more.
    pub fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// What was agreed on, once hands are shaken.
    pub fn agreed(&self) -> Option<&Agreed> {
        self.agreed.as_deref()
    }
}

#[cfg(test)]
impl Connection {
    pub(super) fn records(&mut self) -> &mut Records {
        let Stage::Records(records) = &mut self.stage else { panic!("rustls has them") };
        records
    }
}

impl Agreed {
    fn of(unbuffered: &Unbuffered) -> Box<Agreed> {
        let state = unbuffered.state();
        let server = matches!(unbuffered, Unbuffered::Server(_));
        let shown = state.peer_certificates().filter(|_| server).and_then(|chain| chain.first());
        Box::new(Agreed {
            version: state.protocol_version(),
            suite: state.negotiated_cipher_suite().map(|suite| suite.suite()),
            protocol: state.alpn_protocol().map(Into::into),
            peer: shown.map(|certificate| Box::new(owner(certificate))),
            group: state.negotiated_key_exchange_group().map(|group| group.name()),
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
            retried: state.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest),
            server,
        })
    }
}

/// The room behind what is to be sent first.
fn behind<'m>(output: &[u8], room: &'m mut [u8]) -> Result<&'m mut [u8], Failure> {
    room.get_mut(output.len()..).ok_or(Failure::NoRoom)
}

/// Opens the whole records that `bytes` begin with; how many bytes that were. What follows an end
/// is not looked at.
fn open_all(
    records: &mut Records,
    bytes: &[u8],
    plain: &mut dyn Plain,
    output: &mut Vec<u8>,
    peer_closed: &mut bool,
) -> Result<usize, Failure> {
    let mut used = 0;
    while !*peer_closed && let Some(record) = Records::first(&bytes[used..])? {
        *peer_closed = records.open(record, plain, output)? == Opened::Closed;
        used += record.len();
    }
    Ok(if *peer_closed { bytes.len() } else { used })
}

/// What encrypting `length` bytes adds at most, in front of them what else was to be sent.
pub const fn overhead(length: usize) -> usize {
    (length / RECORD + 1) * 64
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
        let mut client =
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        client.enable_secret_extraction = true;
        let mut server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        server.enable_secret_extraction = true;
        (Arc::new(client), Arc::new(server))
    }

    fn nothing() -> Room<'static> {
        Room::new(&mut [])
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
            let mut plain = Gathered::default();
            connection.receive(piece, &mut plain).unwrap();
            said.extend(plain.into_bytes());
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
    fn bytes_that_were_changed_are_refused_with_an_alert() {
        let mut pair = pair();
        shake_hands(&mut pair, usize::MAX);
        let mut sent = encrypted(&mut pair.client, b"hello");
        *sent.last_mut().unwrap() ^= 1;
        let mut said = Gathered::default();
        let error = pair.server.receive(&mut sent, &mut said).unwrap_err();
        assert!(said.into_bytes().is_empty());
        assert_eq!(error.as_str(), "decrypt");
        let mut alert = output(&mut pair.server);
        let heard = pair.client.receive(&mut alert, &mut Gathered::default()).unwrap_err();
        assert_eq!(heard, Failure::Alert(AlertDescription::BadRecordMac));
    }

    #[test]
    fn a_peer_without_anything_in_common_is_told_so() {
        let (_, server) = configs();
        let mut server = Connection::server(server).unwrap();
        let error =
            server.receive(&mut b"GET / HTTP/1.1\r\n\r\n".to_vec(), &mut Gathered::default());
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
        let error = client.receive(&mut answer, &mut Gathered::default()).unwrap_err();
        assert_eq!(error.as_str(), "certificate");
        assert_eq!(client.close(), Err(error.clone()));
        let mut alert = output(&mut client);
        assert!(matches!(
            server.receive(&mut alert, &mut Gathered::default()),
            Err(Failure::Alert(_))
        ));
        assert_eq!(client.receive(&mut [0; 10], &mut Gathered::default()), Err(error));
    }

    #[test]
    fn what_does_not_fit_is_said_and_nothing_is_lost_unnoticed() {
        let mut pair = pair();
        shake_hands(&mut pair, usize::MAX);
        assert_eq!(pair.client.encrypt(b"hello", &mut [0; 10]), Err(Failure::NoRoom));
        let mut sent = encrypted(&mut pair.client, b"hello");
        assert_eq!(pair.server.receive(&mut sent, &mut nothing()), Err(Failure::NoRoom));
    }
}
