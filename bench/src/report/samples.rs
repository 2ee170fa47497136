//! Owns the figures of a file of results as sets of repeated measurements, each with a name that
//! another file has it by as well.

use super::compared::{Comparison, Row, Work};
use super::groups::Group;
use super::metric::Metric;
use super::results::{Loaded, Results};
use super::units;
use crate::figures::Run;

/// Repeated measurements of one figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What was asked: the work, or protocol, connections and rate.
    pub load: String,
    pub candidate: String,
    pub metric: Metric,
    pub values: Vec<f64>,
}

impl Sample {
    pub fn is_of_the_same(&self, other: &Self) -> bool {
        self.load == other.load && self.candidate == other.candidate && self.metric == other.metric
    }
}

pub fn samples(loaded: &Loaded) -> Vec<Sample> {
    let all = match loaded {
        Loaded::Results(results) => {
            Group::all(&comparable(results)).iter().flat_map(of_group).collect()
        }
        Loaded::Comparison(comparison) => of_comparison(comparison),
    };
    all.into_iter().filter(|sample| !sample.values.is_empty()).collect()
}

/// The runs; of a soak its quiet windows, as a trick is no property of the proxy.
fn comparable(results: &Results) -> Vec<Run> {
    let runs = results.document.runs.iter().enumerate();
    let soak = results.soak.as_ref().filter(|soak| soak.windows == results.document.runs.len());
    let kept = runs.filter(|(number, _)| soak.is_none_or(|soak| soak.is_quiet(*number)));
    kept.map(|(_, run)| run.clone()).collect()
}

fn of_group(group: &Group) -> Vec<Sample> {
    let of = |metric, values: Vec<f64>| Sample {
        load: group.load(),
        candidate: group.candidate().to_owned(),
        metric,
        values,
    };
    let figure = |figure: fn(&Run) -> Option<f64>| group.values(figure);
    let quantile = |share: f64| {
        let answered = group.runs.iter().filter(|run| !run.latency.is_empty());
        answered.map(|run| run.latency.quantile(share) as f64).collect()
    };
    let rate = if group.is_paced() { vec![] } else { figure(|run| Some(run.achieved)) };
    let failed = figure(|run| {
        let failed = run.counts.failed() as f64 / run.counts.sent.max(1) as f64;
        (failed > 0.0).then_some(failed)
    });
    vec![
        of(Metric::Rate, rate),
        of(Metric::CpuPerUnit, figure(|run| run.cpu_per_unit())),
        of(Metric::SystemCalls, figure(|run| run.system_calls_per_unit())),
        of(Metric::MemoryAtMost, figure(|run| run.memory_per_connection())),
        of(Metric::P50, quantile(0.5)),
        of(Metric::P99, quantile(0.99)),
        of(Metric::P999, quantile(0.999)),
        of(Metric::Failed, failed),
    ]
}

pub fn of_comparison(comparison: &Comparison) -> Vec<Sample> {
    let works = comparison.works.iter();
    let mut all: Vec<Sample> =
        works.flat_map(|work| work.rows.iter().flat_map(|row| of_row(work, row))).collect();
    for memory in &comparison.memory {
        all.extend(memory.rows.iter().map(|row| Sample {
            load: memory.work.clone(),
            candidate: row.candidate.clone(),
            metric: Metric::MemoryPerConnection,
            values: row.runs.iter().map(|run| run.pss_per_connection).collect(),
        }));
    }
    all
}

fn of_row(work: &Work, row: &Row) -> Vec<Sample> {
    let (rate, cpu, cpu_full) = match work.is_stream() {
        true => (Metric::BytesPerSecond, Metric::CpuPerByte, Metric::CpuPerByteFull),
        false => (Metric::Rate, Metric::CpuPerUnit, Metric::CpuPerUnitFull),
    };
    let of = |metric, load: &str, values: Vec<f64>| Sample {
        load: load.to_owned(),
        candidate: row.candidate.clone(),
        metric,
        values,
    };
    // What a unit costs follows the rate, so rates that differ are different loads.
    let unit = if work.is_stream() { "B" } else { "" };
    let paced = match work.offered {
        Some(offered) => format!("{} at {}{unit}/s", work.work, units::number(offered)),
        None => work.work.clone(),
    };
    let latency = |figure: fn(&super::compared::Latency) -> f64| {
        row.paced.iter().filter_map(|run| run.latency.as_ref()).map(figure).collect()
    };
    vec![
        of(cpu, &paced, row.paced.iter().map(|run| run.cpu).collect()),
        of(Metric::P50, &paced, latency(|of| of.p50)),
        of(Metric::P99, &paced, latency(|of| of.p99)),
        of(Metric::P999, &paced, latency(|of| of.p99_9)),
        of(rate, &work.work, row.full.iter().map(|run| run.rate).collect()),
        of(cpu_full, &work.work, row.full.iter().map(|run| run.cpu).collect()),
    ]
}
