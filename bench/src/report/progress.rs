//! Owns what is shown while runs are made: how much is done, when it will end, how the last run
//! was, and what the present one has come to so far. It makes no run.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::units;
use crate::clock::{Clock, SECOND};
use crate::figures::{Run, SoFar};

/// Of a command that makes runs one after the other. On a terminal it is a bar that is drawn anew
/// in its place; elsewhere each run has a line.
pub struct Progress(Arc<Shared>);

/// Shows the run that is being made, every second, where the progress of its command has a bar. The
/// default shows nothing.
#[derive(Clone, Default)]
pub struct Live(Option<Arc<Shared>>);

/// A run is watched on another thread than that of the command, at times.
struct Shared {
    clock: Clock,
    /// `None`: nobody watches.
    bar: Option<ProgressBar>,
    state: Mutex<State>,
}

struct State {
    amount: Amount,
    /// What the last run was like.
    last: String,
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
        let state = Mutex::new(State { amount, last: String::new() });
        Self(Arc::new(Shared { clock: Clock::start(), bar, state }))
    }

    /// For whoever watches the runs.
    pub fn live(&self) -> Live {
        Live(self.0.bar.is_some().then(|| Arc::clone(&self.0)))
    }

    /// It has turned out that so much is left from now on.
    pub fn expect(&mut self, left: Duration) {
        self.0.state().amount.left = left.as_secs_f64();
    }

    /// A run, which was planned to be so long, has ended.
    pub fn ended(&mut self, planned: Duration, what: &str, run: &Run, more: &str) {
        self.step(planned, &format!("{what}  {}{}", percentiles(run), separated(more)));
    }

    /// The same of what is no run, or has none to show.
    pub fn step(&mut self, planned: Duration, said: &str) {
        let amount = {
            let mut state = self.0.state();
            state.amount.pass(planned.as_secs_f64());
            said.clone_into(&mut state.last);
            state.amount
        };
        match &self.0.bar {
            Some(bar) => self.0.draw(bar, 0.0, String::new()),
            None => {
                let left = self.0.left(amount);
                eprintln!("{:>3.0} %  {left:>11}  {said}", amount.share() * 100.0);
            }
        }
    }

    /// Prints something else, which stays above the bar.
    pub fn aside(&self, print: impl FnOnce()) {
        match &self.0.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Live {
    /// Of the run of this name, at this rate unless it is as fast as it goes.
    pub fn show(&self, name: &str, rate: Option<f64>, so_far: &SoFar<'_>) {
        if let Some(shared) = &self.0
            && let Some(bar) = &shared.bar
        {
            shared.draw(bar, so_far.elapsed as f64, present(name, rate, so_far));
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // It is whole after every step, so a panic elsewhere does no harm to it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws the bar with what the present run has come to in so many of its seconds.
    fn draw(&self, bar: &ProgressBar, seconds: f64, present: String) {
        let state = self.state();
        let mut amount = state.amount;
        amount.pass(seconds);
        bar.set_position((amount.share() * f64::from(STEPS)) as u64);
        bar.set_message(format!("{}  {}", self.left(amount), state.last));
        bar.set_prefix(present);
    }

    fn left(&self, amount: Amount) -> String {
        let elapsed = self.clock.now() as f64 / SECOND as f64;
        format!("{} left", length(amount.remaining(elapsed)))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // What comes next has the line to itself.
        if let Some(bar) = &self.0.bar {
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
    let style = ProgressStyle::with_template(TEMPLATE)
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

/// What a run has come to so far, on one line of a usual terminal.
fn present(name: &str, rate: Option<f64>, so_far: &SoFar<'_>) -> String {
    let latency = |share: f64| match so_far.latency.is_empty() {
        true => "-".to_owned(),
        false => units::time(so_far.latency.quantile(share) as f64),
    };
    let asked = rate.map_or(String::new(), |rate| format!(" of {}", units::number(rate)));
    format!(
        "{name}: {}{asked}/s  p50 {}  p99 {}  p99.9 {}  {} s of {}",
        units::number(so_far.rate()),
        latency(0.5),
        latency(0.99),
        latency(0.999),
        so_far.elapsed,
        length(so_far.of),
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

/// The last run is beside the bar, the present one below it.
const TEMPLATE: &str = "{bar:24} {percent:>3} %  {wide_msg}\n{prefix}";
/// Of the bar.
const STEPS: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Latency, sample};

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
    fn a_bar_is_drawn_in_place_with_the_last_run_and_the_present_one() {
        ProgressStyle::with_template(TEMPLATE).unwrap();
        let bar = bar(ProgressDrawTarget::hidden());
        let mut progress = Progress::shown(Duration::from_secs(10), Some(bar.clone()));
        let (second, live) = (Duration::from_secs(1), progress.live());
        progress.ended(second, "ramp", &sample("ringmain", 1000.0), "holds");
        assert_eq!((bar.position(), bar.prefix().as_str()), (100, ""));
        for part in ["9 s left", "ramp", "1000/s", "p99.9   100 us", "holds"] {
            assert!(bar.message().contains(part), "{part}: {}", bar.message());
        }
        let latency = Latency::new();
        let so_far = SoFar { elapsed: 3, of: 5.0, ended: 600, latency: &latency };
        live.show("tcp-echo", Some(200.0), &so_far);
        assert_eq!(bar.position(), 400);
        assert!(bar.message().starts_with("6 s left  ramp"), "{}", bar.message());
        assert_eq!(bar.prefix(), present("tcp-echo", Some(200.0), &so_far));
        progress.expect(Duration::from_secs(3));
        progress.step(second, "another");
        assert_eq!((bar.position(), bar.prefix().as_str()), (500, ""));
        assert!(bar.message().ends_with("another") && !bar.is_finished());
        drop(progress);
        assert!(bar.is_finished());
    }

    #[test]
    fn a_run_so_far_is_on_one_line() {
        let mut latency = Latency::new();
        let mut said = |rate, elapsed, of| {
            let so_far = SoFar { elapsed, of, ended: 59_700, latency: &latency };
            let line = present("syslog-tls", rate, &so_far);
            latency.record_n(150_000, 985);
            latency.record_n(2_000_000, 13);
            latency.record_n(31_000_000, 2);
            line
        };
        assert_eq!(said(None, 1, 2.0), "syslog-tls: 59.7 k/s  p50 -  p99 -  p99.9 -  1 s of 2 s");
        let line = said(Some(20_000.0), 3, 10.0);
        assert_eq!(
            line,
            "syslog-tls: 19.9 k of 20.0 k/s  p50 150 us  p99 2.00 ms  p99.9 31.0 ms  3 s of 10 s"
        );
    }

    #[test]
    fn without_a_terminal_a_run_is_not_shown_before_it_ends() {
        let progress = Progress::shown(Duration::from_secs(10), None);
        assert!(progress.live().0.is_none());
    }

    #[test]
    fn lengths_are_as_people_say_them() {
        let said = [0.4, 99.4, 100.0, 5_000.0, 36_060.0].map(length);
        assert_eq!(said, ["0 s", "99 s", "2 min", "84 min", "10 h 1 min"]);
    }

    #[test]
    fn a_run_is_told_by_its_own_percentiles_and_cost() {
        let mut run = sample("ringmain", 100.0);
        run.latency = crate::figures::Latency::new();
        for (nanoseconds, count) in [(1_000, 5_000), (2_000, 4_940), (3_000, 55), (4_000, 5)] {
            run.latency.record_n(nanoseconds, count);
        }
        let said = percentiles(&run);
        let said: Vec<&str> = said.split_ascii_whitespace().collect();
        let known = "100/s p50 1.00 us p99 2.00 us p99.9 3.00 us max 4.00 us CPU 10.0 us";
        assert_eq!(said.join(" "), known);
        let unknown = percentiles(&Run { cost: None, ..run });
        assert!(unknown.trim_end().ends_with("CPU        -"), "{unknown}");
    }
}
