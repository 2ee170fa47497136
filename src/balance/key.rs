//! From a connection's traits to the hash of its key, without an allocation.

use std::io::Write;
use std::net::SocketAddr;

use super::chooser::Traits;
use super::hash;
use super::policy::{Hashing, Key, Policy};

/// How one pool hashes its keys.
#[derive(Debug)]
pub(super) struct Keying {
    key: Key,
    salted: Salted,
}

/// A hash that has taken the salt in.
#[derive(Debug)]
enum Salted {
    /// Of the text, as NGINX hashes it: a client's address as `$remote_addr` has it.
    Text(crc32fast::Hasher),
    /// Of the bytes, which are shorter and need not be written first.
    Bytes(u64),
}

impl Keying {
    /// None: the policy hashes nothing.
    pub(super) fn new(policy: &Policy) -> Option<Keying> {
        let Hashing { key, salt, .. } = policy.hashing()?;
        let salted = if matches!(policy, Policy::Ring(_)) {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(salt.as_bytes());
            Salted::Text(hasher)
        } else {
            Salted::Bytes(hash::of_bytes(0, salt.as_bytes()))
        };
        Some(Keying { key: *key, salted })
    }

    /// A trait that is missing hashes as the empty text. A ring's hash has 32 bits.
    pub(super) fn hash(&self, traits: &Traits<'_>) -> u64 {
        let mut buffer = [0; LONGEST];
        let length = match &self.salted {
            Salted::Text(_) => self.text(traits, &mut buffer),
            Salted::Bytes(_) => self.bytes(traits, &mut buffer),
        };
        let key = &buffer[..length];
        match &self.salted {
            Salted::Text(hasher) => {
                let mut hasher = hasher.clone();
                hasher.update(key);
                u64::from(hasher.finalize())
            }
            Salted::Bytes(seed) => hash::of_bytes(*seed, key),
        }
    }

    fn text(&self, traits: &Traits<'_>, buffer: &mut [u8; LONGEST]) -> usize {
        let Some((address, with_port)) = self.address(traits) else {
            return name(traits, buffer);
        };
        let Some(address) = address else { return 0 };
        let mut left = &mut buffer[..];
        let written = if with_port {
            // Without the scope of a link-local address: it is another one on every host.
            write!(left, "{}", SocketAddr::new(address.ip().to_canonical(), address.port()))
        } else {
            write!(left, "{}", address.ip().to_canonical())
        };
        debug_assert!(written.is_ok(), "the buffer holds every address");
        let left = left.len();
        LONGEST - left
    }

    fn bytes(&self, traits: &Traits<'_>, buffer: &mut [u8; LONGEST]) -> usize {
        let Some((address, with_port)) = self.address(traits) else {
            return name(traits, buffer);
        };
        let Some(address) = address else { return 0 };
        let mut length = 0;
        let mut put = |bytes: &[u8]| {
            buffer[length..length + bytes.len()].copy_from_slice(bytes);
            length += bytes.len();
        };
        match address.ip().to_canonical() {
            std::net::IpAddr::V4(ip) => put(&ip.octets()),
            std::net::IpAddr::V6(ip) => put(&ip.octets()),
        }
        if with_port {
            put(&address.port().to_be_bytes());
        }
        length
    }

    /// The address that is the key, and whether its port is part of it; none: it is the name.
    fn address(&self, traits: &Traits<'_>) -> Option<(Option<SocketAddr>, bool)> {
        match self.key {
            Key::Source => Some((traits.source, false)),
            Key::SourcePort => Some((traits.source, true)),
            Key::Destination => Some((traits.destination, false)),
            Key::DestinationPort => Some((traits.destination, true)),
            Key::ServerName => None,
        }
    }
}

