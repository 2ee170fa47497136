//! What can be wrong with TLS material: closed lists, each entry with its sentence.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::UnixTime;

use super::identity::Named;
use super::settings::{Expiry, Kind};

/// What a renewal has come to.
#[derive(Debug)]
pub struct Renewal<T> {
    /// What serves from now on; none if nothing is different.
    pub fresh: Option<T>,
    /// What could not be renewed, and stays as it was.
    pub errors: Vec<MaterialError>,
}

/// One thing that keeps material from being used.
#[derive(Debug)]
pub struct MaterialError {
    /// The key within its table, such as `certificates[0].key`.
    pub key: String,
    /// None if the error concerns no file.
    pub file: Option<PathBuf>,
    pub problem: Problem,
}

/// One thing that material can be used with, and that is to be looked at all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaterialWarning {
    /// The key within its table.
    pub key: String,
    /// None if the warning concerns no file.
    pub file: Option<PathBuf>,
    pub concern: Concern,
}

/// Why material is refused.
#[derive(Debug)]
pub enum Problem {
    Unreadable(io::Error),
    TooLarge {
        limit: u64,
    },
    /// The text between the markers is broken.
    BadPem(String),
    NoCertificate,
    /// `place` counts from 1.
    BadCertificate {
        place: usize,
        reason: String,
    },
    NoKey,
    EncryptedKey,
    SeveralKeys,
    UnsupportedKey(String),
    KeyMismatch {
        chain: PathBuf,
    },
    BadStaple,
    NoRevocationList,
    BadRevocationList {
        place: usize,
        reason: String,
    },
    NoSystemRoots {
        tried: Vec<PathBuf>,
    },
    UnknownCipherSuite {
        name: String,
        known: Vec<String>,
    },
    NoUsableCipherSuite,
    /// `line` counts from 1.
    BadTicketKey {
        line: usize,
        reason: &'static str,
    },
    NoTicketKey,
    BadServerName(String),
    KeyWithoutCertificate,
    CertificateWithoutKey,
    NoClientCa,
    NoCertificates,
    /// What serves now is good, and this is not.
    Untimely(Concern),
    /// What rustls says to a combination that nothing above names.
    Refused(String),
}

/// Why material that can be used deserves a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concern {
    /// Everybody on this host may read a secret.
    WorldReadable {
        mode: u32,
    },
    /// `place` counts from 1, `until` is a date.
    Expired {
        place: usize,
        until: String,
    },
    NotYetValid {
        place: usize,
        since: String,
    },
    /// One that others are believed by; `place` counts from 1, `until` is a date.
    ExpiredAuthority {
        place: usize,
        until: String,
    },
    /// No DNS name is in the certificate: it is chosen for nobody in particular.
    NoNames,
    /// A certificate did not issue the one before it; `place` counts from 1.
    OutOfOrder {
        place: usize,
    },
    /// `place` counts from 1, `since` is a date.
    LapsedRevocationList {
        place: usize,
        since: String,
    },
    /// The OCSP response is about other certificates.
    ForeignStaple,
    /// The OCSP response says that the certificate is revoked, or unknown.
    RevokedByStaple,
    LapsedStaple {
        since: String,
    },
    /// Backends are believed whoever they are.
    Unverified,
}

/// What loading has come upon, and how long what it has loaded holds.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) errors: Vec<MaterialError>,
    pub(super) warnings: Vec<MaterialWarning>,
    pub(super) expiries: Vec<Expiry>,
}

impl Findings {
    /// The value, or nothing once its problem is noted.
    pub(super) fn accept<T>(
        &mut self,
        key: &str,
        file: &Path,
        result: Result<T, Problem>,
    ) -> Option<T> {
        result.map_err(|problem| self.refuse(key, Some(file), problem)).ok()
    }

    pub(super) fn refuse(&mut self, key: &str, file: Option<&Path>, problem: Problem) {
        let (key, file) = (key.to_owned(), file.map(Path::to_owned));
        self.errors.push(MaterialError { key, file, problem });
    }

    pub(super) fn warn(&mut self, key: &str, file: Option<&Path>, concern: Concern) {
        let (key, file) = (key.to_owned(), file.map(Path::to_owned));
        self.warnings.push(MaterialWarning { key, file, concern });
    }

    /// `place` counts what is in the file from 1.
    pub(super) fn holds_until(
        &mut self,
        named: Named<'_>,
        (kind, place): (Kind, usize),
        until: UnixTime,
    ) {
        let (key, file) = (named.key.to_owned(), named.file.to_owned());
        self.expiries.push(Expiry { key, file, kind, place, until });
    }
}

impl MaterialError {
    pub(super) fn of_setting(key: &str, problem: Problem) -> MaterialError {
        MaterialError { key: key.to_owned(), file: None, problem }
    }
}

impl fmt::Display for MaterialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(f, &self.key, self.file.as_deref())?;
        self.problem.fmt(f)
    }
}

impl fmt::Display for MaterialWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        place(f, &self.key, self.file.as_deref())?;
        self.concern.fmt(f)
    }
}

