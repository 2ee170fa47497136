//! Takes ClientHellos apart and puts them together again, well-formed or not. Shares no code with
//! what it tests.

/// The parts of a hello, each without the length that stands before it on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub version: [u8; 2],
    pub random: [u8; 32],
    pub session: Vec<u8>,
    pub suites: Vec<u8>,
    pub compressions: Vec<u8>,
    pub extensions: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    /// For TLS 1.2, without an extension.
    pub fn plain() -> Hello {
        Hello {
            version: [3, 3],
            random: [7; 32],
            session: Vec::new(),
            suites: vec![0xc0, 0x2b],
            compressions: vec![0],
            extensions: Vec::new(),
        }
    }

    /// The message, with its header.
    pub fn message(&self) -> Vec<u8> {
        let extension =
            |(kind, body): &(u16, Vec<u8>)| [&kind.to_be_bytes()[..], &vector16(body)].concat();
        let extensions: Vec<u8> = self.extensions.iter().flat_map(extension).collect();
        let body = [
            self.version.to_vec(),
            self.random.to_vec(),
            vector8(&self.session),
            vector16(&self.suites),
            vector8(&self.compressions),
            vector16(&extensions),
        ];
        let body = body.concat();
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[1][..], &length[1..], &body].concat()
    }

    /// Of a well-formed message. Without extensions, there may be a list of none, or no list.
    pub fn of(message: &[u8]) -> Hello {
        let mut rest = &message[4..];
        let version = take(&mut rest, 2).try_into().unwrap();
        let random = take(&mut rest, 32).try_into().unwrap();
        let session = take_vector(&mut rest, 1).to_vec();
        let suites = take_vector(&mut rest, 2).to_vec();
        let compressions = take_vector(&mut rest, 1).to_vec();
        let mut entries = if rest.is_empty() { rest } else { take_vector(&mut rest, 2) };
        let mut extensions = Vec::new();
        while !entries.is_empty() {
            let kind = u16::from_be_bytes(take(&mut entries, 2).try_into().unwrap());
            extensions.push((kind, take_vector(&mut entries, 2).to_vec()));
        }
        Hello { version, random, session, suites, compressions, extensions }
    }
}

/// The first handshake message of whole records that hold no more than it, and what follows them.
pub fn message_of(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut rest = bytes;
    let mut message = Vec::new();
    while message.len() < 4 || message.len() < 4 + number(&message[1..4]) {
        take(&mut rest, 3);
        message.extend_from_slice(take_vector(&mut rest, 2));
    }
    (message, rest)
}

/// The message in records of these sizes, and the rest of it in records of the last size.
pub fn records(message: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut sizes = sizes.iter().copied();
    let mut size = 1 << 14;
    let mut records = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        size = sizes.next().unwrap_or(size);
        let length = size.min(rest.len());
        records.extend(record(take(&mut rest, length)));
    }
    records
}

pub fn record(fragment: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &vector16(fragment)].concat()
}

pub fn vector8(content: &[u8]) -> Vec<u8> {
    [&[u8::try_from(content.len()).unwrap()][..], content].concat()
}

pub fn vector16(content: &[u8]) -> Vec<u8> {
    [&u16::try_from(content.len()).unwrap().to_be_bytes()[..], content].concat()
}

fn take_vector<'a>(rest: &mut &'a [u8], width: usize) -> &'a [u8] {
    let length = number(take(rest, width));
    take(rest, length)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(length);
    *rest = left;
    taken
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}
