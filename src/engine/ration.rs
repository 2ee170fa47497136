//! So many steps in a turn of the loop, for all tasks of an engine together: what takes the CPU for
//! long, bit by bit, leaves room in each turn for everybody else.

use std::cell::Cell;

use super::{Engine, Permits, Time};

/// Steps are taken in the order in which they were asked for.
pub struct Ration {
    of_a_turn: u32,
    /// Whoever has one looks in each turn whether a step is left for it; the others wait in line.
    heads: Permits,
    turn: Cell<Time>,
    taken: Cell<u32>,
}

impl Ration {
    pub fn new(of_a_turn: u32) -> Ration {
        let heads = Permits::new(of_a_turn);
        Ration { of_a_turn, heads, turn: Cell::default(), taken: Cell::new(0) }
    }

    /// Waits for a turn of the loop in which few steps were taken.
    pub async fn step(&self, engine: &Engine) {
        // Given back before the step: the next in line looks in the next turn.
        let _head = self.heads.take().await;
        loop {
            if self.turn.replace(engine.now()) != engine.now() {
                self.taken.set(0);
            }
            if self.taken.get() < self.of_a_turn {
                self.taken.set(self.taken.get() + 1);
                return;
            }
            engine.pause().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::rc::Rc;

    use super::super::tests::plain_engine;
    use super::*;

    /// Of those that wait, few are polled in a turn, however many they are.
    #[test]
    fn few_steps_are_taken_in_a_turn_and_in_their_order() {
        const WAITING: u64 = 1_000;
        const OF_A_TURN: u32 = 4;
        let engine = plain_engine();
        let ration = Rc::new(Ration::new(OF_A_TURN));
        let polls = Rc::new(Cell::new(0));
        let taken = Rc::new(RefCell::new(Vec::new()));
        let turn = || engine.status().driver.turns;
        let done = async {
            for number in 0..WAITING {
                let (ration, polls) = (ration.clone(), polls.clone());
                let (taken, engine) = (taken.clone(), engine.clone());
                engine.clone().spawn(async move {
                    let mut step = pin!(ration.step(&engine));
                    poll_fn(|context| {
                        polls.set(polls.get() + 1);
                        step.as_mut().poll(context)
                    })
                    .await;
                    taken.borrow_mut().push((number, engine.status().driver.turns));
                });
            }
            let began = turn();
            while taken.borrow().len() < WAITING as usize {
                engine.pause().await;
            }
            turn() - began
        };
        let turns = engine.block_on(done, || ()).unwrap();
        let taken = taken.borrow();
        assert!(taken.iter().map(|(number, _)| *number).eq(0..WAITING), "in their order");
        for steps in taken.chunk_by(|(_, one), (_, other)| one == other) {
            assert!(steps.len() <= OF_A_TURN as usize, "{steps:?}");
        }
        assert!(turns <= WAITING / u64::from(OF_A_TURN) * 2 + 2, "{turns}");
        // Each once to come, once to be at the head, and a turn later.
        assert!(polls.get() <= 3 * WAITING, "{polls:?}");
    }
}
