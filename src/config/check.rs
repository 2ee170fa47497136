//! What a probe asks: `check` of `[pool.NAME.health]` and the keys that some checks have. Asks
//! nothing.

use std::ops::RangeInclusive;

use super::field::{Field, Read};
use super::reader::Section;
use super::server_name;

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// A connection is accepted.
    Tcp,
    /// A ClientHello is answered by a ServerHello or an alert.
    TlsHello { server_name: Option<String> },
    /// A handshake with the settings of `[pool.NAME.tls]`, which is there. The name is there if
    /// and only if those settings take it from the client.
    Tls { server_name: Option<String> },
    Http {
        method: String,
        path: String,
        /// `None`: the backend's address.
        host: Option<String>,
        status: RangeInclusive<u16>,
    },
    /// grpc.health.v1: the service, empty for the whole server, is SERVING.
    Grpc { service: String },
    /// The `vector` source's own vector.Vector/HealthCheck.
    Vector,
    /// Bytes are sent, if any, and bytes are awaited somewhere in the answer, if any. There are
    /// some of either.
    SendExpect { send: Vec<u8>, expect: Vec<u8> },
}

/// TLS of a probe. The certificate is not verified: a probe asks whether the backend serves, and
/// carries no data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckTls {
    /// `None`: none is sent.
    pub server_name: Option<String>,
}

/// What the TLS of the pool has for a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PoolSide {
    /// There is none.
    Missing,
    /// It could not be read, which is an error already.
    Unknown,
    /// Settings, with the name to ask for.
    Named,
    /// Settings; the name is that of each client.
    Nameless,
}

/// The check, and the TLS around it.
pub(super) fn read(section: &Section<'_>, pool: PoolSide) -> (Check, Option<CheckTls>) {
    let Some(word) = section.required("check", |field| field.choice(&WORDS).map(Some)) else {
        // Any key may belong to the check that was meant.
        for (key, _) in KEYS {
            section.gives(key);
        }
        return (Check::Tcp, None);
    };
    refuse_keys_of_others(section, word);
    let check = match word {
        Word::Tcp => Check::Tcp,
        Word::TlsHello => Check::TlsHello { server_name: server_name(section) },
        Word::Tls => Check::Tls { server_name: pool_server_name(section, pool) },
        Word::Http => Check::Http {
            method: section.value_or("method", "GET".to_owned(), method),
            path: section.value_or("path", "/".to_owned(), path),
            host: section.value_or("host", None, |field| host(field).map(Some)),
            status: section.value_or("status", STATUS, status),
        },
        Word::Grpc => Check::Grpc { service: section.value_or("service", String::new(), service) },
        Word::Vector => Check::Vector,
        Word::SendExpect => send_expect(section),
    };
    let tls = if takes(word, "tls") { tls(section) } else { None };
    (check, tls)
}

/// A key of another check would be without effect, and whoever wrote it expects one.
fn refuse_keys_of_others(section: &Section<'_>, word: Word) {
    let name = |word: Word| WORDS.iter().find(|(_, other)| *other == word).map(|(name, _)| *name);
    for (key, words) in KEYS {
        if !words.contains(&word) {
            let owners = words.iter().filter_map(|owner| name(*owner));
            let owners: Vec<_> = owners.map(|name| format!("\"{name}\"")).collect();
            let message = format!(
                "has no meaning for check = \"{}\"; take it out, or give check = {}",
                name(word).unwrap_or_default(),
                owners.join(" or ")
            );
            section.refuse_if_given(key, &message);
        }
    }
}

fn takes(word: Word, key: &str) -> bool {
    KEYS.iter().any(|(own, words)| *own == key && words.contains(&word))
}

fn tls(section: &Section<'_>) -> Option<CheckTls> {
    match section.given_or("tls", false, Field::boolean) {
        Some(false) => {
            section.refuse_if_given(
                "tls_server_name",
                "has no meaning without TLS; take it out, or give tls = true",
            );
            None
        }
        Some(true) | None => Some(CheckTls { server_name: server_name(section) }),
    }
}

