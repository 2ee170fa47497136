//! Moves one query to one nameserver and its response back, over UDP and, for what does not fit,
//! over TCP. Keeps no time: whoever asks gives up when it is over.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_proto::op::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::query::{Heard, Query};

/// Why a nameserver gave no response that can be read.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing came in time.
    Silent,
    Unreachable(io::Error),
    /// It cut a stream short.
    Broken(io::Error),
    /// It said what makes no sense.
    Garbled,
    /// More strays came than chance explains: somebody guesses the id of the query.
    Flooded,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Silent => write!(out, "it did not answer in time"),
            Fault::Unreachable(error) => write!(out, "it cannot be reached: {error}"),
            Fault::Broken(error) => write!(out, "it broke off: {error}"),
            Fault::Garbled => write!(out, "its response cannot be read"),
            Fault::Flooded => write!(out, "too many responses were not to this query"),
        }
    }
}

/// Each query has a socket of its own: the kernel draws its port at random, and what comes late
/// meets nobody.
pub(super) async fn over_udp(server: SocketAddr, query: &Query) -> Result<Message, Fault> {
    let socket = send(server, query).await.map_err(Fault::Unreachable)?;
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    let mut strays = 0;
    while strays < STRAYS {
        let (length, source) = socket.recv_from(&mut buffer).await.map_err(Fault::Unreachable)?;
        // Once it is connected the socket takes nothing from elsewhere; before, it did.
        let from_server = (source.ip(), source.port()) == (server.ip(), server.port());
        let datagram = buffer.get(..length).unwrap_or_default();
        match if from_server { query.hear(datagram) } else { Heard::Stray } {
            Heard::Response(message) => return Ok(message),
            Heard::Truncated => return over_tcp(server, query).await,
            Heard::Garbled => return Err(Fault::Garbled),
            Heard::Stray => strays += 1,
        }
    }
    Err(Fault::Flooded)
}

/// Connected, so that a closed port is reported at once instead of by silence.
async fn send(server: SocketAddr, query: &Query) -> io::Result<UdpSocket> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(&query.bytes).await?;
    Ok(socket)
}

/// Each message goes after its length (RFC 1035, section 4.2.2).
pub(super) async fn over_tcp(server: SocketAddr, query: &Query) -> Result<Message, Fault> {
    let mut stream = TcpStream::connect(server).await.map_err(Fault::Unreachable)?;
    let response = exchange(&mut stream, query).await.map_err(Fault::Broken)?;
    match query.hear(&response) {
        Heard::Response(message) => Ok(message),
        // Nothing else is to come on this stream, and there is nowhere left to go.
        Heard::Truncated | Heard::Garbled | Heard::Stray => Err(Fault::Garbled),
    }
}

async fn exchange(stream: &mut TcpStream, query: &Query) -> io::Result<Vec<u8>> {
    let length = u16::try_from(query.bytes.len()).map_err(io::Error::other)?;
    // One write, for servers that expect the length and the message in one segment.
    let framed = [&length.to_be_bytes(), &query.bytes[..]].concat();
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut response = vec![0; length.into()];
    stream.read_exact(&mut response).await?;
    Ok(response)
}

/// Nobody is asked to send more (`edns_payload`).
const LARGEST_DATAGRAM: usize = 4096;

/// Datagrams that are no response, for one query. A late or repeated one may be an accident.
const STRAYS: usize = 100;
