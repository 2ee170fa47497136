//! Owns a thread with an engine of its own, pinned to a CPU; what runs on it is given.

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use ringmain::engine::driver::Driver;
use ringmain::engine::driver::uring::{RingSizes, Uring};
use ringmain::engine::support::Unsupported;
use ringmain::engine::{BufferSizes, Engine, EngineSettings, PipeSizes, Remote};
use rustix::thread::gettid;

use crate::clock::Clock;
use crate::compare::cpus;

use super::record::{Beat, Recorder, SharedWindow, Tally};
use super::stage::Stage;

/// What a thread of a run is started with.
pub struct Post {
    pub name: &'static str,
    /// None: wherever the kernel likes.
    pub cpu: Option<usize>,
    pub clock: Clock,
    pub window: SharedWindow,
    pub beats: Sender<Beat>,
    pub remote: Arc<Remote>,
}

/// What a thread leaves behind.
pub struct Finished<T> {
    pub output: T,
    /// Of each part of its stage.
    pub parts: Vec<Tally>,
}

/// Why a thread could not do its work.
#[derive(Debug)]
pub enum ThreadError {
    Unsupported(Unsupported),
    Host(io::Error),
}

impl Post {
    /// Starts the thread; `started` is told its number in the kernel once its engine runs.
    pub fn start<T, W, F>(
        self,
        started: Sender<i32>,
        work: W,
    ) -> io::Result<JoinHandle<Result<Finished<T>, ThreadError>>>
    where
        T: Send + 'static,
        W: FnOnce(Rc<Stage>) -> F + Send + 'static,
        F: Future<Output = T>,
    {
        std::thread::Builder::new().name(self.name.to_owned()).spawn(move || {
            if let Some(cpu) = self.cpu {
                cpus::pin(cpu).map_err(ThreadError::Host)?;
            }
            let uring =
                Uring::new(RING, Arc::clone(&self.remote)).map_err(ThreadError::Unsupported)?;
            let origin = origin(&self.clock, &uring);
            let engine =
                Engine::new(Box::new(uring), self.remote, &SETTINGS).map_err(ThreadError::Host)?;
            let recorder = Recorder::new(self.window.clone(), Some(self.beats));
            let stage = Stage::new(engine, origin, Some(self.clock), self.window, recorder);
            // Whoever started the thread is gone when nobody listens.
            started.send(gettid().as_raw_nonzero().get()).unwrap_or_default();
            let running = work(Rc::clone(&stage));
            let output = stage.engine.block_on(running, || ()).map_err(ThreadError::Host)?;
            stage.end();
            stage.engine.wind_up(WIND_UP).map_err(ThreadError::Host)?;
            Ok(Finished { output, parts: stage.take_parts() })
        })
    }
}

/// The bench's clock at the engine's time 0: from the pair of readings that lay closest together.
fn origin(clock: &Clock, driver: &Uring) -> u64 {
    let pairs = (0..100).map(|_| {
        let before = clock.now();
        let engine = driver.now().as_nanos();
        let after = clock.now();
        (after - before, (before + (after - before) / 2).saturating_sub(engine))
    });
    pairs.min().map_or(0, |(_, origin)| origin)
}

const RING: RingSizes = RingSizes { submissions: 4096, completions: 65_536, buffers: 4096 };
const SETTINGS: EngineSettings = EngineSettings {
    buffers: BufferSizes { size: 16 << 10, count: 4096, offered: 256 },
    pipes: PipeSizes { count: 0, size: 4096 },
    // A generator waits for whoever is slow; nothing is taken from its connections.
    stall_after: Duration::from_secs(24 * 3600),
    stalled_share: usize::MAX,
};
const WIND_UP: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use rustix::thread::{CpuSet, sched_getaffinity};

    use super::*;

    #[test]
    fn a_thread_stays_on_its_cpu() {
        let ours = sched_getaffinity(None).unwrap();
        // The last one: whoever is not pinned may be on any.
        let cpu = (0..CpuSet::MAX_CPU).rev().find(|&cpu| ours.is_set(cpu)).unwrap();
        let remote = Arc::new(Remote::with_signal().unwrap());
        let (window, (beats, _)) = (SharedWindow::default(), channel());
        let post =
            Post { name: "test", cpu: Some(cpu), clock: Clock::start(), window, beats, remote };
        let (started, starting) = channel();
        let thread = post.start(started, |_| async { sched_getaffinity(None).unwrap() }).unwrap();
        assert!(starting.recv().unwrap() > 0);
        let theirs = thread.join().unwrap().unwrap().output;
        assert_eq!((theirs.count(), theirs.is_set(cpu)), (1, true));
        // Whoever has started it is where it was.
        assert_eq!(sched_getaffinity(None).unwrap(), ours);
    }
}
