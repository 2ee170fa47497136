//! What sessions say of their backend: which of them count for it, against it, or not at all.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ringmain::engine::Time;
use ringmain::engine::driver::simulated::{EndpointId, Faults, ListenerId, Next, Peers};
use ringmain::observe::CloseReason;
use ringmain::proxy::Command;

use crate::actors::{Ending, Kind, Plan};
use crate::stage::{HOUR, Settings, Stage, address, is_over, plan, pool};

const SECOND: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(10);
/// The failures in a row before each case.
const BEFORE: u32 = 3;

/// One backend, with some failures in a row.
fn stage(change: impl FnOnce(&mut Settings)) -> Stage {
    let mut settings = Settings::plenty(vec![pool(0, 1)]);
    settings.listeners[0].failure_window = Some(WINDOW);
    change(&mut settings);
    let stage = Stage::new(settings);
    (0..BEFORE).for_each(|_| stage.pools[0].members()[0].backend.failed());
    stage
}

/// Serves one client; asserts why its session ended, and the failures in a row after it.
fn assert_row(mut stage: Stage, plan: Plan, reason: CloseReason, row: u32) {
    let client = stage.client(SECOND, plan.clone());
    let seen = client.clone();
    stage.drain(Time::default() + 100 * SECOND, HOUR, move || is_over(&seen));
    stage.run();
    assert_eq!(stage.ended(reason), 1, "{plan:?}: {:?}", stage.records());
    let backend = &stage.pools[0].members()[0].backend;
    assert_eq!(backend.failures_in_a_row(), row, "{}: {plan:?}", reason.as_str());
}

/// A backend that resets its only connection so long after it was accepted.
fn resetting_after(stage: &Stage, delay: Duration) {
    let (mut listener, mut end) = (None::<ListenerId>, None::<(EndpointId, Time)>);
    stage.world.spawn(Time::default(), move |peers: &mut Peers<'_>| {
        let listener = *listener.get_or_insert_with(|| peers.listen(address(0, 0), 1));
        end = end.or_else(|| peers.accept(listener).map(|end| (end, peers.now() + delay)));
        match end {
            Some((end, time)) if peers.now() >= time => {
                peers.reset(end);
                Next::Done
            }
            Some((_, time)) => Next::At(time),
            None => Next::OnEvent,
        }
    });
}

fn staying() -> Plan {
    Plan { ending: Ending::Stay, ..plan(1, 100) }
}

#[test]
fn a_backend_that_cannot_be_reached_has_failed() {
    let refusing = stage(|_| {});
    assert_row(refusing, plan(1, 100), CloseReason::ConnectFailed, BEFORE + 1);
    let silent = stage(|_| {});
    silent.backend(0, 0, Kind::BlackHole);
    assert_row(silent, plan(1, 100), CloseReason::ConnectTimeout, BEFORE + 1);
}

#[test]
fn a_reset_counts_as_a_failure_only_soon_after_the_connect() {
    for (delay, row) in
        [(Duration::ZERO, BEFORE + 1), (WINDOW - SECOND, BEFORE + 1), (WINDOW + SECOND, BEFORE)]
    {
        let stage = stage(|_| {});
        resetting_after(&stage, delay);
        assert_row(stage, staying(), CloseReason::BackendReset, row);
    }
    let answering = stage(|_| {});
    answering.backend(0, 0, Kind::ResetAfter { received: 50 });
    assert_row(answering, staying(), CloseReason::BackendReset, BEFORE + 1);
}

#[test]
fn a_reset_is_judged_by_when_it_came_and_not_by_how_long_the_client_takes_what_was_before() {
    let stage = stage(|settings| settings.linger_timeout = 2 * WINDOW);
    let (mut listener, mut end) = (None::<ListenerId>, None::<EndpointId>);
    stage.world.spawn(Time::default(), move |peers: &mut Peers<'_>| {
        let listener = *listener.get_or_insert_with(|| peers.listen(address(0, 0), 1));
        end = end.or_else(|| peers.accept(listener));
        let Some(end) = end else { return Next::OnEvent };
        while peers.write(end, &[0; 4096]).is_ok() {}
        if peers.now() >= Time::default() + 5 * SECOND {
            peers.reset(end);
            return Next::Done;
        }
        Next::At(Time::default() + 5 * SECOND)
    });
    let mut stage = stage;
    let failure = crate::stage::silent_client(&stage, SECOND, 1);
    let seen = failure.clone();
    stage.drain(Time::default() + 100 * SECOND, HOUR, move || seen.get().is_some());
    stage.run();
    assert_eq!(stage.ended(CloseReason::BackendReset), 1);
    assert!(stage.records()[0].total > WINDOW, "the client has not taken it at once");
    assert_eq!(stage.pools[0].members()[0].backend.failures_in_a_row(), BEFORE + 1);
}

