//! Owns what units and connections cost, as taken from measured runs; it plans nothing.

use std::collections::BTreeMap;

use super::demand::Stream;
use crate::figures::Run;
use crate::judge::{Estimate, is_generator_limited};

/// Costs of one candidate, by protocol.
#[derive(Clone, Debug, Default)]
pub struct Costs {
    protocols: BTreeMap<String, ProtocolCost>,
}

/// What one protocol costs.
#[derive(Clone, Debug)]
pub struct ProtocolCost {
    /// Share of a worker's CPU that was used, and nanoseconds of CPU per unit at that; by share.
    /// A busy worker wakes up for more units at a time, so a unit costs less.
    cpu: Vec<(f64, Estimate)>,
    /// Bytes of payload of a unit, both ways.
    pub bytes_per_unit: f64,
    /// Connections, bytes by PSS per worker, and descriptors, of each run.
    held: Vec<(f64, f64, f64)>,
}

/// Nanoseconds of CPU, and whether they were measured there or next to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuCost {
    pub nanoseconds: Estimate,
    /// Between two shares that were measured, or at one.
    pub is_between: bool,
}

/// What a connection takes, and how that is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerConnection {
    pub bytes: f64,
    pub descriptors: f64,
    /// From runs with different numbers of connections; otherwise what the proxy takes by itself
    /// is counted in.
    pub is_slope: bool,
}

impl Costs {
    /// From runs at an offered rate that carried it; what the generator limited is left out.
    pub fn of<'a>(runs: impl Iterator<Item = &'a Run>) -> Self {
        let mut all: BTreeMap<String, Vec<&Run>> = BTreeMap::new();
        for run in runs.filter(|run| run.cost.is_some()) {
            all.entry(run.protocol.clone()).or_default().push(run);
        }
        all.retain(|_, runs| runs.iter().any(|run| is_usable(run)));
        let protocols = all.into_iter().map(|(name, runs)| (name, ProtocolCost::of(&runs)));
        Self { protocols: protocols.collect() }
    }

    pub fn of_protocol(&self, protocol: &str) -> Option<&ProtocolCost> {
        self.protocols.get(protocol)
    }

    /// Those that were measured for the stream by itself, or else those of its protocol.
    pub fn of_stream(&self, stream: &Stream) -> Option<&ProtocolCost> {
        self.of_protocol(&stream.key()).or_else(|| self.of_protocol(stream.protocol.as_str()))
    }

    /// Those of connecting.
    pub fn of_connects(&self, stream: &Stream) -> Option<&ProtocolCost> {
        self.of_protocol(stream.connect_protocol().as_str())
    }

    /// Per unit where so much of each worker's CPU is used. Beyond what was measured of this one,
    /// it changes as the costs of the others do that were measured there; and no further than they.
    pub fn cpu_at(&self, cost: &ProtocolCost, share: f64) -> CpuCost {
        let CpuCost { nanoseconds, is_between } = cost.cpu_at(share);
        let end = share.clamp(cost.lowest_share(), cost.highest_share());
        if is_between || end == share {
            return CpuCost { nanoseconds, is_between };
        }
        let reach = self.protocols.values().filter_map(|other| other.reach(end, share));
        let farthest = if share > end { reach.reduce(f64::max) } else { reach.reduce(f64::min) };
        let Some(farthest) = farthest else { return CpuCost { nanoseconds, is_between } };
        let there = self.protocols.values().filter(|other| {
            other.reach(end, farthest).is_some_and(|reach| (reach - farthest).abs() < BAND / 2.0)
        });
        let times = there.map(|other| {
            let at = |share: f64| other.cpu_at(share).nanoseconds.median;
            at(farthest) / at(end)
        });
        let times = Estimate::of(times).map_or(1.0, |times| times.median);
        CpuCost { nanoseconds: nanoseconds.scaled(times), is_between }
    }

    pub fn names(&self) -> Vec<&str> {
        self.protocols.keys().map(String::as_str).collect()
    }
}

fn is_usable(run: &Run) -> bool {
    let is_carried = run.is_carried(CARRIED) || is_carried_but_for_chance(run);
    is_carried && run.cpu_per_unit().is_some() && !is_generator_limited(run)
}

