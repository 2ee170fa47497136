//! How sessions end that do not end by themselves: in order when the worker drains, and with a
//! reset when a party was reset, also while the other one does not read.

use std::io;
use std::time::Duration;

use ringmain::engine::Time;
use ringmain::engine::driver::simulated::{EndpointId, Next, Peers};
use ringmain::observe::CloseReason;
use ringmain::proxy::Command;

use crate::actors::{Fate, Kind, Plan};
use crate::stage::{ANYWHERE, HOUR, Settings, Stage, address, front, plan, pool, silent_client};

fn at(time: Duration) -> Time {
    Time::default() + time
}

#[test]
fn a_session_closed_for_a_drain_still_delivers_what_its_client_sends() {
    let mut settings = Settings::plenty(vec![pool(0, 1)]);
    settings.linger_timeout = Duration::from_secs(30);
    let mut stage = Stage::new(settings);
    let log = stage.backend(0, 0, Kind::Sink);
    // About ten seconds of sending, with the drain's limit in the midst of it.
    let slow = Plan { chunk: 1000, pause: Duration::from_millis(100), ..plan(1, 100_000) };
    let client = stage.client(Duration::ZERO, slow);
    stage.drain(at(Duration::from_secs(1)), Duration::from_secs(1), || false);
    let seen = client.clone();
    let told = stage.moment(Duration::ZERO, move || seen.get().end_seen);
    stage.run();
    assert!(told.get().unwrap() < Duration::from_millis(2100), "the client is told at once");
    assert_eq!((client.get().fate, client.get().sent), (Fate::Done, 100_000));
    assert_eq!(log.borrow().received[&1], 100_000);
    assert!(log.borrow().ended.contains(&1));
    assert_eq!(stage.ended(CloseReason::Drained), 1);
}

#[test]
fn a_session_that_ends_within_the_drain_limit_notices_nothing() {
    let mut stage = Stage::new(Settings::plenty(vec![pool(0, 1)]));
    stage.backend(0, 0, Kind::Echo);
    let slow = Plan { chunk: 1000, pause: Duration::from_millis(100), ..plan(1, 100_000) };
    let client = stage.client(Duration::ZERO, slow);
    let late = stage.client(Duration::from_secs(2), plan(2, 100));
    stage.drain(at(Duration::from_secs(1)), HOUR, || false);
    stage.run();
    assert_eq!((client.get().fate, client.get().received), (Fate::Done, 100_000));
    assert_eq!(late.get().fate, Fate::Failed(io::ErrorKind::ConnectionRefused));
    assert_eq!(stage.ended(CloseReason::Finished), 1);
}

#[test]
fn a_stop_ends_everything_at_once() {
    let mut stage = Stage::new(Settings::plenty(vec![pool(0, 1)]));
    stage.backend(0, 0, Kind::Echo);
    let slow = |stream| Plan { pause: Duration::from_millis(100), ..plan(stream, 1 << 20) };
    let clients = [1, 2, 3].map(|stream| stage.client(Duration::ZERO, slow(stream)));
    let inbox = stage.inbox.clone();
    stage.at(Duration::from_secs(1), move |_| inbox.push(Command::Stop).unwrap());
    stage.run();
    assert!(clients.iter().all(|client| client.get().sent < 1 << 20));
    assert_eq!(stage.ended(CloseReason::Drained), 3);
}

/// Writes whatever fits, and resets the connection at `RESET`.
fn flood(peers: &mut Peers<'_>, end: EndpointId) -> Next {
    if peers.now() >= at(RESET) {
        peers.reset(end);
        return Next::Done;
    }
    while peers.write(end, &[0; 4096]).is_ok() {}
    Next::At(at(RESET))
}

const RESET: Duration = Duration::from_secs(5);
const LINGER: Duration = Duration::from_secs(2);

/// A stage with one backend; bytes are copied, or spliced after the first ones.
fn stalling(pipes: u32) -> Stage {
    let mut settings = Settings::plenty(vec![pool(0, 1)]);
    settings.engine.pipes.count = pipes;
    // Small, so that they are full and the flow counts as a large one.
    settings.engine.buffers.size = 64;
    settings.linger_timeout = LINGER;
    Stage::new(settings)
}

/// Runs until the session has ended for `reason`, and asserts that the reset was noticed.
fn assert_noticed(stage: &mut Stage, reason: CloseReason, spliced: bool) {
    let accounts = stage.sessions_of(0).remove(0);
    let ended = {
        let accounts = accounts.clone();
        stage.moment(Duration::ZERO, move || accounts.sessions_closed.get(reason) == 1)
    };
    let seen = ended.clone();
    stage.drain(at(HOUR), Duration::ZERO, move || seen.get().is_some());
    stage.run();
    let ended = ended.get().unwrap();
    assert!(ended >= RESET, "{ended:?}");
    assert!(ended < RESET + LINGER + Duration::from_millis(10), "{ended:?}");
    assert_eq!(accounts.splice_promotions.get() > 0, spliced);
}

#[test]
fn a_clients_reset_is_noticed_while_the_backend_does_not_read() {
    for pipes in [0, 8] {
        let mut stage = stalling(pipes);
        let log = stage.backend(0, 0, Kind::NeverRead);
        let mut end = None;
        stage.world.spawn(Time::default(), move |peers: &mut Peers<'_>| {
            let end = *end.get_or_insert_with(|| peers.connect(ANYWHERE, front(0)).unwrap());
            flood(peers, end)
        });
        assert_noticed(&mut stage, CloseReason::ClientReset, pipes > 0);
        assert_eq!(log.borrow().accepted, 1);
    }
}

#[test]
fn a_backends_reset_is_noticed_while_the_client_does_not_read_and_reaches_the_client() {
    for pipes in [0, 8] {
        let mut stage = stalling(pipes);
        let (mut listener, mut end) = (None, None);
        stage.world.spawn(Time::default(), move |peers: &mut Peers<'_>| {
            let listener = *listener.get_or_insert_with(|| peers.listen(address(0, 0), 1));
            end = end.or_else(|| peers.accept(listener));
            end.map_or(Next::OnEvent, |end| flood(peers, end))
        });
        let failure = silent_client(&stage, Duration::ZERO, 1);
        assert_noticed(&mut stage, CloseReason::BackendReset, pipes > 0);
        assert_eq!(failure.get(), Some(io::ErrorKind::ConnectionReset));
    }
}
