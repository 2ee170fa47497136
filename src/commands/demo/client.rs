//! What the tour sends through the proxy, and whether it came back as it was sent.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::backends::line_count;

/// A connection after which nothing was missing and nothing differed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    /// The client's own address: the proxy's record names it too.
    pub(super) client: SocketAddr,
    /// From the connect until everything was back.
    pub(super) took: Duration,
}

/// Sends a message to an echo.
pub(super) async fn echo(proxy: SocketAddr, message: &[u8]) -> io::Result<Exchange> {
    let begun = now();
    let (stream, client) = connect(proxy).await?;
    converse(stream, message, begun, client).await
}

/// Sends a message to an echo over TLS, and verifies that the certificate is for `name`.
pub(super) async fn tls_echo(
    proxy: SocketAddr,
    connector: &TlsConnector,
    name: &'static str,
    message: &[u8],
) -> io::Result<Exchange> {
    let begun = now();
    let (stream, client) = connect(proxy).await?;
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    let stream = connector.connect(name, stream).await?;
    converse(stream, message, begun, client).await
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    message: &[u8],
    begun: Instant,
    client: SocketAddr,
) -> io::Result<Exchange> {
    stream.write_all(message).await?;
    stream.flush().await?;
    let mut back = vec![0; message.len()];
    stream.read_exact(&mut back).await?;
    let took = now() - begun;
    stream.shutdown().await?;
    let rest = stream.read_to_end(&mut back).await?;
    if rest > 0 || back != message {
        return Err(damaged());
    }
    Ok(Exchange { client, took })
}

/// Sends lines to the line sink, and compares its count.
pub(super) async fn lines(proxy: SocketAddr, text: &str) -> io::Result<Exchange> {
    let begun = now();
    let (mut stream, client) = connect(proxy).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    if answer != line_count(text.lines().count(), text.len()) {
        return Err(damaged());
    }
    Ok(Exchange { client, took: now() - begun })
}

/// Sends `block` so many times to an echo, and compares every byte while it sends.
pub(super) async fn bulk(proxy: SocketAddr, block: &[u8], times: usize) -> io::Result<Exchange> {
    let begun = now();
    let (stream, client) = connect(proxy).await?;
    let (mut source, mut target) = stream.into_split();
    let send = async {
        for _ in 0..times {
            target.write_all(block).await?;
        }
        target.shutdown().await
    };
    let compare = async {
        let mut back = vec![0; block.len()];
        for _ in 0..times {
            source.read_exact(&mut back).await?;
            if back != block {
                return Err(damaged());
            }
        }
        match source.read(&mut back).await? {
            0 => Ok(()),
            _ => Err(damaged()),
        }
    };
    tokio::try_join!(send, compare)?;
    Ok(Exchange { client, took: now() - begun })
}

async fn connect(proxy: SocketAddr) -> io::Result<(TcpStream, SocketAddr)> {
    let stream = TcpStream::connect(proxy).await?;
    stream.set_nodelay(true)?;
    let client = stream.local_addr()?;
    Ok((stream, client))
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what came back is not what was sent")
}

#[allow(clippy::disallowed_methods, reason = "the demo's client measures how long things take")]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// The address of a backend that answers one connection with `answer`.
    async fn answering(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            stream.write_all(answer).await.expect("sent");
            stream.shutdown().await.expect("ended");
            // The client has to end first, lest it be reset with bytes on their way.
            stream.read_to_end(&mut Vec::new()).await.expect("received");
        });
        address
    }

    #[tokio::test]
    async fn damage_is_noticed() {
        let kind = |outcome: io::Result<Exchange>| outcome.expect_err("noticed").kind();
        use io::ErrorKind::{InvalidData, UnexpectedEof};
        for (answer, expected) in
            [(&b"abX"[..], InvalidData), (b"ab", UnexpectedEof), (b"abcd", InvalidData)]
        {
            assert_eq!(kind(echo(answering(answer).await, b"abc").await), expected);
            assert_eq!(kind(bulk(answering(answer).await, b"abc", 1).await), expected);
        }
        let miscounted = answering(b"1 lines, 2 bytes\n").await;
        assert_eq!(kind(lines(miscounted, "a\nb\n").await), InvalidData);
    }
}
