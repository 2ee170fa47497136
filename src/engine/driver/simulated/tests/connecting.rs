//! How long a connection takes to come about, what may come instead, and what may be there when
//! the worker looks.

use std::collections::BTreeSet;
use std::ptr::NonNull;
use std::time::Duration;

use rustix::io::Errno;
use socket2::SockAddr;

use super::super::{Faults, Leftovers, Next, Peers, World};
use super::process::{OPTIONS, Process, errno, there};
use crate::engine::driver::{Operation, Wait};

/// What a connect to a peer that listens gave, and after how long.
fn connect(seed: u64, faults: Faults) -> (i32, Duration) {
    let mut process = Process::in_world(World::new(seed, faults));
    process.world.outside(|peers| peers.listen(there(), 8));
    timed(&mut process)
}

fn timed(process: &mut Process) -> (i32, Duration) {
    let before = process.driver.now();
    let (_, result) = process.connect(there());
    (result, process.driver.now().since(before))
}

#[test]
fn a_request_that_is_lost_is_repeated_until_it_comes_through() {
    let faults = Faults { lost_request: 1000, ..Faults::none() };
    let (result, took) = connect(1, faults);
    assert_eq!((result, took.as_secs()), (0, 1 + 2 + 4));
    let (result, took) = timed(&mut Process::new(faults));
    assert_eq!((result, took.as_secs()), (errno(Errno::CONNREFUSED), 1 + 2 + 4));
}

#[test]
fn an_answer_that_is_lost_comes_with_a_repeated_request() {
    let faults = Faults { lost_answer: 1000, ..Faults::none() };
    let took: BTreeSet<u64> = (0..16).map(|seed| connect(seed, faults).1.as_secs()).collect();
    assert_eq!(took, [1, 3].into());
    let (result, took) = timed(&mut Process::new(faults));
    assert_eq!(result, errno(Errno::CONNREFUSED));
    assert!([1, 3].contains(&took.as_secs()));
}

#[test]
fn a_late_answer_takes_from_milliseconds_to_seconds() {
    let faults = Faults { late_answer: 1000, ..Faults::none() };
    let took: Vec<Duration> = (0..64).map(|seed| connect(seed, faults).1).collect();
    assert!(took.iter().any(|took| took.as_millis() < 4));
    assert!(took.iter().any(|took| took.as_millis() > 2000));
    assert!(took.iter().all(|took| took.as_millis() < 4105));
}

#[test]
fn nothing_overtakes_a_late_answer() {
    let faults = Faults { lost_answer: 1000, ..Faults::none() };
    let mut process = Process::new(faults);
    greet_and_reset(&process.world);
    let (socket, result) = process.connect(there());
    assert_eq!(result, 0, "the answer is before the greeting and the reset");
    process.pass();
    let mut room = [0; 16];
    assert_eq!(process.driver.read(socket, &mut room).unwrap(), GREETING.len());
    let error = process.driver.read(socket, &mut room).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
}

#[test]
fn a_router_may_answer_the_process() {
    let faults = Faults { unreachable: 1000, ..Faults::none() };
    assert_eq!(connect(1, faults).0, errno(Errno::HOSTUNREACH));
    let mut process = Process::new(faults);
    process.accepted();
}

#[test]
fn a_connect_may_give_up_early_and_only_without_an_answer() {
    let faults = Faults { gives_up: 1000, ..Faults::none() };
    for seed in 0..16 {
        let mut process = Process::in_world(World::new(seed, faults));
        process.world.outside(|peers| peers.black_hole(there()));
        let (result, took) = timed(&mut process);
        assert_eq!(result, errno(Errno::TIMEDOUT));
        assert!(took.as_millis() < 4105, "{took:?}");
    }
    let patient = (0..16).filter(|seed| {
        let mut process = Process::in_world(World::new(*seed, faults));
        process.world.outside(|peers| peers.listen(there(), 8));
        let (socket, result) = process.connect(there());
        process.world.run(Duration::from_secs(5));
        result == 0 && process.driver.peer_address(socket).is_ok()
    });
    assert!(patient.count() > 8);
}

#[test]
fn a_connect_that_is_looked_at_late_finds_what_has_come_by_then() {
    let faults = Faults { late_look: 1000, ..Faults::none() };
    let found: BTreeSet<i32> = (0..32).map(|seed| look_late(seed, faults)).collect();
    assert_eq!(found, [0, errno(Errno::CONNRESET)].into());
}

/// What a connect to a peer that greets and resets gives. The greeting is there in any case.
fn look_late(seed: u64, faults: Faults) -> i32 {
    let mut process = Process::in_world(World::new(seed, faults));
    greet_and_reset(&process.world);
    let (socket, result) = process.connect(there());
    process.pass();
    assert_eq!(process.driver.unread(socket).unwrap(), GREETING.len());
    assert!(process.driver.is_gone(socket));
    let mut room = [0; 16];
    assert_eq!(process.driver.read(socket, &mut room).unwrap(), GREETING.len());
    // The connect took the error, if there was one by then.
    let rest = process.driver.read(socket, &mut room).map_err(|error| error.raw_os_error());
    assert_eq!(rest, if result == 0 { Err(Some(libc::ECONNRESET)) } else { Ok(0) });
    result
}

/// A peer that says something and resets as soon as it is connected to.
fn greet_and_reset(world: &World) {
    let mut listener = None;
    world.spawn(world.now(), move |peers: &mut Peers<'_>| {
        let listener = *listener.get_or_insert_with(|| peers.listen(there(), 8));
        let Some(end) = peers.accept(listener) else { return Next::OnEvent };
        assert_eq!(peers.write(end, GREETING).unwrap(), GREETING.len());
        peers.reset(end);
        Next::Done
    });
}

const GREETING: &[u8] = b"220 ready";

#[test]
fn a_connect_that_was_answered_may_be_beyond_cancelling() {
    let faults = Faults { late_look: 1000, ..Faults::none() };
    let mut results = BTreeSet::new();
    for seed in 0..32 {
        let mut process = Process::in_world(World::new(seed, faults));
        process.world.outside(|peers| peers.listen(there(), 8));
        let socket = process.driver.open(&there(), &OPTIONS).unwrap();
        let address = SockAddr::from(there());
        let token = process.submit(Operation::Connect { socket, address: NonNull::from(&address) });
        process.turn(Wait::For(Duration::from_millis(4)));
        if !process.early.is_empty() {
            continue;
        }
        process.driver.cancel(token);
        results.insert(process.completion(token).result);
        process.driver.close(socket);
        process.pass();
        assert!(process.early.is_empty(), "an operation has one last completion");
        assert_eq!(process.world.leftovers(), Leftovers::default());
    }
    assert_eq!(results, [0, errno(Errno::CANCELED)].into());
}
