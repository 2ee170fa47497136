//! Alerts: what they are called, and which one a failure of the handshake was answered with.

use std::borrow::Cow;

use rustls::{AlertDescription, Error};

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

/// The alert in `output`, which rustls has made for a failure of the handshake. In the clear it is
/// read there; of those that are encrypted the ones are known that can be no other.
pub(super) fn answer(output: &[u8], failure: &Failure) -> Option<AlertDescription> {
    const ALERT: u8 = 21;
    match (last_record(output)?, failure) {
        ((ALERT, &[_level, description]), _) => Some(description.into()),
        (_, Failure::Certificate(error)) => Some(error.clone().into()),
        (_, Failure::Protocol(error)) => only_answer(error),
        _ => None,
    }
}

/// The alert that rustls answers this with, wherever in a handshake it comes about.
fn only_answer(error: &Error) -> Option<AlertDescription> {
    match error {
        Error::NoCertificatesPresented => Some(AlertDescription::CertificateRequired),
        Error::NoApplicationProtocol => Some(AlertDescription::NoApplicationProtocol),
        Error::PeerSentOversizedRecord => Some(AlertDescription::RecordOverflow),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            Some(AlertDescription::UnexpectedMessage)
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

    #[test]
    fn the_last_record_tells_unless_it_is_encrypted() {
        let failure = Failure::Protocol(Error::DecryptError);
        let said = [22, 3, 3, 0, 1, 0, 21, 3, 3, 0, 2, 2, 40];
        assert_eq!(answer(&said, &failure), Some(AlertDescription::HandshakeFailure));
        let sealed = [21, 3, 3, 0, 2, 2, 40, 23, 3, 3, 0, 2, 2, 40];
        assert_eq!(answer(&sealed, &failure), None);
        let missing = Failure::Protocol(Error::NoCertificatesPresented);
        assert_eq!(answer(&sealed, &missing), Some(AlertDescription::CertificateRequired));
        assert_eq!(answer(&[], &missing), None, "nothing was sent");
        assert_eq!(answer(&said[..9], &failure), None, "a part of a record");
    }
}
