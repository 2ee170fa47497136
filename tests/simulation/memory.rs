//! Backends that do not read: they cost their sessions only, and no more memory than there is.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ringmain::engine::driver::simulated::{Faults, Next, Peers};
use ringmain::engine::{BufferSizes, Time};
use ringmain::observe::CloseReason;

use crate::actors::{Ending, Fate, Kind, Plan};
use crate::stage::{ANYWHERE, Settings, Stage, address, front, is_over, plan, pool, silent_client};

#[test]
fn a_thousand_sessions_to_a_frozen_backend_do_not_hold_up_the_others() {
    let mut settings = Settings::plenty(vec![pool(0, 1), pool(1, 1)]);
    settings.engine.buffers = BufferSizes { size: 4096, count: 256, offered: 16 };
    settings.engine.stalled_share = 128;
    let mut stage = Stage::new(settings);
    stage.backend(0, 0, Kind::NeverRead);
    stage.backend(1, 0, Kind::Echo);
    for stream in 1..=1000 {
        let chunk = 32 << 10;
        let plan = Plan { chunk, ending: Ending::Stay, ..plan(stream, 120_000) };
        stage.client(Duration::from_millis(stream), plan);
    }
    let others: Vec<_> = (2001..=2050)
        .map(|stream| {
            let plan = Plan { target: front(1), ..plan(stream, 50_000) };
            stage.client(Duration::from_millis(100 * (stream - 2000)), plan)
        })
        .collect();
    let clients = others.clone();
    let over = stage.moment(Duration::ZERO, move || clients.iter().all(is_over));
    let most = Rc::new(Cell::new(0));
    // From when all have stalled that ever will.
    for second in 10..15 {
        let (metrics, most) = (stage.metrics.clone(), most.clone());
        stage.at(Duration::from_secs(second), move |_| {
            most.set(metrics.tally.buffers_held.get().max(most.get()));
        });
    }
    stage.run_until_done(&others);
    assert!(others.iter().all(|client| client.get().received == 50_000));
    assert!(over.get().unwrap() < Duration::from_secs(30), "they took until {over:?}");
    let healthy = &stage.sessions_of(1)[0].sessions_closed;
    assert_eq!(healthy.get(CloseReason::Finished), 50);
    assert!((1..=128).contains(&most.get()), "the frozen sessions hold {}", most.get());
    let evicted = stage.ended(CloseReason::RelayMemory);
    assert!((1..1000).contains(&evicted), "{evicted} were evicted");
}

#[test]
fn a_frozen_backend_has_one_share_however_often_the_view_changes() {
    const SHARE: u64 = 32;
    let mut settings = Settings::plenty(vec![pool(0, 1)]);
    settings.engine.stalled_share = SHARE as usize;
    settings.engine.pipes.count = 0;
    let mut stage = Stage::new(settings);
    stage.backend(0, 0, Kind::NeverRead);
    for stream in 1..=100 {
        let plan = Plan { chunk: 64 << 10, ending: Ending::Stay, ..plan(stream, 1 << 20) };
        stage.client(Duration::from_millis(100 * stream), plan);
    }
    for second in 1..10 {
        stage.publish(Duration::from_secs(second), Vec::new());
    }
    let (metrics, held) = (stage.metrics.clone(), Rc::new(Cell::new(0)));
    let seen = held.clone();
    stage.at(Duration::from_secs(30), move |_| seen.set(metrics.tally.buffers_held.get()));
    stage.drain(Time::default() + Duration::from_secs(40), Duration::ZERO, || false);
    stage.run();
    assert!((SHARE / 2..=SHARE).contains(&held.get()), "{held:?} buffers are held");
}

#[test]
fn when_the_relay_memory_is_used_up_the_longest_stalled_session_is_closed() {
    const BUFFERS: u64 = 8;
    let mut settings = Settings::plenty(vec![pool(0, 1)]);
    settings.engine.buffers = BufferSizes { size: 4096, count: BUFFERS as u16, offered: 2 };
    let mut stage = Stage::new(settings);
    stage.backend(0, 0, Kind::NeverRead);
    // Each stalls before the next one comes: it sends more than the way to the backend holds.
    let clients: Vec<_> = (1..=BUFFERS + 4)
        .map(|stream| {
            let plan = Plan { chunk: 64 << 10, ending: Ending::Stay, ..plan(stream, 1 << 20) };
            stage.client(Duration::from_secs(10 * stream), plan)
        })
        .collect();
    let enough = Duration::from_secs(10 * (BUFFERS + 6));
    stage.drain(Time::default() + enough, Duration::ZERO, || false);
    let accounts = stage.sessions_of(0).remove(0);
    let evicted = stage.moment(Duration::ZERO, move || {
        accounts.sessions_closed.get(CloseReason::RelayMemory) >= 4
    });
    stage.run();
    // A session may hold two buffers for a moment: what it received last, and a stalled send.
    let (closed, drained) =
        (stage.ended(CloseReason::RelayMemory), stage.ended(CloseReason::Drained));
    assert!((4..=BUFFERS).contains(&closed), "{closed} were closed");
    assert_eq!(closed + drained, BUFFERS + 4);
    assert!(evicted.get().unwrap() < enough);
    let reset = Fate::Failed(std::io::ErrorKind::ConnectionReset);
    let (longest, others) = clients.split_at(closed as usize);
    assert!(longest.iter().all(|client| client.get().fate == reset && !client.get().end_seen));
    assert!(others.iter().all(|client| client.get().fate != reset));
}

