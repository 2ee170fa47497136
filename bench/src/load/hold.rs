//! Owns the course of a run that holds connections, for whoever reads the proxy's memory.

use std::io;
use std::net::SocketAddrV4;
use std::time::Duration;

use super::backends::Service;
use super::dialer::Dialer;
use super::idle::Idle;
use super::run::{Site, host_fault};
use super::schedule::Schedule;
use super::{Fault, Terms};

/// Connections that are used a little and then held.
pub struct Hold {
    pub terms: Option<Terms>,
    pub target: SocketAddrV4,
    /// Open in the first reading: they have shown the proxy what its work is.
    pub few: usize,
    /// Open in the second reading.
    pub all: usize,
    /// How long the connections are quiet before each reading.
    pub quiet: Duration,
}

/// The meter's readings.
pub struct Held<R> {
    pub few: R,
    pub all: R,
}

impl Site {
    pub fn hold<R>(
        &mut self,
        hold: &Hold,
        meter: impl FnMut() -> io::Result<R>,
    ) -> Result<Held<R>, Fault> {
        self.guarded(|site| site.hold_and_read(hold, meter))
    }

    fn hold_and_read<R>(
        &mut self,
        hold: &Hold,
        mut meter: impl FnMut() -> io::Result<R>,
    ) -> Result<Held<R>, Fault> {
        let dialer = Dialer::new(hold.target, hold.terms, self.root())?;
        let client = Idle::new(dialer, hold.few, hold.all);
        let mut progress = self.prepare(Box::new(client), Service::Echo)?;
        self.turn_for(&mut progress, hold.quiet)?;
        let few = meter().map_err(host_fault)?;
        self.begin(&mut progress, Schedule::Always)?;
        self.turn_until_ready(&mut progress)?;
        self.turn_for(&mut progress, hold.quiet)?;
        let all = meter().map_err(host_fault)?;
        self.conclude(progress)?;
        Ok(Held { few, all })
    }
}
