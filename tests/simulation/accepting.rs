//! Who is let in: at a limit accepting pauses, without spinning, and goes on when there is room.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ringmain::engine::Time;
use ringmain::engine::driver::simulated::Faults;
use ringmain::observe::CloseReason;

use crate::actors::{Ending, Fate, Kind, Outcome, Plan};
use crate::stage::{HOUR, Settings, Stage, plan, pool};

/// Whether a run of an hour took at most so many turns per second. The gauges look up once a
/// second, and each look of anyone costs a turn or two more in which its timer draws near.
fn assert_turns_per_second(turns: u64, most: u64) {
    assert!(turns < 3600 * most + 500, "{turns} turns in an hour");
}

/// Holds its place until the proxy ends its session.
fn staying(stream: u64) -> Plan {
    Plan { ending: Ending::Stay, ..plan(stream, 100) }
}

/// One listener in front of one echoing backend; sessions may be idle for an hour.
fn stage(change: impl FnOnce(&mut Settings)) -> Stage {
    let mut settings = Settings::plenty(vec![pool(0, 1)]);
    settings.listeners[0].idle_timeout = Some(HOUR);
    change(&mut settings);
    let stage = Stage::new(settings);
    stage.backend(0, 0, Kind::Echo);
    stage
}

/// Two clients that stay for an hour, and three that come a second later; the turns it took to
/// serve all of them.
fn turns_with_three_waiting(stage: &mut Stage) -> u64 {
    let mut clients: Vec<_> = [1, 2].map(|stream| stage.client(SOON, staying(stream))).into();
    let late = Duration::from_secs(1);
    clients.extend([3, 4, 5].map(|stream| stage.client(late, plan(stream, 1000))));
    stage.run_until_done(&clients);
    for client in &clients {
        let outcome = client.get();
        assert_eq!((outcome.fate, outcome.received), (Fate::Done, outcome.sent));
    }
    assert_eq!(stage.ended(CloseReason::IdleTimeout), 2);
    assert_eq!(stage.ended(CloseReason::Finished), 3);
    stage.engine.status().driver.turns
}

const SOON: Duration = Duration::from_millis(1);

#[test]
fn at_the_limit_of_the_process_clients_wait_in_the_backlog() {
    let mut stage = stage(|settings| settings.process_limit = 2);
    let turns = turns_with_three_waiting(&mut stage);
    assert_turns_per_second(turns, 3);
    assert!(stage.listener(0).accept_pauses_limit.get() > 0);
}

#[test]
fn at_the_limit_of_a_listener_clients_wait_in_the_backlog() {
    let mut stage = stage(|settings| settings.listeners[0].limit = Some(2));
    let turns = turns_with_three_waiting(&mut stage);
    assert_turns_per_second(turns, 3);
    assert!(stage.listener(0).accept_pauses_limit.get() > 0);
}

#[test]
fn without_a_descriptor_clients_wait_in_the_backlog() {
    let mut stage = stage(|_| {});
    // The standard streams, the listener, and two sessions.
    stage.world.limit_descriptors(3 + 1 + 2 * 2);
    let turns = turns_with_three_waiting(&mut stage);
    // It tries again every half second, and whenever a session has ended.
    assert_turns_per_second(turns, 8);
    assert!(stage.listener(0).accept_pauses_descriptors.get() > 0);
}

#[test]
fn an_accepted_client_waits_for_the_descriptor_that_its_backend_needs() {
    let mut pool = pool(0, 1);
    pool.settings.connect_timeout = 2 * HOUR;
    let mut stage = stage(|settings| settings.pools = vec![pool]);
    stage.world.limit_descriptors(3 + 1 + 2 * 2 + 1);
    let turns = turns_with_three_waiting(&mut stage);
    // Accepting is tried every half second, the backend five times a second.
    assert_turns_per_second(turns, 20);
}

/// Has other workers' sessions take every place at the first second, and give all of them back at
/// the tenth.
fn take_every_place_for_a_while(stage: &Stage) {
    let places = stage.process.clone();
    let taken = Rc::new(RefCell::new(Vec::new()));
    let given_back = taken.clone();
    stage.at(Duration::from_secs(1), move |_| {
        taken.borrow_mut().extend(std::iter::from_fn(|| places.take()));
    });
    stage.at(Duration::from_secs(10), move |_| given_back.borrow_mut().clear());
}

#[test]
fn those_who_wait_in_the_backlog_take_no_descriptor_that_a_session_needs_for_its_backend() {
    let mut pool = pool(0, 1);
    pool.settings.connect_timeout = Duration::from_secs(5);
    let mut stage = stage(|settings| {
        settings.pools = vec![pool];
        settings.process_limit = 600;
        settings.few_places = settings.listeners[0].backlog as u32 + 1;
        settings.listeners[0].idle_timeout = Some(Duration::from_secs(10));
    });
    // The standard streams, the listener, and two for each session.
    stage.world.limit_descriptors(3 + 1 + 2 * 600);
    take_every_place_for_a_while(&stage);
    let come = Duration::from_secs(2);
    let clients: Vec<_> = (1..=1500).map(|stream| stage.client(come, staying(stream))).collect();
    stage.run_until_done(&clients);
    assert_eq!(stage.ended(CloseReason::IdleTimeout), 1500);
}

