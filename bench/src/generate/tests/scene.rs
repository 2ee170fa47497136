//! Owns one run on a simulated world: agents and backends on one engine, and what both counted.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use ringmain::engine::driver::simulated::{Faults, World};
use ringmain::engine::{BufferSizes, Engine, EngineSettings, Listener, PipeSizes, Remote};

use super::super::agents::{self, Fault, Signals, Site};
use super::super::backends::{Behaviour, House};
use super::super::course::Arrivals;
use super::super::datagrams::simulated::{Network, Way};
use super::super::datagrams::{self, Port};
use super::super::order::{Group, Order, Pace, Sizes};
use super::super::protocol::Protocol;
use super::super::record::{Recorder, SharedWindow, Tally, Window, both};
use super::super::stage::Stage;
use super::super::tls::{Material, Terms, Trust};

/// What a run came to.
pub struct Outcome {
    /// All groups together.
    pub tally: Tally,
    pub groups: Vec<Tally>,
    pub window: Window,
    /// When the agents were done.
    pub over: u64,
    /// Which datagrams reached whom, in order.
    pub delivered: Vec<(SocketAddr, Vec<u8>)>,
}

pub fn order(protocol: Protocol, agents: u32, pace: Pace, window: u64) -> Order {
    Order {
        name: protocol.as_str().to_owned(),
        groups: vec![Group::new(protocol, agents, pace, Sizes::Constant(128))],
        warm_up: Duration::from_secs(1),
        window: Duration::from_secs(window),
        patience: Duration::from_secs(5),
        seed: 11,
    }
}

pub fn open(rate: f64, arrivals: Arrivals) -> Pace {
    Pace::Open { rate, arrivals, ramp: Duration::ZERO, spikes: None }
}

/// Where the backend of the group of this number is.
pub fn backend(number: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9000 + number as u16)
}

/// Runs `order` against backends of this behaviour.
pub fn play(order: &Order, behaviour: Behaviour) -> Outcome {
    play_over(order, behaviour, Way::default())
}

/// The same with datagrams that go this way.
pub fn play_over(order: &Order, behaviour: Behaviour, way: Way) -> Outcome {
    let material = Material::generate().unwrap();
    let trust = material.trust();
    play_between(order, behaviour, way, &material, &trust, &|_, _, target| target).unwrap()
}

/// The same where agents believe whom `trust` says.
pub fn play_trusting(order: &Order, material: &Material, trust: &Trust) -> Result<Outcome, Fault> {
    let (behaviour, way) = (Behaviour::default(), Way::default());
    play_between(order, behaviour, way, material, trust, &|_, _, target| target)
}

/// The same with somebody on the way, who is opened before a backend, and says where agents go.
pub fn play_through(order: &Order, material: &Material, open: Opening<'_>) -> Outcome {
    let (behaviour, way) = (Behaviour::default(), Way::default());
    play_between(order, behaviour, way, material, &material.trust(), open).unwrap()
}

pub type Opening<'o> = &'o dyn Fn(&Rc<Stage>, &World, SocketAddr) -> SocketAddr;

fn play_between(
    order: &Order,
    behaviour: Behaviour,
    way: Way,
    material: &Material,
    trust: &Trust,
    open: Opening<'_>,
) -> Result<Outcome, Fault> {
    let world = World::new(order.seed, Faults::none());
    let remote = Arc::new(Remote::without_signal());
    let settings = EngineSettings {
        buffers: BufferSizes { size: 16 << 10, count: 1024, offered: 64 },
        pipes: PipeSizes { count: 0, size: 4096 },
        stall_after: Duration::from_secs(3600),
        stalled_share: usize::MAX,
    };
    let engine = Engine::new(world.driver(Arc::clone(&remote)), remote, &settings).unwrap();
    let network = Network::new(&engine, way, order.seed + 2);
    let (window, signals) = (SharedWindow::default(), Signals::default());
    let stage = || {
        let recorder = Recorder::new(window.clone(), None);
        let stage = Stage::new(engine.clone(), 0, None, window.clone(), recorder);
        assert!(stage.network.set(network.clone()).is_ok());
        stage
    };
    let (near, far) = (stage(), stage());
    let mut sites = Vec::new();
    for (number, group) in order.groups.iter().enumerate() {
        let (target, handshakes) = (backend(number), group.protocol.handshakes());
        let ends_tls = handshakes.map(|_| material.backends(group.protocol).unwrap());
        let random = Rng::with_seed(order.seed + 1 + number as u64);
        let goal = open(&far, &world, target);
        let (far, tidings) = (far.part(), Arc::clone(&signals.backends));
        let house = House::new(far, group.clone(), behaviour.clone(), ends_tls, random, tidings);
        if group.protocol.is_datagrams() {
            let port = Port::simulated(&house.stage, network.bind(target));
            engine.spawn(datagrams::serve(house, port));
        } else {
            let listener = Listener::from_descriptor(&engine, world.listen(target, 4096));
            engine.spawn(house.open(listener));
        }
        let tls = handshakes
            .map(|handshakes| trust.agents(group.protocol, handshakes, Terms::default()).unwrap());
        sites.push(Site { target: goal, sources: Vec::new(), tls, host: None });
    }
    let ran = engine.block_on(agents::run(&near, order, &sites, &signals), || ());
    let over = near.now();
    far.end();
    engine.wind_up(Duration::from_secs(1)).unwrap();
    let window = ran.unwrap()?;
    let groups = both(near.take_parts(), &far.take_parts());
    let tally = Tally::sum(&groups);
    Ok(Outcome { tally, groups, window, over, delivered: network.journal() })
}
