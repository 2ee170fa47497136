//! What a worker submits and calls, how it waits, and what the world takes for a defect.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::super::{Faults, Leftovers, Next, Peers, World};
use super::process::{OPTIONS, Process, anywhere, errno, here, send_of, there};
use crate::engine::driver::{Descriptor, Interest, Operation, Wait};
use crate::engine::remote::Remote;
use crate::engine::time::Time;

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
    assert_eq!(process.read(peer).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_receive_takes_the_oldest_buffer_only_for_bytes() {
    let mut process = Process::new(Faults::none());
    process.provide(4);
    process.provide(4);
    let (socket, peer) = process.accepted();
    let token = process.submit(Operation::Receive { socket, wait_first: true, cap: 1 });
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
fn a_receive_goes_on_until_its_cap_is_used_up() {
    let mut process = Process::new(Faults::none());
    for _ in 0..4 {
        process.provide(8);
    }
    let (socket, peer) = process.accepted();
    let token = process.submit(Operation::Receive { socket, wait_first: true, cap: 8 });
    let mut next = |bytes: &[u8]| {
        process.write(peer, bytes);
        process.pass();
        let completion = process.completion(token);
        (completion.result, completion.buffer, completion.more, completion.nonempty)
    };
    assert_eq!(next(b"abc"), (3, Some(0), true, false));
    assert_eq!(next(b"de"), (2, Some(1), true, false));
    assert_eq!(next(b"fghijklmnop"), (8, Some(2), false, true));
    assert_eq!(process.received(socket).unwrap(), b"nop");
}

#[test]
fn an_old_kernel_ends_a_receive_with_its_first_piece() {
    let mut process = Process::new(Faults { caps_receives: false, ..Faults::none() });
    process.provide(8);
    let (socket, peer) = process.accepted();
    let token = process.submit(Operation::Receive { socket, wait_first: true, cap: 8 });
    process.write(peer, b"abc");
    process.pass();
    let completion = process.completion(token);
    assert_eq!((completion.result, completion.more), (3, false));
}

#[test]
fn a_quiet_send_that_is_done_ends_no_wait() {
    let mut process = Process::new(Faults::none());
    let (socket, peer) = process.accepted();
    let data = *b"abc";
    let Operation::Send { data, length, .. } = send_of(socket, &data) else { unreachable!() };
    let token = process.submit(Operation::Send { socket, data, length, quiet: true });
    let before = process.world.now();
    process.turn(Wait::For(Duration::from_millis(500)));
    assert!(process.world.now().since(before) >= Duration::from_millis(500));
    assert_eq!(process.completion(token).result, 3);
    assert_eq!(process.read(peer).unwrap(), b"abc");
}

#[test]
fn without_a_buffer_everything_is_enobufs() {
    let mut process = Process::new(Faults::none());
    let (socket, peer) = process.accepted();
    assert_eq!(process.receive(socket).result, errno(Errno::NOBUFS), "nothing to receive");
    let token = process.submit(Operation::Receive { socket, wait_first: true, cap: 1 });
    process.pass();
    assert!(process.early.is_empty());
    process.world.outside(|peers| peers.reset(peer));
    assert_eq!(process.completion(token).result, errno(Errno::NOBUFS), "a reset");
    process.provide(16);
    assert_eq!(process.receive(socket).result, errno(Errno::CONNRESET));
}

#[test]
fn a_send_takes_what_there_is_room_for_and_then_nothing() {
    let mut process = Process::new(Faults::none());
    let (socket, peer) = process.accepted();
    let data = vec![1; 400_000];
    let token = process.submit(send_of(socket, &data));
    let sent = process.completion(token).result as usize;
    assert!(sent > 0 && sent < data.len());
    let token = process.submit(send_of(socket, &data));
    let more = process.completion(token).result;
    assert!(more == errno(Errno::AGAIN) || more > 0);
    let mut got = 0;
    while got < sent + more.max(0) as usize {
        process.pass();
        got += process.read(peer).unwrap().len();
    }
    let token = process.submit(send_of(socket, &data));
    assert!(process.completion(token).result > 0, "there is room again");
}

#[test]
fn a_send_takes_the_error_of_a_reset_and_a_receive_gives_nothing() {
    let mut process = Process::new(Faults::none());
    process.provide(64);
    let (socket, peer) = process.accepted();
    let data = vec![1; 1_000_000];
    let token = process.submit(send_of(socket, &data));
    assert!(process.completion(token).result > 0);
    process.world.outside(|peers| peers.reset(peer));
    process.pass();
    let token = process.submit(send_of(socket, &data));
    assert_eq!(process.completion(token).result, errno(Errno::CONNRESET));
    assert_eq!(process.receive(socket).result, 0);
    assert!(process.driver.is_gone(socket));
    assert!(process.driver.unsent(socket).unwrap() > 0, "as Linux goes on counting them");
}

#[test]
fn a_pipe_that_finds_one_descriptor_only_leaves_nothing() {
    let mut process = Process::new(Faults::none());
    process.world.limit_descriptors(4);
    assert!(process.driver.pipe(4096).is_err());
    assert_eq!(process.world.leftovers(), Leftovers::default());
}

#[test]
fn a_pipe_carries_bytes_from_socket_to_socket() {
    let mut process = Process::new(Faults::none());
    let (socket, peer) = process.accepted();
    let (reader, writer) = process.driver.pipe(8192).unwrap();
    let again = |result: std::io::Result<usize>| {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
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
fn nothing_that_can_happen_is_an_error_that_shows_what_is_pending() {
    let mut process = Process::new(Faults::none());
    let (socket, _) = process.accepted();
    process.submit(Operation::Receive { socket, wait_first: true, cap: 1 });
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
fn a_descriptor_can_move_to_another_worker() {
    let mut first = Process::new(Faults::none());
    let (socket, peer) = first.accepted();
    let mut second = Process::in_world(first.world.clone());
    second.provide(16);
    let token = second.submit(Operation::Receive { socket, wait_first: true, cap: 1 });
    second.turn(Wait::No);
    second.write(peer, b"moved");
    first.turn(Wait::Forever);
    assert_eq!(second.completion(token).result, 5);
    drop(second);
    first.driver.close(socket);
    assert_eq!(first.world.leftovers(), Leftovers { listeners: 1, ..Leftovers::default() });
}

#[test]
#[should_panic(expected = "is closed with operations in flight")]
fn closing_under_an_operation_is_a_defect() {
    let mut process = Process::new(Faults::none());
    let (socket, _) = process.accepted();
    process.submit(Operation::Receive { socket, wait_first: true, cap: 1 });
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
    process.submit(Operation::Receive { socket, wait_first: true, cap: 1 });
    process.next_slot -= 1;
    process.submit(Operation::Receive { socket, wait_first: true, cap: 1 });
}
