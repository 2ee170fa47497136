//! What a TLS client says first, read from the bytes of its connection as they come: which server
//! and which protocols it asks for. Ends no TLS, and judges nothing of a hello that it has no use
//! for; that is for the server to do.
//!
//! RFC 8446 section 4.1.2 has the message, section 5.1 the records it comes in, RFC 6066 section 3
//! the server name, RFC 7301 section 3.1 the protocols.

use std::borrow::Cow;

use rustls::pki_types::ServerName;

use super::reader::{Reader, Short};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The host that is asked for: in lower case, without a dot at its end, and a valid name. None
    /// if none is given, or an address, which is no name (RFC 6066 wants it to be left out).
    pub server_name: Option<Box<str>>,
    /// The application protocols that are offered, the most wanted first; none of them is empty.
    pub alpn: Vec<Box<[u8]>>,
    /// The versions that are offered, the most wanted first, values without a meaning (RFC 8701)
    /// among them. There is always one: without the extension, it is the hello's own version.
    pub versions: Vec<u16>,
    /// What the client can verify, the most wanted first; empty if it does not say.
    pub signature_schemes: Vec<u16>,
    /// This is the outer one of two hellos (RFC 9849): the other is encrypted inside it, and may
    /// name another server. Clients also pretend it, and nobody can tell the two apart.
    pub encrypted: bool,
}

/// What the bytes amount to so far.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    Incomplete,
    Complete(ClientHello),
    Malformed(Malformed),
}

/// Why the bytes are no ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// The first bytes are no TLS of any version.
    PlainText,
    /// A hello in the framing of SSL 2.0, which nobody may send any more (RFC 6176).
    SslV2,
    /// An alert comes first: the client gives up before it has begun.
    Alert,
    /// A record of another type comes first, or within the hello.
    RecordType,
    /// A record's version is not 3.x, as it is in all of SSL 3.0 and TLS.
    RecordVersion,
    EmptyRecord,
    /// A record holds more than 2^14 bytes.
    LongRecord,
    /// Another handshake message comes first.
    MessageType,
    /// The hello, with its records' headers, takes more than the limit.
    TooLarge,
    /// Something ends before what its length announces.
    Truncated,
    /// Something is left over at the end of a vector, of the hello, or of the hello's last record.
    Trailing,
    /// A list is empty or longer than it may be, or its length is no multiple of its items'.
    Length,
    DuplicateExtension,
    /// More than one host is named.
    DuplicateName,
    /// The server name is no name of a host.
    InvalidName,
}

impl Malformed {
    pub const ALL: [Malformed; 15] = [
        Self::PlainText,
        Self::SslV2,
        Self::Alert,
        Self::RecordType,
        Self::RecordVersion,
        Self::EmptyRecord,
        Self::LongRecord,
        Self::MessageType,
        Self::TooLarge,
        Self::Truncated,
        Self::Trailing,
        Self::Length,
        Self::DuplicateExtension,
        Self::DuplicateName,
        Self::InvalidName,
    ];

    /// What is wrong, as a sentence for whoever repairs it.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::PlainText => "the first bytes are no TLS",
            Self::SslV2 => "the hello is one of SSL 2.0, which nobody may speak any more",
            Self::Alert => "an alert came in place of a hello",
            Self::RecordType => "a record of another type came in place of a hello, or within it",
            Self::RecordVersion => "a record is of another version than 3.x",
            Self::EmptyRecord => "a record of the hello is empty",
            Self::LongRecord => "a record of the hello holds more than 16 KiB",
            Self::MessageType => "another handshake message came in place of a hello",
            Self::TooLarge => "the hello is larger than hello_size",
            Self::Truncated => "a part of the hello ends before its length says so",
            Self::Trailing => "something is left over at the end of the hello, or of a part of it",
            Self::Length => "a list in the hello has a length that it cannot have",
            Self::DuplicateExtension => "the hello has an extension twice",
            Self::DuplicateName => "the hello names more than one host",
            Self::InvalidName => "the server name is no name of a host",
        }
    }

    /// The position in `ALL`, for tables with one entry per cause.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// For the log and the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PlainText => "plain-text",
            Self::SslV2 => "ssl-v2",
            Self::Alert => "alert",
            Self::RecordType => "record-type",
            Self::RecordVersion => "record-version",
            Self::EmptyRecord => "empty-record",
            Self::LongRecord => "long-record",
            Self::MessageType => "message-type",
            Self::TooLarge => "too-large",
            Self::Truncated => "truncated",
            Self::Trailing => "trailing",
            Self::Length => "length",
            Self::DuplicateExtension => "duplicate-extension",
            Self::DuplicateName => "duplicate-name",
            Self::InvalidName => "invalid-name",
        }
    }

    /// The description of the alert that answers it (RFC 8446, section 6.2). None answers an alert:
    /// after one nothing more may be sent (section 6). What is no TLS at all is an unexpected type
    /// of record, which must be answered (section 5); whoever sends it sees more than a reset.
    pub const fn alert(self) -> Option<u8> {
        match self {
            Self::Alert => None,
            Self::PlainText | Self::RecordType | Self::EmptyRecord | Self::MessageType => {
                Some(UNEXPECTED_MESSAGE)
            }
            // Of a single record, and not of a message in several.
            Self::LongRecord => Some(RECORD_OVERFLOW),
            Self::DuplicateExtension | Self::DuplicateName | Self::InvalidName => {
                Some(ILLEGAL_PARAMETER)
            }
            // A length out of the range that is taken is one that cannot be decoded.
            Self::TooLarge | Self::Truncated | Self::Trailing | Self::Length => Some(DECODE_ERROR),
            Self::SslV2 | Self::RecordVersion => Some(PROTOCOL_VERSION),
        }
    }
}

