//! Owns Knot DNS as the nameserver of one zone, which is edited while it serves.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::address;
use super::process::{Process, bounded, run};

/// It is killed when it is dropped.
pub struct Knot {
    _process: Process,
    folder: TempDir,
    zone: String,
    pub address: SocketAddr,
}

impl Knot {
    /// A record is its owner, relative to the zone or with a trailing dot, its type and its data:
    /// `agg-0 A 127.0.0.2`.
    pub fn start(zone: &str, records: &[String]) -> Knot {
        let folder = TempDir::new().unwrap();
        let address = address::own();
        let mut text = format!(
            "$ORIGIN {zone}.\n$TTL {TTL}\n\
             @ SOA ns hostmaster 1 3600 600 86400 {TTL}\n@ NS ns\nns A {}\n",
            address.ip()
        );
        for record in records {
            writeln!(text, "{record}").unwrap();
        }
        fs::write(folder.path().join("zone"), text).unwrap();
        let file = folder.path().join("knot.conf");
        fs::write(&file, configuration(folder.path(), address, zone)).unwrap();
        let process = Process::start(Command::new("knotd").arg("--config").arg(&file));
        let started = process.stderr.until("control, binding to");
        let refused = started.iter().find(|line| line.contains("error"));
        assert_eq!(refused, None, "{started:#?}");
        Knot { _process: process, folder, zone: zone.to_owned(), address }
    }

    /// Takes records away and adds others in one transaction: once this returns, all answers are
    /// the new ones.
    pub fn replace(&self, removed: &[String], added: &[String]) {
        self.control("zone-begin", &[]);
        for record in removed {
            self.control("zone-unset", &record.split(' ').collect::<Vec<_>>());
        }
        for record in added {
            let mut words: Vec<&str> = record.split(' ').collect();
            words.insert(1, TTL);
            self.control("zone-set", &words);
        }
        self.control("zone-commit", &[]);
    }

    fn control(&self, verb: &str, words: &[&str]) {
        let mut knotc = bounded("knotc");
        knotc.arg("--socket").arg(self.folder.path().join("control"));
        run(knotc.args([verb, &self.zone]).args(words), Vec::new());
    }
}

/// The zone lives in memory: what is edited is not written back, and no journal is kept.
fn configuration(folder: &Path, address: SocketAddr, zone: &str) -> String {
    let folder = folder.display();
    let (ip, port) = (address.ip(), address.port());
    format!(
        r#"
server:
    rundir: "{folder}"
    listen: {ip}@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
control:
    listen: "{folder}/control"
log:
  - target: stderr
    any: info
database:
    storage: "{folder}"
zone:
  - domain: {zone}
    storage: "{folder}"
    file: zone
    zonefile-load: whole
    zonefile-sync: -1
    journal-content: none
"#
    )
}

/// Seconds that an answer may be kept.
const TTL: &str = "1";
