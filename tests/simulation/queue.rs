//! Sessions that wait for a place on a backend: in line, for a time, and only so many.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use ringmain::balance::Queue;
use ringmain::engine::Time;
use ringmain::observe::CloseReason;

use crate::actors::{Backend, Ending, Fate, Kind, Outcome, Plan};
use crate::security::Wire;
use crate::stage::{HOUR, Settings, Stage, address, is_over, plan, pool, queued};

const SECOND: Duration = Duration::from_secs(1);

/// One echoing backend with this many places, and a queue.
fn stage(places: u32, limit: u32, timeout: Duration) -> Stage {
    let pool = queued(pool(0, 1), Some(places), Queue { limit, timeout });
    let stage = Stage::new(Settings::plenty(vec![pool]));
    stage.backend(0, 0, Kind::Echo);
    stage
}

/// A client that holds its place for about ten seconds.
fn holder(stream: u64) -> Plan {
    Plan { chunk: 1, pause: 2 * SECOND, ..plan(stream, 10) }
}

fn over(stage: &Stage, client: &Rc<Cell<Outcome>>) -> Rc<Cell<Option<Duration>>> {
    let seen = client.clone();
    stage.moment(Duration::ZERO, move || is_over(&seen))
}

fn reset() -> Fate {
    Fate::Failed(ErrorKind::ConnectionReset)
}

#[test]
fn whoever_came_first_is_served_first_when_a_place_becomes_free() {
    let mut stage = stage(1, 100, HOUR);
    let first = stage.client(Duration::ZERO, holder(1));
    // The last ones come while others are being served, and do not overtake those who wait.
    let start = |number: u64| Duration::from_millis(500 * number);
    let others: Vec<_> =
        (2..=40).map(|stream| stage.client(start(stream), plan(stream, 5000))).collect();
    let over = over(&stage, &others[0]);
    stage.run_until_done(others.iter().chain([&first]));
    assert_eq!(stage.ended(CloseReason::Finished), 40);
    assert!(over.get().unwrap() > 5 * SECOND, "they have waited");
    let served: Vec<u64> = stage.records().iter().map(|record| record.accepted_unix_ns).collect();
    assert!(served.is_sorted(), "{served:?}");
}

#[test]
fn who_comes_in_when_a_place_has_just_become_free_does_not_overtake_those_who_wait() {
    let pool = queued(pool(0, 1), Some(1), Queue { limit: 100, timeout: HOUR });
    let mut stage = Stage::new(Settings { process_limit: 600, ..Settings::plenty(vec![pool]) });
    stage.backend(0, 0, Kind::Echo);
    let first = stage.client(Duration::ZERO, holder(1));
    // It is first in line, and leaves after about four seconds.
    let pause = SECOND / 2;
    let leaves = Plan { chunk: 1, pause, ending: Ending::Reset, ..plan(2, 16) };
    let leaves = stage.client(SECOND / 5, leaves);
    let waits = stage.client(2 * SECOND / 5, plan(3, 300));
    // There is no place in the process for the last one until the first has left: the same end of
    // a session lets it in, and frees the place on the backend. It hears of that before the one
    // who waits, who has come to the head of the line after it.
    let (places, taken) = (stage.process.clone(), Rc::new(RefCell::new(Vec::new())));
    let given_back = taken.clone();
    stage.at(SECOND, move |_| taken.borrow_mut().extend(std::iter::from_fn(|| places.take())));
    stage.at(20 * SECOND, move |_| given_back.borrow_mut().clear());
    let last = stage.client(2 * SECOND, plan(4, 400));
    stage.run_until_done([&first, &leaves, &waits, &last]);
    assert_eq!(stage.ended(CloseReason::Finished), 3);
    let ended: Vec<u64> = stage.records().iter().map(|record| record.bytes_to_backend).collect();
    assert_eq!(ended, [0, 10, 300, 400]);
}

#[test]
fn every_place_that_becomes_free_is_used() {
    let mut stage = stage(5, 1000, HOUR);
    let clients: Vec<_> = (1..=200)
        .map(|stream| stage.client(Duration::from_millis(stream), plan(stream, 5000)))
        .collect();
    let most = Rc::new(Cell::new(0));
    let (backend, seen) = (stage.pools[0].members()[0].backend.clone(), most.clone());
    stage.moment(Duration::ZERO, move || {
        seen.set(seen.get().max(backend.connections()));
        false
    });
    let last = over(&stage, &clients[199]);
    stage.drain(Time::default() + 60 * SECOND, HOUR, || false);
    stage.run();
    assert_eq!(stage.ended(CloseReason::Finished), 200);
    assert_eq!(most.get(), 5);
    // One after another, with about 10 ms each, they would take twice as long.
    assert!(last.get().unwrap() < 2 * SECOND, "{last:?}");
}

