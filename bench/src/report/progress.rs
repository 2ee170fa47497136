//! Owns what is shown while runs are made: how much is done, when it will end, and how the last run
//! was. It makes no run.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::units;
use crate::clock::{Clock, SECOND};
use crate::figures::Run;

/// Of a command that makes runs one after the other. On a terminal it is a bar that is drawn anew
/// in its place; elsewhere each run has a line.
pub struct Progress {
    clock: Clock,
    amount: Amount,
    /// `None`: nobody watches.
    bar: Option<ProgressBar>,
}

/// Seconds as they were planned; runs take longer, by what lies around their windows.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Amount {
    done: f64,
    left: f64,
}

impl Progress {
    /// So long are all runs together, as planned.
    pub fn new(planned: Duration) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bar(ProgressDrawTarget::stderr()));
        Self::shown(planned, bar)
    }

    fn shown(planned: Duration, bar: Option<ProgressBar>) -> Self {
        let amount = Amount { done: 0.0, left: planned.as_secs_f64() };
        Self { clock: Clock::start(), amount, bar }
    }

    /// It has turned out that so much is left from now on.
    pub fn expect(&mut self, left: Duration) {
        self.amount.left = left.as_secs_f64();
    }

    /// A run, which was planned to be so long, has ended.
    pub fn ended(&mut self, planned: Duration, what: &str, run: &Run, more: &str) {
        self.step(planned, &format!("{what}  {}{}", percentiles(run), separated(more)));
    }

    /// The same of what is no run, or has none to show.
    pub fn step(&mut self, planned: Duration, said: &str) {
        self.amount.pass(planned.as_secs_f64());
        let elapsed = self.clock.now() as f64 / SECOND as f64;
        let left = format!("{} left", length(self.amount.remaining(elapsed)));
        match &self.bar {
            Some(bar) => {
                bar.set_position((self.amount.share() * f64::from(STEPS)) as u64);
                bar.set_message(format!("{left}  {said}"));
            }
            None => eprintln!("{:>3.0} %  {left:>11}  {said}", self.amount.share() * 100.0),
        }
    }

    /// Prints something else, which stays above the bar.
    pub fn aside(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // What comes next has the line to itself.
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Amount {
    fn pass(&mut self, seconds: f64) {
        self.done += seconds;
        self.left = (self.left - seconds).max(0.0);
    }

    /// From 0 to 1.
    fn share(&self) -> f64 {
        let all = self.done + self.left;
        if all > 0.0 { self.done / all } else { 1.0 }
    }

    /// Seconds until the end, if the rest takes as much longer than planned as the part before.
    fn remaining(&self, elapsed: f64) -> f64 {
        let pace = if self.done > 0.0 { elapsed / self.done } else { 1.0 };
        self.left * pace.max(1.0)
    }
}

fn bar(target: ProgressDrawTarget) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:24} {percent:>3} %  {wide_msg}")
        // A template with a fault, which the test would find, leaves the bar as it comes.
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(STEPS.into()), target).with_style(style)
}

/// What a run was like, in columns.
fn percentiles(run: &Run) -> String {
    let latency = |share: f64| units::time(run.latency.quantile(share) as f64);
    format!(
        "{:>9}/s  p50 {:>8}  p99 {:>8}  p99.9 {:>8}  max {:>8}  CPU {:>8}",
        units::number(run.achieved),
        latency(0.5),
        latency(0.99),
        latency(0.999),
        units::time(run.latency.max() as f64),
        run.cpu_per_unit().map_or("-".to_owned(), units::time),
    )
}

fn separated(more: &str) -> String {
    if more.is_empty() { String::new() } else { format!("  {more}") }
}

/// Of seconds, as people plan by it.
fn length(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match seconds {
        0..100 => format!("{seconds} s"),
        100..6_000 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Of the bar.
const STEPS: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::sample;

    #[test]
    fn the_end_is_as_far_as_the_pace_so_far_says() {
        let mut amount = Amount { done: 0.0, left: 100.0 };
        assert_eq!(amount.remaining(0.0), 100.0);
        amount.pass(20.0);
        // What was planned as 20 s took 30.
        assert_eq!((amount.share(), amount.remaining(30.0)), (0.2, 120.0));
        amount.left = 20.0;
        assert_eq!((amount.share(), amount.remaining(30.0)), (0.5, 30.0));
        amount.pass(50.0);
        assert_eq!((amount.share(), amount.remaining(99.0)), (1.0, 0.0));
        assert_eq!(Amount { done: 0.0, left: 0.0 }.share(), 1.0);
    }

    #[test]
    fn a_bar_is_drawn_in_place_with_the_last_run() {
        ProgressStyle::with_template("{bar:24} {percent:>3} %  {wide_msg}").unwrap();
        let bar = bar(ProgressDrawTarget::hidden());
        let mut progress = Progress::shown(Duration::from_secs(10), Some(bar.clone()));
        let second = Duration::from_secs(1);
        progress.ended(second, "ramp", &sample("ringmain", 1000.0), "holds");
        assert_eq!(bar.position(), 100);
        for part in ["9 s left", "ramp", "1000/s", "p99.9   100 us", "holds"] {
            assert!(bar.message().contains(part), "{part}: {}", bar.message());
        }
        progress.expect(Duration::from_secs(3));
        progress.step(second, "another");
        assert_eq!(bar.position(), 500);
        assert!(bar.message().ends_with("another") && !bar.is_finished());
        drop(progress);
        assert!(bar.is_finished());
    }

    #[test]
    fn lengths_are_as_people_say_them() {
        let said = [0.4, 99.4, 100.0, 5_000.0, 36_060.0].map(length);
        assert_eq!(said, ["0 s", "99 s", "2 min", "84 min", "10 h 1 min"]);
    }
}
