//! Owns visits: units that are a connection each. How many may be open at a time is given; those
//! that find no place wait, and their time runs.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::cause::Cause;
use super::super::channel::Channel;
use super::super::order::Ending;
use super::super::wire::{Decoded, Inbound, Mark};
use super::run::{CONNECT_PATIENCE, Fault, GLANCE, Signals};
use super::team::Team;

pub struct Visits {
    team: Rc<Team>,
    stream: u32,
    open: Cell<u32>,
    /// When each one was due that has not begun.
    waiting: RefCell<VecDeque<u64>>,
    /// The due time and the number of those that are open.
    under_way: RefCell<BTreeSet<(u64, u64)>>,
    begun: Cell<u64>,
    /// Those that were there for a ticket.
    visited: Cell<u32>,
}

impl Visits {
    pub fn new(team: Rc<Team>, stream: u32) -> Rc<Visits> {
        Rc::new(Visits {
            team,
            stream,
            open: Cell::new(0),
            waiting: RefCell::default(),
            under_way: RefCell::default(),
            begun: Cell::new(0),
            visited: Cell::new(0),
        })
    }

    /// Where sessions are to be resumed, gathers as many tickets as there may be visits at a time:
    /// by visits with full handshakes, which do not count.
    pub async fn gather(self: &Rc<Self>, group: usize, signals: &Signals) -> Result<(), Fault> {
        let stage = &self.team.stage;
        let Some(tickets) = self.team.site.tls.as_ref().and_then(|tls| tls.tickets.clone()) else {
            return Ok(());
        };
        let wanted = self.team.group.agents as usize;
        tickets.make_room(wanted);
        let patience = CONNECT_PATIENCE * (1 + self.team.group.agents / GATHERED_MEANWHILE);
        let deadline = stage.now() + patience.as_nanos() as u64;
        let rest = Rc::new(Cell::new(GATHERING));
        for _ in 0..GATHERING {
            let (visits, tickets, rest) = (Rc::clone(self), Arc::clone(&tickets), Rc::clone(&rest));
            stage.engine.spawn(async move {
                while tickets.len() < wanted && !visits.team.stage.is_ending() {
                    let visited = visits.visit(visits.team.stage.now(), 0).await;
                    if let Err(cause) = visited {
                        visits.team.failed(cause);
                        break;
                    }
                    visits.visited.set(visits.visited.get() + 1);
                    if tickets.len() == 0 {
                        break;
                    }
                }
                rest.set(rest.get() - 1);
            });
        }
        while rest.get() > 0 && stage.now() < deadline {
            if signals.interrupted.load(Ordering::Relaxed) {
                stage.end();
                return Err(Fault::Interrupted);
            }
            stage.pause(GLANCE).await;
        }
        let (connected, cause) = (self.visited.get(), self.team.last_cause.get());
        if tickets.len() < wanted {
            stage.end();
            return Err(match cause {
                None if tickets.len() == 0 && connected > 0 => Fault::NoTickets,
                cause => Fault::NotConnected { group, connected, cause },
            });
        }
        tickets.hand_out();
        self.team.audit.borrow_mut().expect_resumption();
        Ok(())
    }

    /// One is due.
    pub fn push(self: &Rc<Self>, due: u64) {
        self.team.stage.recorder.borrow_mut().sent(due, self.team.stage.now());
        if self.open.get() < self.team.group.agents {
            self.open.set(self.open.get() + 1);
            self.team.stage.engine.spawn(Rc::clone(self).visit_on(due));
        } else {
            self.waiting.borrow_mut().push_back(due);
        }
    }

    /// In a closed loop each ends with the beginning of the next.
    pub fn fill(self: &Rc<Self>) {
        (0..self.team.group.agents).for_each(|_| self.push(self.team.stage.now()));
    }

    pub fn is_idle(&self) -> bool {
        self.open.get() == 0
    }

    pub fn close_books(&self) {
        let mut recorder = self.team.stage.recorder.borrow_mut();
        let now = self.team.stage.now();
        let under_way = std::mem::take(&mut *self.under_way.borrow_mut());
        under_way.into_iter().for_each(|(due, _)| recorder.unanswered(due, now));
        self.waiting.borrow_mut().drain(..).for_each(|due| recorder.unanswered(due, now));
    }

    /// One visit, and then those that wait.
    async fn visit_on(self: Rc<Self>, first: u64) {
        let stage = &self.team.stage;
        let mut next = Some(first);
        while let Some(due) = next {
            let number = self.begun.replace(self.begun.get() + 1);
            self.under_way.borrow_mut().insert((due, number));
            let Some(ended) = stage.unless_over(self.visit(due, number)).await else { break };
            self.under_way.borrow_mut().remove(&(due, number));
            if let Err(cause) = ended {
                self.team.failed(cause);
            }
            next = self.waiting.borrow_mut().pop_front();
            if next.is_none() && self.team.group.pace.rate().is_none() && self.team.is_open() {
                let now = stage.now();
                stage.recorder.borrow_mut().sent(now, now);
                next = Some(now);
            }
        }
        self.open.set(self.open.get() - 1);
    }

    async fn visit(&self, due: u64, number: u64) -> Result<(), Cause> {
        let stage = &self.team.stage;
        stage.recorder.borrow_mut().departed(stage.instant());
        let channel = self.team.connect().await?;
        stage.recorder.borrow_mut().open += 1;
        let spoken = self.speak(&channel, due, number).await;
        stage.recorder.borrow_mut().open -= 1;
        spoken
    }

    async fn speak(&self, channel: &Channel, due: u64, number: u64) -> Result<(), Cause> {
        let (stage, format) = (&self.team.stage, self.team.group.protocol.format());
        let asked = Mark { stream: self.stream, sequence: number, due };
        let mut bytes = Vec::new();
        format.encode(&asked, self.team.draw_size(), &mut bytes);
        channel.ask(&bytes).await?;
        let mut inbound = Inbound::default();
        loop {
            if channel.receive(inbound.room()).await? == 0 {
                return Err(Cause::Closed);
            }
            match format.decode(inbound.rest()) {
                Decoded::Unit { mark, intact, length } => {
                    let mut recorder = stage.recorder.borrow_mut();
                    if mark != asked || !intact {
                        recorder.corrupted(stage.now());
                    }
                    recorder.ended(due, stage.now());
                    recorder.moved(bytes.len() + length, stage.now());
                    break;
                }
                Decoded::Incomplete => {}
                Decoded::Malformed => return Err(Cause::Malformed),
            }
        }
        if self.team.group.ending == Ending::Reset {
            channel.reset();
            return Ok(());
        }
        channel.end().await?;
        // A reset in place of the other end is an error: bytes could have been lost with it.
        while channel.receive(inbound.room()).await? > 0 {}
        Ok(())
    }
}

/// Visits for tickets at a time.
const GATHERING: u32 = 32;
/// Tickets that somebody slow gives while connections are waited for.
const GATHERED_MEANWHILE: u32 = 4096;
