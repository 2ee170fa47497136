//! How the demo looks: aligned lines, and units a person reads. Knows no order of events.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::observe::AccessRecord;

/// Where lines are shown.
pub(super) struct Screen<'a> {
    out: &'a mut dyn Write,
    bold: bool,
}

impl<'a> Screen<'a> {
    pub(super) fn new(out: &'a mut dyn Write, bold: bool) -> Screen<'a> {
        Screen { out, bold }
    }

    /// Shows a line. Where nobody reads any more, what is shown does not matter.
    pub(super) fn line(&mut self, text: impl Display) {
        writeln!(self.out, "{text}").and_then(|()| self.out.flush()).unwrap_or_default();
    }

    /// An empty line and a title.
    pub(super) fn title(&mut self, title: &str, about: impl Display) {
        let (on, off) = if self.bold { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        self.line(format_args!("\n{on}{title:<10}{off}{about}"));
    }

    /// Something known under a name.
    pub(super) fn fact(&mut self, name: &str, text: impl Display) {
        self.line(format_args!("  {name:<10}{text}"));
    }

    /// One session of the tour.
    pub(super) fn session(&mut self, record: &AccessRecord) {
        self.fact(backend(record), course(record));
    }

    /// One session of somebody else.
    pub(super) fn visitor(&mut self, record: &AccessRecord) {
        let client = record.client.map_or("-".to_owned(), |client| client.to_string());
        self.line(format_args!(
            "  {:<10}{client:<21} -> {:<8}  {}",
            record.listener,
            backend(record),
            course(record)
        ));
    }

    /// Many sessions, summed up by backend, and in all.
    pub(super) fn sessions(&mut self, records: &[AccessRecord]) {
        self.shares(records);
        let there = bytes(records.iter().map(|record| record.bytes_to_backend).sum());
        let back = bytes(records.iter().map(|record| record.bytes_to_client).sum());
        let modes: BTreeSet<_> = records.iter().map(modes).collect();
        let modes: Vec<_> = modes.into_iter().collect();
        self.fact("relayed", format_args!("{there} there, {back} back; {}", modes.join(", ")));
    }

    /// What was agreed on where TLS ended here.
    pub(super) fn handshakes(&mut self, records: &[AccessRecord]) {
        let agreed = records.iter().filter_map(|record| record.tls.as_deref());
        let resumed = agreed.clone().filter(|tls| tls.resumed).count();
        let spoken: BTreeSet<_> = agreed
            .filter_map(|tls| Some(format!("TLS {} with {}", tls.version?, tls.cipher?)))
            .collect();
        let spoken: Vec<_> = spoken.into_iter().collect();
        let full = records.len() - resumed;
        self.fact("agreed", format_args!("{}; {full} full, {resumed} resumed", spoken.join(", ")));
    }

    /// Who served how many.
    fn shares(&mut self, records: &[AccessRecord]) {
        let mut backends: BTreeMap<&str, Vec<&AccessRecord>> = BTreeMap::new();
        for record in records {
            backends.entry(backend(record)).or_default().push(record);
        }
        for (backend, records) in backends {
            let mut workers: BTreeMap<u16, usize> = BTreeMap::new();
            for record in &records {
                *workers.entry(record.worker).or_default() += 1;
            }
            let workers: Vec<_> = workers
                .iter()
                .map(|(worker, count)| format!("{count} by worker {worker}"))
                .collect();
            let count = records.len();
            self.fact(backend, format_args!("{count} sessions: {}", workers.join(", ")));
        }
    }
}

fn backend(record: &AccessRecord) -> &str {
    record.backend.as_deref().unwrap_or("-")
}

/// How each direction was relayed, as in the access log.
fn modes(record: &AccessRecord) -> String {
    format!("{}/{}", record.relay_to_backend.as_str(), record.relay_to_client.as_str())
}

/// What happened to a session, in columns.
fn course(record: &AccessRecord) -> String {
    format!(
        "worker {}  {:>8} there  {:>8} back  {:<13}  {:>8}  {}",
        record.worker,
        bytes(record.bytes_to_backend),
        bytes(record.bytes_to_client),
        modes(record),
        duration(record.total),
        record.reason.as_str()
    )
}

/// Whether titles on standard output are bold: on a terminal, unless `NO_COLOR` is set.
pub(super) fn is_bold(stdout: &io::Stdout) -> bool {
    let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stdout.is_terminal() && !plain
}

/// With the unit that fits, and a decimal where whole numbers would say little.
pub(super) fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, 1000.0, &["B", "kB", "MB", "GB", "TB"])
}

pub(super) fn duration(duration: Duration) -> String {
    scaled(duration.as_secs_f64() * 1e6, 1000.0, &["µs", "ms", "s"])
}

pub(super) fn per_second(bytes_moved: u64, took: Duration) -> String {
    let rate = bytes_moved as f64 / took.as_secs_f64().max(1e-9);
    format!("{}/s", bytes(rate as u64))
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let decimals = if unit == 0 || value >= 100.0 { 0 } else { 1 };
    format!("{value:.decimals$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_unit_that_fits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(12_345), "12.3 kB");
        assert_eq!(bytes(256_000_000), "256 MB");
        assert_eq!(duration(Duration::from_micros(412)), "412 µs");
        assert_eq!(duration(Duration::from_micros(5_071)), "5.1 ms");
        assert_eq!(duration(Duration::from_secs(5000)), "5000 s");
        assert_eq!(per_second(3_000_000, Duration::from_millis(500)), "6.0 MB/s");
    }

    #[test]
    fn a_plain_screen_shows_no_escape_codes() {
        let mut shown = Vec::new();
        Screen::new(&mut shown, false).title("Lines", "one connection");
        assert_eq!(shown, b"\nLines     one connection\n");
    }
}
