//! Owns what all connections of one backend share: how it behaves, what it has received of whom,
//! and what it did wrong on purpose. It accepts; what is said is decided in `serve`.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use ringmain::engine::{Either, Listener, Notify, Socket, race};
use rustls::ServerConfig;

use super::super::channel::Channel;
use super::super::course::Schedule;
use super::super::ledger::{Arrival, Arrived};
use super::super::one_way::Tidings;
use super::super::order::Group;
use super::super::record::Window;
use super::super::stage::Stage;
use super::super::wire::Mark;
use super::behaviour::{Behaviour, Fate, Outage};
use super::serve;
use super::supply::Supply;

/// The backend of one group of agents.
pub struct House {
    pub stage: Rc<Stage>,
    pub group: Group,
    pub behaviour: Behaviour,
    tls: Option<Arc<ServerConfig>>,
    pub random: RefCell<Rng>,
    arrived: RefCell<HashMap<u32, Arrived>>,
    /// What it sends and receives that nobody answers.
    tidings: Arc<Tidings>,
    /// What it sends on its own, once that is asked for.
    supply: OnceCell<Rc<Supply>>,
    /// The next connection that the backend sends on.
    streams: Cell<u32>,
    /// Connections that are being served.
    open: Cell<u32>,
    /// Rings when it dies.
    died: Notify,
}

impl House {
    pub fn new(
        stage: Rc<Stage>,
        group: Group,
        behaviour: Behaviour,
        tls: Option<Arc<ServerConfig>>,
        random: Rng,
        tidings: Arc<Tidings>,
    ) -> Rc<House> {
        Rc::new(House {
            stage,
            group,
            behaviour,
            tls,
            random: RefCell::new(random),
            arrived: RefCell::default(),
            tidings,
            supply: OnceCell::new(),
            streams: Cell::new(0),
            open: Cell::new(0),
            died: Notify::default(),
        })
    }

    /// Accepts until the run is over.
    pub async fn open(self: Rc<Self>, listener: Listener) {
        if let Some(death) = self.behaviour.death {
            self.stage.engine.spawn(Rc::clone(&self).die(death));
        }
        let mut incoming = listener.incoming();
        while !self.stage.is_ending() {
            let Some(accepted) = self.stage.unless_over(incoming.next()).await else { return };
            match accepted {
                Ok(Some(socket)) => self.stage.engine.spawn(Rc::clone(&self).receive(socket)),
                Ok(None) => return,
                Err(error) => {
                    self.stage.recorder.borrow_mut().error(error.into(), self.stage.now());
                    self.stage.unless_over(self.stage.pause(AFTER_ERROR)).await;
                }
            }
        }
    }

    async fn receive(self: Rc<Self>, socket: Socket) {
        self.open.set(self.open.get() + 1);
        self.serve(socket).await;
        self.open.set(self.open.get() - 1);
    }

    pub fn open_connections(&self) -> u32 {
        self.open.get()
    }

    async fn serve(self: &Rc<Self>, socket: Socket) {
        if self.outage(self.behaviour.death).is_some() {
            return socket.reset_on_close();
        }
        let accepting = Channel::accept(&self.stage, socket, self.tls.as_ref());
        // What goes wrong is seen, and counted, by the agent.
        let Some(Ok(channel)) = self.stage.unless_over(accepting).await else { return };
        let channel = Rc::new(channel);
        let serving = self.stage.unless_over(serve::serve(self, &channel));
        // Only a few houses die, and in all others nobody needs to listen for it.
        if self.behaviour.death.is_none() {
            serving.await;
        } else if let Either::Second(()) = race(serving, self.died.notified()).await {
            channel.reset();
        }
    }

    async fn die(self: Rc<Self>, death: Outage) {
        while self.stage.window.get().is_none() {
            if self.stage.unless_over(self.stage.pause(GLANCE)).await.is_none() {
                return;
            }
        }
        let begin = self.stage.window.get().map_or(0, |window| window.begin);
        let at = begin + death.at.as_nanos() as u64;
        if self.stage.unless_over(self.stage.until(at)).await.is_some() {
            self.died.notify_all();
        }
    }

