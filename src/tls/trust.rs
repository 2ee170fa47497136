//! Whom to believe: authorities and revocation lists from files, and the verifiers made of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::SectionKind;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, ServerName, TrustAnchor, UnixTime,
};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use webpki::{BorrowedCertRevocationList, anchor_from_trusted_cert};

use super::certificate::{NO_VALIDITY, next_update, validity};
use super::der::date;
use super::files::{read, sections};
use super::identity::Named;
use super::problem::{Concern, Findings, Problem, in_words};
use super::settings::Kind;

/// Certificates of authorities, or revocation lists, by what they say: in any order, and without
/// what else is in their files.
pub(super) type Digests = Vec<[u8; 32]>;

/// Authorities that are believed.
#[derive(Debug)]
pub(super) struct Anchors {
    pub(super) roots: Arc<RootCertStore>,
    pub(super) digests: Digests,
    /// The last second of each, in the order of the file; of the host's own nothing is said.
    ends: Vec<UnixTime>,
}

impl Anchors {
    /// All certificates of a PEM file, or nothing once what is wrong is noted.
    pub(super) fn load(
        named: Named<'_>,
        now: UnixTime,
        findings: &mut Findings,
    ) -> Option<Anchors> {
        let anchors = findings.accept(named.key, named.file, Anchors::of_file(named.file))?;
        for (place, until) in (1..).zip(&anchors.ends) {
            findings.holds_until(named, (Kind::Authority, place), *until);
            if now > *until {
                let concern = Concern::ExpiredAuthority { place, until: date(*until) };
                findings.warn(named.key, Some(named.file), concern);
            }
        }
        Some(anchors)
    }

    fn of_file(path: &Path) -> Result<Anchors, Problem> {
        let bodies = sections(&read(path)?, SectionKind::Certificate)?;
        let (mut anchors, mut ends) = (Vec::new(), Vec::new());
        for (place, body) in (1..).zip(&bodies) {
            let bad = |reason| Problem::BadCertificate { place, reason };
            anchors.push(anchor(body).map_err(bad)?);
            let (_, end) = validity(body).ok_or_else(|| bad(NO_VALIDITY.to_owned()))?;
            ends.push(end);
        }
        Ok(Anchors { ends, ..Anchors::of(anchors, &bodies)? })
    }

    /// The certificates that this host trusts; those that no verification could use are left out.
    pub(super) fn of_system(bundles: &[&str]) -> Result<Anchors, Problem> {
        let Some(path) = system_bundle(bundles) else {
            return Err(Problem::NoSystemRoots {
                tried: bundles.iter().map(PathBuf::from).collect(),
            });
        };
        let bodies = sections(&read(&path)?, SectionKind::Certificate)?;
        let anchors = bodies.iter().filter_map(|body| anchor(body).ok()).collect();
        Anchors::of(anchors, &bodies)
    }

    fn of(anchors: Vec<TrustAnchor<'static>>, bodies: &[Vec<u8>]) -> Result<Anchors, Problem> {
        if anchors.is_empty() {
            return Err(Problem::NoCertificate);
        }
        let roots = Arc::new(RootCertStore { roots: anchors });
        Ok(Anchors { roots, digests: digests(bodies), ends: Vec::new() })
    }
}

fn anchor(body: &[u8]) -> Result<TrustAnchor<'static>, String> {
    let certificate = CertificateDer::from(body);
    let anchor = anchor_from_trusted_cert(&certificate).map_err(in_words)?;
    Ok(anchor.to_owned())
}

/// The first of `bundles` that is there.
pub(super) fn system_bundle(bundles: &[&str]) -> Option<PathBuf> {
    bundles.iter().map(PathBuf::from).find(|path| path.exists())
}

/// Where distributions keep the bundle: Debian, Ubuntu and Alpine; RHEL and its kin, old and new;
/// SUSE.
pub(super) const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
];

/// Revocation lists of one file.
pub(super) type Lists = Vec<CertificateRevocationListDer<'static>>;

/// The lists of a file. One that has lapsed is told and kept, as nobody would be let in by it: what
/// is refused is then said at each handshake, and all else that is configured serves.
pub(super) fn revocation_lists(
    named: Named<'_>,
    now: UnixTime,
    findings: &mut Findings,
) -> Option<Lists> {
    let bodies = read(named.file).and_then(|text| sections(&text, SectionKind::Crl));
    let bodies = findings.accept(named.key, named.file, bodies)?;
    if bodies.is_empty() {
        findings.refuse(named.key, Some(named.file), Problem::NoRevocationList);
        return None;
    }
    let mut lists = Vec::new();
    for (index, body) in bodies.into_iter().enumerate() {
        let place = index + 1;
        let parsed = BorrowedCertRevocationList::from_der(&body)
            .map_err(|error| Problem::BadRevocationList { place, reason: in_words(error) });
        findings.accept(named.key, named.file, parsed.map(drop))?;
        if let Some(until) = next_update(&body) {
            findings.holds_until(named, (Kind::RevocationList, place), until);
            if now >= until {
                let concern = Concern::LapsedRevocationList { place, since: date(until) };
                findings.warn(named.key, Some(named.file), concern);
            }
        }
        lists.push(CertificateRevocationListDer::from(body));
    }
    Some(lists)
}

pub(super) fn digests<T: AsRef<[u8]>>(bodies: &[T]) -> Digests {
    let mut digests: Digests = bodies.iter().map(|body| sha256(body.as_ref())).collect();
    digests.sort_unstable();
    digests.dedup();
    digests
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// Believes the clients that `anchors` vouch for. With lists, each certificate of the chain must
/// be covered by one that has not lapsed.
pub(super) fn client_verifier(
    anchors: &Anchors,
    lists: Lists,
    optional: bool,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Problem> {
    let roots = Arc::clone(&anchors.roots);
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
        .with_crls(lists)
        .enforce_revocation_expiration();
    if optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| Problem::Refused(error.to_string()))
}

/// Believes the backends that `anchors` vouch for.
pub(super) fn server_verifier(
    anchors: &Anchors,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Problem> {
    let roots = Arc::clone(&anchors.roots);
    let builder = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider));
    let verifier = builder.build().map_err(|error| Problem::Refused(error.to_string()))?;
    Ok(verifier)
}

/// Believes every backend that holds the key of the certificate it shows.
#[derive(Debug)]
pub(super) struct Unverified(pub(super) WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
