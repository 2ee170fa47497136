//! Owns what a process tree has in memory, and what a connection adds to it; it opens none.

use std::path::Path;
use std::{fs, io};

use serde::Serialize;

use super::candidate::Candidate;
use super::table::faults;
use super::usage;
use super::work::Work;
use crate::judge::Estimate;
use crate::report::table::{aligned, cell};

/// Bytes in memory at one moment, of user space alone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Footprint {
    /// Pages that are shared are divided by those who share them.
    pub pss: u64,
    pub rss: u64,
}

/// One run.
#[derive(Clone, Copy, Serialize)]
pub struct Memory {
    pub few: Footprint,
    pub all: Footprint,
    /// Bytes that each further connection has added.
    pub pss_per_connection: f64,
    pub rss_per_connection: f64,
}

/// All runs of one candidate.
#[derive(Serialize)]
pub struct MemoryRow {
    pub candidate: Candidate,
    pub runs: Vec<Memory>,
    pub faults: Vec<String>,
}

#[derive(Serialize)]
pub struct MemoryReport {
    pub work: Work,
    pub connections: usize,
    pub rows: Vec<MemoryRow>,
}

impl Footprint {
    /// Of the process `root` and everything it has started.
    pub fn take(root: u32) -> io::Result<Self> {
        let mut sum = Self { pss: 0, rss: 0 };
        for process in usage::tree_of(root)? {
            let path = Path::new("/proc").join(process.to_string()).join("smaps_rollup");
            let text = match fs::read_to_string(path) {
                Ok(text) => text,
                // What it has started may end between the listing and this; then it holds nothing.
                Err(_) if process != root => continue,
                Err(error) => return Err(error),
            };
            let part = Self::parse(&text).ok_or(io::ErrorKind::InvalidData)?;
            sum = Self { pss: sum.pss + part.pss, rss: sum.rss + part.rss };
        }
        Ok(sum)
    }

    /// proc_pid_smaps_rollup: `Pss:  123 kB`.
    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name))?;
            let kilobytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
            Some(kilobytes * 1024)
        };
        Some(Self { pss: field("Pss:")?, rss: field("Rss:")? })
    }
}

impl Memory {
    pub fn of(few: Footprint, all: Footprint, connections: usize) -> Self {
        let each = |few: u64, all: u64| (all as f64 - few as f64) / connections as f64;
        Self {
            few,
            all,
            pss_per_connection: each(few.pss, all.pss),
            rss_per_connection: each(few.rss, all.rss),
        }
    }

    /// One line, for progress.
    pub fn summary(&self) -> String {
        format!("{:.1} KiB/connection", self.pss_per_connection / KIB)
    }
}

impl MemoryRow {
    pub fn new(candidate: Candidate) -> Self {
        Self { candidate, runs: Vec::new(), faults: Vec::new() }
    }

    fn spread(&self, of: impl Fn(&Memory) -> f64) -> Option<Estimate> {
        Estimate::of(self.runs.iter().map(of))
    }

    fn per_connection(&self) -> Option<Estimate> {
        self.spread(|run| run.pss_per_connection / KIB)
    }

    fn cells(&self, best: Option<f64>) -> [String; 7] {
        let own = self.per_connection();
        let median = |spread: Option<Estimate>| cell(spread.map(|of| format!("{:.1}", of.median)));
        [
            self.candidate.as_str().to_owned(),
            median(own),
            cell(own.map(|own| format!("[{:.1}..{:.1}]", own.low, own.high))),
            cell(own.zip(best).map(|(own, best)| format!("{:.2}", own.median / best))),
            median(self.spread(|run| run.rss_per_connection / KIB)),
            median(self.spread(|run| run.few.pss as f64 / MIB)),
            median(self.spread(|run| run.all.pss as f64 / MIB)),
        ]
    }
}

impl MemoryReport {
    /// Whether any run of any candidate counted.
    pub fn has_figures(&self) -> bool {
        self.rows.iter().any(|row| !row.runs.is_empty())
    }

