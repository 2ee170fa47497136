//! Hellos that come in pieces: cut into segments and records at every byte, each is read as if it
//! had come at once.

use ringmain::protocol::client_hello::{Malformed, Progress};

use crate::anatomy::{Hello, message_of, record, records, vector16};
use crate::corpus::captures;
use crate::reading::{LIMIT, complete, read, read_pieces};

#[test]
fn a_hello_cut_into_two_segments_at_every_byte_is_the_same() {
    for capture in captures() {
        let (_, after) = message_of(&capture.bytes);
        let end = capture.bytes.len() - after.len();
        let expected = Progress::Complete(capture.expected);
        for cut in 0..=capture.bytes.len() {
            let (first, second) = capture.bytes.split_at(cut);
            let (progress, fed) = read_pieces(LIMIT, [first, second]);
            assert_eq!(progress, expected, "{} cut at {cut}", capture.name);
            let had = if cut < end { capture.bytes.len() } else { cut };
            assert_eq!(fed, had, "{} cut at {cut}", capture.name);
        }
    }
}

#[test]
fn a_hello_that_comes_byte_by_byte_is_complete_at_its_last_one() {
    for capture in captures() {
        let (_, after) = message_of(&capture.bytes);
        let expected = (Progress::Complete(capture.expected), capture.bytes.len() - after.len());
        assert_eq!(read_pieces(LIMIT, capture.bytes.chunks(1)), expected, "{}", capture.name);
    }
}

#[test]
fn a_hello_split_into_two_records_at_every_byte_is_the_same() {
    for capture in captures() {
        let (message, after) = message_of(&capture.bytes);
        let expected = Progress::Complete(capture.expected);
        for size in 1..message.len() {
            let bytes = [&records(&message, &[size, LIMIT])[..], after].concat();
            assert_eq!(read(&bytes), expected, "{} split at {size}", capture.name);
            // The segments end with the first record, within the second one's header, and with it.
            for cut in [5 + size, 5 + size + 2, 5 + size + 5] {
                let (first, second) = bytes.split_at(cut);
                let (progress, _) = read_pieces(LIMIT, [first, second]);
                assert_eq!(progress, expected, "{} split at {size}", capture.name);
            }
        }
    }
}

#[test]
fn a_hello_in_records_of_any_one_size_is_the_same() {
    for capture in captures() {
        let (message, after) = message_of(&capture.bytes);
        let expected = Progress::Complete(capture.expected);
        for size in (1..=16).chain([60, 100, 500]) {
            let bytes = [&records(&message, &[size])[..], after].concat();
            assert_eq!(read(&bytes), expected, "{} in records of {size}", capture.name);
            let (progress, fed) = read_pieces(LIMIT, bytes.chunks(1));
            assert_eq!(progress, expected, "{} in records of {size}", capture.name);
            assert_eq!(fed, bytes.len() - after.len());
        }
    }
}

#[test]
fn a_message_header_split_over_records_is_put_together() {
    for capture in captures().into_iter().take(3) {
        let (message, _) = message_of(&capture.bytes);
        let sizes = [[1, 1, 1, 1], [1, 2, 1, LIMIT], [3, 1, 1, LIMIT], [2, 1, 2, LIMIT]];
        for sizes in sizes {
            assert_eq!(complete(&records(&message, &sizes)), capture.expected, "{sizes:?}");
        }
    }
}

/// The longest one that there is: 4 + 2 + 32 + 33 + 65,536 + 256 + 65,537 bytes.
fn longest() -> Vec<u8> {
    let mut hello = Hello::plain();
    hello.session = vec![7; 32];
    hello.suites = vec![0x13; 65_534];
    hello.compressions = vec![0; 255];
    hello.extensions = vec![(0x1234, vec![0; 65_531])];
    hello.message()
}

/// A reader that looks at the same bytes twice would take minutes for one of these.
#[test]
fn the_longest_hello_in_the_smallest_pieces_takes_linear_time() {
    let message = longest();
    assert_eq!(message.len(), 131_400);
    let bytes = records(&message, &[1]);
    let (progress, fed) = read_pieces(LIMIT, bytes.chunks(1));
    assert!(matches!(progress, Progress::Complete(_)));
    assert_eq!(fed, bytes.len());
    let mut hello = Hello::plain();
    hello.extensions = (0..16_383).map(|kind| (0x4000 + kind, Vec::new())).collect();
    let bytes = records(&hello.message(), &[1]);
    let (progress, _) = read_pieces(LIMIT, bytes.chunks(1));
    assert!(matches!(progress, Progress::Complete(_)));
}

#[test]
fn the_limit_counts_the_headers_of_records() {
    let message = Hello::plain().message();
    for size in 1..=message.len() {
        let bytes = records(&message, &[size]);
        let at_once = |limit| read_pieces(limit, [&bytes[..]]).0;
        let byte_by_byte = |limit| read_pieces(limit, bytes.chunks(1)).0;
        assert!(matches!(at_once(bytes.len()), Progress::Complete(_)));
        assert!(matches!(byte_by_byte(bytes.len()), Progress::Complete(_)));
        for limit in 0..bytes.len() {
            let too_large = Progress::Malformed(Malformed::TooLarge);
            assert_eq!(at_once(limit), too_large, "{limit} for {}", bytes.len());
            assert_eq!(byte_by_byte(limit), too_large, "{limit} for {}", bytes.len());
        }
    }
}

#[test]
fn what_follows_a_hello_does_not_matter() {
    let hello = record(&Hello::plain().message());
    let expected = complete(&hello);
    let record_of = |kind: u8, body: &[u8]| [&[kind, 3, 3][..], &vector16(body)].concat();
    for after in [
        record_of(20, &[1]),
        record_of(21, &[1, 0]),
        record_of(23, b"early"),
        hello.clone(),
        b"GET / HTTP/1.1\r\n".to_vec(),
        vec![0; 70_000],
    ] {
        let bytes = [&hello[..], &after].concat();
        // It may be more than the limit.
        let (progress, fed) = read_pieces(hello.len(), [&bytes[..]]);
        assert_eq!(progress, Progress::Complete(expected.clone()));
        assert_eq!(fed, bytes.len());
    }
}
