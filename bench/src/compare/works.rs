//! Owns what was found in one work: the runs of each candidate, and their table; it measures
//! nothing.

use serde::Serialize;

use super::candidate::Candidate;
use super::subject::Subject;
use super::table::faults;
use super::work::{Shape, Unit};
use crate::figures::Run;
use crate::generate::Carried;
use crate::judge::{Difference, Estimate, Verdict, discoveries};
use crate::report::table::{aligned, cell};

#[derive(Serialize)]
pub struct WorkReport {
    pub work: Subject,
    #[serde(skip)]
    pub shape: Shape,
    /// Units per second offered in the paced runs, if there were any.
    pub offered: Option<f64>,
    pub rows: Vec<Row>,
}

/// All runs of one candidate in one work.
#[derive(Clone, Serialize)]
pub struct Row {
    pub candidate: Candidate,
    pub full: Vec<Figures>,
    pub paced: Vec<Figures>,
    pub faults: Vec<String>,
}

/// One run.
#[derive(Clone, Copy, Serialize)]
pub struct Figures {
    /// Units per second.
    pub rate: f64,
    /// Nanoseconds of the proxy's CPU time per unit.
    pub cpu: f64,
    /// CPUs that the proxy used; 1 is all of its own.
    pub proxy_share: f64,
    /// From 0 to 1, whoever uses the CPU.
    pub proxy_cpu_busy: f64,
    pub load_cpu_busy: f64,
    /// From when a unit was due until it ended; of streams, one of their messages.
    pub latency: Option<Latency>,
}

/// Nanoseconds.
#[derive(Clone, Copy, Serialize)]
pub struct Latency {
    pub p50: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl WorkReport {
    pub fn table(&self) -> String {
        let scale = Scale::of(self.shape);
        let mut lines = vec![[
            "candidate".to_owned(),
            format!("CPU {}", scale.cpu_name),
            "[interval]".to_owned(),
            "ratio".to_owned(),
            format!("max {}", scale.rate_name),
            "CPU at max".to_owned(),
            "p50 us".to_owned(),
            "p99 us".to_owned(),
            "p99.9 us".to_owned(),
        ]];
        let ratios = self.ratios();
        let cells = |(row, ratio): (&Row, &Option<String>)| row.cells(&scale, self.offered, ratio);
        lines.extend(self.rows.iter().zip(&ratios).map(cells));
        let mut text = match self.offered {
            Some(rate) => {
                let rate = scale.rate(rate);
                format!("{}, offered {rate} {}\n", self.work.as_str(), scale.rate_name)
            }
            None => format!("{}\n", self.work.as_str()),
        };
        text += &aligned(1, &lines);
        for row in &self.rows {
            let succeeded = row.full.len() + row.paced.len();
            text += &faults(row.candidate.as_str(), &row.faults, succeeded);
        }
        let runs = || self.rows.iter().flat_map(|row| row.full.iter().chain(&row.paced));
        let disturbed = runs().filter(|run| run.is_disturbed()).count();
        if disturbed > 0 {
            let all = runs().count();
            text += &format!("disturbed: {disturbed} of {all} runs shared the proxy's CPU\n");
        }
        text
    }

    /// Whether any run of any candidate counted.
    pub fn has_figures(&self) -> bool {
        self.rows.iter().any(|row| !row.full.is_empty() || !row.paced.is_empty())
    }

    /// CPU of each to the best reference's, with a mark where it may be chance.
    fn ratios(&self) -> Vec<Option<String>> {
        let references = self.rows.iter().filter(|row| row.candidate.is_reference());
        let known = references.filter_map(|row| Some((row.cpu()?.median, row)));
        let Some((best, reference)) = known.min_by(|a, b| a.0.total_cmp(&b.0)) else {
            return vec![None; self.rows.len()];
        };
        let costs = |row: &Row| row.paced.iter().map(|run| run.cpu).collect::<Vec<f64>>();
        let compared = costs(reference);
        let mut differences = Vec::new();
        let mut places = Vec::new();
        for (place, row) in self.rows.iter().enumerate() {
            let other = row.candidate != reference.candidate;
            let difference = Difference::between(&compared, &costs(row)).filter(|_| other);
            if let Some(difference) = difference {
                differences.push(difference);
                places.push(place);
            }
        }
        let verdicts = discoveries(&differences);
        let ratio = |(place, row): (usize, &Row)| {
            let verdict = places.iter().position(|&of| of == place).map(|at| verdicts[at]);
            let mark = match verdict {
                Some(Verdict::Noise) => "~",
                Some(Verdict::TooFewRuns) => "?",
                Some(Verdict::Real) | None => "",
            };
            row.cpu().map(|cpu| format!("{:.2}{mark}", cpu.median / best))
        };
        self.rows.iter().enumerate().map(ratio).collect()
    }
}

impl Row {
    pub fn new(candidate: Candidate) -> Self {
        Self { candidate, full: Vec::new(), paced: Vec::new(), faults: Vec::new() }
    }

