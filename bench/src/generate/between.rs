//! Owns runs around a proxy that somebody else has started and keeps: its backends stay open from
//! run to run. Who is compared with whom is not its concern.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use fastrand::Rng;
use ringmain::engine::Remote;

use crate::certificates::Identity;
use crate::clock::Clock;
use crate::compare::cpus::Cpus;
use crate::compare::usage::Usage;
use crate::figures::Run;
use crate::report::Live;

use super::agents::{Holding, Signals, Site};
use super::backends::{Behaviour, Doors, Foundation};
use super::bench::{Route, Terminus, failure, join};
use super::failure::Failure;
use super::ground;
use super::order::{Group, Order, Pace, Sizes};
use super::pair::{Pair, all_end};
use super::placement::Placement;
use super::protocol::{Dialogue, Protocol};
use super::record::{SharedWindow, Tally, both, tellers};
use super::stage::Stage;
use super::thread::Post;
use super::tls::{Material, Terms};
use super::watch::{Watch, Watched};

/// What all runs of a comparison share.
pub struct Between {
    pub clock: Clock,
    pub cpus: Cpus,
    pub signals: Signals,
    /// Whose certificates the proxies show.
    pub material: Material,
    /// How long a proxy may take to end what its clients have ended.
    pub lingering: Duration,
    /// Where runs are shown while they are made.
    pub live: Live,
}

/// One proxy, with its backends.
pub struct Middle<'m> {
    pub name: &'static str,
    /// Its first process.
    pub process: u32,
    pub plain: SocketAddr,
    /// Where it ends TLS with this certificate.
    pub sealed: &'m dyn Fn(Identity) -> SocketAddr,
    /// They listen all the time, and accept during runs.
    pub backends: &'m [TcpListener],
}

/// What a run came to.
pub struct Carried {
    pub run: Run,
    /// `None`: the proxy is gone.
    pub usage: Option<Usage>,
    /// Units that were changed on their way, also outside the window.
    pub spoiled: u64,
}

impl Between {
    pub fn run(&self, middle: &Middle<'_>, order: &Order) -> Result<Carried, Failure> {
        let (beats, heard) = channel();
        let window = SharedWindow::default();
        let pair = Pair {
            order: order.clone(),
            sites: self.sites(middle, order)?,
            foundations: self.foundations(middle, order)?,
            signals: self.signals.clone(),
            lingering: Some(self.lingering),
        };
        let sites = pair.sites.clone();
        let (ending, done) = channel();
        let (started, starting) = channel();
        let work = move |stage: Rc<Stage>| async move {
            let ended = pair.run(&stage).await;
            // Whoever waits for it has gone only with the whole run.
            ending.send(()).unwrap_or_default();
            ended
        };
        let thread = self.post(&window, beats)?.start(started, work);
        let thread = thread.map_err(Failure::host("a thread of the run"))?;
        // Without a word its work has ended already, and says why when it is joined.
        let id = starting.recv().unwrap_or(0);
        let placement = Placement {
            proxy: vec![self.cpus.proxy],
            agents: Some(self.cpus.load),
            backends: Some(self.cpus.load),
        };
        let root = Some(middle.process);
        let mut watch = Watch::new(self.clock, self.cpus, &placement, root, (id, None));
        watch.expect(2 * tellers(order.groups.len()));
        watch.stay_afar();
        let (name, rate) = (format!("{} {}", middle.name, order.name), order.rate());
        let mut told = |watched: &Watched<'_>| self.live.show(&name, rate, &watched.so_far);
        watch.follow(&window, &heard, &done, &mut told);
        let finished = join(thread)?;
        finished.output.ran.map_err(|fault| failure(fault, order, &sites))?;
        if finished.output.open > 0 {
            return Err(Failure::Lingering(finished.output.open));
        }
        let tallies = both(finished.parts, &finished.output.backends);
        let usage = watch.take_usage();
        let route = Route::Target {
            target: middle.plain,
            backends: Vec::new(),
            terminus: Terminus::Unknown,
        };
        let mut run = watch.into_run(order, &route, &tallies, &heard);
        run.candidate = middle.name.to_owned();
        run.workers = 1;
        Ok(Carried { run, usage, spoiled: Tally::sum(&tallies).spoiled })
    }

