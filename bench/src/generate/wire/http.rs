//! Owns requests to HTTP intakes and their answers, one unit each (HTTP/1.1).

use std::io::Write;

use super::{Answer, Decoded, Mark, message, tag};

/// Whose intake is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    Datadog,
    SplunkHec,
}

impl Intake {
    /// The host that its agents ask for as a rule.
    pub fn host(self) -> &'static str {
        match self {
            Intake::Datadog => "http-intake.bench.test",
            Intake::SplunkHec => "splunk.bench.test:8088",
        }
    }

    /// Appends a request to `host`, whose body has about `size` bytes: several events, and the tag
    /// in the last.
    pub fn encode(self, host: &str, mark: &Mark, size: usize, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(size + 256);
        write_body(self, mark, size, &mut body);
        let (path, head, length) = (self.path(), self.head(), body.len());
        // A vector takes all that is written to it.
        write!(
            out,
            "POST {path} HTTP/1.1\r\nHost: {host}\r\n{head}Content-Length: {length}\r\n\r\n"
        )
        .unwrap_or_default();
        out.extend_from_slice(&body);
    }

    fn path(self) -> &'static str {
        match self {
            Intake::Datadog => "/api/v2/logs",
            Intake::SplunkHec => "/services/collector/event",
        }
    }

    fn head(self) -> &'static str {
        match self {
            Intake::Datadog => {
                "User-Agent: datadog-agent/7.60.0\r\nContent-Type: application/json\r\n\
                 DD-API-KEY: 00000000000000000000000000000000\r\n"
            }
            Intake::SplunkHec => {
                "Authorization: Splunk 00000000-0000-0000-0000-000000000000\r\n\
                 Content-Type: application/json\r\n"
            }
        }
    }
}

fn write_body(intake: Intake, mark: &Mark, size: usize, body: &mut Vec<u8>) {
    let behind = match intake {
        Intake::Datadog => {
            body.push(b'[');
            "\"}]"
        }
        Intake::SplunkHec => "\"}",
    };
    let mut event = 0;
    loop {
        let begun = body.len();
        write_event(intake, mark, event, body);
        let each = body.len() - begun + EVENT;
        let last = begun + 2 * each > size;
        let room = if last { size.saturating_sub(body.len() + tag::LENGTH + 4) } else { EVENT };
        message::say(mark.sequence + event, room, body);
        event += 1;
        if last {
            break;
        }
        body.extend_from_slice(if intake == Intake::Datadog { b"\"}," } else { b"\"}" });
    }
    body.push(b' ');
    tag::append(mark, 0, body);
    body.extend_from_slice(behind.as_bytes());
}

fn write_event(intake: Intake, mark: &Mark, event: u64, out: &mut Vec<u8>) {
    let (host, program) = (message::host(mark.stream), message::program(mark.stream));
    let written = match intake {
        Intake::Datadog => write!(
            out,
            "{{\"ddsource\":\"{program}\",\"ddtags\":\"env:bench,event:{event}\",\
             \"hostname\":\"{host}\",\"service\":\"{program}\",\"status\":\"info\",\"message\":\""
        ),
        Intake::SplunkHec => write!(
            out,
            "{{\"time\":{}.{:03},\"host\":\"{host}\",\"source\":\"{program}\",\
             \"sourcetype\":\"_json\",\"index\":\"main\",\"event\":\"",
            1_795_000_000 + mark.due / 1_000_000_000,
            mark.due / 1_000_000 % 1000
        ),
    };
    // A vector takes all that is written to it.
    written.unwrap_or_default();
}

pub fn decode(bytes: &[u8]) -> Decoded {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Decoded::Incomplete,
        Err(_) => return Decoded::Malformed,
    };
    let Some(body) = body_length(request.headers) else { return Decoded::Malformed };
    let Some(body) = bytes.get(head..head + body) else { return Decoded::Incomplete };
    match tag::find(body, 3) {
        Some((mark, intact)) => Decoded::Unit { mark, intact, length: head + body.len() },
        None => Decoded::Malformed,
    }
}

