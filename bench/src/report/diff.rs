//! Owns `diff`: which differences between two files of results are real and which are noise.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::limits;
use super::results::Loaded;
use super::samples::{Sample, samples};
use super::store::load;
use super::table::{aligned, row};
use super::units;
use crate::judge::{Difference, Estimate, Verdict, discoveries};

#[derive(Args)]
pub struct DiffOptions {
    /// Results to start from: JSON of capacity, soak or compare. Of run there is one run, which
    /// can not be told from noise
    before: PathBuf,
    /// Results to set against them
    after: PathBuf,
    /// Show the real differences alone
    #[arg(long)]
    real: bool,
}

/// One figure that both files have.
struct Line {
    before: Sample,
    after: Sample,
    difference: Option<Difference>,
}

pub fn diff(options: &DiffOptions) -> Result<(), Failure> {
    let text = differences(&load(&options.before)?, &load(&options.after)?, options.real);
    print!("{}", text.ok_or(Failure::NothingInCommon)?);
    Ok(())
}

/// Of limits that were searched for, and of all other figures. `None` where nothing is in both.
fn differences(before: &Loaded, after: &Loaded, real_only: bool) -> Option<String> {
    let limits = limits::compared(before.capacity(), after.capacity(), real_only);
    let figures = compared(&samples(before), &samples(after), real_only);
    let mut text = match (limits, figures) {
        (None, None) => return None,
        (Some(limits), Some(figures)) => format!("{limits}\n{figures}"),
        (limits, figures) => limits.or(figures)?,
    };
    if before.is_soak() || after.is_soak() {
        text += "windows of a soak follow each other in one process and one hour: what differs \
                 between two soaks may be of the hour, and a third one tells\n";
    }
    Some(text)
}

/// `None` where nothing is in both.
fn compared(before: &[Sample], after: &[Sample], real_only: bool) -> Option<String> {
    let pair = |of: &Sample| {
        let other = after.iter().find(|other| other.is_of_the_same(of))?;
        let difference = Difference::between(&of.values, &other.values);
        Some(Line { before: of.clone(), after: other.clone(), difference })
    };
    let lines: Vec<Line> = before.iter().filter_map(pair).collect();
    if lines.is_empty() {
        return None;
    }
    let known: Vec<Difference> = lines.iter().filter_map(|line| line.difference).collect();
    let mut verdicts = discoveries(&known).into_iter();
    let head = ["load", "candidate", "figure", "verdict", "A", "[interval]", "B", "[interval]"];
    let mut table = vec![row(head)];
    table[0].extend(row(["B/A", "chance"]));
    let (mut real, mut few) = (0, 0);
    for line in &lines {
        let verdict = line.difference.and_then(|_| verdicts.next());
        real += u32::from(verdict == Some(Verdict::Real));
        few += u32::from(verdict == Some(Verdict::TooFewRuns));
        if !real_only || verdict == Some(Verdict::Real) {
            table.push(line.cells(verdict));
        }
    }
    let mut text = aligned(4, &table);
    text += &format!(
        "{real} of {} figures differ for real; of those called real one in twenty may be chance\n",
        known.len()
    );
    let is_single = |sample: &Sample| sample.values.len() == 1;
    if lines.iter().all(|line| is_single(&line.before) && is_single(&line.after)) {
        text += "each figure was measured once in each file, and one run can not tell a difference \
                 from noise: compare and soak repeat what they measure, and run does not\n";
    } else if few > 0 {
        text += &format!("{few} have too few runs to tell among so many figures; ");
        text += "repeat with more, four on each side at least\n";
    }
    let missing = before.len() + after.len() - 2 * lines.len();
    if missing > 0 {
        text += &format!("{missing} figures are in one of the files only\n");
    }
    Some(text)
}

impl Line {
    fn cells(&self, verdict: Option<Verdict>) -> Vec<String> {
        let metric = self.before.metric;
        let side = |sample: &Sample| match Estimate::of(sample.values.iter().copied()) {
            Some(of) => [
                metric.write(of.median),
                format!("[{}..{}]", metric.write(of.low), metric.write(of.high)),
            ],
            None => ["-".to_owned(), "-".to_owned()],
        };
        let [before, interval_before] = side(&self.before);
        let [after, interval_after] = side(&self.after);
        let mut cells = vec![
            self.before.load.clone(),
            self.before.candidate.clone(),
            metric.as_str().to_owned(),
            verdict.map_or("-".to_owned(), |verdict| self.judged(verdict)),
            before,
            interval_before,
            after,
            interval_after,
        ];
        match self.difference {
            Some(of) => cells.extend([units::digits(of.ratio), format!("{:.3}", of.chance)]),
            None => cells.extend(row(["-", "-"])),
        }
        cells
    }

