//! Owns the bytes that tests send, and what they expect of a connection. Opens none itself.
//!
//! The byte at each place of a stream is known: it repeats with a period that is prime, so that
//! no buffer, pipe or segment that is lost, doubled or moved goes unnoticed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;

use socket2::SockRef;

use super::patience::DEADLINE;

/// A connection whose calls end by the deadline and whose small writes leave at once.
pub fn ready(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub fn connect(address: SocketAddr) -> TcpStream {
    ready(TcpStream::connect_timeout(&address, DEADLINE).unwrap())
}

/// Connects, and is reset; connect(2) itself may tell of it already.
#[track_caller]
pub fn connect_in_vain(address: SocketAddr) {
    match TcpStream::connect_timeout(&address, DEADLINE) {
        Ok(stream) => expect_reset(&ready(stream)),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

/// Sends the bytes of these places.
pub fn send(mut stream: impl Write, places: Range<u64>) {
    for piece in pieces(places) {
        stream.write_all(piece).unwrap();
    }
}

/// Receives the bytes of these places, and no others.
#[track_caller]
pub fn expect(mut stream: impl Read, places: Range<u64>) {
    let mut received = [0; PIECE];
    let mut place = places.start;
    for piece in pieces(places) {
        let received = &mut received[..piece.len()];
        stream.read_exact(received).unwrap_or_else(|error| panic!("after byte {place}: {error}"));
        assert!(*received == *piece, "the bytes from {place} on are not those sent");
        place += piece.len() as u64;
    }
}

/// Sends on one end of a connection what the other end receives, at the same time.
pub fn pass(source: impl Write + Send, target: impl Read, places: Range<u64>) {
    std::thread::scope(|scope| {
        let sending = places.clone();
        scope.spawn(move || send(source, sending));
        expect(target, places);
    });
}

/// Ends the stream of one side.
pub fn finish(stream: &TcpStream) {
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Closes with a reset.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// The stream ends here, in order.
#[track_caller]
pub fn expect_end(mut stream: impl Read) {
    let received = stream.read(&mut [0; 1]);
    assert!(matches!(received, Ok(0)), "no end of stream: {received:?}");
}

/// The connection is reset here.
#[track_caller]
pub fn expect_reset(mut stream: impl Read) {
    let received = stream.read(&mut [0; 1]).map_err(|error| error.kind());
    assert_eq!(received, Err(ErrorKind::ConnectionReset));
}

/// Nothing comes for `time`: neither a byte nor an end.
#[track_caller]
pub fn expect_silence(mut stream: &TcpStream, time: Duration) {
    stream.set_read_timeout(Some(time)).unwrap();
    let received = stream.read(&mut [0; 1]).map_err(|error| error.kind());
    assert_eq!(received, Err(ErrorKind::WouldBlock));
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
}

/// Something has come and was not read yet.
pub fn has_received(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0; 1]);
    stream.set_nonblocking(false).unwrap();
    !matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Sends until the connection takes no more for now, or was reset, or `most` bytes; how many it
/// took.
pub fn fill(mut stream: &TcpStream, most: usize) -> usize {
    stream.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while sent < most {
        match stream.write(&BLOCK[..PIECE.min(most - sent)]) {
            Ok(bytes) => sent += bytes,
            Err(_) => break,
        }
    }
    stream.set_nonblocking(false).unwrap();
    sent
}

fn pieces(places: Range<u64>) -> impl Iterator<Item = &'static [u8]> {
    let mut place = places.start;
    std::iter::from_fn(move || {
        let length = (places.end - place).min(PIECE as u64) as usize;
        let start = (place % PERIOD) as usize;
        place += length as u64;
        (length > 0).then(|| &BLOCK[start..start + length])
    })
}

const PIECE: usize = 64 << 10;
/// A prime.
const PERIOD: u64 = 1_000_003;

/// One period, and what a piece at its end needs of the next one.
static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = fastrand::Rng::with_seed(7);
    let mut block: Vec<u8> = (0..PERIOD).map(|_| random.u8(..)).collect();
    block.extend_from_within(..PIECE);
    block
});
