//! The engine on a real ring: what must hold whatever the kernel does with the timing.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::driver::SocketOptions;
use super::driver::simulated::{Faults, World};
use super::driver::uring::{RingSizes, Uring};
use super::*;

mod overflowing;
mod polling;
mod recalling;
mod receiving;

fn engine(buffers: u16, stalled_share: usize) -> Engine {
    engine_on(false, buffers, stalled_share)
}

/// `old`: a kernel without receives that bring several pieces.
fn engine_on(old: bool, buffers: u16, stalled_share: usize) -> Engine {
    let remote = Arc::new(Remote::with_signal().unwrap());
    let sizes = RingSizes { submissions: 8, completions: 16, buffers: buffers.next_power_of_two() };
    let driver = Uring::new(sizes, Arc::clone(&remote)).unwrap();
    let driver = Box::new(if old { driver.without_capped_receives() } else { driver });
    let settings = EngineSettings {
        buffers: BufferSizes { size: 4096, count: buffers, offered: buffers },
        pipes: PipeSizes { count: 2, size: 65_536 },
        stall_after: Duration::from_millis(50),
        stalled_share,
    };
    Engine::new(driver, remote, &settings).unwrap()
}

/// An engine for tasks that use no kernel, on virtual time.
pub(super) fn plain_engine() -> Engine {
    let world = World::new(1, Faults::none());
    let remote = Arc::new(Remote::without_signal());
    let settings = EngineSettings {
        buffers: BufferSizes { size: 64, count: 1, offered: 1 },
        pipes: PipeSizes { count: 0, size: 4096 },
        stall_after: Duration::from_secs(1),
        stalled_share: 1,
    };
    Engine::new(world.driver(Arc::clone(&remote)), remote, &settings).unwrap()
}

const OPTIONS: SocketOptions = SocketOptions {
    nodelay: true,
    keepalive: None,
    user_timeout: None,
    receive_buffer: None,
    send_buffer: None,
};

/// A connection: the engine's end, and the other end as a plain blocking socket.
async fn connect(engine: &Engine) -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let socket = Socket::open(engine, &address, None, &OPTIONS).unwrap();
    socket.connect(address).await.unwrap();
    let (peer, _) = listener.accept().unwrap();
    (socket, peer)
}

/// Runs `test` and then expects that the engine holds nothing any more.
fn run(engine: &Engine, test: impl Future<Output = ()>) {
    engine.block_on(test, || ()).unwrap();
    engine.wind_up(Duration::from_secs(5)).unwrap();
    let left = engine.status();
    assert_eq!(
        (left.operations, left.descriptors, left.buffers_held, left.pipes_held, left.timers),
        (0, 0, 0, 0, 0),
        "{:?}",
        engine.describe_operations()
    );
}

#[test]
fn a_panicking_task_is_ended_alone() {
    let engine = engine(4, 4);
    let reached = Rc::new(RefCell::new(false));
    let flag = Rc::clone(&reached);
    engine.spawn(async { panic!("on purpose") });
    engine.spawn(async move { *flag.borrow_mut() = true });
    run(&engine, async { engine.sleep_until(engine.now() + Duration::from_millis(1)).await });
    assert!(*reached.borrow());
    assert_eq!(engine.status().panics, 1);
}

#[test]
fn a_panic_of_the_engine_ends_the_thread() {
    let ended = std::thread::spawn(|| {
        let engine = engine(4, 4);
        engine.spawn(async { panics::raise_for_test() });
        engine.block_on(std::future::pending::<()>(), || ()).unwrap();
    });
    assert!(ended.join().is_err());
}

#[test]
fn bytes_come_back_as_they_were_sent() {
    let engine = engine(4, 4);
    run(&engine, async {
        let (socket, mut peer) = connect(&engine).await;
        for round in 0..100u8 {
            peer.write_all(&[round; 3000]).unwrap();
            let mut received = 0;
            while received < 3000 {
                let buffer = socket.receive().await.unwrap().unwrap();
                assert!(buffer.iter().all(|byte| *byte == round));
                received += buffer.len();
                let length = buffer.len();
                let mut sending = socket.send(buffer);
                assert!(matches!((&mut sending).await, Sent::Done));
                let mut back = vec![0; length];
                peer.read_exact(&mut back).unwrap();
                assert_eq!(back, vec![round; length]);
            }
        }
        drop(peer);
        assert!(socket.receive().await.unwrap().is_none(), "the end of the stream");
    });
}