#[test]
fn whoever_waits_in_vain_is_reset_when_its_time_is_over() {
    let mut stage = stage(1, 100, 3 * SECOND);
    let first = stage.client(Duration::ZERO, holder(1));
    let second = stage.client(SECOND, plan(2, 100));
    let over = over(&stage, &second);
    stage.run_until_done([&first, &second]);
    assert_eq!(second.get().fate, reset());
    assert_eq!(stage.ended(CloseReason::QueueTimeout), 1);
    let over = over.get().unwrap();
    assert!((4 * SECOND..4 * SECOND + SECOND / 10).contains(&over), "{over:?}");
}

#[test]
fn when_as_many_wait_as_may_the_next_is_reset_at_once() {
    let mut stage = stage(1, 2, HOUR);
    let first = stage.client(Duration::ZERO, holder(1));
    let waiting = [2, 3].map(|stream| stage.client(SECOND, plan(stream, 100)));
    let refused = stage.client(2 * SECOND, plan(4, 100));
    let over = over(&stage, &refused);
    stage.run_until_done(waiting.iter().chain([&first, &refused]));
    assert_eq!(refused.get().fate, reset());
    assert!(over.get().unwrap() < 2 * SECOND + SECOND / 10);
    assert_eq!(stage.ended(CloseReason::QueueFull), 1);
    assert_eq!(stage.ended(CloseReason::Finished), 3);
}

#[test]
fn a_client_that_leaves_while_it_waits_is_noticed_and_holds_nobody_up() {
    let mut stage = stage(1, 2, HOUR);
    let first = stage.client(Duration::ZERO, holder(1));
    let leaving = stage.client(SECOND, Plan { ending: Ending::Reset, ..plan(2, 100) });
    let accounts = stage.listener(0);
    let left = stage.moment(Duration::ZERO, move || {
        accounts.sessions_closed.get(CloseReason::ClientAborted) == 1
    });
    let others = [3, 4].map(|stream| stage.client(3 * SECOND, plan(stream, 100)));
    stage.run_until_done(others.iter().chain([&first, &leaving]));
    assert!(left.get().unwrap() < 2 * SECOND, "{left:?}");
    assert_eq!(stage.ended(CloseReason::Finished), 3);
}

#[test]
fn whoever_still_waits_when_draining_is_over_is_reset() {
    let mut stage = stage(1, 2, HOUR);
    let first = stage.client(Duration::ZERO, Plan { ending: Ending::Stay, ..plan(1, 100) });
    let second = stage.client(SECOND, plan(2, 100));
    stage.drain(Time::default() + 2 * SECOND, SECOND, || false);
    stage.run();
    assert_eq!((first.get().fate, second.get().fate), (Fate::Done, reset()));
    assert_eq!(stage.ended(CloseReason::Drained), 2);
}

#[test]
fn who_may_not_have_what_is_free_does_not_hold_up_those_behind() {
    let pool = queued(pool(0, 2), Some(1), Queue { limit: 100, timeout: HOUR });
    let mut stage = Stage::new(Settings::plenty(vec![pool]));
    // One backend refuses at first; the other one's place is taken.
    stage.backend(0, 1, Kind::Echo);
    let first = stage.client(Duration::ZERO, holder(1));
    let retrying = stage.client(SECOND, plan(2, 100));
    stage.world.spawn(
        Time::default() + 2 * SECOND,
        Backend::new(address(0, 0), 16, Kind::Echo, Wire::Plain).0,
    );
    let behind = stage.client(3 * SECOND, plan(3, 100));
    let over = [&first, &retrying, &behind].map(|client| over(&stage, client));
    stage.run_until_done([&first, &retrying, &behind]);
    let [first, retrying, behind] = over.map(|over| over.get().unwrap());
    assert!(behind < 4 * SECOND && first > 5 * SECOND && retrying >= first);
    assert_eq!(stage.ended(CloseReason::Finished), 3);
    let record = stage.records().pop().unwrap();
    assert_eq!(record.tried.len(), 1, "it was the one that retried");
}
