//! Owns the access log: the bounded queue the workers push to, and the thread that writes it out
//! or hands it to a subscriber.
//! Does not form lines (`access_record` does) and does not decide what is logged.
//!
//! A worker never waits here: where the queue is full, the record is dropped and counted. All that
//! may block, a full pipe, a slow disk or a slow subscriber, happens on the writer thread.

use super::access_record::{AccessLogFormat, AccessRecord};
use super::tally::{AccessLogTally, Gauge};
use crossbeam_queue::ArrayQueue;
use std::fmt::{self, Display, Formatter};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

/// The access log, shared by the workers.
pub struct AccessLog {
    shared: Arc<Shared>,
    writer: Thread,
}

/// What an access log is made of.
#[derive(Clone, Debug)]
pub struct AccessLogOptions {
    pub target: AccessLogTarget,
    pub format: AccessLogFormat,
    /// The most records that wait for the writer; about 220 bytes each, reserved at the start.
    pub capacity: NonZeroUsize,
}

/// Where an access log is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTarget {
    Stdout,
    /// Appended to; created with mode 0640, because it names clients.
    File(PathBuf),
}

/// Takes each record in place of a target, on the writer thread. It may block: then records are
/// dropped and counted once the queue is full.
pub type Subscriber = Box<dyn FnMut(AccessRecord) + Send>;

impl AccessLog {
    /// Opens the target and starts the writer. `tally` is for this log alone while it runs.
    pub fn start(
        options: AccessLogOptions,
        tally: Arc<AccessLogTally>,
    ) -> Result<Self, AccessLogError> {
        let AccessLogOptions { target, format, capacity } = options;
        let file = match open(&target) {
            Ok(file) => file,
            Err(error) => return Err(AccessLogError::Open(target, error)),
        };
        let shared = Arc::new(Shared::new(capacity, tally));
        let writer = Writer::new(shared.clone(), target, file, format);
        Self::on_thread(shared, || writer.run())
    }

    /// Starts a log whose records go to `subscriber`, which is dropped after the last one.
    /// `tally` is for this log alone while it runs.
    pub fn subscribed(
        subscriber: Subscriber,
        capacity: NonZeroUsize,
        tally: Arc<AccessLogTally>,
    ) -> Result<Self, AccessLogError> {
        let shared = Arc::new(Shared::new(capacity, tally));
        let giving = shared.clone();
        Self::on_thread(shared, move || giving.give_to(subscriber))
    }

    fn on_thread(
        shared: Arc<Shared>,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<Self, AccessLogError> {
        let thread = thread::Builder::new().name("access-log".to_owned()).spawn(run);
        let writer = thread.map_err(AccessLogError::Thread)?.thread().clone();
        Ok(Self { shared, writer })
    }

    /// Hands a record to the writer. Never blocks: a record that finds the queue full, or the log
    /// stopped, is dropped and counted. It costs a system call only where the writer is idle.
    pub fn push(&self, record: AccessRecord) {
        let stopping = self.shared.stopping.load(Ordering::Relaxed);
        if stopping || self.shared.queue.push(record).is_err() {
            self.shared.tally.add_dropped(1);
            return;
        }
        // Pairs with the fence in `park_until_pushed`: either this thread sees that the writer is
        // idle, or the writer sees the record.
        fence(Ordering::SeqCst);
        if self.shared.idle.load(Ordering::Relaxed)
            && self.shared.idle.swap(false, Ordering::Relaxed)
        {
            self.writer.unpark();
        }
    }

    /// Has the writer open its file again, after the old one was moved away. If that fails, the
    /// error is counted and the old file stays in use. Standard output stays as it is.
    pub fn reopen(&self) {
        self.shared.reopen_wanted.store(true, Ordering::Release);
        self.writer.unpark();
    }

    /// Refuses further records, waits until those queued are written, but no longer than `timeout`,
    /// and returns how many were not written by then. Those that could not be written for an error
    /// are counted as dropped instead.
    ///
    /// A writer that is blocked by its target is left behind: it ends with the process. Called
    /// again, it waits again.
    pub fn flush_and_stop(&self, timeout: Duration) -> u64 {
        self.stop();
        let finished = self.shared.finished.lock().unwrap_or_else(PoisonError::into_inner);
        let waited =
            self.shared.finishing.wait_timeout_while(finished, timeout, |finished| !*finished);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.shared.queue.len() as u64 + self.shared.lines_in_hand.get()
    }

    fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.writer.unpark();
    }
}

