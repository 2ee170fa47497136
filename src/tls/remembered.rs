//! What a ticket holds of a client: the certificates it was verified by. rustls seals a session in
//! a form of its own, which is read here as far as them; a form that is not known gives nothing,
//! and then nobody is resumed who was verified.

use rustls::pki_types::UnixTime;

use super::certificate::validity;

/// Whether every certificate that the client of this session has shown is valid still. A session
/// can be resumed over and over, each time with a new ticket, and rustls looks at the certificates
/// in a full handshake only (RFC 8446, section 4.6.1, leaves the limit to the server).
pub(super) fn still_valid(session: &[u8], now: UnixTime) -> bool {
    let Some(certificates) = certificates(session) else { return false };
    certificates
        .iter()
        .all(|certificate| validity(certificate).is_some_and(|(_, not_after)| now <= not_after))
}

/// The certificates, the client's own first; empty if it has shown none.
fn certificates(session: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Fields(session);
    if fields.flag()? {
        fields.vector(1)?;
    }
    const VERSION_AND_SUITE: usize = 4;
    fields.take(VERSION_AND_SUITE)?;
    let _secret = fields.vector(1)?;
    let _extended_master_secret = fields.flag()?;
    if !fields.flag()? {
        return Some(Vec::new());
    }
    let mut list = Fields(fields.vector(3)?);
    let mut certificates = Vec::new();
    while !list.0.is_empty() {
        certificates.push(list.vector(3)?);
    }
    Some(certificates)
}

/// Fields as TLS lays them out (RFC 8446, section 3.4).
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.take(1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    /// As long as its first `digits` bytes say.
    fn vector(&mut self, digits: usize) -> Option<&'a [u8]> {
        let length = self.take(digits)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(certificates: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![1, 3];
        bytes.extend(b"a.b");
        bytes.extend([3, 4, 0x13, 1, 2, 9, 9, 0, u8::from(!certificates.is_empty())]);
        if !certificates.is_empty() {
            let length: usize = certificates.iter().map(|certificate| 3 + certificate.len()).sum();
            bytes.extend([0, 0, length as u8]);
            for certificate in certificates {
                bytes.extend([0, 0, certificate.len() as u8]);
                bytes.extend(*certificate);
            }
        }
        bytes
    }

    #[test]
    fn certificates_are_found_behind_the_secret() {
        for expected in [&[] as &[&[u8]], &[b"one"], &[b"one", b"", b"three"]] {
            let mut bytes = session(expected);
            bytes.extend([0, 0, 0]);
            assert_eq!(certificates(&bytes).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_session_cut_anywhere_is_not_read() {
        let bytes = session(&[b"one", b"two"]);
        assert!(certificates(&bytes).is_some());
        for length in 0..bytes.len() {
            assert_eq!(certificates(&bytes[..length]), None, "{length}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_not_valid() {
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1));
        assert!(still_valid(&session(&[]), now));
        assert!(!still_valid(&session(&[b"one"]), now));
        assert!(!still_valid(&[], now));
    }
}
