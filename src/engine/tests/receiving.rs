//! Receives that bring several pieces: what the kernel does, and what a socket makes of it, with a
//! kernel that knows caps and with one that does not.

use std::cell::Cell;
use std::ptr::NonNull;

use super::super::driver::{Completion, Descriptor, Driver, Operation, Token, Wait};
use super::*;

/// One ring without an engine, and a connection. Buffers have 64 bytes.
struct Kernel {
    /// Before `memory`, which it may write to.
    driver: Uring,
    memory: Vec<Vec<u8>>,
    socket: TcpStream,
    peer: TcpStream,
    submitted: u32,
}

impl Kernel {
    fn new(buffers: u16) -> Kernel {
        let remote = Arc::new(Remote::with_signal().unwrap());
        let sizes = RingSizes { submissions: 8, completions: 16, buffers: 8 };
        let driver = Uring::new(sizes, remote).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.set_nodelay(true).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut kernel = Kernel { driver, memory: Vec::new(), socket, peer, submitted: 0 };
        (0..buffers).for_each(|_| kernel.provide());
        kernel
    }

    fn provide(&mut self) {
        let id = self.memory.len() as u16;
        self.memory.push(vec![0; 64]);
        let memory = NonNull::new(self.memory[usize::from(id)].as_mut_ptr()).unwrap();
        // SAFETY: the buffer is not resized and lives longer than the driver.
        unsafe { self.driver.provide(id, memory, 64) };
    }

    fn receive(&mut self, cap: u32) -> Token {
        use std::os::fd::AsRawFd;
        let socket = Descriptor(self.socket.as_raw_fd());
        let operation = Operation::Receive { socket, wait_first: true, cap };
        self.submitted += 1;
        let token = Token::new(self.submitted, 0, operation.kind());
        // SAFETY: a receive points to nothing but to what `provide` was given.
        unsafe { self.driver.submit(token, &operation) };
        token
    }

    fn turn(&mut self, wait: Wait) -> Vec<Completion> {
        let mut completions = Vec::new();
        self.driver.turn(wait, &mut completions).unwrap();
        completions
    }

    /// What comes next: result, buffer, more, nonempty.
    fn next(&mut self) -> (i32, Option<u16>, bool, bool) {
        let completions = self.turn(Wait::For(Duration::from_secs(5)));
        assert_eq!(completions.len(), 1, "{completions:?}");
        let Completion { result, buffer, more, nonempty, .. } = completions[0];
        (result, buffer, more, nonempty)
    }

    fn write(&mut self, length: usize) {
        self.peer.write_all(&vec![7; length]).unwrap();
    }
}

/// The cap counts what has come. It does not shorten the last piece, and it leaves the rest.
#[test]
fn the_kernel_ends_a_receive_when_its_cap_is_used_up() {
    let mut kernel = Kernel::new(4);
    kernel.receive(64);
    kernel.write(10);
    if !kernel.driver.caps_receives() {
        assert_eq!(kernel.next(), (10, Some(0), false, false));
        return;
    }
    assert_eq!(kernel.next(), (10, Some(0), true, false));
    kernel.write(20);
    assert_eq!(kernel.next(), (20, Some(1), true, false));
    kernel.write(100);
    assert_eq!(kernel.next(), (64, Some(2), false, true));
    kernel.receive(64);
    assert_eq!(kernel.next(), (36, Some(3), true, false));
}

#[test]
fn the_kernel_ends_a_receive_when_no_buffer_is_left_and_loses_nothing() {
    let mut kernel = Kernel::new(1);
    kernel.receive(64);
    kernel.write(10);
    let (result, buffer, more, _) = kernel.next();
    assert_eq!((result, buffer, more), (10, Some(0), kernel.driver.caps_receives()));
    kernel.write(20);
    if !kernel.driver.caps_receives() {
        kernel.receive(64);
    }
    let (result, buffer, more, _) = kernel.next();
    assert_eq!((result, buffer, more), (-libc::ENOBUFS, None, false));
    kernel.provide();
    kernel.receive(64);
    assert_eq!(kernel.next().0, 20);
}

