//! Owns clients that connect all the time, exchange one line and leave: who answered them, and
//! how many failed. Says by when a change had arrived; judges nothing by that time.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::patience::{DEADLINE, eventually, now};

/// A client that goes on until it is finished.
pub struct Load {
    exchanges: Arc<Mutex<Vec<Exchange>>>,
    stop: Sender<()>,
    client: JoinHandle<()>,
}

/// One connection of a client.
struct Exchange {
    begun: Instant,
    ended: Instant,
    /// The name of who answered, or what failed.
    outcome: Result<String, String>,
}

impl Load {
    pub fn start(proxy: SocketAddr) -> Load {
        let exchanges: Arc<Mutex<Vec<Exchange>>> = Arc::default();
        let (stop, stopped) = channel();
        let journal = Arc::clone(&exchanges);
        let client = std::thread::spawn(move || {
            while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                let begun = now();
                let outcome = exchange(proxy).map_err(|error| error.to_string());
                journal.lock().unwrap().push(Exchange { begun, ended: now(), outcome });
            }
        });
        Load { exchanges, stop, client }
    }

    /// Waits until new connections are answered by these, by each of them, and by nobody else.
    /// How long that took from `change` on: until the last answer by another, or the first one by
    /// each of them, whichever came later.
    #[track_caller]
    pub fn await_answers(&self, names: &[&str], change: Instant) -> Duration {
        let expected: BTreeSet<&str> = names.iter().copied().collect();
        let least = 4 * expected.len() + 8;
        let settled = || {
            let exchanges = self.exchanges.lock().unwrap();
            let since = exchanges.partition_point(|exchange| exchange.begun < change);
            let last = exchanges[since..].iter().rev().take(least);
            let mut answered = BTreeSet::new();
            let mut count = 0;
            for exchange in last {
                answered.insert(exchange.outcome.as_deref().unwrap_or("-"));
                count += 1;
            }
            (count == least && answered == expected)
                .then(|| convergence(&exchanges[since..], &expected, change))
        };
        eventually(&format!("answers by {names:?} alone"), settled)
    }

    /// Waits for so many more exchanges; who answered, and how often.
    pub fn next(&self, count: usize) -> HashMap<String, usize> {
        let begin = self.exchanges.lock().unwrap().len();
        eventually(&format!("{count} more exchanges"), || {
            let exchanges = self.exchanges.lock().unwrap();
            let next = exchanges.get(begin..begin + count)?;
            let mut answers = HashMap::new();
            for answer in next.iter().filter_map(|exchange| exchange.outcome.as_ref().ok()) {
                *answers.entry(answer.clone()).or_default() += 1;
            }
            Some(answers)
        })
    }

    /// What has failed so far.
    pub fn failures(&self) -> Vec<String> {
        failures(&self.exchanges.lock().unwrap())
    }

    /// Ends it: no connection has failed.
    #[track_caller]
    pub fn finish(self, what: &str) {
        self.finish_but(what, 0);
    }

    /// Ends it: no more than so many connections have failed.
    #[track_caller]
    pub fn finish_but(self, what: &str, most: usize) {
        self.stop.send(()).unwrap();
        let Load { exchanges, client, .. } = self;
        client.join().unwrap();
        let exchanges = exchanges.lock().unwrap();
        let failures = failures(&exchanges);
        let count = exchanges.len();
        println!("{what}: {} of {count} client connections failed", failures.len());
        assert!(failures.len() <= most, "{what}: {failures:?}");
    }
}

fn failures(exchanges: &[Exchange]) -> Vec<String> {
    exchanges.iter().filter_map(|exchange| exchange.outcome.clone().err()).collect()
}

fn convergence(exchanges: &[Exchange], expected: &BTreeSet<&str>, change: Instant) -> Duration {
    let answer = |exchange: &Exchange| exchange.outcome.clone().unwrap_or_default();
    let others = exchanges.iter().filter(|exchange| !expected.contains(&*answer(exchange)));
    let last_other = others.map(|exchange| exchange.ended).max();
    let first = |name: &&str| {
        let of = exchanges.iter().find(|exchange| answer(exchange) == **name);
        of.map(|exchange| exchange.ended)
    };
    let firsts = expected.iter().filter_map(first);
    let arrived = firsts.chain(last_other).max().unwrap_or(change);
    arrived.saturating_duration_since(change)
}

/// How long a change took, and what it was.
pub fn report(what: &str, took: Duration) {
    println!("{what}: converged in {:.3} s", took.as_secs_f64());
}

/// A whole connection: a line, its answer, and the end in order. Gives the name of who answered.
pub fn exchange(proxy: SocketAddr) -> io::Result<String> {
    let stream = TcpStream::connect_timeout(&proxy, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_nodelay(true)?;
    let name = ask(&stream, "hello")?;
    stream.shutdown(Shutdown::Write)?;
    match (&stream).read(&mut [0; 1])? {
        0 => Ok(name),
        _ => Err(io::Error::new(ErrorKind::InvalidData, "more than one answer")),
    }
}

/// One line and its answer; gives the name of who answered. An end instead of the answer is
/// `UnexpectedEof`.
pub fn ask(mut stream: &TcpStream, line: &str) -> io::Result<String> {
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    let Some(answer) = answer.strip_suffix('\n') else {
        return Err(ErrorKind::UnexpectedEof.into());
    };
    match answer.strip_suffix(line) {
        Some(name) => Ok(name.trim_end().to_owned()),
        None => Err(io::Error::new(ErrorKind::InvalidData, answer)),
    }
}

/// Between two connections of a client.
const PACE: Duration = Duration::from_millis(1);
