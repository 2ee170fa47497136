//! Owns syslog receivers that take messages apart by RFC 6587; does not look into the messages.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use socket2::SockRef;

use super::process::DEADLINE;

/// How messages are parted on a stream.
#[derive(Clone, Copy)]
pub enum Framing {
    /// Each message after its length (RFC 6587 section 3.4.1).
    OctetCounted,
    /// Each message before a line feed (section 3.4.2).
    Lines,
}

/// What reached a receiver.
pub enum Arrival {
    Message {
        receiver: usize,
        text: String,
    },
    /// A connection has ended; in the midst of a message that is an error.
    Ended(io::Result<()>),
}

/// Receivers on loopback, each with a thread that accepts and one per connection.
pub struct Receivers {
    pub addresses: Vec<SocketAddr>,
    arrivals: Receiver<Arrival>,
    listeners: Vec<(TcpListener, JoinHandle<()>)>,
}

impl Receivers {
    pub fn start(count: usize, framing: Framing) -> Receivers {
        let (sender, arrivals) = mpsc::channel();
        let mut addresses = Vec::new();
        let mut listeners = Vec::new();
        for receiver in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            addresses.push(listener.local_addr().unwrap());
            let (accepting, sender) = (listener.try_clone().unwrap(), sender.clone());
            let thread = thread::spawn(move || accept(&accepting, receiver, framing, &sender));
            listeners.push((listener, thread));
        }
        Receivers { addresses, arrivals, listeners }
    }

    /// What arrives next; `None` if nothing does before the deadline.
    pub fn next(&self) -> Option<Arrival> {
        self.arrivals.recv_timeout(DEADLINE).ok()
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        for (listener, thread) in self.listeners.drain(..) {
            // On Linux this fails the accept that the thread waits in. Errors are left alone: the
            // test has its verdict by now, and may be unwinding with it.
            SockRef::from(&listener).shutdown(Shutdown::Both).ok();
            thread.join().ok();
        }
    }
}

/// Ends when the listener is shut down.
fn accept(listener: &TcpListener, receiver: usize, framing: Framing, arrivals: &Sender<Arrival>) {
    for stream in listener.incoming().map_while(Result::ok) {
        let arrivals = arrivals.clone();
        thread::spawn(move || {
            let result = read(stream, receiver, framing, &arrivals);
            // Nobody may be left to hear of it.
            arrivals.send(Arrival::Ended(result)).ok();
        });
    }
}

fn read(
    stream: TcpStream,
    receiver: usize,
    framing: Framing,
    arrivals: &Sender<Arrival>,
) -> io::Result<()> {
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut source = BufReader::new(stream);
    while !source.fill_buf()?.is_empty() {
        let text = String::from_utf8(framing.take(&mut source)?).map_err(io::Error::other)?;
        arrivals.send(Arrival::Message { receiver, text }).map_err(io::Error::other)?;
    }
    Ok(())
}

impl Framing {
    fn take(self, source: &mut impl BufRead) -> io::Result<Vec<u8>> {
        match self {
            Framing::OctetCounted => {
                let digits = String::from_utf8(until(source, b' ')?).map_err(io::Error::other)?;
                let mut message = vec![0; digits.parse::<u16>().map_err(io::Error::other)?.into()];
                source.read_exact(&mut message)?;
                Ok(message)
            }
            Framing::Lines => until(source, b'\n'),
        }
    }
}

/// The bytes before `mark`, which must come within the longest message.
fn until(source: &mut impl BufRead, mark: u8) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(u16::MAX.into()).read_until(mark, &mut bytes)?;
    match bytes.pop() {
        Some(last) if last == mark => Ok(bytes),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
