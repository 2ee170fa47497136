//! Alerts: what they are called, and which one a failure of the handshake was answered with.

use std::borrow::Cow;

use rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};

use super::connection::Failure;

/// The name in IANA's registry, or the number in it.
pub fn alert_name(alert: AlertDescription) -> Cow<'static, str> {
    Cow::Borrowed(match alert {
        AlertDescription::CloseNotify => "close_notify",
        AlertDescription::UnexpectedMessage => "unexpected_message",
        AlertDescription::BadRecordMac => "bad_record_mac",
        AlertDescription::DecryptionFailed => "decryption_failed",
        AlertDescription::RecordOverflow => "record_overflow",
        AlertDescription::DecompressionFailure => "decompression_failure",
        AlertDescription::HandshakeFailure => "handshake_failure",
        AlertDescription::NoCertificate => "no_certificate",
        AlertDescription::BadCertificate => "bad_certificate",
        AlertDescription::UnsupportedCertificate => "unsupported_certificate",
        AlertDescription::CertificateRevoked => "certificate_revoked",
        AlertDescription::CertificateExpired => "certificate_expired",
        AlertDescription::CertificateUnknown => "certificate_unknown",
        AlertDescription::IllegalParameter => "illegal_parameter",
        AlertDescription::UnknownCA => "unknown_ca",
        AlertDescription::AccessDenied => "access_denied",
        AlertDescription::DecodeError => "decode_error",
        AlertDescription::DecryptError => "decrypt_error",
        AlertDescription::ExportRestriction => "export_restriction",
        AlertDescription::ProtocolVersion => "protocol_version",
        AlertDescription::InsufficientSecurity => "insufficient_security",
        AlertDescription::InternalError => "internal_error",
        AlertDescription::InappropriateFallback => "inappropriate_fallback",
        AlertDescription::UserCanceled => "user_canceled",
        AlertDescription::NoRenegotiation => "no_renegotiation",
        AlertDescription::MissingExtension => "missing_extension",
        AlertDescription::UnsupportedExtension => "unsupported_extension",
        AlertDescription::CertificateUnobtainable => "certificate_unobtainable",
        AlertDescription::UnrecognisedName => "unrecognized_name",
        AlertDescription::BadCertificateStatusResponse => "bad_certificate_status_response",
        AlertDescription::BadCertificateHashValue => "bad_certificate_hash_value",
        AlertDescription::UnknownPSKIdentity => "unknown_psk_identity",
        AlertDescription::CertificateRequired => "certificate_required",
        AlertDescription::NoApplicationProtocol => "no_application_protocol",
        AlertDescription::EncryptedClientHelloRequired => "ech_required",
        other => return Cow::Owned(u8::from(other).to_string()),
    })
}

/// What is known of an alert that rustls has made for a failure: its bytes, and whether everything
/// that it was given by then made sense as records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clue<'a> {
    pub(super) sent: &'a [u8],
    pub(super) opened_all: bool,
}

/// The alert that was made for this failure, if one was. In the clear it is read there; what it is
/// under keys that only rustls has follows from what it was made for.
pub(super) fn answer(clue: Clue<'_>, failure: &Failure) -> Option<AlertDescription> {
    match (last_record(clue.sent)?, failure) {
        ((ALERT, &[_level, description]), _) => Some(description.into()),
        // TLS 1.2 tells the kind of a record, and in TLS 1.3 nothing else is as short.
        ((DATA, sealed), _) if sealed.len() != SEALED_ALERT => None,
        ((ALERT | DATA, _), Failure::Certificate(error)) => Some(error.clone().into()),
        ((ALERT | DATA, _), Failure::Protocol(error)) => sealed_answer(error, clue.opened_all),
        _ => None,
    }
}

/// What rustls answers this with once it has keys, wherever in a handshake it comes about; none if
/// that depends. How it answers a hello is read in the clear.
fn sealed_answer(error: &Error, opened_all: bool) -> Option<AlertDescription> {
    Some(match error {
        // The last record was opened: it is the message in it that does not prove what it should.
        Error::DecryptError if opened_all => AlertDescription::DecryptError,
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::NoCertificatesPresented => AlertDescription::CertificateRequired,
        Error::NoApplicationProtocol => AlertDescription::NoApplicationProtocol,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            AlertDescription::UnexpectedMessage
        }
        Error::InvalidMessage(InvalidMessage::InvalidKeyUpdate) => {
            AlertDescription::IllegalParameter
        }
        Error::InvalidMessage(message) => (*message).into(),
        // Of those who verify certificates.
        Error::InvalidCertRevocationList(_) => AlertDescription::HandshakeFailure,
        Error::PeerIncompatible(
            PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon
            | PeerIncompatible::IncorrectCertificateTypeExtension,
        ) => AlertDescription::HandshakeFailure,
        Error::PeerMisbehaved(misbehaviour) => return sealed_rebuke(misbehaviour),
        _ => return None,
    })
}

