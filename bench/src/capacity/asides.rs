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
    let many = further(load, |load| generator.check(load).is_ok())?;
    between(generator, load, &many)
}

/// The same load with as many more connections as can be.
fn further(load: &Load, is_able: impl Fn(&Load) -> bool) -> Option<Load> {
    let most = load.connections.saturating_mul(MANY).max(load.connections + FURTHER);
    let steps = std::iter::successors(Some(most), |count| Some(count / 2));
    let more = steps.take_while(|count| *count > load.connections);
    let more = more.filter(|count| *count <= MOST);
    let with = |connections| Load { connections, ..*load };
    more.map(with).find(|load| is_able(load))
}

fn between(system: &mut dyn System, few: &Load, many: &Load) -> Option<f64> {
    let few = system.run(few).ok()?;
    let many = system.run(many).ok()?;
    // Connections that did not come about take nothing.
    if many.counts.errors() > 0 { None } else { Run::memory_between(&few, &many) }
}

/// Times the connections, and so many at least, that what they take stands out.
const MANY: u32 = 8;
const FURTHER: u32 = 512;
/// The backend addresses are those of the few, and a proxy has 28,232 ports towards each.
const MOST: u32 = 25_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::figures::sample;
    use crate::judge::Fault;

    const LOAD: Load = Load {
        rate: Some(100.0),
        connections: 64,
        window: Duration::from_secs(1),
        warm_up: Duration::ZERO,
    };

    #[test]
    fn further_connections_are_as_many_as_can_be_opened() {
        let further = |connections, most| {
            let load = Load { connections, ..LOAD };
            further(&load, |load| load.connections <= most).map(|load| load.connections)
        };
        assert_eq!(further(64, u32::MAX), Some(64 + 512));
        assert_eq!(further(1_000, u32::MAX), Some(8_000));
        // Half of them, and half of those, as long as that is more.
        assert_eq!(further(1_000, 7_999), Some(4_000));
        assert_eq!(further(1_000, 1_999), None);
        // A proxy has no ports for more.
        assert_eq!(further(10_000, u32::MAX), Some(20_000));
    }

    /// Each connection takes 2,000 bytes of it; some of many do not come about.
    struct Holding {
        errors: u64,
    }

    impl System for Holding {
        fn run(&mut self, load: &Load) -> Result<Run, Fault> {
            let mut run = Run { connections: load.connections, ..sample("ringmain", 100.0) };
            run.cost.as_mut().unwrap().memory_pss += u64::from(load.connections) * 2_000;
            if load.connections > LOAD.connections {
                run.counts.errors.extend([("refused".to_owned(), self.errors)]);
            }
            Ok(run)
        }
    }

    #[test]
    fn connections_that_did_not_come_about_take_nothing() {
        let many = Load { connections: 576, ..LOAD };
        assert_eq!(between(&mut Holding { errors: 0 }, &LOAD, &many), Some(2_000.0));
        assert_eq!(between(&mut Holding { errors: 1 }, &LOAD, &many), None);
    }
}
