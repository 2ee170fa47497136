//! Owns what a backend does with datagrams: whom it answers, and what it only takes note of. How
//! it behaves is told by its house.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringmain::engine::Interest;

use super::super::backends::{Fate, House};
use super::super::cause::Cause;
use super::super::protocol::Dialogue;
use super::port::{LONGEST, Port};

struct Answering {
    house: Rc<House>,
    port: Rc<Port>,
    /// Answers that go out after the next one to the same agent.
    held_back: RefCell<HashMap<SocketAddr, Vec<u8>>>,
}

/// Serves until the run is over.
pub async fn serve(house: Rc<House>, port: Rc<Port>) {
    let stage = Rc::clone(&house.stage);
    let answering = Rc::new(Answering { house, port, held_back: RefCell::default() });
    let mut room = vec![0; LONGEST];
    while !stage.is_ending() {
        if stage.unless_over(answering.house.stand_still()).await.is_none() {
            break;
        }
        let taken = answering.take_what_came(&mut room);
        let ready = match taken {
            Ok(()) => stage.unless_over(answering.port.ready(Interest::READ)).await,
            Err(error) => Some(Err(error)),
        };
        if let Some(Err(error)) = ready {
            stage.recorder.borrow_mut().error(error.into(), stage.now());
            stage.unless_over(stage.pause(AFTER_ERROR)).await;
        }
    }
}

impl Answering {
    /// Takes some of what has come; the rest is still there at the next look.
    fn take_what_came(self: &Rc<Self>, room: &mut [u8]) -> io::Result<()> {
        for _ in 0..AT_ONCE {
            match self.port.receive(room) {
                Ok((length, from)) => self.come(&room[..length.min(LONGEST)], from),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn come(self: &Rc<Self>, bytes: &[u8], from: SocketAddr) {
        let house = &self.house;
        // Whoever is dead hears nothing, and an empty one only asks whether somebody is there.
        if house.outage(house.behaviour.death).is_some() || bytes.is_empty() {
            return;
        }
        let Some((mark, intact)) = house.group.protocol.format().decode_whole(bytes) else {
            let stage = &house.stage;
            return stage.recorder.borrow_mut().error(Cause::Malformed, stage.now());
        };
        if house.group.protocol.dialogue() != Dialogue::Exchange {
            return house.take_note(mark, intact);
        }
        let time = house.behaviour.service.draw(&mut house.random.borrow_mut());
        if time.is_zero() {
            return self.answer(mark.due, bytes, from);
        }
        let (answering, answer) = (Rc::clone(self), bytes.to_vec());
        let ready = house.stage.now() + time.as_nanos() as u64;
        house.stage.engine.spawn(async move {
            let stage = &answering.house.stage;
            let working = async {
                stage.until(ready).await;
                answering.house.stand_still().await;
            };
            if stage.unless_over(working).await.is_some() {
                answering.answer(mark.due, &answer, from);
            }
        });
    }

    /// What is to become of a request. One answer to each agent is held back at a time.
    fn draw_fate(&self, from: SocketAddr, due: u64) -> Fate {
        let fate = match self.house.draw_fate() {
            Fate::Swap if self.held_back.borrow().contains_key(&from) => Fate::Answer,
            fate => fate,
        };
        self.house.struck(fate, due);
        fate
    }

    fn answer(self: &Rc<Self>, due: u64, answer: &[u8], to: SocketAddr) {
        match self.draw_fate(to, due) {
            // There is no connection that could be ended.
            Fate::Drop | Fate::Reset | Fate::Close | Fate::Refuse => return,
            Fate::Swap => {
                self.held_back.borrow_mut().insert(to, answer.to_vec());
                return;
            }
            Fate::Answer => self.send(answer, to),
            Fate::Duplicate => {
                self.send(answer, to);
                self.send(answer, to);
            }
            Fate::Corrupt => {
                let mut changed = answer.to_vec();
                if let Some(last) = changed.last_mut() {
                    *last ^= 1;
                }
                self.send(&changed, to);
            }
        }
        let held_back = self.held_back.borrow_mut().remove(&to);
        if let Some(held_back) = held_back {
            self.send(&held_back, to);
        }
    }

    /// Sends an answer, as soon as there is room.
    fn send(self: &Rc<Self>, answer: &[u8], to: SocketAddr) {
        let stage = &self.house.stage;
        match self.port.send_to(answer, to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let (answering, answer) = (Rc::clone(self), answer.to_vec());
                stage.engine.spawn(async move {
                    let room = answering.port.ready(Interest::WRITE);
                    if let Some(Ok(())) = answering.house.stage.unless_over(room).await {
                        answering.send(&answer, to);
                    }
                });
            }
            Err(error) => stage.recorder.borrow_mut().error(error.into(), stage.now()),
        }
    }
}

/// Datagrams that are taken before others have their turn.
const AT_ONCE: u32 = 256;
const AFTER_ERROR: Duration = Duration::from_millis(50);
