//! Owns a backend in the clear that sends each line back reversed, as `openssl s_server -rev` does
//! over TLS.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use socket2::SockRef;

use super::process::DEADLINE;

pub struct Reverser {
    pub address: SocketAddr,
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl Reverser {
    pub fn start() -> Reverser {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = listener.try_clone().unwrap();
        let thread = thread::spawn(move || {
            for stream in accepting.incoming().map_while(Result::ok) {
                // A connection that fails concerns its client, who misses an answer.
                thread::spawn(move || reverse(&stream).ok());
            }
        });
        Reverser { address, listener, thread: Some(thread) }
    }
}

impl Drop for Reverser {
    fn drop(&mut self) {
        // On Linux this fails the accept that the thread waits in. Errors are left alone: the test
        // has its verdict by now.
        SockRef::from(&self.listener).shutdown(Shutdown::Both).ok();
        self.thread.take().map(JoinHandle::join);
    }
}

fn reverse(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(DEADLINE))?;
    for line in BufReader::new(stream).lines() {
        let reversed: String = line?.chars().rev().collect();
        writeln!(stream, "{reversed}")?;
    }
    Ok(())
}
