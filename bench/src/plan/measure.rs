//! Owns the small runs that costs are taken from, one kind of agents at a time, and the mixed ones
//! that a prediction is checked by: in turns, so that what disturbs the host disturbs all. It
//! judges nothing.

use std::cell::RefCell;
use std::time::Duration;

use super::demand::{connect_protocol, is_visit};
use crate::capacity::{Site, steady};
use crate::figures::Run;
use crate::generate::{Generator, Group, Order, Pace, Protocol, Sizes};
use crate::judge::{Fault, Load, System};
use crate::report::Progress;

/// What is measured, and how long.
pub struct Measure<'a> {
    pub site: &'a Site,
    pub order: &'a Order,
    /// What costs of each group go by, in their order; `None`: it is left out.
    pub keys: &'a [Option<String>],
    /// Open at a time, all together.
    pub connections: u32,
    pub seconds: u32,
    /// How often each rate is measured, at least two.
    pub rounds: u32,
    pub progress: RefCell<Progress>,
}

/// One kind of agents by itself, and the rates at which it is measured.
pub struct Alone<S = Generator> {
    key: String,
    group: Group,
    connections: u32,
    system: S,
    rates: Vec<f64>,
}

/// All kinds together at one rate.
pub struct Mix<S = Generator> {
    pub rate: f64,
    system: S,
    pub runs: Vec<Run>,
}

