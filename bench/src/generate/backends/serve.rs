//! Owns what a backend says on one connection, and when. How it behaves is told by its house.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ringmain::engine::{Either, Notify, race};

use super::super::bulk;
use super::super::cause::Cause;
use super::super::channel::Channel;
use super::super::grpc;
use super::super::protocol::Dialogue;
use super::super::record::Window;
use super::super::wire::{Decoded, Format, Inbound, Mark, TAG};
use super::behaviour::Fate;
use super::house::House;
use super::supply::Place;

/// Serves until the agent or the backend ends the connection.
pub async fn serve(house: &Rc<House>, channel: &Channel) -> Result<(), Cause> {
    if let Some(service) = house.group.protocol.service() {
        return grpc::serve(house, channel, service).await;
    }
    match house.group.protocol.dialogue() {
        Dialogue::Exchange | Dialogue::Visit => Answering::new(house, channel).run().await,
        Dialogue::Upload if house.group.is_bulk() => take_bulk(house, channel).await,
        Dialogue::Upload => take(house, channel).await,
        Dialogue::Download => {
            // The agent says nothing, but its end is to be noticed.
            let mut unheard = Vec::new();
            race(send(house, channel), channel.receive(&mut unheard)).await;
            Ok(())
        }
        Dialogue::BothWays => {
            race(take(house, channel), send(house, channel)).await;
            Ok(())
        }
    }
}

/// A connection on which every request has an answer, in order.
struct Answering<'h> {
    house: &'h House,
    channel: &'h Channel,
    /// Answers that were not sent yet.
    answers: Vec<u8>,
    /// One that goes out after the next.
    held_back: Vec<u8>,
    /// When the request before was done.
    ready: u64,
}

impl<'h> Answering<'h> {
    fn new(house: &'h House, channel: &'h Channel) -> Answering<'h> {
        let (answers, held_back) = Default::default();
        Answering { house, channel, answers, held_back, ready: 0 }
    }

    async fn run(mut self) -> Result<(), Cause> {
        let format = self.house.group.protocol.format();
        let mut inbound = Inbound::default();
        loop {
            if self.channel.receive(inbound.room()).await? == 0 {
                return self.channel.end().await;
            }
            let came = self.house.stage.now();
            self.house.stand_still().await;
            loop {
                match format.decode(inbound.rest()) {
                    Decoded::Unit { mark, intact, length } => {
                        self.work(came).await?;
                        // An echo shows it to the agent, and this answer would not.
                        if !intact && matches!(format, Format::Http(_)) {
                            let stage = &self.house.stage;
                            stage.recorder.borrow_mut().corrupted(stage.now());
                        }
                        let fate = self.next_fate();
                        self.house.struck(fate, mark.due);
                        self.answer(fate, format, &mark, &inbound.rest()[..length]);
                        inbound.consume(length);
                        match fate {
                            Fate::Reset => {
                                self.channel.reset();
                                return Ok(());
                            }
                            Fate::Close => return self.channel.end().await,
                            _ => {}
                        }
                    }
                    Decoded::Incomplete => break,
                    Decoded::Malformed => return Err(Cause::Malformed),
                }
            }
            self.flush().await?;
        }
    }

    /// Takes the time that a request takes, from when it came or the one before it was done.
    async fn work(&mut self, came: u64) -> Result<(), Cause> {
        let house = self.house;
        let time = house.behaviour.service.draw(&mut house.random.borrow_mut());
        if !time.is_zero() {
            self.flush().await?;
            self.ready = self.ready.max(came) + time.as_nanos() as u64;
            house.stage.until(self.ready).await;
            house.stand_still().await;
        }
        Ok(())
    }

    /// One answer at a time is held back.
    fn next_fate(&self) -> Fate {
        match self.house.draw_fate() {
            Fate::Swap if !self.held_back.is_empty() => Fate::Answer,
            fate => fate,
        }
    }

    fn answer(&mut self, fate: Fate, format: Format, mark: &Mark, request: &[u8]) {
        match fate {
            Fate::Drop | Fate::Reset | Fate::Close => return,
            Fate::Swap => return format.answer(mark, request, &mut self.held_back),
            // Frames have no way to refuse.
            Fate::Answer | Fate::Refuse => format.answer(mark, request, &mut self.answers),
            Fate::Duplicate => {
                format.answer(mark, request, &mut self.answers);
                format.answer(mark, request, &mut self.answers);
            }
            Fate::Corrupt => {
                let before = self.answers.len();
                format.answer(mark, request, &mut self.answers);
                self.corrupt(before);
            }
        }
        self.answers.append(&mut self.held_back);
    }

    /// Changes a byte that is checked of the answer that starts there: the last one, or in text the
    /// last digit of the checksum.
    fn corrupt(&mut self, start: usize) {
        let answer = &mut self.answers[start..];
        let place = match self.house.group.protocol.format() {
            Format::Http(_) => answer.windows(7).position(|bytes| bytes == b"X-Mark:"),
            _ => None,
        };
        // The tag stands one space behind its name.
        let place = place.map_or(answer.len() - 1, |start| start + 7 + TAG);
        if let Some(byte) = answer.get_mut(place) {
            *byte = if *byte == b'0' { b'1' } else { b'0' };
        }
    }

    async fn flush(&mut self) -> Result<(), Cause> {
        if !self.answers.is_empty() {
            self.channel.ask(&self.answers).await?;
            self.answers.clear();
        }
        Ok(())
    }
}

