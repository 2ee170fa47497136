//! Owns the certificates of a measurement: an authority made for it, and the servers it has signed.
//! None of them outlives it.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Which key a server proves to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// P-256
    Ecdsa,
    /// 2,048 bits
    Rsa,
}

/// A root, and a server of each identity.
pub struct Authority {
    root: CertificateDer<'static>,
    servers: [Server; 2],
}

struct Server {
    identity: Identity,
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    /// For servers of `SERVER_NAME`.
    pub fn generate() -> Result<Self, rcgen::Error> {
        Self::generate_for(SERVER_NAME)
    }

    /// For servers of this name, or address.
    pub fn generate_for(name: &str) -> Result<Self, rcgen::Error> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "ringmain-bench");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let issuer = CertifiedIssuer::self_signed(parameters, key)?;
        let sign = |identity, key: KeyPair| {
            let parameters = CertificateParams::new([name.to_owned()])?;
            let certificate = parameters.signed_by(&key, &issuer)?;
            Ok::<_, rcgen::Error>(Server { identity, certificate, key })
        };
        let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let ecdsa = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let servers = [sign(Identity::Ecdsa, ecdsa)?, sign(Identity::Rsa, rsa)?];
        Ok(Self { root: issuer.der().clone(), servers })
    }

    /// What clients trust.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// What a server of this identity shows, and its key.
    pub fn server(&self, identity: Identity) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let found = self.servers.iter().find(|server| server.identity == identity);
        let server = found.expect("there is a server of each identity");
        let key = PrivateKeyDer::try_from(server.key.serialize_der());
        (server.certificate.der().clone(), key.expect("rcgen writes PKCS #8"))
    }

    /// Writes the certificates as `<identity>.pem`, and the keys where `key_of` says.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        for server in &self.servers {
            let path = directory.join(server.identity.as_str()).with_extension("pem");
            write_private(&key_of(&path), &server.key.serialize_pem())?;
            write_private(&path, &server.certificate.pem())?;
        }
        Ok(())
    }
}

/// Where the key of a certificate is: beside it, where HAProxy looks for it as well.
pub fn key_of(certificate: &Path) -> PathBuf {
    certificate.with_extension("pem.key")
}

/// A new file for its owner alone.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

impl Identity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ecdsa => "ecdsa",
            Self::Rsa => "rsa",
        }
    }
}

/// Whom clients ask for; nobody resolves it.
pub const SERVER_NAME: &str = "bench.test";
