//! Owns what the agents of one group share: where they go, how they speak, and when they stop.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use ringmain::engine::{Notify, Time};

use super::super::cause::Cause;
use super::super::channel::Channel;
use super::super::one_way::OneWay;
use super::super::order::Group;
use super::super::stage::Stage;
use super::super::tls::Audit;
use super::super::wire::{Format, Mark};
use super::agent::Manner;
use super::run::Site;

/// An agent whose connections last, whatever it speaks.
pub trait Lasting {
    /// Connects, and stays until the run is over.
    fn begin(self: Rc<Self>);

    /// A unit is due.
    fn push(&self, due: u64);

    /// Whether nothing is to be sent or waited for.
    fn is_idle(&self) -> bool;

    /// What it has sent, and what has come to it, that nobody answers.
    fn one_way(&self) -> OneWay;

    /// The run is over: notes what has not come back, or has not even left.
    fn close_books(&self);
}

/// A connection that stands, as long as this is kept.
pub struct Standing<'t>(&'t Team);

/// A group at work.
pub struct Team {
    pub stage: Rc<Stage>,
    pub group: Group,
    pub site: Site,
    /// What all of its handshakes came to.
    pub audit: RefCell<Audit>,
    pub random: RefCell<Rng>,
    next_source: Cell<usize>,
    /// Connections that stand, and the last reason for which one did not.
    pub connected: Cell<u32>,
    pub last_cause: Cell<Option<Cause>>,
    /// How often one failed.
    pub failures: Cell<u32>,
    /// Rings when one of the two has changed.
    pub changed: Notify,
}

impl Team {
    pub fn new(stage: Rc<Stage>, group: Group, site: Site, random: Rng) -> Rc<Team> {
        let audit = RefCell::new(Audit::new(group.terms));
        Rc::new(Team {
            stage,
            group,
            audit,
            site,
            random: RefCell::new(random),
            next_source: Cell::new(0),
            connected: Cell::new(0),
            last_cause: Cell::new(None),
            failures: Cell::new(0),
            changed: Notify::default(),
        })
    }

    /// The address to connect from.
    pub fn next_source(&self) -> Option<IpAddr> {
        let turn = self.next_source.get();
        self.next_source.set(turn.wrapping_add(1));
        let sources = &self.site.sources;
        (!sources.is_empty()).then(|| sources[turn % sources.len()])
    }

    pub async fn connect(&self) -> Result<Channel, Cause> {
        let Site { target, tls, .. } = &self.site;
        let source = self.next_source();
        let connecting = Channel::connect(&self.stage, *target, source, tls.as_ref());
        let connected = connecting.await;
        let now = self.stage.now();
        if let Ok(channel) = &connected {
            channel.inspect(|agreed| {
                self.audit.borrow_mut().inspect(agreed);
                self.stage.recorder.borrow_mut().handshake(agreed.resumed, now);
            });
        }
        connected
    }

