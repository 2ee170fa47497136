//! What is read from captured hellos, against what Wireshark and rustls read from them.

use ringmain::protocol::client_hello::Progress;

use crate::anatomy::{Hello, message_of};
use crate::corpus::captures;
use crate::oracle::{Known, rustls};
use crate::reading::{complete, read};

#[test]
fn each_is_read_as_wireshark_dissects_it() {
    for capture in captures() {
        assert_eq!(complete(&capture.bytes), capture.expected, "{}", capture.name);
    }
}

#[test]
fn each_is_read_as_rustls_reads_it() {
    let mut refused = Vec::new();
    for capture in captures() {
        let hello = complete(&capture.bytes);
        let ours = Known {
            server_name: hello.server_name.map(String::from),
            alpn: hello.alpn.into_iter().map(Vec::from).collect(),
            signature_schemes: hello.signature_schemes,
        };
        match rustls(&capture.bytes) {
            Ok(known) => assert_eq!(known, Some(ours), "{}", capture.name),
            Err(_) => refused.push(capture.name),
        }
    }
    // It names no signature scheme, as nobody could in TLS 1.0.
    assert_eq!(refused, ["openssl_3_0_tls10_only"]);
}

#[test]
fn early_data_follows_the_hello_and_is_kept() {
    let captures = captures();
    let named = |name| captures.iter().find(|capture| capture.name == name).unwrap();
    let capture = named("openssl_3_0_early_data");
    let (_, after) = message_of(&capture.bytes);
    assert_eq!((after[0], after[6]), (20, 23), "a change of the cipher, and application data");
    let hello = &capture.bytes[..capture.bytes.len() - after.len()];
    assert_eq!(read(hello), Progress::Complete(capture.expected.clone()));
    assert_ne!(read(&hello[..hello.len() - 1]), Progress::Complete(capture.expected.clone()));
}

/// The tests take messages apart and put them together again in other records.
#[test]
fn each_is_put_together_as_it_was() {
    for capture in captures() {
        let (message, _) = message_of(&capture.bytes);
        assert_eq!(Hello::of(&message).message(), message, "{}", capture.name);
    }
}
