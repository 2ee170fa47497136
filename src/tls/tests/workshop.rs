//! Makes authorities, certificates and their files; a clock set by hand; two ends that shake hands.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, RevokedCertParams, SerialNumber, SignatureAlgorithm,
    date_time_ymd,
};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use tempfile::TempDir;

use super::super::certificate::facts;
use super::super::*;

/// 2027-01-01 00:00:00 UTC, at which everything made here is valid unless it is said otherwise.
pub(super) const NOW: u64 = 1_798_761_600;

pub(super) const DAY: u64 = 86_400;

pub(super) fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// A clock that stands until it is set.
#[derive(Debug)]
pub(super) struct Hand(AtomicU64);

impl Hand {
    pub(super) fn new() -> Arc<Hand> {
        Arc::new(Hand(AtomicU64::new(NOW)))
    }

    pub(super) fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::SeqCst);
    }

    pub(super) fn now(&self) -> UnixTime {
        at(self.0.load(Ordering::SeqCst))
    }
}

impl TimeProvider for Hand {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.now())
    }
}

/// An authority of its own.
pub(super) struct Authority {
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) certificate: Certificate,
}

impl Authority {
    pub(super) fn new(name: &str) -> Authority {
        Authority::until(name, (2040, 1, 1))
    }

    /// One whose own certificate holds until that day.
    pub(super) fn until(name: &str, (year, month, day): (i32, u8, u8)) -> Authority {
        let (mut params, key) = authority(name);
        params.not_after = date_time_ymd(year, month, day);
        let certificate = params.self_signed(&key).unwrap();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    /// A certificate for `names`, good for servers and clients, through the year 2027.
    pub(super) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, &PKCS_ECDSA_P256_SHA256, |_| {})
    }

    pub(super) fn issue_with(
        &self,
        names: &[&str],
        algorithm: &'static SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2026, 12, 1);
        params.not_after = date_time_ymd(2027, 12, 31);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate, key }
    }
}

impl Authority {
    /// Another authority, which this one vouches for.
    pub(super) fn delegate(&self, name: &str) -> Authority {
        self.delegate_until(name, (2040, 1, 1))
    }

    pub(super) fn delegate_until(
        &self,
        name: &str,
        (year, month, day): (i32, u8, u8),
    ) -> Authority {
        let (mut params, key) = authority(name);
        params.not_after = date_time_ymd(year, month, day);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    /// A revocation list that holds from 2026-12-01 to `until`, in PEM.
    pub(super) fn revoke(&self, serials: &[SerialNumber], until: (i32, u8, u8)) -> String {
        let revoked = |serial: &SerialNumber| RevokedCertParams {
            serial_number: serial.clone(),
            revocation_time: date_time_ymd(2026, 12, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 12, 1),
            next_update: date_time_ymd(until.0, until.1, until.2),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    pub(super) fn pem(&self) -> String {
        self.certificate.pem()
    }
}

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params, KeyPair::generate().unwrap())
}

pub(super) struct Issued {
    pub(super) certificate: Certificate,
    pub(super) key: KeyPair,
}

pub(super) fn serial(certificate: &Certificate) -> SerialNumber {
    SerialNumber::from_slice(&facts(certificate.der()).unwrap().serial)
}

/// A folder of files.
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        set_mode(&path, 0o600);
        path
    }

    /// `NAME.pem` and `NAME.key`.
    pub(super) fn write_issued(&self, name: &str, issued: &Issued) -> CertificateFiles {
        let chain = self.write(&format!("{name}.pem"), issued.certificate.pem());
        let key = self.write(&format!("{name}.key"), issued.key.serialize_pem());
        CertificateFiles { chain, key, staple: None }
    }
}

pub(super) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A section of PEM.
pub(super) fn pem(label: &str, body: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for (index, chunk) in body.chunks(3).enumerate() {
        let [a, b, c] = [0, 1, 2].map(|at| u32::from(*chunk.get(at).unwrap_or(&0)));
        let bits = a << 16 | b << 8 | c;
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63] as char;
            text.push(if at > chunk.len() { '=' } else { digit });
        }
        if index % 16 == 15 {
            text.push('\n');
        }
    }
    format!("{}\n-----END {label}-----\n", text.trim_end())
}

/// One element of DER.
pub(super) fn der(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes = match length {
        0..=0x7f => vec![tag, length as u8],
        0x80..=0xff => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    bytes.extend(body);
    bytes
}

pub(super) fn server_options(name: &str, certificates: Vec<CertificateFiles>) -> ServerOptions {
    ServerOptions {
        name: name.to_owned(),
        certificates,
        min_version: MinVersion::Tls12,
        cipher_suites: Vec::new(),
        alpn: Vec::new(),
        client_auth: ClientAuth::Off,
        client_ca: None,
        client_crls: Vec::new(),
        tickets: Some(TicketOptions { lifetime: Duration::from_secs(12 * 3_600), keys: None }),
        handshake_timeout: Duration::from_secs(10),
    }
}

pub(super) fn client_options(ca: PathBuf) -> ClientOptions {
    ClientOptions {
        ca: Authorities::File(ca),
        server_name: NameSource::Backend,
        certificate: None,
        key: None,
        alpn: Alpn::Offer(Vec::new()),
        min_version: MinVersion::Tls12,
        resumption: true,
        handshake_timeout: Duration::from_secs(5),
        insecure_skip_verify: false,
    }
}

/// The sentences of a refusal, without the folder's own path.
pub(super) fn sentences(folder: &Folder, errors: &[impl ToString]) -> Vec<String> {
    let prefix = format!("{}/", folder.0.path().display());
    errors.iter().map(|error| error.to_string().replace(&prefix, "")).collect()
}

/// Lets both ends talk until they have nothing more to say; tickets have arrived by then.
pub(super) fn shake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<(ServerConnection, ClientConnection), rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    loop {
        let sent = pass(&mut client, &mut server)?;
        let answered = pass(&mut server, &mut client)?;
        if !sent && !answered {
            assert!(!client.is_handshaking() && !server.is_handshaking());
            return Ok((server, client));
        }
    }
}

fn pass<A, B>(
    from: &mut rustls::ConnectionCommon<A>,
    to: &mut rustls::ConnectionCommon<B>,
) -> Result<bool, rustls::Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest as &mut dyn io::Read).unwrap();
        to.process_new_packets()?;
    }
    Ok(!bytes.is_empty())
}
