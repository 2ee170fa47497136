//! Owns the test of a client that ends its direction and still waits for the answer: `nc -N`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use super::process::{DEADLINE, bounded, run};
use super::proxy::Proxy;

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn nc_ends_its_direction_and_receives_the_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(&[listener.local_addr().unwrap()]);
    // It answers only once the end of the stream has reached it.
    let backend = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        stream.write_all(&received).unwrap();
    });
    let sent: String = (0..200_000).map(|number| format!("line {number}\n")).collect();
    let mut nc = bounded("nc");
    nc.args(["-N", &proxy.address().ip().to_string(), &proxy.address().port().to_string()]);
    let received = run(&mut nc, sent.clone().into_bytes());
    assert!(received == sent, "{} bytes came back of {}", received.len(), sent.len());
    backend.join().unwrap();
    assert_eq!(proxy.stop_finished().len(), 1);
}
