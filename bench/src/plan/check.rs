//! Owns the check of a prediction: what small runs say of a mixed load, against that load.

use serde::{Deserialize, Serialize};

use super::costs::Costs;
use super::demand::Stream;
use crate::figures::Run;
use crate::judge::{Estimate, is_generator_limited};
use crate::report::units;

/// CPUs that were predicted for a mixed load and that it used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Units per second of all streams together.
    pub rate: f64,
    pub predicted: f64,
    pub measured: Estimate,
    /// Of the prediction, in parts of what was measured.
    pub error: f64,
    /// The mix was not carried, or the generator was its limit: it is no check of the prediction.
    #[serde(default)]
    pub is_limited: bool,
    /// Of these, that the generator was its limit.
    #[serde(default)]
    pub is_of_generator: bool,
}

/// CPUs that the streams take together on so many workers. What a unit costs follows from how busy
/// the workers are with all of them, and how busy they are from what units cost: the two are
/// brought together. `None` where a protocol was not measured.
pub fn predicted_cpus(costs: &Costs, streams: &[Stream], workers: f64) -> Option<f64> {
    let mut cpus = workers / 2.0;
    for _ in 0..ROUNDS {
        let share = (cpus / workers).min(1.0);
        let taken = streams.iter().map(|stream| {
            let units = costs.cpu_at(costs.of_stream(stream)?, share).nanoseconds.median;
            let connects = match stream.reconnects_per_second > 0.0 {
                true => costs.cpu_at(costs.of_connects(stream)?, share).nanoseconds.median,
                false => 0.0,
            };
            let of_connects = stream.reconnects_per_second * connects;
            Some((stream.units_per_second * units + of_connects) / 1e9)
        });
        // Half of the way each time, so that it can not swing.
        cpus = f64::midpoint(cpus, taken.sum::<Option<f64>>()?);
    }
    Some(cpus)
}

/// The busiest that all kinds were measured at, but for those that hardly matter. `None` where one
/// was not measured.
pub fn highest_share(costs: &Costs, streams: &[Stream]) -> Option<f64> {
    let taken = |stream: &Stream| {
        let cost = costs.of_stream(stream)?;
        let nanoseconds = stream.units_per_second * cost.cpu_at(0.0).nanoseconds.median;
        Some((nanoseconds, cost.highest_share()))
    };
    let kinds: Vec<(f64, f64)> = streams.iter().map(taken).collect::<Option<_>>()?;
    let all: f64 = kinds.iter().map(|(nanoseconds, _)| nanoseconds).sum();
    let matter = kinds.iter().filter(|(nanoseconds, _)| *nanoseconds >= all * SLIGHT);
    matter.map(|(_, share)| *share).min_by(f64::total_cmp)
}

/// How many times the streams' rates make so many CPUs; connections stay as they are.
pub fn times_for(costs: &Costs, streams: &[Stream], workers: f64, cpus: f64) -> Option<f64> {
    let (mut low, mut high) = (1e-6, 1e6_f64);
    for _ in 0..ROUNDS {
        let middle = (low * high).sqrt();
        let taken = predicted_cpus(costs, &scaled(streams, middle), workers)?;
        *(if taken < cpus { &mut low } else { &mut high }) = middle;
    }
    Some((low * high).sqrt())
}

/// The same streams with so many times their units.
pub fn scaled(streams: &[Stream], times: f64) -> Vec<Stream> {
    let scale =
        |of: &Stream| Stream { units_per_second: of.units_per_second * times, ..of.clone() };
    streams.iter().map(scale).collect()
}

impl Check {
    /// Sets runs of a mixed load against what was predicted for them. `None`: they tell nothing of
    /// the proxy's CPU.
    pub fn of(predicted: f64, mixed: &[Run]) -> Option<Self> {
        let measured = Estimate::of(mixed.iter().filter_map(Run::cpus_used))?;
        let rate = Estimate::of(mixed.iter().map(|run| run.achieved))?.median;
        (measured.median > 0.0).then(|| {
            let error = predicted / measured.median - 1.0;
            let is_of_generator = mixed.iter().any(is_generator_limited);
            let is_carried = mixed.iter().all(|run| run.is_carried(CARRIED));
            let is_limited = is_of_generator || !is_carried;
            Self { rate, predicted, measured, error, is_limited, is_of_generator }
        })
    }

    pub fn text(&self) -> String {
        let Estimate { median, low, high, runs, .. } = self.measured;
        let [predicted, median, low, high] = [self.predicted, median, low, high].map(units::digits);
        let limited = match (self.is_of_generator, self.is_limited) {
            (true, _) => ", but the generator was the limit, and not the proxy",
            (false, true) => ", but the mix was not carried in full",
            (false, false) => "",
        };
        format!(
            "Check at {}/s of all kinds: predicted {predicted} CPUs, measured {median} \
             [{low}..{high}] in {runs} runs: {:+.1} %{limited}",
            units::number(self.rate),
            self.error * 100.0
        )
    }
}

/// A kind that takes less than this part of the CPUs moves no prediction.
const SLIGHT: f64 = 0.05;
/// Of what left. A mix may have agents that are slow on purpose.
const CARRIED: f64 = 0.95;
/// Each halves what is left of the way.
const ROUNDS: u32 = 50;

#[cfg(test)]
mod tests {
    use super::super::demand::sample_demand;
    use super::*;
    use crate::figures::sample;
    use crate::generate::Protocol;

