//! Owns agents that use their connections a little and then hold them, for whoever reads the
//! proxy's memory meanwhile.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ringmain::engine::{Either, race};

use super::super::cause::Cause;
use super::super::channel::Channel;
use super::super::stage::Stage;
use super::super::tls::{Audit, Terms};
use super::super::wire::{Decoded, Format, Inbound, Mark};
use super::run::{CONNECT_PATIENCE, Fault, Signals, Site};

/// Connections to hold, and those that are open.
pub struct Holding {
    site: Site,
    signals: Signals,
    audit: Audit,
    channels: Vec<Channel>,
}

impl Holding {
    pub fn new(site: Site, terms: Terms, signals: Signals) -> Holding {
        Holding { site, signals, audit: Audit::new(terms), channels: Vec::new() }
    }

    /// Opens connections, one after the other, until there are so many; then all are quiet for a
    /// while.
    pub async fn grow(
        &mut self,
        stage: &Rc<Stage>,
        count: usize,
        quiet: Duration,
    ) -> Result<(), Fault> {
        while self.channels.len() < count {
            if self.signals.interrupted.load(Ordering::Relaxed) {
                return Err(Fault::Interrupted);
            }
            // Far fewer than 2^32.
            let connected = self.channels.len() as u32;
            let fault = |cause| Fault::NotConnected { group: 0, connected, cause: Some(cause) };
            let late = Fault::NotConnected { group: 0, connected, cause: None };
            let channel =
                match race(self.open(stage, connected), stage.pause(CONNECT_PATIENCE)).await {
                    Either::First(opened) => opened.map_err(fault)?,
                    Either::Second(()) => return Err(late),
                };
            channel.inspect(|agreed| self.audit.inspect(agreed));
            self.channels.push(channel);
        }
        stage.pause(quiet).await;
        self.audit.verdict().map_or(Ok(()), |disagreed| Err(Fault::Disagreed(disagreed)))
    }

    async fn open(&self, stage: &Rc<Stage>, stream: u32) -> Result<Channel, Cause> {
        let Site { target, tls, .. } = &self.site;
        let channel = Channel::connect(stage, *target, None, tls.as_ref()).await?;
        use_a_little(&channel, stream).await?;
        Ok(channel)
    }
}

async fn use_a_little(channel: &Channel, stream: u32) -> Result<(), Cause> {
    let mut inbound = Inbound::default();
    for (sequence, size) in (0..).zip(EXCHANGES) {
        let (mark, mut bytes) = (Mark { stream, sequence, due: 0 }, Vec::new());
        Format::Frame.encode(&mark, size, &mut bytes);
        channel.send(&bytes).await?;
        while Format::Frame.decode(inbound.rest()) == Decoded::Incomplete {
            if channel.receive(inbound.room()).await? == 0 {
                return Err(Cause::Closed);
            }
        }
        if Format::Frame.decode(inbound.rest())
            != (Decoded::Unit { mark, intact: true, length: size })
        {
            return Err(Cause::Malformed);
        }
        inbound.consume(size);
    }
    Ok(())
}

/// The messages of a connection before it is quiet: one is as long as a full record of TLS, and as
/// what many agents send at a time.
const EXCHANGES: [usize; 5] = [128, 128, 16 << 10, 128, 128];

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use fastrand::Rng;
    use ringmain::engine::driver::simulated::{Faults, World};
    use ringmain::engine::{BufferSizes, Engine, EngineSettings, Listener, PipeSizes, Remote};

    use super::super::super::backends::{Behaviour, House, Service};
    use super::super::super::order::{Group, Pace, Sizes};
    use super::super::super::protocol::{Handshakes, Protocol};
    use super::super::super::record::{Recorder, SharedWindow};
    use super::super::super::tls::{Disagreed, Material, Suite};
    use super::*;
    use crate::certificates::Identity;

    /// Holds so many connections to a backend of this behaviour, which are quiet for ten seconds;
    /// how many seconds that took.
    fn hold(tls: Option<Handshakes>, behaviour: Behaviour, count: usize) -> Result<u64, Fault> {
        let world = World::new(5, Faults::none());
        let remote = Arc::new(Remote::without_signal());
        let driver = world.driver(Arc::clone(&remote));
        let engine = Engine::new(driver, remote, &SETTINGS).unwrap();
        let window = SharedWindow::default();
        let stage = || {
            let recorder = Recorder::new(window.clone(), None);
            Stage::new(engine.clone(), 0, None, window.clone(), recorder)
        };
        let (near, far) = (stage(), stage());
        let protocol = if tls.is_some() { Protocol::TlsEcho } else { Protocol::TcpEcho };
        let group = Group::new(protocol, 9, Pace::Closed { depth: 1 }, Sizes::Constant(128));
        let terms = Terms { suite: Some(Suite::Aes128), identity: Identity::Ecdsa };
        let material = Material::generate().unwrap();
        let agents = tls.map(|handshakes| {
            let agents = material.agents(protocol, handshakes, terms).unwrap();
            agents.tickets.iter().for_each(|tickets| tickets.hand_out());
            agents
        });
        let backends = tls.map(|_| material.backends(protocol).unwrap());
        let target = SocketAddr::from(([127, 0, 0, 1], 9000));
        let tidings = Arc::default();
        let house = House::new(far, group, behaviour, backends, Rng::with_seed(6), tidings);
        let listener = Listener::from_descriptor(&engine, world.listen(target, 64));
        engine.spawn(Rc::clone(&house).open(listener));
        let site = Site { target, sources: Vec::new(), tls: agents, host: None };
        let mut holding = Holding::new(site, terms, Signals::default());
        let growing = holding.grow(&near, count, Duration::from_secs(10));
        let grown = engine.block_on(growing, || ()).unwrap();
        let seconds = engine.now().as_nanos() / 1_000_000_000;
        assert!(grown.is_err() || house.open_connections() as usize == count);
        house.stage.end();
        drop(holding);
        engine.wind_up(Duration::from_secs(1)).unwrap();
        grown.map(|()| seconds)
    }

    #[test]
    fn connections_are_quiet_as_long_as_is_asked() {
        for tls in [None, Some(Handshakes::Full)] {
            assert_eq!(hold(tls, Behaviour::default(), 5), Ok(10));
        }
    }

    #[test]
    fn a_backend_that_never_answers_is_not_waited_for_forever() {
        let service = Service::Constant(Duration::from_secs(3_600));
        let held = hold(None, Behaviour { service, ..Behaviour::default() }, 2);
        assert_eq!(held, Err(Fault::NotConnected { group: 0, connected: 0, cause: None }));
    }

    #[test]
    fn handshakes_of_connections_that_are_held_are_looked_at() {
        let held = hold(Some(Handshakes::Resumed), Behaviour::default(), 4);
        // The first has no ticket to offer.
        assert!(
            matches!(held, Err(Fault::Disagreed(Disagreed { count: 3, of: 4, .. }))),
            "{held:?}"
        );
    }

    const SETTINGS: EngineSettings = EngineSettings {
        buffers: BufferSizes { size: 16 << 10, count: 64, offered: 16 },
        pipes: PipeSizes { count: 0, size: 4096 },
        stall_after: Duration::from_secs(3600),
        stalled_share: usize::MAX,
    };
}
