//! Owns the tests with Python's ssl: a session object that is used again, and an end of one
//! direction that is said in TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread::{self, JoinHandle};

use super::edge::terminating;
use super::openssl::{Certificate, NAME};
use super::process::{DEADLINE, bounded, run};
use super::proxy::Proxy;
use super::reverser::Reverser;

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn a_session_object_is_used_again() {
    let certificate = Certificate::make();
    let reverser = Reverser::start();
    let proxy = terminating(&certificate, reverser.address, "");
    for version in ["TLSv1.2", "TLSv1.3"] {
        let said = python(&certificate, &proxy, version, "resume", "");
        assert_eq!(said, format!("{version} new yrtemelet\n{version} resumed yrtemelet\n"));
    }
    let sessions = proxy.stop_finished();
    let resumed: Vec<_> = sessions.iter().map(|session| &session["tls"]["resumed"]).collect();
    assert_eq!(resumed, [false, true, false, true]);
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn unwrap_ends_both_directions_in_order() {
    let certificate = Certificate::make();
    let sent = lines();
    for version in ["TLSv1.2", "TLSv1.3"] {
        let (backend, received) = at_the_end(|_| Vec::new());
        let proxy = terminating(&certificate, backend, "");
        assert_eq!(python(&certificate, &proxy, version, "unwrap", &sent), "unwrapped\n");
        assert!(received.join().unwrap() == sent.as_bytes(), "something else arrived");
        assert_eq!(proxy.stop_finished().len(), 1);
    }
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn an_ended_direction_leaves_the_other_open() {
    let certificate = Certificate::make();
    let sent = lines();
    for version in ["TLSv1.2", "TLSv1.3"] {
        let (backend, received) = at_the_end(<[u8]>::to_vec);
        let proxy = terminating(&certificate, backend, "");
        let answer = python(&certificate, &proxy, version, "half-close", &sent);
        assert!(answer == sent, "{} bytes came back of {}", answer.len(), sent.len());
        assert!(received.join().unwrap() == sent.as_bytes(), "something else arrived");
        assert_eq!(proxy.stop_finished().len(), 1);
    }
}

/// What the client writes on its standard output.
fn python(
    certificate: &Certificate,
    proxy: &Proxy,
    version: &str,
    mode: &str,
    input: &str,
) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/tls_client.py");
    // Debian's Python, whichever comes first in PATH.
    let mut command = bounded("/usr/bin/python3");
    command.arg(script).arg(proxy.address().to_string()).arg(NAME);
    command.arg(certificate.file()).args([version, mode]);
    run(&mut command, input.as_bytes().to_vec())
}

/// A backend that serves one connection: once the end of the stream has reached it, it answers
/// what `answer` makes of all it received.
fn at_the_end(answer: fn(&[u8]) -> Vec<u8>) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        stream.write_all(&answer(&received)).unwrap();
        received
    });
    (address, thread)
}

/// More than all buffers on the way hold.
fn lines() -> String {
    (0..500_000).map(|number| format!("line {number}\n")).collect()
}
