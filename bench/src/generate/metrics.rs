//! Owns the reading of a Ringmain's metrics: what it says went wrong, by a word each. It starts no
//! Ringmain.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::figures::told;

/// Counts by their words.
pub type Counted = BTreeMap<String, u64>;

/// What a proxy has counted so far, asked at its admin endpoint.
pub fn ask(admin: SocketAddr) -> io::Result<Counted> {
    let mut stream = TcpStream::connect_timeout(&admin, WAIT)?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer)?;
    Ok(parse(&answer))
}

/// What was counted since; nothing of what stayed as it was.
pub fn since(before: &Counted, after: &Counted) -> Counted {
    let grown = |(word, &count): (&String, &u64)| {
        let more = count.saturating_sub(before.get(word).copied().unwrap_or(0));
        (more > 0).then(|| (word.clone(), more))
    };
    after.iter().filter_map(grown).collect()
}

/// Of the text format of Prometheus: sums over listeners, backends and workers.
fn parse(text: &str) -> Counted {
    let mut counted = Counted::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((sample, value)) = line.trim_end().rsplit_once(' ') else { continue };
        let name = sample.split('{').next().unwrap_or_default();
        let (Some(word), Ok(value)) = (word(name, reason(sample)), value.parse::<u64>()) else {
            continue;
        };
        *counted.entry(word).or_default() += value;
    }
    counted
}

/// `None`: it says nothing of what went wrong.
fn word(name: &str, reason: Option<&str>) -> Option<String> {
    let prefix = match (name.strip_prefix("ringmain_")?, reason) {
        ("sessions_closed_total", Some("finished" | "client-reset" | "client-aborted")) => {
            return None;
        }
        ("sessions_closed_total", Some(_)) => told::CLOSED,
        ("accept_pauses_total", Some(_)) => told::ACCEPT_PAUSED,
        ("connect_failures_total", _) => return Some(told::CONNECT_FAILURES.to_owned()),
        ("worker_buffers_exhausted_total", _) => return Some(told::BUFFERS.to_owned()),
        ("worker_pipes_exhausted_total", _) => return Some(told::PIPES.to_owned()),
        ("worker_completion_queue_overflows_total", _) => return Some(told::OVERFLOWS.to_owned()),
        _ => return None,
    };
    Some(format!("{prefix}{}", reason?))
}

fn reason(sample: &str) -> Option<&str> {
    sample.split_once("reason=\"")?.1.split('"').next()
}

const WAIT: Duration = Duration::from_secs(2);
/// Bytes; a proxy with many backends says more of each than is looked for.
const LONGEST: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::time::SystemTime;

    use ringmain::observe::{CloseReason, Metrics, PoolsReport};

    use super::*;

    /// The text that a Ringmain itself makes of such counts.
    fn text(count: u64) -> String {
        let metrics = Metrics::new(2, SystemTime::UNIX_EPOCH);
        let [listener, pool] = ["group-0", "group-0"].map(Arc::<str>::from);
        for (index, backend) in ["127.0.0.1:1", "127.0.0.1:2"].into_iter().enumerate() {
            let worker = metrics.worker(index);
            let tally = worker.session(&listener, &pool, &backend.into());
            (0..count).for_each(|_| tally.sessions_closed.add(CloseReason::SourcePorts));
            tally.sessions_closed.add(CloseReason::Finished);
            tally.connect_failures.add(3 * count);
            let tally = worker.listener(&listener);
            tally.accept_pauses_limit.add(5 * count);
            tally.accept_pauses_descriptors.add(7 * count);
            worker.tally.buffers_exhausted.add(11 * count);
        }
        metrics.render(PoolsReport::default())
    }

    #[test]
    fn what_a_proxy_says_went_wrong_is_read_by_its_words() {
        let found = parse(&text(1));
        let of = |word: &str| found.get(word).copied();
        assert_eq!(of(told::CLOSED_PORTS), Some(2));
        assert_eq!(of(told::CONNECT_FAILURES), Some(6));
        assert_eq!(of(told::PAUSED_LIMIT), Some(10));
        assert_eq!(of(told::PAUSED_DESCRIPTORS), Some(14));
        assert_eq!(of(told::BUFFERS), Some(22));
        assert_eq!(of("closed-finished"), None);
        assert_eq!(since(&found, &found), Counted::new());
        assert_eq!(since(&found, &parse(&text(2))).get(told::CLOSED_PORTS), Some(&2));
    }

    #[test]
    fn it_is_asked_over_its_admin_endpoint() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = listener.local_addr().unwrap();
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 100];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /metrics "));
            let head = "HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\n";
            stream.write_all(format!("{head}{}", text(1)).as_bytes()).unwrap();
        });
        assert_eq!(ask(admin).unwrap(), parse(&text(1)));
        answering.join().unwrap();
    }
}
