//! Reads material from files, bounded, and decodes what is PEM. Secrets are erased after use.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls::pki_types::pem::{self, PemObject, SectionKind};
use zeroize::Zeroizing;

use super::problem::{Concern, Findings, Problem};

/// The most that is read of one file. Revocation lists of large authorities are the largest.
const FILE_LIMIT: u64 = 64 << 20;

/// The whole file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    let mut file = File::open(path).map_err(Problem::Unreadable)?;
    read_bounded(&mut file)
}

/// The whole file, erased from memory when dropped, and its mode.
pub(super) fn read_secret(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), Problem> {
    let mut file = File::open(path).map_err(Problem::Unreadable)?;
    let mode = file.metadata().map_err(Problem::Unreadable)?.permissions().mode() & 0o7777;
    Ok((Zeroizing::new(read_bounded(&mut file)?), mode))
}

/// Notes it if a secret is for everybody to read.
pub(super) fn look_at_mode(findings: &mut Findings, key: &str, path: &Path, mode: u32) {
    const READ_BY_OTHERS: u32 = 0o004;
    if mode & READ_BY_OTHERS != 0 {
        findings.warn(key, Some(path), Concern::WorldReadable { mode });
    }
}

fn read_bounded(file: &mut File) -> Result<Vec<u8>, Problem> {
    let metadata = file.metadata().map_err(Problem::Unreadable)?;
    if metadata.is_dir() {
        return Err(Problem::Unreadable(io::ErrorKind::IsADirectory.into()));
    }
    // Room for all of it from the start: a buffer that grows leaves copies behind.
    let mut bytes = Vec::with_capacity(metadata.len().min(FILE_LIMIT) as usize + 1);
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(Problem::Unreadable)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(Problem::TooLarge { limit: FILE_LIMIT });
    }
    Ok(bytes)
}

/// The bodies of all sections of the kind `wanted`, in order.
pub(super) fn sections(text: &[u8], wanted: SectionKind) -> Result<Vec<Vec<u8>>, Problem> {
    let mut bodies = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        let (kind, body) = section.map_err(bad_pem)?;
        if kind == wanted {
            bodies.push(body);
        }
    }
    Ok(bodies)
}

/// In words; the parser's own show lines of the file as lists of numbers.
pub(super) fn bad_pem(error: pem::Error) -> Problem {
    let reason = match error {
        pem::Error::MissingSectionEnd { .. } => "the last section has no end",
        pem::Error::IllegalSectionStart { .. } => "a line that begins a section is broken",
        pem::Error::Base64Decode(_) => "the text between the markers is no base64",
        pem::Error::SectionTooLarge => "a section is too large",
        _ => "it cannot be decoded",
    };
    Problem::BadPem(reason.to_owned())
}
