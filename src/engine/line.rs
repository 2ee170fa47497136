//! Who waits for something, in the order in which they came. To come, to be called and to leave
//! cost the same however many wait, also for whoever leaves from the middle.

use std::task::Waker;

/// Those who wait, first come first called.
#[derive(Default)]
pub struct Line {
    seats: Vec<Seat>,
    /// The first and the last of those who wait.
    ends: Option<[u32; 2]>,
    free: Vec<u32>,
}

/// Whoever has entered has one, until it leaves.
#[derive(Default)]
struct Seat {
    /// Whom to wake; none once it was called.
    waker: Option<Waker>,
    before: Option<u32>,
    behind: Option<u32>,
}

impl Line {
    /// Enters as the last one; the seat is to be given back with `leave`.
    pub fn enter(&mut self, waker: Waker) -> u32 {
        let before = self.ends.map(|[_, last]| last);
        let seat = Seat { waker: Some(waker), before, behind: None };
        let number = match self.free.pop() {
            Some(number) => {
                self.seats[number as usize] = seat;
                number
            }
            None => {
                self.seats.push(seat);
                self.seats.len() as u32 - 1
            }
        };
        if let Some(before) = before {
            self.seats[before as usize].behind = Some(number);
        }
        self.ends = Some([self.ends.map_or(number, |[first, _]| first), number]);
        number
    }

    pub fn was_called(&self, seat: u32) -> bool {
        self.seats[seat as usize].waker.is_none()
    }

    /// Replaces whom to wake, unless it was called.
    pub fn rewake(&mut self, seat: u32, waker: &Waker) {
        if let Some(current) = &mut self.seats[seat as usize].waker {
            current.clone_from(waker);
        }
    }

    /// The first one waits no more; whom to wake for that. It keeps its seat until it leaves.
    pub fn call_first(&mut self) -> Option<Waker> {
        let [first, _] = self.ends?;
        self.unlink(first);
        self.seats[first as usize].waker.take()
    }

    /// Gives the seat back; whether its holder had been called.
    pub fn leave(&mut self, seat: u32) -> bool {
        let called = self.was_called(seat);
        if !called {
            self.unlink(seat);
        }
        self.seats[seat as usize] = Seat::default();
        self.free.push(seat);
        called
    }

    /// Joins those before and behind it.
    fn unlink(&mut self, seat: u32) {
        let Seat { before, behind, .. } = self.seats[seat as usize];
        if let Some(before) = before {
            self.seats[before as usize].behind = behind;
        }
        if let Some(behind) = behind {
            self.seats[behind as usize].before = before;
        }
        self.ends = self.ends.and_then(|[first, last]| {
            let first = if first == seat { behind } else { Some(first) };
            let last = if last == seat { before } else { Some(last) };
            Some([first?, last?])
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Against a plain list, whatever comes and goes in whatever order.
    #[test]
    fn whoever_came_first_is_called_first_whoever_leaves() {
        let mut random = fastrand::Rng::with_seed(1);
        let (mut line, mut waiting, mut called) = (Line::default(), VecDeque::new(), Vec::new());
        for _ in 0..10_000 {
            match random.u8(0..3) {
                0 => waiting.push_back(line.enter(Waker::noop().clone())),
                1 => {
                    assert_eq!(line.call_first().is_some(), !waiting.is_empty());
                    called.extend(waiting.pop_front());
                }
                _ if random.bool() && !waiting.is_empty() => {
                    let seat = waiting.remove(random.usize(..waiting.len())).unwrap();
                    assert!(!line.leave(seat));
                }
                _ => called.drain(..).for_each(|seat| assert!(line.leave(seat))),
            }
            assert!(waiting.iter().all(|seat| !line.was_called(*seat)));
            assert!(called.iter().all(|seat| line.was_called(*seat)));
        }
        let most = waiting.len() + called.len() + line.free.len();
        assert_eq!(most, line.seats.len(), "seats are given anew");
        assert!(most < 1_000, "{most}");
    }
}
