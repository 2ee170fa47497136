//! Owns what log messages say: the words of an estate of web servers, as long as is asked. Numbers
//! decide which, so that the same unit always says the same.

/// Who says it.
pub fn host(stream: u32) -> String {
    format!("web-{:03}", stream % 1000)
}

pub fn program(stream: u32) -> &'static str {
    PROGRAMS[stream as usize % PROGRAMS.len()]
}

/// Appends `length` bytes of log lines.
pub fn say(number: u64, length: usize, out: &mut Vec<u8>) {
    let mut left = length;
    let mut line = (number % LINES.len() as u64) as usize;
    while left > 0 {
        let part = &LINES[line].as_bytes()[..left.min(LINES[line].len())];
        out.extend_from_slice(part);
        left -= part.len();
        line = (line + 1) % LINES.len();
    }
}

/// Hours, minutes, seconds and microseconds of a day, for a time in nanoseconds.
pub fn time_of_day(nanoseconds: u64) -> (u64, u64, u64, u64) {
    let micros = nanoseconds / 1_000;
    let seconds = micros / 1_000_000 % 86_400;
    (seconds / 3600, seconds / 60 % 60, seconds % 60, micros % 1_000_000)
}

const PROGRAMS: [&str; 6] = ["nginx", "sshd", "kernel", "postgres", "cron", "payments"];
/// Nothing in them needs to be escaped in JSON or in structured data.
const LINES: [&str; 6] = [
    "GET /api/v2/items/48213?fields=name,price HTTP/1.1 200 1532 0.013 upstream=10.2.0.17:8080 ",
    "Accepted publickey for deploy from 192.0.2.44 port 51514 ssh2: ED25519 SHA256:q8Vx ",
    "connection authorized: user=orders database=orders application_name=worker SSL enabled ",
    "retrying charge id=ch_9f31c attempt=2 reason=timeout after=750ms customer=c_20117 ",
    "POST /v1/login HTTP/1.1 401 211 0.004 agent=Mozilla/5.0 client=203.0.113.9 ",
    "checkpoint complete: wrote 1841 buffers (11.2%); write=29.8 s, sync=0.021 s, total=29.9 s ",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_length_asked_for_and_need_no_escapes() {
        for length in [0, 1, 90, 5_000] {
            let mut said = Vec::new();
            say(41, length, &mut said);
            assert_eq!(said.len(), length);
            assert!(said.iter().all(|byte| (b' '..=b'~').contains(byte)));
            assert!(!said.iter().any(|byte| [b'"', b'\\', b']'].contains(byte)));
        }
        assert_eq!(time_of_day(3_723_000_004_000), (1, 2, 3, 4));
    }
}
