//! Owns the generator with what it starts as a `System`: one protocol, at whatever load is asked.

use crate::figures::Run;
use crate::judge::{Fault, Load, System};
use crate::report::Live;

use super::backends::Behaviour;
use super::bench::{Bench, Route};
use super::order::{Order, Pace};
use super::proxy::{self, Proxy};
use super::standing::Standing;
use super::watch::Watched;

/// A bench and an order of which each run takes the rest. What its first run has started stays, so
/// that a proxy that grows from run to run is seen to.
pub struct Generator {
    bench: Bench,
    /// Its groups keep their parts of the rate and of the connections.
    order: Order,
    standing: Option<Standing>,
    counts_calls: bool,
    /// Units per second of the generator alone, where it was measured; told with each run.
    ceiling: Option<f64>,
    /// Where its runs are shown while they are made.
    live: Live,
}

impl Generator {
    pub fn new(bench: Bench, order: Order) -> Generator {
        let live = Live::default();
        Generator { bench, order, standing: None, counts_calls: false, ceiling: None, live }
    }

    /// From now on runs are shown there while they are made.
    pub fn show_on(&mut self, live: Live) {
        self.live = live;
    }

    /// Refuses a load that this host or the route can not carry, before any is made.
    pub fn check(&self, load: &Load) -> Result<(), Fault> {
        Ok(self.bench.check(&scaled(&self.order, load))?)
    }

    /// Sees to it that the program of the proxy is there, which may build it.
    pub fn find_proxy(&self) -> Result<(), Fault> {
        match self.bench.route {
            Route::Ringmain { .. } => Ok(proxy::found().map(drop)?),
            Route::Direct | Route::Target { .. } => Ok(()),
        }
    }

    pub fn with_ceiling(mut self, ceiling: Option<f64>) -> Generator {
        self.ceiling = ceiling;
        self
    }

    /// From now on runs count system calls.
    pub fn count_calls(&mut self) {
        self.counts_calls = true;
    }

    /// How the backends behave in the runs from now on.
    pub fn behave(&mut self, behaviour: Behaviour) {
        self.bench.behaviour = behaviour;
    }

    /// The proxy between, once a run was made through one.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.standing.as_ref()?.proxy.as_ref()
    }

    /// Agents and backends had no CPU of their own.
    pub fn is_shared(&self) -> bool {
        self.standing.as_ref().is_some_and(|standing| standing.placement.is_shared())
    }
}

impl System for Generator {
    fn run(&mut self, load: &Load) -> Result<Run, Fault> {
        let order = scaled(&self.order, load);
        let standing = match &mut self.standing {
            Some(standing) => standing,
            none => none.insert(self.bench.stand(&order)?),
        };
        standing.counts_calls = self.counts_calls;
        let (live, rate) = (&self.live, order.rate());
        let mut told = |watched: &Watched<'_>| live.show(&order.name, rate, &watched.so_far);
        let mut run = self.bench.run_on(standing, &order, &mut told)?.run;
        run.generator.ceiling = self.ceiling;
        Ok(run)
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
    use std::time::Duration;

    use super::super::order::{Group, Sizes};
    use super::super::protocol::Protocol;
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