    /// CPUs of a worker whose units cost twice the base when it is idle, and the base when full.
    fn share(parts: &[(f64, f64)]) -> f64 {
        let base: f64 = parts.iter().map(|(rate, base)| rate * base / 1e9).sum();
        // share = base * (2 - share)
        2.0 * base / (1.0 + base)
    }

    fn run(protocol: &str, parts: &[(f64, f64)]) -> Run {
        let rate = parts.iter().map(|(rate, _)| rate).sum();
        let mut run = sample("ringmain", rate);
        run.protocol = protocol.to_owned();
        run.cost.as_mut().unwrap().cpu_seconds = share(parts) * run.window;
        run
    }

    fn measured(protocol: &str, base: f64) -> Vec<Run> {
        let rates = (1..=18).map(|step| f64::from(step) * 0.05 * 1e9 / base);
        rates.map(|rate| run(protocol, &[(rate, base)])).collect()
    }

    fn costs() -> Costs {
        let runs =
            [measured("tcp-echo", 10e3), measured("tls-echo", 25e3), measured("tcp-connect", 60e3)];
        Costs::of(runs.concat().iter())
    }

    fn stream(protocol: Protocol, units_per_second: f64) -> Stream {
        let mut stream = sample_demand().streams.remove(0);
        (stream.protocol, stream.units_per_second) = (protocol, units_per_second);
        stream.reconnects_per_second = 0.0;
        stream
    }

    #[test]
    fn small_runs_foretell_a_mixed_one_within_a_tenth() {
        for (plain, tls, reconnects) in [(5e3, 2e3, 0.0), (20e3, 10e3, 500.0), (10e3, 4e3, 5e3)] {
            let mut streams =
                vec![stream(Protocol::TcpEcho, plain), stream(Protocol::TlsEcho, tls)];
            streams[0].reconnects_per_second = reconnects;
            let mixed = run("mix", &[(plain, 10e3), (tls, 25e3), (reconnects, 60e3)]);
            let predicted = predicted_cpus(&costs(), &streams, 1.0).unwrap();
            let check = Check::of(predicted, &[mixed.clone(), mixed.clone(), mixed]).unwrap();
            assert!(check.error.abs() < 0.10, "{check:?}");
        }
    }

    #[test]
    fn the_rate_for_a_share_is_the_one_that_takes_it() {
        let streams = [stream(Protocol::TcpEcho, 1e3), stream(Protocol::TlsEcho, 1e3)];
        let costs = costs();
        let times = times_for(&costs, &streams, 1.0, 0.6).unwrap();
        let cpus = predicted_cpus(&costs, &scaled(&streams, times), 1.0).unwrap();
        assert!((cpus - 0.6).abs() < 0.02, "{times}: {cpus}");
    }

    #[test]
    fn all_kinds_were_measured_up_to_the_least_of_their_highest() {
        let runs = [measured("tcp-echo", 10e3), measured("tls-echo", 25e3)[..6].to_vec()].concat();
        let costs = Costs::of(runs.iter());
        let both = [stream(Protocol::TcpEcho, 1.0), stream(Protocol::TlsEcho, 1.0)];
        let highest = highest_share(&costs, &both).unwrap();
        assert!((highest - share(&[(0.3 * 1e9 / 25e3, 25e3)])).abs() < 1e-9, "{highest}");
        // What hardly matters does not hold the check down.
        let one = [stream(Protocol::TcpEcho, 1000.0), stream(Protocol::TlsEcho, 1.0)];
        assert!(highest_share(&costs, &one).unwrap() > highest * 1.2);
        assert_eq!(highest_share(&costs, &[stream(Protocol::Ndjson, 1.0)]), None);
    }

    #[test]
    fn a_wrong_prediction_shows_its_error() {
        let mut mixed = sample("ringmain", 1000.0);
        mixed.cost.as_mut().unwrap().cpu_seconds = mixed.window;
        let check = Check::of(1.2, &[mixed.clone()]).unwrap();
        assert!((check.error - 0.2).abs() < 1e-12);
        assert!(check.text().contains("+20.0 %"), "{}", check.text());
        assert!(!check.is_limited);
        let behind = Run { achieved: 900.0, ..mixed.clone() };
        let behind = Check::of(1.2, &[mixed.clone(), behind]).unwrap();
        assert!(behind.is_limited && behind.text().contains("not carried in full"));
        let mut busy = mixed.clone();
        busy.generator.generator = 0.99;
        busy.cost.as_mut().unwrap().cpu_seconds = mixed.window / 2.0;
        let busy = Check::of(1.2, &[mixed.clone(), busy]).unwrap();
        assert!(busy.is_limited && busy.text().contains("the generator was the limit"));
        assert!(!busy.text().contains("not carried"), "{}", busy.text());
        assert_eq!(Check::of(1.2, &[Run { cost: None, ..mixed }]), None);
    }

    #[test]
    fn what_was_not_measured_is_not_foretold() {
        let costs = costs();
        let strange = [stream(Protocol::Ndjson, 1.0)];
        assert_eq!(predicted_cpus(&costs, &strange, 1.0), None);
        let mut reconnecting = stream(Protocol::TlsEcho, 1.0);
        reconnecting.reconnects_per_second = 1.0;
        assert_eq!(predicted_cpus(&costs, &[reconnecting], 1.0), None);
    }
}
