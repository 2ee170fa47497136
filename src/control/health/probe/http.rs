//! The `http` check: a request is answered with a status in a range. The body is not asked for.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::alongside::alongside;
use super::failure::ProbeFailure;
use super::prober::BadCheck;

/// What is asked, and which status counts as well.
pub(super) struct Question {
    method: Method,
    path: Uri,
    /// `None`: the backend's address.
    host: Option<HeaderValue>,
    status: RangeInclusive<u16>,
}

impl Question {
    pub(super) fn new(
        method: &str,
        path: &str,
        host: Option<&str>,
        status: &RangeInclusive<u16>,
    ) -> Result<Question, BadCheck> {
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| BadCheck::Method)?;
        // Else the path would be taken for a host, or for a whole address.
        let path = Some(path).filter(|path| path.starts_with('/')).ok_or(BadCheck::Path)?;
        let path = PathAndQuery::try_from(path).map_err(|_| BadCheck::Path)?;
        let host = host.map(HeaderValue::from_str).transpose().map_err(|_| BadCheck::Host)?;
        Ok(Question { method, path: Uri::from(path), host, status: status.clone() })
    }

    pub(super) async fn ask<S>(&self, stream: S, address: SocketAddr) -> Result<(), ProbeFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut requests, connection) = http1::Builder::new()
            .max_buf_size(ANSWER_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(failure)?;
        let exchange = requests.send_request(self.request(address));
        let response = alongside(exchange, connection).await.map_err(failure)?;
        let status = response.status().as_u16();
        let expected = self.status.contains(&status);
        if expected { Ok(()) } else { Err(ProbeFailure::HttpStatus(status)) }
    }

    fn request(&self, address: SocketAddr) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone();
        let host = self.host.clone().or_else(|| HeaderValue::try_from(address.to_string()).ok());
        let headers = request.headers_mut();
        headers.extend(host.map(|host| (HOST, host)));
        headers.insert(USER_AGENT, HeaderValue::from_static("ringmain"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        request
    }
}

fn failure(error: hyper::Error) -> ProbeFailure {
    if error.is_parse_too_large() {
        return ProbeFailure::TooLong;
    }
    if error.is_parse() {
        return ProbeFailure::Malformed;
    }
    let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match cause {
        Some(cause) => ProbeFailure::from(cause),
        None if error.is_incomplete_message() || error.is_closed() || error.is_canceled() => {
            ProbeFailure::Closed
        }
        None => ProbeFailure::Malformed,
    }
}

/// The longest status line with its headers.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
