//! Owns the reading of a compare.json; `compare` writes it.

use serde::Deserialize;

use crate::figures::{self, Run};

/// What `compare` found; fields that are not shown are not read.
#[derive(Debug, Deserialize)]
pub struct Comparison {
    /// Older files do not say who wrote them, nor by which command.
    #[serde(default)]
    pub tool: String,
    #[serde(default)]
    pub command: Vec<String>,
    pub host: Host,
    pub rounds: u32,
    pub contestants: Vec<Contestant>,
    pub works: Vec<Work>,
    /// Older files have none.
    #[serde(default)]
    pub memory: Vec<Memory>,
    /// Those at the offered rates, with all of their latencies. Older files have none.
    #[serde(default)]
    pub runs: Vec<Run>,
}

#[derive(Debug, Deserialize)]
pub struct Host {
    #[serde(flatten)]
    pub survey: figures::Host,
    pub proxy_cpu: u32,
    pub load_cpu: u32,
    pub congestion: String,
}

#[derive(Debug, Deserialize)]
pub struct Contestant {
    pub candidate: String,
    pub version: String,
    #[serde(default)]
    pub configuration: String,
}

#[derive(Debug, Deserialize)]
pub struct Work {
    pub work: String,
    pub offered: Option<f64>,
    pub rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
pub struct Row {
    pub candidate: String,
    pub full: Vec<Figures>,
    pub paced: Vec<Figures>,
}

#[derive(Debug, Deserialize)]
pub struct Figures {
    pub rate: f64,
    /// Nanoseconds per unit.
    pub cpu: f64,
    pub latency: Option<Latency>,
}

#[derive(Debug, Deserialize)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub p99_9: f64,
}

#[derive(Debug, Deserialize)]
pub struct Memory {
    pub work: String,
    pub rows: Vec<MemoryRow>,
}

#[derive(Debug, Deserialize)]
pub struct MemoryRow {
    pub candidate: String,
    pub runs: Vec<MemoryRun>,
}

#[derive(Debug, Deserialize)]
pub struct MemoryRun {
    pub pss_per_connection: f64,
}

impl Work {
    /// The works that stream have bytes for units.
    pub fn is_stream(&self) -> bool {
        self.work == "bulk" || self.work.contains("load-")
    }
}