    /// CPU per unit at the offered rate.
    fn cpu(&self) -> Option<Estimate> {
        Estimate::of(self.paced.iter().map(|run| run.cpu))
    }

    /// Units per second at full speed.
    pub fn max_rate(&self) -> Option<Estimate> {
        Estimate::of(self.full.iter().map(|run| run.rate))
    }

    fn cells(&self, scale: &Scale, offered: Option<f64>, ratio: &Option<String>) -> [String; 9] {
        let cpu = self.cpu();
        let cpu_at_max = Estimate::of(self.full.iter().map(|run| run.cpu));
        let is_limited = self.full.iter().any(Figures::is_generator_limited);
        let is_behind = self.paced.iter().any(|run| Some(run.rate) < offered.map(|o| o * CARRIED));
        let latency = |of: fn(&Latency) -> u64| {
            let values = self.paced.iter().filter_map(|run| run.latency.as_ref());
            let median = Estimate::of(values.map(|latency| of(latency) as f64 / 1e3));
            cell(median.map(|us| format!("{:.0}", us.median)))
        };
        let behind = if is_behind { "!" } else { "" };
        let limited = if is_limited { "*" } else { "" };
        [
            self.candidate.as_str().to_owned(),
            cell(cpu.map(|cpu| format!("{}{behind}", scale.cpu(cpu.median)))),
            cell(cpu.map(|cpu| format!("[{}..{}]", scale.cpu(cpu.low), scale.cpu(cpu.high)))),
            cell(ratio.clone()),
            cell(self.max_rate().map(|rate| format!("{}{limited}", scale.rate(rate.median)))),
            cell(cpu_at_max.map(|cpu| scale.cpu(cpu.median))),
            latency(|latency| latency.p50),
            latency(|latency| latency.p99),
            latency(|latency| latency.p99_9),
        ]
    }
}

impl Figures {
    /// The fault of a run that does not count is a word, and what is known of it.
    pub fn of(shape: Shape, carried: &Carried) -> Result<Self, String> {
        let Carried { run, usage, spoiled } = carried;
        if *spoiled > 0 {
            return Err(format!("wrong_bytes: in {spoiled} units"));
        }
        if let Some(fault) = fault(run) {
            return Err(fault);
        }
        let usage = usage.as_ref().ok_or("the proxy has ended")?;
        let units = run.units() * shape.unit.per_message(shape.size);
        if units == 0.0 {
            return Err("stalled".to_owned());
        }
        let of = |share| run.latency.quantile(share);
        let latency = (!run.latency.is_empty()).then(|| Latency {
            p50: of(0.5),
            p99: of(0.99),
            p99_9: of(0.999),
        });
        Ok(Self {
            rate: units / run.window,
            cpu: usage.proxy as f64 / units,
            proxy_share: usage.proxy as f64 / 1e9 / run.window,
            proxy_cpu_busy: usage.proxy_cpu_busy,
            load_cpu_busy: usage.load_cpu_busy,
            latency,
        })
    }

