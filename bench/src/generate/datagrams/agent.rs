//! Owns one agent that sends datagrams: a socket of its own, the units that leave on it the moment
//! they are due, and what comes back in time. When units are due is decided elsewhere.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use ringmain::engine::{Either, Interest, Notify, Time, race};

use super::super::agents::{Lasting, Team};
use super::super::cause::Cause;
use super::super::ledger::{Arrival, Outstanding};
use super::super::one_way::OneWay;
use super::super::order::Pace;
use super::super::protocol::Dialogue;
use super::super::wire::{Answer, Mark};
use super::port::{LONGEST, Port};

pub struct Agent {
    team: Rc<Team>,
    /// Its number among all of the run.
    stream: u32,
    port: RefCell<Option<Rc<Port>>>,
    outstanding: RefCell<Outstanding>,
    /// The next unit that nobody answers.
    sequence: Cell<u64>,
    /// Units that found no socket, or one without room.
    waiting: RefCell<VecDeque<Mark>>,
    /// Rings when one waits.
    work: Notify,
    /// Answers still come to the socket before this one.
    hears_out: Cell<bool>,
    scratch: Rc<Scratch>,
}

/// Where the agents of a group read and write, and how much they have written in this turn.
pub struct Scratch {
    incoming: RefCell<Box<[u8]>>,
    outgoing: RefCell<Vec<u8>>,
    turn: Cell<u64>,
    left: Cell<u32>,
}

impl Default for Scratch {
    fn default() -> Scratch {
        let incoming = vec![0; LONGEST].into_boxed_slice();
        let (turn, left) = Default::default();
        Scratch { incoming: RefCell::new(incoming), outgoing: RefCell::default(), turn, left }
    }
}

impl Scratch {
    /// Whether one more may leave in this turn. Answers have their turn before there are too many,
    /// also when the agents are late with all of them.
    fn may_leave(&self, now: u64) -> bool {
        let left = if self.turn.replace(now) == now { self.left.get() } else { 0 };
        self.left.set(left + 1);
        left < LEAVE_AT_ONCE
    }
}

impl Agent {
    pub fn new(team: Rc<Team>, stream: u32, scratch: Rc<Scratch>) -> Rc<Agent> {
        let (port, outstanding, waiting) = Default::default();
        let (sequence, work, hears_out) = Default::default();
        Rc::new(Agent {
            team,
            stream,
            port,
            outstanding,
            sequence,
            waiting,
            work,
            hears_out,
            scratch,
        })
    }

    /// Keeps a socket open until the run is over.
    async fn live(self: Rc<Self>) {
        let stage = &self.team.stage;
        while !stage.is_ending() {
            let ended = match Port::connect(stage, self.team.site.target, self.team.next_source()) {
                Ok(port) => {
                    *self.port.borrow_mut() = Some(Rc::clone(&port));
                    let standing = self.team.stand();
                    let ended = stage.unless_over(self.talk(&port)).await;
                    self.port.take();
                    drop(standing);
                    if ended == Some(Ok(())) && !self.outstanding.borrow().is_empty() {
                        self.hears_out.set(true);
                        stage.engine.spawn(Rc::clone(&self).hear_out(port));
                    }
                    ended
                }
                Err(cause) => Some(Err(cause)),
            };
            if let Some(Err(cause)) = ended {
                self.team.failed(cause);
                stage.unless_over(stage.pause(AFTER_ERROR)).await;
            }
        }
    }

    /// What has left on a socket is answered there, also when its time is over and others leave on
    /// the next one already.
    async fn hear_out(self: Rc<Self>, port: Rc<Port>) {
        let stage = &self.team.stage;
        let next = self.outstanding.borrow().next();
        while self.outstanding.borrow().oldest().is_some_and(|oldest| oldest < next) {
            if self.take_what_came(&port).is_err() {
                break;
            }
            // What is lost is given up where the next one is read.
            let heard = race(port.ready(Interest::READ), stage.pause(GLANCE));
            match stage.unless_over(heard).await {
                Some(Either::First(Ok(())) | Either::Second(())) => {}
                Some(Either::First(Err(_))) | None => break,
            }
        }
        self.hears_out.set(false);
        self.work.notify_all();
    }

