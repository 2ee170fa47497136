//! Owns the runs beside a search, at the rate that it found: what they measure would have disturbed
//! the others. It searches nothing.

use crate::figures::Run;
use crate::generate::Generator;
use crate::judge::{Load, System};

/// System calls per unit. Who counts them makes them dearer.
pub fn calls(generator: &mut Generator, load: &Load) -> Option<f64> {
    generator.count_calls();
    // What was found does not hang on it.
    generator.run(load).ok()?.system_calls_per_unit()
}

/// Bytes that each further connection takes, by a proxy that has held none before: with as many as
/// in the search, and with many more. `None` where this host can not open more, or nothing grew.
pub fn memory(generator: &mut Generator, load: &Load) -> Option<f64> {
    let most = load.connections.saturating_mul(MANY).max(load.connections + FURTHER);
    let steps = std::iter::successors(Some(most), |count| Some(count / 2));
    let more = steps.take_while(|count| *count > load.connections);
    let more = more.filter(|count| *count <= MOST);
    let with = |connections| Load { connections, ..*load };
    let many = more.map(with).find(|load| generator.check(load).is_ok())?;
    let few = generator.run(load).ok()?;
    let many = generator.run(&many).ok()?;
    // Connections that did not come about take nothing.
    if many.counts.errors() > 0 { None } else { Run::memory_between(&few, &many) }
}

/// Times the connections, and so many at least, that what they take stands out.
const MANY: u32 = 8;
const FURTHER: u32 = 512;
/// The backend addresses are those of the few, and a proxy has 28,232 ports towards each.
const MOST: u32 = 25_000;