// A new variant goes before the last one; forgotten in `ALL`, it fails to compile here.
const _: () = assert!(Malformed::InvalidName as usize + 1 == Malformed::ALL.len());

impl From<Short> for Malformed {
    fn from(_: Short) -> Malformed {
        Malformed::Truncated
    }
}

/// Reads one hello from a connection's first bytes, however they are cut into segments and records.
///
/// The answer depends on the bytes alone: each cut gives the same. All reads together take time in
/// proportion to the bytes.
#[derive(Debug)]
pub struct HelloReader {
    limit: usize,
    /// Everything fed.
    bytes: Vec<u8>,
    /// What comes before is read: whole records, and of the last one the header or more.
    at: usize,
    /// Where the record ends that `at` is in. Where the two are equal, a record's header is next.
    record_end: usize,
    /// How much of the message is read, without the headers of records.
    read: usize,
    /// The length of the message as far as it is known: of its header, until that is read.
    length: usize,
    /// The message's own header; the first `read` bytes are set.
    header: [u8; HEADER],
    /// The answer was given, and nothing is read any more.
    ended: bool,
}

impl HelloReader {
    /// `limit` is the most that a hello may take, in bytes with the headers of its records.
    pub fn new(limit: usize) -> HelloReader {
        HelloReader {
            limit,
            bytes: Vec::new(),
            at: 0,
            record_end: 0,
            read: 0,
            length: HEADER,
            header: [0; HEADER],
            ended: false,
        }
    }

    /// Reads what the client sent next. What follows the hello is kept and does not matter.
    ///
    /// The first answer that is not `Incomplete` is the last one: to read on is the caller's
    /// mistake, and panics.
    pub fn read(&mut self, bytes: &[u8]) -> Progress {
        assert!(!self.ended, "the answer was given before");
        self.bytes.extend_from_slice(bytes);
        let progress = match self.advance() {
            Ok(None) => return Progress::Incomplete,
            Ok(Some(hello)) => Progress::Complete(hello),
            Err(malformed) => Progress::Malformed(malformed),
        };
        self.ended = true;
        progress
    }

    /// Everything fed, unchanged.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Everything fed, unchanged.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Each verdict falls at one byte, whatever was fed along with it: in a record's header, at
    /// the message's first byte, at the end of its header, or at its own end.
    fn advance(&mut self) -> Result<Option<ClientHello>, Malformed> {
        loop {
            if self.at == self.record_end && !self.enter_record()? {
                return Ok(None);
            }
            let here = self.bytes.len().min(self.record_end) - self.at;
            let length = here.min(self.length - self.read);
            if length == 0 {
                return Ok(None);
            }
            if let Some(header) = self.header.get_mut(self.read..self.read + length) {
                header.copy_from_slice(&self.bytes[self.at..self.at + length]);
            }
            self.at += length;
            self.read += length;
            let [kind, high, middle, low] = self.header;
            if kind != CLIENT_HELLO {
                return Err(Malformed::MessageType);
            }
            if self.read == HEADER {
                self.length += u32::from_be_bytes([0, high, middle, low]) as usize;
                self.keep_the_limit()?;
            }
            if self.read == self.length {
                return self.complete().map(Some);
            }
        }
    }

    /// Reads a record's header; false as long as not all of it is there.
    fn enter_record(&mut self) -> Result<bool, Malformed> {
        let rest = &self.bytes[self.at..];
        let header = &rest[..rest.len().min(RECORD_HEADER)];
        let Some(length) = record_length(header, self.at == 0)? else { return Ok(false) };
        self.at += RECORD_HEADER;
        self.record_end = self.at + length;
        self.keep_the_limit()?;
        Ok(true)
    }

