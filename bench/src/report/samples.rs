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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Document, Host, sample};
    use crate::soak::{Soak, Trick};

    fn of(results: Results, metric: Metric) -> Vec<f64> {
        let all = samples(&Loaded::Results(Box::new(results)));
        let of = all.into_iter().find(|sample| sample.metric == metric);
        of.map_or(Vec::new(), |sample| sample.values)
    }

    fn results(runs: Vec<Run>) -> Results {
        Results::new(Document::new(Vec::new(), 0, Host::default(), runs))
    }

    #[test]
    fn figures_are_those_of_each_run() {
        let mut run = sample("ringmain", 100.0);
        run.latency = crate::figures::Latency::new();
        for (nanoseconds, count) in [(1_000, 5_000), (2_000, 4_940), (3_000, 55), (4_000, 5)] {
            run.latency.record_n(nanoseconds, count);
        }
        run.counts.lost = 10;
        let figures = |metric| of(results(vec![run.clone(); 2]), metric);
        for (metric, value) in [
            (Metric::CpuPerUnit, 1e4),
            (Metric::SystemCalls, 2.0),
            (Metric::P50, 1e3),
            (Metric::P99, 2e3),
            (Metric::P999, 3e3),
            (Metric::Failed, 0.01),
        ] {
            let values = figures(metric);
            assert!(
                values.iter().all(|of| (of / value - 1.0).abs() < 0.01),
                "{metric:?} {values:?}"
            );
            assert_eq!(values.len(), 2, "{metric:?}");
        }
        // What was asked for is no figure of who carried it.
        assert!(figures(Metric::Rate).is_empty());
        run.offered = None;
        assert_eq!(of(results(vec![run]), Metric::Rate), [100.0]);
    }

    #[test]
    fn windows_of_a_soak_in_which_something_was_done_are_no_samples() {
        let mut results = results(vec![sample("ringmain", 100.0); 5]);
        results.soak = Some(Soak {
            seed: 1,
            length: 50.0,
            windows: 5,
            drifts: Vec::new(),
            tricks: vec![(1, Trick::Pause)],
            failed_quiet: 0,
            failed_disturbed: 0,
            limited: 0,
            ended: None,
            left_out: Vec::new(),
        });
        assert_eq!(of(results.clone(), Metric::CpuPerUnit).len(), 3);
        results.soak = None;
        assert_eq!(of(results, Metric::CpuPerUnit).len(), 5);
    }

    #[test]
    fn candidates_of_a_comparison_have_figures_at_both_speeds() {
        let text = r#"{"contestants": [], "rounds": 1,
            "host": {"proxy_cpu": 1, "load_cpu": 0, "congestion": "cubic"},
            "works": [{"work": "connect-fin", "offered": 50.0, "rows": [{"candidate": "nginx",
                "full": [{"rate": 90.0, "cpu": 7.0, "latency": null}],
                "paced": [{"rate": 50.0, "cpu": 9.0,
                    "latency": {"p50": 1, "p99": 2, "p99_9": 3}}]}]}],
            "memory": [{"work": "idle", "rows": [{"candidate": "nginx",
                "runs": [{"pss_per_connection": 500.0}]}]}]}"#;
        let figures: Vec<(String, Metric, f64)> = samples(&Loaded::from_json(text).unwrap())
            .into_iter()
            .map(|sample| (sample.load, sample.metric, sample.values[0]))
            .collect();
        let paced = "connect-fin at 50.0/s";
        let known = [
            (paced, Metric::CpuPerUnit, 9.0),
            (paced, Metric::P50, 1.0),
            (paced, Metric::P99, 2.0),
            (paced, Metric::P999, 3.0),
            ("connect-fin", Metric::Rate, 90.0),
            ("connect-fin", Metric::CpuPerUnitFull, 7.0),
            ("idle", Metric::MemoryPerConnection, 500.0),
        ];
        assert_eq!(figures, known.map(|(load, metric, value)| (load.to_owned(), metric, value)));
    }
}
