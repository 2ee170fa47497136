//! A listener as the workers see it.

use std::sync::Arc;
use std::time::Duration;

use crate::balance::PoolId;

use super::places::Places;
use super::routes::Routes;

/// The settings of one listener, and its places.
#[derive(Debug)]
pub struct ListenerView {
    pub name: Arc<str>,
    /// Where sessions go of which nothing is read first, and those that are let through in the
    /// clear. `None` only beside a preface, without such sessions.
    pub pool: Option<PoolId>,
    /// What is read first. `None`: nothing is.
    pub preface: Option<Preface>,
    /// `None`: sessions may be idle for ever.
    pub idle_timeout: Option<Duration>,
    pub half_closed_timeout: Duration,
    /// Sessions are closed gracefully so long after they were given their backend. `None`: at no
    /// age.
    pub max_connection_age: Option<Duration>,
    /// Percent of that age by which each session's is shortened or lengthened at random, at most
    /// 100.
    pub max_connection_age_jitter: u8,
    /// Outlives the View: sessions hold places in it.
    pub places: Arc<Places>,
}

/// How the ClientHello of each session is read, and what follows from it.
#[derive(Debug)]
pub struct Preface {
    /// For all of the ClientHello.
    pub timeout: Duration,
    /// Bytes that it may take.
    pub size: usize,
    pub plain_text: PlainText,
    pub routes: Routes,
}

/// What becomes of a session that begins with anything but a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainText {
    Reject,
    /// It goes to the listener's pool, which there is, as it is.
    Pass,
}
