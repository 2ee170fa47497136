//! Owns what the access log says about the TLS of one session, and the text and JSON forms of that.
//! Does not do TLS, and does not choose the words of failures.
//!
//! # The text form
//!
//! Seven fields at the end of the session's line:
//!
//! ```text
//! a.example.com 1.3/TLS13_AES_128_GCM_SHA256 h2 resumed CN=agent-7 - -
//! a.example.com -/- - - - certificate "the peer's certificate has expired"
//! - -/- - - - - -
//! ```
//!
//! - `a.example.com`: the server name in the ClientHello.
//! - `1.3/TLS13_AES_128_GCM_SHA256`: the version and the cipher suite agreed with the client.
//! - `h2`: the protocol agreed with it (ALPN).
//! - `resumed`: an earlier TLS session was taken up, otherwise `full`.
//! - `CN=agent-7`: who the client is by its certificate, which was verified: the common name of its
//!   subject; without one the first of its alternative names, as `URI=spiffe://example.com/agent`,
//!   `DNS=agent.example.com`, `EMAIL=agent@example.com` or `IP=10.0.0.7`, in this order of kinds;
//!   without any of them `SERIAL=` and the certificate's serial number in hexadecimal.
//! - `certificate`: why TLS failed, with the client or with the backend; the session's
//!   `CloseReason` says with which.
//! - `"the peer's certificate has expired"`: the same as a sentence, in quotes. It is the last
//!   field and the only one with spaces, so that whoever parts a line by spaces finds all others in
//!   place. Quotes, backslashes and control characters in it are written as `\u{...}`.
//!
//! The fields before it are written as names are. `-` stands for what was not agreed or told: of a
//! session that was passed through there is the server name alone.
//!
//! # The JSON form
//!
//! An object with a key per value, `null` for what was not agreed or told; `failure` is an object
//! with `word` and `text`, or `null`.

use super::access_record::{Name, OrDash};
use serde_json::{Value, json};
use std::fmt::{self, Display, Formatter, Write};

/// What became of TLS in one session. The server name is only what the client claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsRecord {
    /// The server name the client asked for.
    pub server_name: Option<Box<str>>,
    /// The version agreed with the client, such as "1.3"; `None` if no handshake with it
    /// succeeded.
    pub version: Option<&'static str>,
    /// The cipher suite agreed with the client, such as `TLS13_AES_128_GCM_SHA256`.
    pub cipher: Option<&'static str>,
    /// The protocol agreed with the client (ALPN).
    pub protocol: Option<Box<str>>,
    /// The client took up an earlier session. Says nothing without a `version`.
    pub resumed: bool,
    /// Whom the client's certificate speaks for, such as `CN=agent-7`, once that was verified.
    pub client: Option<Box<str>>,
    pub failure: Option<TlsFailure>,
}

/// Why TLS ended a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFailure {
    /// One word out of a closed list, for those who count.
    pub word: &'static str,
    /// A sentence for those who repair.
    pub text: Box<str>,
}

impl TlsFailure {
    /// A failure with a text of `TEXT_MAX` characters at most: a certificate that is complained
    /// about can name thousands of hosts.
    pub fn new(word: &'static str, text: impl Display) -> Self {
        let mut text = text.to_string();
        if let Some((cut, _)) = text.char_indices().nth(TEXT_MAX) {
            text.truncate(cut);
        }
        Self { word, text: text.into() }
    }
}

const TEXT_MAX: usize = 256;

impl TlsRecord {
    /// The record as JSON.
    pub(super) fn to_json(&self) -> Value {
        let failure = self.failure.as_ref();
        json!({
            "server_name": self.server_name,
            "version": self.version,
            "cipher": self.cipher,
            "protocol": self.protocol,
            "resumed": self.resumed,
            "client": self.client,
            "failure": failure.map(|failure| json!({ "word": failure.word, "text": failure.text })),
        })
    }
}

/// The fields of the text form, of a session with TLS or without.
pub(super) struct TlsFields<'a>(pub Option<&'a TlsRecord>);

impl Display for TlsFields<'_> {
    fn fmt(&self, formatter: &mut Formatter) -> fmt::Result {
        let Some(tls) = self.0 else {
            return formatter.write_str("- -/- - - - - -");
        };
        let kind = tls.version.map(|_| if tls.resumed { "resumed" } else { "full" });
        let failure = tls.failure.as_ref();
        write!(
            formatter,
            "{} {}/{} {} {} {} {} {}",
            Told(&tls.server_name),
            OrDash(tls.version),
            OrDash(tls.cipher),
            Told(&tls.protocol),
            OrDash(kind),
            Owner(&tls.client),
            OrDash(failure.map(|failure| failure.word)),
            OrDash(failure.map(|failure| Quoted(&failure.text))),
        )
    }
}

/// What a peer told, or `-`. A lone `-` that was told does not pass for nothing, and nothing that
/// was told does not pass for a field.
struct Told<'a>(&'a Option<Box<str>>);

impl Display for Told<'_> {
    fn fmt(&self, formatter: &mut Formatter) -> fmt::Result {
        match self.0.as_deref() {
            Some("-") => write!(formatter, "{}", '-'.escape_unicode()),
            told => OrDash(told.filter(|told| !told.is_empty()).map(Name)).fmt(formatter),
        }
    }
}

/// The same for a name that is often a URI: in a field of its own a slash parts nothing.
struct Owner<'a>(&'a Option<Box<str>>);

