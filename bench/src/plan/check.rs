//! Owns the check of a prediction: what small runs say of a mixed load, against that load.

use serde::{Deserialize, Serialize};

use super::costs::Costs;
use super::demand::Stream;
use crate::figures::Run;
use crate::judge::Estimate;
use crate::report::units;

/// CPUs that were predicted and that were used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub predicted: f64,
    pub measured: Estimate,
    /// Of the prediction, in parts of what was measured.
    pub error: f64,
}

/// CPUs that the streams take together on so many workers. What a unit costs follows from how busy
/// the workers are with all of them, and how busy they are from what units cost: the two are
/// brought together. `None` where a protocol was not measured.
pub fn predicted_cpus(costs: &Costs, streams: &[Stream], workers: f64) -> Option<f64> {
    let mut cpus = workers / 2.0;
    for _ in 0..ROUNDS {
        let share = (cpus / workers).min(1.0);
        let taken = streams.iter().map(|stream| {
            let (cost, _) = costs.of_protocol(&stream.protocol)?.cpu_at(share);
            Some(stream.units_per_second * cost.median / 1e9)
        });
        // Half of the way each time, so that it can not swing.
        cpus = f64::midpoint(cpus, taken.sum::<Option<f64>>()?);
    }
    Some(cpus)
}

/// Sets runs of a mixed load against the prediction. `None` where a protocol was not measured or
/// nothing is known of the proxy's CPU.
pub fn checked(costs: &Costs, streams: &[Stream], mixed: &[Run]) -> Option<Check> {
    let workers = mixed.first().map_or(1, |run| run.workers.max(1));
    let predicted = predicted_cpus(costs, streams, f64::from(workers))?;
    let measured = Estimate::of(mixed.iter().filter_map(Run::cpus_used))?;
    Some(Check::of(predicted, measured))
}

impl Check {
    pub fn of(predicted: f64, measured: Estimate) -> Self {
        let error = if measured.median > 0.0 { predicted / measured.median - 1.0 } else { 0.0 };
        Self { predicted, measured, error }
    }

    pub fn text(&self) -> String {
        let Estimate { median, low, high, runs, .. } = self.measured;
        let [predicted, median, low, high] = [self.predicted, median, low, high].map(units::digits);
        format!(
            "Check: predicted {predicted} CPUs for the mixed load, measured {median} \
             [{low}..{high}] in {runs} runs: {:+.1} %",
            self.error * 100.0
        )
    }
}

/// Each halves what is left of the way.
const ROUNDS: u32 = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::sample;
    use crate::judge::{Fault, Load, System, simulated_load};

    /// A worker whose units cost less the busier it is, by a known rule.
    struct Worker {
        parts: Vec<(f64, f64)>,
    }

    impl Worker {
        /// Twice the base when idle, the base when full.
        fn share(&self) -> f64 {
            let base: f64 = self.parts.iter().map(|(rate, base)| rate * base / 1e9).sum();
            // share = base * (2 - share)
            2.0 * base / (1.0 + base)
        }
    }

    impl System for Worker {
        fn run(&mut self, _load: &Load) -> Result<Run, Fault> {
            let rate = self.parts.iter().map(|(rate, _)| rate).sum();
            let mut run = sample("ringmain", rate);
            run.cost.as_mut().unwrap().cpu_seconds = self.share() * run.window;
            Ok(run)
        }
    }

    fn measured(protocol: &str, base: f64) -> Vec<Run> {
        let rates = (1..=18).map(|step| f64::from(step) * 0.05 * 1e9 / base);
        let load = simulated_load();
        let runs = rates.map(|rate| Worker { parts: vec![(rate, base)] }.run(&load).unwrap());
        runs.map(|run| Run { protocol: protocol.to_owned(), ..run }).collect()
    }

    fn stream(protocol: &str, units_per_second: f64) -> Stream {
        Stream {
            protocol: protocol.to_owned(),
            agents: 10,
            units_per_second,
            bytes_per_unit: 100.0,
            connects_per_second: 0.0,
        }
    }

    #[test]
    fn small_runs_foretell_a_mixed_one_within_a_tenth() {
        let runs = [measured("tcp-echo", 10e3), measured("tls-echo", 25e3)].concat();
        let costs = Costs::of(runs.iter());
        for (plain, tls) in [(5e3, 2e3), (20e3, 10e3), (30e3, 12e3)] {
            let streams = [stream("tcp-echo", plain), stream("tls-echo", tls)];
            let mut mixed = Worker { parts: vec![(plain, 10e3), (tls, 25e3)] };
            let load = simulated_load();
            let runs: Vec<Run> = (0..3).map(|_| mixed.run(&load).unwrap()).collect();
            let check = checked(&costs, &streams, &runs).unwrap();
            assert!(check.error.abs() < 0.10, "{check:?}");
        }
    }

    #[test]
    fn a_wrong_prediction_shows_its_error() {
        let check = Check::of(1.2, Estimate::of([1.0, 1.0, 1.0]).unwrap());
        assert!((check.error - 0.2).abs() < 1e-12);
        assert!(check.text().contains("+20.0 %"), "{}", check.text());
    }

    #[test]
    fn what_was_not_measured_is_not_foretold() {
        let costs = Costs::of(measured("tcp-echo", 10e3).iter());
        assert_eq!(predicted_cpus(&costs, &[stream("udp", 1.0)], 1.0), None);
    }
}
