//! Owns the certificates of the tests and their files. Judges none.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256,
    RevokedCertParams, RsaKeySize, SanType, SerialNumber, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// An authority, with a folder for what it has issued.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
    folder: TempDir,
}

/// A certificate and its key.
pub struct Issued {
    pub certificate: String,
    pub key: String,
    serial: SerialNumber,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        Authority { issuer, certificate, folder: TempDir::new().unwrap() }
    }

    /// A certificate for these names, which has the first as its subject too.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, KeyPair::generate().unwrap(), |_| {})
    }

    /// The same, lapsed long ago.
    pub fn issue_expired(&self, names: &[&str]) -> Issued {
        self.issue_with(names, KeyPair::generate().unwrap(), |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 1);
        })
    }

    /// One without a common name: for this URI, or for nothing at all.
    pub fn issue_for(&self, uri: Option<&str>) -> Issued {
        self.issue_with(&["nobody"], KeyPair::generate().unwrap(), |params| {
            params.distinguished_name = DistinguishedName::new();
            let uri = uri.map(|uri| SanType::URI(uri.try_into().unwrap()));
            params.subject_alt_names = uri.into_iter().collect();
        })
    }

    /// The same with a key that signs for milliseconds.
    pub fn issue_slow(&self, names: &[&str]) -> Issued {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096).unwrap();
        self.issue_with(names, key, |_| {})
    }

    fn issue_with(
        &self,
        names: &[&str],
        key: KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let listed: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(listed).unwrap();
        params.distinguished_name = named(names[0]);
        let serial = SerialNumber::from(next_serial());
        params.serial_number = Some(serial.clone());
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { certificate, key: key.serialize_pem(), serial }
    }

    /// The file of a list that revokes these.
    pub fn revoke(&self, file: &str, revoked: &[&Issued]) -> PathBuf {
        let revoke = |issued: &&Issued| RevokedCertParams {
            serial_number: issued.serial.clone(),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2126, 1, 1),
            crl_number: SerialNumber::from(next_serial()),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(revoke).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        self.write(file, &params.signed_by(&self.issuer).unwrap().pem().unwrap())
    }

    /// Writes a file into the folder, in the place of the one of that name at once.
    pub fn write(&self, file: &str, text: &str) -> PathBuf {
        self.write_bytes(file, text.as_bytes())
    }

    /// The same of what is no text.
    pub fn write_bytes(&self, file: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(file);
        let new = path.with_extension("new");
        std::fs::write(&new, bytes).unwrap();
        set_private(&new);
        std::fs::rename(&new, &path).unwrap();
        path
    }

    pub fn remove(&self, file: &str) {
        std::fs::remove_file(self.folder.path().join(file)).unwrap();
    }

    /// The authority's own certificate.
    pub fn file(&self) -> PathBuf {
        self.write("authority.pem", &self.pem())
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Writes a certificate and its key; gives them as an item of `certificates`.
    pub fn identity(&self, name: &str, issued: &Issued) -> String {
        let [chain, key] = self.pair(name, issued);
        format!("{{ chain = {chain:?}, key = {key:?} }}")
    }

    /// The same as two paths.
    pub fn pair(&self, name: &str, issued: &Issued) -> [PathBuf; 2] {
        let chain = self.write(&format!("{name}.pem"), &issued.certificate);
        [chain, self.write(&format!("{name}.key"), &issued.key)]
    }

    /// Trust in this authority alone.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        roots
    }
}

impl Issued {
    /// An OCSP response that says that it is good until then, as "20300101000000Z" has it. It is
    /// not signed, which is for clients to look at.
    pub fn vouched(&self, until: &str) -> Vec<u8> {
        const SEQUENCE: u8 = 0x30;
        const OCTETS: u8 = 4;
        let time = |text: &str| der(0x18, text.as_bytes());
        let [good, since] = [der(0x80, b""), time("20200101000000Z")];
        let until = der(0xa0, &time(until));
        // Numbers have no zeros in front but for the sign.
        let serial = self.serial.to_bytes();
        let zeros = serial.iter().take_while(|byte| **byte == 0).count();
        let sign = if serial[zeros] < 0x80 { &[][..] } else { &[0] };
        let serial = [sign, &serial[zeros..]].concat();
        let about = [der(SEQUENCE, b""), der(OCTETS, b""), der(OCTETS, b""), der(2, &serial)];
        let single = [der(SEQUENCE, &about.concat()), good, since.clone(), until].concat();
        let responder = der(0xa2, b"");
        let data = [responder, since, der(SEQUENCE, &der(SEQUENCE, &single))].concat();
        let basic = [der(SEQUENCE, &data), der(SEQUENCE, b"")].concat();
        let bytes = [der(6, b"x"), der(OCTETS, &der(SEQUENCE, &basic))].concat();
        let successful = der(0x0a, &[0]);
        der(SEQUENCE, &[successful, der(0xa0, &der(SEQUENCE, &bytes))].concat())
    }

    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()]
    }

    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

/// One element of DER, of fewer than 256 bytes.
fn der(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).unwrap();
    let head = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
    [&head, body].concat()
}

fn next_serial() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// A key that others may read is complained about.
fn set_private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