#[test]
fn the_port_of_a_source_is_chosen_when_it_is_known_where_it_connects_to() {
    let engine = engine(4, 4);
    run(&engine, async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, source) = (listener.local_addr().unwrap(), [127, 0, 0, 2].into());
        let socket = Socket::open(&engine, &address, Some(source), &OPTIONS).unwrap();
        // So that a port that is taken towards one backend serves towards another.
        assert_eq!(socket.local_address().unwrap(), (source, 0).into());
        socket.connect(address).await.unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert!(peer.ip() == source && peer.port() != 0, "{peer}");
    });
}

#[test]
fn receives_wait_for_a_buffer_and_go_on_when_one_is_back() {
    let engine = engine(2, 2);
    run(&engine, async {
        let mut held = Vec::new();
        let mut peers = Vec::new();
        for _ in 0..2 {
            let (socket, mut peer) = connect(&engine).await;
            peer.write_all(b"held").unwrap();
            held.push(socket.receive().await.unwrap().unwrap());
            peers.push((socket, peer));
        }
        let (socket, mut peer) = connect(&engine).await;
        peer.write_all(b"late").unwrap();
        let pause = engine.sleep_until(engine.now() + Duration::from_millis(50));
        let mut receive = socket.receive();
        assert!(matches!(race(&mut receive, pause).await, Either::Second(())));
        assert!(engine.status().buffers_exhausted > 0);
        held.pop();
        assert_eq!(&*receive.await.unwrap().unwrap(), b"late");
    });
}

#[test]
fn a_socket_dropped_while_it_receives_gives_back_what_it_was_given() {
    let engine = engine(4, 4);
    run(&engine, async {
        for _ in 0..20 {
            let (socket, mut peer) = connect(&engine).await;
            let _receive = socket.receive();
            engine.pause().await;
            peer.write_all(b"lost").unwrap();
            drop(socket);
            engine.pause().await;
        }
    });
}

#[test]
fn a_stalled_send_is_noticed_and_loses_its_buffer_when_others_wait() {
    let engine = engine(2, 2);
    run(&engine, async {
        let (slow, mut feeder) = connect(&engine).await;
        let (frozen, _never_reads) = connect(&engine).await;
        feeder.set_nonblocking(true).unwrap();
        let mut stalled = loop {
            // Until the frozen peer's window and our send buffer are full. A probe of the window
            // may still find room after a while; what stalls behind that stays so.
            let _ = feeder.write(&[7; 65_536]);
            let buffer = slow.receive().await.unwrap().unwrap();
            let mut sending = frozen.send(buffer);
            if let Sent::Stalled = (&mut sending).await {
                let patience = engine.sleep_until(engine.now() + Duration::from_millis(500));
                match race(&mut sending, patience).await {
                    Either::First(Sent::Done) => {}
                    Either::First(other) => panic!("nobody waits for its buffer: {other:?}"),
                    Either::Second(()) => break sending,
                }
            }
        };
        let (hungry, mut peer) = connect(&engine).await;
        peer.write_all(b"one").unwrap();
        let first = hungry.receive().await.unwrap().unwrap();
        peer.write_all(b"two").unwrap();
        let mut next = hungry.receive();
        loop {
            match race(&mut next, &mut stalled).await {
                Either::Second(Sent::Stalled) => {}
                Either::Second(Sent::Evicted) => break,
                _ => panic!("the stalled send should have lost its buffer"),
            }
        }
        drop((stalled, first, next));
    });
}

