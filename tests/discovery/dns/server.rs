//! Owns the server as a test holds it: what it knows, how it behaves, what it was asked.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::{Name, RecordType};

use super::behaviour::{Behaviour, Reply, Right};
use super::entry::Entry;
use super::transport::Transport;
use super::zone::{Zone, key};

/// Ends when it is dropped: its ports are closed then.
pub struct DnsServer {
    shared: Arc<Shared>,
    transport: Transport,
}

/// One query that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// In lower case, with a trailing dot.
    pub name: Name,
    pub kind: RecordType,
    pub tcp: bool,
    /// The largest datagram that the client takes; none without EDNS.
    pub payload: Option<u16>,
    pub id: u16,
    /// Where it came from.
    pub source: SocketAddr,
}

impl DnsServer {
    /// On a port of 127.0.0.1 that the kernel chooses, the same for UDP and TCP.
    pub fn start() -> DnsServer {
        DnsServer::serve(Transport::open(Ipv4Addr::LOCALHOST.into()))
    }

    /// The same on ::1.
    pub fn start_on_ipv6() -> DnsServer {
        DnsServer::serve(Transport::open(Ipv6Addr::LOCALHOST.into()))
    }

    /// At an address that was another server's before.
    pub fn start_at(address: SocketAddr) -> DnsServer {
        DnsServer::serve(Transport::open_at(address).unwrap())
    }

    /// TCP connections to its address are refused.
    pub fn without_tcp() -> DnsServer {
        DnsServer::serve(Transport::open(Ipv4Addr::LOCALHOST.into()).without_tcp())
    }

    fn serve(mut transport: Transport) -> DnsServer {
        let shared = Arc::new(Shared::default());
        transport.serve(&shared);
        DnsServer { shared, transport }
    }

    pub fn address(&self) -> SocketAddr {
        self.transport.address
    }

    /// The name has these records from now on, and no others. None: it exists without records.
    pub fn set(&self, name: &str, entries: impl IntoIterator<Item = Entry>) {
        self.alternate(name, [entries.into_iter().collect()]);
    }

    /// The name has the first set of records, with the next query of its type the second, and so
    /// on, over and over.
    pub fn alternate(&self, name: &str, sets: impl IntoIterator<Item = Vec<Entry>>) {
        self.state().zone.set(name, sets.into_iter().collect());
    }

    /// The name does not exist any more.
    pub fn remove(&self, name: &str) {
        self.state().zone.remove(name);
    }

    /// Whether the addresses of service targets go with the services. At first they do.
    pub fn send_additionals(&self, yes: bool) {
        self.state().zone.additionals = yes;
    }

    /// Whether aliases are followed, and recursion is said to be available. At first they are.
    pub fn recurse(&self, yes: bool) {
        self.state().zone.recursive = yes;
    }

    /// From now on, for all queries without a behaviour of their own. At first it is honest.
    pub fn behave(&self, behaviour: Behaviour) {
        self.state().behaviour = behaviour;
    }

    /// From now on, for this name and type alone.
    pub fn behave_for(&self, name: &str, kind: RecordType, behaviour: Behaviour) {
        self.state().exceptions.insert(key(name, kind), behaviour);
    }

    /// How often it was asked, over UDP and TCP, whatever it answered.
    pub fn queries(&self, name: &str, kind: RecordType) -> usize {
        self.state().count(&key(name, kind))
    }

    /// All queries so far, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// Waits until it was asked at least so often; panics when that takes too long.
    #[track_caller]
    pub fn await_queries(&self, name: &str, kind: RecordType, least: usize) {
        let key = key(name, kind);
        let wanting = |state: &mut State| state.count(&key) < least;
        let (state, waited) =
            self.shared.asked.wait_timeout_while(self.state(), DEADLINE, wanting).unwrap();
        let count = state.count(&key);
        assert!(!waited.timed_out(), "{name} {kind}: asked {count} times, {least} are awaited");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

/// What the threads of a server share with it.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    asked: Condvar,
}

struct State {
    zone: Zone,
    behaviour: Behaviour,
    exceptions: HashMap<(Name, RecordType), Behaviour>,
    seen: Vec<Seen>,
}

impl Default for State {
    fn default() -> State {
        State {
            zone: Zone::default(),
            behaviour: Behaviour::Honest,
            exceptions: HashMap::new(),
            seen: Vec::new(),
        }
    }
}

impl State {
    fn count(&self, (name, kind): &(Name, RecordType)) -> usize {
        self.seen.iter().filter(|seen| seen.name == *name && seen.kind == *kind).count()
    }
}

impl Shared {
    /// A test that failed has poisoned it, and shall not hide its failure behind others.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is no query of one question is not answered.
    pub fn replies(&self, bytes: &[u8], source: SocketAddr, tcp: bool) -> Vec<Reply> {
        let Ok(query) = Message::from_vec(bytes) else { return Vec::new() };
        let ([question], MessageType::Query) = (&query.queries[..], query.metadata.message_type)
        else {
            return Vec::new();
        };
        let mut state = self.state();
        let key = (question.name().to_lowercase(), question.query_type());
        let mut response = Message::response(query.metadata.id, query.metadata.op_code);
        response.metadata.recursion_desired = query.metadata.recursion_desired;
        response.add_query(question.clone());
        state.zone.answer(&mut response, question, state.count(&key));
        let payload = query.edns.as_ref().map(|edns| edns.max_payload());
        if let Some(edns) = query.edns {
            response.set_edns(edns);
        }
        let behaviour = *state.exceptions.get(&key).unwrap_or(&state.behaviour);
        let (name, kind) = key;
        state.seen.push(Seen { name, kind, tcp, payload, id: query.metadata.id, source });
        self.asked.notify_all();
        drop(state);
        let limit = payload.unwrap_or(512).into();
        behaviour.replies(&Right { message: &response, limit, tcp })
    }
}

const DEADLINE: Duration = Duration::from_secs(20);
