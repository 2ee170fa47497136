//! What goes wrong when it is told to, and whole runs under mixes of it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;

use super::super::{Faults, Leftovers, Next, Peers, World};
use super::process::{Process, anywhere, errno, here, kernel, send_of, there};
use crate::engine::driver::{Completion, Descriptor, Interest, Kind, Operation, Token, Wait};
use crate::engine::time::Time;

#[test]
fn each_fault_strikes() {
    let certain = |set: fn(&mut Faults)| {
        let mut process = Process::new(Faults::none());
        process.provide(64);
        let (socket, peer) = process.accepted();
        process.write(peer, b"abcdef");
        process.pass();
        let mut faults = Faults::none();
        set(&mut faults);
        kernel(&process.world).dice.faults = faults;
        (process, socket)
    };
    let (mut process, socket) = certain(|faults| faults.short_receive = 1000);
    assert!(process.received(socket).unwrap().len() < 6);
    let (mut process, socket) = certain(|faults| faults.short_send = 1000);
    assert!((1..6).contains(&process.send(socket, b"abcdef")));
    let (mut process, socket) = certain(|faults| faults.spurious_again = 1000);
    assert_eq!(process.received(socket), Err(errno(Errno::AGAIN)));
    assert_eq!(process.send(socket, b"abcdef"), errno(Errno::AGAIN));
    let (mut process, socket) = certain(|faults| faults.no_buffers = 1000);
    assert_eq!(process.received(socket), Err(errno(Errno::NOBUFS)));
    let (mut process, _) = certain(|faults| faults.no_descriptor = 1000);
    assert!(process.driver.pipe(4096).is_err());
    let (mut process, _) = certain(|faults| faults.no_port = 1000);
    assert_eq!(process.connect(there()).1, errno(Errno::ADDRNOTAVAIL));
    let (mut process, socket) = certain(|faults| faults.small_pipe = 1000);
    let (_, writer) = process.driver.pipe(1 << 16).unwrap();
    assert_eq!(process.driver.splice(socket, writer, 1).unwrap(), 1);
    assert!(process.driver.splice(socket, writer, 1).is_err());
    let (mut process, socket) = certain(|faults| faults.delayed = 1000);
    let token =
        process.submit(Operation::Poll { socket, interest: Interest::READ, lasting: false });
    process.turn(Wait::No);
    assert!(process.early.is_empty());
    assert_eq!(process.completion(token).result, Interest::READ.0 as i32);
    let (mut process, socket) = certain(|faults| faults.submission_capacity = 1);
    for _ in 0..3 {
        process.submit(Operation::Poll { socket, interest: Interest::READ, lasting: false });
    }
    assert_eq!(process.driver.counters().early_submissions, 2);
}

#[test]
fn a_poll_can_end_for_a_peer_that_has_ended() {
    let mut process = Process::new(Faults { idle_poll: 1000, ..Faults::none() });
    let (socket, peer) = process.accepted();
    let token =
        process.submit(Operation::Poll { socket, interest: Interest::NONE, lasting: false });
    process.pass();
    assert!(process.early.is_empty());
    process.driver.cancel(token);
    assert_eq!(process.completion(token).result, errno(Errno::CANCELED));
    process.world.outside(|peers| peers.shutdown_write(peer).unwrap());
    process.pass();
    assert_eq!(process.poll(socket, Interest::NONE), Interest(libc::POLLRDHUP as u32));
}

#[test]
fn a_receive_that_finds_nothing_can_say_so_unless_it_lasts() {
    let mut process = Process::new(Faults { empty_again: 1000, ..Faults::none() });
    process.provide(16);
    let (socket, peer) = process.accepted();
    assert_eq!(process.receive(socket).result, errno(Errno::AGAIN));
    for (wait_first, cap) in [(true, 1), (false, 16)] {
        let token = process.submit(Operation::Receive { socket, wait_first, cap });
        process.pass();
        assert!(process.early.is_empty(), "this one waits");
        process.driver.cancel(token);
        assert_eq!(process.completion(token).result, errno(Errno::CANCELED));
    }
    kernel(&process.world).dice.faults.caps_receives = false;
    let result = process.result(Operation::Receive { socket, wait_first: false, cap: 16 });
    assert_eq!(result, errno(Errno::AGAIN));
    process.write(peer, b"there");
    process.pass();
    assert_eq!(process.received(socket).unwrap(), b"there");
}

