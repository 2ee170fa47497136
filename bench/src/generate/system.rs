//! Owns the generator with what it starts as a `System`: one protocol, at whatever load is asked.

use std::time::Duration;

use crate::figures::Run;
use crate::judge::{Fault, Load, System};

use super::bench::Bench;
use super::order::{Group, Order, Pace, Sizes};
use super::protocol::Protocol;

/// A bench and an order of which each run takes the rest.
pub struct Generator {
    pub bench: Bench,
    /// Its groups keep their parts of the rate and of the connections.
    pub order: Order,
}

impl Generator {
    /// One protocol with units of so many bytes; each load says how many, and how fast.
    pub fn new(bench: Bench, protocol: Protocol, size: usize) -> Generator {
        let group = Group::new(protocol, 1, Pace::constant(1.0), Sizes::Constant(size));
        let order = Order {
            name: protocol.as_str().to_owned(),
            groups: vec![group],
            warm_up: Duration::ZERO,
            window: Duration::ZERO,
            patience: Duration::from_secs(2),
            seed: 1,
        };
        Generator { bench, order }
    }
}

impl System for Generator {
    fn run(&mut self, load: &Load) -> Result<Run, Fault> {
        let order = scaled(&self.order, load);
        // Nobody is told of seconds: the run says all of them.
        let outcome = self.bench.run(&order, &mut |_| ())?;
        Ok(outcome.run)
    }
}

/// The order at this load. In a closed loop each connection has one unit under way.
fn scaled(order: &Order, load: &Load) -> Order {
    let mut order = Order { warm_up: load.warm_up, window: load.window, ..order.clone() };
    let connections: u32 = order.groups.iter().map(|group| group.agents).sum();
    let whole: f64 = order.groups.iter().filter_map(|group| group.pace.rate()).sum();
    let count = order.groups.len();
    for group in &mut order.groups {
        let share = f64::from(group.agents) / f64::from(connections.max(1));
        group.agents = ((share * f64::from(load.connections)).round() as u32).max(1);
        group.pace = match (load.rate, group.pace) {
            (None, Pace::Closed { depth }) => Pace::Closed { depth },
            (None, Pace::Open { .. }) => Pace::Closed { depth: 1 },
            (Some(rate), Pace::Open { rate: own, arrivals, ramp, spikes }) => {
                let share = if whole > 0.0 { own / whole } else { 1.0 / count as f64 };
                Pace::Open { rate: rate * share, arrivals, ramp, spikes }
            }
            (Some(rate), Pace::Closed { .. }) => Pace::constant(rate * share),
        };
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keep_their_parts_of_a_load() {
        let group = |agents, rate| {
            Group::new(Protocol::TcpEcho, agents, Pace::constant(rate), Sizes::Constant(100))
        };
        let order = Order {
            name: "mix".to_owned(),
            groups: vec![group(30, 100.0), group(10, 300.0)],
            warm_up: Duration::ZERO,
            window: Duration::ZERO,
            patience: Duration::ZERO,
            seed: 1,
        };
        let second = Duration::from_secs(1);
        let mut load =
            Load { rate: Some(4_000.0), connections: 400, window: second, warm_up: second };
        let scaled = scaled_groups(&order, &load);
        assert_eq!(scaled, [(300, Some(1_000.0)), (100, Some(3_000.0))]);
        load.rate = None;
        assert_eq!(scaled_groups(&order, &load), [(300, None), (100, None)]);
    }

    fn scaled_groups(order: &Order, load: &Load) -> Vec<(u32, Option<f64>)> {
        let order = scaled(order, load);
        order.groups.iter().map(|group| (group.agents, group.pace.rate())).collect()
    }
}
