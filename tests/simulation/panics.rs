//! A panic in a task: it ends that task alone.

use std::time::Duration;

use crate::actors::{Fate, Kind};
use crate::stage::{Settings, Stage, plan, pool};

#[test]
fn a_panic_in_a_task_ends_it_alone_and_is_counted() {
    let mut stage = Stage::new(Settings::plenty(vec![pool(0, 1)]));
    stage.backend(0, 0, Kind::Echo);
    let clients: Vec<_> = (1..=10)
        .map(|stream| stage.client(Duration::from_millis(stream), plan(stream, 100_000)))
        .collect();
    for millis in [0, 5, 20] {
        let engine = stage.engine.clone();
        stage.engine.spawn(async move {
            engine.sleep_until(engine.now() + Duration::from_millis(millis)).await;
            panic!("a task fails, as the test wants it");
        });
    }
    stage.run_until_done(&clients);
    assert!(clients.iter().all(|client| client.get().fate == Fate::Done));
    assert!(clients.iter().all(|client| client.get().received == 100_000));
    assert_eq!(stage.engine.status().panics, 3);
}
