//! Owns what the agents of one group share: where they go, how they speak, and when they stop.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use fastrand::Rng;
use ringmain::engine::Notify;

use super::super::cause::Cause;
use super::super::channel::{AgentTls, Channel};
use super::super::order::Group;
use super::super::stage::Stage;
use super::super::tls::Audit;
use super::agent::Manner;

/// A group at work.
pub struct Team {
    pub stage: Rc<Stage>,
    pub group: Group,
    pub target: SocketAddr,
    /// Addresses to connect from, in turn; none: the kernel's choice.
    pub sources: Vec<IpAddr>,
    pub tls: Option<AgentTls>,
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
    pub fn new(
        stage: Rc<Stage>,
        group: Group,
        target: SocketAddr,
        sources: Vec<IpAddr>,
        tls: Option<AgentTls>,
        random: Rng,
    ) -> Rc<Team> {
        let audit = RefCell::new(Audit::new(group.terms));
        Rc::new(Team {
            stage,
            group,
            audit,
            target,
            sources,
            tls,
            random: RefCell::new(random),
            next_source: Cell::new(0),
            connected: Cell::new(0),
            last_cause: Cell::new(None),
            failures: Cell::new(0),
            changed: Notify::default(),
        })
    }

    pub async fn connect(&self) -> Result<Channel, Cause> {
        let turn = self.next_source.get();
        self.next_source.set(turn.wrapping_add(1));
        let source = (!self.sources.is_empty()).then(|| self.sources[turn % self.sources.len()]);
        let connecting =
            Channel::connect(&self.stage.engine, self.target, source, self.tls.as_ref());
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

    /// A connection of the group stands.
    pub fn opened(&self) {
        self.connected.set(self.connected.get() + 1);
        self.stage.recorder.borrow_mut().open += 1;
        self.changed.notify_all();
    }

    pub fn closed(&self) {
        self.connected.set(self.connected.get() - 1);
        self.stage.recorder.borrow_mut().open -= 1;
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

    pub fn draw_size(&self) -> usize {
        self.group.sizes.draw(&mut self.random.borrow_mut())
    }

    /// Whether units of a closed loop still begin.
    pub fn is_open(&self) -> bool {
        self.stage.window.get().is_none_or(|window| self.stage.now() < window.end)
    }
}
