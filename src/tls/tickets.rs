//! Resumption without memory: tickets, sealed under keys that turn over, apart for each policy.
//!
//! A ticket speaks for a client that was verified once. It must therefore never be taken where
//! that client would not have been let in: each policy (one `[tls.NAME]`, whether clients show
//! certificates, which authorities and which revocation lists) has keys of its own. Within one
//! policy rustls compares the server name of the ticket with the one that is asked for, in TLS 1.2
//! and 1.3 alike.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use rustls::pki_types::UnixTime;
use rustls::server::ProducesTickets;
use rustls::time_provider::DefaultTimeProvider;
use zeroize::Zeroizing;

use super::files::read_secret;
use super::problem::Problem;
use super::remembered::still_valid;
use super::server::ClientAuth;
use super::settings::Clock;
use super::trust::{Digests, sha256};

/// The producers of all policies that are in use. One for the life of the process: a policy that
/// is loaded again finds its keys.
pub struct Tickets {
    clock: Clock,
    producers: Mutex<HashMap<[u8; 32], Weak<Producer>>>,
}

/// Whose tickets are good for whom.
#[derive(Clone, Debug)]
pub(super) struct Policy<'a> {
    /// The `[tls.NAME]`.
    pub(super) name: &'a str,
    pub(super) client_auth: ClientAuth,
    pub(super) authorities: &'a Digests,
    pub(super) revocation_lists: &'a Digests,
    /// When the first of those lists lapses, if one ever does.
    pub(super) holds_until: Option<UnixTime>,
}

/// Secrets of a file, the first of which encrypts.
pub(super) type Secrets = Vec<Zeroizing<Vec<u8>>>;

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

impl Default for Tickets {
    fn default() -> Tickets {
        Tickets::new(Arc::new(DefaultTimeProvider))
    }
}

impl Tickets {
    pub fn new(clock: Clock) -> Tickets {
        Tickets { clock, producers: Mutex::default() }
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The policy's producer: the one in use, or a new one.
    pub(super) fn producer(
        &self,
        policy: &Policy<'_>,
        lifetime: Duration,
        secrets: Option<&Secrets>,
        now: UnixTime,
    ) -> Result<Arc<Producer>, Problem> {
        let digest = policy.digest();
        let mut producers = self.producers.lock().unwrap_or_else(PoisonError::into_inner);
        producers.retain(|_, producer| producer.strong_count() > 0);
        let own = secrets.is_none();
        let found = producers.get(&digest).and_then(Weak::upgrade);
        let found = found.filter(|found| found.lifetime == lifetime && found.own == own);
        let keys = |secrets: &Secrets| Keys::shared(secrets, &digest);
        if let Some(found) = found {
            if let Some(secrets) = secrets {
                found.keys.store(Arc::new(keys(secrets)?));
            }
            return Ok(found);
        }
        let keys = match secrets {
            Some(secrets) => keys(secrets)?,
            None => Keys::own(&digest, now.as_secs() + lifetime.as_secs())?,
        };
        let producer = Arc::new(Producer {
            policy: digest,
            verified: policy.client_auth != ClientAuth::Off,
            holds_until: policy.holds_until,
            lifetime,
            own,
            clock: Arc::clone(&self.clock),
            keys: ArcSwap::from_pointee(keys),
            turning: Mutex::new(()),
        });
        producers.insert(digest, Arc::downgrade(&producer));
        Ok(producer)
    }

    /// Lets go of keys whose time is over, also where no client comes.
    pub fn turn(&self, now: UnixTime) {
        let producers = self.producers.lock().unwrap_or_else(PoisonError::into_inner);
        for producer in producers.values().filter_map(Weak::upgrade) {
            producer.turn(now);
        }
    }
}

impl Policy<'_> {
    fn digest(&self) -> [u8; 32] {
        let mut text = b"ringmain tickets 1".to_vec();
        let mut part = |bytes: &[u8]| {
            text.extend((bytes.len() as u64).to_be_bytes());
            text.extend(bytes);
        };
        part(self.name.as_bytes());
        part(self.client_auth.as_str().as_bytes());
        part(self.authorities.as_flattened());
        part(self.revocation_lists.as_flattened());
        sha256(&text)
    }
}

