//! A part of what is loaded, from files of its own: it is renewed by itself, or stays as it was.

use rustls::pki_types::UnixTime;

use super::problem::{Findings, MaterialError, MaterialWarning, Problem};
use super::settings::Expiry;

/// Something loaded, and what is to be told of it.
#[derive(Clone, Debug)]
pub(super) struct Part<T> {
    pub(super) value: T,
    /// Of what it means, not of how its files are written.
    digest: [u8; 32],
    warnings: Vec<MaterialWarning>,
    expiries: Vec<Expiry>,
}

impl<T> Part<T> {
    /// What `load` makes of the files, with a digest of it, unless it has found an error.
    pub(super) fn load(
        load: impl FnOnce(&mut Findings) -> Option<(T, [u8; 32])>,
    ) -> Result<Part<T>, Vec<MaterialError>> {
        let mut findings = Findings::default();
        let loaded = load(&mut findings);
        let Findings { errors, warnings, expiries } = findings;
        match loaded {
            Some((value, digest)) if errors.is_empty() => {
                Ok(Part { value, digest, warnings, expiries })
            }
            _ => Err(errors),
        }
    }

    /// Why its time is over or has not come, as it was when it was loaded.
    fn untimely(&self) -> Option<&MaterialWarning> {
        self.warnings.iter().find(|warning| warning.concern.is_of_time())
    }

    fn has_lapsed(&self, now: UnixTime) -> bool {
        self.untimely().is_some()
            || self.expiries.iter().any(|it| it.kind.ends_service() && now > it.until)
    }
}

/// Parts as they are taken, beside those of before if there are any.
#[derive(Debug)]
pub(super) struct Taking {
    pub(super) now: UnixTime,
    pub(super) errors: Vec<MaterialError>,
    pub(super) warnings: Vec<MaterialWarning>,
    pub(super) expiries: Vec<Expiry>,
    /// A part is another one than before, or nothing was before.
    pub(super) changed: bool,
}

impl Taking {
    pub(super) fn new(now: UnixTime) -> Taking {
        let (errors, warnings, expiries) = (Vec::new(), Vec::new(), Vec::new());
        Taking { now, errors, warnings, expiries, changed: false }
    }

    /// The part as loaded, if it was; else the one of before. What serves now does not give way to
    /// what nobody would accept.
    pub(super) fn take<T: Clone>(
        &mut self,
        before: Option<&Part<T>>,
        loaded: Result<Part<T>, Vec<MaterialError>>,
    ) -> Option<Part<T>> {
        let loaded = loaded.and_then(|part| match (before, part.untimely()) {
            (Some(before), Some(warning)) if !before.has_lapsed(self.now) => {
                Err(vec![refusal(warning)])
            }
            _ => Ok(part),
        });
        let part = match loaded {
            Ok(part) => {
                self.changed |= before.is_none_or(|before| before.digest != part.digest);
                part
            }
            Err(errors) => {
                self.errors.extend(errors);
                before?.clone()
            }
        };
        self.warnings.extend(part.warnings.iter().cloned());
        self.expiries.extend(part.expiries.iter().cloned());
        Some(part)
    }
}

fn refusal(warning: &MaterialWarning) -> MaterialError {
    let MaterialWarning { key, file, concern } = warning.clone();
    MaterialError { key, file, problem: Problem::Untimely(concern) }
}
