//! Owns systems whose limit is known, for the tests of what judges real ones.

use std::time::Duration;

use super::system::{Fault, Load, System};
use crate::figures::{Busy, Cost, Counts, Latency, Run};

/// One server with a queue: units come at random times (Poisson), take random times
/// (exponential), and wait for each other. Its latency has a closed form: exponential, with a
/// mean of 1 / (capacity - rate).
pub struct Queue {
    /// Units per second that it serves when it never idles.
    pub capacity: f64,
    pub random: fastrand::Rng,
    pub runs: u32,
}

/// Fast up to its limit, and far too slow above it; sometimes a run goes wrong by itself.
pub struct Step {
    pub limit: f64,
    /// The share of runs below the limit that miss all the same.
    pub flakes: f64,
    pub random: fastrand::Rng,
    pub runs: u32,
}

/// Gives out after some runs.
pub struct Mortal<S> {
    pub system: S,
    pub runs_left: u32,
}

impl Queue {
    pub fn new(capacity: f64, seed: u64) -> Self {
        Self { capacity, random: fastrand::Rng::with_seed(seed), runs: 0 }
    }

    /// The highest rate at which this quantile stays within so many nanoseconds.
    pub fn limit(&self, quantile: f64, nanoseconds: f64) -> f64 {
        self.capacity + (1.0 - quantile).ln() / (nanoseconds / 1e9)
    }
}

impl System for Queue {
    fn run(&mut self, load: &Load) -> Result<Run, Fault> {
        self.runs += 1;
        let rate = load.rate.unwrap_or(self.capacity);
        let window = load.window.as_secs_f64();
        let mut run = quiet_run(rate, window);
        run.latency = Latency::new();
        let begin = load.warm_up.as_secs_f64();
        let mut exponential = |mean: f64| -(1.0 - self.random.f64()).ln() * mean;
        let (mut now, mut free_at, mut ended, mut busy) = (0.0, 0.0_f64, 0_u64, 0.0);
        loop {
            now += exponential(1.0 / rate);
            if now > begin + window {
                break;
            }
            let service = exponential(1.0 / self.capacity);
            free_at = free_at.max(now) + service;
            if now >= begin {
                run.latency.record(((free_at - now) * 1e9) as u64);
                ended += u64::from(free_at <= begin + window);
                busy += service;
            }
        }
        run.achieved = ended as f64 / window;
        let sent = run.latency.count();
        run.counts = Counts { sent, answered: sent, ..Counts::default() };
        run.cost = Some(Cost { cpu_seconds: busy.min(window), ..run.cost.unwrap_or_default() });
        Ok(run)
    }
}

impl Step {
    pub fn new(limit: f64, flakes: f64, seed: u64) -> Self {
        Self { limit, flakes, random: fastrand::Rng::with_seed(seed), runs: 0 }
    }
}

impl System for Step {
    fn run(&mut self, load: &Load) -> Result<Run, Fault> {
        self.runs += 1;
        let rate = load.rate.unwrap_or(self.limit);
        let mut run = quiet_run(rate, load.window.as_secs_f64());
        if rate > self.limit || self.random.f64() < self.flakes {
            run.latency.record_n(50_000_000, run.latency.count() / 10 + 1);
        }
        Ok(run)
    }
}

impl<S: System> System for Mortal<S> {
    fn run(&mut self, load: &Load) -> Result<Run, Fault> {
        if self.runs_left == 0 {
            return Err(Fault::Unreachable("the proxy has ended".to_owned()));
        }
        self.runs_left -= 1;
        self.system.run(load)
    }
}

/// Every unit takes a tenth of a millisecond, and ten microseconds of CPU.
pub fn quiet_run(rate: f64, window: f64) -> Run {
    let sent = (rate * window) as u64;
    let mut latency = Latency::new();
    latency.record_n(100_000, sent);
    Run {
        candidate: "simulated".to_owned(),
        protocol: "tcp-echo".to_owned(),
        connections: 64,
        workers: 1,
        offered: Some(rate),
        achieved: rate,
        bytes: rate * 256.0,
        window,
        latency,
        counts: Counts { sent, answered: sent, ..Counts::default() },
        cost: Some(Cost { cpu_seconds: sent as f64 * 1e-5, ..Cost::default() }),
        generator: Busy::default(),
        series: Vec::new(),
        told: std::collections::BTreeMap::new(),
        groups: Vec::new(),
    }
}

/// A load that a queue of a thousand units per second is simulated under in no time.
pub fn load_of(rate: f64) -> Load {
    Load {
        rate: Some(rate),
        connections: 64,
        window: Duration::from_secs(60),
        warm_up: Duration::from_secs(5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_as_slow_as_theory_has_it() {
        for rate in [300.0, 600.0, 800.0] {
            let mut queue = Queue::new(1000.0, 7);
            let run = queue.run(&load_of(rate)).unwrap();
            for quantile in [0.5_f64, 0.9, 0.99] {
                let theory = -(1.0 - quantile).ln() / (1000.0 - rate) * 1e9;
                let found = run.latency.quantile(quantile) as f64;
                assert!((found / theory - 1.0).abs() < 0.12, "{rate} {quantile}: {found}");
            }
            assert!(
                (queue.limit(0.99, -(0.01_f64).ln() / (1000.0 - rate) * 1e9) - rate).abs() < 1e-6
            );
        }
    }

    #[test]
    fn above_its_capacity_the_queue_falls_behind() {
        let run = Queue::new(1000.0, 7).run(&load_of(1500.0)).unwrap();
        assert!((run.achieved / 1000.0 - 1.0).abs() < 0.1, "{}", run.achieved);
        assert!(run.latency.max() > 10_000_000_000);
    }
}
