//! Owns what is shown while a search goes on: each run on a line, and how much is left.

use std::time::Duration;

use crate::figures::Run;
use crate::judge::{Event, Stage, Trial};
use crate::report::units;

/// Shows a run when it has ended.
pub struct Progress {
    /// How long one run takes.
    pub each: Duration,
    left: u32,
}

impl Progress {
    pub fn new(each: Duration) -> Self {
        Self { each, left: 0 }
    }

    pub fn tell(&mut self, event: &Event) {
        match event {
            Event::Begins { left } => self.left = left.saturating_sub(1),
            Event::Ended { trial, run } => eprintln!("{}", self.line(trial, run)),
        }
    }

    fn line(&self, trial: &Trial, run: &Run) -> String {
        let seconds = self.each.as_secs_f64() * f64::from(self.left);
        let cpu = run.cpu_per_unit().map_or("-".to_owned(), units::time);
        let latency = |share: f64| units::time(run.latency.quantile(share) as f64);
        let verdict = match trial.misses.as_slice() {
            [] => "holds".to_owned(),
            misses => format!("misses: {}", misses.join(", ")),
        };
        format!(
            "{:<7} {:>9}/s  p50 {:>8}  p99 {:>8}  p99.9 {:>8}  CPU {:>8}  at most {:.0} s left  {}",
            stage(trial.stage),
            units::number(trial.rate),
            latency(0.5),
            latency(0.99),
            latency(0.999),
            cpu,
            seconds,
            verdict
        )
    }
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Ramp => "ramp",
        Stage::Bisect => "bisect",
        Stage::Confirm => "confirm",
        Stage::Curve => "curve",
    }
}
