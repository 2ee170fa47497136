//! What both sides of TLS share: versions, cipher suites, the clock, and when material lapses.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use super::der::date;
use super::problem::{Findings, Problem};

/// The wall clock, for the validity of certificates and the age of tickets.
pub type Clock = Arc<dyn TimeProvider>;

/// The oldest version of TLS that is spoken. The newest is 1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinVersion {
    Tls12,
    Tls13,
}

/// When something of a file lapses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The key that names the file, within its table, such as `certificates[0].chain`.
    pub key: String,
    pub file: PathBuf,
    pub kind: Kind,
    /// In the file, counted from 1.
    pub place: usize,
    /// The last second at which it holds.
    pub until: UnixTime,
}

impl Expiry {
    /// The last second, as a date and a time of day.
    pub fn date(&self) -> String {
        date(self.until)
    }

    /// What it is that lapses, such as `the certificate` or `certificate 2 of the file`.
    pub fn subject(&self) -> String {
        let place = self.place;
        match self.kind {
            Kind::Certificate if place == 1 => "the certificate".to_owned(),
            Kind::Certificate => format!("certificate {place} of the file"),
            Kind::Authority => format!("authority {place} of the file"),
            Kind::RevocationList if place == 1 => "the revocation list".to_owned(),
            Kind::RevocationList => format!("revocation list {place} of the file"),
            Kind::Staple => "the OCSP response".to_owned(),
        }
    }
}

/// What it is that lapses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of a chain that is shown.
    Certificate,
    /// One that vouches for others.
    Authority,
    RevocationList,
    /// An OCSP response: left out once it has lapsed.
    Staple,
}

impl Kind {
    /// Whether nobody is served by what has lapsed. Authorities are believed by their keys,
    /// whatever their time (RFC 5280, section 6.1.1, leaves that to whoever believes them).
    pub(super) fn ends_service(self) -> bool {
        matches!(self, Kind::Certificate | Kind::RevocationList)
    }
}

impl MinVersion {
    pub(super) fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
        const NEWEST: &[&SupportedProtocolVersion] = &[&TLS13];
        match self {
            MinVersion::Tls12 => BOTH,
            MinVersion::Tls13 => NEWEST,
        }
    }
}

/// The cryptography, with the cipher suites of `names` in their order, or all of them.
pub(super) fn provider(
    names: &[String],
    min_version: MinVersion,
    findings: &mut Findings,
) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    if names.is_empty() {
        return Arc::new(provider);
    }
    let mut chosen = Vec::new();
    for name in names {
        match provider.cipher_suites.iter().find(|suite| iana_name(suite) == *name) {
            Some(suite) => chosen.push(*suite),
            None => {
                let known = provider.cipher_suites.iter().map(iana_name).collect();
                let problem = Problem::UnknownCipherSuite { name: name.clone(), known };
                findings.refuse("cipher_suites", None, problem);
            }
        }
    }
    // With a name that is not known nothing will come of it; what else is wrong is told all the
    // same.
    if chosen.len() == names.len() {
        let versions = min_version.versions();
        if !chosen.iter().any(|suite| versions.contains(&suite.version())) {
            findings.refuse("cipher_suites", None, Problem::NoUsableCipherSuite);
        }
        provider.cipher_suites = chosen;
    }
    Arc::new(provider)
}

/// The name in IANA's registry; rustls marks the suites of TLS 1.3 by `TLS13_`.
fn iana_name(suite: &SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or_default();
    name.strip_prefix("TLS13_").map_or_else(|| name.to_owned(), |rest| format!("TLS_{rest}"))
}
