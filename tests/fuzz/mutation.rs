//! Changes hellos at random: their parts, with all lengths right, and their bytes, with any length
//! wrong. Draws from the generator it is given alone.

use fastrand::Rng;

use crate::anatomy::{Hello, record, records, vector8, vector16};

/// A connection's first bytes, made from one of the hellos.
pub fn mutated(hellos: &[Hello], rng: &mut Rng) -> Vec<u8> {
    let mut hello = pick(hellos, rng).clone();
    for _ in 0..rng.usize(0..4) {
        change(&mut hello, hellos, rng);
    }
    let mut message = hello.message();
    if rng.u8(0..4) == 0 {
        scramble(&mut message, rng);
    }
    let mut bytes = cut(&message, rng);
    if rng.u8(0..4) == 0 {
        scramble(&mut bytes, rng);
    }
    match rng.u8(0..16) {
        0 => bytes.truncate(rng.usize(0..=bytes.len())),
        1 => bytes.extend((0..rng.usize(1..40)).map(|_| rng.u8(..))),
        2 => bytes.extend(record(&message)),
        3 => bytes.insert(0, rng.u8(..)),
        4 => {
            let starts: [&[u8]; 6] = [
                b"GET / ",
                &[0x80, 0x2e, 1, 0, 2],
                &[0x80, 0x2e, 1, 3, 1],
                &[21, 3, 1, 0, 2, 2, 40],
                &[20, 3, 3, 0, 1, 1],
                &[22, 3, 1, 0x40, 1],
            ];
            bytes.splice(0..0, pick(&starts, rng).iter().copied()).for_each(drop);
        }
        _ => {}
    }
    bytes
}

/// The message in one record, a few or many, now and then with another one between them.
fn cut(message: &[u8], rng: &mut Rng) -> Vec<u8> {
    let greatest = match rng.u8(0..4) {
        0 | 1 => return records(message, &[message.len().clamp(1, 1 << 14)]),
        2 => 1 + message.len() / 3,
        _ => 8,
    };
    let sizes = |rng: &mut Rng| (0..40).map(|_| rng.usize(1..=greatest)).collect::<Vec<_>>();
    if rng.u8(0..4) > 0 {
        return records(message, &sizes(rng));
    }
    let (first, second) = message.split_at(rng.usize(0..=message.len()));
    let between: [&[u8]; 5] =
        [&[22, 3, 3, 0, 0], &[21, 3, 3, 0, 2, 1, 0], &[20, 3, 3, 0, 1, 1], &[23], &[22, 3, 9]];
    let between = *pick(&between, rng);
    [&records(first, &sizes(rng))[..], between, &records(second, &sizes(rng))].concat()
}

/// Changes one part of the hello.
fn change(hello: &mut Hello, hellos: &[Hello], rng: &mut Rng) {
    let others = &pick(hellos, rng).extensions;
    let extensions = &mut hello.extensions;
    let at = rng.usize(0..=extensions.len());
    let kind = match rng.u8(0..4) {
        0 => rng.u16(..),
        _ => *pick(&[0, 13, 16, 43, 0xfe0d, 0x0a0a, 0xfafa], rng),
    };
    match rng.u8(0..12) {
        0 => extensions.insert(at, (kind, meant(kind, rng))),
        1 | 2 => {
            extensions.retain(|(other, _)| *other != kind);
            extensions.insert(at.min(extensions.len()), (kind, meant(kind, rng)));
        }
        3 if at < extensions.len() => drop(extensions.remove(at)),
        4 if at < extensions.len() => extensions.push(extensions[at].clone()),
        5 if at < extensions.len() => extensions[at].0 = kind,
        6 if at < extensions.len() => scramble(&mut extensions[at].1, rng),
        7 if !others.is_empty() => extensions.insert(at, pick(others, rng).clone()),
        8 => hello.session = vec![7; rng.usize(0..40)],
        9 => scramble(&mut hello.suites, rng),
        10 => hello.compressions = vec![0; rng.usize(0..3)],
        11 => hello.version = [rng.u8(2..5), rng.u8(0..6)],
        _ => rng.shuffle(extensions),
    }
}

/// What an extension of this type may hold, more or less.
fn meant(kind: u16, rng: &mut Rng) -> Vec<u8> {
    let count = rng.usize(0..4);
    let mut numbers = |count: usize| (0..count).flat_map(|_| number(rng)).collect::<Vec<u8>>();
    let body = match kind {
        0 => vector16(&(0..count.max(1)).flat_map(|_| server_name(rng)).collect::<Vec<u8>>()),
        13 => vector16(&numbers(count)),
        16 => vector16(&(0..count).flat_map(|_| protocol(rng)).collect::<Vec<u8>>()),
        43 => vector8(&numbers(count)),
        0xfe0d => [&[rng.u8(0..3)][..], &vector16(&[7; 32])].concat(),
        _ => numbers(count),
    };
    // Rarely nothing at all.
    if rng.u8(0..16) == 0 { Vec::new() } else { body }
}

fn number(rng: &mut Rng) -> [u8; 2] {
    let number = [0x0304, 0x0303, 0x0301, 0x0a0a, 0xdada, 0x0403, 0x0804, rng.u16(..)];
    pick(&number, rng).to_be_bytes()
}

fn protocol(rng: &mut Rng) -> Vec<u8> {
    let protocols: [&[u8]; 7] =
        [b"h2", b"http/1.1", b"\x0a\x0a", b"", b"\0", &[0xff; 255], b"h2\0"];
    vector8(protocols[rng.usize(0..protocols.len())])
}

fn server_name(rng: &mut Rng) -> Vec<u8> {
    let mut name = match rng.u8(0..8) {
        0 => vec![b'x'; *pick(&[63, 64, 253, 254, 255, 300], rng)],
        1 => "x.".repeat(*pick(&[1, 126, 127, 128], rng)).into_bytes(),
        _ => {
            let names: [&[u8]; 14] = [
                b"a.example",
                b"Logs.Example.COM",
                b"a.example.",
                b"192.0.2.1",
                b"192.0.2.1.",
                b"2001:db8::1",
                b"[2001:db8::1]",
                b"",
                b".",
                b"*.a.example",
                b"a_b.c-d",
                b"-a.b",
                "bücher.example".as_bytes(),
                b"a\0b",
            ];
            pick(&names, rng).to_vec()
        }
    };
    if rng.u8(0..8) == 0 {
        scramble(&mut name, rng);
    }
    let kind = if rng.u8(0..8) == 0 { rng.u8(..) } else { 0 };
    [&[kind][..], &vector16(&name)].concat()
}

/// Changes a few bytes.
fn scramble(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(0..=bytes.len());
        let byte = if rng.bool() { rng.u8(..) } else { *pick(&[0, 1, 3, 22, 127, 128, 255], rng) };
        let length = rng.usize(0..8).min(bytes.len() - at);
        match rng.u8(0..6) {
            0 => bytes.insert(at, byte),
            1 => drop(bytes.drain(at..at + length)),
            2 => bytes.splice(at..at, bytes[at..at + length].to_vec()).for_each(drop),
            3 if length > 0 => bytes[at] ^= 1 << rng.u8(0..8),
            // The lengths that matter are small, and one too many or too few is the usual mistake.
            4 if length > 0 => {
                bytes[at] =
                    if rng.bool() { bytes[at].wrapping_add(1) } else { bytes[at].wrapping_sub(1) };
            }
            5 if length > 0 => bytes[at] = byte,
            _ => {}
        }
    }
}

pub fn pick<'a, T>(items: &'a [T], rng: &mut Rng) -> &'a T {
    &items[rng.usize(0..items.len())]
}
