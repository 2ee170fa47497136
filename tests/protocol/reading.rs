//! Feeds bytes to a reader in various pieces. Judges nothing.

use ringmain::protocol::client_hello::{ClientHello, HelloReader, Progress};

/// More than any hello of these tests takes.
pub const LIMIT: usize = 1 << 20;

/// All at once.
pub fn read(bytes: &[u8]) -> Progress {
    HelloReader::new(LIMIT).read(bytes)
}

/// The answer of a reader that gets these pieces one after the other and is asked no further once
/// it has answered, and how many bytes it had by then.
pub fn read_pieces<'a>(
    limit: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Progress, usize) {
    let mut reader = HelloReader::new(limit);
    let mut fed = Vec::new();
    for piece in pieces {
        let progress = reader.read(piece);
        fed.extend_from_slice(piece);
        if progress != Progress::Incomplete {
            assert_eq!(reader.bytes(), fed, "what was fed is kept as it is");
            assert_eq!(reader.into_bytes(), fed);
            return (progress, fed.len());
        }
    }
    assert_eq!(reader.bytes(), fed, "what was fed is kept as it is");
    (Progress::Incomplete, fed.len())
}

#[track_caller]
pub fn complete(bytes: &[u8]) -> ClientHello {
    match read(bytes) {
        Progress::Complete(hello) => hello,
        progress => panic!("{progress:?} of {} bytes", bytes.len()),
    }
}
