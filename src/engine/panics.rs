//! Telling a panic of a task from a panic of the engine.
//!
//! A task that panics loses its session and nothing else. When the engine's own code panics,
//! its accounts of buffers and descriptors cannot be trusted any more, so the thread must end.

use std::cell::Cell;
use std::panic::PanicHookInfo;
use std::sync::Once;

thread_local! {
    static IN_ENGINE: Cell<bool> = const { Cell::new(false) };
}

/// Notes, for every panic from now on, whether the engine's own code raised it. Panics are
/// reported as before.
pub(super) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            IN_ENGINE.set(raised_by_engine(panic));
            report(panic);
        }));
    });
}

/// Whether the last panic of this thread was the engine's own.
pub(super) fn last_was_in_engine() -> bool {
    IN_ENGINE.get()
}

fn raised_by_engine(panic: &PanicHookInfo<'_>) -> bool {
    let file = panic.location().map_or("", |location| location.file());
    file.contains("src/engine/") && !file.ends_with("tests.rs")
}

/// Panics as engine code would.
#[cfg(test)]
pub(super) fn raise_for_test() {
    panic!("in the engine, on purpose");
}