/// Seals and opens the tickets of one policy, for all workers.
pub(super) struct Producer {
    policy: [u8; 32],
    /// Clients are let in by certificates, which must be valid when a session is resumed too.
    verified: bool,
    /// From then on who is revoked is not known, and nobody is let in by a ticket. Other lists are
    /// another policy, with a producer of its own.
    holds_until: Option<UnixTime>,
    lifetime: Duration,
    /// The keys are this process's own and turn over by time.
    own: bool,
    clock: Clock,
    keys: ArcSwap<Keys>,
    /// Held by the one who makes the next key.
    turning: Mutex<()>,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Producer {
    /// Makes a new key once the current one has served for `lifetime`, and lets go of the one
    /// before it after as long again: a ticket is good for at most twice that.
    fn turn(&self, now: UnixTime) {
        let due = |keys: &Keys| keys.turns.is_some_and(|turns| now.as_secs() >= turns);
        let lifetime = self.lifetime.as_secs();
        if !self.own || !due(&self.keys.load()) {
            return;
        }
        // Whoever finds somebody at it goes on with the keys as they are.
        let Ok(_turning) = self.turning.try_lock() else { return };
        let current = self.keys.load_full();
        if !due(&current) {
            return;
        }
        // Without randomness there is no new key, and the old ones go all the same.
        let mut next = Keys::own(&self.policy, now.as_secs() + lifetime).unwrap_or_default();
        let late = current.turns.is_some_and(|turns| now.as_secs() >= turns + lifetime);
        next.keys.extend(current.keys.first().filter(|_| !late).cloned());
        self.keys.store(Arc::new(next));
    }

    fn now(&self) -> Option<UnixTime> {
        self.clock.current_time()
    }
}

impl ProducesTickets for Producer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let now = self.now()?;
        self.turn(now);
        self.keys.load().keys.first()?.seal(plain, now)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let now = self.now()?;
        self.turn(now);
        if self.holds_until.is_some_and(|until| now >= until) {
            return None;
        }
        let (name, _) = ticket.split_first_chunk::<NAME>()?;
        let keys = self.keys.load();
        let key = keys.keys.iter().find(|key| key.name == *name)?;
        let (issued, session) = key.open(ticket)?;
        // An age below zero is another host's clock.
        let age = now.as_secs().saturating_sub(issued);
        let young = age < self.lifetime.as_secs().saturating_mul(2);
        (young && (!self.verified || still_valid(&session, now))).then_some(session)
    }
}

/// The first encrypts, all decrypt.
#[derive(Default)]
struct Keys {
    keys: Vec<Arc<Key>>,
    /// When a new one is made, in seconds of the wall clock; never for those of a file.
    turns: Option<u64>,
}

impl Keys {
    fn own(policy: &[u8; 32], turns: u64) -> Result<Keys, Problem> {
        let mut secret = Zeroizing::new([0; 48]);
        random(&mut *secret).ok_or_else(|| Problem::Refused("no randomness".to_owned()))?;
        let key = Key::new(&*secret, policy)?;
        Ok(Keys { keys: vec![Arc::new(key)], turns: Some(turns) })
    }

    fn shared(secrets: &Secrets, policy: &[u8; 32]) -> Result<Keys, Problem> {
        let keys = secrets.iter().map(|secret| Key::new(secret, policy).map(Arc::new));
        Ok(Keys { keys: keys.collect::<Result<_, _>>()?, turns: None })
    }
}

/// One key, and the name by which its tickets are known.
struct Key {
    name: [u8; NAME],
    root: Prk,
}

/// In front of each ticket: the name of its key.
const NAME: usize = 16;
/// Then what makes the ticket's own key, drawn for each ticket.
const SALT: usize = 32;
const TAG: usize = 16;

