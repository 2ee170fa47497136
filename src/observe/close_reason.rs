//! Owns the one word for why a session ended, the same in the access log and in the metric label.
//! Does not decide which reason applies, and does not count.

/// Why a session ended. Every session has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Both directions reached their end of stream and everything was delivered.
    Finished,
    /// The client reset its connection.
    ClientReset,
    /// The backend reset its connection.
    BackendReset,
    /// The client left before a backend was connected.
    ClientAborted,
    /// Neither direction moved a byte for the idle time-out.
    IdleTimeout,
    /// One direction had ended and the other one moved nothing for the half-closed time-out.
    HalfClosedTimeout,
    /// The client stopped acknowledging: TCP keep-alive or the user time-out gave up on it.
    ClientTimedOut,
    /// The backend stopped acknowledging: TCP keep-alive or the user time-out gave up on it.
    BackendTimedOut,
    /// Every backend tried refused the connection or was unreachable.
    ConnectFailed,
    /// No backend tried answered within the connect time-out.
    ConnectTimeout,
    /// The pool had no backend that may take a session.
    NoBackend,
    /// Every backend that may take a session was at its connection limit.
    BackendLimit,
    /// As many sessions as may were waiting already for a place on a backend.
    QueueFull,
    /// No backend had a place within the time that a session may wait for one.
    QueueTimeout,
    /// The memory for stalled relays was used up and this session had stalled the longest; or that
    /// for hellos was, and of those that were not whole this one's was read for the longest time.
    RelayMemory,
    /// No descriptor was left to reach a backend with.
    Descriptors,
    /// No source port was free towards the backend.
    SourcePorts,
    /// The backend was removed from its pool, drains, or is down or ejected, and its sessions do
    /// not stay.
    BackendLost,
    /// The backend had more than its share of the sessions.
    Rebalanced,
    /// The session had reached its greatest age.
    MaxAge,
    /// The session was still open at the drain deadline.
    Drained,
    /// The code that served the session panicked; the other sessions were not touched.
    Panicked,
    /// The ClientHello was not complete within its time-out.
    HelloTimeout,
    /// What the client began with was no ClientHello that could be read.
    BadHello,
    /// No route leads anywhere for the server name and protocol that the client asked for.
    NoRoute,
    /// The client's handshake was not done within its time-out, or one with a backend could not
    /// begin within its own, because as many as may were under way.
    HandshakeTimeout,
    /// TLS with the client failed: in the handshake, or on what it sent later.
    ClientTls,
    /// TLS with the backend failed: in the handshake with each one tried, or on what it sent later.
    BackendTls,
    /// Everything was delivered, but a stream ended without its TLS saying so: it may be cut short.
    TlsTruncated,
    /// A socket reported an error that has no reason of its own here.
    SocketError,
}

impl CloseReason {
    /// Every reason, in the order of `index`.
    pub const ALL: [Self; 30] = [
        Self::Finished,
        Self::ClientReset,
        Self::BackendReset,
        Self::ClientAborted,
        Self::IdleTimeout,
        Self::HalfClosedTimeout,
        Self::ClientTimedOut,
        Self::BackendTimedOut,
        Self::ConnectFailed,
        Self::ConnectTimeout,
        Self::NoBackend,
        Self::BackendLimit,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::RelayMemory,
        Self::Descriptors,
        Self::SourcePorts,
        Self::BackendLost,
        Self::Rebalanced,
        Self::MaxAge,
        Self::Drained,
        Self::Panicked,
        Self::HelloTimeout,
        Self::BadHello,
        Self::NoRoute,
        Self::HandshakeTimeout,
        Self::ClientTls,
        Self::BackendTls,
        Self::TlsTruncated,
        Self::SocketError,
    ];

    /// The word operators see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::ClientReset => "client-reset",
            Self::BackendReset => "backend-reset",
            Self::ClientAborted => "client-aborted",
            Self::IdleTimeout => "idle-timeout",
            Self::HalfClosedTimeout => "half-closed-timeout",
            Self::ClientTimedOut => "client-timed-out",
            Self::BackendTimedOut => "backend-timed-out",
            Self::ConnectFailed => "connect-failed",
            Self::ConnectTimeout => "connect-timeout",
            Self::NoBackend => "no-backend",
            Self::BackendLimit => "backend-limit",
            Self::QueueFull => "queue-full",
            Self::QueueTimeout => "queue-timeout",
            Self::RelayMemory => "relay-memory",
            Self::Descriptors => "descriptors",
            Self::SourcePorts => "source-ports",
            Self::BackendLost => "backend-lost",
            Self::Rebalanced => "rebalanced",
            Self::MaxAge => "max-age",
            Self::Drained => "drained",
            Self::Panicked => "panicked",
            Self::HelloTimeout => "hello-timeout",
            Self::BadHello => "bad-hello",
            Self::NoRoute => "no-route",
            Self::HandshakeTimeout => "handshake-timeout",
            Self::ClientTls => "client-tls",
            Self::BackendTls => "backend-tls",
            Self::TlsTruncated => "tls-truncated",
            Self::SocketError => "socket-error",
        }
    }

    /// The position in `ALL`, for tables with one entry per reason.
    pub const fn index(self) -> usize {
        self as usize
    }
}

// A new variant goes before the last one; forgotten in `ALL`, it fails to compile here.
const _: () = assert!(CloseReason::SocketError.index() + 1 == CloseReason::ALL.len());

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn index_is_the_position_in_all() {
        for (position, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), position, "{}", reason.as_str());
        }
    }

    #[test]
    fn words_are_distinct_and_kebab_case() {
        let words: BTreeSet<_> = CloseReason::ALL.into_iter().map(CloseReason::as_str).collect();
        assert_eq!(words.len(), CloseReason::ALL.len());
        for word in words {
            assert!(word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{word}");
        }
    }
}
