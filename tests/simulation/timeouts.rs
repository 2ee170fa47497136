//! What happens when nothing happens: each time-out strikes when it is due, and not before.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ringmain::balance::Pool;
use ringmain::engine::Time;
use ringmain::observe::{CloseReason, SessionTally};

use crate::actors::{Answer, Ending, Fate, Kind, Outcome, Plan};
use crate::stage::{Settings, Stage, plan, pool};

/// Timers are late by a tick of a millisecond at most, and moments are seen as late.
const TICKS: Duration = Duration::from_millis(3);

/// Asserts that `later` came so long after `earlier`.
fn assert_apart(earlier: &Cell<Option<Duration>>, later: &Cell<Option<Duration>>, by: Duration) {
    let (earlier, later) = (earlier.get().unwrap(), later.get().unwrap());
    let apart = later - earlier;
    assert!(apart + TICKS > by && apart < by + TICKS, "{earlier:?} and {later:?}");
}

/// The moment at which a count of the only backend reaches `value`.
fn reaches(
    stage: &Stage,
    value: u64,
    count: impl Fn(&SessionTally) -> u64 + 'static,
) -> Rc<Cell<Option<Duration>>> {
    let tally = stage.sessions_of(0).remove(0);
    stage.moment(Duration::ZERO, move || count(&tally) >= value)
}

const START: Duration = Duration::from_secs(1);

#[test]
fn an_idle_session_ends_when_the_time_out_has_passed_since_the_last_byte() {
    let mut settings = Settings::plenty(vec![pool(0, 1)]);
    settings.listeners[0].idle_timeout = Some(Duration::from_secs(10));
    let mut stage = Stage::new(settings);
    stage.backend(0, 0, Kind::Echo);
    let client = stage.client(START, Plan { ending: Ending::Stay, ..plan(1, 100) });
    let moved = reaches(&stage, 100, |tally| tally.bytes_to_client.get());
    let ended = reaches(&stage, 1, |tally| tally.sessions_closed.get(CloseReason::IdleTimeout));
    stage.run_until_done([&client]);
    assert_apart(&moved, &ended, Duration::from_secs(10));
    assert!(client.get().end_seen);
}

#[test]
fn a_client_that_does_not_read_for_too_long_learns_that_bytes_are_missing() {
    let mut settings = Settings::plenty(vec![pool(0, 1)]);
    settings.listeners[0].idle_timeout = Some(Duration::from_secs(10));
    let mut stage = Stage::new(settings);
    stage.backend(0, 0, Kind::Source { length: 100 << 20 });
    let deaf_until = Time::default() + Duration::from_secs(60);
    let (answer, ending) = (Answer::Source, Ending::Stay);
    let client = stage.client(START, Plan { answer, ending, deaf_until, ..plan(1, 100) });
    stage.run_until_done([&client]);
    assert_eq!(stage.ended(CloseReason::IdleTimeout), 1);
    let outcome = client.get();
    assert_eq!(outcome.fate, Fate::Failed(std::io::ErrorKind::ConnectionReset), "{outcome:?}");
    assert!(!outcome.end_seen);
}

#[test]
fn a_session_that_moves_a_byte_now_and_then_is_not_idle() {
    let mut settings = Settings::plenty(vec![pool(0, 1)]);
    settings.listeners[0].idle_timeout = Some(Duration::from_secs(10));
    let mut stage = Stage::new(settings);
    stage.backend(0, 0, Kind::Echo);
    let plan = Plan { chunk: 1, pause: Duration::from_secs(9), ..plan(1, 30) };
    let client = stage.client(START, plan);
    stage.run_until_done([&client]);
    assert_eq!(client.get().received, 30);
    assert_eq!(stage.ended(CloseReason::Finished), 1);
}

