//! Owns a contender as it is put under load: through its addresses, to its backends; which load is
//! decided elsewhere.

use std::time::Duration;

use super::candidate::Candidate;
use super::configuration::Listen;
use super::contender::{Contender, Venue};
use super::course::Entrant;
use super::memory::Footprint;
use super::process::Process;
use super::work::Work;
use crate::certificates::Identity;
use crate::generate::{Between, Carried, Failure, Middle, Order};

/// A contender, and what all of them are put under load by.
pub struct Runner<'a> {
    pub contender: &'a Contender,
    pub between: &'a Between,
    pub venue: &'a Venue,
}

impl Runner<'_> {
    fn with_middle<T>(
        &self,
        listen: &Listen,
        process: &Process,
        run: impl FnOnce(&Middle<'_>) -> T,
    ) -> T {
        let sealed = |identity: Identity| listen.with(identity).into();
        run(&Middle {
            name: self.contender.candidate().as_str(),
            process: process.id(),
            plain: listen.plain.into(),
            sealed: &sealed,
            backends: self.contender.backends(),
        })
    }
}

impl Entrant for Runner<'_> {
    fn candidate(&self) -> Candidate {
        self.contender.candidate()
    }

    fn carry(&self, order: &Order) -> Result<Carried, Failure> {
        let Contender { listen, process, .. } = self.contender;
        self.with_middle(listen, process, |middle| self.between.run(middle, order))
    }

    fn hold(
        &self,
        work: Work,
        counts: [usize; 2],
        quiet: Duration,
    ) -> Result<[Footprint; 2], Failure> {
        let started = self.contender.start_fresh(self.venue);
        let (listen, process) = started.map_err(Failure::Proxy)?;
        let root = process.id();
        let meter = move || Footprint::take(root);
        let terms = work.terms();
        let hold = |middle: &Middle<'_>| self.between.hold(middle, terms, counts, quiet, meter);
        self.with_middle(&listen, &process, hold)
    }
}
