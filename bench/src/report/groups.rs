//! Owns which runs are repeats of each other, and the table of what they came to.

use super::table::{aligned, cell, row};
use super::units;
use crate::figures::{Latency, PERCENTILES, Run};
use crate::judge::{Estimate, is_generator_limited};

/// Runs of one candidate under one load. There is one at least.
pub struct Group<'a> {
    pub runs: Vec<&'a Run>,
}

impl<'a> Group<'a> {
    /// In the order in which they were first run.
    pub fn all(runs: &'a [Run]) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for run in runs {
            match groups.iter_mut().find(|group| is_repeat(group.runs[0], run)) {
                Some(group) => group.runs.push(run),
                None => groups.push(Self { runs: vec![run] }),
            }
        }
        groups
    }

    pub fn candidate(&self) -> &'a str {
        &self.runs[0].candidate
    }

    pub fn protocol(&self) -> &'a str {
        &self.runs[0].protocol
    }

    pub fn offered(&self) -> Option<f64> {
        self.runs[0].offered
    }

    pub fn is_paced(&self) -> bool {
        self.offered().is_some()
    }

    /// All but the candidate.
    pub fn load(&self) -> String {
        let [_, protocol, connections, workers, rate] = self.parts();
        match self.runs[0].workers {
            0 | 1 => format!("{protocol}, {connections}, {rate}"),
            _ => format!("{protocol}, {connections}, {workers}, {rate}"),
        }
    }

    /// What sets each of these apart from the others, and no more; at least the rate.
    pub fn labels(groups: &[&Self]) -> Vec<String> {
        let parts: Vec<[String; 5]> = groups.iter().map(|group| group.parts()).collect();
        let differs = |at: usize| parts.iter().any(|part| part[at] != parts[0][at]);
        let label = |part: &[String; 5]| {
            let kept: Vec<&str> = (0..part.len())
                .filter(|&at| at == RATE || differs(at))
                .map(|at| part[at].as_str())
                .collect();
            kept.join(", ")
        };
        parts.iter().map(label).collect()
    }

    fn parts(&self) -> [String; 5] {
        let run = self.runs[0];
        let connections = format!("{} connections", run.connections);
        let workers = match run.workers {
            0 => "no proxy".to_owned(),
            1 => "1 worker".to_owned(),
            several => format!("{several} workers"),
        };
        [run.candidate.clone(), run.protocol.clone(), connections, workers, self.rate()]
    }

    fn rate(&self) -> String {
        match self.offered() {
            Some(rate) => format!("{}/s", units::number(rate)),
            None => "full speed".to_owned(),
        }
    }

    pub fn values(&self, figure: impl Fn(&Run) -> Option<f64>) -> Vec<f64> {
        self.runs.iter().filter_map(|run| figure(run)).collect()
    }

    pub fn estimate(&self, figure: impl Fn(&Run) -> Option<f64>) -> Option<Estimate> {
        Estimate::of(self.values(figure))
    }

    /// The latencies of all repeats together.
    pub fn latency(&self) -> Latency {
        let mut all = Latency::new();
        self.runs.iter().for_each(|run| all.merge(&run.latency));
        all
    }
}

/// The place of the rate among the parts of a name.
const RATE: usize = 4;

fn is_repeat(run: &Run, other: &Run) -> bool {
    let load = |run: &Run| (run.offered.map(f64::to_bits), run.connections, run.workers);
    run.candidate == other.candidate && run.protocol == other.protocol && load(run) == load(other)
}

/// One line for each group; repeats as medians, with the interval where it is asked most.
pub fn runs_table(runs: &[Run]) -> String {
    let groups = Group::all(runs);
    let head = ["candidate", "load", "runs", "carried/s", "CPU us/unit", "[interval]"];
    let mut head = row(head);
    head.extend(PERCENTILES.iter().map(|(_, name)| format!("{name} us")));
    head.extend(row(["max us", "calls/unit", "PSS MiB", "failed"]));
    let mut lines = vec![head];
    lines.extend(groups.iter().map(group_line));
    let mut text = aligned(2, &lines);
    if runs.iter().any(is_generator_limited) {
        text += "*: the generator was the limit, not the proxy\n";
    }
    text
}