#[test]
fn a_multishot_can_end_with_a_connection() {
    let ending = [
        Faults { multishot_ends: 1000, ..Faults::none() },
        Faults { overflow: 1000, ..Faults::none() },
    ];
    for faults in ending {
        let mut process = Process::new(faults);
        let listener = process.world.listen(here(), 8);
        let token = process.submit(Operation::Accept { listener, multishot: true });
        process.world.outside(|peers| peers.connect(anywhere(), here()).unwrap());
        let completion = process.completion(token);
        assert_eq!((completion.result, completion.more), (4, false));
        let counters = process.driver.counters();
        assert_eq!(counters.overflows > 0, faults.overflow > 0);
        assert_eq!(counters.completions, 1);
    }
}

#[test]
fn completions_of_different_operations_change_places() {
    let mut process = Process::new(Faults::none());
    let (socket, _) = process.accepted();
    kernel(&process.world).dice.faults.reordered = 1000;
    let poll = Operation::Poll { socket, interest: Interest::WRITE, lasting: false };
    let first = process.submit(poll);
    let second = process.submit(poll);
    process.turn(Wait::No);
    let order: Vec<Token> = process.early.iter().map(|completion| completion.token).collect();
    assert_eq!(order, [second, first]);
}

#[test]
fn a_cut_shows_at_both_ends() {
    let mut process = Process::new(Faults { cut_timeout: 1000, ..Faults::none() });
    process.provide(16);
    let (socket, peer) = process.accepted();
    let token = process.submit(Operation::Receive { socket, wait_first: true, cap: 1 });
    assert_eq!(process.completion(token).result, errno(Errno::TIMEDOUT));
    assert_eq!(process.read(peer).unwrap_err().kind(), ErrorKind::TimedOut);
}

/// A worker that echoes, without an executor: each completion leads to the next operation.
struct Echo {
    process: Process,
    listener: Descriptor,
    /// What is being sent, by socket, and how much of it was.
    sending: BTreeMap<Descriptor, (Vec<u8>, usize)>,
    sockets: BTreeMap<u64, Descriptor>,
}

impl Echo {
    fn start(&mut self, operation: Operation) {
        let token = self.process.submit(operation);
        self.sockets.insert(token.0, operation.descriptor());
    }

    fn accept(&mut self) {
        self.start(Operation::Accept { listener: self.listener, multishot: true });
    }

    fn receive(&mut self, socket: Descriptor) {
        self.start(Operation::Receive { socket, wait_first: true, cap: 1 });
    }

    fn send(&mut self, socket: Descriptor) {
        let (data, sent) = &self.sending[&socket];
        self.start(send_of(socket, &data[*sent..]));
    }

    fn turn(&mut self, wait: Wait) {
        self.process.turn(wait);
        for completion in std::mem::take(&mut self.process.early) {
            let key = completion.token.0;
            let socket = if completion.more {
                self.sockets[&key]
            } else {
                self.sockets.remove(&key).expect("one last completion for each operation")
            };
            self.take(socket, completion);
        }
    }

