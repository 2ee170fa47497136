//! Owns what a soak came to: slopes of memory, descriptors, latency and cost, and their table.

use serde::{Deserialize, Serialize};

use super::tricks::Trick;
use crate::figures::Run;
use crate::judge::Slope;
use crate::report::table::{aligned, row};
use crate::report::units;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Soak {
    pub seed: u64,
    /// Seconds from the beginning to the end.
    pub length: f64,
    #[serde(default)]
    pub windows: usize,
    pub drifts: Vec<Drift>,
    /// Number of the window, from 0 on, and what was played in it.
    pub tricks: Vec<(usize, Trick)>,
    /// Units that did not come back whole, in windows without tricks and in the others.
    pub failed_quiet: u64,
    pub failed_disturbed: u64,
    /// Windows in which the generator was the limit, and not the proxy.
    #[serde(default)]
    pub limited: usize,
    /// Why it ended before its time.
    pub ended: Option<String>,
    /// Groups of its profile that Ringmain does not carry.
    #[serde(default)]
    pub left_out: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    pub figure: String,
    pub unit: Unit,
    pub slope: Slope,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    Bytes,
    Count,
    Nanoseconds,
}

/// One window of a soak.
pub struct Window<'a> {
    /// Seconds from the beginning.
    pub at: f64,
    pub run: &'a Run,
    /// Neither it nor the one before it had a trick.
    pub is_quiet: bool,
}

type Figure = fn(&Run) -> Option<f64>;

/// The slopes of what can leak or slow down. What a trick does to latency is no drift, so latency
/// and cost are taken from quiet windows; memory and descriptors from all. What a proxy takes
/// when it first needs it is no drift either, so all begin when it has settled.
pub fn drifts(windows: &[Window]) -> Vec<Drift> {
    let figures: [(&str, Unit, bool, Figure); 6] = [
        ("memory (PSS)", Unit::Bytes, false, |run| Some(run.cost.as_ref()?.memory_pss as f64)),
        ("descriptors", Unit::Count, false, |run| Some(f64::from(run.cost.as_ref()?.descriptors))),
        ("p50", Unit::Nanoseconds, true, |run| latency(run, 0.5)),
        ("p99", Unit::Nanoseconds, true, |run| latency(run, 0.99)),
        ("p99.9", Unit::Nanoseconds, true, |run| latency(run, 0.999)),
        ("CPU per unit", Unit::Nanoseconds, true, Run::cpu_per_unit),
    ];
    let drift = |(name, unit, quiet_only, figure): (&str, Unit, bool, Figure)| {
        let settled = windows.iter().filter(|window| window.at >= SETTLING);
        let taken = settled.filter(|window| window.is_quiet || !quiet_only);
        let points: Vec<(f64, f64)> =
            taken.filter_map(|window| Some((window.at, figure(window.run)?))).collect();
        let slope = Slope::of(&points)?;
        Some(Drift { figure: name.to_owned(), unit, slope })
    };
    figures.into_iter().filter_map(drift).collect()
}

fn latency(run: &Run, share: f64) -> Option<f64> {
    (!run.latency.is_empty()).then(|| run.latency.quantile(share) as f64)
}

/// Neither the window nor the one before it had a trick.
pub fn is_quiet(tricks: &[(usize, Trick)], number: usize) -> bool {
    let disturbs = |&(at, _): &(usize, Trick)| at == number || at + 1 == number;
    !tricks.iter().any(disturbs)
}

impl Soak {
    /// Seconds from the beginning of a window to that of the next.
    pub fn step(&self) -> f64 {
        self.length / self.windows.max(1) as f64
    }

    pub fn is_quiet(&self, number: usize) -> bool {
        is_quiet(&self.tricks, number)
    }

    /// Seconds at which the windows with tricks began.
    pub fn marks(&self) -> Vec<f64> {
        self.tricks.iter().map(|(number, _)| *number as f64 * self.step()).collect()
    }

