//! A real completion queue that is too small for what comes at once.

use std::cell::Cell;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use super::{connect, engine, run};
use crate::engine::{Either, Listener, race};

/// Four times what the queue of these tests holds.
const MANY: usize = 64;

#[test]
fn what_finds_no_room_in_the_completion_queue_comes_later() {
    let engine = engine(256, 256);
    let pause = || engine.sleep_until(engine.now() + Duration::from_millis(2));
    run(&engine, async {
        let received = Rc::new(Cell::new(0));
        let mut peers = Vec::new();
        for _ in 0..MANY {
            let (socket, peer) = connect(&engine).await;
            let received = Rc::clone(&received);
            engine.spawn(async move {
                assert_eq!(&*socket.receive().await.unwrap().unwrap(), b"bytes");
                received.set(received.get() + 1);
            });
            peers.push(peer);
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Listener::new(&engine, listener.into(), false);
        let mut incoming = listener.incoming();
        assert!(matches!(race(incoming.next(), pause()).await, Either::Second(())));
        // All of it within one turn of the loop.
        peers.iter_mut().for_each(|peer| peer.write_all(b"bytes").unwrap());
        let clients: Vec<_> = (0..MANY).map(|_| TcpStream::connect(address).unwrap()).collect();
        for _ in 0..MANY {
            assert!(incoming.next().await.unwrap().is_some());
        }
        for _ in 0..1000 {
            if received.get() < MANY {
                pause().await;
            }
        }
        assert_eq!(received.get(), MANY);
        incoming.stop();
        assert!(incoming.next().await.unwrap().is_none());
        drop(clients);
    });
    assert!(engine.status().driver.overflows > 0, "{:?}", engine.status());
}