fn group_line(group: &Group) -> Vec<String> {
    let is_limited = group.runs.iter().any(|run| is_generator_limited(run));
    let limited = if is_limited { "*" } else { "" };
    let carried = group.estimate(|run| Some(run.achieved));
    let cpu = group.estimate(Run::cpu_per_unit).map(|cpu| cpu.scaled(1e-3));
    let latency = group.latency();
    let micros = |nanoseconds: u64| match latency.is_empty() {
        true => cell(None),
        false => units::digits(nanoseconds as f64 / 1e3),
    };
    let failed: u64 = group.runs.iter().map(|run| run.counts.failed()).sum();
    let memory = group.estimate(|run| run.cost.as_ref().map(|cost| cost.memory_pss as f64));
    let mut line = vec![
        group.candidate().to_owned(),
        group.load(),
        group.runs.len().to_string(),
        cell(carried.map(|rate| format!("{}{limited}", units::digits(rate.median)))),
        cell(cpu.map(|cpu| units::digits(cpu.median))),
        cell(cpu.map(|cpu| format!("[{}..{}]", units::digits(cpu.low), units::digits(cpu.high)))),
    ];
    line.extend(PERCENTILES.iter().map(|(share, _)| micros(latency.quantile(*share))));
    line.extend([
        micros(latency.max()),
        cell(group.estimate(Run::system_calls_per_unit).map(|of| units::digits(of.median))),
        cell(memory.map(|memory| units::digits(memory.median / 1024.0 / 1024.0))),
        failed.to_string(),
    ]);
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::sample;

    #[test]
    fn repeats_are_those_of_one_candidate_under_one_load() {
        let runs = [
            sample("ringmain", 1000.0),
            sample("haproxy", 1000.0),
            sample("ringmain", 1000.0),
            sample("ringmain", 2000.0),
        ];
        let groups = Group::all(&runs);
        let sizes: Vec<usize> = groups.iter().map(|group| group.runs.len()).collect();
        assert_eq!(sizes, [2, 1, 1]);
        assert_eq!(groups[0].latency().count(), 20_000);
    }

    #[test]
    fn a_label_is_what_sets_a_group_apart() {
        let runs = [sample("ringmain", 1000.0), sample("haproxy", 1000.0)];
        let groups = Group::all(&runs);
        let both: Vec<&Group> = groups.iter().collect();
        assert_eq!(Group::labels(&both), ["ringmain, 1000/s", "haproxy, 1000/s"]);
        assert_eq!(Group::labels(&both[..1]), ["1000/s"]);
        assert!(Group::labels(&[]).is_empty());
        let runs = [Run { workers: 2, ..sample("ringmain", 1000.0) }, sample("ringmain", 1000.0)];
        let groups = Group::all(&runs);
        let both: Vec<&Group> = groups.iter().collect();
        assert_eq!(Group::labels(&both), ["2 workers, 1000/s", "1 worker, 1000/s"]);
        assert_eq!(groups[0].load(), "tcp-echo, 64 connections, 2 workers, 1000/s");
    }

    #[test]
    fn the_table_has_every_column_on_every_line() {
        let mut limited = sample("haproxy", 1000.0);
        limited.generator.generator = 1.0;
        limited.latency = Latency::new();
        let table = runs_table(&[sample("ringmain", 1000.0), limited]);
        assert!(table.contains("1000*"), "{table}");
        assert!(table.contains("p99.99 us"), "{table}");
        let columns = |line: &str| line.split("  ").filter(|cell| !cell.is_empty()).count();
        let counts: Vec<usize> = table.lines().take(3).map(columns).collect();
        assert_eq!(counts, [15, 15, 15], "{table}");
    }
}
