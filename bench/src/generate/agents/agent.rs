//! Owns one agent: a connection that is kept up, the units that are to leave on it, and what comes
//! back. When units are due is decided elsewhere.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use ringmain::engine::{Either, Notify, Time, race};

use super::super::bulk;
use super::super::cause::Cause;
use super::super::channel::Channel;
use super::super::ledger::{Arrival, Arrived, Outstanding};
use super::super::one_way::OneWay;
use super::super::order::Pace;
use super::super::protocol::Dialogue;
use super::super::wire::{Answer, Inbound, Mark};
use super::team::{Lasting, NEVER, Team};

pub struct Agent {
    team: Rc<Team>,
    manner: Manner,
    /// Its number among all of the run.
    stream: u32,
    /// When each unit that has not left was to leave.
    due: RefCell<VecDeque<u64>>,
    /// Rings when there is something to send.
    work: Notify,
    outstanding: RefCell<Outstanding>,
    /// The next unit that nobody answers.
    sequence: Cell<u64>,
    /// Something is being sent; who is done with it looks for more.
    sending: Cell<bool>,
    /// When the time of the connection is over: what is due then waits for the next one.
    end: Cell<Time>,
    /// It breaks off at its end.
    breaks: Cell<bool>,
    /// Units that backends sent on their own, and that have come.
    came: Cell<u64>,
}

/// How an agent behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Good,
    /// It reads and writes little at a time.
    Slow,
    /// It breaks off within a message now and then, when none is under way.
    Broken,
}

impl Agent {
    pub fn new(team: Rc<Team>, stream: u32, manner: Manner) -> Rc<Agent> {
        Rc::new(Agent {
            team,
            manner,
            stream,
            due: RefCell::default(),
            work: Notify::default(),
            outstanding: RefCell::default(),
            sequence: Cell::new(0),
            sending: Cell::new(false),
            end: Cell::new(NEVER),
            breaks: Cell::new(false),
            came: Cell::new(0),
        })
    }

    /// Notes that a unit is due, where whoever says so sends it as well.
    fn note(&self, due: u64) {
        self.team.stage.recorder.borrow_mut().sent(due, self.team.stage.now());
        self.due.borrow_mut().push_back(due);
    }

    async fn live(self: Rc<Self>) {
        // What was under way is lost, which shows in the end: it was sent, and not answered.
        let lose = || self.outstanding.borrow_mut().give_up().for_each(drop);
        self.team.keep_up(async |channel| self.talk(channel).await, lose).await;
    }

    async fn talk(&self, channel: &Channel) -> Result<(), Cause> {
        let _standing = self.team.stand();
        self.sending.set(false);
        self.end.set(self.team.draw_end());
        self.breaks.set(false);
        if let Pace::Closed { depth } = self.team.group.pace
            && self.dialogue() == Dialogue::Exchange
            && self.team.is_open()
        {
            // Those that the connection before this one has left are among them.
            let left = self.due.borrow().len() as u32;
            (left..depth).for_each(|_| self.note(self.team.stage.now()));
        }
        match race(self.write(channel), self.read(channel)).await {
            Either::First(ended) => ended?,
            Either::Second(ended) => return ended,
        }
        // It has ended the connection, and what the other side still says is heard.
        let limit = self.team.stage.pause(LAST_WORDS);
        match race(self.read(channel), limit).await {
            Either::First(Err(Cause::Closed | Cause::Reset)) | Either::Second(()) => {}
            Either::First(ended) => ended?,
        }
        // What has not been answered by now is lost, as after any other end.
        self.outstanding.borrow_mut().give_up().for_each(drop);
        Ok(())
    }

    /// Sends what is due until the time of the connection is over, and all is answered.
    async fn write(&self, channel: &Channel) -> Result<(), Cause> {
        if self.team.group.is_bulk() {
            return self.write_bulk(channel).await;
        }
        let mut bytes = Vec::new();
        loop {
            let work = self.work.notified();
            let over = self.time_over();
            if over.is_some_and(|over| self.is_settled() || over >= self.team.patience()) {
                return self.leave(channel).await;
            }
            bytes.clear();
            if over.is_none() && !self.sending.get() {
                self.encode_due(&mut bytes);
            }
            if !bytes.is_empty() {
                self.sending.set(true);
                match self.manner {
                    Manner::Slow => self.send_slowly(channel, &bytes).await?,
                    _ if self.asks() && self.due.borrow().is_empty() => channel.ask(&bytes).await?,
                    _ => channel.send(&bytes).await?,
                }
                self.sending.set(false);
                if self.team.breaks_off(self.manner) {
                    self.end.set(self.team.stage.engine.now());
                    self.breaks.set(true);
                }
            } else if self.end.get() == NEVER {
                work.await;
            } else {
                race(work, self.team.stage.engine.sleep_until(self.next_look())).await;
            }
        }
    }

    /// For how long the time of the connection has been over; none: it is not.
    fn time_over(&self) -> Option<Duration> {
        let now = self.team.stage.engine.now();
        (now >= self.end.get()).then(|| now.since(self.end.get()))
    }

    /// Whether nothing is on its way, in either direction, of what was asked.
    fn is_settled(&self) -> bool {
        !self.sending.get() && self.outstanding.borrow().is_empty()
    }