    /// Holds `few` connections and then `all`, each used a little, and reads the meter at both.
    pub fn hold<R: Send + 'static>(
        &self,
        middle: &Middle<'_>,
        terms: Option<Terms>,
        counts: [usize; 2],
        quiet: Duration,
        mut meter: impl FnMut() -> io::Result<R> + Send + 'static,
    ) -> Result<[R; 2], Failure> {
        let protocol = if terms.is_some() { Protocol::TlsEcho } else { Protocol::TcpEcho };
        let terms = terms.unwrap_or_default();
        let agents = counts[1] as u32;
        let group = Group::new(protocol, agents, Pace::Closed { depth: 1 }, Sizes::Constant(128));
        let group = Group { terms, ..group };
        let order = Order {
            name: protocol.as_str().to_owned(),
            groups: vec![group.clone()],
            warm_up: Duration::ZERO,
            window: Duration::ZERO,
            patience: Duration::ZERO,
            seed: 1,
        };
        let sites = self.sites(middle, &order)?;
        let foundation = self.foundation(middle, &group, order.seed)?;
        let (signals, lingering) = (self.signals.clone(), self.lingering);
        let work = move |stage: Rc<Stage>| async move {
            let house = foundation.build(&stage.beside());
            let mut holding = Holding::new(sites[0].clone(), terms, signals);
            let mut readings = Vec::new();
            for count in counts {
                let grown = holding.grow(&stage, count, quiet).await;
                grown.map_err(|fault| failure(fault, &order, &sites))?;
                let open = house.open_connections() as usize;
                if open < count {
                    return Err(Failure::NotHeld { open, count });
                }
                readings.push(meter().map_err(Failure::host("the memory of the proxy"))?);
            }
            drop(holding);
            match all_end(&[house], &stage, lingering).await {
                0 => Ok(readings),
                open => Err(Failure::Lingering(open)),
            }
        };
        let (beats, _) = channel();
        let (started, _starting) = channel();
        let thread = self.post(&SharedWindow::default(), beats)?.start(started, work);
        let finished = join(thread.map_err(Failure::host("a thread of the run"))?)?;
        let readings = <[R; 2]>::try_from(finished.output?);
        // One was taken at each count.
        readings.map_err(|_| Failure::Proxy("a reading is missing".to_owned()))
    }

    fn post(
        &self,
        window: &SharedWindow,
        beats: std::sync::mpsc::Sender<super::record::Beat>,
    ) -> Result<Post, Failure> {
        let remote = Remote::with_signal().map_err(Failure::host("no descriptor for an engine"))?;
        let (cpu, clock, window) = (Some(self.cpus.load), self.clock, window.clone());
        Ok(Post { name: "load", cpu, clock, window, beats, remote: Arc::new(remote) })
    }

    fn sites(&self, middle: &Middle<'_>, order: &Order) -> Result<Vec<Site>, Failure> {
        ground::check_descriptors(order, 2)?;
        order.groups.iter().map(|group| self.site(middle, group)).collect()
    }

    fn site(&self, middle: &Middle<'_>, group: &Group) -> Result<Site, Failure> {
        let (target, tls) = match group.protocol.handshakes() {
            None => (middle.plain, None),
            Some(handshakes) => {
                let tls = self.material.agents(group.protocol, handshakes, group.terms)?;
                ((middle.sealed)(group.terms.identity), Some(tls))
            }
        };
        // Many, so that those in TIME_WAIT are not in the way.
        let sources = match group.protocol.dialogue() {
            Dialogue::Visit => (1..=SOURCES).map(|host| [127, 0, 2, host].into()).collect(),
            _ => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        };
        let host = tls.as_ref().and_then(|_| self.material.trust().host(target, true));
        Ok(Site { target, sources, tls, host })
    }

    fn foundations(&self, middle: &Middle<'_>, order: &Order) -> Result<Vec<Foundation>, Failure> {
        let seeds = order.seed..;
        let found = |(group, seed)| self.foundation(middle, group, seed);
        order.groups.iter().zip(seeds).map(found).collect()
    }

    fn foundation(
        &self,
        middle: &Middle<'_>,
        group: &Group,
        seed: u64,
    ) -> Result<Foundation, Failure> {
        let listeners: io::Result<Vec<TcpListener>> =
            middle.backends.iter().map(TcpListener::try_clone).collect();
        let listeners = listeners.map_err(Failure::host("a backend's address"))?;
        Ok(Foundation {
            group: group.clone(),
            doors: Doors::Streams(listeners),
            // The proxy ends it.
            tls: None,
            behaviour: Behaviour::default(),
            random: Rng::with_seed(seed),
            tidings: Arc::clone(&self.signals.backends),
        })
    }
}

const SOURCES: u8 = 64;
