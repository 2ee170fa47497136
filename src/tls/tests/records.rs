//! Records against those of rustls, in every suite, and against peers that keep to nothing.

use std::io::{Read, Write};
use std::ops::DerefMut;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, ConnectionCommon, RootCertStore,
    ServerConfig, ServerConnection, SideData, SupportedCipherSuite, SupportedProtocolVersion,
};

use super::super::connection::{Connection, Failure, Gathered, overhead};

const SUITES: [SupportedCipherSuite; 3] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
];
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
/// The kind of a record, and what it says.
type Said<'a> = (u8, &'a [u8]);

const REQUESTED: [u8; 5] = [24, 0, 0, 1, 1];
const NOT_REQUESTED: [u8; 5] = [24, 0, 0, 1, 0];

pub(super) fn configs(
    suite: SupportedCipherSuite,
    versions: &[&'static SupportedProtocolVersion],
) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let provider = Arc::new(rustls::crypto::CryptoProvider {
        cipher_suites: vec![suite],
        ..default_provider()
    });
    let made = rcgen::generate_simple_self_signed(["edge.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    client.enable_secret_extraction = true;
    server.enable_secret_extraction = true;
    (Arc::new(client), Arc::new(server))
}

pub(super) fn name() -> ServerName<'static> {
    ServerName::try_from("edge.test").unwrap()
}

fn tls13(suite: SupportedCipherSuite) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    configs(suite, &[&rustls::version::TLS13])
}

/// A connection of ours and a peer that is all rustls.
struct Pair<P> {
    ours: Connection,
    peer: P,
}

fn with_client(suite: SupportedCipherSuite) -> Pair<ClientConnection> {
    let (client, server) = tls13(suite);
    let ours = Connection::server(server).unwrap();
    let mut pair = Pair { ours, peer: ClientConnection::new(client, name()).unwrap() };
    pair.shake();
    pair
}

fn with_server(suite: SupportedCipherSuite) -> Pair<ServerConnection> {
    let (client, server) = tls13(suite);
    let ours = Connection::client(client, name()).unwrap();
    let mut pair = Pair { ours, peer: ServerConnection::new(server).unwrap() };
    pair.shake();
    pair
}

impl<P, D> Pair<P>
where
    P: DerefMut<Target = ConnectionCommon<D>>,
    D: SideData,
{
    fn shake(&mut self) {
        for _ in 0..4 {
            let said = output(&mut self.ours);
            self.hear(&said);
            let said = self.told();
            assert!(heard(&mut self.ours, &said, usize::MAX).is_empty());
        }
        assert!(!self.ours.is_handshaking() && !self.peer.is_handshaking());
    }

    /// What the peer hears of these bytes.
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (mut rest, mut said) = (bytes, Vec::new());
        while !rest.is_empty() {
            self.peer.read_tls(&mut rest as &mut dyn Read).unwrap();
            self.peer.process_new_packets().unwrap();
            let mut part = vec![0; 1 << 20];
            // Nothing to read is told as an error.
            let length = self.peer.reader().read(&mut part).unwrap_or(0);
            said.extend_from_slice(&part[..length]);
        }
        said
    }

    /// The bytes that the peer has to send.
    fn told(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.peer.wants_write() {
            self.peer.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn says(&mut self, text: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in text.chunks(16 << 10) {
            self.peer.writer().write_all(piece).unwrap();
            bytes.extend(self.told());
        }
        bytes
    }

    /// Both say something to each other, in pieces.
    fn talk(&mut self, text: &[u8], piece: usize) {
        let said = self.says(text);
        assert!(heard(&mut self.ours, &said, piece) == text, "{piece}");
        let said = encrypted(&mut self.ours, text);
        assert!(self.hear(&said) == text, "{piece}");
    }
}

fn output(connection: &mut Connection) -> Vec<u8> {
    let mut bytes = vec![0; connection.output_len()];
    assert_eq!(connection.take_output(&mut bytes), bytes.len());
    bytes
}

fn heard(connection: &mut Connection, bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut said = Gathered::default();
    for piece in bytes.to_vec().chunks_mut(piece) {
        connection.receive(piece, &mut said).unwrap();
    }
    said.into_bytes()
}

fn refused(connection: &mut Connection, bytes: &[u8]) -> Failure {
    let mut said = Gathered::default();
    let failure = connection.receive(&mut bytes.to_vec(), &mut said).unwrap_err();
    assert!(said.into_bytes().is_empty());
    failure
}

fn encrypted(connection: &mut Connection, plain: &[u8]) -> Vec<u8> {
    let mut room = vec![0; plain.len() + connection.output_len() + overhead(plain.len())];
    let length = connection.encrypt(plain, &mut room).unwrap();
    room.truncate(length);
    room
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place % 251) as u8).collect()
}