impl Key {
    /// Hosts with the same secret and the same policy derive the same key (RFC 5869).
    fn new(secret: &[u8], policy: &[u8; 32]) -> Result<Key, Problem> {
        let extracted = Salt::new(HKDF_SHA256, policy).extract(secret);
        let mut name = [0; NAME];
        let mut root = Zeroizing::new([0; 32]);
        let derived = expand(&extracted, b"ringmain ticket key name", &mut name)
            .and_then(|()| expand(&extracted, b"ringmain ticket key", &mut *root));
        derived.ok_or_else(|| Problem::Refused("no key can be derived".to_owned()))?;
        Ok(Key { name, root: Prk::new_less_safe(HKDF_SHA256, &*root) })
    }

    fn seal(&self, plain: &[u8], now: UnixTime) -> Option<Vec<u8>> {
        let mut ticket = Vec::with_capacity(NAME + SALT + 8 + plain.len() + TAG);
        ticket.extend(self.name);
        ticket.extend([0; SALT]);
        random(&mut ticket[NAME..])?;
        let (key, nonce) = self.cipher(&ticket[NAME..])?;
        let mut body = Zeroizing::new(Vec::with_capacity(8 + plain.len()));
        body.extend(now.as_secs().to_be_bytes());
        body.extend(plain);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(self.name), &mut body).ok()?;
        ticket.extend_from_slice(&body);
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    /// When the ticket was made, in seconds of the wall clock, and what is in it.
    fn open(&self, ticket: &[u8]) -> Option<(u64, Vec<u8>)> {
        let (salt, body) = ticket.get(NAME..)?.split_at_checked(SALT)?;
        let (key, nonce) = self.cipher(salt)?;
        let mut body = body.to_vec();
        let plain = key.open_in_place(nonce, Aad::from(self.name), &mut body).ok()?;
        let (issued, plain) = plain.split_first_chunk::<8>()?;
        Some((u64::from_be_bytes(*issued), plain.to_vec()))
    }

    /// Each ticket has a key of its own: a nonce drawn at random is too short for as many tickets
    /// as several hosts make under one shared secret.
    fn cipher(&self, salt: &[u8]) -> Option<(LessSafeKey, Nonce)> {
        let mut material = Zeroizing::new([0; 32 + NONCE_LEN]);
        expand(&self.root, salt, &mut *material)?;
        let (key, nonce) = material.split_at(32);
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?);
        Some((key, Nonce::try_assume_unique_for_key(nonce).ok()?))
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand(root: &Prk, info: &[u8], out: &mut [u8]) -> Option<()> {
    root.expand(&[info], Length(out.len())).ok()?.fill(out).ok()
}

fn random(out: &mut [u8]) -> Option<()> {
    aws_lc_rs::rand::fill(out).ok()
}

/// The secrets of a file that several hosts share: one per line, 48 to 80 bytes in hexadecimal,
/// such as `openssl rand -hex 48` gives; lines that are empty or begin with `#` do not count.
pub(super) fn read_secrets(path: &Path) -> Result<(Secrets, u32), Problem> {
    let (text, mode) = read_secret(path)?;
    let mut secrets = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if !line.is_empty() && line[0] != b'#' {
            let bad = |reason| Problem::BadTicketKey { line: index + 1, reason };
            secrets.push(secret(line).map_err(bad)?);
        }
    }
    if secrets.is_empty() { Err(Problem::NoTicketKey) } else { Ok((secrets, mode)) }
}

fn secret(line: &[u8]) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    if line.iter().any(|byte| digit(*byte).is_none()) {
        return Err("it has other characters than 0-9 and a-f");
    }
    let mut secret = Zeroizing::new(Vec::with_capacity(line.len() / 2));
    let (pairs, rest) = line.as_chunks::<2>();
    for [high, low] in pairs {
        secret.extend(digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low));
    }
    match (rest.is_empty(), secret.len()) {
        (true, 48..=80) => Ok(secret),
        _ => Err("its length is another"),
    }
}
