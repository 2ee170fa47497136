//! Owns how calls end: the codes of gRPC's statuses, and what an error of h2 means for whoever
//! waits for an answer.

use h2::{Error, Reason};
use http::{HeaderMap, HeaderValue};

use super::super::cause::Cause;

pub const OK: u32 = 0;
pub const INVALID_ARGUMENT: u32 = 3;
pub const UNIMPLEMENTED: u32 = 12;
pub const UNAVAILABLE: u32 = 14;

/// What a status is counted as; nothing if all went well.
pub fn cause(status: u32) -> Option<Cause> {
    match status {
        OK => None,
        _ => Some(Cause::Grpc(NAMES.get(status as usize).unwrap_or(&"grpc_unknown"))),
    }
}

/// The status that headers or trailers carry, if any.
pub fn of(headers: &HeaderMap) -> Result<Option<u32>, Cause> {
    let Some(value) = headers.get("grpc-status") else { return Ok(None) };
    let code = value.to_str().ok().and_then(|text| text.parse().ok());
    code.map(Some).ok_or(Cause::Malformed)
}

/// The value of a status in headers or trailers.
pub fn value(status: u32) -> HeaderValue {
    HeaderValue::from(status)
}

/// What has become of a call, or of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The other side has not begun with it: it may be asked again.
    Untouched,
    /// This call alone has failed.
    Stream(Cause),
    /// The connection has gone, which is counted once and not by each of its calls.
    Connection(Cause),
}

impl Broken {
    pub fn cause(self) -> Cause {
        match self {
            Broken::Untouched => Cause::GoAway,
            Broken::Stream(cause) | Broken::Connection(cause) => cause,
        }
    }
}

impl From<Error> for Broken {
    fn from(error: Error) -> Broken {
        if error.is_go_away() && error.is_remote() {
            return match error.reason() {
                // Streams that the other side has not begun with (RFC 9113, section 6.8).
                Some(Reason::NO_ERROR) => Broken::Untouched,
                _ => Broken::Connection(Cause::GoAway),
            };
        }
        if error.is_reset() {
            return match (error.is_remote(), error.reason()) {
                (true, Some(Reason::REFUSED_STREAM)) => Broken::Untouched,
                (true, _) => Broken::Stream(Cause::StreamReset),
                (false, _) => Broken::Stream(Cause::Malformed),
            };
        }
        match error.into_io() {
            Some(error) => Broken::Connection(error.into()),
            None => Broken::Connection(Cause::Malformed),
        }
    }
}

/// A sentence for whoever reads the status, as gRPC writes it in a header.
pub fn sentence(status: u32) -> HeaderValue {
    HeaderValue::from_static(match status {
        UNIMPLEMENTED => "the backend has no such method",
        INVALID_ARGUMENT => "the message makes no sense",
        _ => "told to refuse",
    })
}

/// By their codes (statuscodes.md of gRPC).
const NAMES: [&str; 17] = [
    "grpc_ok",
    "grpc_cancelled",
    "grpc_unknown",
    "grpc_invalid_argument",
    "grpc_deadline_exceeded",
    "grpc_not_found",
    "grpc_already_exists",
    "grpc_permission_denied",
    "grpc_resource_exhausted",
    "grpc_failed_precondition",
    "grpc_aborted",
    "grpc_out_of_range",
    "grpc_unimplemented",
    "grpc_internal",
    "grpc_unavailable",
    "grpc_data_loss",
    "grpc_unauthenticated",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_word() {
        assert_eq!(cause(OK), None);
        assert_eq!(cause(UNAVAILABLE).unwrap().as_str(), "grpc_unavailable");
        assert_eq!(cause(16).unwrap().as_str(), "grpc_unauthenticated");
        assert_eq!(cause(99).unwrap().as_str(), "grpc_unknown");
    }

    #[test]
    fn a_status_that_is_no_number_makes_no_sense() {
        let mut headers = HeaderMap::new();
        assert_eq!(of(&headers), Ok(None));
        headers.insert("grpc-status", value(14));
        assert_eq!(of(&headers), Ok(Some(14)));
        headers.insert("grpc-status", HeaderValue::from_static("fine"));
        assert_eq!(of(&headers), Err(Cause::Malformed));
    }
}
