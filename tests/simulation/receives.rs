//! Receives that bring several pieces: what waits behind a send goes on as soon as it is done, on
//! kernels that know a cap and on those that do not.

use std::time::Duration;

use ringmain::engine::driver::simulated::Faults;
use ringmain::observe::CloseReason;

use crate::actors::{Kind, Plan};
use crate::stage::{Settings, Stage, is_over, plan, pool};

/// How long a client takes whose 200,000 bytes are answered by `kind`, the worst of a few seeds.
fn longest(faults: Faults, kind: Kind) -> Duration {
    let runs = (0..16).map(|seed| {
        let caps_receives = seed % 2 == 0;
        let mut settings = Settings::plenty(vec![pool(0, 1)]);
        settings.seed = seed;
        settings.faults = Faults { caps_receives, ..faults };
        settings.engine.pipes.count = 0;
        let mut stage = Stage::new(settings);
        stage.backend(0, 0, kind);
        let plan = Plan { chunk: 64 << 10, pause: Duration::ZERO, ..plan(1, 200_000) };
        let client = stage.client(Duration::ZERO, plan);
        let watched = client.clone();
        let over = stage.moment(Duration::ZERO, move || is_over(&watched));
        stage.run_until_done([&client]);
        assert_eq!(stage.ended(CloseReason::Finished), 1);
        over.get().unwrap()
    });
    runs.max().unwrap()
}

/// Just above what the slowest link of these seeds takes. Stalled sends are looked for four times a
/// second, and what is left to that is late by 250 ms each time.
const AT_ONCE: Duration = Duration::from_millis(600);

#[test]
fn pieces_that_wait_behind_a_send_go_on_when_it_is_done() {
    let faults = Faults { short_receive: 900, ..Faults::none() };
    let longest = longest(faults, Kind::Echo);
    assert!(longest < AT_ONCE, "{longest:?}");
}

#[test]
fn a_send_that_found_no_room_says_when_it_is_done() {
    let slow = Kind::SlowReader { chunk: 4096, pause: Duration::from_micros(500) };
    let longest = longest(Faults::none(), slow);
    assert!(longest < AT_ONCE, "{longest:?}");
}

#[test]
fn a_receive_that_ends_after_any_piece_is_begun_again() {
    let faults =
        Faults { short_receive: 500, multishot_ends: 500, no_buffers: 300, ..Faults::none() };
    let longest = longest(faults, Kind::Echo);
    assert!(longest < AT_ONCE, "{longest:?}");
}
