//! Small servers on loopback for the probes to ask, and the certificate that they show.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::stage::health;
use crate::config::{Check, Health};
use crate::control::health::{ProbeFailure, Prober};

/// A server that has this conversation with everyone, as long as the test's runtime lives.
pub(super) async fn serve<F, C>(conversation: F) -> SocketAddr
where
    F: Fn(TcpStream) -> C + Send + 'static,
    C: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(conversation(stream));
        }
    });
    address
}

/// An address where nobody listens.
pub(super) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// An address that swallows every attempt to connect, as long as the streams and the listener
/// live: the queue of those who wait to be accepted is full.
pub(super) async fn black_hole() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut streams = Vec::new();
    // The kernel keeps one more than it is asked to; a connection that completes took a place.
    for _ in 0..2 {
        streams.push(TcpStream::connect(address).await.unwrap());
    }
    (address, listener, streams)
}

pub(super) fn acceptor(
    versions: &[&'static SupportedProtocolVersion],
    protocol: &[u8],
) -> TlsAcceptor {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![protocol.to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Reads until the client has sent the end of a request's head, or has gone.
pub(super) async fn head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap() > 0 {}
    String::from_utf8(head).unwrap()
}

/// A check with a time-out that no test is expected to reach, but on virtual time.
pub(super) fn asking(check: Check) -> Health {
    Health { check, timeout: Duration::from_secs(20), ..health() }
}

pub(super) async fn probe(health: &Health, address: SocketAddr) -> Result<(), ProbeFailure> {
    Prober::new(health, None).unwrap().probe("backend", &[address]).await
}
