//! Why a probe failed: one word for each reason, and a sentence for the log.

use std::fmt;
use std::io;

/// Why a probe failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeFailure {
    /// The whole probe took longer than it may.
    Timeout,
    /// Nobody listens there.
    Refused,
    /// The network knows no way there.
    Unreachable,
    /// The backend reset the connection.
    Reset,
    /// The backend ended the connection before it had answered.
    Closed,
    /// The answer is not of the protocol that the check speaks.
    Malformed,
    /// The answer is longer than any that a probe reads.
    TooLong,
    /// The TLS handshake failed.
    Tls,
    /// The HTTP status is outside the range.
    HttpStatus(u16),
    /// The call ended with this gRPC status.
    GrpcStatus(u32),
    /// The backend says of itself that it does not serve; with the value it said so by.
    NotServing(u64),
    /// The answer does not hold the bytes that are expected.
    Unexpected,
    /// The probe could not be made, for want of a descriptor, a port, memory or a source address
    /// here.
    Ours,
    /// The probe ended by a defect of this program.
    Defect,
}

impl ProbeFailure {
    /// It says something of this host, and nothing of the backend.
    pub fn is_ours(self) -> bool {
        matches!(self, ProbeFailure::Ours | ProbeFailure::Defect)
    }

    /// The word for the log field and the metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            ProbeFailure::Timeout => "timeout",
            ProbeFailure::Refused => "refused",
            ProbeFailure::Unreachable => "unreachable",
            ProbeFailure::Reset => "reset",
            ProbeFailure::Closed => "closed",
            ProbeFailure::Malformed => "malformed",
            ProbeFailure::TooLong => "too_long",
            ProbeFailure::Tls => "tls",
            ProbeFailure::HttpStatus(_) => "http_status",
            ProbeFailure::GrpcStatus(_) => "grpc_status",
            ProbeFailure::NotServing(_) => "not_serving",
            ProbeFailure::Unexpected => "unexpected",
            ProbeFailure::Ours => "ours",
            ProbeFailure::Defect => "defect",
        }
    }
}

impl fmt::Display for ProbeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = match self {
            ProbeFailure::Timeout => "there was no answer in time",
            ProbeFailure::Refused => "the connection was refused",
            ProbeFailure::Unreachable => "the network is unreachable",
            ProbeFailure::Reset => "the connection was reset",
            ProbeFailure::Closed => "the connection was closed before there was an answer",
            ProbeFailure::Malformed => "the answer is not of the check's protocol",
            ProbeFailure::TooLong => "the answer is too long",
            ProbeFailure::Tls => "the TLS handshake failed",
            ProbeFailure::HttpStatus(status) => return write!(f, "the HTTP status is {status}"),
            ProbeFailure::GrpcStatus(status) => return write!(f, "the gRPC status is {status}"),
            ProbeFailure::NotServing(status) => {
                return write!(f, "it says that it does not serve, with the value {status}");
            }
            ProbeFailure::Unexpected => "the answer does not hold what is expected",
            ProbeFailure::Ours => {
                "no probe could be made, for want of descriptors, ports, memory or a source \
                 address here"
            }
            ProbeFailure::Defect => "the probe ended by a defect of this program",
        };
        f.write_str(sentence)
    }
}

impl From<io::Error> for ProbeFailure {
    fn from(error: io::Error) -> ProbeFailure {
        ProbeFailure::from(&error)
    }
}

impl From<&io::Error> for ProbeFailure {
    fn from(error: &io::Error) -> ProbeFailure {
        let lack = [
            libc::EMFILE,
            libc::ENFILE,
            libc::ENOMEM,
            libc::ENOBUFS,
            libc::EADDRNOTAVAIL,
            libc::EADDRINUSE,
        ];
        if error.raw_os_error().is_some_and(|errno| lack.contains(&errno)) {
            return ProbeFailure::Ours;
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => ProbeFailure::Refused,
            io::ErrorKind::ConnectionReset => ProbeFailure::Reset,
            // The kernel's own patience, shorter than the check's.
            io::ErrorKind::TimedOut => ProbeFailure::Timeout,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => ProbeFailure::Closed,
            // What rustls says of records that it cannot read or accept.
            io::ErrorKind::InvalidData => ProbeFailure::Tls,
            _ if error.raw_os_error().is_some() => ProbeFailure::Unreachable,
            // What a protocol's reader has made of the bytes.
            _ => ProbeFailure::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_here_is_not_the_backends_fault() {
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::EADDRNOTAVAIL] {
            assert!(ProbeFailure::from(io::Error::from_raw_os_error(errno)).is_ours(), "{errno}");
        }
        let failure = |errno| ProbeFailure::from(io::Error::from_raw_os_error(errno));
        assert_eq!(failure(libc::ECONNREFUSED), ProbeFailure::Refused);
        assert_eq!(failure(libc::ECONNRESET), ProbeFailure::Reset);
        assert_eq!(failure(libc::ETIMEDOUT), ProbeFailure::Timeout);
        assert_eq!(failure(libc::EHOSTUNREACH), ProbeFailure::Unreachable);
        assert_eq!(failure(libc::ENETUNREACH), ProbeFailure::Unreachable);
        assert_eq!(failure(libc::EPIPE), ProbeFailure::Closed);
    }
}
