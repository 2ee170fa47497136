//! Owns the tickets of one run, which are gathered first and then used once each; it resumes
//! nothing.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// The newest tickets, up to a limit. All are of one server.
#[derive(Debug)]
pub struct Tickets {
    kept: Mutex<VecDeque<Tls13ClientSessionValue>>,
    limit: AtomicUsize,
    handing_out: AtomicBool,
}

impl Default for Tickets {
    fn default() -> Tickets {
        let (kept, handing_out) = Default::default();
        Tickets { kept, limit: AtomicUsize::new(LIMIT), handing_out }
    }
}

impl Tickets {
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Keeps so many from now on, if they are more than usual.
    pub fn make_room(&self, count: usize) {
        self.limit.store(count.max(LIMIT), Ordering::Relaxed);
    }

    pub fn hand_out(&self) {
        self.handing_out.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Tls13ClientSessionValue>> {
        // A queue is whole after every step, so a panic elsewhere does no harm to it.
        self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut kept = self.lock();
        if kept.len() >= self.limit.load(Ordering::Relaxed) {
            kept.pop_front();
        }
        kept.push_back(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        if !self.handing_out.load(Ordering::Relaxed) {
            return None;
        }
        self.lock().pop_front()
    }
}

/// Who has fewer connections at a time has some to spare.
const LIMIT: usize = 4096;
