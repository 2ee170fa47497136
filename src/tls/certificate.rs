//! What a certificate and a revocation list say of themselves: names, key, validity. Whom a
//! client's speaks for is `owner`'s.

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::EndEntityCert;

use super::der::{BIT_STRING, Der, ENUMERATED, INTEGER, OCTET_STRING};
use super::problem::in_words;

/// What is needed of a certificate besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// DNS names of the subject, in lower case, wildcards among them.
    pub(super) names: Vec<String>,
    pub(super) not_before: UnixTime,
    pub(super) not_after: UnixTime,
    /// Whole names, DER.
    pub(super) issuer: Vec<u8>,
    pub(super) subject: Vec<u8>,
    pub(super) serial: Vec<u8>,
    /// Bits of the RSA modulus; none for another kind of key.
    pub(super) rsa_bits: Option<usize>,
}

/// The first and the last second at which a certificate is valid.
pub(super) fn validity(certificate: &[u8]) -> Option<(UnixTime, UnixTime)> {
    let mut fields = to_be_signed(certificate)?;
    fields.sequence()?;
    let mut validity = fields.sequence()?;
    Some((validity.time()?, validity.time()?))
}

/// Reads a certificate; the reason if it is none.
pub(super) fn facts(certificate: &CertificateDer<'_>) -> Result<Facts, String> {
    let parsed = EndEntityCert::try_from(certificate).map_err(in_words)?;
    let validity = validity(certificate).ok_or(NO_VALIDITY)?;
    Ok(Facts {
        names: parsed.valid_dns_names().map(str::to_ascii_lowercase).collect(),
        not_before: validity.0,
        not_after: validity.1,
        issuer: parsed.issuer().to_owned(),
        subject: parsed.subject().to_owned(),
        serial: parsed.serial().to_owned(),
        rsa_bits: rsa_bits(&parsed.subject_public_key_info()),
    })
}

/// What is wrong where [`validity`] finds none.
pub(super) const NO_VALIDITY: &str = "its validity is not given as it must be";

/// What an OCSP response says of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vouched {
    pub(super) good: bool,
    /// When the next response is due; none if it does not say.
    pub(super) until: Option<UnixTime>,
}

/// What a response that succeeded (RFC 6960, section 4.2.1) says of the certificate with this
/// serial number: `Some(None)` if nothing, `None` if it is no such response. The signature is for
/// the client to verify.
pub(super) fn vouched(response: &[u8], serial: &[u8]) -> Option<Option<Vouched>> {
    const EXPLICIT_0: u8 = 0xa0;
    const GOOD: u8 = 0x80;
    let mut response = Der::new(response).sequence()?;
    if response.expect(ENUMERATED)? != [0] {
        return None;
    }
    let mut bytes = Der::new(response.expect(EXPLICIT_0)?).sequence()?;
    let _kind = bytes.next()?;
    let mut data = Der::new(bytes.expect(OCTET_STRING)?).sequence()?.sequence()?;
    if data.tag() == Some(EXPLICIT_0) {
        let _version = data.next()?;
    }
    let _responder = data.next()?;
    data.time()?;
    let mut singles = data.sequence()?;
    while singles.tag().is_some() {
        let mut single = singles.sequence()?;
        let mut certificate = single.sequence()?;
        for _ in ["algorithm", "issuer's name", "issuer's key"] {
            certificate.next()?;
        }
        let about = certificate.expect(INTEGER)?;
        let status = single.next()?;
        single.time()?;
        if about == serial {
            let next = single.tag() == Some(EXPLICIT_0);
            let until = if next { Der::new(single.next()?.body).time() } else { None };
            return Some(Some(Vouched { good: status.tag == GOOD, until }));
        }
    }
    Some(None)
}

/// When the next revocation list is due; none if it does not say.
pub(super) fn next_update(list: &[u8]) -> Option<UnixTime> {
    let mut fields = Der::new(list).sequence()?.sequence()?;
    if fields.tag() == Some(INTEGER) {
        fields.next()?;
    }
    // The signature's algorithm and the issuer come before the two times.
    fields.sequence()?;
    fields.sequence()?;
    fields.time()?;
    fields.time()
}

/// The fields of a certificate after its serial number, from the signature's algorithm on.
fn to_be_signed(certificate: &[u8]) -> Option<Der<'_>> {
    const VERSION: u8 = 0xa0;
    let mut fields = Der::new(certificate).sequence()?.sequence()?;
    if fields.tag() == Some(VERSION) {
        fields.next()?;
    }
    fields.expect(INTEGER)?;
    fields.sequence()?;
    Some(fields)
}

/// The modulus's size, if the key is an RSA one (RFC 3279, section 2.3.1).
fn rsa_bits(key_info: &[u8]) -> Option<usize> {
    /// 1.2.840.113549.1.1.1
    const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let mut info = Der::new(key_info).sequence()?;
    let algorithm = info.sequence()?.next()?;
    if algorithm.body != RSA_ENCRYPTION {
        return None;
    }
    let (_unused_bits, key) = info.expect(BIT_STRING)?.split_first()?;
    let modulus = Der::new(key).sequence()?.expect(INTEGER)?;
    let first = modulus.iter().position(|byte| *byte != 0)?;
    Some((modulus.len() - first) * 8 - modulus[first].leading_zeros() as usize)
}