impl Display for Owner<'_> {
    fn fmt(&self, formatter: &mut Formatter) -> fmt::Result {
        let Some(path) = self.0.as_deref().filter(|told| told.contains('/')) else {
            return Told(self.0).fmt(formatter);
        };
        for (index, part) in path.split('/').enumerate() {
            let slash = if index > 0 { "/" } else { "" };
            write!(formatter, "{slash}{}", Name(part))?;
        }
        Ok(())
    }
}

/// A sentence in quotes that nothing in it ends.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut Formatter) -> fmt::Result {
        formatter.write_char('"')?;
        for character in self.0.chars() {
            let ends_quotes = matches!(character, '"' | '\\');
            let is_plain = character.is_alphanumeric() || matches!(character, ' '..='~');
            if is_plain && !ends_quotes {
                formatter.write_char(character)?;
            } else {
                write!(formatter, "{}", character.escape_unicode())?;
            }
        }
        formatter.write_char('"')
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A session as most with TLS are.
    pub(in crate::observe) fn agreed() -> TlsRecord {
        TlsRecord {
            server_name: Some("a.example.com".into()),
            version: Some("1.3"),
            cipher: Some("TLS13_AES_128_GCM_SHA256"),
            protocol: Some("h2".into()),
            resumed: true,
            client: Some("CN=agent-7".into()),
            failure: None,
        }
    }

    fn failed(text: &str) -> TlsRecord {
        TlsRecord { failure: Some(TlsFailure::new("certificate", text)), ..TlsRecord::default() }
    }

    fn fields(record: &TlsRecord) -> String {
        TlsFields(Some(record)).to_string()
    }

    #[test]
    fn what_was_agreed_stands_in_fields_of_its_own() {
        let common = "a.example.com 1.3/TLS13_AES_128_GCM_SHA256 h2";
        assert_eq!(fields(&agreed()), format!("{common} resumed CN=agent-7 - -"));
        let full = TlsRecord { resumed: false, client: None, ..agreed() };
        assert_eq!(fields(&full), format!("{common} full - - -"));
    }

    #[test]
    fn of_a_session_passed_through_there_is_the_server_name_alone() {
        let server_name = Some("a.example.com".into());
        let passed = TlsRecord { server_name, ..TlsRecord::default() };
        assert_eq!(fields(&passed), "a.example.com -/- - - - - -");
    }

    #[test]
    fn without_tls_as_many_fields_are_empty() {
        let none = TlsFields(None).to_string();
        assert_eq!(none, fields(&TlsRecord::default()));
        assert_eq!(none.split(' ').count(), 7);
    }

    #[test]
    fn a_failure_is_a_word_and_a_sentence_in_quotes() {
        let text = "the peer's certificate: \"\\\r\n\u{202e}é\"";
        assert_eq!(
            fields(&failed(text)),
            "- -/- - - - certificate \
             \"the peer's certificate: \\u{22}\\u{5c}\\u{d}\\u{a}\\u{202e}é\\u{22}\""
        );
    }

    #[test]
    fn what_peers_say_neither_parts_nor_ends_nor_empties_a_field() {
        for (told, expected) in [
            ("a b/c,\n", "a\\u{20}b\\u{2f}c\\u{2c}\\u{a}"),
            ("CN=agent 7, O=x", "CN=agent\\u{20}7\\u{2c}\\u{20}O=x"),
            ("-", "\\u{2d}"),
            ("--", "--"),
            ("", "-"),
        ] {
            let value = || Some(told.into());
            let record =
                TlsRecord { server_name: value(), protocol: value(), client: value(), ..agreed() };
            let line = fields(&record);
            let fields: Vec<_> = line.split(' ').collect();
            assert_eq!(fields.len(), 7, "{line}");
            assert_eq!([fields[0], fields[2]], [expected; 2], "{line}");
            assert_eq!(fields[4], expected.replace("\\u{2f}", "/"), "{line}");
        }
    }

    #[test]
    fn a_client_named_by_a_uri_is_shown_as_it_is() {
        let client = Some("URI=spiffe://fleet.example/agent 7/".into());
        let line = fields(&TlsRecord { client, ..agreed() });
        let shown = line.split(' ').nth(4).unwrap();
        assert_eq!(shown, "URI=spiffe://fleet.example/agent\\u{20}7/");
    }

    #[test]
    fn a_long_sentence_is_cut_between_characters() {
        let long = "é".repeat(100_000);
        let failure = TlsFailure::new("certificate", &long);
        assert_eq!(*failure.text, *"é".repeat(TEXT_MAX));
        let fitting = "é".repeat(TEXT_MAX);
        assert_eq!(*TlsFailure::new("certificate", &fitting).text, *fitting);
    }

    #[test]
    fn json_has_a_key_for_each_value() {
        assert_eq!(
            agreed().to_json(),
            json!({
                "server_name": "a.example.com",
                "version": "1.3",
                "cipher": "TLS13_AES_128_GCM_SHA256",
                "protocol": "h2",
                "resumed": true,
                "client": "CN=agent-7",
                "failure": null,
            })
        );
        let failed = failed("it has \"expired\"").to_json();
        assert_eq!(
            failed,
            json!({
                "server_name": null,
                "version": null,
                "cipher": null,
                "protocol": null,
                "resumed": false,
                "client": null,
                "failure": { "word": "certificate", "text": "it has \"expired\"" },
            })
        );
    }
}