    pub fn table(&self) -> String {
        let mut lines = vec![row(["figure", "verdict", "level", "per hour", "[95 %]", "of level"])];
        let mark = if self.limited > 0 { "*" } else { "" };
        lines.extend(self.drifts.iter().map(|drift| drift.cells(mark)));
        let mut text = aligned(2, &lines);
        if self.drifts.is_empty() {
            text += "too few windows for slopes: eight after the first minute are the least\n";
        }
        let tricks = Trick::ALL.map(|trick| {
            let count = self.tricks.iter().filter(|(_, played)| *played == trick).count();
            format!("{count} x {}", trick.as_str())
        });
        text += &format!(
            "{} s, {} windows, seed {}: {}; units that failed: {} in quiet windows, {} in the \
             others\n",
            units::digits(self.length),
            self.windows,
            self.seed,
            tricks.join(", "),
            self.failed_quiet,
            self.failed_disturbed
        );
        if self.limited > 0 {
            text += &format!(
                "*: in {} of {} windows the generator was the limit, not the proxy: latency and \
                 CPU per unit are its own there; take a lower --rate\n",
                self.limited, self.windows
            );
        }
        if !self.left_out.is_empty() {
            let names = self.left_out.join(", ");
            text += &format!("left out, as Ringmain does not carry datagrams yet: {names}\n");
        }
        if let Some(why) = &self.ended {
            text += &format!("it ended before its time: {why}\n");
        }
        text
    }
}

impl Drift {
    fn cells(&self, mark: &str) -> Vec<String> {
        let Slope { slope, low, high, level } = self.slope;
        let signed = |per_second: f64| {
            let sign = if per_second < 0.0 { "-" } else { "+" };
            format!("{sign}{}", self.unit.write((per_second * HOUR).abs()))
        };
        let verdict = match self.slope.drifts() {
            true if slope > 0.0 => "grows",
            true => "shrinks",
            false => "no drift",
        };
        let part = if level == 0.0 { 0.0 } else { slope * HOUR / level };
        vec![
            self.figure.clone(),
            verdict.to_owned(),
            format!("{}{mark}", self.unit.write(level)),
            signed(slope),
            format!("[{}..{}]", signed(low), signed(high)),
            format!("{:+.2} %", part * 100.0),
        ]
    }
}

impl Unit {
    fn write(self, value: f64) -> String {
        match self {
            Self::Bytes => units::bytes(value),
            Self::Count => units::digits(value),
            Self::Nanoseconds => units::time(value),
        }
    }
}

const HOUR: f64 = 3600.0;

/// Seconds in which a proxy may touch its memory for the first time.
const SETTLING: f64 = 60.0;