#[test]
fn the_kernel_ends_a_receive_with_the_stream_or_when_asked() {
    let mut kernel = Kernel::new(2);
    let token = kernel.receive(64);
    kernel.driver.cancel(token);
    let (result, buffer, more, _) = kernel.next();
    assert_eq!((result, buffer, more), (-libc::ECANCELED, None, false));
    kernel.receive(64);
    kernel.peer.shutdown(std::net::Shutdown::Write).unwrap();
    let (result, buffer, more, _) = kernel.next();
    assert_eq!((result, buffer, more), (0, None, false));
}

/// Runs `test` on both kinds of kernel, and expects that nothing is held afterwards.
fn run_on_both(buffers: u16, test: impl AsyncFn(&Engine)) {
    for old in [false, true] {
        let engine = engine_on(old, buffers, usize::from(buffers));
        run(&engine, test(&engine));
    }
}

/// Lets the kernel do what it can without anyone taking anything.
async fn settle(engine: &Engine) {
    engine.sleep_until(engine.now() + Duration::from_millis(20)).await;
}

#[test]
fn what_comes_while_nobody_waits_is_there_for_the_next_who_does() {
    run_on_both(8, async |engine: &Engine| {
        let (socket, mut peer) = connect(engine).await;
        let _begun = socket.receive();
        for piece in [b"one", b"two", b"six"] {
            peer.write_all(piece).unwrap();
            settle(engine).await;
        }
        let mut got = Vec::new();
        while got.len() < 9 {
            got.extend_from_slice(&socket.receive().await.unwrap().unwrap());
        }
        assert_eq!(got, b"onetwosix");
        drop(peer);
        assert!(socket.receive().await.unwrap().is_none());
    });
}

#[test]
fn what_is_skipped_is_gone_and_what_follows_can_be_read() {
    run_on_both(8, async |engine: &Engine| {
        let (socket, mut peer) = connect(engine).await;
        let nothing = socket.skip(100).unwrap_err();
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
        peer.write_all(b"nobody looks, and this is read").unwrap();
        settle(engine).await;
        assert_eq!(socket.skip(14).unwrap(), 14);
        let mut room = [0; 100];
        assert_eq!(socket.read(&mut room).unwrap(), 16);
        assert_eq!(&room[..16], b"and this is read");
        drop(peer);
        settle(engine).await;
        assert_eq!(socket.skip(100).unwrap(), 0);
    });
}

#[test]
fn however_small_the_pieces_few_buffers_wait() {
    run_on_both(64, async |engine: &Engine| {
        let (socket, mut peer) = connect(engine).await;
        peer.set_nodelay(true).unwrap();
        let _begun = socket.receive();
        for _ in 0..40 {
            peer.write_all(&[7; 100]).unwrap();
            engine.pause().await;
        }
        settle(engine).await;
        assert_eq!(engine.status().buffers_held, 1);
        peer.write_all(&[7; 40_000]).unwrap();
        settle(engine).await;
        // What did not fit, and the piece that used up the cap.
        assert!(engine.status().buffers_held <= 2, "{:?}", engine.status());
        let mut got = 0;
        while got < 44_000 {
            got += socket.receive().await.unwrap().unwrap().len();
        }
    });
}

#[test]
fn a_socket_that_is_dropped_gives_back_what_nobody_took() {
    run_on_both(8, async |engine: &Engine| {
        for _ in 0..10 {
            let (socket, mut peer) = connect(engine).await;
            let _begun = socket.receive();
            peer.write_all(&[7; 100]).unwrap();
            settle(engine).await;
            assert_eq!(engine.status().buffers_held, 1);
        }
    });
}

fn cancelled(received: std::io::Result<Option<Buffer>>) -> bool {
    received.is_err_and(|error| error.raw_os_error() == Some(libc::ECANCELED))
}

#[test]
fn a_receive_now_takes_what_is_there_and_waits_for_nothing() {
    run_on_both(4, async |engine: &Engine| {
        let (socket, mut peer) = connect(engine).await;
        for round in 0..200u8 {
            assert!(cancelled(socket.receive_now().await), "nothing is there");
            peer.write_all(&[round; 100]).unwrap();
            let buffer = socket.receive_now().await.unwrap().unwrap();
            assert_eq!(buffer.len(), 100);
            assert!(!socket.is_receiving(), "it takes one piece");
        }
        drop(peer);
        assert!(socket.receive_now().await.unwrap().is_none(), "the end is there");
    });
}