    /// What is still missing of the message takes as many bytes or more.
    fn keep_the_limit(&self) -> Result<(), Malformed> {
        let end = self.at + (self.length - self.read);
        if end > self.limit { Err(Malformed::TooLarge) } else { Ok(()) }
    }

    fn complete(&self) -> Result<ClientHello, Malformed> {
        // The keys may change after a hello, so it ends with a record (RFC 8446, section 5.1).
        if self.at != self.record_end {
            return Err(Malformed::Trailing);
        }
        let message = self.message()?;
        let mut message = Reader::new(&message);
        message.take(HEADER)?;
        parse(message)
    }

    /// The message without the headers of its records, which are whole.
    fn message(&self) -> Result<Cow<'_, [u8]>, Short> {
        let mut records = Reader::new(&self.bytes[..self.at]);
        let first = fragment(&mut records)?;
        if records.is_empty() {
            return Ok(Cow::Borrowed(first));
        }
        let mut message = Vec::with_capacity(self.length);
        message.extend_from_slice(first);
        while !records.is_empty() {
            message.extend_from_slice(fragment(&mut records)?);
        }
        Ok(Cow::Owned(message))
    }
}

/// What a record carries.
fn fragment<'a>(records: &mut Reader<'a>) -> Result<&'a [u8], Short> {
    records.take(RECORD_HEADER - 2)?;
    Ok(records.vector16()?.rest())
}

/// Judges a record's header, or the beginning of one, at the earliest byte that settles it. None
/// if more is needed. `first`: nothing came before it.
fn record_length(header: &[u8], first: bool) -> Result<Option<usize>, Malformed> {
    match *header {
        [] => return Ok(None),
        [HANDSHAKE, ..] => {}
        _ if !first => return Err(Malformed::RecordType),
        _ => return no_handshake(header),
    }
    match *header {
        [_, major, ..] if major != MAJOR_VERSION => Err(Malformed::RecordVersion),
        [_, _, _, high, low] => match usize::from(u16::from_be_bytes([high, low])) {
            0 => Err(Malformed::EmptyRecord),
            length if length > RECORD_MAX => Err(Malformed::LongRecord),
            length => Ok(Some(length)),
        },
        _ => Ok(None),
    }
}

/// Tells apart what else a connection may begin with. None if more is needed.
fn no_handshake(start: &[u8]) -> Result<Option<usize>, Malformed> {
    match *start {
        [20..=24] => Ok(None),
        [ALERT, MAJOR_VERSION, ..] => Err(Malformed::Alert),
        [20..=24, MAJOR_VERSION, ..] => Err(Malformed::RecordType),
        // A length with its first bit set, the type of message, and a version (RFC 5246, E.2).
        [0x80..=0xff, _, 1, 0, 2] | [0x80..=0xff, _, 1, 3, 0..=4] => Err(Malformed::SslV2),
        [0x80..=0xff] | [0x80..=0xff, _] | [0x80..=0xff, _, 1] => Ok(None),
        [0x80..=0xff, _, 1, 0 | 3] => Ok(None),
        _ => Err(Malformed::PlainText),
    }
}

/// Reads the message's body.
fn parse(mut body: Reader) -> Result<ClientHello, Malformed> {
    let version = body.u16()?;
    body.take(RANDOM)?;
    if body.vector8()?.rest().len() > SESSION_ID_MAX {
        return Err(Malformed::Length);
    }
    if !is_list_of_u16(body.vector16()?) || body.vector8()?.is_empty() {
        return Err(Malformed::Length);
    }
    let mut hello = ClientHello {
        server_name: None,
        alpn: Vec::new(),
        versions: Vec::new(),
        signature_schemes: Vec::new(),
        encrypted: false,
    };
    // Before TLS 1.3 a hello may end here.
    if !body.is_empty() {
        read_extensions(body.vector16()?, &mut hello)?;
        end(body)?;
    }
    if hello.versions.is_empty() {
        hello.versions.push(version);
    }
    Ok(hello)
}

