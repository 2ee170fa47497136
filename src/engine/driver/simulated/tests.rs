//! The model against what Linux does: each test is a fact that the engine relies on.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use socket2::SockAddr;

use super::*;
use crate::engine::driver::{
    Completion, Driver, Interest, Kind, Operation, SocketOptions, Token, Wait,
};
use crate::engine::remote::Remote;
use crate::engine::time::Time;

/// A process with one worker, and the memory it lends.
struct Process {
    world: World,
    driver: Box<dyn Driver>,
    buffers: Vec<Vec<u8>>,
    next_slot: u32,
    /// Completions that came while another was awaited.
    early: Vec<Completion>,
}

impl Process {
    fn new(faults: Faults) -> Process {
        Process::in_world(World::new(1, faults))
    }

    fn in_world(world: World) -> Process {
        let driver = world.driver(Arc::new(Remote::without_signal()));
        Process { world, driver, buffers: Vec::new(), next_slot: 0, early: Vec::new() }
    }

    fn provide(&mut self, length: usize) -> u16 {
        let id = self.buffers.len() as u16;
        self.buffers.push(vec![0; length]);
        self.provide_again(id);
        id
    }

    fn provide_again(&mut self, id: u16) {
        let buffer = &mut self.buffers[usize::from(id)];
        let memory = NonNull::new(buffer.as_mut_ptr()).unwrap();
        // SAFETY: the buffer lives in `self` and is not resized.
        unsafe { self.driver.provide(id, memory, buffer.len() as u32) };
    }

    fn submit(&mut self, operation: Operation) -> Token {
        self.next_slot += 1;
        let token = Token::new(self.next_slot, 1, operation.kind());
        // SAFETY: the callers keep what the operation points to until it has completed.
        unsafe { self.driver.submit(token, &operation) };
        token
    }

    fn turn(&mut self, wait: Wait) {
        self.driver.turn(wait, &mut self.early).unwrap();
    }

    /// The next completion of an operation.
    fn completion(&mut self, token: Token) -> Completion {
        loop {
            if let Some(index) = self.early.iter().position(|one| one.token == token) {
                return self.early.remove(index);
            }
            self.turn(Wait::Forever);
        }
    }

    fn result(&mut self, operation: Operation) -> i32 {
        let token = self.submit(operation);
        self.completion(token).result
    }

    fn receive(&mut self, socket: Descriptor) -> Completion {
        let token = self.submit(Operation::Receive { socket, wait_first: false });
        self.completion(token)
    }

    /// What one receive gives; its buffer goes back.
    fn received(&mut self, socket: Descriptor) -> Result<Vec<u8>, i32> {
        let completion = self.receive(socket);
        let length = usize::try_from(completion.result).map_err(|_| completion.result)?;
        let Some(id) = completion.buffer else { return Ok(Vec::new()) };
        let data = self.buffers[usize::from(id)][..length].to_vec();
        self.provide_again(id);
        Ok(data)
    }

    fn send(&mut self, socket: Descriptor, data: &[u8]) -> i32 {
        self.result(send_of(socket, data))
    }

    fn poll(&mut self, socket: Descriptor, interest: Interest) -> Interest {
        Interest(self.result(Operation::Poll { socket, interest }) as u32)
    }

    fn connect(&mut self, target: SocketAddr) -> (Descriptor, i32) {
        let socket = self.driver.open(&target, &OPTIONS).unwrap();
        let address = SockAddr::from(target);
        let result = self.result(Operation::Connect { socket, address: NonNull::from(&address) });
        (socket, result)
    }

    /// A connection accepted by the process, and its other end.
    fn accepted(&mut self) -> (Descriptor, EndpointId) {
        let listener = self.world.listen(here(), 8);
        let peer = self.world.outside(|peers| peers.connect(anywhere(), here()).unwrap());
        let socket = self.result(Operation::Accept { listener, multishot: false });
        self.pass();
        (Descriptor(socket), peer)
    }

    /// Enough time for everything under way to arrive.
    fn pass(&mut self) {
        self.turn(Wait::For(Duration::from_millis(100)));
        self.world.run(Duration::from_millis(100));
    }

    fn write(&self, peer: EndpointId, data: &[u8]) {
        self.world.outside(|peers| assert_eq!(peers.write(peer, data).unwrap(), data.len()));
    }

    fn read(&self, peer: EndpointId) -> std::io::Result<Vec<u8>> {
        let mut data = vec![0; 1 << 18];
        let length = self.world.outside(|peers| peers.read(peer, &mut data))?;
        data.truncate(length);
        Ok(data)
    }
}