/// For tests.
#[cfg(test)]
pub fn drift_sample(slope: Slope) -> Drift {
    Drift { figure: "p99".to_owned(), unit: Unit::Nanoseconds, slope }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::sample;

    /// Sixty windows of a minute; what each has beyond the usual is given by its number.
    fn soaked(change: impl Fn(usize, &mut Run), is_quiet: impl Fn(usize) -> bool) -> Vec<Drift> {
        let runs: Vec<Run> = (0..60)
            .map(|number| {
                let mut run = sample("ringmain", 100.0);
                change(number, &mut run);
                run
            })
            .collect();
        let window =
            |(number, run)| Window { at: number as f64 * 60.0, run, is_quiet: is_quiet(number) };
        drifts(&runs.iter().enumerate().map(window).collect::<Vec<_>>())
    }

    fn of<'a>(drifts: &'a [Drift], figure: &str) -> &'a Drift {
        drifts.iter().find(|drift| drift.figure == figure).unwrap()
    }

    #[test]
    fn a_leak_is_seen_and_nothing_else() {
        let leak = |number: usize, run: &mut Run| {
            run.cost.as_mut().unwrap().memory_pss += number as u64 * 17_000;
        };
        let drifts = soaked(leak, |_| true);
        let memory = of(&drifts, "memory (PSS)");
        assert!(memory.slope.drifts());
        assert!((memory.slope.slope * HOUR - 60.0 * 17_000.0).abs() < 1.0, "{memory:?}");
        assert_eq!(drifts.iter().filter(|drift| drift.slope.drifts()).count(), 1);
    }

    #[test]
    fn what_is_taken_in_the_first_minute_is_no_drift() {
        // Ever more, until the first minute is over; a window of ten seconds each.
        let runs: Vec<Run> = (0..16)
            .map(|number: u64| {
                let mut run = sample("ringmain", 100.0);
                run.cost.as_mut().unwrap().memory_pss += number.min(6) << 20;
                run
            })
            .collect();
        let window = |(number, run)| Window { at: number as f64 * 10.0, run, is_quiet: true };
        let drifts = drifts(&runs.iter().enumerate().map(window).collect::<Vec<_>>());
        let memory = of(&drifts, "memory (PSS)");
        assert!(!memory.slope.drifts(), "{memory:?}");
        assert_eq!(memory.slope.level as u64, runs[15].cost.as_ref().unwrap().memory_pss);
    }

    #[test]
    fn what_a_trick_does_to_latency_is_no_drift() {
        // More and worse towards the end: if they counted, latency would seem to grow.
        let is_quiet = |number: usize| number < 20 || number.is_multiple_of(5);
        let slow = |number: usize, run: &mut Run| {
            if !is_quiet(number) {
                run.latency.record_n(10_000_000 * number as u64, 1000);
            }
        };
        let drifts = soaked(slow, is_quiet);
        assert!(!of(&drifts, "p99").slope.drifts());
        let all_counted = soaked(slow, |_| true);
        assert!(of(&all_counted, "p99").slope.drifts());
    }

    #[test]
    fn the_table_says_what_drifts_how_fast_and_what_was_done() {
        let drift = |figure: &str, unit, slope, low, high, level| Drift {
            figure: figure.to_owned(),
            unit,
            slope: Slope { slope, low, high, level },
        };
        let per_hour = |value: f64| value / HOUR;
        let kib = 1024.0;
        let soak = Soak {
            seed: 7,
            length: 7_200.0,
            windows: 700,
            drifts: vec![
                drift(
                    "memory (PSS)",
                    Unit::Bytes,
                    per_hour(2.0 * kib),
                    per_hour(kib),
                    per_hour(3.0 * kib),
                    200.0 * kib,
                ),
                drift(
                    "p99",
                    Unit::Nanoseconds,
                    per_hour(-5e3),
                    per_hour(-6e3),
                    per_hour(-4e3),
                    1e6,
                ),
                drift("descriptors", Unit::Count, 0.0, -1.0, 1.0, 40.0),
            ],
            tricks: vec![(3, Trick::Reload), (9, Trick::Reload), (12, Trick::Pause)],
            failed_quiet: 1,
            failed_disturbed: 5,
            limited: 0,
            ended: Some("the proxy has ended".to_owned()),
            left_out: vec!["switches".to_owned()],
        };
        let table = soak.table();
        for line in [
            "memory (PSS)  grows     200 KiB  +2.00 KiB  [+1.00 KiB..+3.00 KiB]   +1.00 %",
            "p99           shrinks   1.00 ms   -5.00 us    [-6.00 us..-4.00 us]   -0.50 %",
            "descriptors   no drift     40.0         +0          [-3600..+3600]   +0.00 %",
            "7200 s, 700 windows, seed 7: 1 x pause, 2 x reload, 0 x backend-stall",
            "1 in quiet windows, 5 in the others",
            "left out, as Ringmain does not carry datagrams yet: switches",
            "it ended before its time: the proxy has ended",
        ] {
            assert!(table.contains(line), "{line}\n{table}");
        }
        assert!(!table.contains("too few windows"), "{table}");
        let few = Soak { drifts: Vec::new(), ended: None, left_out: Vec::new(), ..soak };
        let table = few.table();
        assert!(table.contains("too few windows for slopes"), "{table}");
        assert!(!table.contains("left out") && !table.contains("before its time"), "{table}");
    }
}