impl Drop for AccessLog {
    /// Without its log the writer has nothing to wait for: it writes what is queued and ends.
    fn drop(&mut self) {
        self.stop();
    }
}

/// Why an access log could not be started.
#[derive(Debug)]
pub enum AccessLogError {
    /// The target could not be opened.
    Open(AccessLogTarget, io::Error),
    /// The writer thread could not be started.
    Thread(io::Error),
}

impl AccessLogError {
    /// The word operators see.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Open(..) => "open",
            Self::Thread(_) => "thread",
        }
    }
}

impl Display for AccessLogError {
    fn fmt(&self, formatter: &mut Formatter) -> fmt::Result {
        match self {
            Self::Open(AccessLogTarget::Stdout, error) => {
                write!(formatter, "cannot write the access log to standard output: {error}")
            }
            Self::Open(AccessLogTarget::File(path), error) => {
                write!(formatter, "cannot open the access log {}: {error}", path.display())
            }
            Self::Thread(error) => {
                write!(formatter, "cannot start the thread of the access log: {error}")
            }
        }
    }
}

impl std::error::Error for AccessLogError {}

/// What the workers and the writer have in common.
struct Shared {
    queue: ArrayQueue<AccessRecord>,
    tally: Arc<AccessLogTally>,
    /// The writer found the queue empty and is parked, or about to be. Whoever clears it wakes it.
    idle: AtomicBool,
    stopping: AtomicBool,
    reopen_wanted: AtomicBool,
    /// Records taken from the queue and not yet written or dropped. Set by the writer only.
    lines_in_hand: Gauge,
    /// The writer has ended.
    finished: Mutex<bool>,
    finishing: Condvar,
}

impl Shared {
    fn new(capacity: NonZeroUsize, tally: Arc<AccessLogTally>) -> Self {
        Self {
            queue: ArrayQueue::new(capacity.get()),
            tally,
            idle: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            reopen_wanted: AtomicBool::new(false),
            lines_in_hand: Gauge::default(),
            finished: Mutex::new(false),
            finishing: Condvar::new(),
        }
    }

    /// Parks the writer until a record is pushed, or the log is stopped or reopened: these two
    /// unpark in any case, and an unpark before the park is not lost.
    fn park_until_pushed(&self) {
        self.idle.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.queue.is_empty() {
            thread::park();
        }
        self.idle.store(false, Ordering::Relaxed);
    }

    /// The writer's work where there is a subscriber instead of a target.
    fn give_to(&self, mut subscriber: Subscriber) {
        loop {
            // Read before the queue, so that what was pushed before the stop is given.
            let stopping = self.stopping.load(Ordering::Acquire);
            while let Some(record) = self.queue.pop() {
                self.lines_in_hand.set(1);
                subscriber(record);
                self.tally.lines_written.add(1);
                self.lines_in_hand.set(0);
            }
            if stopping {
                break;
            }
            self.park_until_pushed();
        }
        self.finish();
    }

    fn finish(&self) {
        *self.finished.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.finishing.notify_all();
    }
}

/// What the writer does after a turn.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Takes another turn at once: more is queued.
    Write,
    /// Lets records gather, so that they are written, and the writer is woken, in batches.
    Gather,
    /// Waits for a record.
    Idle,
    /// Ends: the log was stopped and the queue is empty.
    Finish,
}

/// The writer thread's state.
struct Writer {
    shared: Arc<Shared>,
    target: AccessLogTarget,
    file: File,
    format: AccessLogFormat,
    batch: String,
    /// The last write ended within a line: a line end has to come before the next one.
    torn: bool,
    /// The last write failed. Only the first failure in a row is logged.
    failing: bool,
}

impl Writer {
    fn new(
        shared: Arc<Shared>,
        target: AccessLogTarget,
        file: File,
        format: AccessLogFormat,
    ) -> Self {
        let batch = String::with_capacity(2 * BATCH_BYTES);
        Self { shared, target, file, format, batch, torn: false, failing: false }
    }

    fn run(mut self) {
        loop {
            match self.turn() {
                Next::Write => {}
                Next::Gather => thread::park_timeout(GATHER_INTERVAL),
                Next::Idle => self.shared.park_until_pushed(),
                Next::Finish => break,
            }
        }
        self.shared.finish();
    }

