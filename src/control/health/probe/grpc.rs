//! The `grpc` and `vector` checks: a unary call over HTTP/2 whose reply says that the backend
//! serves.

use h2::RecvStream;
use h2::client::{Builder, SendRequest};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE, USER_AGENT};
use hyper::{Method, Request, Uri};
use tokio::io::{AsyncRead, AsyncWrite, BufWriter};

use super::alongside::alongside;
use super::failure::ProbeFailure;
use super::message;
use super::prober::BadCheck;

/// What is called, and what its reply means.
pub(super) struct Call {
    path: &'static str,
    message: Bytes,
    /// The value by which the backend says that it serves.
    serving: u64,
}

impl Call {
    /// grpc.health.v1.Health/Check for a service, or with an empty name for the whole server.
    pub(super) fn health(service: &str) -> Result<Call, BadCheck> {
        let message = message::framed(&message::text_message(service)).ok_or(BadCheck::Service)?;
        Ok(Call { path: "/grpc.health.v1.Health/Check", message: message.into(), serving: 1 })
    }

    /// vector.Vector/HealthCheck of the `vector` source (proto/vector/vector.proto).
    pub(super) fn vector() -> Call {
        let nothing = Bytes::from_static(&[0; 5]);
        Call { path: "/vector.Vector/HealthCheck", message: nothing, serving: 0 }
    }

    /// Makes the call; `authority` is whom the request names.
    pub(super) async fn ask<S>(
        &self,
        stream: S,
        scheme: &str,
        authority: &str,
    ) -> Result<(), ProbeFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(self.path);
        // An address or a name that TLS accepts is an authority; else the call could not be made.
        let uri = uri.build().map_err(|_| ProbeFailure::Defect)?;
        let (requests, connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(HEADER_BYTES_MAX)
            // The preface goes out with the request, and not in a packet of its own.
            .handshake::<_, Bytes>(BufWriter::with_capacity(REQUEST_BYTES, stream))
            .await
            .map_err(failure)?;
        alongside(self.exchange(requests, uri), connection).await
    }

    async fn exchange(&self, requests: SendRequest<Bytes>, uri: Uri) -> Result<(), ProbeFailure> {
        let mut requests = requests.ready().await.map_err(failure)?;
        let (response, mut sent) = requests.send_request(request(uri), false).map_err(failure)?;
        sent.send_data(self.message.clone(), true).map_err(failure)?;
        let response = response.await.map_err(failure)?;
        if response.status() != 200 {
            return Err(ProbeFailure::HttpStatus(response.status().as_u16()));
        }
        let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        if !kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
            return Err(ProbeFailure::Malformed);
        }
        let (head, mut body) = response.into_parts();
        // A call that fails at once has its status in the headers, and no message.
        if let Some(status) = grpc_status(&head.headers)? {
            return Err(match status {
                0 => ProbeFailure::Malformed,
                status => ProbeFailure::GrpcStatus(status),
            });
        }
        let reply = read(&mut body).await?;
        let trailers = body.trailers().await.map_err(failure)?.unwrap_or_default();
        match grpc_status(&trailers)? {
            Some(0) => {}
            Some(status) => return Err(ProbeFailure::GrpcStatus(status)),
            None => return Err(ProbeFailure::Malformed),
        }
        match message::status(&reply) {
            Some(status) if status == self.serving => Ok(()),
            Some(status) => Err(ProbeFailure::NotServing(status)),
            None => Err(ProbeFailure::Malformed),
        }
    }
}

fn request(uri: Uri) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.version_mut() = hyper::Version::HTTP_2;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(USER_AGENT, HeaderValue::from_static("ringmain"));
    request
}

/// The whole reply. The window is as large as it may be, and never opened further.
async fn read(body: &mut RecvStream) -> Result<Vec<u8>, ProbeFailure> {
    let mut reply = Vec::new();
    while let Some(part) = body.data().await {
        reply.extend_from_slice(&part.map_err(failure)?);
        if reply.len() > REPLY_BYTES_MAX {
            return Err(ProbeFailure::TooLong);
        }
    }
    Ok(reply)
}

fn grpc_status(headers: &HeaderMap) -> Result<Option<u32>, ProbeFailure> {
    let Some(status) = headers.get("grpc-status") else { return Ok(None) };
    let status = status.to_str().ok().and_then(|status| status.parse().ok());
    status.map(Some).ok_or(ProbeFailure::Malformed)
}

fn failure(error: h2::Error) -> ProbeFailure {
    if let Some(cause) = error.get_io() {
        return ProbeFailure::from(cause);
    }
    if error.is_remote() { ProbeFailure::Reset } else { ProbeFailure::Malformed }
}

/// The preface, the settings and a request with the longest service are less than this as a rule;
/// what is more goes out in several packets.
const REQUEST_BYTES: usize = 512;

/// A reply has seven bytes; more are read only to say that it is too long.
const REPLY_BYTES_MAX: usize = 1024;

/// What the backend may send unasked.
const WINDOW: u32 = 64 * 1024;

const HEADER_BYTES_MAX: u32 = 16 * 1024;
