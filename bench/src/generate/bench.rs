//! Owns one run, whole: threads for agents and backends, a proxy in between if one is asked for,
//! and the figures that come of it. What is sent is the order's concern.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use fastrand::Rng;
use ringmain::engine::{Inbox, Remote};
use rustls::pki_types::ServerName;

use crate::clock::Clock;
use crate::compare::cpus::{Cpus, allowed};
use crate::figures::Run;

use super::agents::{Fault, Signals, Site};
use super::backends::{Behaviour, Doors, Foundation};
use super::cause::Cause;
use super::directory::Directory;
use super::failure::Failure;
use super::ground;
use super::metrics;
use super::network::Network;
use super::order::{Group, Order};
use super::pair::{Ended, Pair};
use super::placement::Placement;
use super::protocol::Dialogue;
use super::proxy::{Front, Proxy};
use super::record::{Beat, SharedWindow, Tally, both, tellers};
use super::stage::Stage;
use super::standing::Standing;
use super::thread::{Finished, Post, ThreadError};
use super::tls::{Material, Trust};
use super::watch::{Watch, Watched};

/// Who is between agents and backends.
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    /// Nobody: what comes of it is the generator's own limit.
    Direct,
    /// A Ringmain that the run starts.
    Ringmain { workers: u32, passthrough: bool },
    /// Whoever listens there, and sends to our backends at these addresses, if there are any.
    Target { target: SocketAddr, backends: Vec<SocketAddr>, terminus: Terminus },
}