    /// Receives until the time of the socket is over, and sends what found no room before.
    async fn talk(&self, port: &Port) -> Result<(), Cause> {
        let (stage, end) = (&self.team.stage, self.team.draw_end());
        if let Pace::Closed { depth } = self.team.group.pace
            && self.outstanding.borrow().is_empty()
        {
            (0..depth).for_each(|_| self.push(stage.now()));
        }
        loop {
            let work = self.work.notified();
            self.take_what_came(port)?;
            self.give_up_the_old();
            self.send_waiting(port);
            if stage.engine.now() >= end && !self.hears_out.get() {
                return Ok(());
            }
            let interest = match self.waiting.borrow().is_empty() {
                true => Interest::READ,
                false => Interest(Interest::READ.0 | Interest::WRITE.0),
            };
            let event = race(port.ready(interest), work);
            let next_look = stage.engine.sleep_until(self.next_look(end));
            if let Either::First(Either::First(ready)) = race(event, next_look).await {
                ready?;
            }
        }
    }

    /// When something is to be done that nobody tells of: the socket ends, or a unit is given up.
    fn next_look(&self, end: Time) -> Time {
        let (stage, now) = (&self.team.stage, self.team.stage.engine.now());
        let end = if now < end { end } else { now + Duration::from_millis(5) };
        let Some(window) = stage.window.get() else { return end.min(now + BEFORE_WINDOW) };
        let oldest = self.outstanding.borrow().oldest_due().unwrap_or(stage.now());
        let left = (oldest + window.patience + 1).saturating_sub(stage.now());
        end.min(now + Duration::from_nanos(left))
    }

