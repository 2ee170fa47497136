//! Owns the record layer of an agreed TLS 1.3 connection: it seals what is sent, and opens what
//! comes or, where its length is enough, skips it.

use std::collections::VecDeque;
use std::io::IoSlice;

use rustls::client::ClientConnectionData;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, Iv, MessageDecrypter, MessageEncrypter, OutboundPlainMessage,
};
use rustls::kernel::KernelConnection;
use rustls::{
    ConnectionTrafficSecrets, ContentType, ExtractedSecrets, HandshakeType, ProtocolVersion,
    SupportedCipherSuite,
};

use crate::load::Fault;

pub struct Records {
    sealer: Sealer,
    opener: Opener,
    framing: Framing,
    session: KernelConnection<ClientConnectionData>,
    /// The server has ended its stream: close_notify.
    has_ended: bool,
}

/// What has come, in the order of the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Bytes(&'a [u8]),
    /// So many bytes, which were not opened.
    Unseen(usize),
}

struct Sealer {
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
    queue: VecDeque<Vec<u8>>,
    /// How much of the first in the queue is sent.
    sent: usize,
}

struct Opener {
    decrypter: Box<dyn MessageDecrypter>,
    sequence: u64,
    /// Of so many long records, one is opened.
    sampling: u64,
}

/// Where the stream is in its records.
struct Framing {
    state: Frame,
    /// The header, or the record that is collected to be opened.
    held: Vec<u8>,
}

enum Frame {
    Header,
    Collecting { length: usize },
    Skipping { length: usize, left: usize },
}

impl Records {
    pub fn new(
        secrets: ExtractedSecrets,
        session: KernelConnection<ClientConnectionData>,
        first: Vec<u8>,
    ) -> Result<Self, Fault> {
        let SupportedCipherSuite::Tls13(suite) = session.negotiated_cipher_suite() else {
            return Err(Fault::UnexpectedRecord);
        };
        let (sequence, key, iv) = material(secrets.tx)?;
        let encrypter = suite.aead_alg.encrypter(key, iv);
        let queue = if first.is_empty() { VecDeque::new() } else { [first].into() };
        let sealer = Sealer { encrypter, sequence, queue, sent: 0 };
        let (sequence, key, iv) = material(secrets.rx)?;
        let decrypter = suite.aead_alg.decrypter(key, iv);
        let opener = Opener { decrypter, sequence, sampling: 1 };
        let framing = Framing { state: Frame::Header, held: Vec::new() };
        Ok(Self { sealer, opener, framing, session, has_ended: false })
    }

    /// Opens one of so many records from now on. Short ones are always opened, as they may hold
    /// something else than the stream.
    pub fn sample(&mut self, sampling: u64) {
        self.opener.sampling = sampling;
    }