/// The server name in lower case, and no more of it than names in DNS can have.
fn name(traits: &Traits<'_>, buffer: &mut [u8; LONGEST]) -> usize {
    let name = traits.server_name.unwrap_or("").as_bytes();
    let length = name.len().min(LONGEST);
    buffer[..length].copy_from_slice(&name[..length]);
    buffer[..length].make_ascii_lowercase();
    length
}

/// Bytes of the longest key.
const LONGEST: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn keying(key: Key, salt: &str, ring: bool) -> Keying {
        let hashing = Hashing { key, salt: salt.to_owned(), bounded_load: None };
        let maglev = Policy::Maglev { hashing: hashing.clone(), size: 7 };
        Keying::new(&if ring { Policy::Ring(hashing) } else { maglev }).unwrap()
    }

    fn from(source: &str) -> Traits<'static> {
        Traits { source: Some(source.parse().unwrap()), ..Traits::default() }
    }

    #[test]
    fn a_ring_hashes_salt_and_text() {
        let crc = |text: &str| u64::from(crc32fast::hash(text.as_bytes()));
        for (key, source, text) in [
            (Key::Source, "192.0.2.7:99", "192.0.2.7"),
            (Key::Source, "[2001:db8:0::1]:99", "2001:db8::1"),
            (Key::SourcePort, "192.0.2.7:99", "192.0.2.7:99"),
            (Key::SourcePort, "[2001:db8::1]:99", "[2001:db8::1]:99"),
            (Key::SourcePort, "[fe80::1%3]:99", "[fe80::1]:99"),
            (Key::Source, "[::ffff:192.0.2.7]:99", "192.0.2.7"),
        ] {
            assert_eq!(keying(key, "", true).hash(&from(source)), crc(text), "{text}");
            let salted = keying(key, "salt", true).hash(&from(source));
            assert_eq!(salted, crc(&format!("salt{text}")), "{text}");
        }
        let destination =
            Traits { destination: Some("10.0.0.1:6000".parse().unwrap()), ..Traits::default() };
        assert_eq!(keying(Key::Destination, "", true).hash(&destination), crc("10.0.0.1"));
        let with_port = keying(Key::DestinationPort, "", true).hash(&destination);
        assert_eq!(with_port, crc("10.0.0.1:6000"));
    }

    #[test]
    fn what_is_missing_hashes_as_nothing() {
        for key in [Key::Source, Key::SourcePort, Key::DestinationPort, Key::ServerName] {
            assert_eq!(keying(key, "", true).hash(&Traits::default()), 0);
            let empty = Traits { server_name: Some(""), ..Traits::default() };
            assert_eq!(
                keying(key, "", false).hash(&Traits::default()),
                keying(Key::ServerName, "", false).hash(&empty)
            );
        }
    }

    #[test]
    fn server_names_are_the_same_in_any_case_and_length() {
        let long = "x".repeat(300);
        for ring in [true, false] {
            let keying = keying(Key::ServerName, "", ring);
            let hash = |name| keying.hash(&Traits { server_name: Some(name), ..Traits::default() });
            assert_eq!(hash("Logs.Example.COM"), hash("logs.example.com"));
            assert_ne!(hash("logs.example.com"), hash("logs.example.org"));
            assert_eq!(hash(&long), hash(&long[..LONGEST]));
        }
    }

    #[test]
    fn each_part_of_a_key_counts() {
        let hash = |key, salt, source| keying(key, salt, false).hash(&from(source));
        let plain = hash(Key::Source, "", "192.0.2.7:99");
        assert_eq!(plain, hash(Key::Source, "", "192.0.2.7:98"));
        assert_eq!(plain, hash(Key::Source, "", "[::ffff:192.0.2.7]:99"));
        assert_ne!(plain, hash(Key::Source, "salt", "192.0.2.7:99"));
        assert_ne!(plain, hash(Key::Source, "", "192.0.2.8:99"));
        assert_ne!(
            hash(Key::SourcePort, "", "192.0.2.7:99"),
            hash(Key::SourcePort, "", "192.0.2.7:98")
        );
    }
}
