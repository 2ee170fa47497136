//! Owns the table of what became of each group of agents in runs of several.

use super::table::{aligned, row};
use super::units;
use crate::figures::{Run, Share};

/// Of runs that are repeats of each other, together; empty where there are no groups.
pub fn shares_table(runs: &[&Run]) -> String {
    let shares = together(runs);
    if shares.is_empty() {
        return String::new();
    }
    let mut lines = vec![row([
        "group",
        "offered/s",
        "ended/s",
        "p50",
        "p99",
        "p99.9",
        "max",
        "lost",
        "errors",
    ])];
    for Share { name, offered, achieved, latency, counts, .. } in &shares {
        let time = |nanoseconds: u64| units::time(nanoseconds as f64);
        let offered = offered.map_or("closed loop".to_owned(), units::number);
        let mut line = vec![name.clone(), offered, units::number(*achieved)];
        line.extend([0.5, 0.99, 0.999].map(|share| time(latency.quantile(share))));
        line.push(time(latency.max()));
        line.push(counts.lost.to_string());
        line.push(counts.errors.values().sum::<u64>().to_string());
        lines.push(line);
    }
    aligned(1, &lines)
}

/// Rates are their means, and everything else is added up.
fn together(runs: &[&Run]) -> Vec<Share> {
    let mut shares = runs.first().map_or(Vec::new(), |run| run.groups.clone());
    for run in runs.iter().skip(1) {
        for (share, other) in shares.iter_mut().zip(&run.groups) {
            share.achieved += other.achieved;
            share.bytes += other.bytes;
            share.latency.merge(&other.latency);
            share.counts.add(&other.counts);
        }
    }
    let of = runs.len().max(1) as f64;
    shares.iter_mut().for_each(|share| {
        share.achieved /= of;
        share.bytes /= of;
    });
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Counts, Latency, sample};

    fn run(rates: [f64; 2], wait: u64) -> Run {
        let share = |(name, rate): (&str, f64)| {
            let mut latency = Latency::new();
            latency.record_n(wait, 100);
            let errors = [("reset".to_owned(), 2)].into();
            Share {
                name: name.to_owned(),
                protocol: "tcp-echo".to_owned(),
                connections: 8,
                offered: (name == "paced").then_some(1000.0),
                achieved: rate,
                bytes: 0.0,
                latency,
                counts: Counts { sent: 100, answered: 97, lost: 3, errors, ..Counts::default() },
            }
        };
        let groups = ["paced", "flood"].into_iter().zip(rates).map(share).collect();
        Run { groups, ..sample("ringmain", 1000.0) }
    }

    #[test]
    fn each_group_has_a_line_of_all_repeats() {
        let (first, second) = (run([900.0, 20.0], 1_000_000), run([1000.0, 40.0], 3_000_000));
        let text = shares_table(&[&first, &second]);
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(&lines[1][..3], ["paced", "1000", "950"], "{text}");
        assert_eq!(&lines[2][..4], ["flood", "closed", "loop", "30.0"], "{text}");
        assert_eq!(&lines[1][3..7], ["1.00", "ms", "3.00", "ms"], "{text}");
        assert_eq!(&lines[1][lines[1].len() - 2..], ["6", "4"], "{text}");
    }

    #[test]
    fn a_run_of_one_group_has_no_table() {
        assert_eq!(shares_table(&[&sample("ringmain", 1000.0)]), "");
        assert_eq!(shares_table(&[]), "");
    }
}
