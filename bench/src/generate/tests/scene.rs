//! Owns one run on a simulated world: agents and backends on one engine, and what both counted.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use ringmain::engine::driver::simulated::{Faults, World};
use ringmain::engine::{BufferSizes, Engine, EngineSettings, Listener, PipeSizes, Remote};

use super::super::agents::{self, Signals, Site};
use super::super::backends::{Behaviour, Fate, House};
use super::super::course::Arrivals;
use super::super::order::{Group, Order, Pace, Sizes};
use super::super::protocol::Protocol;
use super::super::record::{Recorder, SharedWindow, Tally};
use super::super::stage::Stage;

/// What a run came to, and what the backend did on purpose.
pub struct Outcome {
    pub tally: Tally,
    pub done: HashMap<Fate, u64>,
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

/// Runs `order` against a backend of this behaviour.
pub fn play(order: &Order, behaviour: Behaviour) -> Outcome {
    let world = World::new(order.seed, Faults::none());
    let remote = Arc::new(Remote::without_signal());
    let settings = EngineSettings {
        buffers: BufferSizes { size: 16 << 10, count: 1024, offered: 64 },
        pipes: PipeSizes { count: 0, size: 4096 },
        stall_after: Duration::from_secs(3600),
        stalled_share: usize::MAX,
    };
    let engine = Engine::new(world.driver(Arc::clone(&remote)), remote, &settings).unwrap();
    let (window, signals) = (SharedWindow::default(), Signals::default());
    let stage = || {
        let recorder = Recorder::new(window.clone(), None);
        Stage::new(engine.clone(), 0, window.clone(), recorder)
    };
    let (near, far) = (stage(), stage());
    let target = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9000);
    let listener = Listener::from_descriptor(&engine, world.listen(target, 4096));
    let group = order.groups[0].clone();
    let random = Rng::with_seed(order.seed + 1);
    let received = Arc::clone(&signals.received);
    let house = House::new(Rc::clone(&far), group, behaviour, None, random, received);
    engine.spawn(Rc::clone(&house).open(listener));
    let sites = [Site { target, sources: Vec::new(), tls: None }];
    let ran = engine.block_on(agents::run(&near, order, &sites, &signals), || ());
    ran.unwrap().unwrap();
    far.end();
    let done = RefCell::take(&house.done);
    engine.wind_up(Duration::from_secs(1)).unwrap();
    let mut tally = near.take_tally();
    tally.merge(&far.take_tally());
    Outcome { tally, done }
}
