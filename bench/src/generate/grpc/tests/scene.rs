//! Owns a simulated world with a backend that takes calls, and runs against it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use h2::client::Builder;
use http::Request;
use ringmain::engine::driver::simulated::{Faults, World};
use ringmain::engine::{
    BufferSizes, Either, Engine, EngineSettings, Listener, PipeSizes, Remote, race,
};
use rustls::ServerConfig;

use super::super::super::agents::{self, Fault, Signals, Site};
use super::super::super::backends::{Behaviour, Fate, House};
use super::super::super::channel::Channel;
use super::super::super::one_way::Tidings;
use super::super::super::order::{Group, Order, Pace, Sizes};
use super::super::super::protocol::Protocol;
use super::super::super::record::{Recorder, SharedWindow, Tally, Window};
use super::super::super::stage::Stage;
use super::super::super::tests::scene;
pub use super::super::super::tests::scene::open;
use super::super::super::tls::Material;
use super::super::bridge::Bridge;
use super::super::reply::Reply;
use super::stranger::Stranger;

/// A backend, and whoever calls it.
pub struct Scene {
    engine: Engine,
    near: Rc<Stage>,
    far: Rc<Stage>,
    site: Site,
    signals: Signals,
}

/// What a run came to, and what the backend did on purpose.
pub struct Outcome {
    pub tally: Tally,
    pub done: HashMap<Fate, u64>,
    /// When all of it was over.
    pub length: Duration,
}

/// With units long enough for an event.
pub fn order(protocol: Protocol, agents: u32, pace: Pace, window: u64) -> Order {
    let groups = vec![Group::new(protocol, agents, pace, Sizes::Constant(500))];
    Order { groups, ..scene::order(protocol, agents, pace, window) }
}

/// Runs `order` against a backend of this behaviour.
pub fn play(order: &Order, behaviour: Behaviour) -> Outcome {
    let scene = Scene::new(&order.groups[0], behaviour, order.seed);
    scene.run(order).unwrap();
    scene.end()
}

/// Runs `order` against somebody else's backend.
pub fn play_with(order: &Order, stranger: &Rc<Stranger>) -> Result<Outcome, Fault> {
    play_for(None, order, stranger)
}

/// The same with agents that name this host.
pub fn play_for(
    host: Option<&str>,
    order: &Order,
    stranger: &Rc<Stranger>,
) -> Result<Outcome, Fault> {
    let mut scene = Scene::with(stranger, &order.groups[0], order.seed);
    scene.site.host = host.map(str::to_owned);
    let ran = scene.run(order);
    let outcome = scene.end();
    ran.map(|_| outcome)
}

impl Scene {
    pub fn new(group: &Group, behaviour: Behaviour, seed: u64) -> Scene {
        let (random, of) = (Rng::with_seed(seed + 1), group.clone());
        Scene::build(group, seed, |stage, listener, tls, tidings| {
            let house = House::new(Rc::clone(stage), of, behaviour, tls, random, tidings);
            stage.engine.spawn(house.open(listener));
        })
    }

    /// The same with somebody else in the place of the backend.
    pub fn with(stranger: &Rc<Stranger>, group: &Group, seed: u64) -> Scene {
        Scene::build(group, seed, |stage, listener, tls, _| {
            let stage = Rc::clone(stage);
            stage.engine.clone().spawn(Rc::clone(stranger).open(stage, listener, tls));
        })
    }

    fn build(
        group: &Group,
        seed: u64,
        open: impl FnOnce(&Rc<Stage>, Listener, Option<Arc<ServerConfig>>, Arc<Tidings>),
    ) -> Scene {
        let world = World::new(seed, Faults::none());
        let remote = Arc::new(Remote::without_signal());
        let driver = world.driver(Arc::clone(&remote));
        let engine = Engine::new(driver, remote, &SETTINGS).unwrap();
        let (window, signals) = (SharedWindow::default(), Signals::default());
        let stage = || {
            let recorder = Recorder::new(window.clone(), None);
            Stage::new(engine.clone(), 0, None, window.clone(), recorder)
        };
        let (near, far) = (stage(), stage());
        let target = SocketAddr::from(([127, 0, 0, 1], 9000));
        let tls = group.protocol.handshakes().map(|handshakes| {
            let material = Material::generate().unwrap();
            let agents = material.agents(group.protocol, handshakes, group.terms).unwrap();
            (agents, material.backends(group.protocol).unwrap())
        });
        let (agents, backends) = tls.unzip();
        let listener = Listener::from_descriptor(&engine, world.listen(target, 4096));
        open(&far, listener, backends, Arc::clone(&signals.backends));
        let site = Site { target, sources: Vec::new(), tls: agents, host: None };
        Scene { engine, near, far, site, signals }
    }

    fn run(&self, order: &Order) -> Result<Window, Fault> {
        let sites = [self.site.clone()];
        let running = agents::run(&self.near, order, &sites, &self.signals);
        self.engine.block_on(running, || ()).unwrap()
    }

    /// The window is all of the time from now on.
    pub fn count(&self) {
        self.near.open_window(Window { begin: 0, end: u64::MAX, patience: u64::MAX });
    }

    /// Makes one call by hand.
    pub fn call(&self, path: &str, body: Vec<u8>) -> Reply {
        let calling = async {
            let Site { target, tls, .. } = &self.site;
            let connecting = Channel::connect(&self.near, *target, None, tls.as_ref());
            let channel = connecting.await.unwrap();
            let bridge = Rc::<Bridge>::default();
            let speaking = async {
                let handshake = Builder::new().handshake::<_, Bytes>(bridge.end());
                let (mut requests, connection) = handshake.await.unwrap();
                let uri = format!("http://{target}{path}");
                let head = Request::post(uri).body(()).unwrap();
                let (response, mut stream) = requests.send_request(head, false).unwrap();
                stream.send_data(body.into(), true).unwrap();
                match race(Reply::hear(response), connection).await {
                    Either::First(reply) => reply.unwrap(),
                    Either::Second(ended) => panic!("{ended:?}"),
                }
            };
            match race(speaking, bridge.carry(&channel, usize::MAX, async || ())).await {
                Either::First(reply) => reply,
                Either::Second(ended) => panic!("{ended:?}"),
            }
        };
        self.engine.block_on(calling, || ()).unwrap()
    }

    pub fn end(self) -> Outcome {
        let length = Duration::from_nanos(self.engine.now().as_nanos());
        self.near.end();
        self.far.end();
        self.engine.wind_up(Duration::from_secs(1)).unwrap();
        let mut tally = Tally::sum(&self.near.take_parts());
        tally.merge(&self.near.take_tally());
        tally.merge(&self.far.take_tally());
        let done = std::mem::take(&mut tally.struck);
        Outcome { tally, done, length }
    }
}

const SETTINGS: EngineSettings = EngineSettings {
    buffers: BufferSizes { size: 16 << 10, count: 1024, offered: 64 },
    pipes: PipeSizes { count: 0, size: 4096 },
    stall_after: Duration::from_secs(3600),
    stalled_share: usize::MAX,
};
