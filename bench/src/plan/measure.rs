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
pub struct Alone {
    key: String,
    group: Group,
    connections: u32,
    generator: Generator,
    rates: Vec<f64>,
}

/// All kinds together at one rate.
pub struct Mix {
    pub rate: f64,
    generator: Generator,
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
            let generator = self.generator(key.clone(), group.clone(), connections);
            let mut kind = Alone { key, group, connections, generator, rates: Vec::new() };
            self.find_rates(&mut kind, runs)?;
            all.push(kind);
        }
        Ok(all)
    }

    /// The whole mix at each of these rates, not run yet.
    pub fn mixes(&self, rates: &[f64]) -> Vec<Mix> {
        let kept = self.order.groups.iter().zip(self.keys).filter(|(_, key)| key.is_some());
        let groups: Vec<Group> = kept.map(|(group, _)| steady(group)).collect();
        let mix = |rate: &f64| {
            let order = Order { groups: groups.clone(), ..self.order.clone() };
            let generator = self.site.through_ringmain(order, 1, false);
            Mix { rate: *rate, generator, runs: Vec::new() }
        };
        rates.iter().map(mix).collect()
    }

    /// The rounds that follow: every kind at each of its rates, and the mixes among them.
    pub fn rounds(
        &self,
        kinds: &mut [Alone],
        mixes: &mut [Mix],
        runs: &mut Vec<Run>,
    ) -> Result<(), Fault> {
        for round in 2..=self.rounds {
            for step in 0..SHARES.len() {
                for kind in kinds.iter_mut() {
                    let Some(&rate) = kind.rates.get(step) else { continue };
                    let run = kind.generator.run(&self.load(Some(rate), kind.connections))?;
                    self.tell(&format!("{}, round {round}", kind.key), &run);
                    runs.push(run);
                }
                // Not all at one end of the round.
                let now = mixes.iter_mut().enumerate();
                for (_, mix) in now.filter(|(place, _)| place % SHARES.len() == step) {
                    let run = mix.generator.run(&self.load(Some(mix.rate), self.connections))?;
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
    fn find_rates(&self, kind: &mut Alone, runs: &mut Vec<Run>) -> Result<(), Fault> {
        let mut rate = FIRST_RATE;
        // The very first is not kept: its cost is that of a beginning.
        let mut last = kind.generator.run(&self.load(Some(rate), kind.connections))?;
        let most = most(&last);
        for share in SHARES {
            let times = room(&last, share).min(most / rate);
            if !kind.rates.is_empty() && times < WORTHWHILE {
                break;
            }
            rate *= times;
            last = kind.generator.run(&self.load(Some(rate), kind.connections))?;
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
}
