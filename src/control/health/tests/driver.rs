//! Many probes at a time.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::{Duration, timeout};

use super::server::{asking, nobody, serve};
use crate::config::Check;
use crate::control::health::{Finished, Job, ProbeFailure, ProbeId, Prober, Probes};

fn job(probe: u64, prober: &Arc<Prober>, address: SocketAddr) -> Job {
    Job {
        pool: "pool".into(),
        name: format!("b{probe}").into(),
        probe: ProbeId(probe),
        addresses: [address].into(),
        prober: Arc::clone(prober),
    }
}

fn prober(check: Check) -> Arc<Prober> {
    Arc::new(Prober::new(&asking(check), None).unwrap())
}

#[tokio::test]
async fn every_probe_ends_with_its_own_result() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (well, nobody) = (listener.local_addr().unwrap(), nobody().await);
    let (mut probes, prober) = (Probes::new(3), prober(Check::Tcp));
    for probe in 0..20 {
        probes.start(job(probe, &prober, if probe % 2 == 0 { well } else { nobody }));
    }
    let mut ended = BTreeSet::new();
    for _ in 0..20 {
        let Finished { pool, name, probe, result, .. } = probes.finished().await;
        let well = probe.0 % 2 == 0;
        assert_eq!(result, if well { Ok(()) } else { Err(ProbeFailure::Refused) });
        assert_eq!((&*pool, &*name), ("pool", &*format!("b{}", probe.0)));
        ended.insert(probe);
    }
    assert_eq!(ended.len(), 20);
}

/// A server that answers each connection when it is let, and counts those that wait for it.
async fn gate() -> (SocketAddr, Arc<Semaphore>, Arc<AtomicUsize>) {
    let (gate, waiting) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (opened, counted) = (Arc::clone(&gate), Arc::clone(&waiting));
    let address = serve(move |mut stream| {
        let (gate, waiting) = (Arc::clone(&opened), Arc::clone(&counted));
        async move {
            waiting.fetch_add(1, Ordering::Relaxed);
            tokio::select! {
                permit = gate.acquire() => permit.unwrap().forget(),
                // The probe was cancelled.
                _ended = stream.read_u8() => {}
            }
            waiting.fetch_sub(1, Ordering::Relaxed);
        }
    })
    .await;
    (address, gate, waiting)
}

/// So many wait, at least.
async fn until(waiting: &AtomicUsize, count: usize) {
    let come = async {
        while waiting.load(Ordering::Relaxed) < count {
            yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), come).await.expect("too few come");
}

#[tokio::test]
async fn no_more_than_the_limit_run_at_a_time() {
    let (address, gate, waiting) = gate().await;
    let prober = prober(Check::SendExpect { send: vec![], expect: b"x".to_vec() });
    let mut probes = Probes::new(4);
    (0..10).for_each(|probe| probes.start(job(probe, &prober, address)));
    for left in (1..=10).rev() {
        until(&waiting, left.min(4)).await;
        // Were there more, they would come in these turns.
        for _ in 0..100 {
            yield_now().await;
        }
        assert_eq!(waiting.load(Ordering::Relaxed), left.min(4));
        gate.add_permits(1);
        assert_eq!(probes.finished().await.result, Err(ProbeFailure::Closed));
    }
}

#[tokio::test]
async fn a_cancelled_probe_gives_no_result_and_leaves_its_place() {
    let (address, gate, waiting) = gate().await;
    let prober = prober(Check::SendExpect { send: vec![], expect: b"x".to_vec() });
    let mut probes = Probes::new(2);
    (0..5).for_each(|probe| probes.start(job(probe, &prober, address)));
    until(&waiting, 2).await;
    // One that runs, one that waits, one of another pool and one that nobody knows.
    probes.cancel("pool", ProbeId(0));
    probes.cancel("pool", ProbeId(3));
    probes.cancel("other", ProbeId(1));
    probes.cancel("pool", ProbeId(77));
    gate.add_permits(10);
    let mut ended = BTreeSet::new();
    for _ in 0..3 {
        ended.insert(probes.finished().await.probe.0);
    }
    assert_eq!(ended, BTreeSet::from([1, 2, 4]));
    tokio::time::pause();
    timeout(Duration::from_secs(60), probes.finished()).await.unwrap_err();
}

#[tokio::test]
async fn waiting_for_a_result_may_be_given_up_and_begun_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut probes, prober) = (Probes::new(2), prober(Check::Tcp));
    (0..5).for_each(|probe| probes.start(job(probe, &prober, listener.local_addr().unwrap())));
    let mut ended = 0;
    while ended < 5 {
        tokio::select! {
            biased;
            _ = probes.finished() => ended += 1,
            () = yield_now() => {}
        }
    }
}