/// Where TLS ends that agents speak to a target.
#[derive(Clone, Debug, PartialEq)]
pub enum Terminus {
    /// Nobody has said.
    Unknown,
    /// At the target.
    Target(Trust),
    /// At our backends, who go by this name, or by that of all runs.
    Backends(Option<ServerName<'static>>),
}

/// All that runs have in common.
pub struct Bench {
    pub clock: Clock,
    pub cpus: Cpus,
    pub network: Network,
    pub route: Route,
    pub behaviour: Behaviour,
    /// Addresses to connect from; none: as it takes.
    pub sources: Vec<IpAddr>,
    pub signals: Signals,
}

/// What a run came to, beside its figures.
pub struct Outcome {
    pub run: Run,
    /// What both sides counted, all groups together.
    pub tally: Tally,
    /// Bytes that may wait at a backend's socket of datagrams, if there is one.
    pub room: Option<usize>,
    /// Who had which CPU.
    pub placement: Placement,
    /// Of a proxy that the run has started.
    pub proxy: Option<(String, String)>,
}

/// A side that runs, and its number in the kernel.
struct Side<T> {
    thread: JoinHandle<Result<Finished<T>, ThreadError>>,
    id: i32,
}

/// Backends on a thread of their own, since they have a CPU of their own.
struct Apart {
    side: Side<()>,
    stop: Inbox<()>,
}

impl Bench {
    /// Does what `order` says; `told` hears of every second.
    pub fn run(
        &self,
        order: &Order,
        told: &mut dyn FnMut(&Watched<'_>),
    ) -> Result<Outcome, Failure> {
        let mut standing = self.stand(order)?;
        self.run_on(&mut standing, order, told)
    }

    /// What runs of such an order have in common: backends' addresses, certificates and a proxy.
    pub fn stand(&self, order: &Order) -> Result<Standing, Failure> {
        self.check(order)?;
        let workers = match self.route {
            Route::Ringmain { workers, .. } => workers,
            _ => 0,
        };
        let all = allowed().map_err(Failure::host("the CPUs of this process"))?;
        let placement = Placement::choose(self.cpus, workers, &all);
        let directory = Directory::create().map_err(Failure::host("the directory of the run"))?;
        let material = self.material(order)?;
        let doors: io::Result<Vec<Doors>> =
            order.groups.iter().map(|group| self.listen(group)).collect();
        let doors = doors.map_err(Failure::host("a backend's address"))?;
        let mut standing =
            Standing { proxy: None, material, doors, placement, counts_calls: false, directory };
        standing.proxy = self.start_proxy(order, &standing)?;
        Ok(standing)
    }

    /// Does what `order` says where everything stands; its groups are those it was made to stand
    /// for.
    pub fn run_on(
        &self,
        standing: &mut Standing,
        order: &Order,
        told: &mut dyn FnMut(&Watched<'_>),
    ) -> Result<Outcome, Failure> {
        let (beats, heard) = channel();
        let window = SharedWindow::default();
        let counted_before = standing.counted();
        let mut foundations = self.foundations(order, standing)?;
        let tellers = tellers(order.groups.len()) + tellers(foundations.len());
        let apart = match standing.placement.is_one_for_both() {
            true => None,
            false => {
                let foundations = std::mem::take(&mut foundations);
                Some(self.open_apart(foundations, standing, &window, &beats)?)
            }
        };
        let sites = self.sites(order, standing)?;
        let pair = Pair {
            order: order.clone(),
            sites: sites.clone(),
            foundations,
            signals: self.signals.clone(),
            lingering: None,
        };
        let (done, load) = self.start_load(pair, standing, &window, beats)?;
        let threads = (load.id, apart.as_ref().map(|apart| apart.side.id));
        let root = standing.proxy.as_ref().map(|proxy| proxy.process.id());
        let mut watch = Watch::new(self.clock, self.cpus, &standing.placement, root, threads);
        watch.expect(tellers);
        if standing.counts_calls {
            watch.count_calls();
        }
        watch.follow(&window, &heard, &done, told);
        let finished = join(load.thread)?;
        finished.output.ran.map_err(|fault| failure(fault, order, &sites))?;
        let mut backends = finished.output.backends;
        if let Some(Apart { side, stop }) = apart {
            // It holds one message, and is asked once.
            stop.push(()).unwrap_or_default();
            backends = join(side.thread)?.parts;
        }
        let tallies = both(finished.parts, &backends);
        if let Some(proxy) = &mut standing.proxy {
            proxy.check()?;
        }
        let described = standing.proxy.as_ref();
        let mut run = watch.into_run(order, &self.route, &tallies, &heard);
        run.told = metrics::since(&counted_before, &standing.counted());
        Ok(Outcome {
            run,
            room: standing.doors.iter().filter_map(Doors::room).min(),
            tally: Tally::sum(&tallies),
            placement: standing.placement.clone(),
            proxy: described.map(|proxy| (proxy.version.clone(), proxy.configuration.clone())),
        })
    }

    /// Whether this host, and who is between, can do what the order asks. It makes no load.
    pub fn check(&self, order: &Order) -> Result<(), Failure> {
        let sides = if self.has_backends() { 2 } else { 1 };
        ground::check_descriptors(order, sides)?;
        ground::check_datagrams(order, &self.route)?;
        ground::check_tls(order, &self.route)?;
        ground::check_backends(order, &self.route)?;
        ground::sources(order, self.goal(), &self.sources)?;
        match &self.route {
            Route::Target { target, backends, terminus } => {
                ground::check_target(order, *target, !backends.is_empty())?;
                match terminus {
                    Terminus::Target(trust) => ground::check_handshakes(order, *target, trust),
                    Terminus::Backends(_) | Terminus::Unknown => Ok(()),
                }
            }
            Route::Direct | Route::Ringmain { .. } => Ok(()),
        }
    }

    /// The address that agents speak to.
    fn goal(&self) -> IpAddr {
        match (&self.route, &self.network) {
            (Route::Target { target, .. }, _) => target.ip(),
            (Route::Ringmain { .. }, Network::Apart { there, .. }) => (*there).into(),
            (_, network) => network.here().into(),
        }
    }

    fn has_backends(&self) -> bool {
        !matches!(&self.route, Route::Target { backends, .. } if backends.is_empty())
    }

    fn is_target(&self) -> bool {
        matches!(self.route, Route::Target { .. })
    }

    /// Whether backends see TLS: nobody ends it before them.
    fn backends_end_tls(&self) -> bool {
        match &self.route {
            Route::Direct => true,
            Route::Ringmain { passthrough, .. } => *passthrough,
            Route::Target { terminus, .. } => matches!(terminus, Terminus::Backends(_)),
        }
    }

    /// The certificates of the run: none, where nobody would show them.
    fn material(&self, order: &Order) -> Result<Option<Material>, Failure> {
        if order.groups.iter().all(|group| group.protocol.handshakes().is_none()) {
            return Ok(None);
        }
        match &self.route {
            Route::Target { terminus: Terminus::Target(_), .. } => Ok(None),
            Route::Target { terminus: Terminus::Backends(Some(name)), .. } => {
                Material::generate_for(name.clone()).map(Some)
            }
            _ => Material::generate().map(Some),
        }
    }

    /// Whom agents ask for and believe.
    fn trust(&self, standing: &Standing) -> Option<Trust> {
        match &self.route {
            Route::Target { terminus: Terminus::Target(trust), .. } => Some(trust.clone()),
            _ => standing.material.as_ref().map(Material::trust),
        }
    }

    /// The backends of each group; none, if the target has its own.
    fn foundations(&self, order: &Order, standing: &Standing) -> Result<Vec<Foundation>, Failure> {
        if !self.has_backends() {
            return Ok(Vec::new());
        }
        let mut random = backends_random(order.seed);
        let found = |(group, doors): (&Group, &Doors)| {
            let doors = doors.try_clone().map_err(Failure::host("a backend's address"))?;
            let tls = match (&standing.material, group.protocol.handshakes()) {
                (Some(material), Some(_)) if self.backends_end_tls() => {
                    Some(material.backends(group.protocol)?)
                }
                _ => None,
            };
            let tidings = Arc::clone(&self.signals.backends);
            let (group, behaviour) = (group.clone(), self.behaviour.clone());
            Ok(Foundation { group, doors, tls, behaviour, random: random.fork(), tidings })
        };
        order.groups.iter().zip(&standing.doors).map(found).collect()
    }

    fn open_apart(
        &self,
        foundations: Vec<Foundation>,
        standing: &Standing,
        window: &SharedWindow,
        beats: &Sender<Beat>,
    ) -> Result<Apart, Failure> {
        let remote = remote()?;
        let stop = Inbox::new(1, Arc::clone(&remote));
        let asked = stop.clone();
        let work = move |stage: Rc<Stage>| async move {
            for foundation in foundations {
                foundation.build(&stage);
            }
            stage.engine.spawn(Rc::clone(&stage).tell());
            asked.next(&stage.engine).await;
            stage.end();
        };
        let cpu = standing.placement.backends;
        let side = self.start("backends", cpu, window, beats.clone(), remote, work)?;
        Ok(Apart { side, stop })
    }

    /// Where the backends of one group are reached: nowhere, if the target has its own.
    fn listen(&self, group: &Group) -> io::Result<Doors> {
        let any = SocketAddr::from((self.network.here(), 0));
        let addresses = match (&self.route, group.protocol.dialogue()) {
            (Route::Target { backends, .. }, _) => backends.clone(),
            (Route::Ringmain { .. }, Dialogue::Visit) => vec![any; VISITED],
            (Route::Ringmain { .. }, _) => vec![any; ground::backends_needed(group)],
            _ => vec![any],
        };
        Doors::open(group.protocol, &addresses)
    }

    fn start_proxy(&self, order: &Order, standing: &Standing) -> Result<Option<Proxy>, Failure> {
        let Route::Ringmain { workers, passthrough } = self.route else { return Ok(None) };
        let backends = standing.addresses().map_err(Failure::host("a backend's address"))?;
        let front = |(group, backends): (&Group, Vec<SocketAddr>)| Front {
            backends,
            ends_tls: group.protocol.handshakes().is_some() && !passthrough,
            alpn: group.protocol.alpn(),
        };
        let fronts: Vec<Front> = order.groups.iter().zip(backends).map(front).collect();
        let authority = standing.material.as_ref().map(|material| &material.authority);
        let (cpus, directory) = (&standing.placement.proxy, standing.directory.path());
        Proxy::start(&fronts, workers, cpus, &self.network, authority, directory).map(Some)
    }

    fn sites(&self, order: &Order, standing: &Standing) -> Result<Vec<Site>, Failure> {
        let backends = standing.addresses().map_err(Failure::host("a backend's address"))?;
        let trust = self.trust(standing);
        let site = |(number, group): (usize, &Group)| {
            let target = match (&self.route, &standing.proxy) {
                (Route::Target { target, .. }, _) => *target,
                (_, Some(proxy)) => proxy.listens[number],
                (_, None) => backends[number][0],
            };
            let tls = match (&trust, group.protocol.handshakes()) {
                (Some(trust), Some(handshakes)) => {
                    Some(trust.agents(group.protocol, handshakes, group.terms)?)
                }
                _ => None,
            };
            let sources = ground::sources(order, target.ip(), &self.sources)?;
            let host = trust.as_ref().filter(|_| tls.is_some() || self.is_target());
            let host = host.and_then(|trust| trust.host(target, tls.is_some()));
            Ok(Site { target, sources, tls, host })
        };
        order.groups.iter().enumerate().map(site).collect()
    }

    fn start_load(
        &self,
        pair: Pair,
        standing: &Standing,
        window: &SharedWindow,
        beats: Sender<Beat>,
    ) -> Result<(Receiver<()>, Side<Ended>), Failure> {
        let (ending, done) = channel();
        let work = move |stage: Rc<Stage>| async move {
            let ended = pair.run(&stage).await;
            // Whoever waits for it has gone only with the whole run.
            ending.send(()).unwrap_or_default();
            ended
        };
        let cpu = standing.placement.agents;
        let side = self.start("load", cpu, window, beats, remote()?, work)?;
        Ok((done, side))
    }

    fn start<T, W, F>(
        &self,
        name: &'static str,
        cpu: Option<usize>,
        window: &SharedWindow,
        beats: Sender<Beat>,
        remote: Arc<Remote>,
        work: W,
    ) -> Result<Side<T>, Failure>
    where
        T: Send + 'static,
        W: FnOnce(Rc<Stage>) -> F + Send + 'static,
        F: Future<Output = T>,
    {
        let (clock, window) = (self.clock, window.clone());
        let (started, starting) = channel();
        let post = Post { name, cpu, clock, window, beats, remote };
        let thread = post.start(started, work).map_err(Failure::host("a thread of the run"))?;
        // Without a word its work has ended already, and says why when it is joined.
        let id = starting.recv().unwrap_or(0);
        Ok(Side { thread, id })
    }
}

fn remote() -> Result<Arc<Remote>, Failure> {
    Remote::with_signal().map(Arc::new).map_err(Failure::host("no descriptor for an engine"))
}

/// What a thread leaves behind, or why it could not do its work.
pub fn join<T>(
    thread: JoinHandle<Result<Finished<T>, ThreadError>>,
) -> Result<Finished<T>, Failure> {
    match thread.join() {
        Ok(finished) => Ok(finished?),
        // Its own message was printed when it panicked.
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The sentence for a fault of the agents.
pub fn failure(fault: Fault, order: &Order, sites: &[Site]) -> Failure {
    match fault {
        Fault::Interrupted => Failure::Interrupted,
        Fault::Disagreed(disagreed) => Failure::Disagreed(disagreed),
        Fault::NoTickets => Failure::NoTickets,
        Fault::NotConnected { group, connected, cause } => {
            let target = sites[group].target;
            match cause {
                Some(Cause::Certificate(reason)) => Failure::Untrusted { target, reason },
                Some(Cause::Tls(cause)) if connected == 0 => Failure::NoHandshake { target, cause },
                cause => Failure::NotConnected {
                    target,
                    wanted: order.groups[group].agents,
                    connected,
                    cause: cause.map_or("no answer", |cause| cause.as_str()),
                },
            }
        }
    }
}

/// Backends of those that connect for each unit, so that the ports towards one are enough.
const VISITED: usize = 16;

/// What the backends of a run draw from, each from a fork: not what the agents do.
pub fn backends_random(seed: u64) -> Rng {
    Rng::with_seed(seed ^ BACKENDS)
}

const BACKENDS: u64 = 0x6261_636b_656e_6473;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::course::Arrivals;
    use super::super::protocol::Protocol;
    use super::super::tests::scene::{open, order};
    use super::*;

    #[test]
    fn too_few_ports_are_told_before_anything_is_opened() {
        let bench = Bench {
            clock: Clock::start(),
            cpus: Cpus { proxy: 1, load: 0 },
            network: Network::Loopback,
            route: Route::Direct,
            behaviour: Behaviour::default(),
            sources: vec![Ipv4Addr::LOCALHOST.into()],
            signals: Signals::default(),
        };
        let visits = |rate| order(Protocol::TcpConnect, 10, open(rate, Arrivals::Constant), 60);
        bench.check(&visits(10.0)).unwrap();
        let refused = bench.check(&visits(1e6));
        assert!(matches!(refused, Err(Failure::Ports { needed: 60_000_010, .. })), "{refused:?}");
    }

    #[test]
    fn what_a_target_can_not_take_is_told_before_anything_is_sent() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let bench = |backends: &[SocketAddr], terminus| Bench {
            clock: Clock::start(),
            cpus: Cpus { proxy: 1, load: 0 },
            network: Network::Loopback,
            route: Route::Target { target: at, backends: backends.to_vec(), terminus },
            behaviour: Behaviour::default(),
            sources: Vec::new(),
            signals: Signals::default(),
        };
        let of = |protocol, agents| order(protocol, agents, open(1.0, Arrivals::Constant), 1);
        let said = |bench: &Bench, order: &Order| bench.check(order).unwrap_err().to_string();
        bench(&[], Terminus::Unknown).check(&of(Protocol::TcpEcho, 1)).unwrap();
        // Nobody vouches for it.
        let unknown = said(&bench(&[], Terminus::Unknown), &of(Protocol::TlsEcho, 1));
        assert!(unknown.contains("--ca"), "{unknown}");
        // Nobody counts.
        let one_way = said(&bench(&[], Terminus::Unknown), &of(Protocol::Ndjson, 1));
        assert!(one_way.contains("--backend-listen"), "{one_way}");
        let mut groups = of(Protocol::TcpEcho, 1);
        groups.groups.push(groups.groups[0].clone());
        let shared = said(&bench(&[at], Terminus::Unknown), &groups);
        assert!(shared.contains("can not share"), "{shared}");
        // It ends connections before any handshake.
        let trust = Trust::blind(ServerName::from(at.ip()));
        let ending = std::thread::spawn(move || drop(listener.accept().unwrap()));
        let silent = bench(&[], Terminus::Target(trust)).check(&of(Protocol::TlsEcho, 1));
        assert!(matches!(silent, Err(Failure::NoHandshake { .. } | Failure::Unreachable { .. })));
        ending.join().unwrap();
        // Backends of ours take a descriptor for each connection as well.
        let many = |backends: &[SocketAddr]| {
            let order = of(Protocol::TcpEcho, 500_000_000);
            match bench(backends, Terminus::Unknown).check(&order) {
                Err(Failure::Descriptors { needed, .. }) => needed,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((many(&[]), many(&[at])), (500_000_100, 1_000_000_100));
    }

    #[test]
    fn backends_show_certificates_for_the_name_that_agents_ask_for() {
        let target = SocketAddr::from(([127, 0, 0, 1], 443));
        let bench = |terminus| Bench {
            clock: Clock::start(),
            cpus: Cpus { proxy: 1, load: 0 },
            network: Network::Loopback,
            route: Route::Target { target, backends: vec![target], terminus },
            behaviour: Behaviour::default(),
            sources: Vec::new(),
            signals: Signals::default(),
        };
        let of = |protocol| order(protocol, 1, open(1.0, Arrivals::Constant), 1);
        let name = ServerName::try_from("logs.example").unwrap();
        let passing = bench(Terminus::Backends(Some(name.clone())));
        let material = passing.material(&of(Protocol::TlsEcho)).unwrap().unwrap();
        let root = vec![material.authority.root().clone()];
        assert_eq!(material.trust(), Trust::new(root, name.clone()));
        // Nobody would show them.
        assert!(passing.material(&of(Protocol::TcpEcho)).unwrap().is_none());
        let ended = bench(Terminus::Target(Trust::blind(name)));
        assert!(ended.material(&of(Protocol::TlsEcho)).unwrap().is_none());
        assert!(passing.backends_end_tls() && !ended.backends_end_tls());
    }
}
