//! The thread for what takes so long that sessions of a worker would feel it: handshakes that sign
//! with a large RSA key. One for all workers.

use std::future::poll_fn;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};

type Job = Box<dyn FnOnce() + Send>;

/// The way to that thread, which runs from the first use on, or from `start`.
#[derive(Default)]
pub struct Signer {
    jobs: OnceLock<Sender<Job>>,
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
        self.jobs();
    }

    fn jobs(&self) -> &Sender<Job> {
        self.jobs.get_or_init(|| {
            let (sender, jobs) = channel::<Job>();
            let serve = move || {
                while let Ok(job) = jobs.recv() {
                    // A panic is told by the hook, and to whoever waits by the lack of an outcome.
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).unwrap_or_default();
                }
            };
            // Without a thread the jobs are dropped, and whoever waits hears of it.
            if let Err(error) = std::thread::Builder::new().name("signer".to_owned()).spawn(serve) {
                tracing::error!(%error, "the thread for long signatures could not be started");
            }
            sender
        })
    }

    /// Runs `job` on that thread; `None` if that did not succeed.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let desk = Arc::new(Mutex::new(Desk { outcome: None, over: false, waker: None }));
        let bell = Bell(Arc::clone(&desk));
        let job = move || {
            let bell = bell;
            let outcome = job();
            bell.desk().outcome = Some(outcome);
        };
        // Whoever gets it back drops it, which rings the bell as well.
        self.jobs().send(Box::new(job)).unwrap_or_default();
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

    use super::*;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(future)
    }

    #[test]
    fn a_job_runs_elsewhere_and_its_outcome_comes_back() {
        let signer = Signer::default();
        let here = std::thread::current().id();
        let there = wait(signer.run(|| std::thread::current().id())).unwrap();
        assert_ne!(here, there);
        assert_eq!(wait(signer.run(|| std::thread::current().id())), Some(there), "one thread");
    }

    #[test]
    fn a_job_that_panics_leaves_nothing_and_the_next_one_runs() {
        let signer = Signer::default();
        assert_eq!(wait(signer.run(|| -> u8 { panic!("on purpose") })), None);
        assert_eq!(wait(signer.run(|| 7)), Some(7));
    }
}