    fn turn(&mut self) -> Next {
        // Read before the queue, so that what was pushed before the stop is written.
        let stopping = self.shared.stopping.load(Ordering::Acquire);
        if self.shared.reopen_wanted.swap(false, Ordering::Acquire) {
            self.reopen();
        }
        let lines = self.take_batch();
        if lines > 0 {
            self.write_batch(lines);
        }
        if !self.shared.queue.is_empty() {
            Next::Write
        } else if stopping {
            Next::Finish
        } else if lines > 0 {
            Next::Gather
        } else {
            Next::Idle
        }
    }

    fn reopen(&mut self) {
        match open(&self.target) {
            Ok(file) => {
                self.file = file;
                self.torn = false;
            }
            Err(error) => {
                self.shared.tally.write_errors.add(1);
                tracing::warn!(%error, "the access log cannot be reopened; the old file is kept");
            }
        }
    }

    /// Fills the batch from the queue and returns its number of lines.
    fn take_batch(&mut self) -> u64 {
        self.batch.clear();
        let mut lines = 0;
        while self.batch.len() < BATCH_BYTES
            && let Some(record) = self.shared.queue.pop()
        {
            lines += 1;
            self.shared.lines_in_hand.set(lines);
            record.append_line(self.format, &mut self.batch);
        }
        lines
    }

    /// Writes the batch. What an error leaves unwritten is dropped: trying again would hold up the
    /// lines behind it for as long as the disk is full.
    fn write_batch(&mut self, lines: u64) {
        if self.torn {
            self.batch.insert(0, '\n');
        }
        let (length, outcome) = write_until_error(&mut self.file, self.batch.as_bytes());
        let written = match outcome {
            Ok(()) => {
                self.torn = false;
                self.succeeded();
                lines
            }
            Err(error) => {
                let bytes = &self.batch.as_bytes()[..length];
                let line_ends = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
                let written = line_ends.saturating_sub(u64::from(self.torn));
                self.torn = bytes.last().map_or(self.torn, |byte| *byte != b'\n');
                self.failed(&error);
                written
            }
        };
        self.shared.tally.lines_written.add(written);
        self.shared.tally.add_dropped(lines - written);
        self.shared.lines_in_hand.set(0);
    }

    fn succeeded(&mut self) {
        if std::mem::take(&mut self.failing) {
            tracing::info!("the access log is written again");
        }
    }

    fn failed(&mut self, error: &io::Error) {
        self.shared.tally.write_errors.add(1);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(%error, "the access log cannot be written; its lines are dropped");
        }
    }
}

