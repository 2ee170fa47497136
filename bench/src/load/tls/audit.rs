//! Owns what handshakes must have come to: each is held against the terms of its run, and counted.

use rustls::{CipherSuite, CommonState, HandshakeKind, NamedGroup, ProtocolVersion};

use crate::load::Fault;

/// The handshakes of one run.
#[derive(Debug)]
pub struct Audit {
    suite: CipherSuite,
    expected: HandshakeKind,
    pub full: u64,
    pub resumed: u64,
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

/// What was agreed.
struct Agreement {
    kind: Option<HandshakeKind>,
    version: Option<ProtocolVersion>,
    suite: Option<CipherSuite>,
    group: Option<NamedGroup>,
}

impl Audit {
    /// Expects full handshakes.
    pub fn new(suite: CipherSuite) -> Self {
        let expected = HandshakeKind::Full;
        Self { suite, expected, full: 0, resumed: 0, violations: Default::default() }
    }

    pub fn expect_resumption(&mut self) {
        self.expected = HandshakeKind::Resumed;
    }

    pub fn inspect(&mut self, state: &CommonState) {
        self.count(&Agreement {
            kind: state.handshake_kind(),
            version: state.protocol_version(),
            suite: state.negotiated_cipher_suite().map(|suite| suite.suite()),
            group: state.negotiated_key_exchange_group().map(|group| group.name()),
        });
    }

    /// Whether all handshakes were as they should have been; otherwise, how most were not.
    pub fn verdict(&self) -> Result<(), Fault> {
        let counted = Violation::ALL.into_iter().zip(self.violations);
        match counted.max_by_key(|&(_, count)| count) {
            Some((violation, count)) if count > 0 => {
                Err(Fault::Disagreed { violation, count, of: self.full + self.resumed })
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, agreement: &Agreement) {
        match agreement.kind {
            Some(HandshakeKind::Resumed) => self.resumed += 1,
            _ => self.full += 1,
        }
        if let Some(violation) = self.violation(agreement) {
            self.violations[violation as usize] += 1;
        }
    }

    fn violation(&self, agreement: &Agreement) -> Option<Violation> {
        match agreement.kind {
            Some(kind) if kind == self.expected => {}
            Some(HandshakeKind::Resumed) => return Some(Violation::Resumed),
            Some(HandshakeKind::FullWithHelloRetryRequest) => return Some(Violation::Retried),
            _ => return Some(Violation::NotResumed),
        }
        if agreement.version != Some(ProtocolVersion::TLSv1_3) {
            return Some(Violation::OtherVersion);
        }
        if agreement.suite != Some(self.suite) {
            return Some(Violation::OtherSuite);
        }
        (agreement.group != Some(NamedGroup::X25519)).then_some(Violation::OtherGroup)
    }
}

impl Violation {
    /// In the order of their discriminants.
    const ALL: [Self; 6] = [
        Self::NotResumed,
        Self::Resumed,
        Self::Retried,
        Self::OtherVersion,
        Self::OtherSuite,
        Self::OtherGroup,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotResumed => "not_resumed",
            Self::Resumed => "resumed",
            Self::Retried => "retried",
            Self::OtherVersion => "other_version",
            Self::OtherSuite => "other_suite",
            Self::OtherGroup => "other_group",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUITE: CipherSuite = CipherSuite::TLS13_AES_128_GCM_SHA256;

    fn agreement(kind: HandshakeKind) -> Agreement {
        Agreement {
            kind: Some(kind),
            version: Some(ProtocolVersion::TLSv1_3),
            suite: Some(SUITE),
            group: Some(NamedGroup::X25519),
        }
    }

    fn verdict(resumption: bool, agreement: Agreement) -> Option<Violation> {
        let mut audit = Audit::new(SUITE);
        if resumption {
            audit.expect_resumption();
        }
        audit.count(&agreement);
        match audit.verdict() {
            Ok(()) => None,
            Err(Fault::Disagreed { violation, count: 1, of: 1 }) => Some(violation),
            Err(fault) => panic!("{fault}"),
        }
    }

    #[test]
    fn a_handshake_is_held_against_its_terms() {
        use HandshakeKind::{Full, FullWithHelloRetryRequest, Resumed};
        assert_eq!(verdict(false, agreement(Full)), None);
        assert_eq!(verdict(true, agreement(Resumed)), None);
        assert_eq!(verdict(true, agreement(Full)), Some(Violation::NotResumed));
        assert_eq!(verdict(false, agreement(Resumed)), Some(Violation::Resumed));
        let retried = agreement(FullWithHelloRetryRequest);
        assert_eq!(verdict(false, retried), Some(Violation::Retried));
        let version = Some(ProtocolVersion::TLSv1_2);
        let other = Agreement { version, ..agreement(Full) };
        assert_eq!(verdict(false, other), Some(Violation::OtherVersion));
        let other = Agreement { suite: None, ..agreement(Full) };
        assert_eq!(verdict(false, other), Some(Violation::OtherSuite));
        let other = Agreement { group: Some(NamedGroup::secp256r1), ..agreement(Full) };
        assert_eq!(verdict(false, other), Some(Violation::OtherGroup));
    }

    #[test]
    fn the_most_frequent_violation_is_told_with_its_count() {
        let mut audit = Audit::new(SUITE);
        audit.count(&agreement(HandshakeKind::Resumed));
        audit.expect_resumption();
        for _ in 0..3 {
            audit.count(&agreement(HandshakeKind::Full));
        }
        let expected = Fault::Disagreed { violation: Violation::NotResumed, count: 3, of: 4 };
        assert_eq!(audit.verdict(), Err(expected));
        assert_eq!((audit.full, audit.resumed), (3, 1));
    }
}