    /// Keeps a connection up until the run is over. `talk` comes to an end when its time is over,
    /// or with a cause; then `lose` is told that nothing more will be heard on it.
    pub async fn keep_up(
        &self,
        talk: impl AsyncFn(&Channel) -> Result<(), Cause>,
        lose: impl Fn(),
    ) {
        let stage = &self.stage;
        let mut pause = FIRST_PAUSE;
        while !stage.is_ending() {
            let opened = Cell::new(None);
            let visit = async {
                let channel = self.connect().await?;
                opened.set(Some(stage.engine.now()));
                talk(&channel).await
            };
            let cause = match stage.unless_over(visit).await {
                None => return,
                Some(Ok(())) => continue,
                Some(Err(cause)) => cause,
            };
            lose();
            if cause == Cause::OnPurpose {
                continue;
            }
            self.failed(cause);
            let now = stage.engine.now();
            if opened.get().is_some_and(|opened| now.since(opened) > LONGEST_PAUSE) {
                pause = FIRST_PAUSE;
            }
            stage.unless_over(stage.pause(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A connection of the group can be used.
    pub fn stand(&self) -> Standing<'_> {
        self.connected.set(self.connected.get() + 1);
        self.stage.recorder.borrow_mut().open += 1;
        self.changed.notify_all();
        Standing(self)
    }

    /// When a connection is to end, drawn anew for each.
    pub fn draw_end(&self) -> Time {
        let Some(mean) = self.group.lifetime else { return NEVER };
        let share = -(1.0 - self.random.borrow_mut().f64()).ln();
        self.stage.engine.now() + mean.mul_f64(share)
    }

    /// Whether an agent of this manner breaks off now that it could.
    pub fn breaks_off(&self, manner: Manner) -> bool {
        manner == Manner::Broken && self.random.borrow_mut().f64() < BREAKS
    }

    pub fn failed(&self, cause: Cause) {
        self.stage.recorder.borrow_mut().error(cause, self.stage.now());
        self.last_cause.set(Some(cause));
        self.failures.set(self.failures.get().saturating_add(1));
        self.changed.notify_all();
    }

    /// How the agent of this number behaves: the first ones are slow, and then some are broken.
    pub fn manner(&self, number: u32) -> Manner {
        let Group { agents, slow, broken, .. } = self.group;
        let place = (f64::from(number) + 0.5) / f64::from(agents);
        match place {
            place if place < slow => Manner::Slow,
            place if place < slow + broken => Manner::Broken,
            _ => Manner::Good,
        }
    }

    /// How long what is under way is waited for when the time of its connection is over.
    pub fn patience(&self) -> Duration {
        let window = self.stage.window.get();
        window.map_or(LONGEST_PAUSE, |window| Duration::from_nanos(window.patience))
    }

    /// Appends a unit of a size that is drawn.
    pub fn encode(&self, mark: &Mark, out: &mut Vec<u8>) {
        let size = self.draw_size();
        match (self.group.protocol.format(), &self.site.host) {
            (Format::Http(intake), Some(host)) => intake.encode(host, mark, size, out),
            (format, _) => format.encode(mark, size, out),
        }
    }

    pub fn draw_size(&self) -> usize {
        self.group.sizes.draw(&mut self.random.borrow_mut())
    }

    /// Whether units of a closed loop still begin.
    pub fn is_open(&self) -> bool {
        self.stage.window.get().is_none_or(|window| self.stage.now() < window.end)
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        let Standing(team) = self;
        team.connected.set(team.connected.get() - 1);
        team.stage.recorder.borrow_mut().open -= 1;
    }
}

pub const NEVER: Time = Time::from_nanos(u64::MAX);
/// How often a broken agent breaks off when it could.
const BREAKS: f64 = 0.02;
/// Before the next try to connect; doubled with each.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ringmain::engine::driver::simulated::{Faults, World};
    use ringmain::engine::{BufferSizes, Engine, EngineSettings, PipeSizes, Remote};

    use super::super::super::order::{Pace, Sizes};
    use super::super::super::protocol::Protocol;
    use super::super::super::record::Recorder;
    use super::*;

    /// What the first unit of such a team says.
    fn said(protocol: Protocol, host: Option<&str>) -> String {
        let (remote, window) = (Arc::new(Remote::without_signal()), Arc::default());
        let driver = World::new(1, Faults::none()).driver(Arc::clone(&remote));
        let engine = Engine::new(driver, remote, &SETTINGS).unwrap();
        let recorder = Recorder::new(Arc::clone(&window), None);
        let stage = Stage::new(engine, 0, None, window, recorder);
        let target = ([127, 0, 0, 1], 9000).into();
        let site = Site { target, sources: vec![], tls: None, host: host.map(str::to_owned) };
        let group = Group::new(protocol, 1, Pace::constant(1.0), Sizes::Constant(500));
        let (team, mut bytes) = (Team::new(stage, group, site, Rng::with_seed(1)), Vec::new());
        team.encode(&Mark { stream: 1, sequence: 2, due: 3 }, &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn requests_are_for_the_host_of_their_site() {
        for (protocol, usual) in [
            (Protocol::Datadog, "http-intake.bench.test"),
            (Protocol::SplunkHec, "splunk.bench.test:8088"),
        ] {
            let usual = format!("\r\nHost: {usual}\r\n");
            assert!(said(protocol, None).contains(&usual), "{protocol:?}");
            let named = said(protocol, Some("logs.example:9000"));
            assert!(named.contains("\r\nHost: logs.example:9000\r\n"), "{named}");
            assert_eq!(named.matches("Host:").count(), 1, "{named}");
        }
        assert_eq!(said(Protocol::Ndjson, Some("logs.example")), said(Protocol::Ndjson, None));
    }

    const SETTINGS: EngineSettings = EngineSettings {
        buffers: BufferSizes { size: 16 << 10, count: 4, offered: 2 },
        pipes: PipeSizes { count: 0, size: 4096 },
        stall_after: Duration::from_secs(3600),
        stalled_share: usize::MAX,
    };
}
