//! Owns clients that keep a connection, send line after line, and connect anew when it ends. A
//! line that was not acknowledged is sent again. Says what they met; judges none of it.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::aggregator::Aggregator;
use super::load::ask;
use super::patience::{DEADLINE, eventually};

/// So many clients at the same time.
pub struct Agents {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    acknowledged: Mutex<Vec<String>>,
    tally: Counts,
}

#[derive(Default)]
struct Counts {
    refusals: AtomicUsize,
    resets: AtomicUsize,
    ends: AtomicUsize,
    sent_again: AtomicUsize,
}

/// What all of them together have met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Connections that could not be made.
    pub refusals: usize,
    /// Connections that were reset.
    pub resets: usize,
    /// Connections that ended in order.
    pub ends: usize,
    /// Lines that were sent again, because their connection ended before they were acknowledged.
    pub sent_again: usize,
}

impl Agents {
    pub fn start(proxy: SocketAddr, count: usize) -> Agents {
        let shared = Arc::new(Shared::default());
        let agent = |number| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || Agent { proxy, number, shared: &shared, stream: None }.run())
        };
        let threads = (0..count).map(agent).collect();
        Agents { shared, threads }
    }

    /// Lines that were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.shared.acknowledged.lock().unwrap().len()
    }

    /// Waits until each of them, on the average, has had so many more acknowledged.
    pub fn next(&self, lines: usize) {
        let least = self.acknowledged() + lines * self.threads.len();
        let reached = || (self.acknowledged() >= least).then_some(());
        eventually(&format!("{lines} lines of each agent"), reached);
    }

    pub fn tally(&self) -> Tally {
        let Counts { refusals, resets, ends, sent_again } = &self.shared.tally;
        let [refusals, resets, ends, sent_again] =
            [refusals, resets, ends, sent_again].map(|count| count.load(Ordering::Relaxed));
        Tally { refusals, resets, ends, sent_again }
    }

    /// Ends them: nobody was refused or reset, and each line that was acknowledged, which in the
    /// end are all, has come to at least one of the aggregators.
    #[track_caller]
    pub fn finish(self, what: &str, aggregators: &[&Aggregator]) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let tally = self.tally();
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        let mut received: HashMap<String, usize> = HashMap::new();
        for (line, count) in aggregators.iter().flat_map(|aggregator| aggregator.received()) {
            // There may be other clients, whose lines are all the same.
            if line.starts_with("agent ") {
                *received.entry(line).or_default() += count;
            }
        }
        let acknowledged = self.shared.acknowledged.lock().unwrap();
        let lost = acknowledged.iter().filter(|line| !received.contains_key(*line)).count();
        let duplicates: usize = received.values().map(|count| count - 1).sum();
        println!(
            "{what}: {} lines, {lost} lost, {duplicates} duplicates; {tally:?}",
            acknowledged.len()
        );
        assert_eq!((lost, tally.refusals, tally.resets), (0, 0, 0), "{what}");
        assert!(duplicates <= tally.sent_again, "{what}: duplicates that no agent has sent");
    }
}

struct Agent<'a> {
    proxy: SocketAddr,
    number: usize,
    shared: &'a Shared,
    stream: Option<TcpStream>,
}

impl Agent<'_> {
    fn run(mut self) {
        let mut line = 0;
        while !self.shared.stopped.load(Ordering::Relaxed) {
            self.deliver(&format!("agent {} line {line}", self.number));
            line += 1;
            self.rest();
        }
    }

    /// Sends a line until it is acknowledged.
    fn deliver(&mut self, line: &str) {
        let counts = &self.shared.tally;
        loop {
            if self.stream.is_none() {
                self.stream = TcpStream::connect_timeout(&self.proxy, DEADLINE).ok();
            }
            let Some(stream) = &self.stream else {
                counts.refusals.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            match ask(stream, line) {
                Ok(_) => break,
                Err(error) => self.ended(error.kind()),
            }
            counts.sent_again.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.acknowledged.lock().unwrap().push(line.to_owned());
    }

    /// Waits for a while, and for the end of the connection meanwhile.
    fn rest(&mut self) {
        let Some(mut stream) = self.stream.as_ref() else { return };
        stream.set_read_timeout(Some(PACE)).unwrap();
        match stream.read(&mut [0; 1]) {
            Ok(0) => self.ended(ErrorKind::UnexpectedEof),
            Ok(_) => panic!("an answer that nobody has asked for"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => self.ended(error.kind()),
        }
    }

    fn ended(&mut self, how: ErrorKind) {
        let counts = &self.shared.tally;
        let count = match how {
            ErrorKind::UnexpectedEof => &counts.ends,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => &counts.resets,
            how => panic!("agent {}: {how}", self.number),
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.stream = None;
    }
}

/// Between two lines of an agent.
const PACE: Duration = Duration::from_millis(25);