#[test]
fn rustls_understands_us_and_we_it_in_every_suite() {
    for suite in SUITES {
        for piece in [1, 5, 21, 22, 23, 1000, 16_406, usize::MAX] {
            let (mut client, mut server) = (with_client(suite), with_server(suite));
            for length in [1, 2, 16_383, 16_384, 16_385, 50_000] {
                client.talk(&text(length), piece);
                server.talk(&text(length), piece);
            }
            assert!(client.ours.carried() == 0 && server.ours.carried() == 0);
        }
    }
}

#[test]
fn the_records_of_the_older_version_are_left_to_rustls() {
    let suite = cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let (client, server) = configs(suite, &[&rustls::version::TLS12]);
    let ours = Connection::server(server).unwrap();
    let mut pair = Pair { ours, peer: ClientConnection::new(client, name()).unwrap() };
    pair.shake();
    for piece in [1, 29, 1000, usize::MAX] {
        pair.talk(&text(40_000), piece);
    }
}

#[test]
fn a_change_of_keys_is_answered_before_anything_else_is_said() {
    for suite in SUITES {
        let (mut client, mut server) = (with_client(suite), with_server(suite));
        for round in 0..5 {
            client.peer.refresh_traffic_keys().unwrap();
            client.talk(&text(100 + round), 7);
            server.peer.refresh_traffic_keys().unwrap();
            server.talk(&text(100 + round), usize::MAX);
        }
    }
}

#[test]
fn several_changes_of_keys_are_answered_at_once() {
    let mut pair = with_client(SUITES[0]);
    for _ in 0..3 {
        pair.peer.refresh_traffic_keys().unwrap();
    }
    let said = pair.told();
    heard(&mut pair.ours, &said, usize::MAX);
    // The header, the message, its kind and the tag.
    assert_eq!(output(&mut pair.ours).len(), 5 + 5 + 1 + 16);
    pair.peer.refresh_traffic_keys().unwrap();
    let said = pair.told();
    heard(&mut pair.ours, &said, usize::MAX);
    assert_eq!(output(&mut pair.ours).len(), 5 + 5 + 1 + 16, "and the next one by itself");
}

#[test]
fn keys_are_changed_before_they_have_protected_too_much() {
    let mut pair = with_client(SUITES[1]);
    pair.ours.records().limit_to(10);
    for _ in 0..25 {
        let said = encrypted(&mut pair.ours, &text(20_000));
        assert!(pair.hear(&said) == text(20_000));
        assert!(pair.ours.records().sealed() <= 10);
    }
}

#[test]
fn tickets_that_come_later_are_kept() {
    let (client, server) = tls13(SUITES[0]);
    for resumed in [false, true] {
        let ours = Connection::client(Arc::clone(&client), name()).unwrap();
        let peer = ServerConnection::new(Arc::clone(&server)).unwrap();
        let mut pair = Pair { ours, peer };
        pair.shake();
        assert_eq!(pair.ours.agreed().unwrap().resumed, resumed);
    }
}