    fn take(&mut self, socket: Descriptor, completion: Completion) {
        let again = [errno(Errno::AGAIN), errno(Errno::NOBUFS)].contains(&completion.result);
        match (completion.token.kind(), completion.result) {
            (Kind::Accept, accepted) => {
                if !completion.more {
                    self.accept();
                }
                if accepted >= 0 {
                    self.receive(Descriptor(accepted));
                }
            }
            (Kind::Receive, _) if again => self.receive(socket),
            (Kind::Receive, length @ 1..) => {
                let id = completion.buffer.expect("bytes are in a buffer");
                let data = self.process.buffers[usize::from(id)][..length as usize].to_vec();
                self.process.provide_again(id);
                self.sending.insert(socket, (data, 0));
                self.send(socket);
            }
            (Kind::Send, _) if again => self.send(socket),
            (Kind::Send, length @ 1..) => {
                let (data, sent) = self.sending.get_mut(&socket).expect("it sends");
                *sent += length as usize;
                if *sent < data.len() { self.send(socket) } else { self.receive(socket) }
            }
            _ => self.process.driver.close(socket),
        }
    }
}

/// Sends `bytes` and ends; counts in `done` when all came back, or when the connection died.
fn echo_client(
    target: SocketAddr,
    bytes: Vec<u8>,
    faulty: bool,
    done: Rc<Cell<usize>>,
) -> impl FnMut(&mut Peers<'_>) -> Next {
    let (mut end, mut connected, mut sent, mut got) = (None, false, 0, Vec::<u8>::new());
    move |peers| {
        let end = *end.get_or_insert_with(|| peers.connect(anywhere(), target).unwrap());
        let mut proceed = || -> io::Result<bool> {
            connected = connected || peers.is_connected(end)?;
            if !connected {
                return Ok(false);
            }
            if sent < bytes.len() {
                sent += not_blocked(peers.write(end, &bytes[sent..]))?.unwrap_or(0);
                if sent == bytes.len() {
                    peers.shutdown_write(end)?;
                }
            }
            let mut buffer = [0; 4096];
            while let Some(length) = not_blocked(peers.read(end, &mut buffer))? {
                if length == 0 {
                    return Ok(true);
                }
                got.extend(&buffer[..length]);
                assert_eq!(got, bytes[..got.len()]);
            }
            Ok(false)
        };
        match proceed() {
            Ok(false) => return Next::OnEvent,
            Ok(true) => assert!(faulty || got == bytes),
            Err(error) => assert!(faulty, "{error}"),
        }
        peers.close(end);
        done.set(done.get() + 1);
        Next::Done
    }
}

fn not_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        result => result.map(Some),
    }
}

/// A run of clients against the echoing worker; its fingerprint.
fn echo_run(seed: u64, faults: Faults) -> u64 {
    let world = World::new(seed, faults);
    let process = Process::in_world(world.clone());
    let listener = world.listen(here(), 4);
    let mut echo = Echo { process, listener, sending: BTreeMap::new(), sockets: BTreeMap::new() };
    for _ in 0..4 {
        echo.process.provide(2048);
    }
    echo.accept();
    let faulty = faults.cut_reset + faults.cut_timeout > 0;
    let done = Rc::new(Cell::new(0));
    for client in 0..CLIENTS {
        let bytes = (0..10_000).map(|index: usize| (index / 7 + client) as u8).collect();
        let start = Time::from_nanos(client as u64 * 100_000);
        world.spawn(start, echo_client(here(), bytes, faulty, done.clone()));
    }
    while done.get() < CLIENTS || world.leftovers().sockets > 0 {
        echo.turn(Wait::For(Duration::from_secs(1)));
    }
    let left =
        Leftovers { listeners: 1, operations: 1, buffers_provided: 4, ..Leftovers::default() };
    assert_eq!(world.leftovers(), left, "{world}");
    world.fingerprint()
}

const CLIENTS: usize = 10;

#[test]
fn every_byte_survives_every_mix_of_faults() {
    for seed in 0..256 {
        println!("seed {seed}");
        echo_run(seed, Faults::from_seed(seed));
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..8 {
        let faults = Faults::from_seed(seed);
        assert_eq!(echo_run(seed, faults), echo_run(seed, faults));
        assert_ne!(echo_run(seed, faults), echo_run(seed + 1, faults));
    }
}
