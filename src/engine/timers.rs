//! The timer wheel: deadlines in, expired wakers out. It reads no clock.
//!
//! Six levels of 64 places; a place of level n spans 64^n ticks. A timer lies on the level that
//! its distance needs and moves down as its time comes near, so that starting and cancelling one
//! costs the same however many there are. Deadlines are rounded up to the tick: never early.

use std::task::Waker;

use super::time::Time;

/// Names a timer; a name that has fired or was cancelled means nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimerId {
    index: u32,
    generation: u32,
}

/// All timers of one engine.
pub(super) struct Timers {
    /// The tick up to which everything has fired.
    tick: u64,
    /// First timer of each place, `NONE` when empty.
    places: [[u32; PLACES]; LEVELS],
    /// One bit per place of a level that is not empty.
    occupied: [u64; LEVELS],
    timers: Vec<Timer>,
    free: u32,
    pending: usize,
}

struct Timer {
    deadline: u64,
    waker: Option<Waker>,
    previous: u32,
    next: u32,
    generation: u32,
    level: u8,
    place: u8,
}

const LEVELS: usize = 6;
const BITS: u32 = 6;
const PLACES: usize = 1 << BITS;
const NONE: u32 = u32::MAX;
/// Ticks of 2^20 ns, about a millisecond.
const TICK_SHIFT: u32 = 20;
/// The farthest deadline the wheel holds, about 2 years; farther ones fire there at the earliest.
const SPAN: u64 = 1 << (BITS * LEVELS as u32);

impl Timers {
    pub(super) fn new(now: Time) -> Timers {
        Timers {
            tick: now.as_nanos() >> TICK_SHIFT,
            places: [[NONE; PLACES]; LEVELS],
            occupied: [0; LEVELS],
            timers: Vec::new(),
            free: NONE,
            pending: 0,
        }
    }

    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    pub(super) fn start(&mut self, deadline: Time, waker: Waker) -> TimerId {
        let nanos = deadline.as_nanos();
        let deadline = (nanos >> TICK_SHIFT) + u64::from(nanos & ((1 << TICK_SHIFT) - 1) != 0);
        let index = self.allocate();
        let timer = &mut self.timers[index as usize];
        timer.deadline = deadline;
        timer.waker = Some(waker);
        let id = TimerId { index, generation: timer.generation };
        self.pending += 1;
        self.link(index);
        id
    }

