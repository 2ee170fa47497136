//! One name or file that is asked about: whose turn it is, who needs it, what it last gave.
//! Decides nothing about backends.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::event::Doubt;
use super::failures::Failures;
use super::membership::Resolution;

pub(super) struct Entry {
    pub turn: Turn,
    /// When it was asked last.
    pub asked_at: Option<Duration>,
    /// The question is on its way to somebody who is asked no more.
    pub is_misdirected: bool,
    /// When its last good answer is no longer held; it stands in the agenda.
    pub expiry: Option<Duration>,
    pub failures: Failures,
    /// Of a name's addresses: the last good answer, while it is held.
    pub ips: Option<Vec<IpAddr>>,
    /// Sources, and their backends that are reached at this name.
    pub users: BTreeSet<(usize, Arc<str>)>,
    /// Sources whose backends are what this says.
    pub heads: Vec<usize>,
    /// Its hold has ended, and nothing of its last good answer is left in the pool.
    pub is_dropped: bool,
    /// Why something of it is left after its hold has ended, as reported.
    pub doubt: Option<Doubt>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is asked when this time has come.
    Due(Duration),
    /// It has been asked and not answered; it is never asked twice at the same time.
    Asked,
    /// Nobody needs it. Until then it is remembered, so that who needs it again does not ask for
    /// it sooner than allowed.
    Resting(Duration),
    /// It says itself when it is to be read again: a file that is watched.
    Watched,
}

impl Turn {
    /// When something happens without being asked for.
    pub fn time(self) -> Option<Duration> {
        match self {
            Turn::Due(time) | Turn::Resting(time) => Some(time),
            Turn::Asked | Turn::Watched => None,
        }
    }
}

impl Entry {
    pub fn new() -> Entry {
        Entry {
            turn: Turn::Due(Duration::ZERO),
            asked_at: None,
            is_misdirected: false,
            expiry: None,
            failures: Failures::default(),
            ips: None,
            users: BTreeSet::new(),
            heads: Vec::new(),
            is_dropped: false,
            doubt: None,
        }
    }

    pub fn is_needed(&self) -> bool {
        !self.users.is_empty() || !self.heads.is_empty()
    }

    pub fn resolution(&self) -> Resolution<'_> {
        match &self.ips {
            Some(ips) => Resolution::Known(ips),
            None if self.failures.count() > 0 => Resolution::Failed,
            None => Resolution::Pending,
        }
    }
}
