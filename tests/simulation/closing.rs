//! Sessions that the worker closes while both parties would go on: nothing that a party had sent
//! is lost, and nobody who behaves is reset.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ringmain::balance::Pool;
use ringmain::engine::Time;
use ringmain::engine::driver::simulated::{Next, Peers};
use ringmain::observe::CloseReason;
use ringmain::proxy::Command;

use crate::actors::{Answer, Ending, Fate, Kind, Outcome, Plan};
use crate::stage::{ANYWHERE, HOUR, Settings, Stage, address, front, plan, pool};

const LINGER: Duration = Duration::from_secs(60);
const MICROSECOND: Duration = Duration::from_micros(1);
const SOON: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn settings(pools: Vec<Pool>) -> Settings {
    Settings { linger_timeout: LINGER, ..Settings::plenty(pools) }
}

fn end_sessions(number: usize) -> Command {
    Command::EndSessions { pool: "pool-0".into(), backend: format!("backend-{number}").into() }
}

fn rebalance(count: u32) -> Command {
    Command::Rebalance { pool: "pool-0".into(), backend: "backend-0".into(), count }
}

/// About ten seconds of sending.
fn slow(stream: u64) -> Plan {
    Plan { chunk: 1000, pause: Duration::from_millis(100), ..plan(stream, 100_000) }
}

fn staying(stream: u64) -> Plan {
    Plan { ending: Ending::Stay, ..plan(stream, 100) }
}

/// When a client saw the end.
fn told(stage: &Stage, client: &Rc<Cell<Outcome>>) -> Rc<Cell<Option<Duration>>> {
    let seen = client.clone();
    stage.moment(Duration::ZERO, move || seen.get().end_seen)
}

/// Asserts that it came so long after the start, to within what timers and links take.
fn assert_at(moment: &Cell<Option<Duration>>, expected: Duration) {
    let moment = moment.get().expect("it came");
    assert!(moment >= expected && moment < expected + SECOND / 10, "{moment:?}, not {expected:?}");
}

#[test]
fn a_lost_backends_sessions_end_in_order_and_those_of_another_do_not() {
    for kind in [Kind::Sink, Kind::Echo] {
        let mut stage = Stage::new(settings(vec![pool(0, 2)]));
        let logs = [0, 1].map(|number| stage.backend(0, number, kind));
        let clients: Vec<_> = (1..=6).map(|stream| stage.client(SOON, slow(stream))).collect();
        stage.tell(SECOND, end_sessions(0));
        let told: Vec<_> = clients.iter().map(|client| told(&stage, client)).collect();
        stage.run_until_done(&clients);
        assert_eq!(stage.ended(CloseReason::BackendLost), 3, "{kind:?}");
        assert_eq!(stage.ended(CloseReason::Finished), 3, "{kind:?}");
        assert!(clients.iter().all(|client| client.get().fate == Fate::Done), "{kind:?}");
        let early = told.iter().filter(|told| told.get().unwrap() < SECOND + SECOND / 2).count();
        assert_eq!(early, 3, "those are told at once");
        for log in logs.map(|log| log.take()) {
            assert_eq!((log.failed, log.ended.len()), (0, 3), "{kind:?}");
            assert!(
                log.received.values().all(|received| *received == 100_000),
                "{kind:?}: {log:?}"
            );
        }
    }
}

#[test]
fn what_the_backend_had_sent_before_is_delivered() {
    for (seed, pipes) in (0..24).flat_map(|seed| [(seed, 0), (seed, 8)]) {
        const LENGTH: u64 = 30_000;
        let mut settings = settings(vec![pool(0, 1)]);
        settings.seed = seed;
        settings.engine.pipes.count = pipes;
        settings.faults.caps_receives = seed % 4 < 2;
        // Small, so that much is on its way in many pieces, and the flow counts as a large one.
        settings.engine.buffers.size = 512;
        if seed % 3 == 0 {
            settings.faults.spurious_again = 300;
            settings.faults.no_buffers = 300;
        }
        let mut stage = Stage::new(settings);
        let log = stage.backend(0, 0, Kind::StayingSource { length: LENGTH });
        let client =
            Plan { answer: Answer::Source, deaf_until: Time::default() + 2 * SECOND, ..staying(1) };
        let client = stage.client(SOON, client);
        // The client may be about to take it, or has begun to.
        let millis = if seed % 2 == 0 { 1000 } else { 2000 + seed / 2 };
        stage.tell(Duration::from_millis(millis), end_sessions(0));
        stage.run_until_done([&client]);
        let outcome = client.get();
        assert_eq!((outcome.fate, outcome.received), (Fate::Done, LENGTH), "seed {seed}, {pipes}");
        assert_eq!(log.borrow().failed, 0, "seed {seed}, {pipes}");
        assert_eq!(stage.ended(CloseReason::BackendLost), 1);
    }
}

