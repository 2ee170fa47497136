//! Owns what a `vector` source says of its health: the answer to one call over HTTP/2. Knows
//! nothing of what is sent to it otherwise.

use std::net::TcpStream;

use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderValue};

/// Whether the client begins as one of HTTP/2 does; waits until it has sent something. No line
/// that tests send begins so.
pub fn is_call(stream: &TcpStream) -> bool {
    let mut first = [0; 1];
    stream.peek(&mut first).is_ok() && first == *b"P"
}

/// Answers each call until the client leaves, which a prober does as soon as it knows enough.
pub fn answer_calls(stream: &TcpStream, is_well: bool) {
    let stream = stream.try_clone().unwrap();
    stream.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        converse(stream, is_well).await.unwrap_or_default();
    });
}

async fn converse(stream: tokio::net::TcpStream, is_well: bool) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(call) = connection.accept().await {
        let (request, mut respond) = call?;
        assert_eq!(request.uri().path(), "/vector.Vector/HealthCheck");
        let head = Response::builder().header("content-type", "application/grpc");
        let mut body = respond.send_response(head.body(()).unwrap(), false)?;
        // The state is field 1; that it serves is 0, and left out.
        let reply: &[u8] = if is_well { &[0; 5] } else { &[0, 0, 0, 0, 2, 8, 1] };
        body.send_data(Bytes::from_static(reply), false)?;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        body.send_trailers(trailers)?;
    }
    Ok(())
}