fn open(target: &AccessLogTarget) -> io::Result<File> {
    match target {
        // A descriptor of our own, past the standard library's lock: a writer that is blocked must
        // not hold what others need to end.
        AccessLogTarget::Stdout => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        AccessLogTarget::File(path) => open_file(path),
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Like `write_all`, but says how many bytes were written also where it fails.
fn write_until_error(file: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(length) => written += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// A batch is written once it is this long.
const BATCH_BYTES: usize = 64 * 1024;

/// How long records gather after a batch. At 100,000 sessions a second, 1000 of them.
const GATHER_INTERVAL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::access_record::tests::finished;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::{OFlags, fcntl_setfl};
    use std::io::{PipeReader, Read};
    use std::os::fd::OwnedFd;
    use std::{fs, io::pipe};

    /// Long enough for any machine: it only bounds how long a failure takes.
    const DEADLINE: Duration = Duration::from_secs(30);

    fn options(path: &Path) -> AccessLogOptions {
        AccessLogOptions {
            target: AccessLogTarget::File(path.to_owned()),
            format: AccessLogFormat::Text,
            capacity: NonZeroUsize::new(64).expect("not zero"),
        }
    }

    /// A record that can be told from others by its worker.
    fn record(worker: u16) -> AccessRecord {
        AccessRecord { worker, tried: Vec::new(), ..finished() }
    }

    fn workers(text: &str) -> Vec<u16> {
        let worker = |line: &str| line.split(' ').nth(10)?.parse().ok();
        text.lines().map(|line| worker(line).expect("a whole line")).collect()
    }

    fn shared(capacity: usize) -> Arc<Shared> {
        let capacity = NonZeroUsize::new(capacity).expect("not zero");
        Arc::new(Shared::new(capacity, Arc::default()))
    }

    fn writer(shared: &Arc<Shared>, file: impl Into<OwnedFd>) -> Writer {
        let file = File::from(file.into());
        Writer::new(shared.clone(), AccessLogTarget::Stdout, file, AccessLogFormat::Text)
    }

    /// A log whose writer is the test itself: it takes its turns when it is told to.
    fn log(shared: &Arc<Shared>) -> AccessLog {
        AccessLog { shared: shared.clone(), writer: thread::current() }
    }

    /// A log that writes to `file` on a thread.
    fn log_on_thread(shared: &Arc<Shared>, file: impl Into<OwnedFd>) -> AccessLog {
        let writer = writer(shared, file);
        let thread = thread::spawn(|| writer.run());
        AccessLog { shared: shared.clone(), writer: thread.thread().clone() }
    }

    fn wait_readable(reader: &PipeReader) {
        let seconds = i64::try_from(DEADLINE.as_secs()).expect("a short time");
        let deadline = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(reader, PollFlags::IN)], Some(&deadline));
        assert_eq!(ready.expect("poll"), 1, "nothing was written");
    }

    #[test]
    fn records_are_appended_in_their_order() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("access.log");
        fs::write(&path, "kept\n").expect("written");
        let tally = Arc::<AccessLogTally>::default();
        let log = AccessLog::start(options(&path), tally.clone()).expect("started");
        (0..50).for_each(|worker| log.push(record(worker)));
        assert_eq!(log.flush_and_stop(DEADLINE), 0);
        let text = fs::read_to_string(&path).expect("read");
        let text = text.strip_prefix("kept\n").expect("appended to");
        assert_eq!(workers(text), (0..50).collect::<Vec<_>>());
        assert_eq!((tally.lines_written.get(), tally.lines_dropped()), (50, 0));
    }

    #[test]
    fn a_subscriber_takes_the_records_in_their_order() {
        let (sender, taken) = std::sync::mpsc::channel();
        let subscriber = Box::new(move |record| sender.send(record).expect("taken"));
        let tally = Arc::<AccessLogTally>::default();
        let capacity = NonZeroUsize::new(64).expect("not zero");
        let log = AccessLog::subscribed(subscriber, capacity, tally.clone()).expect("started");
        (0..50).for_each(|worker| log.push(record(worker)));
        assert_eq!(log.flush_and_stop(DEADLINE), 0);
        let workers: Vec<_> = taken.iter().map(|record| record.worker).collect();
        assert_eq!(workers, (0..50).collect::<Vec<_>>(), "the subscriber is dropped at the end");
        assert_eq!((tally.lines_written.get(), tally.lines_dropped()), (50, 0));
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let shared = shared(2);
        let log = log(&shared);
        (0..5).for_each(|worker| log.push(record(worker)));
        assert_eq!(shared.tally.lines_dropped(), 3);
        let (mut reader, pipe_end) = pipe().expect("a pipe");
        let mut writer = writer(&shared, pipe_end);
        assert_eq!(writer.turn(), Next::Gather);
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read");
        assert_eq!(workers(&text), [0, 1], "the oldest are kept");
    }

    #[test]
    fn an_idle_writer_is_woken_by_a_push() {
        let (reader, pipe_end) = pipe().expect("a pipe");
        let shared = shared(2);
        let log = log_on_thread(&shared, pipe_end);
        while !shared.idle.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        log.push(record(0));
        wait_readable(&reader);
    }

    #[test]
    fn a_blocked_target_blocks_neither_push_nor_stop() {
        let (mut reader, mut pipe_end) = pipe().expect("a pipe");
        fcntl_setfl(&pipe_end, OFlags::NONBLOCK).expect("non-blocking");
        let filling = vec![b'.'; 4096];
        let mut filled = 0;
        while let Ok(length) = pipe_end.write(&filling) {
            filled += length;
        }
        fcntl_setfl(&pipe_end, OFlags::empty()).expect("blocking again");

        let shared = shared(8);
        let log = log_on_thread(&shared, pipe_end);
        let mut pushed = 0;
        while shared.tally.lines_dropped() == 0 {
            log.push(record(pushed));
            pushed += 1;
        }
        let accepted = u64::from(pushed) - 1;
        let lost = log.flush_and_stop(Duration::from_millis(1));
        assert!((1..=accepted).contains(&lost), "{lost} of {accepted}");
        assert_eq!(shared.tally.lines_written.get(), 0);
        log.push(record(pushed));
        assert_eq!(shared.tally.lines_dropped(), 2, "a stopped log takes nothing");

        // The target takes data again: the writer finishes what it had accepted, and closes it.
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read");
        assert_eq!(log.flush_and_stop(DEADLINE), 0);
        assert_eq!(workers(&text[filled..]), (0..pushed - 1).collect::<Vec<_>>());
        assert_eq!(shared.tally.lines_written.get(), accepted);
    }

    #[test]
    fn a_full_disk_is_counted_and_survived() {
        let tally = Arc::<AccessLogTally>::default();
        let log = AccessLog::start(options(Path::new("/dev/full")), tally.clone()).expect("start");
        (0..3).for_each(|worker| log.push(record(worker)));
        assert_eq!(log.flush_and_stop(DEADLINE), 0, "dropped lines are not waited for");
        assert_eq!((tally.lines_written.get(), tally.lines_dropped()), (0, 3));
        assert!((1..=3).contains(&tally.write_errors.get()));
    }

    #[test]
    fn a_line_cut_by_an_error_does_not_run_into_the_next() {
        let (mut reader, pipe_end) = pipe().expect("a pipe");
        // A pipe of one page that refuses instead of blocking cuts a longer batch at a page.
        rustix::pipe::fcntl_setpipe_size(&pipe_end, 4096).expect("one page");
        fcntl_setfl(&pipe_end, OFlags::NONBLOCK).expect("non-blocking");
        let shared = shared(100);
        let log = log(&shared);
        let mut writer = writer(&shared, pipe_end);
        (0..100).for_each(|worker| log.push(record(worker)));
        writer.turn();
        let written = shared.tally.lines_written.get();
        assert!((1..100).contains(&written));
        assert_eq!(shared.tally.lines_dropped(), 100 - written);
        assert_eq!(shared.lines_in_hand.get(), 0);

        let mut text = vec![0; 4096];
        reader.read_exact(&mut text).expect("the first page");
        log.push(record(100));
        writer.turn();
        drop(writer);
        reader.read_to_end(&mut text).expect("the rest");
        let text = String::from_utf8(text).expect("text");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len() as u64, written + 2, "whole lines, a cut one, a whole one");
        assert_eq!(workers(lines.last().expect("a line")), [100]);
        assert_eq!(shared.tally.lines_written.get(), written + 1);
        assert_eq!(shared.tally.write_errors.get(), 1);
    }

    #[test]
    fn a_reopened_log_goes_on_in_a_new_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let [path, moved] = ["access.log", "access.log.1"].map(|name| directory.path().join(name));
        let shared = shared(2);
        let log = log(&shared);
        let mut writer = writer(&shared, open_file(&path).expect("opened"));
        writer.target = AccessLogTarget::File(path.clone());

        log.push(record(1));
        writer.turn();
        fs::rename(&path, &moved).expect("moved");
        log.push(record(2));
        writer.turn();
        log.reopen();
        log.push(record(3));
        writer.turn();
        assert_eq!(workers(&fs::read_to_string(&moved).expect("read")), [1, 2]);
        assert_eq!(workers(&fs::read_to_string(&path).expect("read")), [3]);
    }

    #[test]
    fn a_failed_reopening_keeps_the_old_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("access.log");
        let shared = shared(2);
        let log = log(&shared);
        let mut writer = writer(&shared, open_file(&path).expect("opened"));
        writer.target = AccessLogTarget::File(directory.path().join("absent/access.log"));
        log.reopen();
        log.push(record(1));
        writer.turn();
        assert_eq!(workers(&fs::read_to_string(&path).expect("read")), [1]);
        assert_eq!(shared.tally.write_errors.get(), 1);
    }

    #[test]
    fn a_path_that_cannot_be_opened_is_named() {
        let options = options(Path::new("/absent/access.log"));
        let error = AccessLog::start(options, Arc::default()).err().expect("refused");
        assert_eq!(error.as_str(), "open");
        assert!(error.to_string().contains("/absent/access.log"), "{error}");
    }
}