#[test]
fn an_end_is_told_apart_from_other_alerts() {
    let mut pair = with_client(SUITES[0]);
    pair.peer.send_close_notify();
    let said = pair.told();
    heard(&mut pair.ours, &said, 3);
    assert!(pair.ours.peer_closed());
    // The other direction goes on, and ends by itself.
    let said = encrypted(&mut pair.ours, b"the answer");
    assert_eq!(pair.hear(&said), b"the answer");
    pair.ours.close().unwrap();
    let said = output(&mut pair.ours);
    pair.hear(&said);
    assert!(pair.peer.process_new_packets().unwrap().peer_has_closed());

    let (mut ours, mut peer) = both();
    let said = peer.records().seal_as(ALERT, &[2, 48]);
    assert_eq!(refused(&mut ours, &said), Failure::Alert(AlertDescription::UnknownCA));
    assert!(!ours.has_output() && !ours.peer_closed());
    let (mut ours, mut peer) = both();
    let canceled = peer.records().seal_as(ALERT, &[1, 90]);
    assert!(heard(&mut ours, &canceled, 9).is_empty());
}

/// Two of ours: a server, and a client that can be made to send anything.
fn both() -> (Connection, Connection) {
    let (client, server) = tls13(SUITES[0]);
    let mut server = Connection::server(server).unwrap();
    let mut client = Connection::client(client, name()).unwrap();
    for _ in 0..4 {
        let said = output(&mut client);
        heard(&mut server, &said, usize::MAX);
        let said = output(&mut server);
        heard(&mut client, &said, usize::MAX);
    }
    (server, client)
}

/// What a server makes of records of these kinds, and the alert that it answers with.
fn verdict(records: &[Said]) -> (Failure, Option<AlertDescription>) {
    let (mut ours, mut peer) = both();
    let said: Vec<u8> =
        records.iter().flat_map(|(kind, text)| peer.records().seal_as(*kind, text)).collect();
    let failure = ours.receive(&mut said.clone(), &mut Gathered::default()).unwrap_err();
    let alert = output(&mut ours);
    let told = peer.receive(&mut alert.clone(), &mut Gathered::default());
    let alert = match told {
        Err(Failure::Alert(description)) => Some(description),
        other => panic!("{other:?} for {failure}"),
    };
    let named = matches!(failure, Failure::Answered(_, sent) if Some(sent) == alert);
    assert!(named, "{failure} has the name of what was sent");
    // And that is its last word.
    assert_eq!(ours.receive(&mut [0; 10], &mut Gathered::default()), Err(failure.clone()));
    assert_eq!(ours.encrypt(b"more", &mut [0; 100]), Err(failure.clone()));
    (failure, alert)
}

#[test]
fn peers_that_keep_to_nothing_are_told_so() {
    let unexpected = Some(AlertDescription::UnexpectedMessage);
    let unreadable = Some(AlertDescription::DecodeError);
    let oversized = vec![7; (16 << 10) + 1];
    let illegal = Some(AlertDescription::IllegalParameter);
    let cases: [(&[Said], _); 14] = [
        // Nothing but padding.
        (&[(0, &[0; 20])], unexpected),
        (&[(99, b"what")], unexpected),
        (&[(ALERT, &[1])], unreadable),
        (&[(ALERT, &[1, 0, 0])], unreadable),
        // Nothing at all.
        (&[(ALERT, b"")], unexpected),
        (&[(HANDSHAKE, b"")], unexpected),
        // A ticket for a server, and a hello.
        (&[(HANDSHAKE, &[4, 0, 0, 1, 0])], unexpected),
        (&[(HANDSHAKE, &[1, 0, 0, 1, 0])], unexpected),
        // New keys from the middle of a record on.
        (&[(HANDSHAKE, &[24, 0, 0, 1, 0, 24])], unexpected),
        (&[(HANDSHAKE, &[24, 0, 0, 1, 7])], illegal),
        (&[(HANDSHAKE, &[24, 0, 0, 2, 0, 0])], unreadable),
        (&[(HANDSHAKE, &REQUESTED[..2]), (DATA, b"between")], unexpected),
        (&[(HANDSHAKE, &[24, 1, 0, 0])], unreadable),
        (&[(DATA, &oversized)], Some(AlertDescription::RecordOverflow)),
    ];
    for (records, alert) in cases {
        let (failure, told) = verdict(records);
        assert_eq!(told, alert, "{failure}");
    }
}

