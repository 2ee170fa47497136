//! Runs the probes of all pools, so many at a time, on the control thread's runtime. Decides
//! neither when one is made nor what its result means.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::event::ProbeId;
use super::probe::{ProbeFailure, Prober};

/// The probes that run and those that wait for a place. Dropping it ends them all.
///
/// At most one of each member is there, so the queue is no longer than the pools are large; how
/// many sockets are open is bounded by the limit.
pub struct Probes {
    limit: usize,
    running: JoinSet<(Result<(), ProbeFailure>, Duration)>,
    jobs: HashMap<Id, (Job, AbortHandle)>,
    waiting: VecDeque<Job>,
}

/// One probe to be made.
#[derive(Clone)]
pub struct Job {
    pub pool: Arc<str>,
    pub name: Arc<str>,
    pub probe: ProbeId,
    pub addresses: Arc<[SocketAddr]>,
    pub prober: Arc<Prober>,
}

/// How a probe ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    pub pool: Arc<str>,
    pub name: Arc<str>,
    pub probe: ProbeId,
    pub result: Result<(), ProbeFailure>,
    /// The wait for a place does not count.
    pub took: Duration,
}

impl Probes {
    /// Runs at most `limit` probes at a time, at least 1.
    pub fn new(limit: usize) -> Probes {
        Probes {
            limit: limit.max(1),
            running: JoinSet::new(),
            jobs: HashMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Makes a probe, now or when there is a place. It must be called within a runtime.
    pub fn start(&mut self, job: Job) {
        self.waiting.push_back(job);
        self.fill();
    }

    /// Ends a probe, whose result is then never given.
    pub fn cancel(&mut self, pool: &str, probe: ProbeId) {
        let is_meant = |job: &Job| job.probe == probe && *job.pool == *pool;
        self.waiting.retain(|job| !is_meant(job));
        let running = self.jobs.iter().find(|(_, (job, _))| is_meant(job));
        if let Some(id) = running.map(|(id, _)| *id)
            && let Some((_, task)) = self.jobs.remove(&id)
        {
            task.abort();
        }
    }

    /// The next probe that ends; for ever pending while none is there. It may be dropped and
    /// asked again without losing a result.
    pub async fn finished(&mut self) -> Finished {
        loop {
            let Some(ended) = self.running.join_next_with_id().await else {
                // Nothing runs, so nothing waits either: only `start` can change that.
                std::future::pending::<()>().await;
                continue;
            };
            self.fill();
            let (id, result, took) = outcome(ended);
            // Those that were cancelled are no longer among the jobs.
            if let Some((Job { pool, name, probe, .. }, _)) = self.jobs.remove(&id) {
                return Finished { pool, name, probe, result, took };
            }
        }
    }

    /// Gives every free place to a job that waits.
    fn fill(&mut self) {
        while self.running.len() < self.limit
            && let Some(job) = self.waiting.pop_front()
        {
            let (prober, addresses) = (Arc::clone(&job.prober), Arc::clone(&job.addresses));
            let name = Arc::clone(&job.name);
            let task = self.running.spawn(async move {
                let begun = Instant::now();
                let result = prober.probe(&name, &addresses).await;
                (result, begun.elapsed())
            });
            self.jobs.insert(task.id(), (job, task));
        }
    }
}

type Ended = Result<(Id, (Result<(), ProbeFailure>, Duration)), JoinError>;

fn outcome(ended: Ended) -> (Id, Result<(), ProbeFailure>, Duration) {
    match ended {
        Ok((id, (result, took))) => (id, result, took),
        // It panicked, unless it was cancelled. The member has to be probed again all the same.
        Err(error) => (error.id(), Err(ProbeFailure::Defect), Duration::ZERO),
    }
}
