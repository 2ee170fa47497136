//! One identity: a certificate chain and its key, from their files, and what they can be used for.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, SignatureScheme};

use super::certificate::{Facts, Vouched, facts, vouched};
use super::der::date;
use super::files::{bad_pem, look_at_mode, read, read_secret, sections};
use super::problem::{Concern, Findings, Problem};
use super::settings::{Clock, Kind};
use super::trust::sha256;

/// A file with the key that names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) key: &'a str,
    pub(super) file: &'a Path,
}

/// A chain whose first certificate belongs to the key.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) certified: Arc<CertifiedKey>,
    /// What is shown from this time on, because the OCSP response has lapsed by then.
    bare: Option<(UnixTime, Arc<CertifiedKey>)>,
    /// DNS names of the first certificate, in lower case, wildcards among them.
    pub(super) names: Vec<String>,
    /// How the key can sign, by the numbers in IANA's registry.
    pub(super) schemes: Vec<SignatureScheme>,
    /// Bits of the key, if it is an RSA one.
    pub(super) rsa_bits: Option<usize>,
}

impl Identity {
    /// Reads the files; nothing once what is wrong is noted.
    pub(super) fn load(
        chain: Named<'_>,
        key: Named<'_>,
        staple: Option<Named<'_>>,
        provider: &CryptoProvider,
        now: UnixTime,
        findings: &mut Findings,
    ) -> Option<Identity> {
        let certificates = findings.accept(chain.key, chain.file, certificates(chain.file));
        let private = findings.accept(key.key, key.file, private_key(key.file));
        let response = staple.map(|staple| (staple, read(staple.file)));
        let response = response.map(|(at, read)| (at, findings.accept(at.key, at.file, read)));
        let ((certificates, facts), (private, mode)) = certificates.zip(private)?;
        look_at_mode(findings, key.key, key.file, mode);
        let certified = certified(certificates, private, chain.file, provider);
        let mut certified = findings.accept(key.key, key.file, certified)?;
        let mut bare = None;
        look_at_chain(chain, &facts, now, findings);
        let first = facts.into_iter().next()?;
        if let Some((at, response)) = response
            && let Some((response, until)) = fitting(at, response?, &first.serial, now, findings)
        {
            bare = until.map(|until| (until, Arc::new(certified.clone())));
            certified.ocsp = Some(response);
        }
        Some(Identity {
            schemes: schemes(&certified),
            certified: Arc::new(certified),
            bare,
            names: first.names,
            rsa_bits: first.rsa_bits,
        })
    }
}

impl Identity {
    /// What is shown by this clock, which is read only if it matters.
    pub(super) fn shown_by(&self, clock: &Clock) -> &Arc<CertifiedKey> {
        let lapsed = |until: UnixTime| clock.current_time().is_none_or(|now| now >= until);
        match &self.bare {
            Some((until, bare)) if lapsed(*until) => bare,
            _ => &self.certified,
        }
    }

    /// Of what it shows; the key is the one of the certificate.
    pub(super) fn digest(&self) -> [u8; 32] {
        let certificates = self.certified.cert.iter().map(|certificate| sha256(certificate));
        let shown = certificates.chain(self.certified.ocsp.iter().map(|response| sha256(response)));
        sha256(shown.collect::<Vec<_>>().as_flattened())
    }
}