#[test]
fn what_was_received_behind_a_stalled_send_is_delivered_also_by_a_flow_that_stops_at_once() {
    for seed in 0..16 {
        let mut settings = settings(vec![pool(0, 1)]);
        settings.seed = seed;
        settings.linger_timeout = SECOND * 3 / 2;
        settings.engine.pipes.count = 0;
        settings.faults.caps_receives = seed % 2 == 0;
        settings.engine.buffers.size = 512;
        let mut stage = Stage::new(settings);
        stage.backend(0, 0, Kind::StayingSource { length: u64::MAX });
        // It reads again when half of the time is over and the flow is not to wait any more.
        let client =
            Plan { answer: Answer::Source, deaf_until: Time::default() + 2 * SECOND, ..staying(1) };
        let client = stage.client(SOON, client);
        stage.tell(SECOND, end_sessions(0));
        stage.run_until_done([&client]);
        assert_eq!(client.get().fate, Fate::Done, "seed {seed}");
        assert_eq!(stage.ended(CloseReason::BackendLost), 1, "seed {seed}");
    }
}

/// A client that reads nothing before `time`, and then all; how much it got before the end.
fn deaf_client(stage: &Stage, time: Duration) -> Rc<Cell<Option<u64>>> {
    let outcome = Rc::new(Cell::new(None));
    let (received, mut end, mut named, mut got) = (outcome.clone(), None, false, 0);
    stage.world.spawn(Time::default() + SOON, move |peers: &mut Peers<'_>| {
        let end = *end.get_or_insert_with(|| peers.connect(ANYWHERE, front(0)).unwrap());
        if !peers.is_connected(end).unwrap() {
            return Next::OnEvent;
        }
        if !std::mem::replace(&mut named, true) {
            peers.write(end, &[0; 8]).unwrap();
        }
        if peers.now() < Time::default() + time {
            return Next::At(Time::default() + time);
        }
        let mut buffer = [0; 4096];
        while let Ok(length) = peers.read(end, &mut buffer) {
            got += length as u64;
            if length == 0 {
                received.set(Some(got));
                peers.close(end);
                return Next::Done;
            }
        }
        Next::OnEvent
    });
    outcome
}

/// A backend that sends little by little until the proxy takes no more for lack of room, nothing
/// more from then on, and ends in order when its client has; how much it has sent, and whether it
/// saw the end.
fn trickling(stage: &Stage) -> (Rc<Cell<u64>>, Rc<Cell<bool>>) {
    let (sent, in_order) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    let (written, ended) = (sent.clone(), in_order.clone());
    let tally = stage.sessions_of(0).remove(0);
    let (mut listener, mut end) = (None, None);
    let (mut moved, mut next, mut full) = ((0, Time::default()), Time::default(), false);
    stage.world.spawn(Time::default(), move |peers: &mut Peers<'_>| {
        let listener = *listener.get_or_insert_with(|| peers.listen(address(0, 0), 1));
        end = end.or_else(|| peers.accept(listener));
        let Some(end) = end else { return Next::OnEvent };
        let now = peers.now();
        if moved.0 != tally.bytes_to_client.get() || written.get() == 0 {
            moved = (tally.bytes_to_client.get(), now);
        }
        // What moves again later does not have it go on: it has sent what it had to say.
        full = full || now >= moved.1 + SECOND / 50;
        if !full {
            // Little enough that what is on its way by then fits into any receive queue.
            if now >= next {
                next = now + SOON;
                written.set(written.get() + peers.write(end, &[0; 20]).unwrap_or(0) as u64);
            }
            return Next::At(next);
        }
        let mut buffer = [0; 16];
        while let Ok(length) = peers.read(end, &mut buffer) {
            if length == 0 {
                ended.set(true);
                peers.close(end);
                return Next::Done;
            }
        }
        Next::OnEvent
    });
    (sent, in_order)
}

