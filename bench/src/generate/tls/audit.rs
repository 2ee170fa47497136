//! Owns what handshakes must have come to: each is held against the terms of its group, and
//! counted.

use std::fmt;

use ringmain::tls::Agreed;
use rustls::{CipherSuite, NamedGroup, ProtocolVersion};

use super::super::protocol::Handshakes;
use super::terms::{Suite, Terms};

/// The handshakes of one group, from its first connection on.
#[derive(Debug)]
pub struct Audit {
    suite: Option<CipherSuite>,
    expected: Handshakes,
    full: u64,
    resumed: u64,
    violations: [u64; Violation::ALL.len()],
}

/// How a handshake that succeeded was not what it should have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// It was full.
    NotResumed,
    /// A ticket was taken where none was meant to be.
    Resumed,
    /// It took a second ClientHello.
    Retried,
    OtherVersion,
    OtherSuite,
    OtherGroup,
}

/// Handshakes that were not what they should have been: so many of all, most of them so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disagreed {
    pub violation: Violation,
    pub count: u64,
    pub of: u64,
}

impl Audit {
    /// Expects full handshakes.
    pub fn new(terms: Terms) -> Audit {
        let suite = terms.suite.map(|suite| match suite {
            Suite::Aes128 => CipherSuite::TLS13_AES_128_GCM_SHA256,
            Suite::Aes256 => CipherSuite::TLS13_AES_256_GCM_SHA384,
        });
        let violations = Default::default();
        Audit { suite, expected: Handshakes::Full, full: 0, resumed: 0, violations }
    }

    pub fn expect_resumption(&mut self) {
        self.expected = Handshakes::Resumed;
    }

    pub fn inspect(&mut self, agreed: &Agreed) {
        *(if agreed.resumed { &mut self.resumed } else { &mut self.full }) += 1;
        if let Some(violation) = self.violation(agreed) {
            self.violations[violation as usize] += 1;
        }
    }

    /// How most handshakes were not what they should have been; none: all were.
    pub fn verdict(&self) -> Option<Disagreed> {
        let counted = Violation::ALL.into_iter().zip(self.violations);
        let (violation, count) = counted.max_by_key(|&(_, count)| count)?;
        (count > 0).then_some(Disagreed { violation, count, of: self.full + self.resumed })
    }

    fn violation(&self, agreed: &Agreed) -> Option<Violation> {
        match (self.expected, agreed.resumed) {
            _ if agreed.retried && self.suite.is_some() => return Some(Violation::Retried),
            (Handshakes::Full, true) => return Some(Violation::Resumed),
            (Handshakes::Resumed, false) => return Some(Violation::NotResumed),
            _ => {}
        }
        if agreed.version != Some(ProtocolVersion::TLSv1_3) {
            return Some(Violation::OtherVersion);
        }
        let suite = self.suite?;
        if agreed.suite != Some(suite) {
            return Some(Violation::OtherSuite);
        }
        (agreed.group != Some(NamedGroup::X25519)).then_some(Violation::OtherGroup)
    }
}

impl Violation {
    /// In the order of their discriminants.
    const ALL: [Violation; 6] = [
        Violation::NotResumed,
        Violation::Resumed,
        Violation::Retried,
        Violation::OtherVersion,
        Violation::OtherSuite,
        Violation::OtherGroup,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Violation::NotResumed => "not_resumed",
            Violation::Resumed => "resumed",
            Violation::Retried => "retried",
            Violation::OtherVersion => "other_version",
            Violation::OtherSuite => "other_suite",
            Violation::OtherGroup => "other_group",
        }
    }
}

impl fmt::Display for Disagreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Disagreed { violation, count, of } = self;
        write!(f, "{count} of {of} handshakes were not as asked ({})", violation.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::Identity;

    const TERMS: Terms = Terms { suite: Some(Suite::Aes128), identity: Identity::Ecdsa };

    fn agreed(resumed: bool) -> Agreed {
        Agreed {
            version: Some(ProtocolVersion::TLSv1_3),
            suite: Some(CipherSuite::TLS13_AES_128_GCM_SHA256),
            group: Some(NamedGroup::X25519),
            protocol: None,
            peer: None,
            resumed,
            retried: false,
            server: false,
        }
    }

    fn violation(resumption: bool, agreed: &Agreed) -> Option<Violation> {
        let mut audit = Audit::new(TERMS);
        if resumption {
            audit.expect_resumption();
        }
        audit.inspect(agreed);
        audit.verdict().map(|disagreed| disagreed.violation)
    }

    #[test]
    fn a_handshake_is_held_against_its_terms() {
        assert_eq!(violation(false, &agreed(false)), None);
        assert_eq!(violation(true, &agreed(true)), None);
        assert_eq!(violation(true, &agreed(false)), Some(Violation::NotResumed));
        assert_eq!(violation(false, &agreed(true)), Some(Violation::Resumed));
        let retried = Agreed { retried: true, ..agreed(false) };
        assert_eq!(violation(false, &retried), Some(Violation::Retried));
        let version = Some(ProtocolVersion::TLSv1_2);
        let other = Agreed { version, ..agreed(false) };
        assert_eq!(violation(false, &other), Some(Violation::OtherVersion));
        let other = Agreed { suite: None, ..agreed(false) };
        assert_eq!(violation(false, &other), Some(Violation::OtherSuite));
        let other = Agreed { group: Some(NamedGroup::secp256r1), ..agreed(false) };
        assert_eq!(violation(false, &other), Some(Violation::OtherGroup));
        // Who offers all that is known may have to be asked again for the group.
        let mut lenient = Audit::new(Terms::default());
        lenient.inspect(&other);
        lenient.inspect(&retried);
        assert_eq!(lenient.verdict(), None);
    }

    #[test]
    fn the_most_frequent_violation_is_told_with_its_count() {
        let mut audit = Audit::new(TERMS);
        audit.inspect(&agreed(true));
        audit.expect_resumption();
        (0..3).for_each(|_| audit.inspect(&agreed(false)));
        let expected = Disagreed { violation: Violation::NotResumed, count: 3, of: 4 };
        assert_eq!(audit.verdict(), Some(expected));
    }
}