#[test]
fn a_stall_is_noticed_however_late_the_thread_gets_its_cpu() {
    let engine = engine(2, 2);
    run(&engine, async {
        let (slow, mut feeder) = connect(&engine).await;
        let (frozen, _never_reads) = connect(&engine).await;
        feeder.set_nonblocking(true).unwrap();
        let mut last = loop {
            let _ = feeder.write(&[7; 65_536]);
            let buffer = slow.receive().await.unwrap().unwrap();
            let mut sending = frozen.send(buffer);
            let moment = engine.sleep_until(engine.now() + Duration::from_millis(20));
            if let Either::Second(()) = race(&mut sending, moment).await {
                break sending;
            }
        };
        hold_the_thread_up();
        let patience = engine.sleep_until(engine.now() + Duration::from_secs(20));
        let noticed = race(&mut last, patience).await;
        // What the peer took after all is no stall.
        assert!(matches!(noticed, Either::First(Sent::Stalled | Sent::Done)), "{noticed:?}");
    });
}

/// For longer than a stall takes to be noticed, and than the checks lie apart.
#[allow(clippy::disallowed_methods, reason = "what a busy host does to a thread")]
fn hold_the_thread_up() {
    std::thread::sleep(Duration::from_millis(400));
}

#[test]
fn an_inbox_wakes_the_engine_from_another_thread() {
    let engine = engine(4, 4);
    let inbox = Inbox::new(8, Arc::clone(engine.remote()));
    let sender = inbox.clone();
    let thread = std::thread::spawn(move || (0..8).for_each(|n| sender.push(n).unwrap()));
    run(&engine, async {
        for expected in 0..8 {
            assert_eq!(inbox.next(&engine).await, expected);
        }
    });
    thread.join().unwrap();
    assert_eq!(inbox.push(1), Ok(()));
}

#[test]
fn a_multishot_accept_can_be_stopped_without_losing_anyone() {
    let engine = engine(4, 4);
    run(&engine, async {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener::new(&engine, socket.into(), false);
        let mut incoming = listener.incoming();
        let first = TcpStream::connect(address).unwrap();
        let accepted = incoming.next().await.unwrap().unwrap();
        let others: Vec<_> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
        incoming.stop();
        let mut taken = 0;
        while let Some(client) = incoming.next().await.unwrap() {
            drop(client);
            taken += 1;
        }
        // Those that the kernel had not accepted yet wait in the backlog.
        while let Ok(client) = listener.accept_now() {
            drop(client);
            taken += 1;
        }
        assert_eq!(taken, 5);
        drop((first, accepted, others));
    });
}

/// Linux tells a one-shot poll of a socket whose peer has ended its stream so at once, whatever
/// is asked, and hands a send that waits there to a kernel worker thread.
#[test]
fn a_full_half_closed_target_is_waited_for_without_spinning_or_worker_threads() {
    let engine = engine(4, 4);
    run(&engine, async {
        let (slow, mut feeder) = connect(&engine).await;
        let (target, mut reader) = connect(&engine).await;
        reader.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(target.receive().await.unwrap().is_none());
        feeder.set_nonblocking(true).unwrap();
        let mut sent = 0;
        let mut stalled = loop {
            // Until the reader's window and our send buffer are full.
            let _ = feeder.write(&[7; 65_536]);
            let buffer = slow.receive().await.unwrap().unwrap();
            sent += buffer.len();
            let mut sending = target.send(buffer);
            if let Sent::Stalled = (&mut sending).await {
                break sending;
            }
        };
        let before = engine.status().driver.turns;
        engine.sleep_until(engine.now() + Duration::from_millis(300)).await;
        assert!(engine.status().driver.turns - before < 10, "it spins");
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let name = |path: std::path::PathBuf| std::fs::read_to_string(path.join("comm"));
        let workers = threads
            .filter_map(|thread| name(thread.unwrap().path()).ok())
            .filter(|name| name.starts_with("iou-wrk"));
        assert_eq!(workers.count(), 0, "a kernel worker thread sends");
        let read = std::thread::spawn(move || {
            let mut bytes = vec![0; sent];
            reader.read_exact(&mut bytes).unwrap();
        });
        while !matches!((&mut stalled).await, Sent::Done) {}
        drop(stalled);
        read.join().unwrap();
    });
}
