//! The `http` check: a request is answered with a status in a range. The body is not asked for.
//!
//! The exchange is written here, on the parser that hyper uses: for this little of HTTP a client
//! for all of it takes a tenth more CPU, and a thousand backends are asked every two seconds.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use hyper::Method;
use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::failure::ProbeFailure;
use super::prober::BadCheck;

/// What is asked, and which status counts as well.
pub(super) struct Question {
    /// Up to the value of the Host header, and what follows it.
    head: Vec<u8>,
    /// `None`: the backend's address.
    host: Option<HeaderValue>,
    status: RangeInclusive<u16>,
}

impl Question {
    pub(super) fn new(
        method: &str,
        path: &str,
        host: Option<&str>,
        status: &RangeInclusive<u16>,
    ) -> Result<Question, BadCheck> {
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| BadCheck::Method)?;
        // Else the path would be taken for a host, or for a whole address.
        let path = Some(path).filter(|path| path.starts_with('/')).ok_or(BadCheck::Path)?;
        let path = PathAndQuery::try_from(path).map_err(|_| BadCheck::Path)?;
        let host = host.map(HeaderValue::from_str).transpose().map_err(|_| BadCheck::Host)?;
        let head = format!("{method} {path} HTTP/1.1\r\nhost: ").into_bytes();
        Ok(Question { head, host, status: status.clone() })
    }

    pub(super) async fn ask<S>(&self, mut stream: S, to: SocketAddr) -> Result<(), ProbeFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        stream.write_all(&self.request(to)).await?;
        let status = status(&mut stream).await?;
        let expected = self.status.contains(&status);
        if expected { Ok(()) } else { Err(ProbeFailure::HttpStatus(status)) }
    }

    /// In one piece, which is sent at once.
    fn request(&self, to: SocketAddr) -> Vec<u8> {
        const REST: &[u8] = b"\r\nuser-agent: ringmain\r\nconnection: close\r\n\r\n";
        match &self.host {
            Some(host) => [&self.head, host.as_bytes(), REST].concat(),
            None => [&self.head, to.to_string().as_bytes(), REST].concat(),
        }
    }
}

/// The status of the answer, once its head has come whole.
async fn status<S: AsyncRead + Unpin>(stream: &mut S) -> Result<u16, ProbeFailure> {
    let mut answer = Vec::with_capacity(PART_BYTES);
    for _ in 0..PARTS_MAX {
        let left = ANSWER_BYTES_MAX - answer.len();
        let mut part = (&mut *stream).take(left.min(PART_BYTES) as u64);
        if left == 0 {
            break;
        }
        if part.read_buf(&mut answer).await? == 0 {
            return Err(ProbeFailure::Closed);
        }
        if let Some(status) = final_status(&answer)? {
            return Ok(status);
        }
    }
    Err(ProbeFailure::TooLong)
}

/// The status of the first head that is not informational (RFC 9110, section 15.2), if it is
/// there. Going over to another protocol was not asked for, and is as final as any other.
fn final_status(mut answer: &[u8]) -> Result<Option<u16>, ProbeFailure> {
    loop {
        let Some((status, length)) = head(answer)? else { return Ok(None) };
        if !(100..200).contains(&status) || status == 101 {
            return Ok(Some(status));
        }
        answer = answer.get(length..).unwrap_or_default();
    }
}

/// Status and length of the head that the bytes begin with, if it is there as a whole.
fn head(answer: &[u8]) -> Result<Option<(u16, usize)>, ProbeFailure> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(answer) {
        Ok(httparse::Status::Complete(length)) => Ok(response.code.map(|code| (code, length))),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(ProbeFailure::TooLong),
        Err(_) => Err(ProbeFailure::Malformed),
    }
}

/// The longest heads together: the informational ones and the last.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Bytes read at a time: more than most heads have.
const PART_BYTES: usize = 2048;

/// Parts of an answer. Each is read together with those before it, and a backend that sends byte
/// by byte shall not cost more than others.
const PARTS_MAX: usize = 1024;

/// Header lines of one head.
const HEADERS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100\r\n\r\n\
                            HTTP/1.0 204 No Content\r\nserver: x\r\n\r\n";

    #[test]
    fn informational_heads_are_passed_over_and_nothing_cut_is_taken_for_an_answer() {
        assert_eq!(final_status(ANSWER), Ok(Some(204)));
        for length in 0..ANSWER.len() {
            assert_eq!(final_status(&ANSWER[..length]), Ok(None), "{length}");
        }
        let switched = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
        assert_eq!(final_status(switched), Ok(Some(101)));
    }

    #[test]
    fn what_is_no_head_is_malformed_and_what_has_too_many_lines_too_long() {
        for answer in [
            &b"220 mail.example ESMTP\r\n"[..],
            b"HTTP/2 200\r\n\r\n",
            b"HTTP/1.1 20\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"\x15\x03\x03\x00\x02\x02\x28",
        ] {
            assert_eq!(final_status(answer), Err(ProbeFailure::Malformed), "{answer:?}");
        }
        let lines = |count: usize| {
            [&b"HTTP/1.1 200 OK\r\n"[..], &b"a: b\r\n".repeat(count), b"\r\n"].concat()
        };
        assert_eq!(final_status(&lines(HEADERS_MAX)), Ok(Some(200)));
        assert_eq!(final_status(&lines(HEADERS_MAX + 1)), Err(ProbeFailure::TooLong));
    }

    #[test]
    fn no_bytes_can_do_harm() {
        for seed in 0..20_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut answer = ANSWER.to_vec();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(..answer.len());
                answer[at] = random.u8(..);
            }
            // That it returns at all is the test.
            std::hint::black_box(final_status(&answer)).ok();
        }
    }

    #[test]
    fn a_request_names_the_address_unless_it_is_given_a_host() {
        let text = |host, to: &str| {
            let question = Question::new("HEAD", "/a?b", host, &(200..=299)).unwrap();
            String::from_utf8(question.request(to.parse().unwrap())).unwrap()
        };
        let rest = "user-agent: ringmain\r\nconnection: close\r\n\r\n";
        let head = "HEAD /a?b HTTP/1.1\r\nhost: ";
        assert_eq!(text(None, "[::1]:80"), format!("{head}[::1]:80\r\n{rest}"));
        assert_eq!(text(Some("x.test"), "10.0.0.1:80"), format!("{head}x.test\r\n{rest}"));
    }
}