/// Of few units a large share may be on its way when the window ends: as many as two standard
/// deviations of a Poisson count.
fn is_carried_but_for_chance(run: &Run) -> bool {
    let sent = run.counts.sent as f64;
    run.offered.is_some() && sent - run.units() <= 2.0 * sent.sqrt()
}

impl ProtocolCost {
    fn of(runs: &[&Run]) -> Self {
        let share = |run: &Run| run.cpus_used().unwrap_or(0.0) / f64::from(run.workers.max(1));
        let usable = || runs.iter().filter(|run| is_usable(run));
        let connections = usual(usable().map(|run| run.connections));
        // Runs with many more connections tell of memory, as do those that carried too little.
        let mut alike: Vec<&Run> =
            usable().filter(|run| run.connections == connections).copied().collect();
        let offered = |run: &Run| run.offered.unwrap_or(run.achieved);
        alike.sort_by(|a, b| offered(a).total_cmp(&offered(b)));
        let repeats = alike.chunk_by(|a, b| offered(b) <= offered(a) * (1.0 + NEAR));
        let estimate = |runs: &[&Run]| {
            let at = Estimate::of(runs.iter().map(|run| share(run)))?.median;
            Some((at, Estimate::of(runs.iter().filter_map(|run| run.cpu_per_unit()))?))
        };
        let held = runs.iter().filter_map(|run| {
            let (cost, workers) = (run.cost.as_ref()?, f64::from(run.workers.max(1)));
            let (connections, memory) = (f64::from(run.connections), cost.memory_pss as f64);
            Some((connections / workers, memory / workers, f64::from(cost.descriptors)))
        });
        let bytes = Estimate::of(usable().map(|run| run.bytes / run.achieved.max(1.0)));
        let mut cpu: Vec<(f64, Estimate)> = repeats.filter_map(estimate).collect();
        cpu.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { cpu, bytes_per_unit: bytes.map_or(0.0, |of| of.median), held: held.collect() }
    }

    /// Per unit where so much of each worker's CPU is used, between the two measured shares next
    /// to it; beyond them, as at the last.
    pub fn cpu_at(&self, share: f64) -> CpuCost {
        let after = self.cpu.partition_point(|(measured, _)| *measured < share);
        match (after.checked_sub(1).map(|before| &self.cpu[before]), self.cpu.get(after)) {
            (Some((low, a)), Some((high, b))) => {
                let part = (share - low) / (high - low);
                let mix = |a: f64, b: f64| a + (b - a) * part;
                let between = Estimate {
                    median: mix(a.median, b.median),
                    low: mix(a.low, b.low),
                    high: mix(a.high, b.high),
                    confidence: a.confidence.min(b.confidence),
                    runs: a.runs + b.runs,
                };
                CpuCost { nanoseconds: between, is_between: true }
            }
            // The constructor is given one run at least for each protocol.
            (Some((at, of)), None) | (None, Some((at, of))) => {
                CpuCost { nanoseconds: *of, is_between: (at - share).abs() < BAND }
            }
            (None, None) => unreachable!("a protocol without runs has no costs"),
        }
    }

    /// The idlest that a worker was measured at.
    pub fn lowest_share(&self) -> f64 {
        self.cpu.first().map_or(0.0, |(share, _)| *share)
    }

    /// How far from one share towards another it was measured, if it was at the first.
    fn reach(&self, from: f64, to: f64) -> Option<f64> {
        let measured = self.lowest_share() - BAND / 2.0..=self.highest_share() + BAND / 2.0;
        let reach = to.clamp(self.lowest_share(), self.highest_share());
        (measured.contains(&from) && (reach - from) * (to - from) > 0.0).then_some(reach)
    }

    /// The busiest that a worker was measured at.
    pub fn highest_share(&self) -> f64 {
        self.cpu.last().map_or(0.0, |(share, _)| *share)
    }

    /// Whether units of so many bytes are like those that were measured.
    pub fn is_like(&self, bytes_per_unit: f64) -> bool {
        (self.bytes_per_unit / 2.0..=self.bytes_per_unit * 2.0).contains(&bytes_per_unit)
    }

