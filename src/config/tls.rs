//! `[tls.NAME]`: how TLS is ended here. Loads no certificate.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::field::{Field, Read, quoted};
use super::reader::Section;
use super::units::{DAY, HOUR, MINUTE, SECOND};
use super::{names, protocols, suites};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// As a table's key it is unique among them; never `off`.
    pub name: String,
    /// At least one, with distinct chains. Which one serves depends on the client.
    pub certificates: Vec<Certificate>,
    pub min_version: TlsVersion,
    /// Distinct, by the names that IANA registers; one at least is for `min_version`. Empty: all
    /// that there are, in the order of the TLS library.
    pub cipher_suites: Vec<String>,
    /// Most preferred first, distinct, of 1 to 255 bytes each. Empty: none is negotiated.
    pub alpn: Vec<String>,
    pub client_auth: ClientAuth,
    /// None if and only if clients are not asked for a certificate.
    pub client_ca: Option<PathBuf>,
    /// Empty: no certificate of a client is taken to be revoked.
    pub client_crls: Vec<PathBuf>,
    /// Whether sessions are resumed.
    pub tickets: bool,
    pub ticket_lifetime: Duration,
    /// None: the keys are this process's own.
    pub ticket_keys: Option<PathBuf>,
    /// From the end of the ClientHello to that of the handshake.
    pub handshake_timeout: Duration,
}

/// The files of one identity, all of them absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// PEM, the certificate of the server first.
    pub chain: PathBuf,
    pub key: PathBuf,
    /// An OCSP response, DER.
    pub staple: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// Whether a client shows a certificate of its own. One that is shown is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    Off,
    Optional,
    Required,
}

pub(super) fn read(name: &str, section: &Section<'_>) -> Tls {
    names::check(name, section.reader, &section.place);
    if name == OFF {
        let message = "\"off\" is how listeners say that they end no TLS; give another name";
        section.reader.refuse(&section.place, message.to_owned());
    }
    let certificates = section.required("certificates", certificates);
    let min_version = min_version(section);
    let client_auth = section.given_or("client_auth", ClientAuth::Off, |field| field.choice(&AUTH));
    refuse_trust_without_use(section, client_auth);
    let tickets = section.given_or("tickets", true, Field::boolean);
    if tickets == Some(false) {
        for key in ["ticket_lifetime", "ticket_keys"] {
            let message = "has no meaning without tickets; take it out, or give tickets = true";
            section.refuse_if_given(key, message);
        }
    }
    Tls {
        name: name.to_owned(),
        certificates,
        min_version: min_version.unwrap_or(TlsVersion::Tls12),
        cipher_suites: section
            .value_or("cipher_suites", Vec::new(), |field| suites::read(field, min_version)),
        alpn: section.value_or("alpn", Vec::new(), alpn),
        client_auth: client_auth.unwrap_or(ClientAuth::Off),
        client_ca: section.value_or("client_ca", None, |field| path(field).map(Some)),
        client_crls: section.value_or("client_crls", Vec::new(), |field| {
            let paths = field.distinct_items("an array of absolute paths", path)?;
            Ok(paths.into_iter().map(|(path, _)| path).collect())
        }),
        tickets: tickets.unwrap_or(true),
        ticket_lifetime: section
            .value_or("ticket_lifetime", 12 * HOUR, |field| field.duration(MINUTE..=7 * DAY)),
        ticket_keys: section.value_or("ticket_keys", None, |field| path(field).map(Some)),
        handshake_timeout: section.value_or("handshake_timeout", 10 * SECOND, handshake_timeout),
    }
}

/// Refuses what clients would be verified with where they are not, and misses it where they are.
fn refuse_trust_without_use(section: &Section<'_>, client_auth: Option<ClientAuth>) {
    let is_missing = !section.gives("client_ca");
    match client_auth {
        Some(ClientAuth::Off) => {
            let message = "has no meaning where clients are not asked for a certificate; \
                           take it out, or give client_auth = \"optional\" or \"required\"";
            section.refuse_if_given("client_ca", message);
            section.refuse_if_given("client_crls", message);
        }
        Some(ClientAuth::Optional | ClientAuth::Required) if is_missing => {
            let message = "missing, and clients are verified with it; \
                           add it, or give client_auth = \"off\"";
            section.reader.refuse_absence(&section.place_of("client_ca"), message.to_owned());
        }
        // Where nothing is known of the key, either may be meant.
        Some(ClientAuth::Optional | ClientAuth::Required) | None => {}
    }
}

fn certificates(field: &Field<'_>) -> Read<Vec<Certificate>> {
    let remedy = format!("at least one certificate, such as {CERTIFICATE}");
    let mut places: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut certificates = Vec::new();
    for item in field.some_items(&remedy)? {
        let Some(certificate) = item.section(CERTIFICATE).and_then(|section| section.read(files))
        else {
            continue;
        };
        if let Some(first) = places.get(&certificate.chain) {
            let chain = quoted(&certificate.chain.display().to_string());
            let message = format!("{chain} is the chain of {first} already; take one of them out");
            item.reader.refuse(&item.place, message);
        } else {
            places.insert(certificate.chain.clone(), item.place.path.clone());
        }
        certificates.push(certificate);
    }
    Ok(certificates)
}