fn send_of(socket: Descriptor, data: &[u8]) -> Operation {
    let first = NonNull::new(data.as_ptr().cast_mut()).unwrap();
    Operation::Send { socket, data: first, length: data.len() as u32 }
}

fn kernel(world: &World) -> std::cell::RefMut<'_, kernel::Kernel> {
    std::cell::RefMut::map(world.state.borrow_mut(), |state| &mut state.kernel)
}

fn here() -> SocketAddr {
    "127.0.0.1:514".parse().unwrap()
}

fn there() -> SocketAddr {
    "127.0.0.1:9000".parse().unwrap()
}

fn anywhere() -> SocketAddr {
    "0.0.0.0:0".parse().unwrap()
}

fn errno(error: Errno) -> i32 {
    -error.raw_os_error()
}

const OPTIONS: SocketOptions = SocketOptions { nodelay: true, keepalive: None, user_timeout: None };

#[test]
fn bytes_come_before_the_end_and_the_end_stays() {
    let mut process = Process::new(Faults::none());
    process.provide(64);
    let (socket, peer) = process.accepted();
    process.write(peer, b"last words");
    process.world.outside(|peers| peers.shutdown_write(peer).unwrap());
    process.pass();
    assert_eq!(process.received(socket).unwrap(), b"last words");
    for _ in 0..2 {
        let end = process.receive(socket);
        assert_eq!((end.result, end.buffer), (0, None));
    }
    assert_eq!(process.send(socket, b"answer"), 6);
    process.pass();
    assert_eq!(process.read(peer).unwrap(), b"answer");
    assert!(!process.driver.is_gone(socket));
}

#[test]
fn bytes_come_before_a_reset_which_is_told_once() {
    let mut process = Process::new(Faults::none());
    process.provide(4);
    let (socket, peer) = process.accepted();
    process.write(peer, b"abcdef");
    process.world.outside(|peers| peers.reset(peer));
    process.pass();
    assert!(process.driver.is_gone(socket));
    let all = Interest::READ.0 | Interest::WRITE.0 | Interest::ERROR.0 | Interest::HANG_UP.0;
    assert_eq!(process.poll(socket, Interest(all)), Interest(all));
    assert_eq!(process.received(socket).unwrap(), b"abcd");
    assert_eq!(process.received(socket).unwrap(), b"ef");
    assert_eq!(process.received(socket), Err(errno(Errno::CONNRESET)));
    assert_eq!(process.received(socket), Ok(Vec::new()));
    assert_eq!(process.send(socket, b"x"), errno(Errno::PIPE));
    assert!(process.driver.peer_address(socket).is_err());
}

#[test]
fn a_send_takes_the_error_and_leaves_a_false_end() {
    let mut process = Process::new(Faults::none());
    process.provide(64);
    let (socket, peer) = process.accepted();
    process.world.outside(|peers| peers.reset(peer));
    process.pass();
    assert_eq!(process.send(socket, b"x"), errno(Errno::CONNRESET));
    assert_eq!(process.send(socket, b"x"), errno(Errno::PIPE));
    assert_eq!(process.receive(socket).result, 0);
    assert!(process.driver.is_gone(socket));
}

#[test]
fn a_reset_after_the_end_shows_to_sends_only() {
    let mut process = Process::new(Faults::none());
    process.provide(64);
    let (socket, peer) = process.accepted();
    process.world.outside(|peers| peers.shutdown_write(peer).unwrap());
    process.pass();
    assert_eq!(process.send(socket, b"nobody reads this"), 17);
    process.pass();
    process.world.outside(|peers| peers.close(peer));
    process.pass();
    assert_eq!(process.receive(socket).result, 0);
    assert_eq!(process.send(socket, b"x"), errno(Errno::PIPE));
}

#[test]
fn the_own_end_forbids_sending_and_leaves_receiving() {
    let mut process = Process::new(Faults::none());
    process.provide(64);
    let (socket, peer) = process.accepted();
    process.driver.shutdown_write(socket).unwrap();
    assert_eq!(process.driver.unsent(socket).unwrap(), 1);
    assert_eq!(process.send(socket, b"x"), errno(Errno::PIPE));
    process.pass();
    assert_eq!(process.driver.unsent(socket).unwrap(), 0);
    assert_eq!(process.read(peer).unwrap(), b"");
    process.write(peer, b"more");
    process.pass();
    assert_eq!(process.received(socket).unwrap(), b"more");
    assert_eq!(process.poll(socket, Interest::WRITE), Interest::WRITE);
    process.world.outside(|peers| peers.close(peer));
    process.pass();
    let ready = process.poll(socket, Interest::READ);
    assert_eq!(ready, Interest(Interest::READ.0 | Interest::HANG_UP.0));
    assert!(process.driver.is_gone(socket));
}

