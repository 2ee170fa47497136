//! Owns clients that ask HTTP servers for their names, on connections that come and go and on
//! others that stay, and counts what fails.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::process::{DEADLINE, now};

/// Clients at work until they are stopped, or this is dropped.
pub struct Load {
    visits: Receiver<Visit>,
    /// Dropping one stops its client.
    stops: Vec<Sender<()>>,
    clients: Vec<JoinHandle<Tally>>,
}

/// A connection that has had its first answer.
struct Visit {
    opened: Instant,
    backend: String,
}

/// What clients have done.
#[derive(Default)]
pub struct Tally {
    pub connections: usize,
    pub answers: usize,
    pub failures: Vec<Failure>,
}

/// A connection that ended without an answer.
#[derive(Debug)]
pub struct Failure {
    pub opened: Instant,
    /// Its own end; none if it was never made.
    pub client: Option<SocketAddr>,
    pub error: io::Error,
}

impl Load {
    /// `fleeting` clients make one short connection after the other, `lasting` ones keep theirs.
    pub fn start(target: SocketAddr, fleeting: usize, lasting: usize) -> Load {
        let (sender, visits) = mpsc::channel();
        let requests = [(fleeting, 5, 2), (lasting, usize::MAX, 100)];
        let (mut stops, mut clients) = (Vec::new(), Vec::new());
        for (count, requests, pause) in requests {
            for _ in 0..count {
                let (stop, stopped) = mpsc::channel();
                let pause = Duration::from_millis(pause);
                let (visits, tally) = (sender.clone(), Tally::default());
                let client = Client { target, requests, pause, stopped, visits, tally };
                stops.push(stop);
                clients.push(thread::spawn(|| client.run()));
            }
        }
        Load { visits, stops, clients }
    }

    /// Waits until new connections go to these backends, to all of them and to no other, and gives
    /// the time from `since` to the first one after which it was so.
    pub fn settle(&self, since: Instant, backends: &BTreeSet<String>) -> Duration {
        let mut settled = since;
        let mut met = BTreeSet::new();
        let mut run = 0;
        while run < RUN || met.len() < backends.len() {
            let visit = self.visits.recv_timeout(DEADLINE).expect("no client gets an answer");
            assert!(
                since.elapsed() < DEADLINE,
                "{} goes on while {backends:?} are to serve, of whom {met:?} have been met",
                visit.backend,
            );
            if visit.opened < since {
                continue;
            }
            if !backends.contains(&visit.backend) {
                settled = settled.max(visit.opened);
                run = 0;
                continue;
            }
            run += 1;
            if met.insert(visit.backend) {
                settled = settled.max(visit.opened);
            }
        }
        settled - since
    }

    pub fn stop(mut self) -> Tally {
        self.stops.clear();
        let mut total = Tally::default();
        for client in self.clients.drain(..) {
            let tally = client.join().unwrap();
            total.connections += tally.connections;
            total.answers += tally.answers;
            total.failures.extend(tally.failures);
        }
        total
    }
}

struct Client {
    target: SocketAddr,
    /// On one connection.
    requests: usize,
    /// After each request.
    pause: Duration,
    stopped: Receiver<()>,
    visits: Sender<Visit>,
    tally: Tally,
}

impl Client {
    fn run(mut self) -> Tally {
        while self.goes_on() {
            self.tally.connections += 1;
            let opened = now();
            let mut client = None;
            let made = TcpStream::connect_timeout(&self.target, DEADLINE);
            let outcome = made.and_then(|stream| {
                client = Some(stream.local_addr()?);
                self.converse(&stream, opened)
            });
            if let Err(error) = outcome {
                self.tally.failures.push(Failure { opened, client, error });
            }
        }
        self.tally
    }

    fn converse(&mut self, stream: &TcpStream, opened: Instant) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        for number in 0..self.requests {
            let backend = ask(stream)?;
            self.tally.answers += 1;
            if number == 0 {
                // Nobody listens any more when the test has already failed.
                self.visits.send(Visit { opened, backend }).ok();
            }
            if !self.goes_on() {
                break;
            }
        }
        Ok(())
    }

    /// Waits out the pause, unless the client is to stop.
    fn goes_on(&self) -> bool {
        self.stopped.recv_timeout(self.pause) == Err(RecvTimeoutError::Timeout)
    }
}

/// The body of one HTTP answer.
fn ask(mut stream: &TcpStream) -> io::Result<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: agg.test\r\n\r\n")?;
    let mut source = BufReader::new(stream);
    let mut length = None;
    let mut line = String::new();
    loop {
        line.clear();
        if source.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse().ok();
        }
    }
    let mut body = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
    source.read_exact(&mut body)?;
    String::from_utf8(body).map_err(io::Error::other)
}

/// So many new connections in a row must go where they are to go. Before a change is known they go
/// everywhere, so that such a run is no accident.
const RUN: usize = 200;