    pub fn table(&self) -> String {
        let mut lines = vec![
            [
                "candidate",
                "KiB/connection",
                "[interval]",
                "ratio",
                "by RSS",
                "MiB with few",
                "MiB with all",
            ]
            .map(str::to_owned),
        ];
        let references = self.rows.iter().filter(|row| row.candidate.is_reference());
        let medians = references.filter_map(MemoryRow::per_connection).map(|own| own.median);
        let best = medians.min_by(f64::total_cmp);
        lines.extend(self.rows.iter().map(|row| row.cells(best)));
        let (work, connections) = (self.work.as_str(), self.connections);
        let mut text = format!("{work}, {connections} quiet connections\n");
        text += &aligned(1, &lines);
        for row in &self.rows {
            text += &faults(row.candidate.as_str(), &row.faults, row.runs.len());
        }
        text
    }
}

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * 1024.0;

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    use super::*;

    #[test]
    fn the_sums_of_a_process_are_found_by_their_whole_name() {
        let text = "55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss:   4 kB\nPss:   3 kB\n\
                    Pss_Dirty:   2 kB\nSwapPss:   1 kB\n";
        assert_eq!(Footprint::parse(text), Some(Footprint { pss: 3072, rss: 4096 }));
        assert_eq!(Footprint::parse("Pss: 3 kB\n"), None);
    }

    #[test]
    fn a_child_that_has_ended_holds_nothing() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_child(&child)), ended).unwrap();
        // It is still listed until somebody has waited for it.
        assert!(Footprint::take(std::process::id()).unwrap().pss > 0);
        assert!(Footprint::take(child.id()).is_err());
        child.wait().unwrap();
    }

    #[test]
    fn memory_that_is_touched_is_seen() {
        let before = Footprint::take(std::process::id()).unwrap();
        let touched = vec![1u8; 64 << 20];
        let after = Footprint::take(std::process::id()).unwrap();
        assert_eq!(touched.iter().filter(|&&byte| byte == 1).count(), 64 << 20);
        // Other tests take and give back memory of the same process.
        assert!(after.pss > before.pss + (48 << 20), "{before:?} {after:?}");
    }

    #[test]
    fn what_a_process_has_started_is_added_up() {
        let mut command = Command::new("sh");
        command.args(["-c", "(sh -c 'echo; read end'); true"]);
        let mut outer = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // All of them wait for something from then on.
        outer.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let each: Vec<Footprint> = usage::tree_of(outer.id())
            .unwrap()
            .into_iter()
            .map(|id| fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap())
            .map(|text| Footprint::parse(&text).unwrap())
            .collect();
        let whole = Footprint::take(outer.id()).unwrap();
        outer.kill().unwrap();
        drop(outer.stdin.take());
        outer.wait().unwrap();
        assert!(each.len() > 1, "{each:?}");
        assert_eq!(whole.rss, each.iter().map(|of| of.rss).sum::<u64>());
        // With whom pages are shared may change meanwhile.
        let pss = each.iter().map(|of| of.pss).sum::<u64>() as f64;
        assert!((whole.pss as f64 / pss - 1.0).abs() < 0.2, "{whole:?} {each:?}");
    }

    #[test]
    fn the_ratio_is_to_the_least_of_haproxy_and_nginx() {
        let row = |candidate, all| {
            let few = Footprint { pss: 1 << 20, rss: 3 << 20 };
            let all = Footprint { pss: all, rss: (3 << 20) + 2 * (all - few.pss) };
            let runs = vec![Memory::of(few, all, 1024)];
            let each = (all.pss - few.pss) >> 20;
            assert_eq!(runs[0].summary(), format!("{each}.0 KiB/connection"));
            let faults = vec!["not_held".to_owned()];
            MemoryRow { candidate, runs, faults }
        };
        let rows = vec![
            row(Candidate::Ringmain, 5 << 20),
            row(Candidate::Haproxy, 9 << 20),
            row(Candidate::Nginx, 17 << 20),
        ];
        let table = MemoryReport { work: Work::Idle, connections: 1024, rows }.table();
        let cells = |name: &str| {
            let line = table.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(cells("ringmain")[1..], ["4.0", "[4.0..4.0]", "0.50", "8.0", "1.0", "5.0"]);
        assert_eq!(cells("nginx")[3], "2.00");
        assert!(table.contains("haproxy: 1 of 2 runs failed: not_held\n"), "{table}");
    }
}
