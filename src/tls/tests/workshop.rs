//! Makes authorities, certificates and their files; a clock set by hand; two ends that shake hands.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SignatureAlgorithm, date_time_ymd,
};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use tempfile::TempDir;

use super::super::*;

/// 2027-01-01 00:00:00 UTC, at which everything made here is valid unless it is said otherwise.
pub(super) const NOW: u64 = 1_798_761_600;

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
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
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

pub(super) struct Issued {
    pub(super) certificate: Certificate,
    pub(super) key: KeyPair,
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
