//! Pipes, which a direction keeps while its target takes nothing: no party has all of them, however
//! many of its sessions stand still.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringmain::engine::Time;

use crate::actors::{Answer, Ending, Fate, Kind, Plan};
use crate::stage::{HOUR, Settings, Stage, front, plan, pool};

const MINUTE: Duration = Duration::from_secs(60);
const PLENTY: u64 = 1 << 20;

/// With eight pipes, and backends of these kinds.
fn stage(kinds: [Kind; 2]) -> Stage {
    let mut settings = Settings::plenty(vec![pool(0, 1), pool(1, 1)]);
    settings.engine.pipes.count = 8;
    let stage = Stage::new(settings);
    // Enough to show that a pipe pays, before nothing moves any more.
    stage.world.even_out(128 << 10, Duration::from_micros(100));
    for (index, kind) in kinds.into_iter().enumerate() {
        stage.backend(index, 0, kind);
    }
    stage
}

/// How many pipes are held, and how often one was lent to the sessions of a listener, a minute
/// after the start.
fn seen(stage: &Stage, listener: usize) -> Rc<Cell<[u64; 2]>> {
    let seen = Rc::new(Cell::new([0; 2]));
    let (cell, metrics) = (Rc::clone(&seen), stage.metrics.clone());
    let lent = stage.sessions_of(listener).remove(0);
    stage.at(MINUTE, move |_| {
        cell.set([metrics.tally.pipes_held.get(), lent.splice_promotions.get()]);
    });
    seen
}

#[test]
fn a_backend_that_stops_reading_leaves_pipes_to_the_others() {
    // What it does not read at once gathers for a pipe.
    let slow = Kind::SlowReader { chunk: 4096, pause: Duration::from_millis(1) };
    let mut stage = stage([Kind::NeverRead, slow]);
    for stream in 1..=50 {
        let plan = Plan { chunk: 64 << 10, ending: Ending::Stay, ..plan(stream, PLENTY) };
        stage.client(Duration::from_millis(stream), plan);
    }
    let seen = seen(&stage, 1);
    let pause = Duration::ZERO;
    let bulk = (91..=99).map(|stream| {
        let plan = Plan { target: front(1), chunk: 64 << 10, pause, ..plan(stream, PLENTY) };
        stage.client(2 * MINUTE, plan)
    });
    let bulk: Vec<_> = bulk.collect();
    stage.run_until_done(&bulk);
    assert!(bulk.iter().all(|client| client.get().fate == Fate::Done));
    let [held, lent] = seen.get();
    assert!((3..=6).contains(&held) && lent == 0, "{held}, and the others could have two still");
    assert!(stage.sessions_of(1)[0].splice_promotions.get() > 0);
}

#[test]
fn a_client_that_stops_reading_leaves_pipes_to_the_others() {
    let mut stage = stage([Kind::Source { length: PLENTY }, Kind::Echo]);
    let from = |host| SocketAddr::from(([10, 0, 2, host], 0));
    let answered =
        |stream, host| Plan { answer: Answer::Source, source: from(host), ..plan(stream, 8) };
    for stream in 1..=50 {
        let deaf_until = Time::default() + HOUR;
        let plan = Plan { deaf_until, ending: Ending::Stay, ..answered(stream, 1) };
        stage.client(Duration::from_millis(stream), plan);
    }
    let seen = seen(&stage, 0);
    let bulk = (91..=99).map(|stream| stage.client(2 * MINUTE, answered(stream, 2)));
    let bulk: Vec<_> = bulk.collect();
    stage.run_until_done(&bulk);
    assert!(bulk.iter().all(|client| client.get().received == PLENTY));
    let [held, lent] = seen.get();
    assert!((3..=6).contains(&held), "{held}, and the others could have two still");
    assert!(stage.sessions_of(0)[0].splice_promotions.get() > lent);
}
