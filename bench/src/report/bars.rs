//! Owns the plots that compare candidates, one for each load and figure.

use serde_json::json;

use super::charts::{Chart, whisker};
use super::metric::Metric;
use super::samples::Sample;
use crate::judge::Estimate;

/// A plot for each load and figure that two candidates or more have, in the order of the samples.
pub fn bars(samples: &[Sample]) -> Vec<Chart> {
    let mut seen: Vec<(&str, Metric)> = Vec::new();
    for sample in samples.iter().filter(|sample| SHOWN.contains(&sample.metric)) {
        let key = (sample.load.as_str(), sample.metric);
        if !seen.contains(&key) {
            seen.push(key);
        }
    }
    let of = |(load, metric): (&str, Metric)| {
        let same = samples.iter().filter(|of| of.load == load && of.metric == metric);
        let rows: Vec<(&str, Estimate)> = same
            .filter_map(|of| {
                Some((of.candidate.as_str(), Estimate::of(of.values.iter().copied())?))
            })
            .collect();
        // Rates that differ a little are written alike: then a candidate is there twice.
        let others = rows.iter().any(|(name, _)| *name != rows[0].0);
        others.then(|| chart(load, metric, &rows))
    };
    seen.into_iter().filter_map(of).collect()
}

fn chart(load: &str, metric: Metric, rows: &[(&str, Estimate)]) -> Chart {
    let better = if metric.more_is_better() { "more is better" } else { "less is better" };
    let names: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
    let values: Vec<f64> = rows.iter().map(|(_, of)| of.median).collect();
    let whiskers: Vec<_> = rows
        .iter()
        .map(|(name, of)| whisker(json!([of.low, name]), json!([of.high, name])))
        .collect();
    let subject = names.contains(&SUBJECT).then_some(SUBJECT);
    let ends: Vec<_> = rows.iter().map(|(name, of)| json!([of.high, name])).collect();
    Chart {
        title: format!("{load}: {}", metric.as_str()),
        note: format!("Medians, lines: their intervals; {better}."),
        height: 70 + 30 * rows.len() as u32,
        option: json!({
            "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
            "xAxis": {"type": "value", "unit": metric.unit(), "min": 0},
            "yAxis": {"type": "category", "inverse": true, "data": names},
            "series": [{
                // Not seen: a line to a place beyond the axis is not drawn, so these extend it.
                "type": "scatter",
                "data": ends,
                "symbolSize": 0,
                "silent": true,
                "tooltip": {"show": false},
            }, {
                "type": "bar",
                "name": metric.as_str(),
                "subject": subject,
                "data": values,
                "barMaxWidth": 18,
                "markLine": {"data": whiskers, "silent": true, "symbol": "none", "whiskers": true},
            }],
        }),
    }
}

/// Stands out among its peers.
const SUBJECT: &str = "ringmain";
/// What an operator chooses by; the others are in the table.
const SHOWN: [Metric; 7] = [
    Metric::CpuPerUnit,
    Metric::CpuPerByte,
    Metric::P99,
    Metric::P999,
    Metric::Rate,
    Metric::BytesPerSecond,
    Metric::MemoryPerConnection,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(candidate: &str, value: f64) -> Sample {
        Sample {
            load: "tcp-echo, 64 connections, 1000/s".to_owned(),
            candidate: candidate.to_owned(),
            metric: Metric::CpuPerUnit,
            values: vec![value; 3],
        }
    }

    #[test]
    fn candidates_are_compared_and_nobody_with_itself() {
        let two = bars(&[sample("ringmain", 1.0), sample("haproxy", 2.0)]);
        assert_eq!(two.len(), 1);
        assert!(two[0].title.contains("CPU per unit"), "{}", two[0].title);
        assert!(bars(&[sample("ringmain", 1.0), sample("ringmain", 2.0)]).is_empty());
        assert!(bars(&[sample("ringmain", 1.0)]).is_empty());
    }

    #[test]
    fn a_bar_is_a_median_with_its_interval() {
        let sample = |candidate: &str, metric, values: [f64; 3]| Sample {
            metric,
            values: values.to_vec(),
            ..sample(candidate, 0.0)
        };
        let of = |metric| {
            let samples = [
                sample("ringmain", metric, [10.0, 30.0, 20.0]),
                sample("haproxy", metric, [40.0, 60.0, 50.0]),
            ];
            bars(&samples)
        };
        let cpu = &of(Metric::CpuPerUnit)[0];
        assert!(cpu.note.ends_with("less is better."), "{}", cpu.note);
        let bar = &cpu.option["series"][1];
        assert_eq!((&bar["data"], &bar["subject"]), (&json!([20.0, 50.0]), &json!("ringmain")));
        let line =
            |low: f64, high: f64, name: &str| whisker(json!([low, name]), json!([high, name]));
        let lines = json!([line(10.0, 30.0, "ringmain"), line(40.0, 60.0, "haproxy")]);
        assert_eq!(bar["markLine"]["data"], lines);
        // The axis is as long as the lines are.
        assert_eq!(cpu.option["series"][0]["data"], json!([[30.0, "ringmain"], [60.0, "haproxy"]]));
        assert_eq!(cpu.option["yAxis"]["data"], json!(["ringmain", "haproxy"]));
        assert_eq!(cpu.option["xAxis"]["unit"], Metric::CpuPerUnit.unit());
        assert!(of(Metric::Rate)[0].note.ends_with("more is better."));
        // What nobody chooses by is in the table alone.
        assert!(of(Metric::P50).is_empty());
    }
}