fn sealed_rebuke(misbehaviour: &PeerMisbehaved) -> Option<AlertDescription> {
    match misbehaviour {
        PeerMisbehaved::KeyEpochWithPendingFragment
        | PeerMisbehaved::IllegalMiddleboxChangeCipherSpec
        | PeerMisbehaved::TooMuchEarlyDataReceived => Some(AlertDescription::UnexpectedMessage),
        PeerMisbehaved::UnsolicitedEncryptedExtension
        | PeerMisbehaved::DisallowedEncryptedExtension
        | PeerMisbehaved::UnsolicitedEchExtension => Some(AlertDescription::UnsupportedExtension),
        PeerMisbehaved::SelectedUnofferedApplicationProtocol
        | PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme => {
            Some(AlertDescription::IllegalParameter)
        }
        _ => None,
    }
}

/// The type and the body of the last of these records, which are whole.
fn last_record(mut records: &[u8]) -> Option<(u8, &[u8])> {
    let mut last = None;
    while let Some(([kind, _, _, high, low], rest)) = records.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (body, rest) = rest.split_at_checked(length)?;
        last = Some((*kind, body));
        records = rest;
    }
    last
}

const ALERT: u8 = 21;
const DATA: u8 = 23;
/// Level and description, the kind, and the tag (RFC 8446, section 5.2).
const SEALED_ALERT: usize = 2 + 1 + 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alert_that_has_a_name_is_called_by_it() {
        let named = (0..=u8::MAX).map(AlertDescription::from).filter(|alert| {
            let unknown = matches!(alert, AlertDescription::Unknown(_));
            let name = alert_name(*alert);
            assert_eq!(unknown, name.parse::<u8>().is_ok(), "{name}");
            !unknown
        });
        assert_eq!(named.count(), 35);
        assert_eq!(alert_name(AlertDescription::UnknownCA), "unknown_ca");
        assert_eq!(alert_name(AlertDescription::from(200)), "200");
    }

    fn named(sent: &[u8], opened_all: bool, error: Error) -> Option<AlertDescription> {
        answer(Clue { sent, opened_all }, &error.into())
    }

    #[test]
    fn the_last_record_tells_unless_it_is_encrypted() {
        let said = [22, 3, 3, 0, 1, 0, 21, 3, 3, 0, 2, 2, 40];
        let failed = Some(AlertDescription::HandshakeFailure);
        assert_eq!(named(&said, true, Error::DecryptError), failed);
        let mut sealed = said.to_vec();
        sealed.extend([&[23, 3, 3, 0, 19][..], &[7; 19]].concat());
        let missing = Error::NoCertificatesPresented;
        let required = Some(AlertDescription::CertificateRequired);
        assert_eq!(named(&sealed, true, missing.clone()), required);
        assert_eq!(named(&[], true, missing.clone()), None, "nothing was sent");
        assert_eq!(named(&said[..9], true, missing), None, "a part of a record");
    }

    #[test]
    fn an_alert_under_keys_is_known_by_what_it_is_for() {
        // As TLS 1.3 and TLS 1.2 have them.
        let alerts = [[&[23, 3, 3, 0, 19][..], &[7; 19]], [&[21, 3, 3, 0, 26][..], &[7; 26]]];
        for sent in alerts.map(|parts| parts.concat()) {
            let named = |opened_all, error| named(&sent, opened_all, error);
            let decrypt = |opened_all| named(opened_all, Error::DecryptError);
            assert_eq!(decrypt(true), Some(AlertDescription::DecryptError));
            assert_eq!(decrypt(false), Some(AlertDescription::BadRecordMac));
            let certificate = Error::InvalidCertificate(rustls::CertificateError::BadSignature);
            assert_eq!(named(true, certificate), Some(AlertDescription::DecryptError));
            let twice = Error::InvalidMessage(InvalidMessage::DuplicateExtension(5));
            assert_eq!(named(true, twice), Some(AlertDescription::IllegalParameter));
            assert_eq!(named(true, Error::General("a secret".to_owned())), None);
        }
        // The rest of a handshake, and no alert.
        let sent = [&[23, 3, 3, 0, 20][..], &[7; 20]].concat();
        assert_eq!(named(&sent, true, Error::NoCertificatesPresented), None);
    }
}
