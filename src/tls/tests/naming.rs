//! Alerts under keys that only rustls has: a handshake that fails has the name of what was sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, KeyLog};

use super::super::connection::{Connection, Failure, Gathered};
use super::records::{configs, name};

/// The secrets of one connection, by what they are for.
#[derive(Debug, Default)]
struct Secrets(Mutex<HashMap<String, Vec<u8>>>);

impl KeyLog for Secrets {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        self.0.lock().unwrap().insert(label.to_owned(), secret.to_vec());
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label without a context (RFC 8446, section 7.1).
fn expand<const LENGTH: usize>(secret: &[u8], label: &str) -> [u8; LENGTH] {
    let label = format!("tls13 {label}");
    let head = [0, LENGTH as u8, label.len() as u8];
    let info = [&head, label.as_bytes(), &[0]];
    let mut made = [0; LENGTH];
    let secret = Prk::new_less_safe(HKDF_SHA256, secret);
    secret.expand(&info, Length(LENGTH)).unwrap().fill(&mut made).unwrap();
    made
}

/// Changes the last byte of what the first record under these keys says.
fn change(record: &mut [u8], secret: &[u8]) {
    let key: [u8; 16] = expand(secret, "key");
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
    let iv: [u8; NONCE_LEN] = expand(secret, "iv");
    let nonce = || Nonce::assume_unique_for_key(iv);
    let (header, rest) = record.split_at_mut(5);
    let sealed = &mut rest[..usize::from(u16::from_be_bytes([header[3], header[4]]))];
    let aad = || Aad::from(&*header);
    let length = key.open_in_place(nonce(), aad(), sealed).unwrap().len();
    let (text, tag) = sealed.split_at_mut(length);
    // The kind is behind it.
    text[length - 2] ^= 1;
    tag.copy_from_slice(key.seal_in_place_separate_tag(nonce(), aad(), text).unwrap().as_ref());
}

/// Two ends of which one has something to hear that makes hands shaken, or not.
struct Pair {
    hearer: Connection,
    speaker: Connection,
    said: Vec<u8>,
}

fn output(connection: &mut Connection) -> Vec<u8> {
    let mut bytes = vec![0; connection.output_len()];
    assert_eq!(connection.take_output(&mut bytes), bytes.len());
    bytes
}

fn tell(speaker: &mut Connection, hearer: &mut Connection) {
    hearer.receive(&mut output(speaker), &mut Gathered::default()).unwrap();
}

/// A server that is to hear the end of the client's handshake, or a client that is to hear the
/// server's; with the secret of what is said.
fn pair(is_server: bool) -> (Pair, Vec<u8>) {
    let (client, server) = configs(cipher_suite::TLS13_AES_128_GCM_SHA256, &[&TLS13]);
    let secrets = Arc::<Secrets>::default();
    let (mut client, mut server) = (Arc::unwrap_or_clone(client), Arc::unwrap_or_clone(server));
    client.key_log = secrets.clone();
    server.key_log = secrets.clone();
    let mut client = Connection::client(Arc::new(client), name()).unwrap();
    let mut server = Connection::server(Arc::new(server)).unwrap();
    tell(&mut client, &mut server);
    let secret = |label| secrets.0.lock().unwrap()[label].clone();
    if !is_server {
        let said = output(&mut server);
        let pair = Pair { hearer: client, speaker: server, said };
        return (pair, secret("SERVER_HANDSHAKE_TRAFFIC_SECRET"));
    }
    tell(&mut server, &mut client);
    let said = output(&mut client);
    (Pair { hearer: server, speaker: client, said }, secret("CLIENT_HANDSHAKE_TRAFFIC_SECRET"))
}

/// Where the first record of data begins.
fn sealed(records: &[u8]) -> usize {
    let mut start = 0;
    while records[start] != 23 {
        start += 5 + usize::from(u16::from_be_bytes([records[start + 3], records[start + 4]]));
    }
    start
}

impl Pair {
    /// What becomes of it, which has to be what the other side is told.
    fn refused(mut self) -> AlertDescription {
        let refused = self.hearer.receive(&mut self.said, &mut Gathered::default());
        let Err(Failure::Answered(_, named)) = refused else { panic!("{refused:?}") };
        let told = self.speaker.receive(&mut output(&mut self.hearer), &mut Gathered::default());
        assert_eq!(told.unwrap_err(), Failure::Alert(named));
        named
    }
}

#[test]
fn a_proof_that_fails_is_told_apart_from_a_record_that_cannot_be_opened() {
    for (is_server, follows) in [(true, false), (true, true), (false, false), (false, true)] {
        // More that came with it, which nobody could open.
        let more = if follows { [&[23, 3, 3, 0, 30][..], &[7; 30]].concat() } else { Vec::new() };
        let (mut disproved, secret) = pair(is_server);
        let at = sealed(&disproved.said);
        change(&mut disproved.said[at..], &secret);
        disproved.said.extend(&more);
        assert_eq!(disproved.refused(), AlertDescription::DecryptError, "{is_server} {follows}");
        let (mut broken, _) = pair(is_server);
        *broken.said.last_mut().unwrap() ^= 1;
        broken.said.extend(&more);
        assert_eq!(broken.refused(), AlertDescription::BadRecordMac, "{is_server} {follows}");
    }
}

#[test]
fn a_client_of_tls12_names_what_it_says_under_its_new_keys() {
    let suite = cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let (client, server) = configs(suite, &[&TLS12]);
    let mut hearer = Connection::client(client, name()).unwrap();
    let mut speaker = Connection::server(server).unwrap();
    for _ in 0..2 {
        tell(&mut hearer, &mut speaker);
        if speaker.is_handshaking() {
            tell(&mut speaker, &mut hearer);
        }
    }
    let mut said = output(&mut speaker);
    *said.last_mut().unwrap() ^= 1;
    assert_eq!(Pair { hearer, speaker, said }.refused(), AlertDescription::BadRecordMac);
}