fn place(f: &mut fmt::Formatter<'_>, key: &str, file: Option<&Path>) -> fmt::Result {
    write!(f, "{key}: ")?;
    file.map_or(Ok(()), |file| write!(f, "{}: ", file.display()))
}

/// How a certificate of a chain is called: the first is the one that it is all about.
fn certificate(place: usize) -> String {
    match place {
        1 => "the certificate".to_owned(),
        place => format!("certificate {place} of the file"),
    }
}

/// In words what webpki says to a certificate or a revocation list that it cannot use.
pub(super) fn in_words(error: webpki::Error) -> String {
    use webpki::Error;
    match error {
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) => "it is broken".to_owned(),
        Error::UnsupportedCertVersion => "it is not of version 3".to_owned(),
        Error::UnsupportedCriticalExtension => {
            "it has a critical extension that is not known".to_owned()
        }
        other => format!("{other:?}"),
    }
}

impl Problem {
    /// One word for the log and the metric.
    pub fn as_str(&self) -> &'static str {
        match self {
            Problem::Unreadable(_) => "unreadable",
            Problem::TooLarge { .. } => "too_large",
            Problem::BadPem(_) => "bad_pem",
            Problem::NoCertificate => "no_certificate",
            Problem::BadCertificate { .. } => "bad_certificate",
            Problem::NoKey => "no_key",
            Problem::EncryptedKey => "encrypted_key",
            Problem::SeveralKeys => "several_keys",
            Problem::UnsupportedKey(_) => "unsupported_key",
            Problem::KeyMismatch { .. } => "key_mismatch",
            Problem::BadStaple => "bad_staple",
            Problem::NoRevocationList => "no_revocation_list",
            Problem::BadRevocationList { .. } => "bad_revocation_list",
            Problem::NoSystemRoots { .. } => "no_system_roots",
            Problem::UnknownCipherSuite { .. } => "unknown_cipher_suite",
            Problem::NoUsableCipherSuite => "no_usable_cipher_suite",
            Problem::BadTicketKey { .. } => "bad_ticket_key",
            Problem::NoTicketKey => "no_ticket_key",
            Problem::BadServerName(_) => "bad_server_name",
            Problem::KeyWithoutCertificate => "key_without_certificate",
            Problem::CertificateWithoutKey => "certificate_without_key",
            Problem::NoClientCa => "no_client_ca",
            Problem::NoCertificates => "no_certificates",
            Problem::Untimely(concern) => concern.as_str(),
            Problem::Refused(_) => "refused",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Unreadable(error) => unreadable(f, error),
            Problem::TooLarge { limit } => {
                write!(f, "the file is larger than {limit} bytes; give the file that is meant")
            }
            Problem::BadPem(reason) => {
                write!(f, "this is no proper PEM ({reason}); copy the file again")
            }
            Problem::NoCertificate => {
                f.write_str("there is no certificate in the file; give PEM, with BEGIN CERTIFICATE")
            }
            Problem::BadCertificate { place, reason } => write!(
                f,
                "certificate {place} of the file cannot be read ({reason}); have it issued again"
            ),
            Problem::NoKey => f.write_str(
                "there is no private key in the file; give PEM, with BEGIN PRIVATE KEY, BEGIN \
                 EC PRIVATE KEY or BEGIN RSA PRIVATE KEY",
            ),
            Problem::EncryptedKey => f.write_str(
                "the private key is encrypted with a passphrase; decrypt it, such as with \
                 openssl pkey -in KEY -out PLAIN, and protect the file by its mode",
            ),
            Problem::SeveralKeys => f.write_str(
                "there are several private keys in the file; leave the one that is used",
            ),
            Problem::UnsupportedKey(reason) => write!(
                f,
                "the private key cannot be used ({reason}); give an ECDSA key on P-256, P-384 or \
                 P-521, an Ed25519 key, or an RSA key of 2,048 to 8,192 bits"
            ),
            Problem::KeyMismatch { chain } => write!(
                f,
                "the private key does not belong to the first certificate of {}; give the key \
                 that the certificate was issued for",
                chain.display()
            ),
            _ => self.fmt_rest(f),
        }
    }
}