    /// One line, for progress.
    pub fn summary(&self, shape: Shape) -> String {
        let scale = Scale::of(shape);
        let (rate, cpu) = (scale.rate(self.rate), scale.cpu(self.cpu));
        format!("{rate} {}, {cpu} {}", scale.rate_name, scale.cpu_name)
    }

    /// The rate was what the generator could do, not what the proxy could.
    fn is_generator_limited(&self) -> bool {
        self.load_cpu_busy > 0.95 && self.proxy_cpu_busy < 0.90
    }

    /// Something else had much of the proxy's CPU.
    fn is_disturbed(&self) -> bool {
        self.proxy_cpu_busy - self.proxy_share > DISTURBANCE
    }
}

/// What is wrong with a run, most telling first.
fn fault(run: &Run) -> Option<String> {
    let counts = &run.counts;
    let errors = counts.errors.iter().max_by_key(|(_, count)| **count);
    let wrong = [
        (errors.map_or("", |(kind, _)| kind), errors.map_or(0, |(_, count)| *count)),
        ("duplicated", counts.duplicated),
        ("reordered", counts.reordered),
        ("lost", counts.lost),
    ];
    let (kind, count) = wrong.into_iter().find(|(_, count)| *count > 0)?;
    Some(format!("{kind}: {count} of {} units", counts.sent))
}

/// How the figures of a work are shown.
struct Scale {
    cpu_name: &'static str,
    /// From nanoseconds per unit.
    cpu_factor: f64,
    rate_name: &'static str,
    /// From units per second.
    rate_factor: f64,
    rate_decimals: usize,
}

impl Scale {
    fn of(shape: Shape) -> Self {
        let (cpu_name, rate_name) = match shape.unit {
            Unit::Byte => {
                return Self {
                    cpu_name: "ms/GB",
                    cpu_factor: 1e9 / 1e6,
                    rate_name: "GB/s",
                    rate_factor: 1e-9,
                    rate_decimals: 2,
                };
            }
            Unit::Request => ("us/request", "requests/s"),
            Unit::Connection => ("us/connection", "connections/s"),
            Unit::Message => ("us/message", "messages/s"),
        };
        Self { cpu_name, cpu_factor: 1e-3, rate_name, rate_factor: 1.0, rate_decimals: 0 }
    }

    fn cpu(&self, nanoseconds: f64) -> String {
        let value = nanoseconds * self.cpu_factor;
        if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
    }

    fn rate(&self, units: f64) -> String {
        format!("{:.*}", self.rate_decimals, units * self.rate_factor)
    }
}

/// A paced run below this share of its offered rate has not carried it.
const CARRIED: f64 = 0.98;
/// A share of the proxy's CPU. Less is within what the kernel's ticks can tell.
const DISTURBANCE: f64 = 0.2;

#[cfg(test)]
mod tests {
    use super::super::usage::Usage;
    use super::super::work::{Task, Work};
    use super::*;
    use crate::figures::sample;

    fn figures(cpu: f64, rate: f64, proxy_cpu_busy: f64) -> Figures {
        let latency = Some(Latency { p50: 10_000, p99: 20_000, p99_9: 30_000 });
        let proxy_share = proxy_cpu_busy;
        Figures { rate, cpu, proxy_share, proxy_cpu_busy, load_cpu_busy: 0.99, latency }
    }

    fn row(candidate: Candidate, cpu: f64, paced_rate: f64, busy: f64) -> Row {
        Row {
            candidate,
            full: vec![figures(cpu, 90_000.0, busy)],
            paced: vec![figures(cpu, paced_rate, busy)],
            faults: Vec::new(),
        }
    }

    fn table(offered: Option<f64>, rows: Vec<Row>) -> String {
        let work = Subject::Work(Work::PingPong64);
        let Task::Carry(shape) = work.task() else { panic!("it carries") };
        WorkReport { work, shape, offered, rows }.table()
    }

