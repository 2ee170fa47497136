//! The thread for what takes so long that sessions of a worker would feel it: steps of handshakes
//! that sign with a large RSA key. One for all workers.
//!
//! A job that nobody waits for any more is not begun. So there are never more than there are
//! handshakes under way, which are limited.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};

use crate::observe::WorkerTally;

type Job = Box<dyn FnOnce() + Send>;

/// The way to that thread, which runs from the first use on, or from `start`.
#[derive(Default)]
pub struct Signer {
    counter: Arc<Counter>,
    started: OnceLock<()>,
}

/// Where jobs wait for the thread.
#[derive(Default)]
struct Counter {
    jobs: Mutex<Jobs>,
    /// Rings when there is a job, or there will be none.
    bell: Condvar,
}

#[derive(Default)]
struct Jobs {
    /// By their numbers, and so in their order.
    waiting: BTreeMap<u64, Job>,
    last: u64,
    closed: bool,
}

/// Where a job leaves what came of it.
struct Desk<T> {
    outcome: Option<T>,
    /// The job is over, also when it panicked and left nothing.
    over: bool,
    waker: Option<Waker>,
}

impl Signer {
    /// Starts the thread, with the affinity of the caller's.
    pub fn start(&self) {
        self.started.get_or_init(|| {
            let counter = Arc::clone(&self.counter);
            let serve = move || {
                while let Some(job) = counter.next() {
                    // A panic is told by the hook, and to whoever waits by the lack of an outcome.
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).unwrap_or_default();
                }
            };
            // Without a thread the jobs are dropped, and whoever waits hears of it.
            if let Err(error) = std::thread::Builder::new().name("signer".to_owned()).spawn(serve) {
                tracing::error!(%error, "the thread for long signatures could not be started");
                self.counter.close();
            }
        });
    }

    /// Runs `job` on that thread; `None` if that did not succeed. If this is dropped before the job
    /// has begun, it never will. `tally` is the one of the calling worker.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        tally: &WorkerTally,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.start();
        tally.tls_long_steps.add(1);
        let desk = Arc::new(Mutex::new(Desk { outcome: None, over: false, waker: None }));
        let bell = Bell(Arc::clone(&desk));
        let job = move || {
            let bell = bell;
            let outcome = job();
            bell.desk().outcome = Some(outcome);
        };
        let _waiting =
            Waiting { counter: &self.counter, number: self.counter.add(Box::new(job)), tally };
        poll_fn(move |context| {
            let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
            if desk.over {
                return Poll::Ready(desk.outcome.take());
            }
            desk.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        self.counter.close();
    }
}

impl Counter {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its number. When there is no thread it is dropped, which rings its bell.
    fn add(&self, job: Job) -> u64 {
        let mut jobs = self.jobs();
        jobs.last += 1;
        let number = jobs.last;
        let refused = if jobs.closed { Some(job) } else { jobs.waiting.insert(number, job) };
        drop(jobs);
        drop(refused);
        self.bell.notify_one();
        number
    }

    /// The next job, once there is one; `None`: there will be none.
    fn next(&self) -> Option<Job> {
        let idle = |jobs: &mut Jobs| jobs.waiting.is_empty() && !jobs.closed;
        let jobs = self.bell.wait_while(self.jobs(), idle);
        let (_, job) = jobs.unwrap_or_else(PoisonError::into_inner).waiting.pop_first()?;
        Some(job)
    }

    fn close(&self) {
        let mut jobs = self.jobs();
        jobs.closed = true;
        let refused = std::mem::take(&mut jobs.waiting);
        drop(jobs);
        drop(refused);
        self.bell.notify_one();
    }
}

/// Somebody waits for a job. Dropped before it has begun, it takes the job with it.
struct Waiting<'w> {
    counter: &'w Counter,
    number: u64,
    tally: &'w WorkerTally,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let abandoned = self.counter.jobs().waiting.remove(&self.number);
        self.tally.tls_long_steps_abandoned.add(abandoned.is_some().into());
    }
}

/// Tells who waits that the job is over, however it ended.
struct Bell<T>(Arc<Mutex<Desk<T>>>);

impl<T> Bell<T> {
    fn desk(&self) -> MutexGuard<'_, Desk<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Bell<T> {
    fn drop(&mut self) {
        let waker = {
            let mut desk = self.desk();
            desk.over = true;
            desk.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::sync::mpsc::{Sender, channel};
    use std::task::Context;

    use super::*;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(future)
    }

    fn begun(job: Pin<&mut impl Future>) {
        assert!(job.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    #[test]
    fn a_job_runs_elsewhere_and_its_outcome_comes_back() {
        let (signer, tally) = (Signer::default(), WorkerTally::default());
        let here = std::thread::current().id();
        let there = wait(signer.run(&tally, || std::thread::current().id())).unwrap();
        assert_ne!(here, there);
        let again = wait(signer.run(&tally, || std::thread::current().id()));
        assert_eq!(again, Some(there), "one thread");
        let counts = (tally.tls_long_steps.get(), tally.tls_long_steps_abandoned.get());
        assert_eq!(counts, (2, 0));
    }

    #[test]
    fn a_job_that_panics_leaves_nothing_and_the_next_one_runs() {
        let (signer, tally) = (Signer::default(), WorkerTally::default());
        assert_eq!(wait(signer.run(&tally, || -> u8 { panic!("on purpose") })), None);
        assert_eq!(wait(signer.run(&tally, || 7)), Some(7));
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_begun() {
        let (signer, tally) = (Signer::default(), WorkerTally::default());
        let (release, released) = channel::<()>();
        let (begin, began) = channel();
        let mut first = pin!(signer.run(&tally, move || {
            begin.send(()).unwrap();
            released.recv().unwrap()
        }));
        begun(first.as_mut());
        began.recv().unwrap();
        let (note, noted) = channel();
        let noting = |number: usize, note: &Sender<usize>| {
            let note = note.clone();
            Box::pin(signer.run(&tally, move || note.send(number).unwrap()))
        };
        let mut waiting: Vec<_> = (0..100).map(|number| noting(number, &note)).collect();
        waiting.iter_mut().for_each(|job| begun(job.as_mut()));
        // Two of three leave, from the front, the middle and the end.
        let mut number = 0;
        waiting.retain(|_| {
            number += 1;
            number % 3 == 2
        });
        assert_eq!(signer.counter.jobs().waiting.len(), waiting.len(), "no job without a waiter");
        assert_eq!(tally.tls_long_steps_abandoned.get(), 67);
        release.send(()).unwrap();
        for job in waiting {
            assert_eq!(wait(job), Some(()));
        }
        drop(note);
        let kept: Vec<usize> = (0..100).filter(|number| number % 3 == 1).collect();
        assert_eq!(noted.iter().collect::<Vec<_>>(), kept, "in their order");
        assert_eq!(tally.tls_long_steps.get(), 101);
    }

    #[test]
    fn without_the_thread_whoever_waits_hears_of_it() {
        let (signer, tally) = (Signer::default(), WorkerTally::default());
        signer.start();
        signer.counter.close();
        assert_eq!(wait(signer.run(&tally, || 7)), None);
    }
}
