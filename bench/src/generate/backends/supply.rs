//! Owns the units that the backend of a group sends on its own: when each is due, and which
//! connection carries it. It sends nothing.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use ringmain::engine::{Notified, Notify};

use super::super::course::Schedule;
use super::super::record::Recorder;
use super::house::House;

/// The schedule of a group, dealt out to as many seats as it has agents. What is due at a seat
/// waits there while nobody has it, or whoever has it can not send, and its time runs.
pub struct Supply {
    seats: Vec<Seat>,
    /// Those that no connection has; the last of them is the next to be taken.
    free: RefCell<Vec<usize>>,
    /// Rings when one is left.
    freed: Notify,
    /// Whose turn it is.
    turn: Cell<usize>,
}

#[derive(Default)]
struct Seat {
    /// When each unit that has not left was to leave.
    due: RefCell<VecDeque<u64>>,
    /// Rings when there is another.
    work: Notify,
}

/// A seat, as long as this is kept.
pub struct Place {
    supply: Rc<Supply>,
    number: usize,
}

impl Supply {
    pub fn new(agents: u32) -> Rc<Supply> {
        let seats: Vec<Seat> = (0..agents).map(|_| Seat::default()).collect();
        let free = RefCell::new((0..seats.len()).rev().collect());
        Rc::new(Supply { seats, free, freed: Notify::default(), turn: Cell::new(0) })
    }

    /// Waits while as many connections as there are agents have one each: an agent may be back
    /// before its last connection is known to be gone.
    pub async fn place(self: &Rc<Self>) -> Place {
        loop {
            let freed = self.freed.notified();
            let number = self.free.borrow_mut().pop();
            match number {
                Some(number) => return Place { supply: Rc::clone(self), number },
                None => freed.await,
            }
        }
    }

    /// Says of every unit when it is due, at the very moment; of those that are late, at once.
    pub async fn deal(self: Rc<Self>, house: Rc<House>, schedule: Schedule, start: u64) {
        let stage = &house.stage;
        for offset in schedule {
            let due = start + offset;
            if stage.now() < due && stage.unless_over(stage.until(due)).await.is_none() {
                return;
            }
            house.owe(due);
            let turn = self.turn.replace((self.turn.get() + 1) % self.seats.len());
            self.seats[turn].due.borrow_mut().push_back(due);
            self.seats[turn].work.notify_all();
        }
    }

    /// The run is over: notes what has not even left.
    pub fn close_books(&self, recorder: &mut Recorder, now: u64) {
        for seat in &self.seats {
            seat.due.borrow_mut().drain(..).for_each(|due| recorder.unanswered(due, now));
        }
    }
}

impl Place {
    fn seat(&self) -> &Seat {
        &self.supply.seats[self.number]
    }

    /// When the next unit was to leave, which leaves now.
    pub fn next(&self) -> Option<u64> {
        self.seat().due.borrow_mut().pop_front()
    }

    /// Rings when there is another.
    pub fn work(&self) -> Notified<'_> {
        self.seat().work.notified()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.supply.free.borrow_mut().push(self.number);
        self.supply.freed.notify_all();
    }
}
