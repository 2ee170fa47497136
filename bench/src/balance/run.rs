//! Owns the order of the measurements.

use super::options::Options;
use super::{moves, routes, shares, speed};
use crate::clock::Clock;

pub fn balance(options: &Options) {
    let clock = Clock::start();
    shares::report();
    moves::report(options.keys());
    speed::report_picks(clock, options.nanoseconds());
    speed::report_tables(clock);
    routes::report(clock, options.nanoseconds());
}