    fn cells(table: &str, name: &str) -> Vec<String> {
        let line = table.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_ascii_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_ratio_is_to_the_best_of_haproxy_and_nginx() {
        let rows = vec![
            row(Candidate::Haproxy, 10_000.0, 50_000.0, 1.0),
            row(Candidate::Nginx, 8_000.0, 50_000.0, 1.0),
            row(Candidate::Tokio, 4_000.0, 50_000.0, 1.0),
        ];
        let table = table(Some(50_000.0), rows);
        assert_eq!(cells(&table, "haproxy")[1..4], ["10.0", "[10.0..10.0]", "1.25?"]);
        assert_eq!(cells(&table, "nginx")[3], "1.00");
        assert_eq!(cells(&table, "tokio")[3], "0.50?");
        assert_eq!(cells(&table, "tokio")[6..], ["10", "20", "30"]);
    }

    #[test]
    fn a_ratio_says_whether_it_may_be_chance() {
        let mut rows = vec![
            row(Candidate::Nginx, 8_000.0, 50_000.0, 1.0),
            row(Candidate::Tokio, 4_000.0, 50_000.0, 1.0),
            row(Candidate::Ringmain, 8_010.0, 50_000.0, 1.0),
        ];
        for row in &mut rows {
            let run = row.paced[0];
            let runs = (0..6).map(|round| Figures { cpu: run.cpu + f64::from(round * 5), ..run });
            row.paced = runs.collect();
        }
        let table = table(Some(50_000.0), rows);
        assert_eq!(cells(&table, "tokio")[3], "0.50");
        assert_eq!(cells(&table, "ringmain")[3], "1.00~");
    }

    #[test]
    fn each_of_haproxy_and_nginx_may_be_the_best() {
        let references = Candidate::ALL.into_iter().filter(|of| {
            let others = [Candidate::Ringmain, Candidate::TokioUring, Candidate::Tokio];
            !others.contains(of)
        });
        for best in references {
            let rows = vec![
                row(best, 8_000.0, 50_000.0, 1.0),
                row(Candidate::Tokio, 4_000.0, 50_000.0, 1.0),
            ];
            let table = table(Some(50_000.0), rows);
            assert_eq!(cells(&table, best.as_str())[3], "1.00");
            assert_eq!(cells(&table, "tokio")[3], "0.50?");
        }
    }

    /// So many runs of this candidate, each a little dearer than the one before it.
    fn repeated(candidate: Candidate, cheapest: f64, runs: u32) -> Row {
        let row = row(candidate, cheapest, 50_000.0, 1.0);
        let cost = |round| cheapest + 5.0 * f64::from(round);
        let paced = (0..runs).map(|round| Figures { cpu: cost(round), ..row.paced[0] });
        Row { paced: paced.collect(), ..row }
    }

    #[test]
    fn what_is_looked_for_together_is_judged_together() {
        let pair = || vec![repeated(Candidate::Nginx, 8e3, 4), repeated(Candidate::Tokio, 4e3, 4)];
        assert_eq!(cells(&table(Some(5e4), pair()), "tokio")[3], "0.50");
        // The same runs, among others: that one of so many looks like this may be chance.
        let others = [Candidate::Haproxy, Candidate::HaproxyBufsize, Candidate::HaproxySplice];
        let rows = pair().into_iter().chain(others.map(|other| repeated(other, 8_001.0, 4)));
        let table = table(Some(5e4), rows.collect());
        assert_eq!(cells(&table, "tokio")[3], "0.50?");
        assert_eq!(cells(&table, "haproxy-bufsize")[3], "1.00~");
    }

    #[test]
    fn the_interval_of_few_runs_is_all_of_them() {
        let mut row = repeated(Candidate::Nginx, 80_000.0, 3);
        for (run, cpu) in row.paced.iter_mut().zip([70_000.0, 120_000.0, 90_000.0]) {
            run.cpu = cpu;
        }
        let table = table(Some(5e4), vec![row]);
        // From three digits before the point on there are none behind it.
        assert_eq!(cells(&table, "nginx")[1..3], ["90.0", "[70.0..120]"]);
    }

    #[test]
    fn figures_at_the_offered_rate_and_at_full_speed_are_told_apart() {
        let mut row = row(Candidate::Nginx, 9_000.0, 50_000.0, 1.0);
        row.full[0].cpu = 6_000.0;
        let table = table(Some(50_000.0), vec![row]);
        assert!(table.starts_with("pingpong-64, offered 50000 requests/s\n"), "{table}");
        assert_eq!(cells(&table, "nginx")[1], "9.0");
        assert_eq!(cells(&table, "nginx")[4..6], ["90000", "6.0"]);
    }

    #[test]
    fn streams_are_shown_by_the_gigabyte() {
        let work = Subject::Work(Work::Bulk);
        let shape = shape_of(Work::Bulk);
        let rows = vec![row(Candidate::Nginx, 0.25, 1.5e9, 1.0)];
        let table = WorkReport { work, shape, offered: Some(1.5e9), rows }.table();
        assert!(table.starts_with("bulk, offered 1.50 GB/s\n"), "{table}");
        assert!(table.contains("CPU ms/GB") && table.contains("max GB/s"), "{table}");
        assert_eq!(cells(&table, "nginx")[1], "250");
        let run = figures(0.25, 1.5e9, 1.0);
        assert_eq!(run.summary(shape), "1.50 GB/s, 250 ms/GB");
    }

    fn shape_of(work: Work) -> Shape {
        let Task::Carry(shape) = work.task() else { panic!("{work:?} carries nothing") };
        shape
    }

    /// A run whose proxy had the CPU for two of its ten seconds.
    fn carried(run: Run) -> Carried {
        let (proxy, proxy_cpu_busy, load_cpu_busy) = (2_000_000_000, 0.25, 0.5);
        let usage = Some(Usage { proxy, proxy_cpu_busy, load_cpu_busy });
        Carried { run, usage, spoiled: 0 }
    }

    #[test]
    fn figures_are_those_of_the_units_that_ended_in_the_window() {
        let mut run = sample("nginx", 100.0);
        run.latency = crate::figures::Latency::new();
        for (nanoseconds, count) in [(10_000, 500), (20_000, 490), (30_000, 9), (40_000, 1)] {
            run.latency.record_n(nanoseconds, count);
        }
        let requests = Figures::of(shape_of(Work::PingPong64), &carried(run.clone())).unwrap();
        assert_eq!((requests.rate, requests.cpu), (100.0, 2_000_000.0));
        assert_eq!((requests.proxy_share, requests.proxy_cpu_busy), (0.2, 0.25));
        assert_eq!(requests.load_cpu_busy, 0.5);
        let Some(Latency { p50, p99, p99_9 }) = requests.latency else { panic!("it was timed") };
        for (measured, known) in [(p50, 10_000u64), (p99, 20_000), (p99_9, 30_000)] {
            assert!(measured.abs_diff(known) < known / 100, "{measured} for {known}");
        }
        // Of a stream a unit is a byte, and its messages are timed.
        let bytes = Figures::of(shape_of(Work::Bulk), &carried(run.clone())).unwrap();
        let message = f64::from(256 << 10);
        assert_eq!((bytes.rate, bytes.cpu), (100.0 * message, 2_000_000.0 / message));
        run.latency = crate::figures::Latency::new();
        let untimed = Figures::of(shape_of(Work::PingPong64), &carried(run)).unwrap();
        assert!(untimed.latency.is_none());
    }

    #[test]
    fn a_run_in_which_anything_was_wrong_gives_no_figures() {
        let told = |spoil: fn(&mut Carried)| {
            let mut carried = carried(sample("nginx", 100.0));
            spoil(&mut carried);
            Figures::of(shape_of(Work::PingPong64), &carried).err().unwrap_or_default()
        };
        assert_eq!(told(|_| ()), "");
        // Outside of the window they spoil it as well.
        assert_eq!(told(|carried| carried.spoiled = 3), "wrong_bytes: in 3 units");
        assert_eq!(told(|carried| carried.usage = None), "the proxy has ended");
        assert_eq!(told(|carried| carried.run.achieved = 0.0), "stalled");
        assert_eq!(told(|carried| carried.run.counts.lost = 3), "lost: 3 of 1000 units");
        let duplicated = told(|carried| carried.run.counts.duplicated = 2);
        assert_eq!(duplicated, "duplicated: 2 of 1000 units");
        let reordered = told(|carried| carried.run.counts.reordered = 1);
        assert_eq!(reordered, "reordered: 1 of 1000 units");
        // What failed most often tells most.
        let errors = told(|carried| {
            let kinds = [("closed".to_owned(), 5), ("reset".to_owned(), 1)];
            carried.run.counts.errors.extend(kinds);
            carried.run.counts.lost = 6;
        });
        assert_eq!(errors, "closed: 5 of 1000 units");
    }

    #[test]
    fn a_rate_that_the_generator_limits_is_marked() {
        let rows = vec![
            row(Candidate::Haproxy, 9_000.0, 50_000.0, 0.99),
            row(Candidate::Tokio, 9_000.0, 50_000.0, 0.80),
        ];
        let table = table(Some(50_000.0), rows);
        assert_eq!(cells(&table, "haproxy")[4], "90000");
        assert_eq!(cells(&table, "tokio")[4], "90000*");
        // Where neither CPU was busy, something else was the limit.
        let mut idle = row(Candidate::Tokio, 9_000.0, 50_000.0, 0.80);
        idle.full[0].load_cpu_busy = 0.90;
        let table = self::table(Some(50_000.0), vec![idle]);
        assert_eq!(cells(&table, "tokio")[4], "90000");
    }

    #[test]
    fn who_does_not_carry_the_offered_rate_is_marked() {
        for (rate, shown) in [(40_000.0, "9.0!"), (48_900.0, "9.0!"), (49_100.0, "9.0")] {
            let mut row = row(Candidate::Nginx, 9_000.0, 50_000.0, 1.0);
            row.paced.push(Figures { rate, ..row.paced[0] });
            let table = table(Some(50_000.0), vec![row]);
            assert_eq!(cells(&table, "nginx")[1], shown, "{rate}");
        }
    }

    #[test]
    fn runs_that_shared_the_cpu_of_the_proxy_are_told() {
        let mut rows = vec![row(Candidate::Nginx, 9_000.0, 50_000.0, 0.9)];
        rows[0].full[0].proxy_share = 0.75;
        let quiet = table(None, rows.clone());
        rows[0].paced[0].proxy_share = 0.5;
        let shared = table(None, rows);
        assert!(!quiet.contains("disturbed"), "{quiet}");
        assert!(shared.contains("disturbed: 1 of 2 runs"), "{shared}");
    }

    #[test]
    fn failed_runs_are_told_and_leave_no_figures() {
        let mut row = Row::new(Candidate::Nginx);
        row.faults.push("wrong_bytes".to_owned());
        let table = table(None, vec![row]);
        assert_eq!(cells(&table, "nginx  ")[1..], ["-"; 8]);
        assert!(table.contains("nginx: 1 of 1 runs failed: wrong_bytes"), "{table}");
        let faults = ["lost", "closed"].map(str::to_owned).to_vec();
        let some = Row { faults, ..self::row(Candidate::Nginx, 9e3, 5e4, 1.0) };
        let table = self::table(None, vec![some]);
        assert!(table.contains("nginx: 2 of 4 runs failed: lost, closed"), "{table}");
    }
}
