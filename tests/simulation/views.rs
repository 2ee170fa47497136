//! A new View: it redirects new sessions and leaves those in progress alone.

use std::sync::Arc;
use std::time::Duration;

use ringmain::balance::PoolId;
use ringmain::observe::CloseReason;

use crate::actors::{Kind, Plan};
use crate::stage::{Settings, Stage, plan, pool, with_members};

#[test]
fn a_new_view_redirects_new_sessions_and_leaves_those_in_progress_alone() {
    let both = pool(0, 2);
    let second = both.members()[1].clone();
    let first_only = with_members(both, |members| members.truncate(1));
    let mut stage = Stage::new(Settings::plenty(vec![first_only]));
    let logs = [0, 1].map(|number| stage.backend(0, number, Kind::Echo));
    // About five seconds each, over the publication of the new View.
    let slow = |stream| Plan { chunk: 10, pause: Duration::from_millis(100), ..plan(stream, 1000) };
    let early = |stream| stage.client(Duration::from_millis(100 * stream), slow(stream));
    let late = |stream| stage.client(Duration::from_secs(stream), plan(stream, 1000));
    let clients: Vec<_> = (1..=4).map(early).chain((5..=8).map(late)).collect();
    let changed = Arc::new(with_members(pool(0, 0), |members| members.push(second)));
    stage.pools.push(changed.clone());
    stage.publish(Duration::from_secs(3), vec![(PoolId(0), changed)]);
    stage.run_until_done(&clients);
    assert!(clients.iter().all(|client| client.get().received == 1000));
    let streams =
        |number: usize| logs[number].borrow().received.keys().copied().collect::<Vec<_>>();
    assert_eq!((streams(0), streams(1)), (vec![1, 2, 3, 4], vec![5, 6, 7, 8]));
    assert_eq!(stage.ended(CloseReason::Finished), 8);
}
