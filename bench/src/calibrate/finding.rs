//! Owns what a calibration found, and its table; it measures nothing.

use serde::{Deserialize, Serialize};

use crate::figures::Run;
use crate::judge::Estimate;
use crate::report::table::{aligned, row};
use crate::report::units;

/// What a network adds to what loopback shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    pub factors: Vec<Factor>,
    /// Time of the proxy's CPUs per unit there, in parts of that on loopback: the median of the
    /// protocols.
    pub cpu_factor: f64,
    /// Bits of payload per second, in and out, that the proxy moved through its one interface.
    pub interface_bits: f64,
}

/// The same of one protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Factor {
    pub protocol: String,
    pub rate: f64,
    /// Nanoseconds in which the proxy's CPUs were busy, per unit.
    pub loopback: Estimate,
    pub network: Estimate,
    pub factor: f64,
}

impl Factor {
    /// From repeats at one rate, here and there. `None`: they tell nothing of CPUs.
    pub fn of(protocol: &str, rate: f64, loopback: &[Run], network: &[Run]) -> Option<Factor> {
        let busy = |runs: &[Run]| Estimate::of(runs.iter().filter_map(Run::busy_per_unit));
        let (loopback, network) = (busy(loopback)?, busy(network)?);
        if loopback.median <= 0.0 {
            return None;
        }
        let factor = network.median / loopback.median;
        Some(Factor { protocol: protocol.to_owned(), rate, loopback, network, factor })
    }
}

impl Calibration {
    /// `flood` came over the network as fast as it could. `None`: nothing was measured.
    pub fn of(factors: Vec<Factor>, flood: &Run) -> Option<Calibration> {
        // What comes in from agents goes out to backends.
        let interface_bits = flood.bytes * 8.0 * 2.0;
        let cpu_factor = Estimate::of(factors.iter().map(|of| of.factor))?.median;
        (interface_bits > 0.0).then_some(Calibration { factors, cpu_factor, interface_bits })
    }

    pub fn text(&self) -> String {
        let mut lines = vec![row(["protocol", "units/s", "loopback", "network", "factor"])];
        lines.extend(self.factors.iter().map(|of| {
            let write = |of: Estimate| {
                let [median, low, high] = [of.median, of.low, of.high].map(units::time);
                format!("{median} [{low}..{high}]")
            };
            let factor = format!("{:.2}", of.factor);
            let (rate, near, far) = (units::number(of.rate), write(of.loopback), write(of.network));
            vec![of.protocol.clone(), rate, near, far, factor]
        }));
        let mut text = "Time in which the proxy's CPU was busy per unit, softirqs among it\n"
            .to_owned()
            + &aligned(1, &lines);
        text += &format!(
            "\nA proxy with a network costs {:.2} times what loopback shows; one interface carried \
             {} Gbit/s of payload, in and out.\n",
            self.cpu_factor,
            units::digits(self.interface_bits / 1e9)
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::sample;

    fn runs(busy_seconds: f64) -> Vec<Run> {
        let mut run = sample("ringmain", 1000.0);
        run.cost.as_mut().unwrap().busy = Some(busy_seconds);
        vec![run; 3]
    }

    #[test]
    fn a_factor_is_what_the_same_units_take_there() {
        // 10,000 units in 0.1 s of CPU here and in 0.15 s there.
        let factor = Factor::of("tcp-echo", 1000.0, &runs(0.1), &runs(0.15)).unwrap();
        assert!((factor.factor - 1.5).abs() < 1e-9, "{factor:?}");
        assert!((factor.network.median - 15_000.0).abs() < 1e-6);
        let twice = Factor { factor: 2.0, ..factor.clone() };
        let flood = Run { bytes: 625e6, ..sample("ringmain-network", 1000.0) };
        let found = Calibration::of(vec![factor.clone(), twice, factor.clone()], &flood).unwrap();
        // In and out.
        assert_eq!((found.cpu_factor, found.interface_bits), (1.5, 1e10));
        assert!(found.text().contains("10.0 Gbit/s"), "{}", found.text());
    }

    #[test]
    fn what_was_not_measured_is_no_finding() {
        let mut blind = runs(0.1);
        blind.iter_mut().for_each(|run| run.cost = None);
        assert_eq!(Factor::of("tcp-echo", 1.0, &blind, &runs(0.1)), None);
        assert_eq!(Factor::of("tcp-echo", 1.0, &runs(0.0), &runs(0.1)), None);
        assert_eq!(Calibration::of(Vec::new(), &runs(0.1)[0]), None);
        let factor = Factor::of("tcp-echo", 1.0, &runs(0.1), &runs(0.1));
        let nothing = Run { bytes: 0.0, ..sample("ringmain-network", 1000.0) };
        assert_eq!(Calibration::of(factor.into_iter().collect(), &nothing), None);
    }
}