    /// The line through the runs with the fewest and the most connections, where these differ.
    pub fn per_connection(&self) -> PerConnection {
        // Of the same number the one with the least memory: load takes buffers, which stay.
        let by_count = |a: &&(f64, f64, f64), b: &&(f64, f64, f64)| {
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        };
        let ends = self.held.iter().min_by(by_count).zip(self.held.iter().max_by(by_count));
        let Some((few, many)) = ends else {
            return PerConnection { bytes: 0.0, descriptors: 0.0, is_slope: false };
        };
        // Where buffers of the load outweigh the connections, there is no slope to be seen.
        if many.0 >= few.0 * 2.0 && many.1 > few.1 {
            let of = many.0 - few.0;
            let bytes = (many.1 - few.1) / of;
            let descriptors = ((many.2 - few.2) / of).max(0.0);
            return PerConnection { bytes, descriptors, is_slope: true };
        }
        let of = many.0.max(1.0);
        PerConnection { bytes: many.1 / of, descriptors: many.2 / of, is_slope: false }
    }
}

/// What most of them are; of several the least.
fn usual(counts: impl Iterator<Item = u32>) -> u32 {
    let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
    counts.for_each(|count| *seen.entry(count).or_default() += 1);
    seen.into_iter().rev().max_by_key(|(_, times)| *times).map_or(0, |(count, _)| count)
}

