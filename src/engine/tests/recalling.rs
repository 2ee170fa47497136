//! Receives that are recalled when something else stands in their place: a poll, or the wait for a
//! buffer. What has come is given, and nothing behind it is taken.

use super::super::driver::simulated::{EndpointId, Faults, World};
use super::*;

/// An engine in a simulated world.
struct Scene {
    world: World,
    engine: Engine,
    listener: Listener,
}

impl Scene {
    fn new(faults: Faults, buffers: u16) -> Scene {
        let world = World::new(1, faults);
        let remote = Arc::new(Remote::without_signal());
        let settings = EngineSettings {
            buffers: BufferSizes { size: 4096, count: buffers, offered: buffers },
            pipes: PipeSizes { count: 1, size: 65_536 },
            stall_after: Duration::from_secs(1),
            stalled_share: usize::from(buffers),
        };
        let engine = Engine::new(world.driver(Arc::clone(&remote)), remote, &settings).unwrap();
        let socket = world.listen("127.0.0.1:514".parse().unwrap(), 8);
        let listener = Listener::from_descriptor(&engine, socket);
        Scene { world, engine, listener }
    }

    /// A connection: the engine's end, and the other one.
    async fn connect(&self) -> (Socket, EndpointId) {
        let address = self.listener.local_address().unwrap();
        let anywhere = "0.0.0.0:0".parse().unwrap();
        let peer = self.world.outside(|peers| peers.connect(anywhere, address).unwrap());
        self.listener.ready().await.unwrap();
        (self.listener.accept_now().unwrap(), peer)
    }

    /// Has these bytes arrive, and what waits for them told of it; the engine learns of it later.
    fn deliver(&self, peer: EndpointId, bytes: &[u8]) {
        self.world.run(Duration::from_millis(10));
        let sent = self.world.outside(|peers| peers.write(peer, bytes).unwrap());
        assert_eq!(sent, bytes.len());
        self.world.run(Duration::from_millis(10));
    }

    /// The receive that was recalled gives `before`, and what comes then is left to the next.
    async fn expect(&self, socket: &Socket, peer: EndpointId, before: &[u8]) {
        assert_eq!(&*socket.receive().await.unwrap().unwrap(), before);
        self.deliver(peer, b"after");
        settle(&self.engine).await;
        assert_eq!(self.engine.status().buffers_held, 0, "nothing is taken");
        if socket.is_receiving() {
            let error = socket.receive().await.err().unwrap();
            assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
        }
        assert_eq!(&*socket.receive().await.unwrap().unwrap(), b"after");
    }

    fn run(self, test: impl AsyncFn(&Scene)) {
        let engine = self.engine.clone();
        run(&engine, async move { test(&self).await });
    }
}

/// Lets the kernel do what it can without anyone taking anything.
async fn settle(engine: &Engine) {
    engine.sleep_until(engine.now() + Duration::from_millis(20)).await;
}

#[test]
fn a_receive_that_is_recalled_when_it_has_just_missed_a_buffer_takes_what_is_there() {
    for caps_receives in [true, false] {
        let scene = Scene::new(Faults { caps_receives, ..Faults::none() }, 1);
        scene.run(async |scene| {
            let (holder, peer) = scene.connect().await;
            scene.deliver(peer, b"held");
            let held = holder.receive().await.unwrap().unwrap();
            let (socket, peer) = scene.connect().await;
            let _waiting = socket.receive();
            scene.engine.pause().await;
            scene.deliver(peer, b"before");
            // The kernel has ended it for want of a buffer; that is not known here.
            socket.recall();
            settle(&scene.engine).await;
            assert!(scene.engine.status().buffers_exhausted > 0);
            drop(held);
            scene.expect(&socket, peer, b"before").await;
        });
    }
}

#[test]
fn a_receive_that_is_recalled_when_its_poll_has_just_ended_takes_what_is_there() {
    let faults = Faults { caps_receives: false, empty_again: 1000, ..Faults::none() };
    Scene::new(faults, 4).run(async |scene| {
        let (socket, peer) = scene.connect().await;
        begin_without_waiting(scene, &socket, peer).await;
        settle(&scene.engine).await;
        scene.deliver(peer, b"before");
        socket.recall();
        scene.expect(&socket, peer, b"before").await;
    });
}

#[test]
fn a_receive_that_is_recalled_when_a_poll_stands_in_its_place_is_over_at_once() {
    let faults = Faults { caps_receives: false, empty_again: 1000, ..Faults::none() };
    Scene::new(faults, 4).run(async |scene| {
        let (socket, peer) = scene.connect().await;
        let waiting = begin_without_waiting(scene, &socket, peer).await;
        settle(&scene.engine).await;
        expect_end(scene, &socket, peer, waiting).await;
    });
}

#[test]
fn a_receive_that_is_recalled_when_it_has_just_found_nothing_is_over_at_once() {
    // What the kernel says is known a while later.
    let faults =
        Faults { caps_receives: false, empty_again: 1000, delayed: 1000, ..Faults::none() };
    Scene::new(faults, 4).run(async |scene| {
        let (socket, peer) = scene.connect().await;
        let waiting = begin_without_waiting(scene, &socket, peer).await;
        scene.engine.pause().await;
        expect_end(scene, &socket, peer, waiting).await;
    });
}

/// The receive is over when it is recalled, and the next one goes on.
async fn expect_end(scene: &Scene, socket: &Socket, peer: EndpointId, waiting: Receive<'_>) {
    socket.recall();
    let error = waiting.await.err().unwrap();
    assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
    scene.deliver(peer, b"later");
    assert_eq!(&*socket.receive().await.unwrap().unwrap(), b"later");
}

/// A receive that does not wait first, since more was said to be there, and finds nothing.
async fn begin_without_waiting<'s>(
    scene: &Scene,
    socket: &'s Socket,
    peer: EndpointId,
) -> Receive<'s> {
    scene.deliver(peer, &[7; 5000]);
    assert_eq!(socket.receive().await.unwrap().unwrap().len(), 4096);
    let mut pipe = Pipe::borrow_from(&scene.engine, Owner::default()).unwrap();
    assert_eq!(socket.splice_into(&mut pipe).unwrap(), 904);
    socket.receive()
}
