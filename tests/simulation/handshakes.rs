//! TLS handshakes when there are too many: who waits, for how long, and whom that is held against.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use ringmain::balance::PoolId;
use ringmain::engine::Time;
use ringmain::engine::driver::simulated::{Next, Peers};
use ringmain::observe::CloseReason;

use crate::actors::{Backend, Ending, Fate, Kind, Plan};
use crate::security::{Keyring, Security, Wire};
use crate::stage::{ANYWHERE, HOUR, ListenerSettings, Settings, Stage, address, front, is_over};
use crate::stage::{plan, pool};

const SECOND: Duration = Duration::from_secs(1);

/// A client that says so much, and then nothing more until it is cut.
fn stalled(stage: &Stage, start: Duration, listener: usize, said: Vec<u8>) {
    let (mut end, mut has_spoken) = (None, false);
    stage.world.spawn(Time::default() + start, move |peers: &mut Peers<'_>| {
        let end = *end.get_or_insert_with(|| peers.connect(ANYWHERE, front(listener)).unwrap());
        match peers.is_connected(end) {
            Ok(connected) => {
                if connected && !std::mem::replace(&mut has_spoken, true) {
                    assert_eq!(peers.write(end, &said).unwrap(), said.len());
                }
                Next::OnEvent
            }
            Err(_) => {
                peers.close(end);
                Next::Done
            }
        }
    });
}

/// A whole hello.
fn hello(wire: &Wire) -> Vec<u8> {
    let (mut connection, _) = wire.connection().unwrap();
    let mut said = vec![0; connection.output_len()];
    connection.take_output(&mut said);
    said
}

/// The beginning of a hello of which the rest never comes.
fn half_a_hello(length: usize) -> Vec<u8> {
    let mut said = vec![22, 3, 1, 0x0f, 0x00, 1, 0, 0x0e, 0xfc, 3, 3];
    said.resize(length, 0);
    said
}

fn secure_backend(stage: &Stage, keys: &Keyring, pool: usize) {
    let wire = keys.backend(Security::Origination);
    let (backend, _) = Backend::new(address(pool, 0), 4096, Kind::Echo, wire);
    stage.world.spawn(Time::default(), backend);
}

#[test]
fn whoever_waits_for_a_place_has_its_own_deadline_and_then_is_cut() {
    // The listeners' time-outs differ, so that a place may be held for longer than others wait.
    let [long, short] = [10, 1].map(|seconds| Keyring::new(seconds * SECOND));
    let prefaces = [(0, &long), (1, &short)];
    let prefaces =
        prefaces.map(|(index, keys)| keys.preface(Security::Termination, PoolId(index), HOUR));
    let mut stage = Stage::new(Settings {
        prefaces: prefaces.into(),
        handshakes: 1,
        ..Settings::plenty(vec![pool(0, 1), pool(1, 1)])
    });
    stage.backend(1, 0, Kind::Echo);
    let wire = short.client(Security::Termination, &mut Rng::with_seed(1));
    stalled(&stage, Duration::ZERO, 0, hello(&wire));
    let client = |start, stream| {
        let target = front(1);
        stage.client(start, Plan { target, wire: wire.clone(), ..plan(stream, 100) })
    };
    let [in_vain, in_time] = [client(SECOND / 2, 1), client(19 * SECOND / 2, 2)];
    let over = [&in_vain, &in_time].map(|outcome| {
        let outcome = Rc::clone(outcome);
        stage.moment(Duration::ZERO, move || is_over(&outcome))
    });
    stage.run_until_done([&in_vain, &in_time]);
    assert!(matches!(in_vain.get().fate, Fate::Failed(_)), "{in_vain:?}");
    assert_eq!(in_time.get().fate, Fate::Done);
    let [in_vain, in_time] = over.map(|over| over.get().unwrap());
    assert!((3 * SECOND / 2..8 * SECOND / 5).contains(&in_vain), "{in_vain:?}");
    assert!((10 * SECOND..11 * SECOND).contains(&in_time), "{in_time:?}");
    let timed_out = [0, 1].map(|index| stage.ended_at(index, CloseReason::HandshakeTimeout));
    assert_eq!(timed_out, [1, 1]);
    assert_eq!(stage.metrics.tally.tls_handshakes_delayed.get(), 2);
}

/// Whoever has a session waits for no more of them than that.
#[test]
fn of_hands_that_could_be_shaken_at_once_few_are_in_a_turn() {
    const CLIENTS: u64 = 1_000;
    let keys = Keyring::new(HOUR);
    let prefaces = vec![keys.preface(Security::Termination, PoolId(0), HOUR)];
    let mut stage =
        Stage::new(Settings { prefaces, handshakes: 1_000, ..Settings::plenty(vec![pool(0, 1)]) });
    stage.world.even_out(64 << 10, Duration::from_micros(100));
    stage.backend(0, 0, Kind::Echo);
    let mut random = Rng::with_seed(1);
    let clients: Vec<_> = (1..=CLIENTS)
        .map(|stream| {
            let wire = keys.client(Security::Termination, &mut random);
            stage.client(Duration::ZERO, Plan { wire, ..plan(stream, 100) })
        })
        .collect();
    // A turn takes at least so long, so that two can end between two looks.
    const TURN: Duration = Duration::from_micros(1);
    let (accounts, most) = (stage.listener(0), Rc::new(Cell::new(0)));
    let (mut before, seen) = (0, Rc::clone(&most));
    stage.world.spawn(Time::default(), move |peers: &mut Peers<'_>| {
        let shaken = accounts.handshakes.full.get() + accounts.handshakes.resumed.get();
        seen.set(seen.get().max(shaken - before));
        before = shaken;
        if shaken < CLIENTS { peers.after(TURN) } else { Next::Done }
    });
    stage.run_until_done(&clients);
    assert!(clients.iter().all(|client| client.get().fate == Fate::Done));
    println!("{} at most", most.get());
    assert!((1..=8).contains(&most.get()), "{}", most.get());
}