#[test]
fn a_recalled_receive_gives_what_had_come_and_takes_nothing_more() {
    run_on_both(4, async |engine: &Engine| {
        let (socket, mut peer) = connect(engine).await;
        let mut waiting = socket.receive();
        engine.pause().await;
        socket.recall();
        assert!(cancelled((&mut waiting).await));
        let mut waiting = socket.receive();
        peer.write_all(b"before").unwrap();
        settle(engine).await;
        socket.recall();
        settle(engine).await;
        peer.write_all(b"after").unwrap();
        settle(engine).await;
        assert_eq!(engine.status().buffers_held, 1);
        assert_eq!(&*(&mut waiting).await.unwrap().unwrap(), b"before");
        if socket.is_receiving() {
            assert!(cancelled((&mut waiting).await));
        }
        assert!(!socket.is_receiving());
        assert_eq!(&*socket.receive_now().await.unwrap().unwrap(), b"after");
    });
}

#[test]
fn a_receive_that_is_recalled_while_it_waits_for_a_buffer_ends_at_once() {
    run_on_both(1, async |engine: &Engine| {
        let (holder, mut peer) = connect(engine).await;
        peer.write_all(b"held").unwrap();
        let held = holder.receive().await.unwrap().unwrap();
        let (socket, mut peer) = connect(engine).await;
        let socket = Rc::new(socket);
        peer.write_all(b"later").unwrap();
        let (waiting, ended) = (Rc::clone(&socket), Rc::new(Cell::new(false)));
        let seen = Rc::clone(&ended);
        engine.spawn(async move { seen.set(cancelled(waiting.receive().await)) });
        settle(engine).await;
        assert!(engine.status().buffers_exhausted > 0);
        socket.recall();
        engine.pause().await;
        assert!(ended.get());
        drop(held);
        assert_eq!(&*socket.receive().await.unwrap().unwrap(), b"later");
    });
}

/// Sends what `feeder` writes on to `target` until that has no room, and while it lasts.
async fn stall<'s>(
    engine: &Engine,
    source: &Socket,
    target: &'s Socket,
    feeder: &mut TcpStream,
) -> Send<'s> {
    loop {
        feeder.write_all(&[7; 4000]).unwrap();
        let buffer = source.receive().await.unwrap().unwrap();
        let mut sending = target.send_beside(buffer, &source.receive());
        loop {
            // A send that is done says so when a turn ends, and nothing else would end it.
            let pause = engine.sleep_until(engine.now() + Duration::from_millis(1));
            match race(&mut sending, pause).await {
                Either::First(Sent::Stalled) => return sending,
                Either::First(_) => break,
                Either::Second(()) => {}
            }
        }
    }
}

#[test]
fn a_send_without_room_recalls_what_is_received_beside_it() {
    run_on_both(16, async |engine: &Engine| {
        let (source, mut feeder) = connect(engine).await;
        let (target, _never_reads) = connect(engine).await;
        let sending = stall(engine, &source, &target, &mut feeder).await;
        feeder.write_all(b"not yet").unwrap();
        settle(engine).await;
        assert_eq!(engine.status().buffers_held, 1);
        drop(sending);
        let error = source.receive().await.err().unwrap();
        assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
        assert_eq!(&*source.receive().await.unwrap().unwrap(), b"not yet");
    });
}

#[test]
fn a_stream_that_is_held_up_again_and_again_arrives_as_it_was() {
    run_on_both(16, async |engine: &Engine| {
        let (source, mut feeder) = connect(engine).await;
        let (target, mut reader) = connect(engine).await;
        let fed: Vec<u8> = (0..4_000_000u32).map(|number| (number / 7) as u8).collect();
        let (expected, mut got) = (fed.clone(), vec![0; fed.len()]);
        let feeding = std::thread::spawn(move || feeder.write_all(&fed).unwrap());
        let reading = std::thread::spawn(move || {
            for piece in got.chunks_mut(100_000) {
                reader.read_exact(piece).unwrap();
            }
            got
        });
        let mut left = expected.len();
        while left > 0 {
            let buffer = match source.receive().await {
                Ok(buffer) => buffer.unwrap(),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
                    continue;
                }
            };
            left -= buffer.len();
            let mut sending = target.send_beside(buffer, &source.receive());
            while !matches!((&mut sending).await, Sent::Done) {}
            // The one that was sent is back; at most two stood behind it.
            assert!(engine.status().buffers_held <= 2, "{:?}", engine.status());
        }
        feeding.join().unwrap();
        assert!(reading.join().unwrap() == expected);
    });
}
