//! Owns the rows that show an operator how TLS material stands, and the names, units and help texts
//! of their metrics. Does not load material and decides nothing of it.

use super::exposition::sample;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType::{Counter, Gauge};
use std::fmt;

/// One table of the configuration that names files for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsRow {
    /// The NAME of `tls.NAME`, or `pool.NAME`; unique.
    pub table: String,
    pub expiries: Vec<TlsExpiry>,
    /// Renewals that brought something new, and those that left something as it was.
    pub renewed: u64,
    pub failed: u64,
    /// The files say something that could not be taken.
    pub in_trouble: bool,
}

/// When something of a file lapses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsExpiry {
    pub kind: TlsLapsing,
    pub file: String,
    /// In seconds since 1970.
    pub until: u64,
}

/// What it is that lapses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsLapsing {
    /// Of a chain that is shown.
    Certificate,
    /// One that clients or backends are believed by.
    Authority,
    RevocationList,
    /// An OCSP response.
    Staple,
}

pub(super) fn encode(rows: &[TlsRow], encoder: &mut DescriptorEncoder) -> fmt::Result {
    for (kind, name, label, help) in LAPSING {
        let mut family = encoder.encode_descriptor(name, help, None, Gauge)?;
        for (table, expiry) in soonest(rows, kind) {
            sample(&mut family, &[("tls", table), (label, &expiry.file)], expiry.until)?;
        }
    }

    let help = "Renewals of TLS material while the process serves: what was taken, and what was \
                refused, so that older material stays.";
    let mut family = encoder.encode_descriptor("tls_reloads_total", help, None, Counter)?;
    for row in rows {
        for (result, count) in [("success", row.renewed), ("failure", row.failed)] {
            sample(&mut family, &[("tls", &*row.table), ("result", result)], count)?;
        }
    }

    let help = "1 while older TLS material serves because the files cannot be taken, or 0.";
    let mut family = encoder.encode_descriptor("tls_reload_failing", help, None, Gauge)?;
    for row in rows {
        sample(&mut family, &[("tls", &*row.table)], u64::from(row.in_trouble))?;
    }
    Ok(())
}

/// With the metric, its label for the file, and its help.
const LAPSING: [(TlsLapsing, &str, &str, &str); 4] = [
    (
        TlsLapsing::Certificate,
        "tls_certificate_expiry_seconds",
        "certificate",
        "When the first certificate of the chain lapses, in seconds since 1970.",
    ),
    (
        TlsLapsing::Authority,
        "tls_authority_expiry_seconds",
        "file",
        "When the first authority of the file lapses, in seconds since 1970.",
    ),
    (
        TlsLapsing::RevocationList,
        "tls_revocation_list_expiry_seconds",
        "file",
        "When the first revocation list of the file lapses, in seconds since 1970.",
    ),
    (
        TlsLapsing::Staple,
        "tls_staple_expiry_seconds",
        "file",
        "When the OCSP response lapses, in seconds since 1970; it is not shown to clients from \
         then on.",
    ),
];

/// Of each file of each table the entry that lapses first: a file may be named twice, and may hold
/// several of a kind.
fn soonest(rows: &[TlsRow], kind: TlsLapsing) -> impl Iterator<Item = (&str, &TlsExpiry)> {
    rows.iter().flat_map(move |row| {
        let wanted = row.expiries.iter().filter(move |it| it.kind == kind);
        let first = move |it: &&TlsExpiry| {
            let same =
                row.expiries.iter().filter(|other| other.kind == kind && other.file == it.file);
            same.min_by_key(|other| other.until).is_some_and(|first| std::ptr::eq(first, *it))
        };
        wanted.filter(first).map(|it| (&*row.table, it))
    })
}