fn read_extensions(mut extensions: Reader, hello: &mut ClientHello) -> Result<(), Malformed> {
    // One bit per type. The cost of looking for one does not grow with their number.
    let mut seen = [0_u64; 1 << 10];
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let mut body = extensions.vector16()?;
        let (word, bit) = (&mut seen[usize::from(kind >> 6)], 1 << (kind & 63));
        if *word & bit != 0 {
            return Err(Malformed::DuplicateExtension);
        }
        *word |= bit;
        match kind {
            SERVER_NAME => hello.server_name = read_server_name(body)?,
            ALPN => hello.alpn = read_protocols(body)?,
            SUPPORTED_VERSIONS => {
                hello.versions = list_of_u16(body.vector8()?)?;
                end(body)?;
            }
            SIGNATURE_ALGORITHMS => {
                hello.signature_schemes = list_of_u16(body.vector16()?)?;
                end(body)?;
            }
            ENCRYPTED_CLIENT_HELLO => hello.encrypted = body.u8()? == OUTER,
            _ => {}
        }
    }
    Ok(())
}

/// Nothing at all, a list without names and a name without bytes ask for no server.
fn read_server_name(mut body: Reader) -> Result<Option<Box<str>>, Malformed> {
    if body.is_empty() {
        return Ok(None);
    }
    let mut names = body.vector16()?;
    end(body)?;
    let mut host = None;
    while !names.is_empty() {
        let kind = names.u8()?;
        // Names of types to come have their length at the same place (RFC 6066, section 3).
        let name = names.vector16()?.rest();
        if kind == HOST_NAME && host.replace(name).is_some() {
            return Err(Malformed::DuplicateName);
        }
    }
    match host {
        None | Some([]) => Ok(None),
        Some(name) => host_name(name),
    }
}

/// What is a valid name is for rustls to say, which ends TLS here: both must see the same one.
fn host_name(name: &[u8]) -> Result<Option<Box<str>>, Malformed> {
    match ServerName::try_from(name) {
        Ok(ServerName::DnsName(name)) => {
            let name = name.as_ref();
            let name = name.strip_suffix('.').unwrap_or(name);
            Ok(Some(name.to_ascii_lowercase().into_boxed_str()))
        }
        Ok(ServerName::IpAddress(_)) => Ok(None),
        Ok(_) | Err(_) => Err(Malformed::InvalidName),
    }
}

fn read_protocols(mut body: Reader) -> Result<Vec<Box<[u8]>>, Malformed> {
    let mut list = body.vector16()?;
    end(body)?;
    let mut protocols = Vec::new();
    while !list.is_empty() {
        match list.vector8()?.rest() {
            [] => return Err(Malformed::Length),
            protocol => protocols.push(protocol.into()),
        }
    }
    if protocols.is_empty() { Err(Malformed::Length) } else { Ok(protocols) }
}

fn list_of_u16(list: Reader) -> Result<Vec<u16>, Malformed> {
    if !is_list_of_u16(list) {
        return Err(Malformed::Length);
    }
    let (items, _) = list.rest().as_chunks();
    Ok(items.iter().map(|item| u16::from_be_bytes(*item)).collect())
}

fn is_list_of_u16(list: Reader) -> bool {
    !list.is_empty() && list.rest().len().is_multiple_of(2)
}

fn end(reader: Reader) -> Result<(), Malformed> {
    if reader.is_empty() { Ok(()) } else { Err(Malformed::Trailing) }
}

/// A record that says, in plain text, that the connection ends here (RFC 8446, section 6).
///
/// `legacy_version` is the record's version: that of the hello, or the highest one it offers; 3.3
/// stands for all later ones (section 5.1), and 3.0 for all earlier ones.
pub fn fatal_alert(description: u8, legacy_version: u16) -> [u8; 7] {
    const FATAL: u8 = 2;
    let [major, minor] = legacy_version.clamp(0x0300, 0x0303).to_be_bytes();
    [ALERT, major, minor, 0, 2, FATAL, description]
}

/// In bytes: the type of content, a version and a length.
const RECORD_HEADER: usize = 5;
/// In bytes, of what a record in plain text carries.
const RECORD_MAX: usize = 1 << 14;
const MAJOR_VERSION: u8 = 3;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// In bytes: the type of message and a length.
const HEADER: usize = 4;
const CLIENT_HELLO: u8 = 1;
/// In bytes.
const RANDOM: usize = 32;
/// In bytes.
const SESSION_ID_MAX: usize = 32;

const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
const OUTER: u8 = 0;