impl Measure<'_> {
    /// Refuses what this host can not make, before the first run.
    pub fn check(&self) -> Result<(), Fault> {
        for (key, group, connections) in self.kinds() {
            let most = if is_visit(group.protocol) { connections } else { connections * MANY };
            let generator = self.generator(key, group, most);
            generator.check(&self.load(Some(FIRST_RATE), most))?;
            generator.find_proxy()?;
        }
        Ok(())
    }

    /// The first round, which finds the rates: each follows from the run before, as costs are not
    /// known yet. Runs are added to `runs` one by one, so that a fault leaves what there is.
    pub fn explore(&self, runs: &mut Vec<Run>) -> Result<Vec<Alone>, Fault> {
        let mut all = Vec::new();
        for (key, group, connections) in self.kinds() {
            let system = self.generator(key.clone(), group.clone(), connections);
            let mut kind = Alone { key, group, connections, system, rates: Vec::new() };
            self.find_rates(&mut kind, runs)?;
            all.push(kind);
        }
        Ok(all)
    }

    /// The whole mix at each of these rates, not run yet.
    pub fn mixes(&self, rates: &[f64]) -> Vec<Mix> {
        let mix = |rate: &f64| {
            let system = self.site.through_ringmain(self.mixed(), 1, false);
            Mix { rate: *rate, system, runs: Vec::new() }
        };
        rates.iter().map(mix).collect()
    }

    fn mixed(&self) -> Order {
        let kept = self.order.groups.iter().zip(self.keys).filter(|(_, key)| key.is_some());
        let groups = kept.map(|(group, _)| steady(group)).collect();
        Order { groups, ..self.order.clone() }
    }

    /// The rounds that follow: every kind at each of its rates, and the mixes among them.
    pub fn rounds(
        &self,
        kinds: &mut [Alone<impl System>],
        mixes: &mut [Mix<impl System>],
        runs: &mut Vec<Run>,
    ) -> Result<(), Fault> {
        for round in 2..=self.rounds {
            for step in 0..SHARES.len() {
                for kind in kinds.iter_mut() {
                    let Some(&rate) = kind.rates.get(step) else { continue };
                    let run = kind.system.run(&self.load(Some(rate), kind.connections))?;
                    self.tell(&format!("{}, round {round}", kind.key), &run);
                    runs.push(run);
                }
                // Not all at one end of the round.
                let now = mixes.iter_mut().enumerate();
                for (_, mix) in now.filter(|(place, _)| place % SHARES.len() == step) {
                    let run = mix.system.run(&self.load(Some(mix.rate), self.connections))?;
                    self.tell(&format!("mixed, round {round}"), &run);
                    mix.runs.push(run);
                }
            }
        }
        Ok(())
    }

    /// Each kind with many more connections, for what one takes of memory.
    pub fn many(&self, kinds: &[Alone], runs: &mut Vec<Run>) -> Result<(), Fault> {
        for kind in kinds.iter().filter(|kind| !is_visit(kind.group.protocol)) {
            let many = kind.connections * MANY;
            let rate = kind.rates.first().copied().unwrap_or(FIRST_RATE);
            // A new proxy, which has held no more connections before.
            let mut generator = self.generator(kind.key.clone(), kind.group.clone(), many);
            let run = generator.run(&self.load(Some(rate), many))?;
            self.tell(&format!("{}, {many} connections", kind.key), &run);
            runs.push(run);
        }
        Ok(())
    }

    /// Connections of one kind among all.
    pub fn connections_of(&self, group: &Group) -> u32 {
        let all = self.order.groups.iter().zip(self.keys).filter(|(_, key)| key.is_some());
        let all: u32 = all.map(|(group, _)| group.agents).sum();
        let share = f64::from(group.agents) / f64::from(all.max(1));
        ((share * f64::from(self.connections)).round() as u32).max(1)
    }

    /// Each group as it is, but that its connections last; and connections by themselves, where
    /// some do not.
    fn kinds(&self) -> Vec<(String, Group, u32)> {
        let mut kinds = Vec::new();
        let mut connects: Vec<Protocol> = Vec::new();
        for (group, key) in self.order.groups.iter().zip(self.keys) {
            let Some(key) = key else { continue };
            let lasting = Group { lifetime: None, ..steady(group) };
            kinds.push((key.clone(), lasting, self.connections_of(group)));
            let connecting = connect_protocol(group.protocol);
            if group.lifetime.is_some()
                && !is_visit(group.protocol)
                && !connects.contains(&connecting)
            {
                connects.push(connecting);
            }
        }
        kinds.extend(connects.into_iter().map(|protocol| {
            let group = Group::new(protocol, 16, Pace::constant(1.0), Sizes::Constant(64));
            (protocol.as_str().to_owned(), group, 16)
        }));
        kinds
    }

    /// Where the generator has no room for more, there are fewer.
    fn find_rates(&self, kind: &mut Alone<impl System>, runs: &mut Vec<Run>) -> Result<(), Fault> {
        let mut rate = FIRST_RATE;
        // The very first is not kept: its cost is that of a beginning.
        let mut last = kind.system.run(&self.load(Some(rate), kind.connections))?;
        let most = most(&last);
        for share in SHARES {
            let times = room(&last, share).min(most / rate);
            if !kind.rates.is_empty() && times < WORTHWHILE {
                break;
            }
            rate *= times;
            last = kind.system.run(&self.load(Some(rate), kind.connections))?;
            self.tell(&format!("{}, round 1", kind.key), &last);
            kind.rates.push(rate);
            runs.push(last.clone());
        }
        Ok(())
    }

    fn generator(&self, name: String, group: Group, connections: u32) -> Generator {
        let group = Group { agents: connections, ..group };
        let order = Order { name, groups: vec![group], ..self.order.clone() };
        self.site.through_ringmain(order, 1, false)
    }

    fn load(&self, rate: Option<f64>, connections: u32) -> Load {
        let window = Duration::from_secs(self.seconds.into());
        Load { rate, connections, window, warm_up: Duration::from_millis(300) }
    }

    /// All runs that are made, if each kind has room for all of its rates.
    pub fn planned(&self, costs: bool, mixes: u32) -> Duration {
        let visits = self.kinds().iter().filter(|(_, group, _)| is_visit(group.protocol)).count();
        let kinds = self.kinds().len() as u32;
        let rates = SHARES.len() as u32 * self.rounds;
        let of_costs = if costs { kinds * (rates + 1) - visits as u32 } else { 0 };
        self.length() * (of_costs + mixes * (self.rounds - 1))
    }

    fn length(&self) -> Duration {
        self.load(None, 1).window + self.load(None, 1).warm_up
    }

    fn tell(&self, what: &str, run: &Run) {
        let share = run.cpus_used().unwrap_or(0.0) * 100.0;
        let more = format!("{share:.0} % of a CPU");
        self.progress.borrow_mut().ended(self.length(), what, run, &more);
    }
}

/// By how much the rate of a run may rise to that share of a CPU, or to what the generator can do.
fn room(run: &Run, share: f64) -> f64 {
    let proxy = share / run.cpus_used().unwrap_or(0.0).max(LEAST);
    let busy = run.generator.generator.max(run.generator.backends).max(LEAST);
    proxy.min(GENERATOR_USED / busy)
}

/// What agents that are slow on purpose carry in order, whatever is asked of them; of others no
/// limit is known.
fn most(run: &Run) -> f64 {
    let is_less = run.offered.is_some_and(|offered| run.achieved < offered / 2.0);
    if is_less { (run.achieved * IN_ORDER).max(1.0) } else { f64::INFINITY }
}

