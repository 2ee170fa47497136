//! Owns the small runs that costs are taken from, one kind of agents at a time, and the mixed ones
//! that a prediction is checked by. It judges nothing.

use std::time::Duration;

use super::demand::{connect_protocol, is_visit};
use crate::capacity::Site;
use crate::figures::Run;
use crate::generate::{Generator, Group, Order, Pace, Protocol, Sizes};
use crate::judge::{Fault, Load, System};
use crate::report::units;

/// What is measured, and how long.
pub struct Measure<'a> {
    pub site: &'a Site,
    pub order: &'a Order,
    /// What costs of each group go by, in their order; `None`: it is left out.
    pub keys: &'a [Option<String>],
    /// Open at a time, all together.
    pub connections: u32,
    pub seconds: u32,
}

/// One kind of agents by itself, and what it can do at most.
struct Alone {
    key: String,
    connections: u32,
    generator: Generator,
    most: f64,
}

impl Measure<'_> {
    /// Each kind at several rates, in turns, so that what disturbs the host disturbs all.
    pub fn costs(&self) -> Result<Vec<Run>, Fault> {
        let mut alone = Vec::new();
        for (key, group, connections) in self.kinds() {
            alone.push(self.alone(key, group, connections)?);
        }
        let mut runs = Vec::new();
        for round in 0..ROUNDS {
            for share in SHARES {
                for kind in &mut alone {
                    let load = self.load(Some(kind.most * share), kind.connections);
                    let run = kind.generator.run(&load)?;
                    self.tell(&format!("{}, round {}", kind.key, round + 1), &run);
                    runs.push(run);
                }
            }
        }
        for (key, group, connections) in self.kinds() {
            if is_visit(group.protocol) {
                continue;
            }
            let many = connections * MANY;
            // A new proxy, which has held no more connections before.
            let most = alone.iter().find(|kind| kind.key == key).map_or(1.0, |kind| kind.most);
            let mut generator = self.generator(key.clone(), group, many);
            let run = generator.run(&self.load(Some(most * SHARES[0]), many))?;
            self.tell(&format!("{key}, {many} connections"), &run);
            runs.push(run);
        }
        Ok(runs)
    }

    /// All kinds together at this rate, a few times.
    pub fn mixed(&self, rate: f64) -> Result<Vec<Run>, Fault> {
        let mut order = self.order.clone();
        let kept = self.order.groups.iter().zip(self.keys).filter(|(_, key)| key.is_some());
        order.groups = kept.map(|(group, _)| steady(group)).collect();
        let mut generator = self.site.through_ringmain(order, 1, false);
        let load = self.load(Some(rate), self.connections);
        let mut runs = Vec::new();
        for number in 1..=MIXED {
            let run = generator.run(&load)?;
            self.tell(&format!("mixed, {number} of {MIXED}"), &run);
            runs.push(run);
        }
        Ok(runs)
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

    fn alone(&self, key: String, group: Group, connections: u32) -> Result<Alone, Fault> {
        let mut generator = self.generator(key.clone(), group, connections);
        let run = generator.run(&self.load(None, connections))?;
        self.tell(&format!("{key}, at most"), &run);
        Ok(Alone { key, connections, generator, most: run.achieved.max(1.0) })
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

    fn tell(&self, what: &str, run: &Run) {
        eprintln!(
            "{what}: {}/s, {} per unit, {:.0} % of a CPU",
            units::number(run.achieved),
            run.cpu_per_unit().map_or("-".to_owned(), units::time),
            run.cpus_used().unwrap_or(0.0) * 100.0
        );
    }
}

/// The same at one rate all the time.
fn steady(group: &Group) -> Group {
    let mut group = group.clone();
    if let Pace::Open { ramp, spikes, .. } = &mut group.pace {
        (*ramp, *spikes) = (Duration::ZERO, None);
    }
    group
}

/// Of what each kind can do at most.
const SHARES: [f64; 4] = [0.08, 0.2, 0.4, 0.7];
const ROUNDS: u32 = 2;
const MIXED: u32 = 5;
/// Times the connections, for what each takes of memory.
const MANY: u32 = 8;
