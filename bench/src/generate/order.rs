//! Owns what one run is to do, as data: groups of agents, their pace and sizes, and the time it
//! takes. It does nothing of it.

use std::time::Duration;

use fastrand::Rng;

use super::course::{Arrivals, Course, Spikes};
use super::protocol::{Dialogue, Protocol};
use super::tls::Terms;
use super::wire::Format;

/// A run, whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// That of the protocol, or of the profile.
    pub name: String,
    pub groups: Vec<Group>,
    /// Before the window, and not counted.
    pub warm_up: Duration,
    pub window: Duration,
    /// How long answers may be waited for after the window.
    pub patience: Duration,
    /// All that is drawn at random comes from it.
    pub seed: u64,
}

/// Agents alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// That of its table in a profile, or of the protocol.
    pub name: String,
    pub protocol: Protocol,
    /// Connections at a time.
    pub agents: u32,
    pub pace: Pace,
    pub sizes: Sizes,
    /// Connections are ended and made anew after so long on average; none: they last.
    pub lifetime: Option<Duration>,
    /// Shares of the agents, from 0 to 1, that read and write slowly, and that break off within
    /// a message now and then.
    pub slow: f64,
    pub broken: f64,
    /// How a connection that is a unit ends.
    pub ending: Ending,
    /// Where it speaks TLS.
    pub terms: Terms,
}

/// How an agent ends its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// Its stream first; then it waits for the end of the other one.
    #[default]
    InOrder,
    /// By a reset, when it has its answer.
    Reset,
}

/// When units leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// On schedule, whatever comes back; units per second of the whole group.
    Open { rate: f64, arrivals: Arrivals, ramp: Duration, spikes: Option<Spikes> },
    /// When answers come: each agent has so many units under way.
    Closed { depth: u32 },
}

/// Bytes of a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sizes {
    Constant(usize),
    Uniform {
        least: usize,
        most: usize,
    },
    /// Half are below the median, and a hundredth is above `p99`.
    LogNormal {
        median: usize,
        p99: usize,
    },
}

impl Group {
    /// Agents that keep their connections and do nothing wrong.
    pub fn new(protocol: Protocol, agents: u32, pace: Pace, sizes: Sizes) -> Group {
        let (ending, terms) = Default::default();
        let name = protocol.as_str().to_owned();
        let lifetime = None;
        Group {
            name,
            protocol,
            agents,
            pace,
            sizes,
            lifetime,
            slow: 0.0,
            broken: 0.0,
            ending,
            terms,
        }
    }

    /// Its units are so long that they are moved, and looked at, in pieces.
    pub fn is_bulk(&self) -> bool {
        let is_plain = self.lifetime.is_none() && self.slow + self.broken == 0.0;
        is_plain
            && self.protocol.format() == Format::Frame
            && matches!(self.protocol.dialogue(), Dialogue::Upload | Dialogue::Download)
            && matches!(self.sizes, Sizes::Constant(size) if size >= BULK)
    }
}

impl Order {
    /// Units per second of all groups; none: one of them is a closed loop.
    pub fn rate(&self) -> Option<f64> {
        self.groups.iter().map(|group| group.pace.rate()).sum()
    }

    /// From the first unit to the end of the window.
    pub fn length(&self) -> Duration {
        self.warm_up + self.window
    }
}

impl Pace {
    /// The same rate all the time, at equal distances.
    pub const fn constant(rate: f64) -> Pace {
        let (arrivals, ramp) = (Arrivals::Constant, Duration::ZERO);
        Pace::Open { rate, arrivals, ramp, spikes: None }
    }

    /// None: units leave when answers come.
    pub fn course(&self, length: Duration) -> Option<(Course, Arrivals)> {
        match *self {
            Pace::Open { rate, arrivals, ramp, spikes } => {
                Some((Course::shaped(rate, length, ramp, spikes), arrivals))
            }
            Pace::Closed { .. } => None,
        }
    }

    pub fn rate(&self) -> Option<f64> {
        match *self {
            Pace::Open { rate, .. } => Some(rate),
            Pace::Closed { .. } => None,
        }
    }
}

impl Sizes {
    /// Bytes on average; the few that would be longer than any may be count whole.
    pub fn mean(&self) -> f64 {
        match *self {
            Sizes::Constant(size) => size as f64,
            Sizes::Uniform { least, most } => f64::midpoint(least as f64, most as f64),
            Sizes::LogNormal { median, p99 } => {
                let sigma = (p99 as f64 / median as f64).ln() / Z99;
                median as f64 * (sigma * sigma / 2.0).exp()
            }
        }
    }

    /// The longest of which it is certain that it may come; a tail is cut to what a unit takes.
    pub fn longest(&self) -> usize {
        match *self {
            Sizes::Constant(size) => size,
            Sizes::Uniform { most, .. } => most,
            Sizes::LogNormal { p99, .. } => p99,
        }
    }

    pub fn draw(&self, random: &mut Rng) -> usize {
        match *self {
            Sizes::Constant(size) => size,
            Sizes::Uniform { least, most } => random.usize(least..=most.max(least)),
            Sizes::LogNormal { median, p99 } => {
                let sigma = (p99 as f64 / median as f64).ln() / Z99;
                let size = median as f64 * (sigma * normal(random)).exp();
                (size.round() as usize).min(LONGEST)
            }
        }
    }
}

/// A draw from the standard normal distribution, by Box and Muller.
fn normal(random: &mut Rng) -> f64 {
    let (first, second) = (1.0 - random.f64(), random.f64());
    (-2.0 * first.ln()).sqrt() * (std::f64::consts::TAU * second).cos()
}

/// The 99th percentile of the standard normal distribution.
const Z99: f64 = 2.326_347_874;
/// From so many bytes on a unit is moved in pieces.
const BULK: usize = 64 << 10;
/// No unit is longer.
const LONGEST: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_distribution_they_say() {
        let mut random = Rng::with_seed(3);
        let sizes = Sizes::LogNormal { median: 300, p99: 4_000 };
        let mut drawn: Vec<usize> = (0..100_000).map(|_| sizes.draw(&mut random)).collect();
        drawn.sort_unstable();
        let (median, p99) = (drawn[50_000] as f64, drawn[99_000] as f64);
        assert!((median / 300.0 - 1.0).abs() < 0.03, "{median}");
        assert!((p99 / 4_000.0 - 1.0).abs() < 0.06, "{p99}");
        let mean = drawn.iter().sum::<usize>() as f64 / drawn.len() as f64;
        assert!((mean / sizes.mean() - 1.0).abs() < 0.02, "{mean}, not {}", sizes.mean());
        let sizes = Sizes::Uniform { least: 10, most: 12 };
        assert!((0..1_000).all(|_| (10..=12).contains(&sizes.draw(&mut random))));
        assert_eq!(Sizes::Constant(5).draw(&mut random), 5);
    }
}
