//! A backend with several addresses: they are one try, and share its time.

use std::time::Duration;

use ringmain::observe::CloseReason;

use crate::actors::{Backend, Fate, Kind};
use crate::security::Wire;
use crate::stage::{Settings, Stage, address, plan, pool_at};

const TIMEOUT: Duration = Duration::from_secs(3);
const START: Duration = Duration::from_secs(1);

/// A stage whose only backend has an address for each of these.
fn stage(kinds: &[Option<Kind>]) -> Stage {
    let places: Vec<_> = (0..kinds.len()).map(|number| address(0, number)).collect();
    let mut pool = pool_at(places.clone());
    pool.settings.connect_timeout = TIMEOUT;
    let mut settings = Settings::plenty(vec![pool]);
    settings.listeners[0].failure_window = Some(Duration::from_secs(1));
    let stage = Stage::new(settings);
    for (kind, place) in kinds.iter().zip(places) {
        if let Some(kind) = *kind {
            stage.world.spawn(Default::default(), Backend::new(place, 16, kind, Wire::Plain).0);
        }
    }
    stage
}

fn failures(stage: &Stage) -> u32 {
    stage.pools[0].members()[0].backend.failures_in_a_row()
}

/// How long one client was served or in vain, and the stage afterwards.
fn serve(kinds: &[Option<Kind>]) -> (Stage, Fate, Duration) {
    let mut stage = stage(kinds);
    let client = stage.client(START, plan(1, 1000));
    let seen = client.clone();
    let over = stage.moment(START, move || crate::stage::is_over(&seen));
    stage.run_until_done([&client]);
    (stage, client.get().fate, over.get().unwrap() - START)
}

#[test]
fn an_address_that_does_not_answer_leads_to_the_next_one_within_its_part_of_the_time() {
    let (stage, fate, took) = serve(&[Some(Kind::BlackHole), None, Some(Kind::Echo)]);
    assert_eq!(fate, Fate::Done);
    assert!((TIMEOUT / 3..TIMEOUT / 2).contains(&took), "{took:?}");
    let record = stage.records().remove(0);
    assert_eq!(record.backend_address, Some(address(0, 2)));
    assert!(record.connect.unwrap() >= TIMEOUT / 3, "{:?}", record.connect);
    assert!(record.tried.is_empty(), "all addresses are one try");
    assert_eq!(failures(&stage), 0, "it was reached");
    let tally = stage.sessions_of(0).remove(0);
    assert_eq!((tally.connect_attempts.get(), tally.connect_failures.get()), (3, 2));
}

#[test]
fn what_an_address_that_refuses_leaves_of_its_time_is_the_next_ones() {
    let (stage, fate, took) = serve(&[None, Some(Kind::BlackHole)]);
    assert_eq!(fate, Fate::Failed(std::io::ErrorKind::ConnectionReset));
    assert!((TIMEOUT - TIMEOUT / 10..TIMEOUT + TIMEOUT / 10).contains(&took), "{took:?}");
    assert_eq!(stage.ended(CloseReason::ConnectTimeout), 1);
    assert_eq!(failures(&stage), 1, "the backend has failed once");
    assert_eq!(&*stage.records()[0].tried[0], "backend-0");
}
