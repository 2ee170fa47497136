//! Owns the presentation of a comparison as a whole, as text and as JSON; it measures nothing.

use std::path::Path;
use std::{fs, io};

use serde::Serialize;

use super::candidate::Candidate;
use super::congestion;
use super::cpus::Cpus;
use super::failure::Failure;
use super::memory::MemoryReport;
use super::works::WorkReport;
use crate::report;

#[derive(Serialize)]
pub struct Comparison {
    pub host: Host,
    pub rounds: u32,
    pub seconds_paced: f64,
    pub seconds_full: f64,
    pub contestants: Vec<Contestant>,
    pub works: Vec<WorkReport>,
    pub memory: Vec<MemoryReport>,
}

#[derive(Serialize)]
pub struct Host {
    kernel: String,
    cpu_model: String,
    proxy_cpu: usize,
    load_cpu: usize,
    congestion: String,
}

#[derive(Serialize)]
pub struct Contestant {
    pub candidate: Candidate,
    pub version: String,
    /// The text of its file, or its arguments.
    pub configuration: String,
}

impl Comparison {
    pub fn header(&self) -> String {
        let host = &self.host;
        let mut text = format!(
            "{}, Linux {}, proxy on CPU {}, load on CPU {}, {}\n\
             {} rounds of {} s paced and {} s at full speed\n",
            host.cpu_model,
            host.kernel,
            host.proxy_cpu,
            host.load_cpu,
            host.congestion,
            self.rounds,
            self.seconds_paced,
            self.seconds_full,
        );
        for contestant in &self.contestants {
            text += &format!("{}: {}\n", contestant.candidate.as_str(), contestant.version);
        }
        text
    }

    /// Writes compare.json, compare.html and compare.txt.
    pub fn save(&self, directory: &Path) -> Result<(), Failure> {
        fs::create_dir_all(directory)?;
        let json = serde_json::to_vec_pretty(self).map_err(io::Error::from)?;
        fs::write(directory.join("compare.json"), json)?;
        report::save_page(&directory.join("compare.json"), &directory.join("compare.html"))?;
        let works = self.works.iter().map(WorkReport::table);
        let tables: Vec<String> =
            works.chain(self.memory.iter().map(MemoryReport::table)).collect();
        let configurations: String = self.contestants.iter().map(Contestant::shown).collect();
        let text = format!("{}\n{}\n{configurations}", self.header(), tables.join("\n"));
        fs::write(directory.join("compare.txt"), text)?;
        eprintln!("saved in {}", directory.display());
        Ok(())
    }
}

impl Contestant {
    fn shown(&self) -> String {
        let (name, rule) = (self.candidate.as_str(), "-".repeat(40));
        format!("{rule}\nconfiguration of {name}\n{rule}\n{}\n", self.configuration)
    }
}

impl Host {
    pub fn describe(cpus: Cpus) -> io::Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        Ok(Self {
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            cpu_model: model.unwrap_or("CPU").trim_start_matches([' ', '\t', ':']).to_owned(),
            proxy_cpu: cpus.proxy,
            load_cpu: cpus.load,
            congestion: congestion::current()?,
        })
    }
}
