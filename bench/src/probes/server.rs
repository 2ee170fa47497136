//! Owns the backends that are probed: one listener that answers at every address of this host,
//! each check in its own way, on a thread of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use h2::server;
use http::{HeaderMap, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Serves until the process ends; gives the port.
pub fn start() -> io::Result<u16> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || runtime.block_on(serve(listener)));
    Ok(port)
}

async fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        // A connection that was reset before it was accepted is none.
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(answer(stream));
    }
}

/// Whatever fails shows as a probe that failed.
async fn answer(mut stream: TcpStream) -> Option<()> {
    let mut first = [0; 4];
    stream.peek(&mut first).await.ok()?;
    match &first {
        b"PRI " => serve_call(stream).await,
        [0x16, ..] => reply(&mut stream, b"\x15\x03\x03\x00\x02\x02\x28").await,
        b"PING" => reply(&mut stream, b"PONG").await,
        _ => {
            reply(&mut stream, b"HTTP/1.1 200 OK\r\nserver: bench\r\ncontent-length: 0\r\n\r\n")
                .await
        }
    }
}

async fn reply(stream: &mut TcpStream, answer: &[u8]) -> Option<()> {
    let asked = stream.read(&mut [0; 4096]).await.ok()?;
    stream.write_all(answer).await.ok()?;
    // Until the probe has left.
    let more = stream.read(&mut [0; 1]).await.ok()?;
    (asked > 0 && more == 0).then_some(())
}

/// The `vector` source's answer that it serves.
async fn serve_call(stream: TcpStream) -> Option<()> {
    let mut connection = server::handshake(stream).await.ok()?;
    while let Some(request) = connection.accept().await {
        let (_, mut respond) = request.ok()?;
        let head = Response::builder().header("content-type", "application/grpc").body(()).ok()?;
        let mut body = respond.send_response(head, false).ok()?;
        body.send_data(vec![0; 5].into(), false).ok()?;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().ok()?);
        body.send_trailers(trailers).ok()?;
    }
    Some(())
}

/// The address of one of many backends.
pub fn address(number: u32, port: u16) -> SocketAddr {
    // 127.1.0.0 and what follows.
    SocketAddr::from((Ipv4Addr::from(0x7f01_0000 + number), port))
}