type Chain = (Vec<CertificateDer<'static>>, Vec<Facts>);

fn certificates(path: &Path) -> Result<Chain, Problem> {
    let bodies = sections(&read(path)?, SectionKind::Certificate)?;
    if bodies.is_empty() {
        return Err(Problem::NoCertificate);
    }
    let chain: Vec<_> = bodies.into_iter().map(CertificateDer::from).collect();
    let mut all = Vec::new();
    for (index, certificate) in chain.iter().enumerate() {
        let bad = |reason| Problem::BadCertificate { place: index + 1, reason };
        all.push(facts(certificate).map_err(bad)?);
    }
    Ok((chain, all))
}

fn private_key(path: &Path) -> Result<(PrivateKeyDer<'static>, u32), Problem> {
    let (text, mode) = read_secret(path)?;
    let mut keys = PrivateKeyDer::pem_slice_iter(&text);
    let Some(key) = keys.next() else {
        let encrypted = text.windows(MARK.len()).any(|window| window == MARK);
        return Err(if encrypted { Problem::EncryptedKey } else { Problem::NoKey });
    };
    let key = key.map_err(bad_pem)?;
    if keys.next().is_some() {
        return Err(Problem::SeveralKeys);
    }
    Ok((key, mode))
}

/// Of a PKCS#8 key under a passphrase.
const MARK: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";

/// The OCSP response, if it vouches for the certificate now, and when it ceases to. One that does
/// not is left out and no error: a certificate that was renewed must not wait for it.
fn fitting(
    at: Named<'_>,
    response: Vec<u8>,
    serial: &[u8],
    now: UnixTime,
    findings: &mut Findings,
) -> Option<(Vec<u8>, Option<UnixTime>)> {
    let vouched = vouched(&response, serial).ok_or(Problem::BadStaple);
    let vouched = findings.accept(at.key, at.file, vouched)?;
    if let Some(Vouched { good: true, until: Some(until) }) = vouched {
        findings.holds_until(at, (Kind::Staple, 1), until);
    }
    let concern = match vouched {
        None => Concern::ForeignStaple,
        Some(Vouched { good: false, .. }) => Concern::RevokedByStaple,
        Some(Vouched { until: Some(until), .. }) if now >= until => {
            Concern::LapsedStaple { since: date(until) }
        }
        Some(Vouched { until, .. }) => return Some((response, until)),
    };
    findings.warn(at.key, Some(at.file), concern);
    None
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    chain_file: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Problem> {
    let key = provider.key_provider.load_private_key(key).map_err(|error| match error {
        Error::General(reason) => Problem::UnsupportedKey(reason),
        error => Problem::UnsupportedKey(error.to_string()),
    })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        // Every kind of key that is supported tells its public half.
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(Problem::KeyMismatch { chain: chain_file.to_owned() })
        }
        Err(error) => Err(Problem::Refused(error.to_string())),
    }
}

fn look_at_chain(chain: Named<'_>, facts: &[Facts], now: UnixTime, findings: &mut Findings) {
    for (place, Facts { not_before, not_after, .. }) in (1..).zip(facts) {
        findings.holds_until(chain, (Kind::Certificate, place), *not_after);
        let mut warn = |concern| findings.warn(chain.key, Some(chain.file), concern);
        if now > *not_after {
            warn(Concern::Expired { place, until: date(*not_after) });
        }
        if now < *not_before {
            warn(Concern::NotYetValid { place, since: date(*not_before) });
        }
    }
    let broken = facts.windows(2).position(|pair| pair[0].issuer != pair[1].subject);
    if let Some(index) = broken {
        findings.warn(chain.key, Some(chain.file), Concern::OutOfOrder { place: index + 2 });
    }
}

/// The schemes that a key signs with, of all that are in use.
fn schemes(certified: &CertifiedKey) -> Vec<SignatureScheme> {
    const ALL: [SignatureScheme; 10] = [
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::ECDSA_NISTP384_SHA384,
        SignatureScheme::ECDSA_NISTP521_SHA512,
        SignatureScheme::ED25519,
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PSS_SHA384,
        SignatureScheme::RSA_PSS_SHA512,
        SignatureScheme::RSA_PKCS1_SHA256,
        SignatureScheme::RSA_PKCS1_SHA384,
        SignatureScheme::RSA_PKCS1_SHA512,
    ];
    let signs = |scheme: &SignatureScheme| certified.key.choose_scheme(&[*scheme]).is_some();
    ALL.into_iter().filter(signs).collect()
}
