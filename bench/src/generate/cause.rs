//! Owns the reasons for which a connection or a unit ends badly, each one word.

use std::io;

use ringmain::tls::Failure;
use rustix::io::Errno;

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
        Cause::Tls(match failure.as_str() {
            "certificate" => "tls_certificate",
            "alert-received" => "tls_alert",
            "decrypt" => "tls_decrypt",
            _ => "tls",
        })
    }
}