#[test]
fn what_came_while_the_client_did_not_read_is_delivered_too() {
    for seed in 0..12 {
        let mut settings = settings(vec![pool(0, 1)]);
        settings.seed = seed;
        settings.linger_timeout = HOUR;
        settings.faults.caps_receives = seed % 4 < 2;
        let mut stage = Stage::new(settings);
        let (sent, in_order) = trickling(&stage);
        // The way to the client has been full for long by then.
        stage.tell(60 * SECOND, end_sessions(0));
        let received = deaf_client(&stage, 61 * SECOND);
        let seen = received.clone();
        let told = stage.moment(60 * SECOND, move || seen.get().is_some());
        let seen = received.clone();
        stage.drain(Time::default() + 2 * HOUR, HOUR, move || seen.get().is_some());
        stage.run();
        assert_eq!(received.get(), Some(sent.get()), "seed {seed}");
        assert!(told.get().unwrap() < 70 * SECOND, "seed {seed}: {told:?}");
        assert!(in_order.get(), "seed {seed}: the backend saw the end");
        assert_eq!(stage.ended(CloseReason::BackendLost), 1);
    }
}

/// A session that is ended when it is a second old, and whose backend sends nothing but one piece,
/// at `piece`: when it had its backend, and when its client was told of the end.
fn aged(seed: u64, piece: Duration) -> [Duration; 2] {
    let mut settings = settings(vec![pool(0, 1)]);
    settings.seed = seed;
    settings.faults.caps_receives = seed != 1;
    settings.listeners[0].max_connection_age = Some(SECOND);
    let mut stage = Stage::new(settings);
    let (mut listener, mut end, mut sent) = (None, None, false);
    stage.world.spawn(Time::default(), move |peers: &mut Peers<'_>| {
        let listener = *listener.get_or_insert_with(|| peers.listen(address(0, 0), 1));
        end = end.or_else(|| peers.accept(listener));
        let Some(end) = end else { return Next::OnEvent };
        if peers.now() < Time::default() + piece {
            return Next::At(Time::default() + piece);
        }
        if !std::mem::replace(&mut sent, true) {
            peers.write(end, b"piece").unwrap();
        }
        while let Ok(length) = peers.read(end, &mut [0; 16]) {
            if length == 0 {
                peers.close(end);
                return Next::Done;
            }
        }
        Next::OnEvent
    });
    // A worker that does not rest has turns of a microsecond.
    let (inbox, tally) = (stage.inbox.clone(), stage.sessions_of(0).remove(0));
    stage.world.spawn(Time::default() + piece, move |peers: &mut Peers<'_>| {
        let late = peers.now() > Time::default() + piece + 50 * MICROSECOND;
        if late || tally.bytes_to_client.get() > 0 {
            return Next::Done;
        }
        inbox.wake();
        peers.after(MICROSECOND)
    });
    let received = deaf_client(&stage, Duration::ZERO);
    let seen = received.clone();
    let told = stage.moment(SECOND, move || seen.get().is_some());
    stage.drain(Time::default() + HOUR, Duration::ZERO, move || received.get().is_some());
    stage.run();
    assert_eq!(stage.ended(CloseReason::MaxAge), 1);
    let record = stage.records().remove(0);
    let served = Duration::from_nanos(record.accepted_unix_ns) + record.connect.unwrap();
    [served, told.get().unwrap()]
}

#[test]
fn a_session_that_is_ended_in_the_very_turn_of_a_piece_is_not_held_up() {
    for seed in [1, 6, 8] {
        let [served, _] = aged(seed, SECOND / 2);
        // Timers ring when a tick of 2^20 nanoseconds is over.
        let over = (served + SECOND).as_nanos().next_multiple_of(1 << 20);
        let over = Duration::from_nanos(over as u64);
        // A piece is on its way for a few of these.
        for before in 0..40 {
            let [_, told] = aged(seed, over - before * MICROSECOND);
            assert!(told < over + 10 * SOON, "seed {seed}, {before}: {told:?}");
        }
    }
}

#[test]
fn a_backend_that_goes_on_sending_does_not_keep_the_client_from_hearing_of_the_end() {
    let mut longest = Duration::ZERO;
    for (seed, pipes) in (0..12).flat_map(|seed| [(seed, 0), (seed, 8)]) {
        let mut settings = settings(vec![pool(0, 1)]);
        settings.linger_timeout = SECOND;
        settings.seed = seed;
        settings.engine.pipes.count = pipes;
        let mut stage = Stage::new(settings);
        let log = stage.backend(0, 0, Kind::StayingSource { length: u64::MAX });
        let client = stage.client(SOON, Plan { answer: Answer::Source, ..staying(1) });
        stage.tell(SECOND / 10, end_sessions(0));
        let told = told(&stage, &client);
        stage.run_until_done([&client]);
        assert_eq!(client.get().fate, Fate::Done, "seed {seed}, {pipes}");
        assert_eq!((log.borrow().failed, log.borrow().ended.len()), (0, 1), "seed {seed}, {pipes}");
        longest = longest.max(told.get().unwrap());
    }
    // Some client is slower than its backend, so that there is always more.
    assert!((SECOND / 2..SECOND).contains(&longest), "{longest:?}");
}