#[test]
fn backends_have_their_time_from_the_place_on_and_our_want_of_one_is_not_their_fault() {
    let keys = Keyring::new(2 * SECOND);
    let settings = Settings::plenty(vec![pool(0, 1), pool(1, 1)]);
    let failure_window = Some(SECOND);
    let listeners = settings.listeners.iter();
    let listeners = listeners.map(|it| ListenerSettings { failure_window, ..*it }).collect();
    let pools_tls = vec![keys.towards(Security::Origination); 2];
    let mut stage = Stage::new(Settings { listeners, pools_tls, handshakes: 1, ..settings });
    // One takes connections and says nothing, the other is well.
    stage.backend(0, 0, Kind::NeverRead);
    secure_backend(&stage, &keys, 1);
    let starts = [0, 1, 2].map(|start| start * SECOND / 2);
    let clients: Vec<_> =
        (1..).zip(starts).map(|(stream, start)| stage.client(start, plan(stream, 100))).collect();
    let other = Plan { target: front(1), ..plan(9, 100) };
    let other = stage.client(SECOND, other);
    let over: Vec<_> = (clients.iter().chain([&other]))
        .map(|outcome| {
            let outcome = Rc::clone(outcome);
            stage.moment(Duration::ZERO, move || is_over(&outcome))
        })
        .collect();
    stage.run_until_done(clients.iter().chain([&other]));
    let over: Vec<_> = over.iter().map(|over| over.get().unwrap().as_millis() / 100).collect();
    // The second one's handshake begins when the first one's time is over; the third one's never.
    assert_eq!(over, [20, 40, 30, 10], "tenths of seconds");
    assert_eq!(stage.ended(CloseReason::BackendTls), 2);
    assert_eq!(stage.ended(CloseReason::HandshakeTimeout), 1);
    assert_eq!(other.get().fate, Fate::Done, "another pool's handshakes are apart");
    let backend = &stage.pools[0].members()[0].backend;
    assert_eq!(backend.failures_in_a_row(), 2, "it is blamed for those that it was asked for");
}

#[test]
fn a_client_that_leaves_while_it_waits_for_a_place_towards_a_backend_is_noticed() {
    let keys = Keyring::new(10 * SECOND);
    let pools_tls = vec![keys.towards(Security::Origination)];
    let mut stage =
        Stage::new(Settings { pools_tls, handshakes: 1, ..Settings::plenty(vec![pool(0, 1)]) });
    stage.backend(0, 0, Kind::NeverRead);
    let first = stage.client(Duration::ZERO, plan(1, 100));
    let leaving = Plan { ending: Ending::Reset, ..plan(2, 100) };
    let leaving = stage.client(SECOND, leaving);
    let accounts = stage.listener(0);
    let left = stage.moment(Duration::ZERO, move || {
        accounts.sessions_closed.get(CloseReason::ClientAborted) == 1
    });
    stage.run_until_done([&first, &leaving]);
    assert!(left.get().unwrap() < 2 * SECOND, "{left:?}");
}

#[test]
fn hellos_that_never_become_whole_give_way_and_keep_nobody_out() {
    let keys = Keyring::new(HOUR);
    let prefaces = vec![keys.preface(Security::Termination, PoolId(0), 60 * SECOND)];
    let hello_memory = 4096;
    let settings = Settings::plenty(vec![pool(0, 1)]);
    let mut stage = Stage::new(Settings { prefaces, hello_memory, ..settings });
    stage.backend(0, 0, Kind::Echo);
    for number in 0..100 {
        stalled(&stage, number * SECOND / 10, 0, half_a_hello(1_000));
    }
    let metrics = stage.metrics.clone();
    let exceeded = stage.moment(Duration::ZERO, move || {
        metrics.tally.hello_bytes_held.get() > hello_memory as u64 + 1_000
    });
    let wire = keys.client(Security::Termination, &mut Rng::with_seed(1));
    let clients: Vec<_> = (1..=20)
        .map(|stream| {
            let start = u32::try_from(stream).unwrap() * SECOND / 2;
            stage.client(start, Plan { wire: wire.clone(), ..plan(stream, 100) })
        })
        .collect();
    stage.drain(Time::default() + 100 * SECOND, HOUR, || false);
    stage.run();
    assert!(clients.iter().all(|client| client.get().fate == Fate::Done));
    assert_eq!(stage.ended(CloseReason::Finished), 20);
    let gone = stage.ended(CloseReason::RelayMemory);
    assert!((96..100).contains(&gone), "{gone}: whoever is left fits");
    assert_eq!(stage.ended(CloseReason::HelloTimeout), 100 - gone);
    assert_eq!(exceeded.get(), None);
}