#[test]
fn what_costs_the_peer_little_is_not_put_up_with_for_ever() {
    for (kind, text) in [(DATA, &b""[..]), (HANDSHAKE, &REQUESTED), (HANDSHAKE, &NOT_REQUESTED)] {
        let (mut ours, mut peer) = both();
        let mut said = |ours: &mut Connection| {
            let said = peer.records().seal_as(kind, text);
            if kind == HANDSHAKE {
                peer.records().follow();
            }
            ours.receive(&mut said.clone(), &mut Gathered::default())
        };
        for _ in 0..32 {
            said(&mut ours).unwrap();
        }
        assert!(said(&mut ours).is_err(), "{kind}");
        assert!(ours.output_len() < 200, "answers do not gather");
    }
}

#[test]
fn data_between_forgives() {
    let (mut ours, mut peer) = both();
    for _ in 0..100 {
        let mut said = peer.records().seal_as(DATA, b"");
        said.extend(encrypted(&mut peer, b"a"));
        assert_eq!(heard(&mut ours, &said, usize::MAX), b"a");
    }
}

#[test]
fn messages_may_be_cut_anywhere_and_padded() {
    let (mut ours, mut peer) = both();
    for byte in REQUESTED {
        let said = peer.records().seal_as(HANDSHAKE, &[byte]);
        assert!(heard(&mut ours, &said, 1).is_empty());
    }
    peer.records().follow();
    let padded = peer.records().seal_as(0, &[&b"padded"[..], &[DATA], &[0; 500]].concat());
    assert_eq!(heard(&mut ours, &padded, usize::MAX), b"padded");
    let answer = encrypted(&mut ours, b"answered");
    assert_eq!(heard(&mut peer, &answer, usize::MAX), b"answered");
}

#[test]
fn no_byte_of_a_record_can_be_changed_unnoticed() {
    let length = encrypted(&mut both().1, b"hello").len();
    for place in 0..length {
        let (mut ours, mut peer) = both();
        let mut said = encrypted(&mut peer, b"hello");
        said[place] ^= 1;
        // A length that has grown is waited for.
        said.extend_from_slice(&[0; 300]);
        refused(&mut ours, &said);
    }
}

#[test]
fn what_is_no_record_is_refused_before_it_is_there() {
    for (header, alert) in [
        ([20, 3, 3, 0, 1, 1], AlertDescription::UnexpectedMessage),
        ([ALERT, 3, 3, 0, 1, 1], AlertDescription::UnexpectedMessage),
        ([DATA, 3, 3, 0, 1, 1], AlertDescription::BadRecordMac),
        ([DATA, 3, 3, 0x41, 1, 0], AlertDescription::RecordOverflow),
        (*b"GET / ", AlertDescription::UnexpectedMessage),
    ] {
        let (mut ours, mut peer) = both();
        refused(&mut ours, &header);
        let said = output(&mut ours);
        assert_eq!(refused(&mut peer, &said), Failure::Alert(alert), "{header:?}");
    }
}

#[test]
fn no_bytes_can_do_harm() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut ours, mut peer) = both();
        for _ in 0..20 {
            let kind = *random.choice(&[ALERT, HANDSHAKE, DATA, 0, 25]).unwrap();
            let text: Vec<u8> = (0..random.usize(..40)).map(|_| random.u8(..30)).collect();
            let mut said = peer.records().seal_as(kind, &text);
            let mut told = Gathered::default();
            if random.u8(..20) == 0 {
                let place = random.usize(..said.len());
                said[place] = random.u8(..);
            }
            if ours.receive(&mut said, &mut told).is_err() {
                break;
            }
            let told = told.into_bytes();
            assert!(told.is_empty() || text.starts_with(&told));
        }
    }
}
