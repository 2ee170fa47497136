//! Where sessions are counted: the tallies and the accounts of what they share out, kept
//! by each worker so that nothing is locked or looked up by name per session.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::balance::{Backend, Pool};
use crate::engine::Owner;
use crate::observe::{ListenerTally, PoolTally, SessionTally, WorkerMetrics};
use crate::view::ListenerView;

/// The accounts of one worker.
pub(super) struct Accounts {
    metrics: Arc<WorkerMetrics>,
    books: RefCell<Books>,
}

/// What the sessions of one listener on one backend share.
pub(super) struct Account {
    pub(super) pool: Arc<str>,
    pub(super) tally: Arc<CachePadded<SessionTally>>,
    pub(super) pool_tally: Arc<CachePadded<PoolTally>>,
    /// How soon after the connect a reset by the backend counts against it; none: never.
    pub(super) failure_window: Option<Duration>,
    /// Who answers for the relay memory they hold: the listener and the backend.
    owners: [Rc<Owner>; 2],
    /// The two are kept so that the address under which the account is found stays theirs.
    backend: Arc<Backend>,
    _listener: Arc<ListenerView>,
}

impl Account {
    pub(super) fn owners(&self) -> [Owner; 2] {
        self.owners.each_ref().map(|owner| **owner)
    }

    /// Who answers for the pipes towards the backend.
    pub(super) fn backend_owner(&self) -> Owner {
        let [_, backend] = self.owners();
        backend
    }

    pub(super) fn backend(&self) -> &str {
        &self.backend.name
    }

    pub(super) fn is_of(&self, pool: &str, backend: &str) -> bool {
        *self.backend.name == *backend && *self.pool == *pool
    }
}

#[derive(Default)]
struct Books {
    /// By the addresses of the listener and the backend.
    sessions: HashMap<[usize; 2], Rc<Account>>,
    listeners: HashMap<usize, (Arc<ListenerView>, Arc<CachePadded<ListenerTally>>)>,
    /// By pool and backend, and by listener twice.
    owners: HashMap<[Arc<str>; 2], Rc<Owner>>,
    /// Numbers are never given anew.
    last_owner: u32,
}

impl Accounts {
    pub(super) fn new(metrics: Arc<WorkerMetrics>) -> Accounts {
        Accounts { metrics, books: RefCell::default() }
    }

    pub(super) fn of(
        &self,
        listener: &Arc<ListenerView>,
        pool: &Pool,
        backend: &Arc<Backend>,
        failure_window: Option<Duration>,
    ) -> Rc<Account> {
        let key = [Arc::as_ptr(listener).addr(), Arc::as_ptr(backend).addr()];
        let books = &mut *self.books.borrow_mut();
        let account = books.sessions.entry(key).or_insert_with(|| {
            let mut owner = |names: [&Arc<str>; 2]| {
                let owner = books.owners.entry(names.map(Arc::clone)).or_insert_with(|| {
                    books.last_owner += 1;
                    Rc::new(Owner(books.last_owner))
                });
                Rc::clone(owner)
            };
            let owners =
                [owner([&listener.name, &listener.name]), owner([&pool.name, &backend.name])];
            let tally = self.metrics.session(&listener.name, &pool.name, &backend.name);
            let (backend, _listener) = (Arc::clone(backend), Arc::clone(listener));
            let (pool, pool_tally) = (Arc::clone(&pool.name), self.metrics.pool(&pool.name));
            Rc::new(Account { pool, tally, pool_tally, failure_window, owners, backend, _listener })
        });
        Rc::clone(account)
    }

    pub(super) fn of_listener(
        &self,
        listener: &Arc<ListenerView>,
    ) -> Arc<CachePadded<ListenerTally>> {
        let key = Arc::as_ptr(listener).addr();
        let mut books = self.books.borrow_mut();
        let (_, tally) = books
            .listeners
            .entry(key)
            .or_insert_with(|| (Arc::clone(listener), self.metrics.listener(&listener.name)));
        Arc::clone(tally)
    }

    /// Lets go of what a new View may no longer have; sessions keep what is theirs. An owner stays
    /// who it is while they hold anything on its account, so that it has no second share.
    pub(super) fn forget(&self) {
        let mut books = self.books.borrow_mut();
        books.sessions.clear();
        books.listeners.clear();
        books.owners.retain(|_, owner| Rc::strong_count(owner) > 1);
    }
}

/// Who answers for the pipes towards the clients at this address. Two that fall together have one
/// share; numbers that are counted up stay below.
pub(super) fn client_owner(address: IpAddr) -> Owner {
    let mut hasher = DefaultHasher::new();
    address.hash(&mut hasher);
    Owner(hasher.finish() as u32 | 1 << 31)
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::balance::{Balancing, PoolId, PoolSettings, SocketOptions};
    use crate::observe::Metrics;
    use crate::view::Places;

    /// The account of a listener's sessions on this backend.
    pub(in crate::proxy) fn account(pool: &str, backend: &str) -> Rc<Account> {
        let metrics = Metrics::new(1, SystemTime::UNIX_EPOCH).worker(0);
        account_of(&Accounts::new(metrics), pool, backend)
    }

    fn account_of(accounts: &Accounts, pool: &str, backend: &str) -> Rc<Account> {
        let process = Arc::new(Places::of_process(1, 0, Box::new(|| ())));
        let listener = Arc::new(ListenerView {
            name: "listener".into(),
            pool: Some(PoolId(0)),
            preface: None,
            idle_timeout: None,
            half_closed_timeout: Duration::ZERO,
            max_connection_age: None,
            max_connection_age_jitter: 0,
            places: Arc::new(Places::of_listener(None, process)),
        });
        let settings = PoolSettings {
            connect_timeout: Duration::ZERO,
            tries: 1,
            balancing: Balancing::default(),
            queue: None,
            sources: Vec::new(),
            socket: SocketOptions {
                nodelay: true,
                keepalive: None,
                user_timeout: None,
                receive_buffer: None,
                send_buffer: None,
            },
        };
        let pool = Pool::new(pool.into(), settings, Vec::new(), None);
        let address = "127.0.0.1:1".parse().unwrap();
        let backend = Arc::new(Backend::new(backend.into(), vec![address]));
        accounts.of(&listener, &pool, &backend, None)
    }

    #[test]
    fn an_owner_stays_who_it_is_while_sessions_hold_its_account_and_is_forgotten_then() {
        let accounts = Accounts::new(Metrics::new(1, SystemTime::UNIX_EPOCH).worker(0));
        let first = account_of(&accounts, "p", "a");
        accounts.forget();
        let [second, other] = ["a", "b"].map(|backend| account_of(&accounts, "p", backend));
        assert!(!Rc::ptr_eq(&first, &second));
        assert_eq!(first.owners(), second.owners());
        assert_eq!(first.owners()[0], other.owners()[0], "the listener is the same");
        assert_ne!(first.owners()[1], other.owners()[1]);
        drop((first, second, other));
        accounts.forget();
        assert!(accounts.books.borrow().owners.is_empty());
    }
}
