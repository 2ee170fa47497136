//! The probes over HTTP/2, against a real server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, Response};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::server::{acceptor, asking, probe, serve};
use crate::config::{Check, CheckTls, Health};
use crate::control::health::ProbeFailure;

/// What a server answers to every call.
#[derive(Clone)]
struct Answer {
    status: u16,
    content_type: &'static str,
    /// In the headers, which then are all there is.
    at_once: Option<&'static str>,
    message: Vec<u8>,
    trailer: Option<&'static str>,
}

/// A reply with these bytes as its message.
fn reply(message: &[u8]) -> Answer {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    Answer {
        status: 200,
        content_type: "application/grpc+proto",
        at_once: None,
        message: [&[0], &length[..], message].concat(),
        trailer: Some("0"),
    }
}

/// Path, authority and message of a call.
type Calls = Arc<Mutex<Vec<(String, String, Vec<u8>)>>>;

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, answer: Answer, calls: Calls) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    // The probe goes as soon as it knows enough.
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let (answer, calls) = (answer.clone(), Arc::clone(&calls));
        tokio::spawn(async move {
            note(request, &calls).await;
            let mut response = Response::builder()
                .status(answer.status)
                .header("content-type", answer.content_type);
            if let Some(status) = answer.at_once {
                response = response.header("grpc-status", status);
            }
            let over = answer.at_once.is_some();
            let mut body = respond.send_response(response.body(()).unwrap(), over).unwrap();
            if over {
                return;
            }
            body.send_data(Bytes::from(answer.message), answer.trailer.is_none()).unwrap();
            if let Some(status) = answer.trailer {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static(status));
                body.send_trailers(trailers).unwrap();
            }
        });
    }
}

async fn note(request: Request<h2::RecvStream>, calls: &Calls) {
    assert_eq!(request.method(), "POST");
    assert_eq!(request.headers()["te"], "trailers");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    let (path, authority) = (request.uri().path(), request.uri().authority().unwrap());
    let (path, authority) = (path.to_owned(), authority.to_string());
    let mut message = Vec::new();
    let mut body = request.into_body();
    while let Some(part) = body.data().await {
        message.extend_from_slice(&part.unwrap());
    }
    calls.lock().unwrap().push((path, authority, message));
}

async fn answering(answer: Answer) -> (SocketAddr, Calls) {
    let calls = Calls::default();
    let noted = Arc::clone(&calls);
    let address = serve(move |stream| converse(stream, answer.clone(), Arc::clone(&noted))).await;
    (address, calls)
}

fn grpc(service: &str) -> Health {
    asking(Check::Grpc { service: service.to_owned() })
}

#[tokio::test]
async fn a_server_serves_if_it_says_so() {
    for (answer, expected) in [
        (reply(&[8, 1]), Ok(())),
        (reply(&[0x12, 2, 0, 0, 8, 1]), Ok(())),
        (reply(&[8, 2]), Err(ProbeFailure::NotServing(2))),
        (reply(&[8, 3]), Err(ProbeFailure::NotServing(3))),
        (reply(&[]), Err(ProbeFailure::NotServing(0))),
    ] {
        let (address, _) = answering(answer.clone()).await;
        assert_eq!(probe(&grpc(""), address).await, expected, "{:?}", answer.message);
    }
}

#[tokio::test]
async fn vector_serves_if_it_says_so_or_says_nothing_else() {
    for (answer, expected) in [
        (reply(&[]), Ok(())),
        (reply(&[8, 0]), Ok(())),
        (reply(&[8, 1]), Err(ProbeFailure::NotServing(1))),
    ] {
        let (address, calls) = answering(answer.clone()).await;
        assert_eq!(probe(&asking(Check::Vector), address).await, expected, "{:?}", answer.message);
        let (path, _, message) = calls.lock().unwrap().remove(0);
        assert_eq!((path.as_str(), &message[..]), ("/vector.Vector/HealthCheck", &[0; 5][..]));
    }
}

#[tokio::test]
async fn the_call_names_the_service() {
    let (address, calls) = answering(reply(&[8, 1])).await;
    assert_eq!(probe(&grpc("logs"), address).await, Ok(()));
    let expected = [
        "/grpc.health.v1.Health/Check".to_owned(),
        address.to_string(),
        String::from_utf8_lossy(b"\0\0\0\0\x06\x0a\x04logs").into_owned(),
    ];
    let (path, authority, message) = calls.lock().unwrap().remove(0);
    assert_eq!([path, authority, String::from_utf8(message).unwrap()], expected);
}

#[tokio::test]
async fn a_call_that_fails_says_with_which_status() {
    let failing = |at_once, trailer| Answer { at_once, trailer, ..reply(&[8, 1]) };
    for (answer, expected) in [
        // An unknown service, as most servers say it.
        (failing(Some("5"), None), ProbeFailure::GrpcStatus(5)),
        (failing(Some("12"), None), ProbeFailure::GrpcStatus(12)),
        (failing(None, Some("14")), ProbeFailure::GrpcStatus(14)),
        (failing(Some("0"), None), ProbeFailure::Malformed),
        (failing(None, Some("ok")), ProbeFailure::Malformed),
        (failing(None, None), ProbeFailure::Malformed),
        (Answer { status: 404, ..reply(&[8, 1]) }, ProbeFailure::HttpStatus(404)),
        (Answer { content_type: "text/html", ..reply(&[8, 1]) }, ProbeFailure::Malformed),
        (reply(&[8]), ProbeFailure::Malformed),
        (Answer { message: vec![], ..reply(&[]) }, ProbeFailure::Malformed),
        (reply(&[0; 2000]), ProbeFailure::TooLong),
    ] {
        let (address, _) = answering(answer.clone()).await;
        let result = probe(&grpc("logs"), address).await;
        assert_eq!(result, Err(expected), "{} {:?}", answer.status, answer.trailer);
    }
}

#[tokio::test]
async fn a_call_may_be_made_over_tls() {
    let acceptor = acceptor(&[&TLS13, &TLS12], b"h2");
    let calls = Calls::default();
    let noted = Arc::clone(&calls);
    let address = serve(move |stream| {
        let (acceptor, noted) = (acceptor.clone(), Arc::clone(&noted));
        async move {
            let stream = acceptor.accept(stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            converse(stream, reply(&[8, 1]), noted).await;
        }
    })
    .await;
    for (name, authority) in [
        (Some("logs.example.com".to_owned()), "logs.example.com".to_owned()),
        (None, address.to_string()),
    ] {
        let health = Health { tls: Some(CheckTls { server_name: name }), ..grpc("") };
        assert_eq!(probe(&health, address).await, Ok(()));
        assert_eq!(calls.lock().unwrap().remove(0).1, authority);
    }
}

#[tokio::test]
async fn what_does_not_speak_http2_fails() {
    for (answer, expected) in [
        (&b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..], ProbeFailure::Malformed),
        (&[0xff; 100], ProbeFailure::Malformed),
        (&[], ProbeFailure::Closed),
        // The head of a SETTINGS frame, cut off.
        (&[0, 0, 6, 4, 0, 0], ProbeFailure::Malformed),
    ] {
        let address = serve(move |mut stream| async move {
            let mut asked = vec![0; 4096];
            assert!(stream.read(&mut asked).await.unwrap() > 0);
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
            // Reads on, so that no reset overtakes the answer.
            while stream.read(&mut asked).await.is_ok_and(|count| count > 0) {}
        })
        .await;
        assert_eq!(probe(&grpc(""), address).await, Err(expected), "{answer:?}");
    }
}