#[test]
fn a_close_delivers_what_was_sent_and_then_the_end() {
    let mut process = Process::new(Faults::none());
    let (socket, peer) = process.accepted();
    let data = vec![7; 1000];
    assert_eq!(process.send(socket, &data), 1000);
    process.driver.close(socket);
    let mut got = Vec::new();
    while got.len() < 1000 {
        process.pass();
        got.extend(process.read(peer).unwrap());
    }
    process.pass();
    assert_eq!(process.read(peer).unwrap(), b"");
}

#[test]
fn a_socket_can_be_closed_right_after_its_own_end() {
    let mut process = Process::new(Faults::none());
    let (socket, peer) = process.accepted();
    process.driver.shutdown_write(socket).unwrap();
    process.driver.close(socket);
    process.pass();
    assert_eq!(process.read(peer).unwrap(), b"");
}

#[test]
fn a_close_with_unread_bytes_is_a_reset() {
    let mut process = Process::new(Faults::none());
    let (socket, peer) = process.accepted();
    process.write(peer, b"unread");
    process.pass();
    process.driver.close(socket);
    process.pass();
    assert_eq!(process.read(peer).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_close_can_be_made_a_reset() {
    let mut process = Process::new(Faults::none());
    let (socket, peer) = process.accepted();
    process.driver.reset_on_close(socket);
    process.driver.close(socket);
    process.pass();
    assert_eq!(process.read(peer).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn bytes_for_a_closed_end_come_back_as_a_reset() {
    let mut process = Process::new(Faults::none());
    let (socket, peer) = process.accepted();
    process.driver.close(socket);
    process.pass();
    process.write(peer, b"too late");
    process.pass();
    // The end came before the reset: it hides it from reads.
    assert_eq!(process.read(peer).unwrap(), b"");
    let sent = process.world.outside(|peers| peers.write(peer, b"x"));
    assert_eq!(sent.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
}

#[test]
fn a_connect_is_answered_refused_or_never() {
    let mut process = Process::new(Faults::none());
    let (refused, result) = process.connect(there());
    assert_eq!(result, errno(Errno::CONNREFUSED));
    process.driver.close(refused);

    let listener = process.world.outside(|peers| peers.listen(there(), 1));
    let (socket, result) = process.connect(there());
    assert_eq!(result, 0);
    assert_eq!(process.driver.peer_address(socket).unwrap(), there());
    let local = process.driver.local_address(socket).unwrap();
    let end = process.world.outside(|peers| peers.accept(listener)).unwrap();
    assert_eq!(process.world.outside(|peers| peers.remote_address(end)), local);

    let hole = "127.0.0.1:1".parse().unwrap();
    process.world.outside(|peers| peers.black_hole(hole));
    let before = process.driver.now();
    let (_, result) = process.connect(hole);
    assert_eq!(result, errno(Errno::TIMEDOUT));
    assert_eq!(process.driver.now().since(before).as_secs(), 127);
}

#[test]
fn a_full_backlog_drops_requests_until_there_is_room() {
    let mut process = Process::new(Faults::none());
    let listener = process.world.outside(|peers| peers.listen(there(), 0));
    assert_eq!(process.connect(there()).1, 0);
    let before = process.driver.now();
    let socket = process.driver.open(&there(), &OPTIONS).unwrap();
    let address = SockAddr::from(there());
    let connect = Operation::Connect { socket, address: NonNull::from(&address) };
    let token = process.submit(connect);
    process.turn(Wait::For(Duration::from_millis(500)));
    assert!(process.early.is_empty());
    process.world.outside(|peers| peers.accept(listener)).unwrap();
    assert_eq!(process.completion(token).result, 0);
    assert_eq!(process.driver.now().since(before).as_secs(), 1);
}

#[test]
fn a_cancelled_connect_leaves_a_socket_that_can_be_closed() {
    let mut process = Process::new(Faults::none());
    process.world.outside(|peers| peers.black_hole(there()));
    let socket = process.driver.open(&there(), &OPTIONS).unwrap();
    let address = SockAddr::from(there());
    let token = process.submit(Operation::Connect { socket, address: NonNull::from(&address) });
    process.turn(Wait::For(Duration::from_millis(1)));
    process.driver.cancel(token);
    assert_eq!(process.completion(token).result, errno(Errno::CANCELED));
    process.driver.close(socket);
    assert_eq!(process.world.leftovers(), Leftovers::default());
}

#[test]
fn a_multishot_accept_goes_on_until_it_says_so() {
    let mut process = Process::new(Faults::none());
    let listener = process.world.listen(here(), 8);
    assert_eq!(listener, Descriptor(3));
    let token = process.submit(Operation::Accept { listener, multishot: true });
    for expected in 4..7 {
        process.world.outside(|peers| peers.connect(anywhere(), here()).unwrap());
        let completion = process.completion(token);
        assert_eq!((completion.result, completion.more), (expected, true));
    }
    process.driver.cancel(token);
    let last = process.completion(token);
    assert_eq!((last.result, last.more), (errno(Errno::CANCELED), false));
}

#[test]
fn a_shortage_of_descriptors_ends_accepting_and_keeps_the_connection_waiting() {
    let mut process = Process::new(Faults::none());
    let listener = process.world.listen(here(), 8);
    process.world.limit_descriptors(5);
    let token = process.submit(Operation::Accept { listener, multishot: true });
    process.world.outside(|peers| peers.connect(anywhere(), here()).unwrap());
    let completion = process.completion(token);
    assert_eq!((completion.result, completion.more), (4, true));
    let last = process.completion(token);
    assert_eq!((last.result, last.more), (errno(Errno::MFILE), false));
    assert_eq!(
        process.driver.open(&there(), &OPTIONS).unwrap_err().raw_os_error(),
        Some(libc::EMFILE)
    );
    process.world.outside(|peers| peers.connect(anywhere(), here()).unwrap());
    process.pass();
    process.driver.close(Descriptor(4));
    assert_eq!(process.result(Operation::Accept { listener, multishot: false }), 4);
}

#[test]
fn listeners_at_one_address_share_the_connections() {
    let mut process = Process::new(Faults::none());
    let listeners = [process.world.listen(here(), 64), process.world.listen(here(), 64)];
    for _ in 0..32 {
        process.world.outside(|peers| peers.connect(anywhere(), here()).unwrap());
    }
    process.pass();
    for listener in listeners {
        let shared = process.poll(listener, Interest::READ);
        assert_eq!(shared, Interest::READ, "{listener:?} got none of 32");
    }
}

#[test]
fn a_closed_listener_resets_whom_it_did_not_accept() {
    let mut process = Process::new(Faults::none());
    let listener = process.world.listen(here(), 8);
    let peer = process.world.outside(|peers| peers.connect(anywhere(), here()).unwrap());
    process.pass();
    process.driver.close(listener);
    process.pass();
    assert_eq!(process.read(peer).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_receive_takes_the_oldest_buffer_only_for_bytes() {
    let mut process = Process::new(Faults::none());
    process.provide(4);
    process.provide(4);
    let (socket, peer) = process.accepted();
    let token = process.submit(Operation::Receive { socket, wait_first: true });
    process.turn(Wait::No);
    assert_eq!(process.world.leftovers().buffers_provided, 2);
    process.write(peer, b"abcdef");
    process.pass();
    let first = process.completion(token);
    assert_eq!((first.result, first.buffer, first.nonempty), (4, Some(0), true));
    let second = process.receive(socket);
    assert_eq!((second.result, second.buffer, second.nonempty), (2, Some(1), false));
    process.write(peer, b"g");
    process.pass();
    let none = process.receive(socket);
    assert_eq!((none.result, none.buffer), (errno(Errno::NOBUFS), None));
    process.provide_again(1);
    assert_eq!(process.received(socket).unwrap(), b"g");
}

#[test]
fn without_a_buffer_everything_is_enobufs() {
    let mut process = Process::new(Faults::none());
    let (socket, peer) = process.accepted();
    assert_eq!(process.receive(socket).result, errno(Errno::NOBUFS), "nothing to receive");
    let token = process.submit(Operation::Receive { socket, wait_first: true });
    process.pass();
    assert!(process.early.is_empty());
    process.world.outside(|peers| peers.reset(peer));
    assert_eq!(process.completion(token).result, errno(Errno::NOBUFS), "a reset");
    process.provide(16);
    assert_eq!(process.receive(socket).result, errno(Errno::CONNRESET));
}

#[test]
fn a_window_bounds_what_leaves_and_a_cancelled_send_says_how_much_it_moved() {
    let mut process = Process::new(Faults::none());
    let (socket, peer) = process.accepted();
    let data: Vec<u8> = (0..1_000_000u32).map(|number| number as u8).collect();
    let token = process.submit(send_of(socket, &data));
    process.pass();
    process.driver.cancel(token);
    let moved = process.completion(token).result as usize;
    assert!(moved > 0 && moved < data.len());
    let link = |world: &World, end: EndpointId| kernel(world).network.endpoint(end).link;
    let window = link(&process.world, peer).window;
    let unsent = process.driver.unsent(socket).unwrap();
    let arrived = moved - unsent;
    assert!((window / 2..=window).contains(&arrived), "{arrived} bytes in a window of {window}");
    let mut got = Vec::new();
    while got.len() < moved {
        got.extend(process.read(peer).unwrap());
        process.pass();
    }
    assert_eq!(got, data[..moved]);
    assert_eq!(process.driver.unsent(socket).unwrap(), 0);
}

#[test]
fn a_send_completes_when_its_last_byte_has_left() {
    let mut process = Process::new(Faults::none());
    let (socket, peer) = process.accepted();
    let data = vec![1; 400_000];
    let token = process.submit(send_of(socket, &data));
    let mut got = 0;
    while got < data.len() {
        process.pass();
        got += process.read(peer).unwrap().len();
    }
    assert_eq!(process.completion(token).result, 400_000);
}

#[test]
fn a_reset_cuts_a_send_short_and_loses_the_error() {
    let mut process = Process::new(Faults::none());
    process.provide(64);
    let (socket, peer) = process.accepted();
    let data = vec![1; 1_000_000];
    let token = process.submit(send_of(socket, &data));
    process.pass();
    process.world.outside(|peers| peers.reset(peer));
    let sent = process.completion(token).result;
    assert!(sent > 0 && sent < 1_000_000);
    assert_eq!(process.receive(socket).result, 0);
    assert!(process.driver.is_gone(socket));
    assert!(process.driver.unsent(socket).unwrap() > 0, "as Linux goes on counting them");
}

#[test]
fn a_pipe_carries_bytes_from_socket_to_socket() {
    let mut process = Process::new(Faults::none());
    let (socket, peer) = process.accepted();
    let (reader, writer) = process.driver.pipe(8192).unwrap();
    let again = |result: std::io::Result<usize>| {
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    };
    again(process.driver.splice(socket, writer, 100));
    again(process.driver.splice(reader, socket, 100));
    process.write(peer, b"abcdef");
    process.pass();
    assert_eq!(process.driver.splice(socket, writer, 4).unwrap(), 4);
    assert_eq!(process.driver.splice(socket, writer, 4).unwrap(), 2);
    process.world.outside(|peers| peers.shutdown_write(peer).unwrap());
    process.pass();
    again(process.driver.splice(socket, writer, 4));
    assert_eq!(process.driver.splice(reader, socket, 100).unwrap(), 6);
    assert_eq!(process.driver.splice(socket, writer, 4).unwrap(), 0);
    process.pass();
    assert_eq!(process.read(peer).unwrap(), b"abcdef");
    process.driver.close(writer);
    assert_eq!(process.driver.splice(reader, socket, 100).unwrap(), 0);
    process.driver.close(reader);
    assert_eq!(process.world.leftovers().pipes, 0);
}

#[test]
fn a_pipe_that_finds_one_descriptor_only_leaves_nothing() {
    let mut process = Process::new(Faults::none());
    process.world.limit_descriptors(4);
    assert!(process.driver.pipe(4096).is_err());
    assert_eq!(process.world.leftovers(), Leftovers::default());
}

#[test]
fn nothing_that_can_happen_is_an_error_that_shows_what_is_pending() {
    let mut process = Process::new(Faults::none());
    let (socket, _) = process.accepted();
    process.submit(Operation::Receive { socket, wait_first: true });
    let error = process.driver.turn(Wait::Forever, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("nothing can happen"), "{error}");
    assert!(error.contains("Started Receive"), "{error}");
    assert!(error.contains("Open"), "{error}");
}

#[test]
fn an_endless_loop_is_an_error() {
    let mut process = Process::new(Faults::none());
    process.world.spawn(Time::default(), |peers: &mut Peers<'_>| Next::At(peers.now()));
    let error = process.driver.turn(Wait::Forever, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("does not end"), "{error}");
}

#[test]
fn a_turn_that_does_not_wait_costs_a_microsecond() {
    let mut process = Process::new(Faults::none());
    process.turn(Wait::No);
    assert_eq!(process.driver.now().as_nanos(), 1000);
    process.turn(Wait::For(Duration::from_millis(1)));
    assert_eq!(process.driver.now().as_nanos(), 1_001_000);
}

#[test]
fn a_raised_remote_ends_the_wait() {
    let world = World::new(1, Faults::none());
    let remote = Arc::new(Remote::without_signal());
    let mut driver = world.driver(remote.clone());
    let raising = remote.clone();
    world.spawn(Time::from_nanos(5_000_000), move |_: &mut Peers<'_>| {
        raising.raise();
        Next::Done
    });
    assert!(driver.turn(Wait::Forever, &mut Vec::new()).unwrap());
    assert_eq!(driver.now().as_nanos(), 5_000_000);
    remote.lower();
    assert!(!driver.turn(Wait::No, &mut Vec::new()).unwrap());
}

#[test]
fn a_worker_waits_no_longer_than_until_another_has_work() {
    let world = World::new(1, Faults::none());
    let mut first = world.driver(Arc::new(Remote::without_signal()));
    let mut second = world.driver(Arc::new(Remote::without_signal()));
    first.turn(Wait::No, &mut Vec::new()).unwrap();
    second.turn(Wait::For(Duration::from_millis(3)), &mut Vec::new()).unwrap();
    first.turn(Wait::Forever, &mut Vec::new()).unwrap();
    assert!(first.now().as_nanos() <= 3_001_000);
}

#[test]
#[should_panic(expected = "is closed with operations in flight")]
fn closing_under_an_operation_is_a_defect() {
    let mut process = Process::new(Faults::none());
    let (socket, _) = process.accepted();
    process.submit(Operation::Receive { socket, wait_first: true });
    process.driver.close(socket);
}

#[test]
#[should_panic(expected = "is not open")]
fn closing_twice_is_a_defect() {
    let mut process = Process::new(Faults::none());
    let (socket, _) = process.accepted();
    process.driver.close(socket);
    process.driver.close(socket);
}

#[test]
#[should_panic(expected = "provided twice")]
fn providing_a_buffer_twice_is_a_defect() {
    let mut process = Process::new(Faults::none());
    let id = process.provide(16);
    process.provide_again(id);
}

#[test]
#[should_panic(expected = "submitted again")]
fn a_token_in_use_is_a_defect() {
    let mut process = Process::new(Faults::none());
    let (socket, _) = process.accepted();
    process.submit(Operation::Receive { socket, wait_first: true });
    process.next_slot -= 1;
    process.submit(Operation::Receive { socket, wait_first: true });
}

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
    let token = process.submit(Operation::Poll { socket, interest: Interest::READ });
    process.turn(Wait::No);
    assert!(process.early.is_empty());
    assert_eq!(process.completion(token).result, Interest::READ.0 as i32);
    let (mut process, socket) = certain(|faults| faults.submission_capacity = 1);
    for _ in 0..3 {
        process.submit(Operation::Poll { socket, interest: Interest::READ });
    }
    assert_eq!(process.driver.counters().early_submissions, 2);
}

#[test]
fn a_poll_can_end_for_a_peer_that_has_ended() {
    let mut process = Process::new(Faults { idle_poll: 1000, ..Faults::none() });
    let (socket, peer) = process.accepted();
    let token = process.submit(Operation::Poll { socket, interest: Interest::NONE });
    process.pass();
    assert!(process.early.is_empty());
    process.driver.cancel(token);
    assert_eq!(process.completion(token).result, errno(Errno::CANCELED));
    process.world.outside(|peers| peers.shutdown_write(peer).unwrap());
    process.pass();
    assert_eq!(process.poll(socket, Interest::NONE), Interest(libc::POLLRDHUP as u32));
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
        self.start(Operation::Receive { socket, wait_first: true });
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
        let mut proceed = || -> std::io::Result<bool> {
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

fn not_blocked(result: std::io::Result<usize>) -> std::io::Result<Option<usize>> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
        result => result.map(Some),
    }
}

/// A run of clients against the echoing worker; its fingerprint.
fn echo_run(seed: u64, faults: Faults) -> u64 {
    let world = World::new(seed, faults);
    let process = Process::in_world(world.clone());
    let listener = world.listen(here(), 4);
    let mut echo = Echo { process, listener, sending: BTreeMap::new(), sockets: BTreeMap::new() };
    (0..4).for_each(|_| drop(echo.process.provide(2048)));
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