#[test]
fn a_client_that_loses_its_session_to_the_relay_memory_is_reset() {
    let mut settings = Settings::plenty(vec![pool(0, 1)]);
    settings.engine.buffers = BufferSizes { size: 4096, count: 4, offered: 2 };
    let mut stage = Stage::new(settings);
    stage.backend(0, 0, Kind::Source { length: 1 << 20 });
    let failures: Vec<_> = (1..=6u64)
        .map(|stream| silent_client(&stage, Duration::from_secs(10 * stream), stream))
        .collect();
    stage.drain(Time::default() + Duration::from_secs(90), Duration::ZERO, || false);
    stage.run();
    assert_eq!(stage.ended(CloseReason::RelayMemory), 2);
    let reset = Some(std::io::ErrorKind::ConnectionReset);
    assert!(failures[..2].iter().all(|failure| failure.get() == reset), "{failures:?}");
}

/// A party that never reads. It sends on and on; or some bytes, and resets at a time.
fn unreading(stage: &Stage, is_backend: bool, leaves: Option<Time>) {
    let (mut listener, mut end, mut connected) = (None, None, is_backend);
    let mut rest = if leaves.is_some() { 1000 } else { usize::MAX };
    stage.world.spawn(Time::default(), move |peers: &mut Peers<'_>| {
        if is_backend {
            let listener = *listener.get_or_insert_with(|| peers.listen(address(0, 0), 1));
            end = end.or_else(|| peers.accept(listener));
        }
        let connect = |peers: &mut Peers<'_>| peers.connect(ANYWHERE, front(0)).ok();
        end = end.or_else(|| if is_backend { None } else { connect(peers) });
        let Some(end) = end else { return Next::OnEvent };
        connected = connected || peers.is_connected(end).unwrap();
        if !connected {
            return Next::OnEvent;
        }
        if leaves.is_some_and(|time| time <= peers.now()) {
            peers.reset(end);
            return Next::Done;
        }
        while rest > 0
            && let Ok(length) = peers.write(end, &[0; 1000])
        {
            rest -= length;
        }
        leaves.map_or(Next::OnEvent, Next::At)
    });
}

#[test]
fn what_was_meant_for_a_party_that_is_gone_is_given_back_while_the_rest_is_delivered() {
    let mut lingering = 0;
    for (seed, client_leaves) in (0..16).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut settings = Settings::plenty(vec![pool(0, 1)]);
        settings.seed = seed;
        settings.faults.caps_receives = seed % 2 == 0;
        settings.engine.pipes.count = 0;
        settings.linger_timeout = Duration::from_secs(60);
        let mut stage = Stage::new(settings);
        let leaves = Some(Time::default() + Duration::from_secs(20));
        unreading(&stage, false, leaves.filter(|_| client_leaves));
        unreading(&stage, true, leaves.filter(|_| !client_leaves));
        let gauges = [19, 25].map(|second| {
            let (metrics, seen) = (stage.metrics.clone(), Rc::new(Cell::new([0; 2])));
            let gauges = seen.clone();
            stage.at(Duration::from_secs(second), move |_| {
                let tally = &metrics.tally;
                seen.set([tally.sessions_open.get(), tally.buffers_held.get()]);
            });
            gauges
        });
        stage.drain(Time::default() + Duration::from_secs(90), Duration::ZERO, || false);
        stage.run();
        let [before, after] = gauges.map(|gauges| gauges.get());
        assert!(before[1] > 0, "seed {seed}: what comes in abundance is held");
        assert_eq!(after[1], 0, "seed {seed}, the client leaves: {client_leaves}");
        lingering += after[0];
    }
    assert!(lingering > 0, "some have little left to deliver, and nobody who takes it");
}

#[test]
fn the_rest_of_a_short_send_may_stall_like_the_send_before() {
    for seed in 0..8 {
        let mut settings = Settings::plenty(vec![pool(0, 1)]);
        settings.seed = seed;
        settings.faults = Faults { short_send: 1000, ..Faults::none() };
        settings.engine.buffers.size = 64 << 10;
        settings.engine.pipes.count = 0;
        let mut stage = Stage::new(settings);
        stage.backend(0, 0, Kind::SlowReader { chunk: 4096, pause: Duration::from_secs(10) });
        let client = stage.client(Duration::ZERO, Plan { chunk: 64 << 10, ..plan(1, 400_000) });
        stage.run_until_done([&client]);
        assert_eq!(stage.ended(CloseReason::Finished), 1);
    }
}