/// Appends the answer to a request. It says which one it is for, so that none is mistaken.
pub fn answer(intake: Intake, mark: &Mark, out: &mut Vec<u8>) {
    let (status, body) = match intake {
        Intake::Datadog => ("202 Accepted", "{}"),
        Intake::SplunkHec => ("200 OK", "{\"text\":\"Success\",\"code\":0}"),
    };
    let mut text = Vec::new();
    tag::append(mark, 0, &mut text);
    let (tag, length) = (String::from_utf8_lossy(&text), body.len());
    // A vector takes all that is written to it.
    write!(
        out,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         X-Mark: {tag}\r\n\r\n{body}"
    )
    .unwrap_or_default();
}

pub fn decode_answer(bytes: &[u8]) -> Answer {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Answer::Incomplete,
        Err(_) => return Answer::Malformed,
    };
    let Some(body) = body_length(response.headers) else { return Answer::Malformed };
    if bytes.len() < head + body {
        return Answer::Incomplete;
    }
    let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("x-mark"));
    let (mark, intact) = found
        .and_then(|header| tag::find(header.value, 0))
        .map_or((None, true), |(mark, intact)| (Some(mark), intact));
    let accepted = matches!(response.code, Some(200..=299));
    Answer::Come { mark, intact, accepted, length: head + body }
}

fn body_length(headers: &[httparse::Header<'_>]) -> Option<usize> {
    let found = headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = std::str::from_utf8(found?.value).ok()?.trim().parse().ok()?;
    (length <= LONGEST).then_some(length)
}

/// Bytes of what one event says.
const EVENT: usize = 160;
const HEADERS: usize = 32;
const LONGEST: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark { stream: 5, sequence: 77, due: 5_000_000_000 };

    #[test]
    fn requests_carry_several_events_and_are_found_wherever_they_are_cut() {
        for intake in [Intake::Datadog, Intake::SplunkHec] {
            let mut bytes = Vec::new();
            intake.encode("logs.example:8088", &MARK, 2_000, &mut bytes);
            let host = b"\r\nHost: logs.example:8088\r\n";
            assert!(bytes.windows(host.len()).any(|some| some == host), "{intake:?}");
            let length = bytes.len();
            let body = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            let size = length - body;
            assert!((1_950..2_100).contains(&size), "{size}");
            let events = serde_json::Deserializer::from_slice(&bytes[body..]);
            let values: Vec<serde_json::Value> =
                events.into_iter().collect::<Result<_, _>>().unwrap();
            let count =
                values.first().and_then(|value| value.as_array()).map_or(values.len(), Vec::len);
            assert!(count > 3, "{intake:?}: {count}");
            for cut in 0..length {
                assert_eq!(decode(&bytes[..cut]), Decoded::Incomplete, "{cut}");
            }
            assert_eq!(decode(&bytes), Decoded::Unit { mark: MARK, intact: true, length });
            bytes[body + 10] ^= 1;
            assert_eq!(decode(&bytes), Decoded::Unit { mark: MARK, intact: false, length });
        }
    }

    #[test]
    fn answers_say_what_they_are_for_and_whether_it_was_taken() {
        let mut bytes = Vec::new();
        answer(Intake::SplunkHec, &MARK, &mut bytes);
        let length = bytes.len();
        for cut in 0..length {
            assert_eq!(decode_answer(&bytes[..cut]), Answer::Incomplete);
        }
        let come = |accepted, mark| Answer::Come { mark, intact: true, accepted, length };
        assert_eq!(decode_answer(&bytes), come(true, Some(MARK)));
        let busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
        let length = busy.len();
        let refused = Answer::Come { mark: None, intact: true, accepted: false, length };
        assert_eq!(decode_answer(busy), refused);
        assert_eq!(decode_answer(b"SSH-2.0-x\r\n\r\n"), Answer::Malformed);
    }
}
