//! Owns one agent: a connection that is kept up, the units that are to leave on it, and what comes
//! back. When units are due is decided elsewhere.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use ringmain::engine::{Either, Notify, race};

use super::super::cause::Cause;
use super::super::channel::Channel;
use super::super::ledger::{Arrival, Arrived, Outstanding};
use super::super::order::Pace;
use super::super::protocol::Dialogue;
use super::super::wire::{Answer, Inbound, Mark};
use super::team::Team;

pub struct Agent {
    team: Rc<Team>,
    /// Its number among all of the run.
    stream: u32,
    /// When each unit that has not left was to leave.
    due: RefCell<VecDeque<u64>>,
    /// Rings when there is something to send.
    work: Notify,
    outstanding: RefCell<Outstanding>,
    /// The next unit that nobody answers.
    sequence: Cell<u64>,
}

impl Agent {
    pub fn new(team: Rc<Team>, stream: u32) -> Rc<Agent> {
        Rc::new(Agent {
            team,
            stream,
            due: RefCell::default(),
            work: Notify::default(),
            outstanding: RefCell::default(),
            sequence: Cell::new(0),
        })
    }

    /// A unit is due.
    pub fn push(&self, due: u64) {
        self.team.stage.recorder.borrow_mut().sent(due, self.team.stage.now());
        self.due.borrow_mut().push_back(due);
        self.work.notify_all();
    }

    /// Whether nothing is to be sent or waited for.
    pub fn is_idle(&self) -> bool {
        self.due.borrow().is_empty() && self.outstanding.borrow().is_empty()
    }

    /// The run is over: notes what has not come back, or has not even left.
    pub fn close_books(&self) {
        let mut recorder = self.team.stage.recorder.borrow_mut();
        let now = self.team.stage.now();
        self.outstanding.borrow_mut().give_up().for_each(|due| recorder.unanswered(due, now));
        self.due.borrow_mut().drain(..).for_each(|due| recorder.unanswered(due, now));
    }

