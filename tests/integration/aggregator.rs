//! Owns a backend that acknowledges lines: its connections, what it was sent, its end and its
//! return. Does not judge what arrives.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;

use rustix::net::connect_unspec;
use socket2::SockRef;

use super::vector::{answer_calls, is_call};

/// It answers each line with its own name and the line, and Vector's health check.
pub struct Aggregator {
    pub name: String,
    pub address: SocketAddr,
    shared: Arc<Shared>,
    listener: TcpListener,
    accepting: Option<JoinHandle<()>>,
}

/// What it does with what it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Answers,
    /// It takes lines, and never answers.
    Withholds,
    /// It resets the connection at the first line.
    Resets,
    /// It answers, and says of itself that it is not well.
    Ails,
}

struct Shared {
    name: String,
    manner: Mutex<Manner>,
    /// How often each line has come.
    received: Mutex<HashMap<String, usize>>,
    connections: Mutex<Vec<Weak<TcpStream>>>,
}

impl Aggregator {
    pub fn start(name: &str) -> Aggregator {
        Aggregator::start_at(name, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    pub fn start_at(name: &str, address: SocketAddr) -> Aggregator {
        let listener = TcpListener::bind(address).unwrap();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            manner: Mutex::new(Manner::Answers),
            received: Mutex::default(),
            connections: Mutex::default(),
        });
        let address = listener.local_addr().unwrap();
        let accepting = Some(accept(&listener, &shared));
        Aggregator { name: name.to_owned(), address, shared, listener, accepting }
    }

    /// From now on, for every connection.
    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// As if its process were killed: nothing listens any more, and all connections are reset.
    pub fn kill(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            // Ends the accept(2) of the other thread, and resets what is queued.
            SockRef::from(&self.listener).shutdown(Shutdown::Both).unwrap();
            accepting.join().unwrap();
        }
        for connection in self.open() {
            // Fails when the connection has ended by itself.
            connect_unspec(&*connection).unwrap_or_default();
        }
    }

    /// As if its process were started again, at the same address.
    pub fn revive(&mut self) {
        assert!(self.accepting.is_none(), "{} lives", self.name);
        self.listener = TcpListener::bind(self.address).unwrap();
        self.accepting = Some(accept(&self.listener, &self.shared));
    }

    /// How often each line has come so far.
    pub fn received(&self) -> HashMap<String, usize> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.open().len()
    }

    fn open(&self) -> Vec<Arc<TcpStream>> {
        self.shared.connections.lock().unwrap().iter().filter_map(Weak::upgrade).collect()
    }
}

impl Drop for Aggregator {
    fn drop(&mut self) {
        self.kill();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) -> JoinHandle<()> {
    let (listener, shared) = (listener.try_clone().unwrap(), Arc::clone(shared));
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let (stream, shared) = (Arc::new(stream), Arc::clone(&shared));
            let mut connections = shared.connections.lock().unwrap();
            connections.retain(|connection| connection.strong_count() > 0);
            connections.push(Arc::downgrade(&stream));
            drop(connections);
            std::thread::spawn(move || serve(stream, &shared));
        }
    })
}

/// Until the client ends its stream; a reset is an end too.
fn serve(stream: Arc<TcpStream>, shared: &Shared) {
    stream.set_nodelay(true).unwrap_or_default();
    if is_call(&stream) {
        let manner = *shared.manner.lock().unwrap();
        return answer_calls(&stream, manner != Manner::Ails);
    }
    for line in BufReader::new(&*stream).lines().map_while(Result::ok) {
        let answer = format!("{} {line}\n", shared.name);
        *shared.received.lock().unwrap().entry(line).or_default() += 1;
        let manner = *shared.manner.lock().unwrap();
        let taken = match manner {
            Manner::Answers | Manner::Ails => (&*stream).write_all(answer.as_bytes()),
            Manner::Withholds => Ok(()),
            Manner::Resets => connect_unspec(&*stream).map_err(Into::into),
        };
        if taken.is_err() || manner == Manner::Resets {
            return;
        }
    }
    stream.shutdown(Shutdown::Write).unwrap_or_default();
}