    fn judged(&self, verdict: Verdict) -> String {
        let ratio = self.difference.map_or(1.0, |difference| difference.ratio);
        let better = (ratio > 1.0) == self.before.metric.more_is_better();
        match verdict {
            Verdict::Real if better => "real, better".to_owned(),
            Verdict::Real => "real, worse".to_owned(),
            other => other.as_str().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::super::metric::Metric;
    use super::super::results::{Results, capacity_sample};
    use super::*;
    use crate::figures::{Document, Host};
    use crate::soak::{Soak, Trick};

    fn sample(metric: Metric, values: &[f64]) -> Sample {
        let (load, candidate) = ("bulk".to_owned(), "ringmain".to_owned());
        Sample { load, candidate, metric, values: values.to_vec() }
    }

    const LOW: [f64; 5] = [10e3, 10.1e3, 10.2e3, 10.3e3, 10.4e3];
    const HIGH: [f64; 5] = [12e3, 12.1e3, 12.2e3, 12.3e3, 12.4e3];

    fn verdict(metric: Metric, before: &[f64], after: &[f64]) -> String {
        compared(&[sample(metric, before)], &[sample(metric, after)], false).unwrap()
    }

    #[test]
    fn more_cpu_is_worse_and_more_rate_is_better() {
        assert!(verdict(Metric::CpuPerUnit, &LOW, &HIGH).contains("real, worse"));
        assert!(verdict(Metric::CpuPerUnit, &HIGH, &LOW).contains("real, better"));
        assert!(verdict(Metric::Rate, &LOW, &HIGH).contains("real, better"));
        assert!(verdict(Metric::Rate, &HIGH, &LOW).contains("real, worse"));
    }

    #[test]
    fn the_same_is_noise_and_single_runs_tell_nothing() {
        assert!(verdict(Metric::Rate, &LOW, &LOW).contains("0 of 1 figures differ"));
        assert!(verdict(Metric::Rate, &LOW, &LOW).contains("noise"));
        let few = verdict(Metric::Rate, &LOW[..1], &HIGH[..1]);
        assert!(few.contains("too few runs") && few.contains("one run can not tell"), "{few}");
        let few = verdict(Metric::Rate, &LOW[..3], &HIGH[..3]);
        assert!(few.contains("too few runs") && few.contains("four on each side"), "{few}");
    }

    /// Eight windows whose CPU per unit is so many times the usual; the third had a trick that
    /// spoiled it and the one after.
    fn soak(cost: f64) -> Loaded {
        let window = |number: u32| {
            let mut run = crate::figures::sample("ringmain", 100.0);
            let spoiled = if (2..4).contains(&number) { 100.0 } else { 1.0 };
            let cpu = &mut run.cost.as_mut().unwrap().cpu_seconds;
            *cpu *= cost * spoiled * (1.0 + f64::from(number) * 1e-3);
            run
        };
        let runs = (0..8).map(window).collect();
        let mut results = Results::new(Document::new(vec![], 0, Host::default(), runs));
        results.soak = Some(Soak {
            seed: 1,
            length: 80.0,
            windows: 8,
            drifts: Vec::new(),
            tricks: vec![(2, Trick::Pause)],
            limited: 0,
            failed_quiet: 0,
            failed_disturbed: 0,
            ended: None,
            left_out: Vec::new(),
        });
        Loaded::Results(Box::new(results))
    }

    #[test]
    fn two_soaks_are_compared_by_their_quiet_windows() {
        let text = differences(&soak(1.0), &soak(1.2), false).unwrap();
        let cpu = text.lines().find(|line| line.contains("CPU per unit")).unwrap();
        assert!(cpu.contains("real, worse") && cpu.contains("1.20"), "{text}");
        assert!(text.contains("a third one tells"), "{text}");
        let costs = samples(&soak(1.0)).into_iter().find(|of| of.metric == Metric::CpuPerUnit);
        assert_eq!(costs.unwrap().values.len(), 6);
    }

    #[test]
    fn limits_are_compared_beside_the_runs() {
        let file = |limit| {
            let mut results = Results::new(Document::new(vec![], 0, Host::default(), vec![]));
            results.capacity = vec![capacity_sample(limit)];
            Loaded::Results(Box::new(results))
        };
        let (before, after) = (file([1e3, 980.0, 1030.0]), file([1200.0, 1160.0, 1230.0]));
        let text = differences(&before, &after, false).unwrap();
        assert!(text.contains("1 of 1 limits differ for real"), "{text}");
        let nothing = Loaded::Results(Box::new(Results::new(Document::new(
            vec![],
            0,
            Host::default(),
            vec![],
        ))));
        assert_eq!(differences(&before, &nothing, false), None);
    }

    #[test]
    fn only_what_both_have_is_compared() {
        let (rate, cpu) = (sample(Metric::Rate, &LOW), sample(Metric::CpuPerUnit, &LOW));
        assert_eq!(compared(from_ref(&rate), from_ref(&cpu), false), None);
        let text = compared(&[rate.clone(), cpu], &[rate], false).unwrap();
        assert!(text.contains("1 figures are in one"), "{text}");
    }
}