    /// Keeps the connection up until the run is over.
    pub async fn live(self: Rc<Self>) {
        let stage = &self.team.stage;
        let mut pause = FIRST_PAUSE;
        while !stage.is_ending() {
            let Some(connected) = stage.unless_over(self.team.connect()).await else { return };
            let ended = match connected {
                Ok(channel) => {
                    let opened = stage.engine.now();
                    self.team.opened();
                    let ended = stage.unless_over(self.talk(&channel)).await;
                    self.team.closed();
                    if stage.engine.now().since(opened) > LONGEST_PAUSE {
                        pause = FIRST_PAUSE;
                    }
                    ended
                }
                Err(cause) => Some(Err(cause)),
            };
            let Some(Err(cause)) = ended else { return };
            // What was under way is lost, which shows in the end: it was sent, and not answered.
            self.outstanding.borrow_mut().give_up().for_each(drop);
            self.team.failed(cause);
            stage.unless_over(stage.pause(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn talk(&self, channel: &Channel) -> Result<(), Cause> {
        if let Pace::Closed { depth } = self.team.group.pace
            && self.dialogue() == Dialogue::Exchange
        {
            (0..depth).for_each(|_| self.push(self.team.stage.now()));
        }
        match race(self.write(channel), self.read(channel)).await {
            Either::First(ended) | Either::Second(ended) => ended,
        }
    }

    async fn write(&self, channel: &Channel) -> Result<(), Cause> {
        let mut bytes = Vec::new();
        loop {
            let work = self.work.notified();
            bytes.clear();
            self.encode_due(&mut bytes);
            if bytes.is_empty() {
                work.await;
            } else if self.dialogue() == Dialogue::Exchange && self.due.borrow().is_empty() {
                channel.ask(&bytes).await?;
            } else {
                channel.send(&bytes).await?;
            }
        }
    }

    /// Appends what is due, up to a limit.
    fn encode_due(&self, bytes: &mut Vec<u8>) {
        let now = self.team.stage.now();
        while bytes.len() < AT_ONCE {
            let due = self.due.borrow_mut().pop_front();
            let Some(due) = due.or_else(|| self.next_of_a_flood(now)) else { return };
            let sequence = match self.dialogue() {
                Dialogue::Exchange => self.outstanding.borrow_mut().leave(due),
                _ => self.sequence.replace(self.sequence.get() + 1),
            };
            let mark = Mark { stream: self.stream, sequence, due };
            let before = bytes.len();
            self.team.group.protocol.format().encode(&mark, self.team.draw_size(), bytes);
            self.team.stage.recorder.borrow_mut().moved(bytes.len() - before, now);
        }
    }

    /// In a closed loop without answers, a unit is due whenever there is room for it.
    fn next_of_a_flood(&self, now: u64) -> Option<u64> {
        let floods = matches!(self.team.group.pace, Pace::Closed { .. })
            && self.dialogue().ends_at_backends()
            && self.team.is_open();
        floods.then(|| {
            self.team.stage.recorder.borrow_mut().sent(now, now);
            now
        })
    }

    async fn read(&self, channel: &Channel) -> Result<(), Cause> {
        let format = self.team.group.protocol.format();
        let (mut inbound, mut arrived) = (Inbound::default(), Arrived::default());
        loop {
            if channel.receive(inbound.room()).await? == 0 {
                return Err(Cause::Closed);
            }
            loop {
                match format.decode_answer(inbound.rest()) {
                    Answer::Come { mark, intact, accepted, length } => {
                        inbound.consume(length);
                        self.come(length, intact, accepted);
                        match (self.dialogue(), mark) {
                            (Dialogue::Exchange, mark) => self.answered(mark),
                            (_, Some(mark)) => self.received(&mut arrived, mark),
                            (_, None) => return Err(Cause::Malformed),
                        }
                    }
                    Answer::Incomplete => break,
                    Answer::Malformed => return Err(Cause::Malformed),
                }
            }
        }
    }

    fn come(&self, length: usize, intact: bool, accepted: bool) {
        let now = self.team.stage.now();
        let mut recorder = self.team.stage.recorder.borrow_mut();
        recorder.moved(length, now);
        if !intact {
            recorder.corrupted(now);
        }
        if !accepted {
            recorder.error(Cause::Rejected, now);
        }
    }

    /// An answer has come; without a mark it is for the oldest.
    fn answered(&self, mark: Option<Mark>) {
        let stage = &self.team.stage;
        let arrived = match mark {
            Some(mark) if mark.stream != self.stream => None,
            Some(mark) => self.outstanding.borrow_mut().arrive(mark.sequence),
            None => {
                let oldest = self.outstanding.borrow().oldest();
                oldest.and_then(|oldest| self.outstanding.borrow_mut().arrive(oldest))
            }
        };
        let mut recorder = stage.recorder.borrow_mut();
        // Somebody else's answer, or one to nothing that was asked.
        let Some((arrival, due)) = arrived else { return recorder.corrupted(stage.now()) };
        recorder.arrived(arrival, due.or(mark.map(|mark| mark.due)).unwrap_or(0));
        if let Some(due) = due {
            recorder.ended(due, stage.now());
            drop(recorder);
            if matches!(self.team.group.pace, Pace::Closed { .. }) && self.team.is_open() {
                self.push(stage.now());
            }
        }
    }

    /// A unit that the backend sent on its own.
    fn received(&self, arrived: &mut Arrived, mark: Mark) {
        let stage = &self.team.stage;
        let arrival = arrived.arrive(mark.sequence);
        let mut recorder = stage.recorder.borrow_mut();
        recorder.arrived(arrival, mark.due);
        if arrival != Arrival::Again {
            recorder.ended(mark.due, stage.now());
        }
    }

    fn dialogue(&self) -> Dialogue {
        self.team.group.protocol.dialogue()
    }
}

/// Bytes after which what is due is sent before more is encoded.
const AT_ONCE: usize = 16 << 10;
/// Before the next try to connect; doubled with each.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
