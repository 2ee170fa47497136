//! Owns a network of datagrams on virtual time, which loses, repeats and delays them as it is told
//! and keeps a journal of what it delivered.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use ringmain::engine::{Engine, Interest, Notify, Time};

/// What happens on the way: shares of the datagrams, from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub lost: f64,
    pub repeated: f64,
    /// So long on its way that others overtake it.
    pub delayed: f64,
    pub delay: Duration,
    /// Sends that find no room at first.
    pub full: f64,
    /// Datagrams that may wait at a place.
    pub room: usize,
}

impl Default for Way {
    fn default() -> Way {
        let delay = Duration::from_millis(5);
        Way { lost: 0.0, repeated: 0.0, delayed: 0.0, delay, full: 0.0, room: usize::MAX }
    }
}

#[derive(Clone)]
pub struct Network(Rc<Shared>);

struct Shared {
    engine: Engine,
    way: Way,
    random: RefCell<Rng>,
    queues: RefCell<HashMap<SocketAddr, Rc<Queue>>>,
    next_port: Cell<u16>,
    /// By when it arrives, and its number.
    on_the_way: RefCell<BTreeMap<(Time, u64), Letter>>,
    sent: Cell<u64>,
    journal: RefCell<Vec<(SocketAddr, Vec<u8>)>>,
}

/// What is said, who says it, and to whom.
type Letter = (Vec<u8>, SocketAddr, SocketAddr);

/// Where datagrams come and go.
pub struct Place {
    network: Network,
    address: SocketAddr,
    peer: Option<SocketAddr>,
    queue: Rc<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: RefCell<VecDeque<(Vec<u8>, SocketAddr)>>,
    dropped: Cell<u32>,
    changed: Notify,
}

impl Network {
    pub fn new(engine: &Engine, way: Way, seed: u64) -> Network {
        Network(Rc::new(Shared {
            engine: engine.clone(),
            way,
            random: RefCell::new(Rng::with_seed(seed)),
            queues: RefCell::default(),
            next_port: Cell::new(0),
            on_the_way: RefCell::default(),
            sent: Cell::new(0),
            journal: RefCell::default(),
        }))
    }

    pub fn bind(&self, address: SocketAddr) -> Place {
        self.open(address, None)
    }

    pub fn connect(&self, peer: SocketAddr) -> Place {
        self.0.next_port.set(self.0.next_port.get() + 1);
        let address = SocketAddr::from((Ipv4Addr::new(127, 0, 2, 1), self.0.next_port.get()));
        self.open(address, Some(peer))
    }

    fn open(&self, address: SocketAddr, peer: Option<SocketAddr>) -> Place {
        let queue = Rc::new(Queue::default());
        self.0.queues.borrow_mut().insert(address, Rc::clone(&queue));
        Place { network: self.clone(), address, peer, queue }
    }

    /// Whom each datagram reached, in order.
    pub fn journal(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        self.0.journal.take()
    }

    fn strikes(&self, share: f64) -> bool {
        share > 0.0 && self.0.random.borrow_mut().f64() < share
    }

    /// Has a datagram arrive after so long, behind those that arrive at the same time.
    fn carry(&self, bytes: &[u8], from: SocketAddr, to: SocketAddr, after: Duration) {
        let (engine, network) = (&self.0.engine, self.clone());
        let time = engine.now() + after;
        let number = self.0.sent.replace(self.0.sent.get() + 1);
        self.0.on_the_way.borrow_mut().insert((time, number), (bytes.to_vec(), from, to));
        engine.spawn(async move {
            network.0.engine.alarm(time).await;
            network.deliver(time);
        });
    }

    fn deliver(&self, now: Time) {
        loop {
            let mut on_the_way = self.0.on_the_way.borrow_mut();
            let Some(next) = on_the_way.first_entry().filter(|next| next.key().0 <= now) else {
                return;
            };
            let (bytes, from, to) = next.remove();
            let Some(queue) = self.0.queues.borrow().get(&to).cloned() else { continue };
            if queue.waiting.borrow().len() >= self.0.way.room {
                queue.dropped.set(queue.dropped.get() + 1);
                continue;
            }
            self.0.journal.borrow_mut().push((to, bytes.clone()));
            queue.waiting.borrow_mut().push_back((bytes, from));
            queue.changed.notify_all();
        }
    }
}

impl Place {
    pub fn receive(&self, room: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let next = self.queue.waiting.borrow_mut().pop_front();
        let (bytes, from) = next.ok_or(io::ErrorKind::WouldBlock)?;
        room[..bytes.len()].copy_from_slice(&bytes);
        Ok((bytes.len(), from))
    }

    pub fn send(&self, bytes: &[u8], to: Option<SocketAddr>) -> io::Result<()> {
        let to = to.or(self.peer).ok_or(io::ErrorKind::NotConnected)?;
        let (network, way) = (&self.network, self.network.0.way);
        if network.strikes(way.full) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let copies = match (network.strikes(way.lost), network.strikes(way.repeated)) {
            (true, _) => 0,
            (false, repeated) => 1 + u32::from(repeated),
        };
        for _ in 0..copies {
            let after = if network.strikes(way.delayed) { way.delay } else { USUAL };
            network.carry(bytes, self.address, to, after);
        }
        Ok(())
    }

    /// Room comes with time.
    pub async fn ready(&self, interest: Interest) {
        let (engine, changed) = (&self.network.0.engine, self.queue.changed.notified());
        if interest.contains(Interest::WRITE) {
            engine.alarm(engine.now() + USUAL).await;
        } else if self.queue.waiting.borrow().is_empty() {
            changed.await;
        }
    }

    pub fn dropped(&self) -> u32 {
        self.queue.dropped.get()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.network.0.queues.borrow_mut().remove(&self.address);
    }
}

const USUAL: Duration = Duration::from_micros(200);