    /// Replaces the waker of a timer that is still to fire; false when it has fired.
    pub(super) fn rewake(&mut self, id: TimerId, waker: &Waker) -> bool {
        let Some(timer) = self.timers.get_mut(id.index as usize) else { return false };
        if timer.generation != id.generation {
            return false;
        }
        match &mut timer.waker {
            Some(current) => current.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        true
    }

    pub(super) fn cancel(&mut self, id: TimerId) {
        let alive =
            self.timers.get(id.index as usize).is_some_and(|t| t.generation == id.generation);
        if alive {
            self.unlink(id.index);
            self.release(id.index);
        }
    }

    /// When to look again: at the latest then a timer fires or moves to a lower level.
    pub(super) fn next(&self) -> Option<Time> {
        let mut next: Option<u64> = None;
        for (level, &occupied) in self.occupied.iter().enumerate() {
            if occupied == 0 {
                continue;
            }
            let shift = BITS * level as u32;
            let current = self.tick >> shift;
            // Places after the current one come first, then those of the coming round.
            let ahead = occupied.rotate_right((current as u32 + 1) % PLACES as u32);
            let distance = u64::from(ahead.trailing_zeros()) + 1;
            let tick = (current + distance) << shift;
            next = Some(next.map_or(tick, |earliest| earliest.min(tick)));
        }
        next.map(|tick| Time::from_nanos(tick.saturating_mul(1 << TICK_SHIFT)))
    }

    /// Moves the wheel to `now` and appends the wakers of what has expired.
    pub(super) fn expire(&mut self, now: Time, expired: &mut Vec<Waker>) {
        let target = now.as_nanos() >> TICK_SHIFT;
        while let Some(next) = self.next() {
            let tick = next.as_nanos() >> TICK_SHIFT;
            if tick > target {
                break;
            }
            self.tick = tick;
            self.cascade();
            self.fire(expired);
        }
        self.tick = self.tick.max(target);
    }

    /// Moves the timers of every higher place that begins now one level down, or further.
    fn cascade(&mut self) {
        for level in (1..LEVELS).rev() {
            let shift = BITS * level as u32;
            if self.tick & ((1 << shift) - 1) != 0 {
                continue;
            }
            let place = (self.tick >> shift) as usize % PLACES;
            let mut index = self.places[level][place];
            while index != NONE {
                let next = self.timers[index as usize].next;
                self.unlink(index);
                self.link(index);
                index = next;
            }
        }
    }

    fn fire(&mut self, expired: &mut Vec<Waker>) {
        let place = self.tick as usize % PLACES;
        while self.places[0][place] != NONE {
            let index = self.places[0][place];
            self.unlink(index);
            expired.extend(self.timers[index as usize].waker.take());
            self.release(index);
        }
    }

    /// Puts a timer where its distance from now belongs. One that is due goes to the next tick,
    /// or, while a cascade runs, to the tick that is about to fire.
    fn link(&mut self, index: u32) {
        let timer = &self.timers[index as usize];
        let cascading = timer.level != u8::MAX;
        let least = self.tick + u64::from(!cascading);
        let deadline = timer.deadline.clamp(least, self.tick + SPAN - 1);
        let distance = deadline ^ self.tick;
        let level = if distance == 0 { 0 } else { (63 - distance.leading_zeros()) / BITS };
        let level = (level as usize).min(LEVELS - 1);
        let place = (deadline >> (BITS * level as u32)) as usize % PLACES;
        let head = self.places[level][place];
        if head != NONE {
            self.timers[head as usize].previous = index;
        }
        let timer = &mut self.timers[index as usize];
        timer.previous = NONE;
        timer.next = head;
        timer.level = level as u8;
        timer.place = place as u8;
        self.places[level][place] = index;
        self.occupied[level] |= 1 << place;
    }

    fn unlink(&mut self, index: u32) {
        let timer = &self.timers[index as usize];
        let (previous, next) = (timer.previous, timer.next);
        let (level, place) = (usize::from(timer.level), usize::from(timer.place));
        if next != NONE {
            self.timers[next as usize].previous = previous;
        }
        if previous != NONE {
            self.timers[previous as usize].next = next;
        } else {
            self.places[level][place] = next;
            if next == NONE {
                self.occupied[level] &= !(1 << place);
            }
        }
    }

    fn allocate(&mut self) -> u32 {
        if self.free == NONE {
            self.timers.push(Timer {
                deadline: 0,
                waker: None,
                previous: NONE,
                next: NONE,
                generation: 0,
                level: u8::MAX,
                place: 0,
            });
            return self.timers.len() as u32 - 1;
        }
        let index = self.free;
        self.free = self.timers[index as usize].next;
        index
    }

    fn release(&mut self, index: u32) {
        let free = self.free;
        let timer = &mut self.timers[index as usize];
        timer.waker = None;
        timer.generation = timer.generation.wrapping_add(1);
        timer.level = u8::MAX;
        timer.next = free;
        self.free = index;
        self.pending -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn fired(timers: &mut Timers, now: Time) -> usize {
        let mut wakers = Vec::new();
        timers.expire(now, &mut wakers);
        wakers.len()
    }

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_timer_fires_once_and_never_early() {
        let mut timers = Timers::new(at(5));
        timers.start(at(1_000), Waker::noop().clone());
        assert_eq!(fired(&mut timers, at(999)), 0);
        assert_eq!(fired(&mut timers, at(1_002)), 1);
        assert_eq!(fired(&mut timers, at(9_000_000)), 0);
        assert_eq!(timers.pending(), 0);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_cancelled_timer_does_not_fire_and_its_name_is_dead() {
        let mut timers = Timers::new(at(0));
        let id = timers.start(at(10), Waker::noop().clone());
        timers.cancel(id);
        let other = timers.start(at(20), Waker::noop().clone());
        timers.cancel(id);
        assert_eq!(fired(&mut timers, at(30)), 1);
        assert!(!timers.rewake(other, Waker::noop()));
    }

    #[test]
    fn a_new_waker_replaces_the_old() {
        let counter = Arc::new(Counter::default());
        let mut timers = Timers::new(at(0));
        let id = timers.start(at(10), Waker::noop().clone());
        assert!(timers.rewake(id, &Waker::from(Arc::clone(&counter))));
        let mut wakers = Vec::new();
        timers.expire(at(12), &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
    }

    proptest! {
        /// Against the obvious model: everything due has fired, nothing else has, and `next`
        /// never lies beyond the next deadline.
        #[test]
        fn agrees_with_a_sorted_list(
            start in 0u64..1 << 50,
            delays in prop::collection::vec(0u64..40_000_000_000_000, 1..60),
            steps in prop::collection::vec(1u64..9_000_000_000_000, 1..20),
        ) {
            let mut now = Time::from_nanos(start);
            let mut timers = Timers::new(now);
            let mut model: Vec<Time> = Vec::new();
            for delay in delays {
                let deadline = now + Duration::from_nanos(delay);
                timers.start(deadline, Waker::noop().clone());
                model.push(deadline);
            }
            for step in steps {
                let tick = Duration::from_nanos(2 << TICK_SHIFT);
                if let (Some(next), Some(first)) = (timers.next(), model.iter().min()) {
                    prop_assert!(next <= *first + tick);
                }
                now = now + Duration::from_nanos(step);
                let count = fired(&mut timers, now);
                let due = model.iter().filter(|deadline| **deadline + tick <= now).count();
                let possible = model.iter().filter(|deadline| **deadline <= now).count();
                prop_assert!((due..=possible).contains(&count), "{due} <= {count} <= {possible}");
                model.sort();
                model.drain(..count);
            }
        }
    }
}
