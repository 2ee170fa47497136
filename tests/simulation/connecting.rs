//! Connections to backends that take their time, fail late, or are over when they are noticed.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::time::Duration;

use ringmain::engine::driver::simulated::Faults;
use ringmain::observe::CloseReason;

use crate::actors::{Answer, Ending, Fate, Kind, Plan};
use crate::stage::{Settings, Stage, plan, pool};

const SOON: Duration = Duration::from_millis(1);
const SEEDS: u64 = 64;

/// A stage with these backends; where there is none, connects are refused.
fn stage(seed: u64, faults: Faults, kinds: &[Option<Kind>], timeout: Duration) -> Stage {
    let mut pool = pool(0, kinds.len());
    pool.settings.connect_timeout = timeout;
    let stage = Stage::new(Settings { seed, faults, ..Settings::plenty(vec![pool]) });
    for (number, kind) in kinds.iter().enumerate() {
        kind.map(|kind| stage.backend(0, number, kind));
    }
    stage
}

/// By backend: what was tried, what failed, and the sessions it got.
fn counts(stage: &Stage) -> Vec<[u64; 3]> {
    let count = |tally: &ringmain::observe::SessionTally| {
        let counters = [&tally.connect_attempts, &tally.connect_failures, &tally.sessions_opened];
        counters.map(|counter| counter.get())
    };
    stage.sessions_of(0).iter().map(|tally| count(tally)).collect()
}

#[test]
fn what_a_backend_says_before_it_resets_is_delivered_however_late_the_connect_is_noticed() {
    const LENGTH: u64 = 100;
    let faults = Faults { late_look: 1000, ..Faults::none() };
    for seed in 0..SEEDS {
        let kinds = [Some(Kind::RudeGreeter { length: LENGTH })];
        let mut stage = stage(seed, faults, &kinds, Duration::from_secs(5));
        let plan = Plan { answer: Answer::Greeting, ending: Ending::Stay, ..plan(1, 100) };
        let client = stage.client(SOON, plan);
        stage.run_until_done([&client]);
        let outcome = client.get();
        assert_eq!(outcome.received, LENGTH, "seed {seed}: {outcome:?}");
        assert_eq!(outcome.fate, Fate::Failed(ErrorKind::ConnectionReset), "seed {seed}");
        assert_eq!(stage.ended(CloseReason::BackendReset), 1, "seed {seed}");
        assert_eq!(counts(&stage), [[1, 0, 1]], "seed {seed}");
    }
}

#[test]
fn a_reset_without_a_word_is_a_failed_try_when_it_is_noticed_with_the_connect() {
    let faults = Faults { late_look: 1000, ..Faults::none() };
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let kinds = [Some(Kind::ResetAfter { received: 0 }); 2];
        let mut stage = stage(seed, faults, &kinds, Duration::from_secs(5));
        let client = stage.client(SOON, Plan { ending: Ending::Stay, ..plan(1, 100) });
        stage.run_until_done([&client]);
        assert_eq!(client.get().fate, Fate::Failed(ErrorKind::ConnectionReset), "seed {seed}");
        let record = stage.records().remove(0);
        let tried = record.tried.len() as u64;
        let opened = u64::from(record.reason == CloseReason::BackendReset);
        assert!(opened == 1 || record.reason == CloseReason::ConnectFailed, "{record:?}");
        let sum = |of: usize| counts(&stage).iter().map(|counts| counts[of]).sum::<u64>();
        assert_eq!([0, 1, 2].map(sum), [tried + opened, tried, opened], "seed {seed}");
        seen.insert((tried, opened));
    }
    assert_eq!(seen, [(0, 1), (1, 1), (2, 0)].into(), "each case was met");
}

#[test]
fn an_answer_about_when_the_time_is_over_is_the_sessions_or_leaves_nothing_behind() {
    // Held back, so that many a connect is done when its time is over, and not known to be.
    let faults = Faults { late_answer: 1000, late_look: 500, delayed: 500, ..Faults::none() };
    let mut seen = BTreeSet::new();
    for seed in 0..4 * SEEDS {
        let timeout = Duration::from_millis(1 << (seed % 8));
        let mut stage = stage(seed, faults, &[Some(Kind::Echo); 3], timeout);
        let client = stage.client(SOON, plan(1, 1000));
        stage.run_until_done([&client]);
        let record = stage.records().remove(0);
        let tried = record.tried.len() as u64;
        let opened = u64::from(record.reason == CloseReason::Finished);
        assert!(opened == 1 || record.reason == CloseReason::ConnectTimeout, "{record:?}");
        assert_eq!(client.get().received, 1000 * opened, "seed {seed}");
        for (number, [attempts, failures, sessions]) in counts(&stage).into_iter().enumerate() {
            let name = format!("backend-{number}");
            let in_vain = record.tried.iter().filter(|tried| ***tried == *name).count() as u64;
            let served = u64::from(record.backend.as_deref() == Some(&*name));
            assert_eq!([attempts, failures, sessions], [in_vain + served, in_vain, served]);
        }
        seen.insert((tried, opened));
    }
    assert_eq!(seen, [(0, 1), (1, 1), (2, 1), (3, 0)].into(), "each case was met");
}

#[test]
fn a_refusal_that_comes_late_leads_to_the_next_backend() {
    let faults = Faults { lost_answer: 1000, ..Faults::none() };
    for seed in 0..SEEDS {
        let mut stage = stage(seed, faults, &[None, Some(Kind::Echo)], Duration::from_secs(5));
        let client = stage.client(SOON, plan(1, 1000));
        stage.run_until_done([&client]);
        assert_eq!((client.get().fate, client.get().received), (Fate::Done, 1000), "seed {seed}");
        let record = stage.records().remove(0);
        let tried = record.tried.len() as u64;
        assert_eq!(counts(&stage), [[tried, tried, 0], [1, 0, 1]], "seed {seed}");
        // Each answer is one or three seconds late.
        let connect = record.connect.unwrap().as_secs();
        assert!([1, 3].contains(&connect), "seed {seed}: the last of them took {connect} s");
        assert!(record.total.as_secs() > tried, "seed {seed}: {:?}", record.total);
    }
}

#[test]
fn a_kernel_that_gives_up_first_and_a_router_that_answers_are_failures_of_the_backend() {
    for (faults, kind, reason) in [
        (
            Faults { gives_up: 1000, ..Faults::none() },
            Some(Kind::BlackHole),
            CloseReason::ConnectTimeout,
        ),
        (
            Faults { unreachable: 1000, ..Faults::none() },
            Some(Kind::Echo),
            CloseReason::ConnectFailed,
        ),
    ] {
        for seed in 0..SEEDS {
            let mut stage = stage(seed, faults, &[kind; 2], Duration::from_secs(60));
            let client = stage.client(SOON, plan(1, 1000));
            stage.run_until_done([&client]);
            assert_eq!(client.get().fate, Fate::Failed(ErrorKind::ConnectionReset), "seed {seed}");
            assert_eq!(stage.ended(reason), 1, "seed {seed}");
            assert_eq!(counts(&stage), [[1, 1, 0]; 2], "seed {seed}");
            assert!(stage.records()[0].total < Duration::from_secs(10), "seed {seed}");
        }
    }
}
