//! Owns the stand: this host made ready for a measurement, and the generators that put a Ringmain
//! on it under load. It judges nothing.

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use crate::clock::{Clock, seconds};
use crate::compare::{self, Cpus, Pinned};
use crate::figures::{Document, Host, Run};
use crate::fleet;
use crate::generate::{
    Arrivals, Behaviour, Bench, Generator, Group, Network, Order, Pace, Protocol, Route, Signals,
    Sizes,
};
use crate::report::{Live, survey};

/// What the units of a measurement are.
#[derive(Args, Clone)]
pub struct LoadOptions {
    /// Open at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,
    /// Bytes of a unit
    #[arg(long, default_value_t = 128,
        value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub size: u32,
    /// How units lie between each other
    #[arg(long, value_enum, default_value = "constant")]
    pub arrivals: Arrivals,
    /// TLS is ended by the backends, and not by the proxy
    #[arg(long)]
    pub passthrough: bool,
}

/// What is prepared once, before anything is started.
pub struct Site {
    clock: Clock,
    cpus: Cpus,
    stop: Arc<AtomicBool>,
    /// Restores the host's setting when dropped.
    _pinned: Option<Pinned>,
    begun: u64,
    host: Host,
    /// Where runs are shown while they are made.
    live: OnceCell<Live>,
}

impl LoadOptions {
    /// Agents that speak this; each run says how many there are, and how fast they are.
    pub fn order(&self, protocol: Protocol) -> Order {
        let pace =
            Pace::Open { rate: 1.0, arrivals: self.arrivals, ramp: Duration::ZERO, spikes: None };
        let sizes = Sizes::Constant(self.size as usize);
        Order {
            name: protocol.as_str().to_owned(),
            groups: vec![Group::new(protocol, self.connections, pace, sizes)],
            warm_up: Duration::ZERO,
            window: Duration::ZERO,
            patience: PATIENCE,
            seed: 1,
        }
    }
}

/// The same at one rate all the time: a run is shorter than the ramps and spikes of a day.
pub fn steady(group: &Group) -> Group {
    let mut group = group.clone();
    if let Pace::Open { ramp, spikes, .. } = &mut group.pace {
        (*ramp, *spikes) = (Duration::ZERO, None);
    }
    group
}

/// A mix of agents from a file, without ramps and spikes, and the names of its groups that are left
/// out: their datagrams cross no Ringmain.
pub fn mix(path: &Path) -> Result<(Order, Vec<String>), Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::Profile(format!(
            "{} can not be read: {error}; give the path of a profile, as configs/fleets has some",
            path.display()
        ))
    })?;
    let mut order = fleet::load(&path.display().to_string(), &text)
        .map_err(|errors| Failure::Profile(errors.to_string()))?;
    let crosses = |group: &&Group| !group.protocol.is_datagrams();
    let left_out = order.groups.iter().filter(|group| !crosses(group));
    let left_out = left_out.map(|group| group.name.clone()).collect();
    order.groups = order.groups.iter().filter(crosses).map(steady).collect();
    if order.groups.is_empty() {
        let why = format!(
            "{}: all of its agents send datagrams, which Ringmain does not carry yet; take a \
             profile with others",
            path.display()
        );
        return Err(Failure::Profile(why));
    }
    Ok((order, left_out))
}

impl Site {
    pub fn prepare() -> Result<Self, Failure> {
        let host = survey();
        let stop = compare::watch()?;
        let cpus = Cpus::choose(None, None)?.ok_or(Failure::TwoCpusNeeded)?;
        compare::raise_descriptor_limit()?;
        let _pinned = compare::pin_congestion()?;
        let (clock, begun, live) = (Clock::start(), seconds(), OnceCell::new());
        Ok(Self { clock, cpus, stop, _pinned, begun, host, live })
    }

    /// One that asks and changes nothing of the host.
    #[cfg(test)]
    pub fn bare() -> Self {
        let (clock, cpus) = (Clock::start(), Cpus { proxy: 1, load: 0 });
        let (stop, host, live) = Default::default();
        Self { clock, cpus, stop, _pinned: None, begun: 0, host, live }
    }

    /// Puts a Ringmain of so many workers under load.
    pub fn through_ringmain(&self, order: Order, workers: u32, passthrough: bool) -> Generator {
        let route = Route::Ringmain { workers, passthrough };
        self.generator(order, route, Network::Loopback)
    }

    /// The same with the proxy elsewhere.
    pub fn over_network(&self, order: Order, network: Network) -> Generator {
        let route = Route::Ringmain { workers: 1, passthrough: false };
        self.generator(order, route, network)
    }

    /// Nobody is between agents and backends.
    pub fn direct(&self, order: Order) -> Generator {
        self.generator(order, Route::Direct, Network::Loopback)
    }

    fn generator(&self, order: Order, route: Route, network: Network) -> Generator {
        let bench = Bench {
            clock: self.clock,
            cpus: self.cpus,
            network,
            route,
            behaviour: Behaviour::default(),
            sources: Vec::new(),
            signals: Signals { interrupted: Arc::clone(&self.stop), ..Signals::default() },
        };
        let mut generator = Generator::new(bench, order);
        if let Some(live) = self.live.get() {
            generator.show_on(live.clone());
        }
        generator
    }

    /// The runs of all generators that are made from now on are shown there.
    pub fn show_on(&self, live: Live) {
        self.live.get_or_init(|| live);
    }

    /// The runs with all that is known of where they were made.
    pub fn document(&self, host: Host, runs: Vec<Run>) -> Document {
        Document::new(std::env::args().collect(), self.begun, host, runs)
    }

    /// Whether somebody wants the measurement to end.
    pub fn is_interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub fn cpus(&self) -> Cpus {
        self.cpus
    }

    pub fn host(&self) -> Host {
        self.host.clone()
    }
}

/// Notes what the proxy was, and how it was configured.
pub fn described(host: &mut Host, name: &str, generator: &Generator) {
    let Some(proxy) = generator.proxy() else { return };
    host.versions.insert("ringmain".to_owned(), proxy.version.clone());
    host.configurations.insert(format!("ringmain.toml, {name}"), proxy.configuration.clone());
}

/// How long answers are waited for after a window. Who has not answered by then is far beyond any
/// objective.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_put_under_load_without_the_shape_of_its_day() {
        let profile = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/fleets/vector.toml");
        let (order, left_out) = mix(Path::new(profile)).unwrap();
        assert!(order.groups.len() > 1 && left_out.is_empty(), "{left_out:?}");
        for group in &order.groups {
            let Pace::Open { rate, ramp, spikes, .. } = group.pace else { panic!("open") };
            assert!(rate > 0.0 && ramp.is_zero() && spikes.is_none(), "{group:?}");
        }
        let said = mix(Path::new("/nowhere.toml")).unwrap_err().to_string();
        assert!(said.contains("/nowhere.toml can not be read"), "{said}");
        assert!(said.contains("configs/fleets"), "{said}");
    }

    #[test]
    fn groups_of_datagrams_are_left_out_of_a_mix_by_name() {
        let profile = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/fleets/syslog.toml");
        let (order, left_out) = mix(Path::new(profile)).unwrap();
        assert!(!left_out.is_empty() && !order.groups.is_empty());
        for group in &order.groups {
            assert!(!group.protocol.is_datagrams() && !left_out.contains(&group.name), "{group:?}");
        }
    }
}