#[test]
fn a_session_that_loses_its_buffers_while_it_is_closed_was_closed_for_the_first_reason() {
    let mut settings = settings(vec![pool(0, 1)]);
    // As much as one session holds while it is closed.
    settings.engine.stalled_share = 2;
    settings.engine.pipes.count = 0;
    let mut stage = Stage::new(settings);
    stage.backend(0, 0, Kind::NeverRead);
    let plenty = |stream| Plan { chunk: 64 << 10, ending: Ending::Stay, ..plan(stream, 1 << 20) };
    let [closed, stalls] =
        [1, 20].map(|second| stage.client(SECOND * second, plenty(second.into())));
    // It delivers what it can for a minute, unless the next one that stalls takes its share.
    stage.tell(10 * SECOND, end_sessions(0));
    let seen = closed.clone();
    let over = stage.moment(10 * SECOND, move || crate::stage::is_over(&seen));
    stage.drain(Time::default() + 40 * SECOND, Duration::ZERO, || false);
    stage.run();
    assert!((20 * SECOND..30 * SECOND).contains(&over.get().unwrap()), "{over:?}");
    // Its client hears of the reset by a receive or by a send, whichever comes first.
    assert!(matches!(closed.get().fate, Fate::Failed(_)), "{:?}", closed.get().fate);
    assert_ne!(stalls.get().fate, Fate::Done);
    let reasons: Vec<_> = stage.records().iter().map(|record| record.reason).collect();
    assert_eq!(reasons, [CloseReason::BackendLost, CloseReason::Drained]);
}

#[test]
fn a_client_that_has_ended_its_stream_gets_all_of_its_answer() {
    let mut stage = Stage::new(settings(vec![pool(0, 1)]));
    // About three seconds of reading, and the answer after that is the end.
    let pause = Duration::from_millis(100);
    let log = stage.backend(0, 0, Kind::SlowReader { chunk: 1000, pause });
    let client = stage.client(SOON, Plan { chunk: 30_000, ..plan(1, 30_000) });
    stage.tell(SECOND, end_sessions(0));
    let told = told(&stage, &client);
    stage.run_until_done([&client]);
    assert_eq!((client.get().fate, log.borrow().received[&1]), (Fate::Done, 30_000));
    assert!(told.get().unwrap() > 2 * SECOND, "it is not cut off: {told:?}");
    assert_eq!(stage.ended(CloseReason::BackendLost), 1);
}

#[test]
fn who_is_about_to_reach_a_lost_backend_is_served_by_the_next() {
    let mut pool = pool(0, 2);
    pool.settings.connect_timeout = HOUR;
    let mut settings = settings(vec![pool]);
    settings.listeners[0].failure_window = Some(SECOND);
    let mut stage = Stage::new(settings);
    stage.backend(0, 0, Kind::BlackHole);
    stage.backend(0, 1, Kind::Echo);
    let clients = [1, 2].map(|stream| stage.client(SOON, plan(stream, 1000)));
    stage.tell(2 * SECOND, end_sessions(0));
    let all = clients.clone();
    let over = stage.moment(SECOND, move || all.iter().all(crate::stage::is_over));
    stage.run_until_done(&clients);
    assert_at(&over, 2 * SECOND);
    assert_eq!(stage.ended(CloseReason::Finished), 2);
    let lost = &stage.pools[0].members()[0].backend;
    assert_eq!(lost.failures_in_a_row(), 0, "that was no failure");
}

#[test]
fn a_backend_that_is_lost_in_the_middle_of_a_connect_sees_no_reset() {
    let mut given_up = 0;
    for (seed, step) in (0..8).flat_map(|seed| (0..24).map(move |step| (seed, step))) {
        let mut settings = settings(vec![pool(0, 2)]);
        settings.seed = seed;
        let mut stage = Stage::new(settings);
        let logs = [0, 1].map(|number| stage.backend(0, number, Kind::Echo));
        let client = stage.client(SOON, plan(1, 1000));
        stage.tell(SOON + step * 100 * MICROSECOND, end_sessions(0));
        stage.run_until_done([&client]);
        assert_eq!(client.get().fate, Fate::Done, "seed {seed}, {step}");
        assert!(logs.iter().all(|log| log.borrow().failed == 0), "seed {seed}, {step}");
        given_up += stage.records().iter().filter(|record| !record.tried.is_empty()).count();
    }
    assert!(given_up > 0, "none was in the middle");
}

