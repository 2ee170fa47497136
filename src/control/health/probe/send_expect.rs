//! The `send-expect` check: bytes are sent, if any, and bytes are found in the answer, if any.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::failure::ProbeFailure;

pub(super) async fn ask(
    mut stream: TcpStream,
    send: &[u8],
    expect: &[u8],
) -> Result<(), ProbeFailure> {
    stream.write_all(send).await?;
    let mut answer = Vec::new();
    let mut searched = 0;
    while !holds(&answer[searched..], expect) {
        // What begins in the bytes searched may end in those to come.
        searched = (answer.len() + 1).saturating_sub(expect.len()).max(searched);
        let left = ANSWER_BYTES_MAX - answer.len();
        if left == 0 {
            return Err(ProbeFailure::Unexpected);
        }
        let mut part = (&mut stream).take(left.min(PART_BYTES) as u64);
        if part.read_buf(&mut answer).await? == 0 {
            let nothing = answer.is_empty();
            return Err(if nothing { ProbeFailure::Closed } else { ProbeFailure::Unexpected });
        }
    }
    Ok(())
}

/// Nothing is found in everything.
fn holds(answer: &[u8], expect: &[u8]) -> bool {
    expect.is_empty() || answer.windows(expect.len()).any(|window| window == expect)
}

/// Bytes of an answer that are looked at.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Bytes read at a time.
const PART_BYTES: usize = 4096;