const UNEXPECTED_MESSAGE: u8 = 10;
const RECORD_OVERFLOW: u8 = 22;
const ILLEGAL_PARAMETER: u8 = 47;
const DECODE_ERROR: u8 = 50;
const PROTOCOL_VERSION: u8 = 70;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const LIMIT: usize = 1 << 17;

    fn read(bytes: &[u8]) -> Progress {
        HelloReader::new(LIMIT).read(bytes)
    }

    /// The answer, which no read but the one of the last byte needed may give.
    #[track_caller]
    fn read_one_by_one(bytes: &[u8], limit: usize) -> (Progress, usize) {
        let mut reader = HelloReader::new(limit);
        for (index, byte) in bytes.iter().enumerate() {
            match reader.read(&[*byte]) {
                Progress::Incomplete => {}
                progress => return (progress, index + 1),
            }
        }
        (Progress::Incomplete, bytes.len())
    }

    #[track_caller]
    fn complete(bytes: &[u8]) -> ClientHello {
        match read(bytes) {
            Progress::Complete(hello) => hello,
            progress => panic!("{progress:?} of {} bytes", bytes.len()),
        }
    }

    /// Fed at once and byte by byte, and the latter at byte `at`, counted from 1.
    #[track_caller]
    fn refused(bytes: &[u8], reason: Malformed, at: usize) {
        assert_eq!(read(bytes), Progress::Malformed(reason), "{bytes:02x?}");
        let expected = (Progress::Malformed(reason), at);
        assert_eq!(read_one_by_one(bytes, LIMIT), expected, "{bytes:02x?}");
    }

    fn vector8(content: &[u8]) -> Vec<u8> {
        [&[u8::try_from(content.len()).unwrap()][..], content].concat()
    }

    fn vector16(content: &[u8]) -> Vec<u8> {
        [&u16::try_from(content.len()).unwrap().to_be_bytes()[..], content].concat()
    }

    fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vector16(body)].concat()
    }

    fn server_names(names: &[(u8, &[u8])]) -> Vec<u8> {
        let entry = |(kind, name): &(u8, &[u8])| [&[*kind][..], &vector16(name)].concat();
        extension(SERVER_NAME, &vector16(&names.iter().map(entry).collect::<Vec<_>>().concat()))
    }

    /// What stands before the extensions, for TLS 1.2.
    fn fields() -> Vec<u8> {
        [&[3, 3][..], &[7; RANDOM], &vector8(&[]), &vector16(&[0xc0, 0x2b]), &vector8(&[0])]
            .concat()
    }

    fn message(body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[CLIENT_HELLO][..], &length[1..], body].concat()
    }

    fn record(fragment: &[u8]) -> Vec<u8> {
        [&[HANDSHAKE, 3, 1][..], &vector16(fragment)].concat()
    }

    fn hello_of(body: &[u8]) -> Vec<u8> {
        record(&message(body))
    }

    fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
        hello_of(&[fields(), vector16(&extensions.concat())].concat())
    }

    /// All of it has to be there before it is refused.
    #[track_caller]
    fn refused_at_the_end(bytes: &[u8], reason: Malformed) {
        refused(bytes, reason, bytes.len());
    }

    #[test]
    fn a_hello_without_extensions_is_complete() {
        let expected = ClientHello {
            server_name: None,
            alpn: Vec::new(),
            versions: vec![0x0303],
            signature_schemes: Vec::new(),
            encrypted: false,
        };
        assert_eq!(complete(&hello_of(&fields())), expected);
        assert_eq!(complete(&hello(&[])), expected);
        assert_eq!(complete(&hello(&[extension(0x1234, &[1, 2, 3])])), expected);
    }

    #[test]
    fn what_is_asked_for_is_read_in_its_order() {
        let hello = complete(&hello(&[
            extension(0x0a0a, &[]),
            server_names(&[(HOST_NAME, b"Logs.Example.COM")]),
            extension(SUPPORTED_VERSIONS, &vector8(&[0x1a, 0x1a, 3, 4, 3, 3])),
            extension(SIGNATURE_ALGORITHMS, &vector16(&[4, 3, 8, 4, 0x0a, 0x0a])),
            extension(ALPN, &vector16(&[&vector8(b"h2")[..], &vector8(&[0x2a, 0x2a])].concat())),
            extension(ENCRYPTED_CLIENT_HELLO, &[OUTER, 9, 9]),
            extension(0xfafa, &[0]),
        ]));
        let expected = ClientHello {
            server_name: Some("logs.example.com".into()),
            alpn: vec![(*b"h2").into(), [0x2a, 0x2a].into()],
            versions: vec![0x1a1a, 0x0304, 0x0303],
            signature_schemes: vec![0x0403, 0x0804, 0x0a0a],
            encrypted: true,
        };
        assert_eq!(hello, expected);
    }

    #[test]
    fn a_server_name_is_a_host_in_lower_case_or_none() {
        let label = "x".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "x".repeat(61));
        for (sent, read) in [
            ("a.example", Some("a.example")),
            ("A.Example.", Some("a.example")),
            ("localhost", Some("localhost")),
            ("_otlp._tcp.1.a-b", Some("_otlp._tcp.1.a-b")),
            ("xn--bcher-kva.example", Some("xn--bcher-kva.example")),
            (&longest, Some(&longest)),
            ("", None),
            ("192.0.2.1", None),
            ("2001:db8::1", None),
        ] {
            let hello = complete(&hello(&[server_names(&[(HOST_NAME, sent.as_bytes())])]));
            assert_eq!(hello.server_name.as_deref(), read, "{sent}");
        }
    }

    #[test]
    fn a_name_that_no_host_can_have_is_refused() {
        let long_label = "x".repeat(64);
        let too_long = "x.".repeat(127) + "x";
        for name in [
            &b"."[..],
            b"a..b",
            b".a",
            b"a b",
            b"a\0",
            b"a.example\0.b",
            b"*.a",
            b"a/b",
            b"a:443",
            b"[::1]",
            b"-a",
            b"a-.b",
            b"a.1",
            b"192.0.2.1.",
            "bücher.example".as_bytes(),
            b"\xff",
            long_label.as_bytes(),
            too_long.as_bytes(),
        ] {
            let hello = hello(&[server_names(&[(HOST_NAME, name)])]);
            refused_at_the_end(&hello, Malformed::InvalidName);
        }
    }

    #[test]
    fn names_of_other_types_are_passed_over() {
        let name = |names: &[(u8, &[u8])]| complete(&hello(&[server_names(names)])).server_name;
        assert_eq!(name(&[(9, b"?"), (HOST_NAME, b"a"), (9, b"")]).as_deref(), Some("a"));
        assert_eq!(name(&[(9, b"a")]), None);
        assert_eq!(name(&[]), None);
        assert_eq!(complete(&hello(&[extension(SERVER_NAME, &[])])).server_name, None);
        for names in [&[(0, &b"a"[..]), (0, b"a")][..], &[(0, b""), (9, b"?"), (0, b"a")]] {
            refused_at_the_end(&hello(&[server_names(names)]), Malformed::DuplicateName);
        }
    }

    #[test]
    fn only_an_outer_hello_is_encrypted() {
        let is_encrypted =
            |body: &[u8]| complete(&hello(&[extension(ENCRYPTED_CLIENT_HELLO, body)])).encrypted;
        assert!(is_encrypted(&[0, 0, 1, 0, 1, 7, 0, 0, 0, 1, 9]));
        assert!(!is_encrypted(&[1]));
        assert!(!is_encrypted(&[2, 0]));
        let empty = hello(&[extension(ENCRYPTED_CLIENT_HELLO, &[])]);
        refused_at_the_end(&empty, Malformed::Truncated);
    }

    #[test]
    fn what_is_no_hello_is_refused_at_its_first_telling_byte() {
        use Malformed::*;
        for (bytes, reason, at) in [
            (&b"GET / HTTP/1.1"[..], PlainText, 1),
            (b"<13>1 - a syslog message", PlainText, 1),
            (b"\0\0\0\x08", PlainText, 1),
            (b"\x19\x03\x03", PlainText, 1),
            (b"\x15\x02", PlainText, 2),
            (b"\x17SSL", PlainText, 2),
            (b"\xef\xbb\xbf", PlainText, 3),
            (b"\x92\xa3tag", PlainText, 3),
            (b"\x80\x2e\x01\x02\x00", PlainText, 4),
            (b"\x80\x2e\x01\x00\x03", PlainText, 5),
            (b"\x80\x2e\x01\x03\x05", PlainText, 5),
            (b"\x80\x2e\x01\x00\x02\x00\x15", SslV2, 5),
            (b"\x80\x2e\x01\x03\x01\x00\x15", SslV2, 5),
            (b"\xff\xff\x01\x03\x04", SslV2, 5),
            (b"\x15\x03\x01\x00\x02\x01\x00", Alert, 2),
            (b"\x14\x03\x03\x00\x01\x01", RecordType, 2),
            (b"\x17\x03\x03\x00\x01\x01", RecordType, 2),
            (b"\x18\x03\x03\x00\x01\x01", RecordType, 2),
            (b"\x16\x02\x00", RecordVersion, 2),
            (b"\x16\xfe\xfd", RecordVersion, 2),
            (b"\x16\x03\x01\x00\x00\x01", EmptyRecord, 5),
            (b"\x16\x03\x01\x40\x01\x01", LongRecord, 5),
            (b"\x16\x03\x01\xff\xff\x01", LongRecord, 5),
            (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", MessageType, 6),
            (b"\x16\x03\x01\x00\x04\x00\x00\x00\x00", MessageType, 6),
        ] {
            refused(bytes, reason, at);
        }
    }

    #[test]
    fn nothing_but_records_of_the_hello_may_come_before_its_end() {
        use Malformed::*;
        let message = message(&fields());
        for first in 1..message.len() {
            let begun = record(&message[..first]);
            let after = begun.len();
            for (bytes, reason, at) in [
                (&[21, 3, 3, 0, 2, 1, 0][..], RecordType, 1),
                (&[20, 3, 3, 0, 1, 1], RecordType, 1),
                (&[HANDSHAKE, 4, 3], RecordVersion, 2),
                (&[HANDSHAKE, 3, 3, 0, 0], EmptyRecord, 5),
                (&[HANDSHAKE, 3, 3, 0x40, 1], LongRecord, 5),
            ] {
                refused(&[&begun[..], bytes].concat(), reason, after + at);
            }
            assert_eq!(read(&begun), Progress::Incomplete);
        }
    }

    #[test]
    fn a_record_of_the_greatest_length_is_no_fault() {
        let plain = hello(&[]);
        let filled = |length| vector16(&extension(0x1234, &vec![0; length]));
        // The plain hello has the message's header, and two bytes for the length of no extensions.
        let room = RECORD_MAX - (plain.len() - RECORD_HEADER) - 4;
        let greatest = hello_of(&[fields(), filled(room)].concat());
        assert_eq!(greatest[3..5], [0x40, 0]);
        assert_eq!(complete(&greatest), complete(&plain));
        let longer = message(&[fields(), filled(1 << 15)].concat());
        let records: Vec<u8> = longer.chunks(RECORD_MAX).flat_map(record).collect();
        assert_eq!(complete(&records), complete(&plain));
    }

    #[test]
    fn a_body_that_ends_early_is_truncated() {
        let extensions = [
            server_names(&[(HOST_NAME, b"a.example")]),
            extension(SUPPORTED_VERSIONS, &vector8(&[3, 4])),
            extension(SIGNATURE_ALGORITHMS, &vector16(&[4, 3])),
            extension(ALPN, &vector16(&vector8(b"h2"))),
        ];
        let body = [fields(), vector16(&extensions.concat())].concat();
        for length in 0..body.len() {
            let hello = hello_of(&body[..length]);
            if length == fields().len() {
                assert_eq!(complete(&hello).versions, [0x0303]);
            } else {
                refused_at_the_end(&hello, Malformed::Truncated);
            }
        }
        // The body of an extension ends early, all that is around it being well-formed.
        for whole in extensions {
            let kind = u16::from_be_bytes([whole[0], whole[1]]);
            for length in 1..whole.len() - 4 {
                let hello = hello(&[extension(kind, &whole[4..4 + length])]);
                refused_at_the_end(&hello, Malformed::Truncated);
            }
        }
    }

    #[test]
    fn what_is_left_over_is_refused() {
        use Malformed::Trailing;
        let well_formed = [
            server_names(&[(HOST_NAME, b"a")]),
            extension(SUPPORTED_VERSIONS, &vector8(&[3, 4])),
            extension(SIGNATURE_ALGORITHMS, &vector16(&[4, 3])),
            extension(ALPN, &vector16(&vector8(b"h2"))),
        ];
        for extended in well_formed {
            let kind = u16::from_be_bytes([extended[0], extended[1]]);
            let body = [&extended[4..], &[0]].concat();
            refused_at_the_end(&hello(&[extension(kind, &body)]), Trailing);
        }
        let after_extensions = [&fields()[..], &vector16(&[]), &[0]].concat();
        refused_at_the_end(&hello_of(&after_extensions), Trailing);
        // In its last record, something follows the hello: it need not come to be seen.
        let message = message(&fields());
        let shared = record(&[&message[..], &[0]].concat());
        refused(&shared, Trailing, shared.len() - 1);
        let shared = record(&[&message[..], &message].concat());
        refused(&shared, Trailing, shared.len() - message.len());
    }

    #[test]
    fn a_list_of_an_impossible_length_is_refused() {
        let fields = |session: &[u8], suites: &[u8], compressions: &[u8]| {
            let lists = [vector8(session), vector16(suites), vector8(compressions)].concat();
            hello_of(&[&[3, 3][..], &[7; RANDOM], &lists].concat())
        };
        assert_eq!(complete(&fields(&[7; 32], &[0, 1, 0, 2], &[1, 0])).versions, [0x0303]);
        for hello in [
            fields(&[7; 33], &[0, 1], &[0]),
            fields(&[], &[], &[0]),
            fields(&[], &[0, 1, 0], &[0]),
            fields(&[], &[0, 1], &[]),
            hello(&[extension(SUPPORTED_VERSIONS, &vector8(&[]))]),
            hello(&[extension(SUPPORTED_VERSIONS, &vector8(&[3, 4, 3]))]),
            hello(&[extension(SIGNATURE_ALGORITHMS, &vector16(&[]))]),
            hello(&[extension(SIGNATURE_ALGORITHMS, &vector16(&[4]))]),
            hello(&[extension(ALPN, &vector16(&[]))]),
            hello(&[extension(ALPN, &vector16(&[0]))]),
            hello(&[extension(ALPN, &vector16(&[2, b'h', b'2', 0]))]),
        ] {
            refused_at_the_end(&hello, Malformed::Length);
        }
    }

    #[test]
    fn an_extension_comes_once() {
        for kind in [SERVER_NAME, 0x0a0a, 63, 64, 0xffff] {
            let twice = extension(kind, &[]);
            let hello = hello(&[twice.clone(), extension(kind ^ 1, &[]), twice]);
            refused_at_the_end(&hello, Malformed::DuplicateExtension);
        }
        // All there are: none is taken for another.
        let all: Vec<_> = (0x4000..0x7fff).map(|kind| extension(kind, &[])).collect();
        let body = [fields(), vector16(&all.concat())].concat();
        let records: Vec<u8> = message(&body).chunks(RECORD_MAX).flat_map(record).collect();
        assert_eq!(complete(&records), complete(&hello(&[])));
    }

    #[test]
    fn a_hello_that_would_exceed_the_limit_is_refused_at_its_header() {
        let hello = hello_of(&fields());
        let too_large = Progress::Malformed(Malformed::TooLarge);
        assert_eq!(read_one_by_one(&hello, hello.len() - 1), (too_large.clone(), 9));
        assert!(matches!(read_one_by_one(&hello, hello.len()), (Progress::Complete(_), _)));
        let endless = [HANDSHAKE, 3, 1, 0x40, 0, CLIENT_HELLO, 0xff, 0xff, 0xff];
        assert_eq!(read_one_by_one(&endless, LIMIT), (too_large.clone(), 9));
        assert_eq!(read_one_by_one(&endless, 0), (too_large, 5));
    }

    #[test]
    fn everything_fed_is_kept() {
        let hello = hello_of(&fields());
        let mut reader = HelloReader::new(LIMIT);
        assert_eq!(reader.read(&[]), Progress::Incomplete);
        assert_eq!(reader.read(&hello[..20]), Progress::Incomplete);
        let rest = [&hello[20..], b"early"].concat();
        assert!(matches!(reader.read(&rest), Progress::Complete(_)));
        assert_eq!(reader.bytes(), [&hello[..], b"early"].concat());
        let mut reader = HelloReader::new(LIMIT);
        assert_eq!(reader.read(b"plain text"), Progress::Malformed(Malformed::PlainText));
        assert_eq!(reader.into_bytes(), b"plain text");
    }

    #[test]
    #[should_panic(expected = "the answer was given before")]
    fn to_read_on_after_the_answer_is_a_mistake() {
        let mut reader = HelloReader::new(LIMIT);
        assert_eq!(reader.read(b"plain text"), Progress::Malformed(Malformed::PlainText));
        drop(reader.read(b"more"));
    }

    #[test]
    fn each_reason_has_its_word() {
        let words: BTreeSet<&str> = Malformed::ALL.map(Malformed::as_str).into();
        assert_eq!(words.len(), Malformed::ALL.len());
        for (position, reason) in Malformed::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, position, "{}", reason.as_str());
        }
    }

    #[test]
    fn an_alert_is_a_record_that_ends_the_connection() {
        assert_eq!(fatal_alert(112, 0x0303), [21, 3, 3, 0, 2, 2, 112]);
        assert_eq!(fatal_alert(40, 0x0301), [21, 3, 1, 0, 2, 2, 40]);
        // Neither a later version nor a value without a meaning is written into a record.
        for version in [0x0304, 0x0a0a, 0xffff] {
            assert_eq!(fatal_alert(70, version), fatal_alert(70, 0x0303));
        }
        assert_eq!(fatal_alert(70, 0x0002), [21, 3, 0, 0, 2, 2, 70]);
        assert_eq!(Malformed::Alert.alert(), None);
        assert_eq!(Malformed::PlainText.alert(), Some(10));
        assert_eq!(Malformed::LongRecord.alert(), Some(22));
        assert_eq!(Malformed::TooLarge.alert(), Some(50));
        assert_eq!(Malformed::InvalidName.alert(), Some(47));
    }
}