    /// Seals `bytes`, of which there is at least one, in records as long as can be.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        bytes
            .chunks(PLAIN_MAX)
            .try_for_each(|chunk| self.sealer.seal(ContentType::ApplicationData, chunk))
    }

    /// Ends the stream: close_notify.
    pub fn end(&mut self) -> Result<(), Fault> {
        self.sealer.seal(ContentType::Alert, CLOSE_NOTIFY)
    }

    /// Whether the server has ended its stream. An end of the socket before that is none.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    pub fn is_flushed(&self) -> bool {
        self.sealer.queue.is_empty()
    }

    /// What is sealed and not sent, as far as there are slices for it. Returns how many it takes.
    pub fn outgoing<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let Sealer { queue, sent, .. } = &self.sealer;
        for (index, (slice, record)) in slices.iter_mut().zip(queue).enumerate() {
            *slice = IoSlice::new(if index == 0 { &record[*sent..] } else { record });
        }
        slices.len().min(queue.len())
    }

    /// So many bytes of what is outgoing were sent.
    pub fn sent(&mut self, length: usize) {
        let Sealer { queue, sent, .. } = &mut self.sealer;
        *sent += length;
        while let Some(first) = queue.front().filter(|first| *sent >= first.len()) {
            *sent -= first.len();
            queue.pop_front();
        }
    }

    /// Takes what has come from the server.
    pub fn read(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(Piece<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while !bytes.is_empty() {
            match self.framing.state {
                Frame::Header => {
                    if self.framing.collect(&mut bytes, HEADER) {
                        let length = self.framing.length()?;
                        self.framing.state = if self.opener.wants(length) {
                            Frame::Collecting { length }
                        } else {
                            self.framing.held.clear();
                            Frame::Skipping { length, left: length }
                        };
                    }
                }
                Frame::Collecting { length } => {
                    if self.framing.collect(&mut bytes, HEADER + length) {
                        self.open(&mut take)?;
                    }
                }
                Frame::Skipping { length, left } => {
                    let skipped = left.min(bytes.len());
                    bytes = &bytes[skipped..];
                    self.framing.state = Frame::Skipping { length, left: left - skipped };
                    if skipped == left {
                        self.opener.sequence += 1;
                        self.framing.state = Frame::Header;
                        take(Piece::Unseen(length - OVERHEAD))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Opens the record that has been collected.
    fn open(&mut self, take: &mut impl FnMut(Piece<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
        let Self { opener, framing, session, has_ended, .. } = self;
        if *has_ended {
            return Err(Fault::UnexpectedRecord);
        }
        let message = InboundOpaqueMessage::new(
            ContentType::ApplicationData,
            ProtocolVersion::TLSv1_2,
            &mut framing.held[HEADER..],
        );
        let message = opener.decrypter.decrypt(message, opener.sequence)?;
        opener.sequence += 1;
        match (message.typ, message.payload) {
            (ContentType::ApplicationData, bytes) => take(Piece::Bytes(bytes))?,
            (ContentType::Alert, CLOSE_NOTIFY) => *has_ended = true,
            (ContentType::Handshake, bytes) => keep_tickets(session, bytes)?,
            _ => return Err(Fault::UnexpectedRecord),
        }
        framing.held.clear();
        framing.state = Frame::Header;
        Ok(())
    }
}

impl Sealer {
    fn seal(&mut self, typ: ContentType, bytes: &[u8]) -> Result<(), Fault> {
        let version = ProtocolVersion::TLSv1_2;
        let message = OutboundPlainMessage { typ, version, payload: bytes.into() };
        self.queue.push_back(self.encrypter.encrypt(message, self.sequence)?.encode());
        self.sequence += 1;
        Ok(())
    }
}

impl Opener {
    fn wants(&self, length: usize) -> bool {
        length < LONG || self.sequence.is_multiple_of(self.sampling)
    }
}

impl Framing {
    /// Moves bytes until `wanted` of them are held, and says whether they are.
    fn collect(&mut self, bytes: &mut &[u8], wanted: usize) -> bool {
        let missing = (wanted - self.held.len()).min(bytes.len());
        self.held.extend_from_slice(&bytes[..missing]);
        *bytes = &bytes[missing..];
        self.held.len() == wanted
    }

    /// What the header that is held says of the record. TLS 1.3 has one kind of sealed record.
    fn length(&self) -> Result<usize, Fault> {
        match self.held[..] {
            [APPLICATION_DATA, _, _, high, low] => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                let plausible = OVERHEAD..=PLAIN_MAX + OVERHEAD;
                plausible.contains(&length).then_some(length).ok_or(Fault::UnexpectedRecord)
            }
            _ => Err(Fault::UnexpectedRecord),
        }
    }
}

/// Keeps the tickets of a record for whoever resumes the session. No server of a run has anything
/// else to say after its handshake.
fn keep_tickets(
    session: &mut KernelConnection<ClientConnectionData>,
    mut bytes: &[u8],
) -> Result<(), Fault> {
    while let [kind, high, middle, low, rest @ ..] = bytes {
        let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
        if HandshakeType::from(*kind) != HandshakeType::NewSessionTicket || rest.len() < length {
            return Err(Fault::UnexpectedRecord);
        }
        let (ticket, rest) = rest.split_at(length);
        session.handle_new_session_ticket(ticket)?;
        bytes = rest;
    }
    if bytes.is_empty() { Ok(()) } else { Err(Fault::UnexpectedRecord) }
}

fn material(
    (sequence, secrets): (u64, ConnectionTrafficSecrets),
) -> Result<(u64, AeadKey, Iv), Fault> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv } => Ok((sequence, key, iv)),
        // Clients offer the suites above alone.
        _ => Err(Fault::UnexpectedRecord),
    }
}

/// What a record takes from the socket before its payload.
const HEADER: usize = 5;
const APPLICATION_DATA: u8 = 23;
/// RFC 8446, section 5.1.
const PLAIN_MAX: usize = 16 * 1024;
/// The tag, and the byte that tells what is inside.
const OVERHEAD: usize = 17;
/// Tickets and alerts are shorter.
const LONG: usize = 1024;
/// Level warning, RFC 8446, section 6.1.
const CLOSE_NOTIFY: &[u8] = &[1, 0];

#[cfg(test)]
mod tests {
    use super::super::pair::Pair;
    use super::super::{Suite, Terms};
    use super::*;
    use crate::certificates::Identity;

    fn pair(suite: Suite) -> Pair {
        Pair::new(Terms { suite, identity: Identity::Ecdsa, resumed: false })
    }

    /// Feeds parts of this length, and returns the bytes that were seen and how many were not.
    fn read(records: &mut Records, sealed: &[u8], part: usize) -> Result<(Vec<u8>, usize), Fault> {
        let (mut seen, mut unseen) = (Vec::new(), 0);
        for part in sealed.chunks(part) {
            records.read(part, |piece| {
                match piece {
                    Piece::Bytes(bytes) => seen.extend_from_slice(bytes),
                    Piece::Unseen(length) => unseen += length,
                }
                Ok(())
            })?;
        }
        Ok((seen, unseen))
    }

    #[test]
    fn what_comes_is_the_same_however_it_is_cut() {
        for suite in [Suite::Aes128, Suite::Aes256] {
            for part in [1, 2, 5, 21, 22, 23, 1000, usize::MAX] {
                let mut pair = pair(suite);
                let mut records = pair.agree();
                for message in ["one", "two", "three"] {
                    pair.say(message.as_bytes());
                }
                pair.server.send_close_notify();
                // The tickets are before the messages.
                let sealed = pair.said();
                let read = read(&mut records, &sealed, part).unwrap();
                assert_eq!(read, (b"onetwothree".to_vec(), 0), "{part}");
                assert!(records.has_ended());
            }
        }
    }

    #[test]
    fn long_records_are_sampled_and_all_of_them_counted() {
        let mut pair = pair(Suite::Aes128);
        let mut records = pair.agree();
        records.sample(4);
        let mut totals = (0, 0);
        for _ in 0..10 {
            pair.say(&[7; 3 * PLAIN_MAX + 100]);
            let sealed = pair.said();
            let (seen, unseen) = read(&mut records, &sealed, 10_000).unwrap();
            assert!(seen.iter().all(|&byte| byte == 7));
            totals = (totals.0 + seen.len(), totals.1 + unseen);
        }
        // The tickets were the first record: of the 40 of these, each fourth falls on a short one
        // at times, and short ones are always opened.
        assert_eq!(totals.0 + totals.1, 10 * (3 * PLAIN_MAX + 100));
        assert_eq!(totals.0 % PLAIN_MAX, 10 * 100);
        assert!(totals.0 >= 1000 && totals.1 > totals.0, "{totals:?}");
    }

    #[test]
    fn what_is_sealed_can_be_read_and_ended() {
        let mut pair = pair(Suite::Aes256);
        let mut records = pair.agree();
        let bytes: Vec<u8> = (0..50_000u32).map(|index| (index % 251) as u8).collect();
        records.write(&bytes).unwrap();
        assert_eq!(pair.hear_records(&mut records), bytes);
        records.end().unwrap();
        assert_eq!(pair.hear_records(&mut records), b"");
        assert!(pair.server.process_new_packets().unwrap().peer_has_closed());
    }

    #[test]
    fn a_changed_byte_and_a_wrong_header_are_refused() {
        let mut pair = pair(Suite::Aes128);
        let mut records = pair.agree();
        pair.say(b"message");
        let mut sealed = pair.said();
        *sealed.last_mut().unwrap() ^= 1;
        let fault = read(&mut records, &sealed, usize::MAX).unwrap_err();
        assert_eq!(fault, Fault::Tls(rustls::Error::DecryptError));
        for header in [[22, 3, 3, 0, 40], [23, 3, 3, 0, 16], [23, 3, 3, 0x40, 0x12]] {
            let mut records = pair.agree();
            let fault = read(&mut records, &header, usize::MAX).unwrap_err();
            assert_eq!(fault, Fault::UnexpectedRecord, "{header:?}");
        }
    }
}
