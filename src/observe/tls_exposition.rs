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
    /// Else it is a revocation list.
    pub is_certificate: bool,
    pub file: String,
    /// In seconds since 1970.
    pub until: u64,
}

pub(super) fn encode(rows: &[TlsRow], encoder: &mut DescriptorEncoder) -> fmt::Result {
    let help = "When the certificate lapses, in seconds since 1970.";
    let mut family =
        encoder.encode_descriptor("tls_certificate_expiry_seconds", help, None, Gauge)?;
    for (table, expiry) in soonest(rows, true) {
        sample(&mut family, &[("tls", table), ("certificate", &expiry.file)], expiry.until)?;
    }

    let help = "When the first revocation list of the file lapses, in seconds since 1970.";
    let name = "tls_revocation_list_expiry_seconds";
    let mut family = encoder.encode_descriptor(name, help, None, Gauge)?;
    for (table, expiry) in soonest(rows, false) {
        sample(&mut family, &[("tls", table), ("file", &expiry.file)], expiry.until)?;
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

/// Of each file of each table the entry that lapses first: a file may be named twice, and may hold
/// several lists.
fn soonest(rows: &[TlsRow], certificates: bool) -> impl Iterator<Item = (&str, &TlsExpiry)> {
    rows.iter().flat_map(move |row| {
        let wanted = row.expiries.iter().filter(move |it| it.is_certificate == certificates);
        let first = move |it: &&TlsExpiry| {
            let same = row
                .expiries
                .iter()
                .filter(|other| other.is_certificate == certificates && other.file == it.file);
            same.min_by_key(|other| other.until).is_some_and(|first| std::ptr::eq(first, *it))
        };
        wanted.filter(first).map(|it| (&*row.table, it))
    })
}
