//! The life of a connection: bytes, ends, resets, and how it comes about.

use std::io::ErrorKind;
use std::ptr::NonNull;
use std::time::Duration;

use rustix::io::Errno;
use socket2::SockAddr;

use super::super::{Faults, Leftovers, World};
use super::process::{OPTIONS, Process, errno, kernel, send_of, there};
use crate::engine::driver::{Interest, Operation, Wait};

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
fn a_descriptor_may_change_and_be_closed_in_one_turn() {
    let mut process = Process::new(Faults::none());
    let (socket, peer) = process.accepted();
    process.driver.shutdown_write(socket).unwrap();
    process.driver.close(socket);
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
    assert_eq!(process.read(peer).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_close_can_be_made_a_reset() {
    let mut process = Process::new(Faults::none());
    let (socket, peer) = process.accepted();
    process.driver.reset_on_close(socket);
    process.driver.close(socket);
    process.pass();
    assert_eq!(process.read(peer).unwrap_err().kind(), ErrorKind::ConnectionReset);
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
    assert_eq!(sent.unwrap_err().kind(), ErrorKind::BrokenPipe);
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
fn a_connection_that_is_given_up_before_it_is_granted_is_told_apart_from_a_reset() {
    let mut process = Process::new(Faults::none());
    let listener = process.world.outside(|peers| peers.listen(there(), 1));
    let socket = process.driver.open(&there(), &OPTIONS).unwrap();
    let address = SockAddr::from(there());
    let token = process.submit(Operation::Connect { socket, address: NonNull::from(&address) });
    let mut accepted = None;
    while accepted.is_none() {
        process.turn(Wait::For(Duration::from_micros(1)));
        accepted = process.world.outside(|peers| peers.accept(listener));
    }
    process.driver.cancel(token);
    assert_eq!(process.completion(token).result, errno(Errno::CANCELED));
    process.driver.close(socket);
    process.pass();
    let error = process.read(accepted.unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
}

#[test]
fn a_window_bounds_what_leaves() {
    for seed in 0..16 {
        let mut process = Process::in_world(World::new(seed, Faults::none()));
        let (socket, peer) = process.accepted();
        let data: Vec<u8> = (0..1_000_000u32).map(|number| number as u8).collect();
        let token = process.submit(send_of(socket, &data));
        let moved = process.completion(token).result as usize;
        assert!(moved > 0 && moved < data.len());
        // Until all that the window takes has arrived.
        process.world.run(Duration::from_secs(1));
        let arrived = moved - process.driver.unsent(socket).unwrap();
        let window = kernel(&process.world).network.endpoint(peer).link.window;
        let filled = arrived == moved || arrived >= window / 2;
        assert!(filled && arrived <= window, "{arrived} of {moved} in a window of {window}");
        let mut got = Vec::new();
        while got.len() < moved {
            got.extend(process.read(peer).unwrap());
            process.pass();
        }
        assert_eq!(got, data[..moved]);
        assert_eq!(process.driver.unsent(socket).unwrap(), 0);
    }
}
