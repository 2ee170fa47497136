//! The `tls-hello` check: a ClientHello is answered by a ServerHello or an alert. No handshake is
//! completed.

use rustls::ClientConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::failure::ProbeFailure;
use super::tls::Tls;

/// The record with a ClientHello for TLS 1.2 and 1.3, as rustls makes it.
///
/// It is made once for all probes: no handshake ever follows, so nobody derives a key from its
/// random bytes and key shares, and each probe spares their cost.
pub(super) fn client_hello(server_name: Option<&str>) -> Option<Vec<u8>> {
    let tls = Tls::new(server_name, &[])?;
    let mut connection = ClientConnection::new(tls.config, tls.name).ok()?;
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).ok()?;
    Some(hello)
}

pub(super) async fn ask(mut stream: TcpStream, hello: &[u8]) -> Result<(), ProbeFailure> {
    stream.write_all(hello).await?;
    let mut answer = [0; ENOUGH];
    let mut length = 0;
    loop {
        match judge(&answer[..length]) {
            Answer::Complete => return Ok(()),
            Answer::Malformed => return Err(ProbeFailure::Malformed),
            Answer::Incomplete => {}
        }
        length += match stream.read(&mut answer[length..]).await? {
            0 => return Err(ProbeFailure::Closed),
            count => count,
        };
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// A ServerHello or an alert.
    Complete,
    Incomplete,
    Malformed,
}

/// Judges the first bytes of an answer: of an alert all of it (RFC 8446 section 6), of a
/// ServerHello what comes before its random bytes (section 4.1.3), each in a plain record
/// (section 5.1). The same in TLS 1.2 (RFC 5246 sections 7.2, 7.4.1.3 and 6.2.1).
fn judge(answer: &[u8]) -> Answer {
    let allowed: &[fn(u8) -> bool] = match answer.first() {
        None => return Answer::Incomplete,
        Some(&ALERT) => &[
            |kind| kind == ALERT,
            |major| major == 3,
            |minor| minor <= 4,
            |length_high| length_high == 0,
            |length_low| length_low == 2,
            |level| level == 1 || level == 2,
            |_description| true,
        ],
        Some(_) => &[
            |kind| kind == HANDSHAKE,
            |major| major == 3,
            |minor| minor <= 4,
            // A plain record has at most 2^14 bytes.
            |length_high| length_high <= 0x40,
            |_length_low| true,
            |message| message == SERVER_HELLO,
            |length_high| length_high == 0,
            |_length_middle| true,
            |_length_low| true,
            |major| major == 3,
            |minor| minor <= 3,
        ],
    };
    if !answer.iter().zip(allowed).all(|(byte, is_allowed)| is_allowed(*byte)) {
        return Answer::Malformed;
    }
    if answer.len() < allowed.len() { Answer::Incomplete } else { Answer::Complete }
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;

/// Bytes that are read at most: as many as suffice to judge.
const ENOUGH: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    const ALERT_RECORD: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];
    const SERVER_HELLO_RECORD: [u8; 11] = [22, 3, 3, 0, 122, 2, 0, 0, 118, 3, 3];

    #[test]
    fn an_answer_cut_anywhere_is_incomplete_until_it_suffices() {
        for record in [&ALERT_RECORD[..], &SERVER_HELLO_RECORD] {
            for length in 0..record.len() {
                assert_eq!(judge(&record[..length]), Answer::Incomplete, "{record:?} {length}");
            }
            assert_eq!(judge(record), Answer::Complete);
        }
        assert!(SERVER_HELLO_RECORD.len() <= ENOUGH);
    }

    #[test]
    fn a_wrong_byte_is_seen_as_soon_as_it_comes() {
        for (record, free) in [(&ALERT_RECORD[..], &[6][..]), (&SERVER_HELLO_RECORD, &[4, 7, 8])] {
            for at in 0..record.len() {
                let mut wrong = record.to_vec();
                wrong[at] = 0xff;
                let expected =
                    if free.contains(&at) { Answer::Complete } else { Answer::Malformed };
                assert_eq!(judge(&wrong), expected, "{record:?} {at}");
                if expected == Answer::Malformed {
                    assert_eq!(judge(&wrong[..=at]), expected, "{record:?} {at}");
                }
            }
        }
        assert_eq!(judge(b"H"), Answer::Malformed);
        assert_eq!(judge(b"HTTP/1.1 400 Bad Request\r\n"), Answer::Malformed);
    }

    #[test]
    fn the_hello_names_the_server_if_there_is_a_name() {
        let holds = |hello: &[u8], name: &str| {
            hello.windows(name.len()).any(|window| window == name.as_bytes())
        };
        let hello = client_hello(Some("logs.example.com")).unwrap();
        assert_eq!(hello[..3], [HANDSHAKE, 3, 1]);
        assert!(holds(&hello, "logs.example.com"));
        let nameless = client_hello(None).unwrap();
        assert!(nameless.len() < hello.len() && !holds(&nameless, "0.0.0.0"));
        assert_eq!(client_hello(Some("not a name")), None);
    }
}