#[test]
fn a_half_closed_session_ends_when_its_own_time_out_has_passed() {
    let mut settings = Settings::plenty(vec![pool(0, 1)]);
    settings.listeners[0].half_closed_timeout = Duration::from_secs(5);
    let mut stage = Stage::new(settings);
    stage.backend(0, 0, Kind::NeverRead);
    let client = stage.client(START, plan(1, 100));
    let moved = reaches(&stage, 100, |tally| tally.bytes_to_backend.get());
    let reason = CloseReason::HalfClosedTimeout;
    let ended = reaches(&stage, 1, move |tally| tally.sessions_closed.get(reason));
    stage.run_until_done([&client]);
    assert_apart(&moved, &ended, Duration::from_secs(5));
}

/// A stage with one pool whose backends are of these kinds, and a second to connect to each.
fn stage_of(kinds: &[Option<Kind>], tries: usize) -> Stage {
    let mut pool: Pool = pool(0, kinds.len());
    pool.settings.connect_timeout = Duration::from_secs(1);
    pool.settings.tries = tries;
    let stage = Stage::new(Settings::plenty(vec![pool]));
    for (number, kind) in kinds.iter().enumerate() {
        kind.map(|kind| stage.backend(0, number, kind));
    }
    stage
}

#[test]
fn each_backend_has_its_time_to_answer_and_then_the_next_is_tried() {
    let kinds = [Some(Kind::BlackHole), None, Some(Kind::BlackHole), Some(Kind::Echo)];
    let mut stage = stage_of(&kinds, 4);
    let clients: Vec<Rc<Cell<Outcome>>> =
        (1..=8).map(|stream| stage.client(START, plan(stream, 1000))).collect();
    let all = clients.clone();
    let over = stage.moment(Duration::ZERO, move || all.iter().all(crate::stage::is_over));
    stage.run_until_done(&clients);
    assert_eq!(stage.ended(CloseReason::Finished), 8);
    let took = over.get().unwrap() - START;
    assert!((Duration::from_secs(2)..Duration::from_millis(2500)).contains(&took), "{took:?}");
    let tallies = stage.sessions_of(0);
    for unwell in &tallies[..3] {
        assert!(unwell.connect_attempts.get() > 0);
        assert_eq!(unwell.connect_attempts.get(), unwell.connect_failures.get());
        assert_eq!(unwell.sessions_opened.get(), 0);
    }
    assert_eq!(tallies[3].connect_attempts.get(), 8);
    assert_eq!(tallies[3].connect_failures.get(), 0);
}

#[test]
fn when_every_try_has_timed_out_the_client_is_reset() {
    let mut stage = stage_of(&[Some(Kind::BlackHole); 3], 2);
    let client = stage.client(START, plan(1, 100));
    let accounts = stage.listener(0);
    let accepted = stage.moment(Duration::ZERO, {
        let accounts = accounts.clone();
        move || accounts.accepted.get() == 1
    });
    let ended = stage.moment(Duration::ZERO, move || {
        accounts.sessions_closed.get(CloseReason::ConnectTimeout) == 1
    });
    stage.run_until_done([&client]);
    assert_apart(&accepted, &ended, Duration::from_secs(2));
    assert_eq!(client.get().fate, Fate::Failed(std::io::ErrorKind::ConnectionReset));
    let attempts: Vec<u64> =
        stage.sessions_of(0).iter().map(|tally| tally.connect_attempts.get()).collect();
    assert_eq!(attempts.iter().sum::<u64>(), 2, "{attempts:?}");
    assert!(attempts.iter().all(|attempts| *attempts <= 1), "distinct: {attempts:?}");
}

#[test]
fn a_client_that_leaves_before_its_backend_answers_is_noticed() {
    let mut pool = pool(0, 1);
    pool.settings.connect_timeout = Duration::from_secs(60);
    let mut stage = Stage::new(Settings::plenty(vec![pool]));
    stage.backend(0, 0, Kind::BlackHole);
    let client = stage.client(START, Plan { ending: Ending::Reset, ..plan(1, 100) });
    let accounts = stage.listener(0);
    let aborted = stage.moment(Duration::ZERO, move || {
        accounts.sessions_closed.get(CloseReason::ClientAborted) == 1
    });
    stage.run_until_done([&client]);
    assert!(aborted.get().unwrap() < START + Duration::from_secs(1));
}