#[test]
fn nobody_is_accepted_freely_once_other_workers_have_left_few_places() {
    let mut stage = stage(|settings| (settings.process_limit, settings.few_places) = (600, 100));
    take_every_place_for_a_while(&stage);
    let come = Duration::from_secs(2);
    let clients: Vec<_> = (1..=5).map(|stream| stage.client(come, plan(stream, 100))).collect();
    let accounts = stage.listener(0);
    stage.at(Duration::from_secs(5), move |_| assert_eq!(accounts.accepted.get(), 0));
    stage.run_until_done(&clients);
    assert_eq!(stage.ended(CloseReason::Finished), 5);
}

#[test]
fn whoever_was_accepted_beyond_the_limit_is_served_when_there_is_room() {
    // Far from the limit a multishot accept takes whatever comes: here more than there is room for.
    let mut stage = stage(|settings| settings.process_limit = 600);
    let clients: Vec<_> = (1..=1500).map(|stream| stage.client(SOON, plan(stream, 200))).collect();
    stage.run_until_done(&clients);
    assert!(clients.iter().all(|client| client.get().received == 200));
    assert_eq!(stage.ended(CloseReason::Finished), 1500);
}

#[test]
fn whoever_was_accepted_beyond_the_limit_is_served_also_when_the_worker_drains() {
    let mut stage = stage(|settings| settings.process_limit = 600);
    let clients: Vec<_> = (1..=1500).map(|stream| stage.client(SOON, plan(stream, 200))).collect();
    let accounts = stage.listener(0);
    stage.drain(Time::default() + HOUR, HOUR, move || accounts.accepted.get() > 600);
    stage.run();
    let accepted = stage.listener(0).accepted.get();
    assert!(accepted > 600, "{accepted} were accepted");
    let served = clients.iter().filter(|client| client.get().received == 200).count();
    assert_eq!((served as u64, stage.ended(CloseReason::Finished)), (accepted, accepted));
}

/// A client that was accepted when the sessions of other workers had just taken every place, and
/// this worker had not heard of it yet. They give them back at ten seconds; this worker drains
/// from the third second on.
fn drain_with_one_waiting(limit: Duration) -> (Stage, Outcome) {
    let mut stage = stage(|settings| settings.process_limit = 600);
    let (places, deaf) = (stage.process.clone(), stage.deaf.clone());
    let taken = Rc::new(RefCell::new(Vec::new()));
    let given_back = taken.clone();
    stage.at(Duration::from_secs(1), move |_| {
        deaf.store(true, Ordering::SeqCst);
        taken.borrow_mut().extend(std::iter::from_fn(|| places.take()));
        deaf.store(false, Ordering::SeqCst);
    });
    stage.at(Duration::from_secs(10), move |_| given_back.borrow_mut().clear());
    let client = stage.client(Duration::from_secs(2), plan(1, 200));
    stage.drain(Time::default() + Duration::from_secs(3), limit, || false);
    stage.run();
    (stage, client.get())
}

#[test]
fn a_draining_worker_waits_for_those_who_wait_for_a_place() {
    let (stage, client) = drain_with_one_waiting(HOUR);
    assert_eq!((client.fate, client.received), (Fate::Done, 200));
    assert_eq!(stage.ended(CloseReason::Finished), 1);
}

#[test]
fn whoever_still_waits_for_a_place_when_draining_is_over_is_reset() {
    let (stage, client) = drain_with_one_waiting(Duration::from_secs(1));
    assert_eq!(client.fate, Fate::Failed(std::io::ErrorKind::ConnectionReset));
    assert_eq!(stage.ended(CloseReason::Drained), 1);
}

#[test]
fn accepting_goes_on_after_overflows_of_the_completion_queue() {
    let faults = Faults { overflow: 500, ..Faults::none() };
    let mut stage = stage(|settings| settings.faults = faults);
    let start = |stream| Duration::from_millis(stream);
    let clients: Vec<_> =
        (1..=100).map(|stream| stage.client(start(stream), plan(stream, 1000))).collect();
    stage.run_until_done(&clients);
    assert_eq!(stage.ended(CloseReason::Finished), 100);
    assert!(stage.engine.status().driver.overflows > 100);
}

#[test]
fn accepting_goes_on_when_every_multishot_ends_at_once() {
    let faults = Faults { multishot_ends: 1000, ..Faults::none() };
    let mut stage = stage(|settings| settings.faults = faults);
    let start = |stream| Duration::from_micros(stream);
    let clients: Vec<_> =
        (1..=100).map(|stream| stage.client(start(stream), plan(stream, 1000))).collect();
    stage.run_until_done(&clients);
    assert_eq!(stage.ended(CloseReason::Finished), 100);
}