    /// The same with units that are moved in pieces.
    async fn write_bulk(&self, channel: &Channel) -> Result<(), Cause> {
        let stage = &self.team.stage;
        loop {
            let work = self.work.notified();
            let now = stage.now();
            let due = self.due.borrow_mut().pop_front();
            let Some(due) = due.or_else(|| self.next_of_a_flood(now)) else {
                work.await;
                continue;
            };
            let sequence = self.sequence.replace(self.sequence.get() + 1);
            let (mark, size) = (Mark { stream: self.stream, sequence, due }, self.team.draw_size());
            stage.recorder.borrow_mut().departed(stage.instant());
            bulk::send(stage, channel, &mark, size).await?;
            stage.recorder.borrow_mut().moved(size, stage.now());
        }
    }

    /// Whether an answer is waited for before there is more to do.
    fn asks(&self) -> bool {
        self.dialogue() == Dialogue::Exchange
    }

    /// Asks for what has become due with what has come, which spares the way through `write`.
    async fn ask_on(&self, channel: &Channel, bytes: &mut Vec<u8>) -> Result<(), Cause> {
        if self.manner != Manner::Good || self.time_over().is_some() {
            self.work.notify_all();
            return Ok(());
        }
        if self.sending.get() || self.due.borrow().is_empty() {
            return Ok(());
        }
        bytes.clear();
        self.encode_due(bytes);
        self.sending.set(true);
        channel.ask(bytes).await?;
        self.sending.set(false);
        if !self.due.borrow().is_empty() {
            self.work.notify_all();
        }
        Ok(())
    }

    /// When to look again whether the connection is to end: what is under way then may come to an
    /// end that nobody tells of.
    fn next_look(&self) -> Time {
        let (now, end) = (self.team.stage.engine.now(), self.end.get());
        if now < end { end } else { now + Duration::from_millis(5) }
    }

    async fn send_slowly(&self, channel: &Channel, bytes: &[u8]) -> Result<(), Cause> {
        for piece in bytes.chunks(SLOW_PIECE) {
            channel.send(piece).await?;
            self.team.stage.pause(SLOW_PAUSE).await;
        }
        Ok(())
    }

    /// Ends the connection, as was drawn for it.
    async fn leave(&self, channel: &Channel) -> Result<(), Cause> {
        if self.breaks.get() && self.is_settled() {
            self.break_off(channel).await
        } else {
            channel.end().await
        }
    }

    /// Says half of a message, and leaves: by a reset where every message is answered, since then
    /// nothing is lost with it; else in order, since what was said before may be on its way.
    async fn break_off(&self, channel: &Channel) -> Result<(), Cause> {
        let (sequence, due) = (u64::MAX, self.team.stage.now());
        let mark = Mark { stream: self.stream, sequence, due };
        let mut bytes = Vec::new();
        self.team.encode(&mark, &mut bytes);
        channel.send(&bytes[..bytes.len() / 2]).await?;
        if self.dialogue() == Dialogue::Exchange {
            channel.reset();
            return Err(Cause::OnPurpose);
        }
        channel.end().await
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
            self.team.encode(&mark, bytes);
            let mut recorder = self.team.stage.recorder.borrow_mut();
            recorder.departed(self.team.stage.instant());
            recorder.moved(bytes.len() - before, now);
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
        if self.team.group.is_bulk() && self.dialogue() == Dialogue::Download {
            let take = |frame: bulk::Frame| {
                self.come(frame.length, frame.is_intact, true);
                self.received(&mut arrived, frame.mark);
            };
            bulk::receive(&self.team.stage, channel, async || (), take).await?;
            return Err(Cause::Closed);
        }
        let mut asked = Vec::new();
        loop {
            if channel.receive(inbound.room()).await? == 0 {
                return Err(Cause::Closed);
            }
            if self.manner == Manner::Slow {
                self.team.stage.pause(SLOW_PAUSE).await;
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
            if self.asks() {
                self.ask_on(channel, &mut asked).await?;
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
                self.note(stage.now());
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
            self.came.set(self.came.get() + 1);
        }
    }

    fn dialogue(&self) -> Dialogue {
        self.team.group.protocol.dialogue()
    }
}

impl Lasting for Agent {
    fn begin(self: Rc<Self>) {
        let engine = self.team.stage.engine.clone();
        engine.spawn(self.live());
    }

    fn push(&self, due: u64) {
        self.note(due);
        self.work.notify_all();
    }

    fn is_idle(&self) -> bool {
        let sent = self.due.borrow().is_empty() && !self.sending.get();
        sent && self.outstanding.borrow().is_empty()
    }

    fn one_way(&self) -> OneWay {
        OneWay { sent: self.sequence.get(), came: self.came.get() }
    }

    fn close_books(&self) {
        let mut recorder = self.team.stage.recorder.borrow_mut();
        let now = self.team.stage.now();
        self.outstanding.borrow_mut().give_up().for_each(|due| recorder.unanswered(due, now));
        self.due.borrow_mut().drain(..).for_each(|due| recorder.unanswered(due, now));
    }
}

/// Bytes after which what is due is sent before more is encoded.
const AT_ONCE: usize = 16 << 10;
/// What a slow agent moves at a time, and how long it rests.
pub const SLOW_PIECE: usize = 64;
pub const SLOW_PAUSE: Duration = Duration::from_millis(20);
/// How long the other side is listened to after the end.
const LAST_WORDS: Duration = Duration::from_secs(2);
