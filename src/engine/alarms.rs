//! Exact deadlines: for the few who have to be on time to the microsecond. Those of connections are
//! many, may be a millisecond late, and lie in the wheel of `timers`. It reads no clock.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::executor::Engine;
use super::time::Time;

/// The exact deadlines of one engine, in order.
#[derive(Default)]
pub(super) struct Alarms {
    pending: BTreeMap<AlarmId, Waker>,
    started: u64,
}

/// Names an alarm: its deadline, and its place among those of the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct AlarmId {
    deadline: Time,
    place: u64,
}

impl Alarms {
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// When the next one rings.
    pub(super) fn next(&self) -> Option<Time> {
        self.pending.first_key_value().map(|(id, _)| id.deadline)
    }

    /// Appends the wakers of all that are due.
    pub(super) fn expire(&mut self, now: Time, expired: &mut Vec<Waker>) {
        while self.next().is_some_and(|deadline| deadline <= now) {
            expired.extend(self.pending.pop_first().map(|(_, waker)| waker));
        }
    }

    fn start(&mut self, deadline: Time, waker: Waker) -> AlarmId {
        self.started += 1;
        let id = AlarmId { deadline, place: self.started };
        self.pending.insert(id, waker);
        id
    }

    /// Replaces the waker of one that is still to ring; false when it has rung.
    fn rewake(&mut self, id: AlarmId, waker: &Waker) -> bool {
        self.pending.get_mut(&id).map(|current| current.clone_from(waker)).is_some()
    }

    fn cancel(&mut self, id: AlarmId) {
        self.pending.remove(&id);
    }
}

impl Engine {
    /// Completes at `deadline`, in the first turn after it. While an exact deadline is the next
    /// thing to happen it costs a timer of the kernel: [`Engine::sleep_until`] is for the many.
    pub fn alarm(&self, deadline: Time) -> Alarm {
        Alarm { engine: self.clone(), deadline, id: None }
    }
}

/// An exact deadline as a future.
pub struct Alarm {
    engine: Engine,
    deadline: Time,
    id: Option<AlarmId>,
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.engine.now() >= self.deadline {
            return Poll::Ready(());
        }
        let mut alarms = self.engine.core().alarms.borrow_mut();
        let waker = context.waker();
        if !self.id.is_some_and(|id| alarms.rewake(id, waker)) {
            let id = alarms.start(self.deadline, waker.clone());
            drop(alarms);
            self.id = Some(id);
        }
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.engine.core().alarms.borrow_mut().cancel(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::plain_engine;
    use super::*;

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    fn rung(alarms: &mut Alarms, now: u64) -> usize {
        let mut wakers = Vec::new();
        alarms.expire(at(now), &mut wakers);
        wakers.len()
    }

    #[test]
    fn alarms_ring_at_their_nanosecond_and_once() {
        let mut alarms = Alarms::default();
        for deadline in [1_500, 1_000, 1_000, 2_000_000_000] {
            alarms.start(at(deadline), Waker::noop().clone());
        }
        assert_eq!(alarms.next(), Some(at(1_000)));
        assert_eq!(rung(&mut alarms, 999), 0);
        assert_eq!(rung(&mut alarms, 1_000), 2);
        assert_eq!(rung(&mut alarms, 1_499), 0);
        assert_eq!(rung(&mut alarms, 1_500), 1);
        assert_eq!((alarms.pending(), alarms.next()), (1, Some(at(2_000_000_000))));
    }

    #[test]
    fn a_cancelled_alarm_does_not_ring_and_its_name_is_dead() {
        let mut alarms = Alarms::default();
        let first = alarms.start(at(10), Waker::noop().clone());
        alarms.start(at(10), Waker::noop().clone());
        alarms.cancel(first);
        assert!(!alarms.rewake(first, Waker::noop()));
        assert_eq!(rung(&mut alarms, 10), 1);
    }

    #[test]
    fn a_wait_ends_at_the_nanosecond_where_the_wheel_would_be_late() {
        let engine = plain_engine();
        let deadlines = [1_234_567, 1_240_001, 1_300_001, 900_000_000_001].map(at);
        let rung = engine.block_on(
            async {
                engine.spawn({
                    let engine = engine.clone();
                    async move { engine.sleep_until(at(5_000_000)).await }
                });
                let mut rung = Vec::new();
                for deadline in deadlines {
                    engine.alarm(deadline).await;
                    rung.push(engine.now());
                }
                rung
            },
            || (),
        );
        assert_eq!(rung.unwrap(), deadlines);
        assert_eq!(engine.status().timers, 0);
    }
}