#[test]
fn commands_are_followed_during_a_drain() {
    let mut stage = Stage::new(settings(vec![pool(0, 1)]));
    stage.backend(0, 0, Kind::Echo);
    let clients = [1, 2, 3].map(|stream| stage.client(SOON, staying(stream)));
    stage.drain(Time::default() + SECOND, HOUR, || false);
    stage.tell(2 * SECOND, rebalance(1));
    stage.tell(3 * SECOND, end_sessions(0));
    let told = clients.each_ref().map(|client| told(&stage, client));
    stage.run();
    let mut told = told.map(|told| told.get().unwrap().as_secs());
    told.sort();
    assert_eq!(told, [2, 3, 3]);
    assert_eq!(stage.ended(CloseReason::Rebalanced), 1);
    assert_eq!(stage.ended(CloseReason::BackendLost), 2);
}

#[test]
fn whoever_has_been_idle_for_the_longest_time_is_moved_first() {
    let mut stage = Stage::new(settings(vec![pool(0, 1)]));
    let log = stage.backend(0, 0, Kind::Echo);
    // The first comes long before the others, and goes on sending.
    let busy = stage.client(SOON, slow(1));
    let idle = [4, 2, 3].map(|second| stage.client(second * SECOND, staying(second.into())));
    stage.tell(6 * SECOND, rebalance(2));
    stage.tell(8 * SECOND, rebalance(1));
    let told = idle.each_ref().map(|client| told(&stage, client));
    stage.run_until_done(idle.iter().chain([&busy]));
    for (told, second) in told.iter().zip([8, 6, 6]) {
        assert_at(told, second * SECOND);
    }
    assert_eq!((busy.get().fate, busy.get().received), (Fate::Done, 100_000));
    assert_eq!(stage.ended(CloseReason::Rebalanced), 3);
    assert_eq!(stage.ended(CloseReason::Finished), 1);
    assert_eq!(log.borrow().failed, 0);
}

/// A run of clients that stay until they are told; how long after its start each one was told.
fn ages(jitter: u8) -> Vec<Duration> {
    let mut settings = settings(vec![pool(0, 1)]);
    settings.listeners[0].max_connection_age = Some(100 * SECOND);
    settings.listeners[0].max_connection_age_jitter = jitter;
    let mut stage = Stage::new(settings);
    let log: Rc<RefCell<_>> = stage.backend(0, 0, Kind::Echo);
    let start = |stream: u64| SECOND * stream as u32;
    let clients: Vec<_> =
        (1..=40).map(|stream| stage.client(start(stream), staying(stream))).collect();
    let told: Vec<_> = clients.iter().map(|client| told(&stage, client)).collect();
    stage.run_until_done(&clients);
    assert_eq!(stage.ended(CloseReason::MaxAge), 40);
    assert!(clients.iter().all(|client| client.get().fate == Fate::Done));
    assert!(clients.iter().all(|client| client.get().received == 100));
    assert_eq!((log.borrow().failed, log.borrow().ended.len()), (0, 40));
    (1..).zip(told).map(|(stream, told)| told.get().unwrap() - start(stream)).collect()
}

#[test]
fn a_session_is_closed_at_its_age() {
    for age in ages(0) {
        assert!((100 * SECOND..101 * SECOND).contains(&age), "{age:?}");
    }
}

#[test]
fn the_ages_are_spread_by_the_jitter_and_no_further() {
    let ages = ages(20);
    let (least, most) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
    assert!(*least >= 80 * SECOND && *most < 121 * SECOND, "{least:?} to {most:?}");
    assert!(*least < 90 * SECOND && *most > 110 * SECOND, "{least:?} to {most:?}");
}

#[test]
fn an_age_does_not_lengthen_how_long_a_session_may_be_idle() {
    let mut settings = settings(vec![pool(0, 1)]);
    settings.listeners[0].max_connection_age = Some(100 * SECOND);
    settings.listeners[0].idle_timeout = Some(50 * SECOND);
    let mut stage = Stage::new(settings);
    stage.backend(0, 0, Kind::Echo);
    let idle = stage.client(SOON, staying(1));
    // It sends for 150 seconds.
    let busy = Plan { chunk: 1, pause: 10 * SECOND, ..plan(2, 30) };
    let busy = stage.client(SOON, busy);
    let told = [&idle, &busy].map(|client| told(&stage, client));
    stage.run_until_done([&idle, &busy]);
    assert_at(&told[0], 50 * SECOND);
    assert_at(&told[1], 100 * SECOND);
    assert_eq!(stage.ended(CloseReason::IdleTimeout), 1);
    assert_eq!(stage.ended(CloseReason::MaxAge), 1);
}
