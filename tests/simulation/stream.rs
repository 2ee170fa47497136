//! What the bytes of a stream are: its number in 8 bytes, then a pattern made from the number and
//! the offset, so that a byte that is lost, repeated, out of order or in the wrong connection
//! shows.

use std::net::SocketAddr;
use std::sync::LazyLock;

use fastrand::Rng;

/// The stream that a source answers with.
pub fn answer_to(stream: u64) -> u64 {
    !stream
}

/// The stream that a connection from there is greeted with.
pub fn greeting_to(client: SocketAddr) -> u64 {
    u64::from(client.port()) << 32 | GREETING
}

/// The number of the stream that begins so, as soon as all of it is there.
pub fn number(beginning: &[u8]) -> Option<u64> {
    beginning.try_into().ok().map(u64::from_le_bytes)
}

/// Panics where `bytes`, received at `offset`, are not those of the stream.
pub fn check(stream: u64, offset: u64, bytes: &[u8]) {
    let mut expected = vec![0; bytes.len()];
    fill(stream, offset, &mut expected);
    if bytes != expected {
        let at = bytes.iter().zip(&expected).take_while(|(got, wanted)| got == wanted).count();
        panic!("stream {stream:#x}: a wrong byte at offset {}", offset + at as u64);
    }
}

/// The bytes of a stream from `offset` on.
pub fn fill(stream: u64, offset: u64, mut into: &mut [u8]) {
    let mut offset = offset as usize;
    while !into.is_empty() {
        let number = stream.to_le_bytes();
        let run = if offset < NUMBER { &number[offset..] } else { block_from(stream, offset) };
        let length = run.len().min(into.len());
        let (now, later) = into.split_at_mut(length);
        now.copy_from_slice(&run[..length]);
        into = later;
        offset += length;
    }
}

/// Each block of a stream is another piece of the noise: comparing a block is one comparison of
/// memory, and still every offset of every stream has its own surroundings.
fn block_from(stream: u64, offset: usize) -> &'static [u8] {
    let (block, within) = (offset / BLOCK, offset % BLOCK);
    let mut random = Rng::with_seed(stream.rotate_left(32) ^ block as u64);
    let start = random.usize(..NOISE.len() - BLOCK);
    &NOISE[start + within..start + BLOCK]
}

static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut noise = vec![0; 1 << 16];
    Rng::with_seed(0).fill(&mut noise);
    noise
});

const BLOCK: usize = 1024;

/// What greetings have in common.
const GREETING: u64 = 0x6872_6f21;

/// The length of a stream's number.
pub const NUMBER: usize = 8;
