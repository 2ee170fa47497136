//! Owns the side of a run that takes the load: backends that answer or take note, as slowly and as
//! badly as they are told.

mod behaviour;
mod doors;
mod foundation;
mod house;
mod serve;
mod supply;

pub use behaviour::{Behaviour, Fate, Mischief, Outage, Service};
pub use doors::Doors;
pub use foundation::Foundation;
pub use house::House;
pub use supply::Supply;