    /// The end of the outage, while it lasts.
    pub fn outage(&self, outage: Option<Outage>) -> Option<u64> {
        let window = self.stage.window.get()?;
        outage?.end_at(self.stage.now(), window.begin)
    }

    /// Stands still while it is told to.
    pub async fn stand_still(&self) {
        while let Some(end) = self.outage(self.behaviour.stall) {
            self.stage.until(end).await;
        }
    }

    /// A unit has come that nobody waits for.
    pub fn take_note(&self, mark: Mark, intact: bool) {
        let now = self.stage.now();
        let arrival =
            self.arrived.borrow_mut().entry(mark.stream).or_default().arrive(mark.sequence);
        let mut recorder = self.stage.recorder.borrow_mut();
        recorder.arrived(arrival, mark.due);
        if !intact {
            recorder.corrupted(now);
        }
        if arrival != Arrival::Again {
            self.tidings.came();
        }
        match arrival {
            Arrival::Again => {}
            _ if self.group.protocol.is_datagrams() => recorder.came(mark.due, now),
            _ => recorder.ended(mark.due, now),
        }
    }

    /// A request has come with so many events, numbered from its mark on. It counts as one, which
    /// was here before if any of them was.
    pub fn take_events(&self, first: Mark, events: u64, intact: bool) {
        let mut arrived = self.arrived.borrow_mut();
        let arrived = arrived.entry(first.stream).or_default();
        let mut whole = Arrival::InOrder;
        for sequence in first.sequence..first.sequence.saturating_add(events) {
            match (arrived.arrive(sequence), whole) {
                (Arrival::Again, _) | (_, Arrival::Again) => whole = Arrival::Again,
                (Arrival::Reordered, _) => whole = Arrival::Reordered,
                (Arrival::InOrder, _) => {}
            }
        }
        let mut recorder = self.stage.recorder.borrow_mut();
        recorder.arrived(whole, first.due);
        if !intact {
            recorder.corrupted(self.stage.now());
        }
    }

    /// What is to become of a request.
    pub fn draw_fate(&self) -> Fate {
        self.behaviour.mischief.draw(&mut self.random.borrow_mut())
    }

    /// Whether the connection of a unit that nobody answers ends with it, and how.
    pub fn draw_end(&self, due: u64) -> Option<Fate> {
        let fate = self.draw_fate();
        matches!(fate, Fate::Reset | Fate::Close).then(|| {
            self.struck(fate, due);
            fate
        })
    }

    /// Notes what became of one that was due then.
    pub fn struck(&self, fate: Fate, due: u64) {
        self.stage.recorder.borrow_mut().struck(fate, due);
    }

    /// What it sends on its own in an open loop, from the first time that somebody asks for it.
    pub fn supply(self: &Rc<Self>, window: Window) -> Option<&Rc<Supply>> {
        let (stage, Group { pace, agents, .. }) = (&self.stage, &self.group);
        let start = stage.now();
        let length = Duration::from_nanos(window.end.saturating_sub(start));
        let (course, arrivals) = pace.course(length)?;
        Some(self.supply.get_or_init(|| {
            let supply = Supply::new(*agents);
            let random = self.random.borrow_mut().fork();
            let schedule = Schedule::new(course, arrivals, 0.0, random);
            stage.engine.spawn(Rc::clone(&supply).deal(Rc::clone(self), schedule, start));
            stage.note_supply(&supply);
            supply
        }))
    }

    /// A unit is due that it sends on its own.
    pub fn owe(&self, due: u64) {
        self.tidings.sent();
        self.stage.recorder.borrow_mut().sent(due, self.stage.now());
    }

    pub fn next_stream(&self) -> u32 {
        self.streams.replace(self.streams.get() + 1)
    }
}

const AFTER_ERROR: Duration = Duration::from_millis(50);
const GLANCE: Duration = Duration::from_millis(1);
