//! The threads of the data plane: started together, watched, and joined at the end.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::config::Process;
use crate::engine::driver::uring::{RingSizes, Uring};
use crate::engine::support::Unsupported;
use crate::engine::{BufferSizes, Engine, EngineSettings, Inbox, Listener, PipeSizes, Remote};
use crate::proxy::{self, Command, STALL_AFTER, WorkerParts};

/// The running workers.
pub(super) struct Workers {
    threads: Vec<JoinHandle<io::Result<()>>>,
    inboxes: Vec<Inbox<Command>>,
    /// The number of each worker that has ended, for whatever reason.
    ended: UnboundedReceiver<usize>,
}

/// What one worker is started with; its engine is made on its own thread.
pub(super) struct Blueprint {
    pub(super) cpu: usize,
    pub(super) listeners: Vec<Handle>,
    pub(super) remote: Arc<Remote>,
    pub(super) settings: EngineSettings,
    pub(super) sizes: RingSizes,
    /// All but the wall clock's origin, which is read when the engine's clock begins.
    pub(super) parts: WorkerParts,
}

/// A worker's own handle on a listening socket.
pub(super) struct Handle {
    /// The listener's place in the View.
    pub(super) listener: usize,
    pub(super) socket: OwnedFd,
    /// Other workers accept on the same socket.
    pub(super) shared: bool,
}

/// Why the workers could not be started.
#[derive(Debug)]
pub enum WorkerError {
    Unsupported(Unsupported),
    Io(io::Error),
}

impl fmt::Display for WorkerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkerError::Unsupported(error) => error.fmt(f),
            WorkerError::Io(error) => write!(f, "a worker thread could not be started: {error}"),
        }
    }
}

/// The sizes of a worker's engine.
pub(super) fn engine_settings(process: &Process, connections: u32) -> (EngineSettings, RingSizes) {
    let buffer_count = (process.relay_memory / process.buffer_size).clamp(1, MOST_BUFFERS);
    let buffers = BufferSizes {
        size: process.buffer_size as u32,
        count: buffer_count as u16,
        offered: OFFERED.min(buffer_count as u16),
    };
    let settings = EngineSettings {
        buffers,
        pipes: PipeSizes { count: process.pipes as u32, size: process.pipe_size },
        stall_after: STALL_AFTER,
        stalled_share: buffer_count * usize::from(process.relay_share) / 100,
    };
    // Every session has at most four operations in flight; all may complete in one turn. The
    // kernel clamps the queue at 65,536 entries.
    let completions = connections.saturating_mul(4).clamp(4096, 65_536).next_power_of_two();
    let buffers = (buffer_count as u16).next_power_of_two();
    (settings, RingSizes { submissions: SUBMISSIONS, completions, buffers })
}

/// Makes the ring of each worker as a start would, and gives them back. What is refused is what a
/// start would be refused, with as much memory locked as all of them lock.
pub fn try_rings(process: &Process, workers: usize, connections: u32) -> Result<(), Unsupported> {
    let (_, sizes) = engine_settings(process, connections.div_ceil(workers.max(1) as u32));
    let ring = |_| Uring::new(sizes, Arc::new(Remote::without_signal()));
    let rings: Vec<Uring> = (0..workers).map(ring).collect::<Result<_, _>>()?;
    drop(rings);
    Ok(())
}

impl Workers {
    /// Starts all of them, and waits until each one serves or one has failed.
    pub(super) fn start(blueprints: Vec<Blueprint>) -> Result<Workers, WorkerError> {
        let (started, starting) = mpsc::channel();
        let (ends, ended) = unbounded_channel();
        let mut workers = Workers { threads: Vec::new(), inboxes: Vec::new(), ended };
        for (number, blueprint) in blueprints.into_iter().enumerate() {
            workers.inboxes.push(blueprint.parts.inbox.clone());
            let (started, end) = (started.clone(), End(number, ends.clone()));
            let thread =
                std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                    let _end = end;
                    blueprint.run(&started)
                });
            workers.threads.push(thread.map_err(WorkerError::Io)?);
        }
        drop(started);
        for _ in 0..workers.threads.len() {
            match starting.recv() {
                Ok(None) => {}
                Ok(Some(error)) => return Err(error),
                Err(_) => return Err(WorkerError::Io(io::ErrorKind::Other.into())),
            }
        }
        Ok(workers)
    }

    /// Tells every worker. A full inbox is tried again: its worker empties it, unless it has ended,
    /// and then it needs to be told nothing.
    pub(super) async fn tell(&self, command: Command) {
        for inbox in &self.inboxes {
            let mut tries = 0;
            while inbox.push(command.clone()).is_err() && tries < FULL_INBOX_TRIES {
                tries += 1;
                tokio::time::sleep(FULL_INBOX).await;
            }
        }
    }

    /// Where each worker takes its commands from.
    pub(super) fn inboxes(&self) -> &[Inbox<Command>] {
        &self.inboxes
    }

    /// The number of the next worker that ends.
    pub(super) async fn ended(&mut self) -> Option<usize> {
        self.ended.recv().await
    }

    pub(super) fn count(&self) -> usize {
        self.threads.len()
    }

    /// Joins all threads; the first that failed, and how.
    pub(super) fn join(self) -> Result<(), String> {
        let mut first = Ok(());
        for (number, thread) in self.threads.into_iter().enumerate() {
            let failure = match thread.join() {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => format!("worker {number} failed: {error}"),
                Err(_) => format!("worker {number} panicked"),
            };
            first = first.and(Err(failure));
        }
        first
    }
}

impl Blueprint {
    fn run(mut self, started: &mpsc::Sender<Option<WorkerError>>) -> io::Result<()> {
        if !core_affinity::set_for_current(core_affinity::CoreId { id: self.cpu }) {
            tracing::warn!(cpu = self.cpu, "a worker could not be pinned and runs anywhere");
        }
        let report = |error: Option<WorkerError>| {
            // Nobody listens any more when another worker has failed first.
            started.send(error).unwrap_or_default();
        };
        let uring = match Uring::new(self.sizes, Arc::clone(&self.remote)) {
            Ok(uring) => uring,
            Err(error) => {
                report(Some(WorkerError::Unsupported(error)));
                return Ok(());
            }
        };
        let engine = match Engine::new(Box::new(uring), self.remote, &self.settings) {
            Ok(engine) => engine,
            Err(error) => {
                report(Some(WorkerError::Io(error)));
                return Ok(());
            }
        };
        self.parts.unix_origin = unix_nanos() - engine.now().as_nanos();
        let socket = |handle: Handle| {
            (handle.listener, Listener::new(&engine, handle.socket, handle.shared))
        };
        let listeners = self.listeners.into_iter().map(socket).collect();
        report(None);
        proxy::run(&engine, listeners, self.parts)
    }
}

/// Says that its worker has ended, also when it panics.
struct End(usize, UnboundedSender<usize>);

impl Drop for End {
    fn drop(&mut self) {
        // The server is gone when nobody listens.
        self.1.send(self.0).unwrap_or_default();
    }
}

#[allow(clippy::disallowed_methods, reason = "the server reads the wall clock")]
fn unix_nanos() -> u64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos() as u64
}

/// How soon a full inbox is tried again, and how often.
const FULL_INBOX: Duration = Duration::from_millis(10);
const FULL_INBOX_TRIES: u32 = 100;
/// Entries queued between two turns before they are handed over early.
const SUBMISSIONS: u32 = 4096;
/// What a buffer ring can hold.
const MOST_BUFFERS: usize = 32_768;
/// Buffers kept with the kernel at first.
const OFFERED: u16 = 256;