fn files(section: &Section<'_>) -> Option<Certificate> {
    let chain = section.required("chain", |field| path(field).map(Some));
    let key = section.required("key", |field| path(field).map(Some));
    let staple = section.value_or("staple", None, |field| path(field).map(Some));
    Some(Certificate { chain: chain?, key: key?, staple })
}

fn alpn(field: &Field<'_>) -> Read<Vec<String>> {
    Ok(protocols::read(field)?.into_iter().map(|(protocol, _)| protocol).collect())
}

/// `None` if it could not be read.
pub(super) fn min_version(section: &Section<'_>) -> Option<TlsVersion> {
    section.given_or("min_version", TlsVersion::Tls12, |field| field.choice(&VERSIONS))
}

pub(super) fn handshake_timeout(field: &Field<'_>) -> Read<Duration> {
    field.duration(Duration::from_millis(100)..=HOUR)
}

pub(super) fn path(field: &Field<'_>) -> Read<PathBuf> {
    field.absolute_path("an absolute path")
}

/// What stands in place of the name of a `Tls` where there is none.
pub(super) const OFF: &str = "off";

const CERTIFICATE: &str =
    "{ chain = \"/etc/ringmain/edge.pem\", key = \"/etc/ringmain/edge.key\" }";

const VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];

const AUTH: [(&str, ClientAuth); 3] = [
    ("off", ClientAuth::Off),
    ("optional", ClientAuth::Optional),
    ("required", ClientAuth::Required),
];

#[cfg(test)]
mod tests {
    use super::*;

    use crate::config::samples::{LISTENER, POOL, valid, with_tls};

    const CERTIFICATES: &str = "certificates = [{ chain = \"/c\", key = \"/k\" }]\n";

    fn tls(lines: &str) -> Tls {
        valid(&format!("[tls.t]\n{lines}\n{LISTENER}{POOL}")).tls.remove(0)
    }

    /// What is printed for a section with these lines, from line 3 on.
    fn refused(lines: &str) -> Vec<String> {
        with_tls(&format!("{CERTIFICATES}{lines}"))
    }

    fn bare() -> Tls {
        let files = |chain: &str| (chain.into(), "/k".into());
        let (chain, key) = files("/c");
        Tls {
            name: "t".to_owned(),
            certificates: vec![Certificate { chain, key, staple: None }],
            min_version: TlsVersion::Tls12,
            cipher_suites: Vec::new(),
            alpn: Vec::new(),
            client_auth: ClientAuth::Off,
            client_ca: None,
            client_crls: Vec::new(),
            tickets: true,
            ticket_lifetime: 12 * HOUR,
            ticket_keys: None,
            handshake_timeout: 10 * SECOND,
        }
    }

    #[test]
    fn certificates_alone_are_enough() {
        assert_eq!(tls(CERTIFICATES), bare());
        assert_eq!(
            tls(&format!("{CERTIFICATES}tickets = false")),
            Tls { tickets: false, ..bare() }
        );
    }

