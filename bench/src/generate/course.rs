//! Owns the rate of a load over time, and the moments at which its units are to leave; it reads no
//! clock and waits for nothing.

use std::time::Duration;

use fastrand::Rng;

/// How the units of a course lie between each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// At equal distances.
    Constant,
    /// As many independent senders make them: distances are exponential.
    Poisson,
}

/// Units per second over time, in legs of linear change. After the last one nothing leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    legs: Vec<Leg>,
}

/// From one rate to another, in so many seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Leg {
    seconds: f64,
    from: f64,
    to: f64,
}

/// Times at which the rate is a multiple of the usual one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spikes {
    /// From the beginning of one to that of the next; the first comes after so long.
    pub every: Duration,
    pub length: Duration,
    pub factor: f64,
}

impl Course {
    /// The same rate for so long.
    #[cfg(test)]
    pub fn steady(rate: f64, length: Duration) -> Course {
        Course::shaped(rate, length, Duration::ZERO, None)
    }

    /// From nothing to `rate` within `ramp`, and then on until `length` is over.
    pub fn shaped(rate: f64, length: Duration, ramp: Duration, spikes: Option<Spikes>) -> Course {
        let length = length.as_secs_f64();
        let ramp = ramp.as_secs_f64().min(length);
        let mut course = Course { legs: Vec::new() };
        course.add(ramp, 0.0, rate);
        let mut at = ramp;
        if let Some(Spikes { every, length: lasts, factor }) = spikes.filter(|s| !s.every.is_zero())
        {
            let (every, lasts) = (every.as_secs_f64(), lasts.min(every).as_secs_f64());
            let starts = (1..).map(|number| ramp + f64::from(number) * every);
            for start in starts.take_while(|start| *start < length) {
                let end = (start + lasts).min(length);
                course.add(start - at, rate, rate);
                course.add(end - start, rate * factor, rate * factor);
                at = end;
            }
        }
        course.add(length - at, rate, rate);
        course
    }

    fn add(&mut self, seconds: f64, from: f64, to: f64) {
        if seconds > 0.0 {
            self.legs.push(Leg { seconds, from, to });
        }
    }

    /// Units in all, on average.
    pub fn units(&self) -> f64 {
        self.legs.iter().map(Leg::units).sum()
    }
}

impl Leg {
    fn units(&self) -> f64 {
        self.seconds * (self.from + self.to) / 2.0
    }

    /// Seconds until so many of its units have left: `from * t + (to - from) / (2 * seconds) * t^2`
    /// solved for `t`, in the form that does not cancel.
    fn seconds_until(&self, units: f64) -> f64 {
        let square = self.from * self.from + 2.0 * (self.to - self.from) / self.seconds * units;
        let sum = self.from + square.max(0.0).sqrt();
        if sum > 0.0 { (2.0 * units / sum).min(self.seconds) } else { 0.0 }
    }
}

/// The moments of a course, in nanoseconds from its beginning.
#[derive(Clone, Debug)]
pub struct Schedule {
    course: Course,
    arrivals: Arrivals,
    random: Rng,
    /// How many units the next moment lies behind the beginning: whole ones, unless it is random.
    reached: f64,
    leg: usize,
    /// Units and seconds before the present leg.
    before: (f64, f64),
}

impl Schedule {
    /// `phase`, from 0 to 1, is how much of a unit's distance the first one waits; it matters only
    /// where several courses run side by side.
    pub fn new(course: Course, arrivals: Arrivals, phase: f64, random: Rng) -> Schedule {
        let mut schedule =
            Schedule { course, arrivals, random, reached: phase, leg: 0, before: (0.0, 0.0) };
        if arrivals == Arrivals::Poisson {
            schedule.reached = schedule.distance();
        }
        schedule
    }

    /// To the next unit, in units.
    fn distance(&mut self) -> f64 {
        match self.arrivals {
            Arrivals::Constant => 1.0,
            // `f64` gives less than 1, so the logarithm is finite.
            Arrivals::Poisson => -(1.0 - self.random.f64()).ln(),
        }
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            let leg = self.course.legs.get(self.leg)?;
            let within = self.reached - self.before.0;
            if within < leg.units() {
                let seconds = self.before.1 + leg.seconds_until(within);
                self.reached += self.distance();
                return Some((seconds * 1e9).round() as u64);
            }
            self.before = (self.before.0 + leg.units(), self.before.1 + leg.seconds);
            self.leg += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(course: Course, arrivals: Arrivals) -> Schedule {
        Schedule::new(course, arrivals, 0.0, Rng::with_seed(7))
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_constant_rate_is_met_to_the_nanosecond_to_the_end() {
        for rate in [3.0, 1_000.0, 30_001.0, 333_333.0] {
            let moments = schedule(Course::steady(rate, seconds(20)), Arrivals::Constant);
            let mut count = 0u64;
            for moment in moments {
                let due = count as f64 / rate * 1e9;
                assert!((moment as f64 - due).abs() <= 1.0, "unit {count} of {rate}: {moment}");
                count += 1;
            }
            assert_eq!(count, (rate * 20.0) as u64);
        }
    }

    #[test]
    fn random_arrivals_keep_the_rate_and_are_spread_as_poisson_says() {
        let moments: Vec<u64> =
            schedule(Course::steady(10_000.0, seconds(100)), Arrivals::Poisson).collect();
        let count = moments.len() as f64;
        // Four standard deviations of a million arrivals are 0.4 %.
        assert!((count / 1e6 - 1.0).abs() < 0.004, "{count}");
        let mut per_ten_milliseconds = vec![0f64; 10_000];
        for moment in moments {
            per_ten_milliseconds[(moment / 10_000_000) as usize] += 1.0;
        }
        let mean = count / 10_000.0;
        let squares = per_ten_milliseconds.iter().map(|count| (count - mean).powi(2));
        let dispersion = squares.sum::<f64>() / 10_000.0 / mean;
        assert!((dispersion - 1.0).abs() < 0.06, "variance over mean is {dispersion}");
    }

    #[test]
    fn a_ramp_begins_with_nothing_and_spikes_are_on_time() {
        let spikes = Spikes { every: seconds(10), length: seconds(2), factor: 5.0 };
        let course = Course::shaped(1_000.0, seconds(40), seconds(10), Some(spikes));
        let mut per_second = [0u32; 40];
        for moment in schedule(course.clone(), Arrivals::Constant) {
            per_second[(moment / 1_000_000_000) as usize] += 1;
        }
        assert!((per_second[0], per_second[9]) == (50, 950), "{per_second:?}");
        for (second, count) in per_second.iter().enumerate().skip(10) {
            let spike = matches!(second, 20 | 21 | 30 | 31);
            let wanted = if spike { 5_000 } else { 1_000 };
            assert!(count.abs_diff(wanted) <= 1, "{second}: {count}");
        }
        let total: u32 = per_second.iter().sum();
        assert!((course.units() - f64::from(total)).abs() <= 1.0);
    }

    #[test]
    fn several_courses_side_by_side_take_turns() {
        let first = Schedule::new(
            Course::steady(10.0, seconds(1)),
            Arrivals::Constant,
            0.5,
            Rng::with_seed(1),
        );
        assert_eq!(first.take(2).collect::<Vec<_>>(), [50_000_000, 150_000_000]);
    }

    #[test]
    fn no_rate_is_no_units() {
        assert_eq!(schedule(Course::steady(0.0, seconds(5)), Arrivals::Poisson).next(), None);
    }
}
