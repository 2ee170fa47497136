//! Where sessions are counted: the tallies and the accounts of relay memory that they share, kept
//! by each worker so that nothing is locked or looked up by name per session.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use crate::balance::{Backend, Pool};
use crate::engine::Owner;
use crate::observe::{ListenerTally, SessionTally, WorkerMetrics};
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
    /// Who answers for the relay memory they hold: the listener and the backend.
    pub(super) owners: [Owner; 2],
    /// Kept so that the address under which the account is found stays theirs.
    _parties: (Arc<ListenerView>, Arc<Backend>),
}

#[derive(Default)]
struct Books {
    /// By the addresses of the listener and the backend.
    sessions: HashMap<[usize; 2], Rc<Account>>,
    listeners: HashMap<usize, (Arc<ListenerView>, Arc<CachePadded<ListenerTally>>)>,
    /// By pool and backend, and by listener twice.
    owners: HashMap<[Arc<str>; 2], Owner>,
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
    ) -> Rc<Account> {
        let key = [Arc::as_ptr(listener).addr(), Arc::as_ptr(backend).addr()];
        let books = &mut *self.books.borrow_mut();
        let account = books.sessions.entry(key).or_insert_with(|| {
            let mut owner = |names: [&Arc<str>; 2]| {
                *books.owners.entry(names.map(Arc::clone)).or_insert_with(|| {
                    books.last_owner += 1;
                    Owner(books.last_owner)
                })
            };
            let owners =
                [owner([&listener.name, &listener.name]), owner([&pool.name, &backend.name])];
            let tally = self.metrics.session(&listener.name, &pool.name, &backend.name);
            let _parties = (Arc::clone(listener), Arc::clone(backend));
            Rc::new(Account { pool: Arc::clone(&pool.name), tally, owners, _parties })
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

    /// Lets go of what a new View may no longer have; sessions keep what is theirs.
    pub(super) fn forget(&self) {
        let mut books = self.books.borrow_mut();
        books.sessions.clear();
        books.listeners.clear();
        books.owners.clear();
    }
}