/// The name that a probe with the pool's own TLS asks for, where that has none.
fn pool_server_name(section: &Section<'_>, pool: PoolSide) -> Option<String> {
    let is_given = section.gives("tls_server_name");
    match pool {
        PoolSide::Missing => {
            let message = "\"tls\" asks with the settings of the pool's table tls, which is \
                           missing; add it, or give \"tls-hello\"";
            section.reader.refuse_absence(&section.place_of("check"), message.to_owned());
        }
        PoolSide::Named if is_given => {
            let message = "stands beside server_name of the pool's table tls; take it out";
            section.reader.refuse(&section.place_of("tls_server_name"), message.to_owned());
            return None;
        }
        PoolSide::Nameless if !is_given => {
            let message = "missing, and a probe has no client whose name it could ask for; add it";
            section.reader.refuse_absence(&section.place_of("tls_server_name"), message.to_owned());
        }
        PoolSide::Unknown | PoolSide::Named | PoolSide::Nameless => {}
    }
    server_name(section)
}

fn server_name(section: &Section<'_>) -> Option<String> {
    section.value_or("tls_server_name", None, |field| server_name::exact(field).map(Some))
}

fn method(field: &Field<'_>) -> Read<String> {
    let valid = |text: &str| {
        (1..=METHOD_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase())
    };
    plain(field, valid, "a method such as \"GET\"")
}

/// The characters that RFC 3986 has in a path and a query.
fn path(field: &Field<'_>) -> Read<String> {
    let plain_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
    let valid = |text: &str| {
        text.starts_with('/') && text.len() <= TEXT_MAX && text.bytes().all(plain_byte)
    };
    plain(field, valid, "a path that begins with a slash, such as \"/health\"")
}

/// A name or an address, with or without a port.
fn host(field: &Field<'_>) -> Read<String> {
    let plain_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let valid = |text: &str| (1..=TEXT_MAX).contains(&text.len()) && text.bytes().all(plain_byte);
    plain(field, valid, "a host such as \"agg.example\"")
}

fn service(field: &Field<'_>) -> Read<String> {
    let valid =
        |text: &str| text.len() <= TEXT_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    plain(field, valid, "a service such as \"vector.Vector\", or \"\" for the server as a whole")
}

fn plain(field: &Field<'_>, valid: impl Fn(&str) -> bool, remedy: &str) -> Read<String> {
    let text = field.text(remedy)?;
    if valid(text) { Ok(text.to_owned()) } else { Err(field.refusal(remedy)) }
}

