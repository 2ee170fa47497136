//! Owns the one word for why a TLS handshake failed, the label of the metrics that count them.
//! Does not decide which cause applies, and does not count.

/// Why a TLS handshake failed, with a client or with a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandshakeCause {
    /// It had not ended by its deadline.
    Timeout,
    /// The peer gave up and said so.
    AlertReceived,
    /// The peer's certificate is not trusted.
    Certificate,
    /// The peer has to show a certificate and did not.
    NoCertificate,
    /// The two sides have no version, cipher suite or other parameter in common.
    Incompatible,
    /// The two sides have no application protocol in common.
    NoApplicationProtocol,
    /// What was received could not be decrypted.
    Decrypt,
    /// The peer did not keep to the protocol.
    Protocol,
    /// None of the others; the peer left without a word, for one.
    Other,
}

impl HandshakeCause {
    /// Every cause, in the order of `index`.
    pub const ALL: [Self; 9] = [
        Self::Timeout,
        Self::AlertReceived,
        Self::Certificate,
        Self::NoCertificate,
        Self::Incompatible,
        Self::NoApplicationProtocol,
        Self::Decrypt,
        Self::Protocol,
        Self::Other,
    ];

    /// The cause with this word; `Other` if there is none. For failures that the access log names
    /// with more words than the metrics.
    pub fn of(word: &str) -> Self {
        Self::ALL.into_iter().find(|cause| cause.as_str() == word).unwrap_or(Self::Other)
    }

    /// The word operators see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::AlertReceived => "alert-received",
            Self::Certificate => "certificate",
            Self::NoCertificate => "no-certificate",
            Self::Incompatible => "incompatible",
            Self::NoApplicationProtocol => "no-application-protocol",
            Self::Decrypt => "decrypt",
            Self::Protocol => "protocol",
            Self::Other => "other",
        }
    }

    /// The position in `ALL`, for tables with one entry per cause.
    pub const fn index(self) -> usize {
        self as usize
    }
}

// A new variant goes before the last one; forgotten in `ALL`, it fails to compile here.
const _: () = assert!(HandshakeCause::Other.index() + 1 == HandshakeCause::ALL.len());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_is_the_position_in_all() {
        for (position, cause) in HandshakeCause::ALL.into_iter().enumerate() {
            assert_eq!(cause.index(), position, "{}", cause.as_str());
        }
    }

    #[test]
    fn a_cause_is_found_by_its_word_and_no_other() {
        for cause in HandshakeCause::ALL {
            assert_eq!(HandshakeCause::of(cause.as_str()), cause, "{}", cause.as_str());
        }
        assert_eq!(HandshakeCause::of("keys-exhausted"), HandshakeCause::Other);
        assert_eq!(HandshakeCause::of(""), HandshakeCause::Other);
    }
}
