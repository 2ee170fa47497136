//! Owns the reasons for which a connection or a unit ends badly, each one word.

use std::io;

use ringmain::tls::Failure;
use rustix::io::Errno;
use rustls::CertificateError;

use crate::figures::kinds;

/// What went wrong on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Refused,
    Reset,
    /// The peer ended its stream while something was still to come.
    Closed,
    TimedOut,
    /// No local port was free.
    Ports,
    Descriptors,
    Memory,
    /// The certificate of the other side is not trusted, for this reason.
    Certificate(&'static str),
    Tls(&'static str),
    /// What came does not keep to the protocol.
    Malformed,
    /// The answer says that the request was not taken.
    Rejected,
    /// The same of gRPC, with the name of its status.
    Grpc(&'static str),
    /// One stream of HTTP/2 was reset, and the connection goes on.
    StreamReset,
    /// The peer ends its connection of HTTP/2, whatever is under way.
    GoAway,
    /// The agent broke off, as it was told to; nothing is wrong.
    OnPurpose,
    /// Anything else of the kernel's.
    Socket,
}

impl Cause {
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Refused => kinds::REFUSED,
            Cause::Reset => kinds::RESET,
            Cause::Closed => "closed",
            Cause::TimedOut => kinds::TIMED_OUT,
            Cause::Ports => kinds::PORTS,
            Cause::Descriptors => kinds::DESCRIPTORS,
            Cause::Memory => kinds::MEMORY,
            Cause::Certificate(_) => "tls_certificate",
            Cause::Tls(cause) => cause,
            Cause::Malformed => "malformed",
            Cause::Rejected => "rejected",
            Cause::Grpc(status) => status,
            Cause::StreamReset => "stream_reset",
            Cause::GoAway => "goaway",
            Cause::OnPurpose => "on_purpose",
            Cause::Socket => "socket_error",
        }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Cause {
        match Errno::from_io_error(&error) {
            Some(Errno::CONNREFUSED) => Cause::Refused,
            Some(Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED) => Cause::Reset,
            Some(Errno::TIMEDOUT) => Cause::TimedOut,
            Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE) => Cause::Ports,
            Some(Errno::MFILE | Errno::NFILE) => Cause::Descriptors,
            Some(Errno::NOMEM | Errno::NOBUFS) => Cause::Memory,
            _ => Cause::Socket,
        }
    }
}

impl From<Failure> for Cause {
    fn from(failure: Failure) -> Cause {
        match &failure {
            // The alert is for the other side.
            Failure::Answered(failure, _) => Cause::from(Failure::clone(failure)),
            Failure::Certificate(error) => Cause::Certificate(reason(error)),
            Failure::Alert(_) => Cause::Tls("tls_alert"),
            other if other.as_str() == "decrypt" => Cause::Tls("tls_decrypt"),
            _ => Cause::Tls("tls"),
        }
    }
}

/// In words for a sentence.
fn reason(error: &CertificateError) -> &'static str {
    use CertificateError::{
        BadEncoding, BadSignature, Expired, ExpiredContext, InvalidPurpose, InvalidPurposeContext,
        NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext, Revoked,
        UnknownIssuer,
    };
    match error {
        UnknownIssuer => "no authority that was given has signed it",
        NotValidForName | NotValidForNameContext { .. } => "it is not for the name asked for",
        Expired | ExpiredContext { .. } => "it has expired",
        NotValidYet | NotValidYetContext { .. } => "it is not valid yet",
        InvalidPurpose | InvalidPurposeContext { .. } => "it is not for servers",
        // That of an authority which has only the same name, or of the handshake.
        BadSignature => "its signature is of another key",
        BadEncoding => "it can not be read",
        Revoked => "it was revoked",
        _ => "it can not be verified",
    }
}
