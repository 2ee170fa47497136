//! Owns the two sides of a run on one thread: agents and backends take turns. What they do is
//! theirs.

use std::rc::Rc;
use std::time::Duration;

use super::agents::{self, Fault, Signals, Site};
use super::backends::{Foundation, House};
use super::order::Order;
use super::record::{Tally, Window};
use super::stage::Stage;

/// Both sides, on their way to a thread. On threads of their own, with one CPU between them, each
/// word from one to the other would cost a switch.
pub struct Pair {
    pub order: Order,
    /// Where the agents of each group go.
    pub sites: Vec<Site>,
    /// None: the backends are elsewhere.
    pub foundations: Vec<Foundation>,
    pub signals: Signals,
    /// How long connections may stay open at the backends once all agents have ended theirs; none:
    /// nobody looks.
    pub lingering: Option<Duration>,
}

/// What both sides leave behind, beside the tallies of the agents.
pub struct Ended {
    pub ran: Result<Window, Fault>,
    /// Of the backends of each group.
    pub backends: Vec<Tally>,
    /// Connections that were still open when nobody waited any more.
    pub open: u32,
}

impl Pair {
    /// The stage is that of the agents.
    pub async fn run(self, stage: &Rc<Stage>) -> Ended {
        let far = stage.beside();
        let houses: Vec<_> = self.foundations.into_iter().map(|of| of.build(&far)).collect();
        if !houses.is_empty() {
            far.engine.spawn(Rc::clone(&far).tell());
        }
        let ran = agents::run(stage, &self.order, &self.sites, &self.signals).await;
        let open = match self.lingering {
            Some(limit) if ran.is_ok() => all_end(&houses, &far, limit).await,
            _ => 0,
        };
        far.end();
        Ended { ran, backends: far.take_parts(), open }
    }
}

/// Waits until no connection is open at the backends; how many are in the end.
pub async fn all_end(houses: &[Rc<House>], stage: &Stage, limit: Duration) -> u32 {
    let deadline = stage.now() + limit.as_nanos() as u64;
    let open = || houses.iter().map(|house| house.open_connections()).sum::<u32>();
    while open() > 0 && stage.now() < deadline {
        stage.pause(GLANCE).await;
    }
    open()
}

const GLANCE: Duration = Duration::from_millis(2);
