//! What holds of a ClientHello whatever its bytes: no panic, the same answer however they are cut,
//! and the answer of rustls where it has one.

use std::collections::BTreeSet;

use fastrand::Rng;
use ringmain::protocol::client_hello::{ClientHello, Malformed, Progress};

use crate::anatomy::{Hello, message_of, records};
use crate::corpus::captures;
use crate::mutation::mutated;
use crate::oracle::{Known, rustls};
use crate::reading::{LIMIT, complete, read, read_pieces};
use crate::runs::{Runs, Tally};

#[test]
fn any_bytes_are_read_alike_however_they_are_cut() {
    let hellos = hellos();
    let runs = Runs::of(200_000);
    let tally = runs.play(|rng, tally| check(&mutated(&hellos, rng), rng, tally));
    eprintln!("{tally:#?}");
    if runs.count() >= 100_000 {
        // Else nothing of it would say much.
        for reason in Malformed::ALL {
            assert!(tally.contains_key(reason.as_str()), "{} was never seen", reason.as_str());
        }
        for answer in [COMPLETE, INCOMPLETE, AGREED] {
            assert!(tally[answer] >= 1_000, "{answer}: {tally:#?}");
        }
    }
}

/// What the runs begin with.
fn hellos() -> Vec<Hello> {
    let mut hellos = vec![Hello::plain()];
    for capture in captures() {
        assert_eq!(complete(&capture.bytes), capture.expected, "{}", capture.name);
        hellos.push(Hello::of(&message_of(&capture.bytes).0));
    }
    hellos
}

const COMPLETE: &str = "a hello";
const INCOMPLETE: &str = "more is needed";
const AGREED: &str = "rustls reads the same hello";

fn check(bytes: &[u8], rng: &mut Rng, tally: &mut Tally) {
    let answer = read(bytes);
    cut_at_random(bytes, &answer, rng);
    limit_at_random(bytes, &answer, rng);
    if let Progress::Complete(hello) = &answer {
        holds_together(hello);
        extensions_differ(bytes);
        split_at_random(bytes, hello, rng);
    }
    // rustls takes longer than all the rest, and refuses most of what is refused here.
    let telling = rng.u8(0..16) < if matches!(answer, Progress::Complete(_)) { 8 } else { 1 };
    if telling && agrees_with_rustls(bytes, &answer) {
        *tally.entry(AGREED).or_default() += 1;
    }
    let word = match answer {
        Progress::Incomplete => INCOMPLETE,
        Progress::Complete(_) => COMPLETE,
        Progress::Malformed(reason) => reason.as_str(),
    };
    *tally.entry(word).or_default() += 1;
}

fn cut_at_random(bytes: &[u8], answer: &Progress, rng: &mut Rng) {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    let greatest = if rng.u8(0..16) == 0 { 1 } else { 1 + bytes.len() / 2 };
    while !rest.is_empty() {
        let (piece, left) = rest.split_at(rng.usize(1..=greatest).min(rest.len()));
        pieces.push(piece);
        rest = left;
    }
    assert_eq!(&read_pieces(LIMIT, pieces).0, answer, "in pieces");
}

/// A limit changes nothing but that a longer hello is too large, however it is cut.
fn limit_at_random(bytes: &[u8], answer: &Progress, rng: &mut Rng) {
    let limit = rng.usize(0..=bytes.len() + 9);
    let (limited, _) = read_pieces(limit, [bytes]);
    if limited != Progress::Malformed(Malformed::TooLarge) {
        assert_eq!(&limited, answer, "with a limit of {limit}");
    }
    let (first, second) = bytes.split_at(rng.usize(0..=bytes.len()));
    assert_eq!(read_pieces(limit, [first, second]).0, limited, "with a limit of {limit}, cut");
    if let (Progress::Complete(_), Progress::Complete(_)) = (&limited, answer) {
        let end = bytes.len() - message_of(bytes).1.len();
        assert!(end <= limit, "a hello of {end} bytes with a limit of {limit}");
    }
}

/// What the fields of a hello promise.
fn holds_together(hello: &ClientHello) {
    if let Some(name) = &hello.server_name {
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
        assert!(name.bytes().all(plain), "{name}");
        assert!((1..=253).contains(&name.len()), "{name}");
        assert!(name.split('.').all(|label| (1..=63).contains(&label.len())), "{name}");
    }
    assert!(!hello.versions.is_empty());
    assert!(hello.alpn.iter().all(|protocol| (1..=255).contains(&protocol.len())));
}

fn extensions_differ(bytes: &[u8]) {
    let hello = Hello::of(&message_of(bytes).0);
    let kinds: BTreeSet<u16> = hello.extensions.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds.len(), hello.extensions.len(), "an extension comes twice");
}

/// The same message in other records, and with something else after it, is the same hello.
fn split_at_random(bytes: &[u8], hello: &ClientHello, rng: &mut Rng) {
    let (message, _) = message_of(bytes);
    let sizes: Vec<usize> = (0..20).map(|_| rng.usize(1..=message.len())).collect();
    let mut split = records(&message, &sizes);
    split.extend((0..rng.usize(0..8)).map(|_| rng.u8(..)));
    assert_eq!(&complete(&split), hello, "in records");
}

/// Whether rustls reads a hello as well; if so, it is the same one.
fn agrees_with_rustls(bytes: &[u8], answer: &Progress) -> bool {
    match (rustls(bytes), answer) {
        (Ok(Some(known)), Progress::Complete(hello)) => {
            let ours = Known {
                server_name: hello.server_name.as_deref().map(str::to_owned),
                alpn: hello.alpn.iter().map(|protocol| protocol.to_vec()).collect(),
                signature_schemes: hello.signature_schemes.clone(),
            };
            assert_eq!(ours, known);
            true
        }
        // Names of other types are read here, and there everything from the first one is skipped.
        (Ok(Some(_)), Progress::Malformed(Malformed::Truncated | Malformed::DuplicateName))
            if names_follow(bytes) =>
        {
            false
        }
        (Ok(Some(known)), other) => panic!("rustls reads {known:?}, not {other:?}"),
        (Ok(None), Progress::Complete(hello)) => panic!("rustls waits for more than {hello:?}"),
        (Ok(None) | Err(_), _) => false,
    }
}

/// Whether a name of another type follows the host's.
fn names_follow(bytes: &[u8]) -> bool {
    let hello = Hello::of(&message_of(bytes).0);
    let mut names = hello.extensions.iter().filter(|(kind, _)| *kind == 0);
    names.any(|(_, list)| {
        let [_, _, 0, high, low, rest @ ..] = &list[..] else { return false };
        rest.get(usize::from(u16::from_be_bytes([*high, *low]))).is_some_and(|kind| *kind != 0)
    })
}
