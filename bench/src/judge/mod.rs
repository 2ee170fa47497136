//! Owns decisions on what was measured: pure, without clock, chance or I/O. What is put under load
//! is a `System` to it.

mod system;

pub use system::{Fault, Load, System};