/// Takes what comes and answers nothing.
async fn take(house: &House, channel: &Channel) -> Result<(), Cause> {
    let format = house.group.protocol.format();
    let mut inbound = Inbound::default();
    loop {
        if channel.receive(inbound.room()).await? == 0 {
            return channel.end().await;
        }
        house.stand_still().await;
        loop {
            match format.decode(inbound.rest()) {
                Decoded::Unit { mark, intact, length } => {
                    inbound.consume(length);
                    house.take_note(mark, intact);
                    if let Some(fate) = house.draw_end(mark.due) {
                        return end_by(fate, channel).await;
                    }
                }
                Decoded::Incomplete => break,
                Decoded::Malformed => {
                    let stage = &house.stage;
                    stage.recorder.borrow_mut().error(Cause::Malformed, stage.now());
                    return Err(Cause::Malformed);
                }
            }
        }
    }
}

/// The same with units that are moved in pieces.
async fn take_bulk(house: &House, channel: &Channel) -> Result<(), Cause> {
    let (fate, ends) = (Cell::new(None), Notify::default());
    let note = |frame: bulk::Frame| {
        house.take_note(frame.mark, frame.is_intact);
        if let Some(drawn) = house.draw_end(frame.mark.due) {
            fate.set(Some(drawn));
            ends.notify_all();
        }
    };
    let rest = async || house.stand_still().await;
    let ended = ends.notified();
    match race(bulk::receive(&house.stage, channel, rest, note), ended).await {
        Either::First(taken) => {
            if taken == Err(Cause::Malformed) {
                house.stage.recorder.borrow_mut().error(Cause::Malformed, house.stage.now());
            }
            taken?;
            channel.end().await
        }
        Either::Second(()) => end_by(fate.get().unwrap_or(Fate::Close), channel).await,
    }
}

/// Ends a connection on which nothing is answered.
async fn end_by(fate: Fate, channel: &Channel) -> Result<(), Cause> {
    if fate == Fate::Reset {
        channel.reset();
        return Ok(());
    }
    channel.end().await
}

/// Sends the units that are due at one place of the house's schedule, or as fast as they are taken.
async fn send(house: &Rc<House>, channel: &Channel) -> Result<(), Cause> {
    let (stage, stream) = (&house.stage, house.next_stream());
    let Some(window) = opened(house).await else { return Ok(()) };
    let place = match house.supply(window) {
        Some(supply) => Some(supply.place().await),
        None => None,
    };
    let (format, is_bulk) = (house.group.protocol.format(), house.group.is_bulk());
    let (mut bytes, mut sequence) = (Vec::new(), 0);
    loop {
        house.stand_still().await;
        bytes.clear();
        let work = place.as_ref().map(Place::work);
        let (mut has_left, mut ends) = (false, None);
        while ends.is_none() && bytes.len() < AT_ONCE {
            let due = place.as_ref().map_or_else(|| flood(house, window), Place::next);
            let Some(due) = due else { break };
            has_left = true;
            stage.recorder.borrow_mut().departed(stage.instant());
            let size = house.group.sizes.draw(&mut house.random.borrow_mut());
            let mark = Mark { stream, sequence, due };
            sequence += 1;
            ends = house.draw_end(due);
            if is_bulk {
                bulk::send(stage, channel, &mark, size).await?;
                break;
            }
            format.encode(&mark, size, &mut bytes);
        }
        match work {
            _ if has_left => {
                channel.send(&bytes).await?;
                if let Some(fate) = ends {
                    return end_by(fate, channel).await;
                }
            }
            Some(work) => work.await,
            // Everything has left; the agent ends the connection.
            None => std::future::pending().await,
        }
    }
}

/// In a closed loop a unit is due whenever there is room for it.
fn flood(house: &House, window: Window) -> Option<u64> {
    let now = house.stage.now();
    (now < window.end).then(|| {
        house.owe(now);
        now
    })
}

/// The window, once it is known.
async fn opened(house: &House) -> Option<Window> {
    loop {
        if let Some(window) = house.stage.window.get() {
            return Some(*window);
        }
        house.stage.unless_over(house.stage.pause(GLANCE)).await?;
    }
}

const AT_ONCE: usize = 16 << 10;
const GLANCE: Duration = Duration::from_millis(1);
