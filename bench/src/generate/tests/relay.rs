//! Owns the check that what somebody on the way does to the units of a stream is counted exactly:
//! a relay that leaves out, repeats and exchanges them, and keeps a journal of what it passed on.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use fastrand::Rng;
use ringmain::engine::{Listener, Socket};
use rustls::ServerConfig;

use super::super::cause::Cause;
use super::super::channel::{AgentTls, Channel};
use super::super::course::Arrivals;
use super::super::protocol::Protocol;
use super::super::record::Window;
use super::super::stage::Stage;
use super::super::tls::{Material, Terms};
use super::super::wire::{Decoded, Inbound, Mark};
use super::scene::{open, order, play_through};

struct Relay {
    stage: Rc<Stage>,
    protocol: Protocol,
    backend: SocketAddr,
    /// It opens what is sealed, and seals it again.
    tls: Option<(Arc<ServerConfig>, AgentTls)>,
    random: RefCell<Rng>,
    journal: Rc<RefCell<Vec<Mark>>>,
}

impl Relay {
    async fn open(self: Rc<Self>, listener: Listener) {
        let mut incoming = listener.incoming();
        while let Some(Ok(Some(socket))) = self.stage.unless_over(incoming.next()).await {
            let relay = Rc::clone(&self);
            self.stage.engine.spawn(async move {
                // It lasts as long as the agent, or the run.
                relay.stage.unless_over(relay.pass_on(socket)).await;
            });
        }
    }

    async fn pass_on(&self, socket: Socket) -> Result<(), Cause> {
        let (server, client) = self.tls.as_ref().map(|(server, client)| (server, client)).unzip();
        let near = Channel::accept(&self.stage, socket, server).await?;
        let far = Channel::connect(&self.stage, self.backend, None, client).await?;
        let (format, mut inbound) = (self.protocol.format(), Inbound::default());
        let mut held_back = Vec::new();
        while near.receive(inbound.room()).await? > 0 {
            let mut bytes = Vec::new();
            while let Decoded::Unit { mark, intact, length } = format.decode(inbound.rest()) {
                assert!(intact);
                let unit = inbound.rest()[..length].to_vec();
                inbound.consume(length);
                let copies = match self.random.borrow_mut().u8(..100) {
                    0..3 => 0,
                    3..7 => 2,
                    7..10 if held_back.is_empty() => {
                        held_back.push((mark, unit));
                        continue;
                    }
                    _ => 1,
                };
                let units = std::iter::repeat_n((mark, unit), copies).chain(held_back.drain(..));
                for (mark, unit) in units {
                    self.journal.borrow_mut().push(mark);
                    bytes.extend_from_slice(&unit);
                }
            }
            far.send(&bytes).await?;
        }
        Ok(())
    }
}

/// Units of the window by the journal alone: those that came, came again, and came late.
fn known(journal: &[Mark], window: Window) -> (u64, u64, u64) {
    let (mut known, mut seen, mut highest) = ((0, 0, 0), HashSet::new(), HashMap::new());
    for mark in journal {
        let first = seen.insert((mark.stream, mark.sequence));
        let next: &mut u64 = highest.entry(mark.stream).or_default();
        let is_late = first && mark.sequence < *next;
        *next = (*next).max(mark.sequence + 1);
        if window.holds(mark.due) {
            known.0 += u64::from(first);
            known.1 += u64::from(!first);
            known.2 += u64::from(is_late);
        }
    }
    known
}

#[test]
fn what_a_relay_does_to_a_stream_is_counted_exactly() {
    for protocol in
        [Protocol::SyslogTcp, Protocol::SyslogLines, Protocol::SyslogTls, Protocol::Ndjson]
    {
        let (material, journal) = (Material::generate().unwrap(), Rc::default());
        let order = order(protocol, 10, open(1_000.0, Arrivals::Poisson), 10);
        let outcome = play_through(&order, &material, &|stage, world, backend| {
            let tls = protocol.handshakes().map(|handshakes| {
                let agents = material.agents(protocol, handshakes, Terms::default());
                (material.backends(protocol).unwrap(), agents.unwrap())
            });
            let (stage, random) = (Rc::clone(stage), RefCell::new(Rng::with_seed(3)));
            let engine = stage.engine.clone();
            let journal = Rc::clone(&journal);
            let relay = Rc::new(Relay { stage, protocol, backend, tls, random, journal });
            let address = SocketAddr::new(backend.ip(), backend.port() + 100);
            let listener = Listener::from_descriptor(&engine, world.listen(address, 64));
            engine.spawn(relay.open(listener));
            address
        });
        let (came, again, late) = known(&journal.borrow(), outcome.window);
        assert!(again > 300 && late > 200, "{protocol:?}: {again}, {late}");
        let counts = outcome.tally.counts();
        assert!(counts.sent > 9_500 && counts.sent - came > 200, "{protocol:?}: {counts:?}");
        assert_eq!((counts.answered, counts.lost), (came, counts.sent - came), "{protocol:?}");
        assert_eq!((counts.duplicated, counts.reordered), (again, late), "{protocol:?}");
        assert_eq!((counts.corrupted, counts.errors()), (0, 0), "{protocol:?}: {counts:?}");
    }
}