    #[test]
    fn what_is_given_is_read() {
        let read = tls("certificates = [\n{ chain = \"/a\", key = \"/k\", staple = \"/s\" },\n\
             { chain = \"/b\", key = \"/k\" }]\n\
             min_version = \"1.3\"\ncipher_suites = [\"TLS_AES_128_GCM_SHA256\"]\n\
             alpn = [\"h2\", \"http/1.1\"]\nclient_auth = \"optional\"\nclient_ca = \"/ca\"\n\
             client_crls = [\"/r1\", \"/r2\"]\nticket_lifetime = \"1m\"\n\
             ticket_keys = \"/keys\"\nhandshake_timeout = \"100ms\"");
        let certificate = |chain: &str, staple: Option<&str>| Certificate {
            chain: chain.into(),
            key: "/k".into(),
            staple: staple.map(PathBuf::from),
        };
        let expected = Tls {
            certificates: vec![certificate("/a", Some("/s")), certificate("/b", None)],
            min_version: TlsVersion::Tls13,
            cipher_suites: vec!["TLS_AES_128_GCM_SHA256".to_owned()],
            alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
            client_auth: ClientAuth::Optional,
            client_ca: Some("/ca".into()),
            client_crls: vec!["/r1".into(), "/r2".into()],
            ticket_lifetime: MINUTE,
            ticket_keys: Some("/keys".into()),
            handshake_timeout: Duration::from_millis(100),
            ..bare()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn a_certificate_has_a_chain_and_a_key() {
        let path = "give an absolute path";
        assert_eq!(
            with_tls(
                "certificates = [\n{ chain = \"c.pem\" },\n{ chain = \"/c\", key = \"\" },\n\
                 { chain = \"/c\", key = \"/k\", satple = \"/s\" },\n\
                 { chain = \"/c\", key = \"/l\" }, \"/c\"]"
            ),
            [
                &format!("3: tls.t.certificates[0].chain: found \"c.pem\"; {path}"),
                "3: tls.t.certificates[0].key: missing, and it has no default; add it",
                &format!("4: tls.t.certificates[1].key: found \"\"; {path}"),
                "5: tls.t.certificates[2].satple: unknown key; did you mean `staple`?",
                "6: tls.t.certificates[3]: \"/c\" is the chain of tls.t.certificates[2] already; \
                 take one of them out",
                &format!(
                    "6: tls.t.certificates[4]: found \"/c\"; \
                     give a table, written {CERTIFICATE}"
                ),
            ]
        );
        assert_eq!(
            with_tls("certificates = []"),
            [format!(
                "2: tls.t.certificates: found an empty array; \
                 give at least one certificate, such as {CERTIFICATE}"
            )]
        );
        let missing = "1: tls.t.certificates: missing, and it has no default; add it";
        assert_eq!(with_tls(""), [missing]);
    }

    #[test]
    fn values_have_their_limits() {
        let long = "x".repeat(256);
        let many: String = (0..17).map(|number| format!("\"{number}\",")).collect();
        let cases = [
            ("min_version = 1.2", "min_version: found 1.2; give \"1.2\" or \"1.3\""),
            (
                "client_auth = \"on\"",
                "client_auth: found \"on\"; give \"off\" or \"optional\" or \"required\"",
            ),
            ("tickets = 1", "tickets: found 1; give true or false"),
            (
                "ticket_lifetime = \"8d\"",
                "ticket_lifetime: found \"8d\"; give a duration from 1m to 7d",
            ),
            ("ticket_keys = \"keys\"", "ticket_keys: found \"keys\"; give an absolute path"),
            (
                "handshake_timeout = \"99ms\"",
                "handshake_timeout: found \"99ms\"; give a duration from 100ms to 1h",
            ),
            (
                "alpn = \"h2\"",
                "alpn: found \"h2\"; give an array of at most 16 protocols such as \"h2\"",
            ),
            (
                &format!("alpn = [{many}]"),
                "alpn: an array has 17 items; give an array of at most 16 protocols such as \"h2\"",
            ),
            (
                "alpn = [\"\"]",
                "alpn[0]: \"\" has 0 bytes; give a protocol of 1 to 255 bytes, such as \"h2\"",
            ),
            (
                &format!("alpn = [\"{long}\"]"),
                &format!(
                    "alpn[0]: \"{}...\" has 256 bytes; \
                     give a protocol of 1 to 255 bytes, such as \"h2\"",
                    "x".repeat(80)
                ),
            ),
            (
                "alpn = [\"h2\", \"http/1.1\", \"h2\"]",
                "alpn[2]: \"h2\" stands at tls.t.alpn[0] already; take it out",
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(refused(line), [format!("3: tls.t.{expected}")]);
        }
        assert_eq!(
            valid(&format!(
                "[tls.t]\n{CERTIFICATES}alpn = [\"{}\"]\n{LISTENER}{POOL}",
                "x".repeat(255)
            ))
            .tls[0]
                .alpn[0]
                .len(),
            255
        );
    }

    #[test]
    fn clients_are_verified_with_something_or_not_at_all() {
        let superfluous = "has no meaning where clients are not asked for a certificate; \
                           take it out, or give client_auth = \"optional\" or \"required\"";
        assert_eq!(
            refused("client_ca = \"/ca\"\nclient_crls = [\"/r\"]"),
            [
                format!("3: tls.t.client_ca: {superfluous}"),
                format!("4: tls.t.client_crls: {superfluous}"),
            ]
        );
        for word in ["optional", "required"] {
            assert_eq!(
                refused(&format!(
                    "client_auth = \"{word}\"\nclient_crls = [\"r\", \"/r\",\n\"/r\"]"
                )),
                [
                    "1: tls.t.client_ca: missing, and clients are verified with it; \
                     add it, or give client_auth = \"off\"",
                    "4: tls.t.client_crls[0]: found \"r\"; give an absolute path",
                    "5: tls.t.client_crls[2]: \"/r\" stands at tls.t.client_crls[1] already; \
                     take it out",
                ]
            );
        }
        let unknown = refused("client_auth = 1\nclient_ca = \"/ca\"");
        assert_eq!(unknown.len(), 1, "{unknown:?}");
    }

    #[test]
    fn tickets_that_are_not_given_have_no_settings() {
        let superfluous = "has no meaning without tickets; take it out, or give tickets = true";
        assert_eq!(
            refused("tickets = false\nticket_lifetime = \"1h\"\nticket_keys = \"/keys\""),
            [
                format!("4: tls.t.ticket_lifetime: {superfluous}"),
                format!("5: tls.t.ticket_keys: {superfluous}"),
            ]
        );
    }

    #[test]
    fn no_section_is_named_off() {
        let lines = format!("{CERTIFICATES}[tls.off]\n{CERTIFICATES}");
        let message = "\"off\" is how listeners say that they end no TLS; give another name";
        assert_eq!(with_tls(&lines), [format!("3: tls.off: {message}")]);
    }
}