#[test]
fn what_the_client_or_we_have_caused_counts_neither_way() {
    type Change = fn(&mut Settings);
    let echo = Some(Kind::Echo);
    let cases: [(Change, Option<Kind>, Ending, CloseReason); 7] = [
        (|_| {}, echo, Ending::Reset, CloseReason::ClientReset),
        (|_| {}, Some(Kind::NeverRead), Ending::Stay, CloseReason::Drained),
        (|_| {}, Some(Kind::Sink), Ending::Stay, CloseReason::Drained),
        (
            |settings| settings.listeners[0].idle_timeout = Some(20 * SECOND),
            echo,
            Ending::Stay,
            CloseReason::IdleTimeout,
        ),
        (
            |settings| settings.listeners[0].half_closed_timeout = 20 * SECOND,
            Some(Kind::NeverRead),
            Ending::HalfClose,
            CloseReason::HalfClosedTimeout,
        ),
        (
            |settings| settings.listeners[0].max_connection_age = Some(5 * SECOND),
            echo,
            Ending::Stay,
            CloseReason::MaxAge,
        ),
        (
            |settings| settings.faults = Faults { no_port: 1000, ..Faults::none() },
            echo,
            Ending::Stay,
            CloseReason::SourcePorts,
        ),
    ];
    for (change, kind, ending, reason) in cases {
        let stage = stage(change);
        kind.map(|kind| stage.backend(0, 0, kind));
        assert_row(stage, Plan { ending, ..plan(1, 100) }, reason, BEFORE);
    }
    let starving = stage(|_| {});
    // The standard streams, the listener, and the client.
    starving.world.limit_descriptors(3 + 1 + 1);
    starving.backend(0, 0, Kind::Echo);
    assert_row(starving, plan(1, 100), CloseReason::Descriptors, BEFORE);
}

#[test]
fn neither_does_a_close_that_was_commanded() {
    let (pool, backend) = ("pool-0".into(), "backend-0".into());
    let ended = stage(|_| {});
    ended.backend(0, 0, Kind::Echo);
    ended.tell(20 * SECOND, Command::EndSessions { pool, backend });
    assert_row(ended, staying(), CloseReason::BackendLost, BEFORE);
}

#[test]
fn a_session_that_ends_well_clears_the_row() {
    for kind in [Kind::Echo, Kind::Sink, Kind::Source { length: 10 }] {
        let stage = stage(|_| {});
        stage.backend(0, 0, kind);
        let answer = match kind {
            Kind::Source { .. } => crate::actors::Answer::Source,
            _ => crate::actors::Answer::Echo,
        };
        assert_row(stage, Plan { answer, ..plan(1, 100) }, CloseReason::Finished, 0);
    }
}

#[test]
fn a_backend_that_only_closes_what_it_accepts_clears_nothing() {
    let stage = stage(|_| {});
    stage.backend(0, 0, Kind::CloseAfter { received: 0 });
    assert_row(stage, Plan { ending: Ending::Stay, ..plan(1, 8) }, CloseReason::Finished, BEFORE);
}

#[test]
fn a_session_that_still_moves_bytes_after_the_window_clears_the_row_before_it_ends() {
    for (kind, clears) in [(Kind::Sink, true), (Kind::Echo, true)] {
        let stage = stage(|_| {});
        stage.backend(0, 0, kind);
        let backend = stage.pools[0].members()[0].backend.clone();
        let cleared = stage.moment(Duration::ZERO, move || backend.failures_in_a_row() == 0);
        // It sends for about a minute.
        let plan = Plan { chunk: 1, pause: SECOND, ending: Ending::Stay, ..plan(1, 120) };
        let cleared = Rc::clone(&cleared);
        assert_row(stage, plan, CloseReason::Drained, 0);
        let moment: Option<Duration> = Cell::get(&cleared);
        let expected = SECOND + WINDOW..SECOND + WINDOW + 2 * SECOND;
        assert_eq!(moment.is_some_and(|moment| expected.contains(&moment)), clears, "{moment:?}");
    }
}

#[test]
fn a_backend_that_accepts_and_resets_gathers_failures() {
    let mut stage = stage(|_| {});
    stage.backend(0, 0, Kind::ResetAfter { received: 0 });
    let start = |stream: u64| SECOND * stream as u32;
    let clients: Vec<_> =
        (1..=5).map(|stream| stage.client(start(stream), plan(stream, 100))).collect();
    stage.run_until_done(&clients);
    assert_eq!(stage.ended(CloseReason::BackendReset), 5);
    assert_eq!(stage.pools[0].members()[0].backend.failures_in_a_row(), BEFORE + 5);
}

#[test]
fn without_a_window_nothing_is_counted() {
    let refusing = stage(|settings| settings.listeners[0].failure_window = None);
    assert_row(refusing, plan(1, 100), CloseReason::ConnectFailed, BEFORE);
    let healthy = stage(|settings| settings.listeners[0].failure_window = None);
    healthy.backend(0, 0, Kind::Echo);
    assert_row(healthy, plan(1, 100), CloseReason::Finished, BEFORE);
}
