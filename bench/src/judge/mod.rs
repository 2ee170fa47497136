//! Owns decisions on what was measured: pure, without clock, chance or I/O. What is put under load
//! is a `System` to it.

mod difference;
mod estimate;
mod knee;
mod objective;
mod posterior;
mod resource;
mod search;
#[cfg(test)]
mod simulated;
mod slope;
mod system;

pub use difference::{Difference, Verdict, discoveries};
pub use estimate::Estimate;
#[cfg(test)]
pub use knee::Knee;
pub use knee::Point;
pub use objective::Objective;
pub use posterior::Interval;
pub use resource::is_generator_limited;
#[cfg(test)]
pub use resource::{Exhausted, Resource};
pub use search::{Bounds, Ending, Event, Limit, Stage, search};
#[cfg(test)]
pub use search::{Confirmed, Trial};
pub use slope::Slope;
pub use system::{Fault, Load, System};