impl Problem {
    fn fmt_rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::BadStaple => f.write_str(
                "this is no successful OCSP response; give the DER file, such as \
                 openssl ocsp -respout writes it",
            ),
            Problem::NoRevocationList => f.write_str(
                "there is no revocation list in the file; give PEM, with BEGIN X509 CRL",
            ),
            Problem::BadRevocationList { place, reason } => write!(
                f,
                "revocation list {place} of the file cannot be read ({reason}); fetch it again"
            ),
            Problem::NoSystemRoots { tried } => {
                f.write_str("this host has no bundle of trusted certificates (looked for ")?;
                for (index, path) in tried.iter().enumerate() {
                    write!(f, "{}{}", if index > 0 { ", " } else { "" }, path.display())?;
                }
                f.write_str("); install the package ca-certificates, or give a file")
            }
            Problem::UnknownCipherSuite { name, known } => {
                write!(f, "{name:?} is no cipher suite of Ringmain; known are {}", known.join(", "))
            }
            Problem::NoUsableCipherSuite => f.write_str(
                "no cipher suite is left for min_version; add one of TLS 1.3, such as \
                 TLS_AES_128_GCM_SHA256, or leave cipher_suites empty",
            ),
            Problem::BadTicketKey { line, reason } => write!(
                f,
                "line {line} is no ticket key ({reason}); write one key per line, each 48 to 80 \
                 bytes in hexadecimal, such as openssl rand -hex 48 gives"
            ),
            Problem::NoTicketKey => f.write_str(
                "there is no ticket key in the file; write one key per line, such as openssl \
                 rand -hex 48 gives",
            ),
            Problem::BadServerName(name) => {
                write!(f, "{name:?} is no name of a host; give one such as \"agg.example.com\"")
            }
            Problem::KeyWithoutCertificate => {
                f.write_str("a key without a certificate; give certificate as well")
            }
            Problem::CertificateWithoutKey => {
                f.write_str("a certificate without its key; give key as well")
            }
            Problem::NoClientCa => {
                f.write_str("clients are to be verified and by whom is not said; give client_ca")
            }
            Problem::NoCertificates => f.write_str("no certificate is given; give at least one"),
            Problem::Untimely(concern) => write!(f, "{concern}"),
            Problem::Refused(reason) => write!(f, "rustls refuses this ({reason})"),
            // The others are told by `fmt`.
            _ => f.write_str(self.as_str()),
        }
    }
}

fn unreadable(f: &mut fmt::Formatter<'_>, error: &io::Error) -> fmt::Result {
    match error.kind() {
        io::ErrorKind::NotFound => {
            f.write_str("there is no such file; create it, or correct the path")
        }
        io::ErrorKind::PermissionDenied => {
            f.write_str("the file may not be read; let the user that Ringmain runs as read it")
        }
        _ => write!(f, "the file cannot be read ({error})"),
    }
}

impl Concern {
    /// Whether time has made it of something that was good, or has yet to make it good: such
    /// material does not replace what is good now.
    pub fn is_of_time(&self) -> bool {
        matches!(
            self,
            Concern::Expired { .. }
                | Concern::NotYetValid { .. }
                | Concern::LapsedRevocationList { .. }
        )
    }

    /// One word for the log.
    pub fn as_str(&self) -> &'static str {
        match self {
            Concern::WorldReadable { .. } => "world_readable",
            Concern::Expired { .. } => "expired",
            Concern::NotYetValid { .. } => "not_yet_valid",
            Concern::ExpiredAuthority { .. } => "expired_authority",
            Concern::NoNames => "no_names",
            Concern::OutOfOrder { .. } => "out_of_order",
            Concern::LapsedRevocationList { .. } => "lapsed_revocation_list",
            Concern::ForeignStaple => "foreign_staple",
            Concern::RevokedByStaple => "revoked_by_staple",
            Concern::LapsedStaple { .. } => "lapsed_staple",
            Concern::Unverified => "unverified",
        }
    }
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Concern::WorldReadable { mode } => write!(
                f,
                "everybody on this host may read this secret (mode {mode:04o}); take the right \
                 away, such as with chmod 0640"
            ),
            Concern::Expired { place, until } => write!(
                f,
                "{} was valid until {until}: who verifies it refuses it; renew it",
                certificate(*place)
            ),
            Concern::NotYetValid { place, since } => write!(
                f,
                "{} is valid from {since} only: who verifies it refuses it; check this host's \
                 clock, or put the certificate in place later",
                certificate(*place)
            ),
            Concern::ExpiredAuthority { place, until } => write!(
                f,
                "authority {place} of the file was valid until {until}: what it has issued is \
                 believed here all the same; put the authority's next certificate in place, or \
                 take it out"
            ),
            Concern::NoNames => f.write_str(
                "the certificate has no DNS name among its subject alternative names: it is \
                 shown only where no other certificate fits, and few clients will accept it",
            ),
            Concern::OutOfOrder { place } => write!(
                f,
                "certificate {place} of the file did not issue the one before it, and some \
                 clients will refuse the chain; put the server's own certificate first, then \
                 each issuer in turn"
            ),
            Concern::LapsedRevocationList { place, since } => write!(
                f,
                "revocation list {place} of the file has lapsed on {since}, and every client whose \
                 certificate it covers is refused; fetch a current one"
            ),
            Concern::ForeignStaple => f.write_str(
                "the OCSP response is about another certificate, and is left out; fetch one for \
                 this certificate",
            ),
            Concern::RevokedByStaple => f.write_str(
                "the OCSP response does not vouch for the certificate, and is left out; the \
                 certificate may be revoked: have a new one issued",
            ),
            Concern::LapsedStaple { since } => write!(
                f,
                "the OCSP response has lapsed on {since}, and is left out; fetch a current one"
            ),
            Concern::Unverified => f.write_str(
                "the backends' certificates are not verified: whoever is on the way can read and \
                 change everything; give ca instead",
            ),
        }
    }
}
