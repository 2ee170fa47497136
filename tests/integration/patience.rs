//! Owns how long a test waits for what must come, and the only pauses; judges nothing by time.

use std::time::{Duration, Instant};

/// Whatever is not there by now has failed. It is generous, because the machine may be loaded.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Asks until `condition` gives a value. For what nothing announces, such as a gauge.
#[allow(clippy::disallowed_methods, reason = "the one place that waits without an event")]
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(begun.elapsed() < DEADLINE, "in vain: {what}");
        std::thread::sleep(PAUSE);
    }
}

const PAUSE: Duration = Duration::from_millis(10);

/// For figures that are printed, such as how long a change took to arrive.
#[allow(clippy::disallowed_methods, reason = "figures are printed; tests pass by events alone")]
pub fn now() -> Instant {
    Instant::now()
}