/// Of what left: units of agents that are slow on purpose end late, at whatever rate.
const CARRIED: f64 = 0.9;
/// Runs at offered rates that differ by no more than this part are repeats of each other.
const NEAR: f64 = 0.05;
/// Shares of a CPU this near to each other are as good as the same.
const BAND: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::sample;

    fn at(share: f64, nanoseconds: f64) -> Run {
        let mut run = sample("ringmain", share * 1e9 / nanoseconds);
        run.cost.as_mut().unwrap().cpu_seconds = share * run.window;
        run
    }

    #[test]
    fn a_cost_is_taken_where_the_worker_is_as_busy() {
        let runs = [at(0.2, 20e3), at(0.22, 21e3), at(0.81, 10e3)];
        let costs = Costs::of(runs.iter());
        let cost = costs.of_protocol("tcp-echo").unwrap();
        let half = cost.cpu_at(0.51);
        assert!((half.nanoseconds.median - 15.25e3).abs() < 100.0 && half.is_between, "{half:?}");
        let full = cost.cpu_at(1.0);
        assert!((full.nanoseconds.median - 10e3).abs() < 1.0 && !full.is_between, "{full:?}");
        assert!((cost.cpu_at(0.0).nanoseconds.median - 20.5e3).abs() < 100.0);
        assert!((cost.highest_share() - 0.81).abs() < 1e-9);
    }

    #[test]
    fn runs_at_one_rate_are_repeats_however_busy_the_proxy_was() {
        let mut runs = [at(0.2, 20e3), at(0.2, 20e3), at(0.2, 20e3)];
        for (run, share) in runs.iter_mut().zip([0.2, 0.31, 0.24]) {
            run.cost.as_mut().unwrap().cpu_seconds = share * run.window;
        }
        let costs = Costs::of(runs.iter());
        let cost = costs.of_protocol("tcp-echo").unwrap().cpu_at(0.24);
        let wanted = (24e3, 20e3, 31e3, 3);
        let Estimate { median, low, high, runs, .. } = cost.nanoseconds;
        let rounded = [median, low, high].map(f64::round);
        assert_eq!((rounded[0], rounded[1], rounded[2], runs), wanted);
    }

    #[test]
    fn beyond_what_was_measured_a_cost_changes_as_those_of_the_others() {
        let named = |name: &str, run: Run| Run { protocol: name.to_owned(), ..run };
        let slow = named("ndjson", at(0.02, 100e3));
        let halved = [at(0.02, 20e3), at(0.5, 10e3)];
        let kept = [at(0.02, 30e3), at(0.4, 24e3)].map(|run| named("syslog-tcp", run));
        let of = |runs: Vec<Run>, share: f64| {
            let costs = Costs::of(runs.iter());
            let cost = costs.cpu_at(costs.of_protocol("ndjson").unwrap(), share);
            (cost.nanoseconds.median.round(), cost.is_between)
        };
        // Nobody else says more.
        assert_eq!(of(vec![slow.clone()], 0.5), (100e3, false));
        let one = [&[slow.clone()][..], &halved].concat();
        assert_eq!(of(one.clone(), 0.5), (50e3, false));
        assert_eq!(of(one.clone(), 0.26), (75e3, false));
        assert_eq!(of(one.clone(), 0.02), (100e3, true));
        // No further than they were measured, and by those that were measured so far.
        assert_eq!(of(one.clone(), 0.9), (50e3, false));
        let two = [&one[..], &kept].concat();
        assert_eq!(of(two.clone(), 0.5), (50e3, false));
        // Halfway between 0.8 and what the other is at 0.4.
        let middle = f64::midpoint(0.8, (20e3 - 10e3 * 0.38 / 0.48) / 20e3);
        assert_eq!(of(two, 0.4), ((100e3 * middle).round(), false));
        // The same towards idler workers.
        let busy = named("ndjson", at(0.5, 100e3));
        assert_eq!(of([&[busy][..], &halved].concat(), 0.02), (200e3, false));
    }

    #[test]
    fn runs_that_tell_nothing_of_the_proxy_are_left_out() {
        let behind = Run { achieved: 10.0, ..at(0.5, 10e3) };
        let closed = Run { offered: None, ..at(0.5, 10e3) };
        let mut limited = at(0.5, 10e3);
        limited.generator.generator = 1.0;
        let blind = Run { cost: None, ..at(0.5, 10e3) };
        for run in [behind, closed, limited, blind] {
            assert!(Costs::of([&run].into_iter()).names().is_empty(), "{run:?}");
        }
    }

    #[test]
    fn few_units_are_carried_if_only_chance_is_missing() {
        let names = |sent: u64, ended: f64| {
            let mut run = at(0.01, 500e3);
            (run.counts.sent, run.achieved) = (sent, ended / run.window);
            Costs::of([&run].into_iter()).names().len()
        };
        assert_eq!([names(16, 13.0), names(16, 7.0), names(160, 19.0)], [1, 0, 0]);
        assert_eq!([names(10_000, 9_100.0), names(10_000, 8_900.0)], [1, 0]);
    }

    #[test]
    fn a_connection_is_the_difference_of_many_and_few() {
        let mut few = at(0.2, 10e3);
        let mut many = at(0.2, 30e3);
        (few.connections, many.connections) = (100, 2100);
        let set = |run: &mut Run, memory: u64, descriptors: u32| {
            let cost = run.cost.as_mut().unwrap();
            (cost.memory_pss, cost.descriptors) = (memory, descriptors);
        };
        set(&mut few, 10_000_000, 250);
        set(&mut many, 30_000_000, 4250);
        many.achieved /= 2.0;
        let mut buffered = few.clone();
        set(&mut buffered, 40_000_000, 250);
        let costs = Costs::of([&few, &buffered, &many].into_iter());
        let cost = costs.of_protocol("tcp-echo").unwrap();
        let of = cost.per_connection();
        assert_eq!((of.bytes, of.descriptors, of.is_slope), (10_000.0, 2.0, true));
        // What the run with many cost is not mixed with the others.
        assert!((cost.cpu_at(0.2).nanoseconds.median - 10e3).abs() < 1.0);
        let costs = Costs::of([&few].into_iter());
        assert!(!costs.of_protocol("tcp-echo").unwrap().per_connection().is_slope);
        let costs = Costs::of([&buffered, &many].into_iter());
        let of = costs.of_protocol("tcp-echo").unwrap().per_connection();
        assert!(!of.is_slope && of.bytes > 10_000.0, "{of:?}");
    }

    #[test]
    fn units_of_another_size_are_another_cost() {
        let costs = Costs::of([at(0.2, 10e3)].iter());
        let cost = costs.of_protocol("tcp-echo").unwrap();
        assert_eq!(cost.bytes_per_unit, 256.0);
        assert!(cost.is_like(128.0) && cost.is_like(500.0));
        assert!(!cost.is_like(100.0) && !cost.is_like(600.0));
    }
}