/// Of a CPU, that the proxy is to use. The least is for what agents that are slow on purpose can be
/// compared with.
const SHARES: [f64; 5] = [0.02, 0.1, 0.25, 0.5, 0.8];
/// Times the connections, for what each takes of memory.
const MANY: u32 = 8;
const FIRST_RATE: f64 = 300.0;
/// A rate that is so little higher tells nothing new.
const WORTHWHILE: f64 = 1.15;
/// A generator that is busier sends late and in heaps, which a proxy carries for less.
const GENERATOR_USED: f64 = 0.8;
/// Of what agents carry when more is asked of them than they can.
const IN_ORDER: f64 = 0.7;
/// So little of a CPU is as good as nothing.
const LEAST: f64 = 0.002;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::sample;
    use crate::generate::Spikes;

    #[test]
    fn rates_rise_as_far_as_proxy_and_generator_have_room() {
        let mut run = sample("ringmain", 1000.0);
        let used = |run: &mut Run, proxy: f64, generator: f64| {
            run.cost.as_mut().unwrap().cpu_seconds = proxy * run.window;
            (run.generator.generator, run.generator.backends) = (generator, generator / 2.0);
        };
        used(&mut run, 0.05, 0.1);
        assert!((room(&run, 0.1) - 2.0).abs() < 1e-9);
        used(&mut run, 0.05, 0.5);
        assert!((room(&run, 0.35) - 1.6).abs() < 1e-9);
        used(&mut run, 0.05, 0.8);
        assert!(room(&run, 0.35) < WORTHWHILE);
        // What takes next to nothing does not make it rise without end.
        used(&mut run, 0.0, 0.0);
        assert!(room(&run, 0.1) <= 50.0);
    }

    #[test]
    fn slow_agents_are_asked_for_no_more_than_they_carry() {
        let run = sample("ringmain", 1000.0);
        assert_eq!(most(&run), f64::INFINITY);
        let slow = Run { offered: Some(300.0), achieved: 20.0, ..run };
        assert!((most(&slow) - 14.0).abs() < 1e-9);
    }

    /// Echoes of 30 agents that come anew, as many that call and last, visits, and datagrams.
    fn order() -> Order {
        let group = |protocol, agents| {
            Group::new(protocol, agents, Pace::constant(100.0), Sizes::Constant(64))
        };
        let mut coming = group(Protocol::TcpEcho, 30);
        coming.lifetime = Some(Duration::from_secs(60));
        let (every, length) = (Duration::from_secs(30), Duration::from_secs(1));
        if let Pace::Open { spikes, .. } = &mut coming.pace {
            *spikes = Some(Spikes { every, length, factor: 5.0 });
        }
        let (lasting, visits) = (group(Protocol::VectorTls, 30), group(Protocol::TlsConnect, 20));
        Order {
            name: "fleet".to_owned(),
            groups: vec![coming, lasting, visits, group(Protocol::SyslogUdp, 500)],
            warm_up: Duration::ZERO,
            window: Duration::ZERO,
            patience: Duration::ZERO,
            seed: 1,
        }
    }

    fn with_measure<T>(then: impl FnOnce(&Measure) -> T) -> T {
        let keys = ["echoes", "calls", "visits"].map(|key| Some(key.to_owned()));
        let keys: Vec<Option<String>> = keys.into_iter().chain([None]).collect();
        let progress = RefCell::new(Progress::new(Duration::ZERO));
        let (site, order) = (&Site::bare(), &order());
        let (connections, seconds, rounds) = (160, 2, 3);
        then(&Measure { site, order, keys: &keys, connections, seconds, rounds, progress })
    }

    #[test]
    fn each_kind_is_measured_alone_with_its_part_of_the_connections_and_connects_beside_it() {
        let kinds = with_measure(|measure| measure.kinds());
        let kinds: Vec<_> = kinds
            .iter()
            .map(|(key, group, connections)| (&**key, group.protocol, group.lifetime, *connections))
            .collect();
        // What is left out takes no part of the connections.
        assert_eq!(
            kinds,
            [
                ("echoes", Protocol::TcpEcho, None, 60),
                ("calls", Protocol::VectorTls, None, 60),
                ("visits", Protocol::TlsConnect, None, 40),
                ("tcp-connect", Protocol::TcpConnect, None, 16),
            ]
        );
    }

    #[test]
    fn a_mix_has_all_that_crosses_the_proxy_without_the_shape_of_its_day() {
        let mix = with_measure(|measure| measure.mixed());
        let kept: Vec<_> = mix.groups.iter().map(|group| (group.protocol, group.agents)).collect();
        let known =
            [(Protocol::TcpEcho, 30), (Protocol::VectorTls, 30), (Protocol::TlsConnect, 20)];
        assert_eq!(kept, known);
        assert!(mix.groups.iter().all(|group| group.pace == Pace::constant(100.0)));
        // There connections come anew, as they do in the fleet.
        assert_eq!(mix.groups[0].lifetime, Some(Duration::from_secs(60)));
    }

    #[test]
    fn the_time_of_all_runs_is_known_before() {
        // Five rates in three rounds of each of four kinds, one with many connections of the two
        // that keep theirs, and one of each mix in the rounds after the first: all of 2.3 s.
        let planned = with_measure(|measure| {
            [(true, 0), (false, 2), (true, 2)].map(|(costs, mixes)| measure.planned(costs, mixes))
        });
        let runs = [4 * 15 + 2, 4, 4 * 15 + 2 + 4];
        assert_eq!(planned, runs.map(|count| Duration::from_millis(2_300) * count));
    }

    /// Takes so much of CPUs for each unit, and carries no more than that.
    struct Costly {
        proxy: f64,
        generator: f64,
        most: f64,
        patience: usize,
    }

    impl System for Costly {
        fn run(&mut self, load: &Load) -> Result<Run, Fault> {
            self.patience = self.patience.checked_sub(1).ok_or(Fault::Interrupted)?;
            let mut run = sample("ringmain", load.rate.unwrap_or(0.0));
            run.achieved = run.achieved.min(self.most);
            run.connections = load.connections;
            run.cost.as_mut().unwrap().cpu_seconds = run.units() * self.proxy;
            run.generator.generator = run.achieved * self.generator;
            run.generator.backends = 0.0;
            Ok(run)
        }
    }

    const FREE: Costly =
        Costly { proxy: 20e-6, generator: 1e-9, most: f64::INFINITY, patience: usize::MAX };

    fn alone(system: Costly, rates: &[f64]) -> Alone<Costly> {
        let group = order().groups.remove(0);
        Alone { key: "x".to_owned(), group, connections: 9, system, rates: rates.to_vec() }
    }

    fn found(system: Costly) -> (Vec<f64>, usize) {
        let (mut kind, mut runs) = (alone(system, &[]), Vec::new());
        with_measure(|measure| measure.find_rates(&mut kind, &mut runs)).unwrap();
        (kind.rates.iter().map(|rate| rate.round()).collect(), runs.len())
    }

    #[test]
    fn rates_are_those_that_take_a_little_to_most_of_a_cpu() {
        assert_eq!(found(FREE), (vec![1e3, 5e3, 12_500.0, 25e3, 40e3], 5));
        // Four fifths of the generator are used up at 16,000, and more tells nothing new.
        let busy = Costly { generator: 50e-6, ..FREE };
        assert_eq!(found(busy), (vec![1e3, 5e3, 12_500.0, 16e3], 4));
        // Agents that carry a hundred in order, when three hundred are asked of them.
        let slow = Costly { most: 100.0, ..FREE };
        assert_eq!(found(slow), (vec![70.0], 1));
    }

    /// Connections and rates of the runs of kinds, how many each mix had, and how it ended.
    type Rounds = (Vec<(u32, f64)>, Vec<usize>, Result<(), Fault>);

    /// Two kinds and two mixes, in the rounds after the first.
    fn rounds(patience: usize) -> Rounds {
        let mut kinds =
            [alone(FREE, &[1.0, 2.0]), alone(Costly { patience, ..FREE }, &[3.0, 4.0, 5.0])];
        kinds[1].connections = 7;
        let mix = |rate| Mix { rate, system: FREE, runs: Vec::new() };
        let (mut mixes, mut runs) = ([mix(8.0), mix(9.0)], Vec::new());
        let ended = with_measure(|measure| measure.rounds(&mut kinds, &mut mixes, &mut runs));
        let made = runs.iter().map(|run| (run.connections, run.achieved)).collect();
        let mixed = mixes.iter().map(|mix| {
            assert!(mix.runs.iter().all(|of| (of.connections, of.achieved) == (160, mix.rate)));
            mix.runs.len()
        });
        (made, mixed.collect(), ended)
    }

    #[test]
    fn kinds_and_mixes_take_turns_and_a_fault_leaves_what_there_is() {
        let round = [(9, 1.0), (7, 3.0), (9, 2.0), (7, 4.0), (7, 5.0)];
        assert_eq!(rounds(99), (round.repeat(2), vec![2, 2], Ok(())));
        let (made, mixed, ended) = rounds(1);
        assert_eq!((made, mixed), (round[..3].to_vec(), vec![1, 0]));
        assert_eq!(ended, Err(Fault::Interrupted));
    }
}
