//! The embedded backends: echoes, plain and over TLS, and a sink that counts lines.
//! Here is what they answer; where connections go is up to the proxy.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// One running backend.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pub(super) pool: &'static str,
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
}

/// What a backend does with a connection.
#[derive(Clone)]
enum Service {
    Echo,
    Lines,
    TlsEcho(TlsAcceptor),
}

/// Starts all of them on this runtime, on ports that the kernel chooses.
pub(super) async fn start(tls: &TlsAcceptor) -> io::Result<Vec<Backend>> {
    let services = [
        ("echo", "echo-a", Service::Echo),
        ("echo", "echo-b", Service::Echo),
        ("lines", "lines-a", Service::Lines),
        ("tls", "tls-a", Service::TlsEcho(tls.clone())),
    ];
    let mut backends = Vec::new();
    for (pool, name, service) in services {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        backends.push(Backend { pool, name, address: listener.local_addr()? });
        tokio::spawn(accept(listener, name, service));
    }
    Ok(backends)
}

async fn accept(listener: TcpListener, name: &'static str, service: Service) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Most likely for want of descriptors; some are free again later.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let service = service.clone();
        tokio::spawn(async move {
            // A connection that fails concerns its client alone, and the proxy reports its end.
            serve(stream, name, service).await.unwrap_or_default();
        });
    }
}

async fn serve(stream: TcpStream, name: &str, service: Service) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match service {
        Service::Echo => echo(stream, name).await,
        Service::Lines => count_lines(stream).await,
        Service::TlsEcho(acceptor) => echo(acceptor.accept(stream).await?, name).await,
    }
}

/// Sends back what it receives. What begins with an HTTP request gets an answer instead.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin, name: &str) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut length = stream.read(&mut buffer).await?;
    if buffer[..length].starts_with(b"GET ") {
        stream.write_all(greeting(name).as_bytes()).await?;
        stream.flush().await?;
        // The client ends first: closing before it has sent everything would reset it.
        // It has gone by then, so that over TLS a last word would only make it answer with a reset.
        copy(&mut stream, &mut sink()).await?;
        return Ok(());
    }
    while length > 0 {
        stream.write_all(&buffer[..length]).await?;
        stream.flush().await?;
        length = stream.read(&mut buffer).await?;
    }
    stream.shutdown().await
}

fn greeting(name: &str) -> String {
    let body = format!("Hello from backend {name}, by way of Ringmain.\n");
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Counts to the end of the stream, then says how much there was.
async fn count_lines(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let (mut lines, mut bytes) = (0, 0);
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            break;
        }
        bytes += length;
        lines += buffer[..length].iter().filter(|byte| **byte == b'\n').count();
    }
    stream.write_all(line_count(lines, bytes).as_bytes()).await?;
    stream.shutdown().await
}

/// The line sink's answer.
pub(super) fn line_count(lines: usize, bytes: usize) -> String {
    format!("{lines} lines, {bytes} bytes\n")
}

const BUFFER: usize = 64 << 10;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    /// What the service answers to `request`, once the client has ended its stream.
    async fn answer(service: Service, request: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(accept(listener, "echo-b", service));
        let stream = TcpStream::connect(address).await.expect("connected");
        let (mut source, mut target) = stream.into_split();
        let send = async {
            target.write_all(request).await.expect("sent");
            target.shutdown().await.expect("ended");
        };
        let mut answer = String::new();
        let (_, received) = tokio::join!(send, source.read_to_string(&mut answer));
        received.expect("received");
        answer
    }

    #[tokio::test]
    async fn the_echo_gives_everything_back() {
        let text = "x".repeat(3 * BUFFER);
        assert_eq!(answer(Service::Echo, text.as_bytes()).await, text);
        assert_eq!(answer(Service::Echo, b"").await, "");
    }

    #[tokio::test]
    async fn an_http_request_is_greeted_by_the_backend_s_name() {
        let answer = answer(Service::Echo, b"GET / HTTP/1.1\r\n\r\n").await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        assert_eq!(body, "Hello from backend echo-b, by way of Ringmain.\n");
    }

    #[tokio::test]
    async fn the_line_sink_counts_lines_and_bytes() {
        assert_eq!(answer(Service::Lines, b"a\nbc\nd").await, "2 lines, 6 bytes\n");
    }
}