/// One status, or the first and the last.
fn status(field: &Field<'_>) -> Read<RangeInclusive<u16>> {
    let remedy = "a status from 200 to 599 such as 204, or a range such as \"200-299\"";
    let Some(text) = field.value.as_str() else {
        let status = field.integer(STATUSES).map_err(|_| field.refusal(remedy))?;
        return Ok(status..=status);
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (status_code(first), status_code(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err(field.refusal(remedy)),
    }
}

fn status_code(text: &str) -> Option<u16> {
    // `parse` alone would take a leading plus sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|status| digits && STATUSES.contains(status))
}

fn send_expect(section: &Section<'_>) -> Check {
    let send = bytes(section, "send", "send_hex");
    let expect = bytes(section, "expect", "expect_hex");
    if ["send", "send_hex", "expect", "expect_hex"].into_iter().all(|key| !section.gives(key)) {
        let message = "neither sends nor expects anything; give send or expect, \
                       or check = \"tcp\"";
        section.reader.refuse_absence(&section.place_of("check"), message.to_owned());
    }
    Check::SendExpect { send, expect }
}

/// What one of two keys gives, as a text or as hexadecimal digits.
fn bytes(section: &Section<'_>, text_key: &'static str, hex_key: &'static str) -> Vec<u8> {
    let text = section.value_or(text_key, Vec::new(), text_bytes);
    let hex = section.value_or(hex_key, Vec::new(), hex_bytes);
    if section.gives(text_key) && section.gives(hex_key) {
        let message = format!("stands beside {text_key}; give one of the two");
        section.reader.refuse(&section.place_of(hex_key), message);
    }
    if text.is_empty() { hex } else { text }
}

fn text_bytes(field: &Field<'_>) -> Read<Vec<u8>> {
    let remedy = format!("a text of 1 to {BYTES_MAX} bytes");
    let bytes = field.text(&remedy)?.as_bytes();
    let fits = (1..=BYTES_MAX).contains(&bytes.len());
    if fits { Ok(bytes.to_vec()) } else { Err(field.refusal(&remedy)) }
}

/// Two digits for each byte; spaces between them are for the eye.
fn hex_bytes(field: &Field<'_>) -> Read<Vec<u8>> {
    let remedy = format!("1 to {BYTES_MAX} bytes as pairs of hexadecimal digits, such as \"0d0a\"");
    let text = field.text(&remedy)?.bytes().filter(|byte| *byte != b' ');
    let digits: Option<Vec<u8>> =
        text.map(|byte| char::from(byte).to_digit(16).map(|digit| digit as u8)).collect();
    let fits = |digits: &Vec<u8>| {
        digits.len().is_multiple_of(2) && (1..=BYTES_MAX).contains(&(digits.len() / 2))
    };
    let digits = digits.filter(fits).ok_or_else(|| field.refusal(&remedy))?;
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// The checks as words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Tcp,
    TlsHello,
    Tls,
    Http,
    Grpc,
    Vector,
    SendExpect,
}

const WORDS: [(&str, Word); 7] = [
    ("tcp", Word::Tcp),
    ("tls-hello", Word::TlsHello),
    ("tls", Word::Tls),
    ("http", Word::Http),
    ("grpc", Word::Grpc),
    ("vector", Word::Vector),
    ("send-expect", Word::SendExpect),
];

/// The keys that only some checks have.
const KEYS: [(&str, &[Word]); 11] = [
    ("method", &[Word::Http]),
    ("path", &[Word::Http]),
    ("host", &[Word::Http]),
    ("status", &[Word::Http]),
    ("tls", &[Word::Http, Word::Grpc, Word::Vector]),
    ("tls_server_name", &[Word::TlsHello, Word::Tls, Word::Http, Word::Grpc, Word::Vector]),
    ("service", &[Word::Grpc]),
    ("send", &[Word::SendExpect]),
    ("send_hex", &[Word::SendExpect]),
    ("expect", &[Word::SendExpect]),
    ("expect_hex", &[Word::SendExpect]),
];

const STATUS: RangeInclusive<u16> = 200..=299;
/// Those that end an exchange.
const STATUSES: RangeInclusive<u16> = 200..=599;

const METHOD_MAX: usize = 16;
/// In bytes, of a path, a host or a service: longer than any, and short enough for every server.
const TEXT_MAX: usize = 1024;
/// In bytes: a probe's question fits one segment or a few, and its answer is kept to be searched.
const BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    use crate::config::Health;
    use crate::config::samples::{LISTENER, TLS, errors, valid, valid_pool, with_pool};

    const POOL: &str = "backends = [\"10.0.0.1:1\"]\n[pool.p.health]\n";

    fn health(lines: &str) -> Health {
        valid_pool(&format!("{POOL}{lines}")).health.unwrap()
    }

    /// The table that the check `tls` needs, for the end of a file.
    fn tls_of(word: &str) -> &'static str {
        if word == "tls" { "\n[pool.p.tls]" } else { "" }
    }

    /// What is printed for a pool with these keys of health, from line 7 on.
    fn refused(lines: &str) -> Vec<String> {
        with_pool(&format!("{POOL}{lines}"))
    }

    #[test]
    fn every_check_is_read() {
        let http = |method: &str, path: &str, host: Option<&str>, status| Check::Http {
            method: method.to_owned(),
            path: path.to_owned(),
            host: host.map(str::to_owned),
            status,
        };
        let name = Some("a.b".to_owned());
        let cases = [
            ("tcp", "", Check::Tcp),
            ("tls-hello", "", Check::TlsHello { server_name: None }),
            (
                "tls-hello",
                "tls_server_name = \"a.b\"",
                Check::TlsHello { server_name: name.clone() },
            ),
            ("http", "", http("GET", "/", None, 200..=299)),
            (
                "http",
                "method = \"HEAD\"\npath = \"/health?a=%20\"\nhost = \"[::1]:1\"\nstatus = 204",
                http("HEAD", "/health?a=%20", Some("[::1]:1"), 204..=204),
            ),
            ("http", "status = \"404\"", http("GET", "/", None, 404..=404)),
            ("http", "status = \"200-599\"", http("GET", "/", None, 200..=599)),
            ("grpc", "", Check::Grpc { service: String::new() }),
            ("grpc", "service = \"a.B\"", Check::Grpc { service: "a.B".to_owned() }),
            ("vector", "", Check::Vector),
            (
                "send-expect",
                "send = \"PING\\r\\n\"\nexpect_hex = \"2b 0A\"",
                Check::SendExpect { send: b"PING\r\n".to_vec(), expect: b"+\n".to_vec() },
            ),
            (
                "send-expect",
                "send_hex = \"00ff\"",
                Check::SendExpect { send: vec![0, 255], expect: Vec::new() },
            ),
            (
                "send-expect",
                "expect = \"220\"",
                Check::SendExpect { send: Vec::new(), expect: b"220".to_vec() },
            ),
        ];
        for (word, lines, check) in cases {
            let health = health(&format!("check = \"{word}\"\n{lines}"));
            assert_eq!((health.check, health.tls), (check, None), "{word}: {lines}");
        }
    }

    #[test]
    fn http_and_grpc_may_be_asked_over_tls() {
        for word in ["http", "grpc", "vector"] {
            let tls = |lines| health(&format!("check = \"{word}\"\n{lines}")).tls;
            assert_eq!(tls("tls = false"), None);
            assert_eq!(tls("tls = true"), Some(CheckTls { server_name: None }));
            assert_eq!(
                tls("tls = true\ntls_server_name = \"a.b\""),
                Some(CheckTls { server_name: Some("a.b".to_owned()) })
            );
            assert_eq!(
                refused(&format!("check = \"{word}\"\ntls_server_name = \"a.b\"")),
                ["8: pool.p.health.tls_server_name: has no meaning without TLS; \
                  take it out, or give tls = true"]
            );
            let broken = refused(&format!("check = \"{word}\"\ntls = 1\ntls_server_name = \"a\""));
            assert_eq!(broken, ["8: pool.p.health.tls: found 1; give true or false"]);
        }
    }

    #[test]
    fn a_handshake_is_asked_with_the_tls_of_the_pool() {
        let tls = |name: Option<&str>| Check::Tls { server_name: name.map(str::to_owned) };
        assert_eq!(health("check = \"tls\"\n[pool.p.tls]").check, tls(None));
        // Clients ask for names where TLS is ended.
        let asking = |name: &str| {
            let listener = LISTENER.replace("\"p\"", "\"p\"\ntls = \"edge\"");
            let health =
                format!("health = {{ check = \"tls\"{name} }}\ntls.server_name = \"client\"");
            format!("{listener}[pool.p]\nbackends = [\"10.0.0.1:1\"]\n{health}\n{TLS}")
        };
        let named = valid(&asking(", tls_server_name = \"a.b\"")).pools.remove(0);
        assert_eq!(named.health.unwrap().check, tls(Some("a.b")));
        assert_eq!(
            errors(&asking("")),
            ["7: pool.p.health.tls_server_name: missing, and a probe has no client whose name it \
              could ask for; add it"]
        );
        assert_eq!(
            refused("check = \"tls\""),
            ["7: pool.p.health.check: \"tls\" asks with the settings of the pool's table tls, \
              which is missing; add it, or give \"tls-hello\""]
        );
        assert_eq!(
            refused("check = \"tls\"\ntls_server_name = \"a.b\"\n[pool.p.tls]"),
            ["8: pool.p.health.tls_server_name: stands beside server_name of the pool's table \
              tls; take it out"]
        );
        assert_eq!(
            with_pool("tls = 1\nbackends = [\"10.0.0.1:1\"]\nhealth.check = \"tls\""),
            ["5: pool.p.tls: found 1; give a table, written [pool.p.tls]"],
            "what cannot be read is not missed as well"
        );
    }

    #[test]
    fn keys_of_another_check_are_refused() {
        let cases = [
            ("tcp", "path = \"/\"", "\"http\""),
            ("tls-hello", "tls = true", "\"http\" or \"grpc\" or \"vector\""),
            (
                "tcp",
                "tls_server_name = \"a\"",
                "\"tls-hello\" or \"tls\" or \"http\" or \"grpc\" or \"vector\"",
            ),
            ("tls", "tls = true", "\"http\" or \"grpc\" or \"vector\""),
            ("http", "service = \"a\"", "\"grpc\""),
            ("vector", "service = \"a\"", "\"grpc\""),
            ("grpc", "send = \"a\"", "\"send-expect\""),
            ("send-expect", "send = \"a\"\nstatus = 200", "\"http\""),
        ];
        for (word, lines, owners) in cases {
            let found = refused(&format!("check = \"{word}\"\n{lines}{}", tls_of(word)));
            let key = lines.lines().last().unwrap().split(' ').next().unwrap();
            let line = 7 + lines.lines().count();
            assert_eq!(
                found,
                [format!(
                    "{line}: pool.p.health.{key}: has no meaning for check = \"{word}\"; \
                     take it out, or give check = {owners}"
                )]
            );
        }
    }

    #[test]
    fn every_key_is_refused_beside_the_checks_that_do_not_have_it() {
        for (word, own) in WORDS {
            for (key, owners) in KEYS {
                let found = refused(&format!("check = \"{word}\"\n{key} = []{}", tls_of(word)));
                let place = format!("8: pool.p.health.{key}: ");
                let foreign = format!("{place}has no meaning");
                let found: Vec<_> = found.iter().filter(|line| line.starts_with(&place)).collect();
                assert_eq!(found.len(), 1, "{word}: {found:?}");
                // Beside its own check, and with TLS, it is the value that is wrong.
                let is_foreign = !owners.contains(&own) || key == "tls_server_name";
                let is_own = word.starts_with("tls") && key == "tls_server_name";
                let expected = is_foreign && !is_own;
                assert_eq!(found[0].starts_with(&foreign), expected, "{word}: {found:?}");
            }
        }
    }

    #[test]
    fn a_check_is_needed_and_known() {
        let missing = "missing, and it has no default; add it";
        assert_eq!(
            with_pool("backends = [\"10.0.0.1:1\"]\n[pool.p.health]"),
            [format!("6: pool.p.health.check: {missing}")]
        );
        let words = "\"tcp\" or \"tls-hello\" or \"tls\" or \"http\" or \"grpc\" \
            or \"vector\" or \"send-expect\"";
        assert_eq!(
            refused("check = \"ssl\"\npath = \"/\""),
            [format!("7: pool.p.health.check: found \"ssl\"; give {words}")]
        );
        assert_eq!(
            refused("check = \"http\"\npth = \"/\""),
            ["8: pool.p.health.pth: unknown key; did you mean `path`?"]
        );
        assert_eq!(
            refused("check = \"send-expect\""),
            ["7: pool.p.health.check: neither sends nor expects anything; \
              give send or expect, or check = \"tcp\""]
        );
    }

    #[test]
    fn what_a_check_asks_has_its_form() {
        let status = "give a status from 200 to 599 such as 204, or a range such as \"200-299\"";
        let bytes = "give a text of 1 to 4096 bytes";
        let hex = "give 1 to 4096 bytes as pairs of hexadecimal digits, such as \"0d0a\"";
        let name = "give a host name such as \"agg.example\"";
        let host = "give a host such as \"agg.example\"";
        let path = "give a path that begins with a slash, such as \"/health\"";
        let service = "give a service such as \"vector.Vector\", or \"\" for the server as a whole";
        let cases = [
            ("http", "method", "\"get\"", "give a method such as \"GET\""),
            ("http", "method", "\"\"", "give a method such as \"GET\""),
            ("http", "path", "\"health\"", path),
            ("http", "path", "\"/a b\"", path),
            ("http", "path", "\"/\\r\\n\"", path),
            ("http", "path", "\"/#a\"", path),
            ("http", "host", "\"\"", host),
            ("http", "host", "\"a/b\"", host),
            ("http", "status", "199", status),
            ("http", "status", "\"299-200\"", status),
            ("http", "status", "\"+200\"", status),
            ("http", "status", "\"200-600\"", status),
            ("http", "status", "\"2xx\"", status),
            ("grpc", "service", "\"a b\"", service),
            ("send-expect", "send", "\"\"", bytes),
            ("send-expect", "expect_hex", "\"0\"", hex),
            ("send-expect", "expect_hex", "\"\"", hex),
            ("send-expect", "send_hex", "\"0g\"", hex),
            ("send-expect", "send_hex", "\"é\"", hex),
        ];
        for (word, key, value, remedy) in cases {
            let found = refused(&format!("check = \"{word}\"\n{key} = {value}"));
            assert_eq!(found, [format!("8: pool.p.health.{key}: found {value}; {remedy}")]);
        }
        let cases = [
            ("10.0.0.1", "is an address, which TLS sends no name for"),
            ("a.", "ends with a dot"),
            ("a-.b", "has a hyphen beside a dot or an end, or ends with a number"),
            ("a.1", "has a hyphen beside a dot or an end, or ends with a number"),
            ("a..b", "has nothing before or between its dots"),
        ];
        for (value, flaw) in cases {
            let found = refused(&format!("check = \"tls-hello\"\ntls_server_name = \"{value}\""));
            let place = "8: pool.p.health.tls_server_name";
            assert_eq!(found, [format!("{place}: \"{value}\" {flaw}; {name}")]);
        }
        assert_eq!(
            refused("check = \"send-expect\"\nsend = \"a\"\nsend_hex = \"00\""),
            ["9: pool.p.health.send_hex: stands beside send; give one of the two"]
        );
    }
}
