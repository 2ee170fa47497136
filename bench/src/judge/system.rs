//! Owns the face of what can be put under load; it puts nothing under load.

use std::fmt;
use std::time::Duration;

use crate::figures::Run;

/// What can be put under load: the generator with a proxy, or a simulated one.
pub trait System {
    /// One run, bounded in time by its warm-up and window and a little more.
    fn run(&mut self, load: &Load) -> Result<Run, Fault>;
}

/// What is asked of a system in one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Units per second; `None` is a closed loop.
    pub rate: Option<f64>,
    /// Open at a time.
    pub connections: u32,
    pub window: Duration,
    /// Before the window, and not counted.
    pub warm_up: Duration,
}

/// Why there is no run. A run that went badly is a run: its counts say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Somebody wants it to end.
    Interrupted,
    /// The target can not be reached, or the proxy is gone.
    Unreachable(String),
    /// This host can not make such a load: too few descriptors, ports or CPUs.
    Unable(String),
}

impl Fault {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted",
            Self::Unreachable(_) => "unreachable",
            Self::Unable(_) => "unable",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::Interrupted => Ok(()),
            Self::Unreachable(why) | Self::Unable(why) => write!(f, ": {why}"),
        }
    }
}