    /// Sends a unit: false if there is no room for it. What can not be sent is lost.
    fn leave(&self, port: &Port, mark: &Mark) -> bool {
        let stage = &self.team.stage;
        if !self.scratch.may_leave(stage.now()) {
            return false;
        }
        let mut bytes = self.scratch.outgoing.borrow_mut();
        bytes.clear();
        let size = self.team.draw_size().min(LONGEST);
        self.team.group.protocol.format().encode(mark, size, &mut bytes);
        let sent = match port.send(&bytes) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                // An earlier one met nobody, which the kernel says once and in its stead.
                self.team.failed(Cause::Refused);
                port.send(&bytes)
            }
            sent => sent,
        };
        match sent {
            Ok(()) => {
                let now = stage.instant();
                let mut recorder = stage.recorder.borrow_mut();
                recorder.departed(now);
                recorder.moved(bytes.len(), now);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => self.team.failed(error.into()),
        }
        true
    }

    fn send_waiting(&self, port: &Port) {
        loop {
            let next = self.waiting.borrow().front().copied();
            if !next.is_some_and(|mark| self.leave(port, &mark)) {
                return;
            }
            self.waiting.borrow_mut().pop_front();
        }
    }

    /// Takes some of what has come; the rest is still there at the next look.
    fn take_what_came(&self, port: &Port) -> Result<(), Cause> {
        let format = self.team.group.protocol.format();
        for _ in 0..AT_ONCE {
            let mut room = self.scratch.incoming.borrow_mut();
            match port.receive(&mut room) {
                Ok((length, _)) => {
                    let answer = format.decode_answer(&room[..length.min(LONGEST)]);
                    drop(room);
                    self.come(length, answer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Nobody was there for an earlier one; later ones may do better.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.team.failed(Cause::Refused);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn come(&self, whole: usize, answer: Answer) {
        let stage = &self.team.stage;
        let mut recorder = stage.recorder.borrow_mut();
        recorder.moved(whole, stage.now());
        match answer {
            Answer::Come { mark: Some(mark), intact, length, .. } if length == whole => {
                if !intact {
                    recorder.corrupted(stage.now());
                }
                drop(recorder);
                self.answered(mark);
            }
            _ => recorder.error(Cause::Malformed, stage.now()),
        }
    }

    fn answered(&self, mark: Mark) {
        let stage = &self.team.stage;
        let own = mark.stream == self.stream && self.is_answered();
        let arrived = own.then(|| self.outstanding.borrow_mut().arrive(mark.sequence)).flatten();
        let mut recorder = stage.recorder.borrow_mut();
        // Somebody else's answer, or one to nothing that was asked.
        let Some((arrival, due)) = arrived else { return recorder.corrupted(stage.now()) };
        recorder.arrived(arrival, mark.due);
        match due {
            Some(due) => {
                recorder.came(due, stage.now());
                drop(recorder);
                self.go_on();
            }
            // It was given up before.
            None if arrival != Arrival::Again => recorder.late(mark.due),
            None => {}
        }
    }

    /// Units for which the patience is over are lost.
    fn give_up_the_old(&self) {
        let stage = &self.team.stage;
        let Some(window) = stage.window.get() else { return };
        let now = stage.now();
        let lost = self.outstanding.borrow_mut().expire(now.saturating_sub(window.patience));
        for due in lost {
            stage.recorder.borrow_mut().unanswered(due, now);
            self.go_on();
        }
    }

    /// In a closed loop, the next unit follows one that has ended.
    fn go_on(&self) {
        if matches!(self.team.group.pace, Pace::Closed { .. }) && self.team.is_open() {
            self.push(self.team.stage.now());
        }
    }

    fn is_answered(&self) -> bool {
        self.team.group.protocol.dialogue() == Dialogue::Exchange
    }
}

impl Lasting for Agent {
    fn begin(self: Rc<Self>) {
        let engine = self.team.stage.engine.clone();
        engine.spawn(self.live());
    }

    /// A unit is due, and leaves if there is room.
    fn push(&self, due: u64) {
        let stage = &self.team.stage;
        stage.recorder.borrow_mut().sent(due, stage.instant());
        let sequence = match self.is_answered() {
            true => self.outstanding.borrow_mut().leave(due),
            false => self.sequence.replace(self.sequence.get() + 1),
        };
        let mark = Mark { stream: self.stream, sequence, due };
        let port = self.port.borrow().clone();
        let free = port.filter(|_| self.waiting.borrow().is_empty());
        if !free.is_some_and(|port| self.leave(&port, &mark)) {
            self.waiting.borrow_mut().push_back(mark);
            self.work.notify_all();
        }
    }

    /// Whether nothing is to be sent or waited for.
    fn is_idle(&self) -> bool {
        self.waiting.borrow().is_empty() && self.outstanding.borrow().is_empty()
    }

    fn one_way(&self) -> OneWay {
        OneWay { sent: self.sequence.get(), came: 0 }
    }

    /// The run is over: notes what has not come back, or has not even left.
    fn close_books(&self) {
        let mut recorder = self.team.stage.recorder.borrow_mut();
        let now = self.team.stage.now();
        self.outstanding.borrow_mut().give_up().for_each(|due| recorder.unanswered(due, now));
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        if !self.is_answered() {
            waiting.iter().for_each(|mark| recorder.unanswered(mark.due, now));
        }
    }
}

/// Datagrams that one agent takes, and that all of a group send, before others have their turn.
const AT_ONCE: u32 = 64;
const LEAVE_AT_ONCE: u32 = 64;
const AFTER_ERROR: Duration = Duration::from_millis(100);
const GLANCE: Duration = Duration::from_millis(5);
/// The patience is not known before there is a window, which is looked for so often.
const BEFORE_WINDOW: Duration = Duration::from_millis(50);
