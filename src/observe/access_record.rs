//! Owns what the access log says about one session, and its text and JSON forms.
//! Does not read clocks, queue or write (`access_log` writes).
//!
//! # The text form
//!
//! One line per session, written when it ends, in the manner of HAProxy's tcplog:
//!
//! ```text
//! 2026-11-21T03:24:05.123456Z 10.0.1.2:33313 syslog aggregators/vector-1 10.0.0.5:9000
//!   0.412/5007.113 212/0 splice/copy finished 12/8/3 0 vector-0,vector-2
//!   a.example.com 1.3/TLS13_AES_128_GCM_SHA256 h2 resumed CN=agent-7 - -
//! ```
//!
//! (one line, wrapped here). The fields are parted by one space, and `-` stands for what the
//! session never had:
//!
//! - `2026-11-21T03:24:05.123456Z`: when the client was accepted, UTC, to the microsecond.
//! - `10.0.1.2:33313`: the client's address, the one told by a PROXY header if there was one.
//! - `syslog`: the listener.
//! - `aggregators/vector-1`: the pool and the backend; `aggregators/-` if none of it was reached.
//! - `10.0.0.5:9000`: the backend's address.
//! - `0.412/5007.113`: milliseconds to connect to the backend, and for the whole session.
//! - `212/0`: bytes to the backend, and to the client.
//! - `splice/copy`: how each direction was relayed, in the same order: `none`, `copy`,
//!   `splice` if it ever was, or `tls` if it was encrypted or decrypted here.
//! - `finished`: why the session ended, a `CloseReason`.
//! - `12/8/3`: sessions open at the end, this one included: in the process, on the listener, on the
//!   backend.
//! - `0`: the worker.
//! - `vector-0,vector-2`: the backends tried before, in their order.
//! - `a.example.com` and the six after it: what was seen of TLS (`tls_record` has them).
//!
//! In names, whatever could part or end a field is written as `\u{...}`: spaces, control
//! characters, slashes, commas, backslashes.
//!
//! # The JSON form
//!
//! One object per line with the same values, each under a key of its own; durations are in
//! microseconds, what the session never had is `null`, the backends tried are an array, and `tls`
//! is an object.

use super::close_reason::CloseReason;
use super::tls_record::{TlsFields, TlsRecord};
use serde_json::json;
use std::fmt::{self, Display, Formatter, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// One ended session. It is made on a worker and formatted elsewhere, hence plain values and shared
/// names: making it allocates only where a backend was tried in vain or a ClientHello was read.
#[derive(Clone, Debug)]
pub struct AccessRecord {
    /// When the client was accepted, in nanoseconds since 1970.
    pub accepted_unix_ns: u64,
    pub worker: u16,
    pub listener: Arc<str>,
    /// `None` if the session ended before it was routed.
    pub pool: Option<Arc<str>>,
    /// `None` if the session ended before a backend was chosen.
    pub backend: Option<Arc<str>>,
    pub client: Option<SocketAddr>,
    pub backend_address: Option<SocketAddr>,
    /// The backends that were tried before `backend`, in that order.
    pub tried: Vec<Arc<str>>,
    /// The time to connect to `backend`; `None` if it was never connected.
    pub connect: Option<Duration>,
    /// The time from the accept to the end.
    pub total: Duration,
    pub bytes_to_backend: u64,
    pub bytes_to_client: u64,
    pub relay_to_backend: RelayMode,
    pub relay_to_client: RelayMode,
    pub reason: CloseReason,
    /// Sessions open in the process at the end, this one included.
    pub sessions_process: u32,
    /// Sessions open on the listener at the end, this one included.
    pub sessions_listener: u32,
    /// Sessions open on the backend at the end, this one included; 0 without a backend.
    pub sessions_backend: u32,
    /// What was seen of TLS; `None` where the listener reads no ClientHello.
    pub tls: Option<Box<TlsRecord>>,
}

/// How one direction of a session was relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayMode {
    /// Relaying never began.
    None,
    /// Through buffers only.
    Copy,
    /// Through a pipe, at least for a time.
    Splice,
    /// Encrypted or decrypted on the way.
    Tls,
}

impl RelayMode {
    /// The word operators see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Copy => "copy",
            Self::Splice => "splice",
            Self::Tls => "tls",
        }
    }
}

/// The form of an access log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    Text,
    Json,
}

impl AccessRecord {
    /// Appends the record to `batch` as one line, line end included.
    pub(super) fn append_line(&self, format: AccessLogFormat, batch: &mut String) {
        match format {
            AccessLogFormat::Text => self.append_text(batch),
            AccessLogFormat::Json => self.append_json(batch),
        }
        batch.push('\n');
    }

    fn append_text(&self, batch: &mut String) {
        let written = write!(
            batch,
            "{} {} {} {}/{} {} {}/{} {}/{} {}/{} {} {}/{}/{} {} {} {}",
            Stamp(self.accepted_unix_ns),
            OrDash(self.client),
            Name(&self.listener),
            OrDash(self.pool.as_deref().map(Name)),
            OrDash(self.backend.as_deref().map(Name)),
            OrDash(self.backend_address),
            OrDash(self.connect.map(Milliseconds)),
            Milliseconds(self.total),
            self.bytes_to_backend,
            self.bytes_to_client,
            self.relay_to_backend.as_str(),
            self.relay_to_client.as_str(),
            self.reason.as_str(),
            self.sessions_process,
            self.sessions_listener,
            self.sessions_backend,
            self.worker,
            Names(&self.tried),
            TlsFields(self.tls.as_deref()),
        );
        // Holds: the only error is that of the writer, and writing to a String has none.
        written.expect("a String takes every write");
    }

    fn append_json(&self, batch: &mut String) {
        let object = json!({
            "accepted": Stamp(self.accepted_unix_ns).to_string(),
            "client": self.client.map(|address| address.to_string()),
            "listener": &*self.listener,
            "pool": self.pool.as_deref(),
            "backend": self.backend.as_deref(),
            "backend_address": self.backend_address.map(|address| address.to_string()),
            "connect_us": self.connect.map(microseconds),
            "total_us": microseconds(self.total),
            "bytes_to_backend": self.bytes_to_backend,
            "bytes_to_client": self.bytes_to_client,
            "relay_to_backend": self.relay_to_backend.as_str(),
            "relay_to_client": self.relay_to_client.as_str(),
            "reason": self.reason.as_str(),
            "sessions_process": self.sessions_process,
            "sessions_listener": self.sessions_listener,
            "sessions_backend": self.sessions_backend,
            "worker": self.worker,
            "tried": self.tried.iter().map(|name| &**name).collect::<Vec<_>>(),
            "tls": self.tls.as_deref().map(TlsRecord::to_json),
        });
        // Holds, as in `append_text`.
        write!(batch, "{object}").expect("a String takes every write");
    }
}

/// Five hundred thousand years fit.
fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A value, or `-` where there is none.
pub(super) struct OrDash<T>(pub Option<T>);

impl<T: Display> Display for OrDash<T> {
    fn fmt(&self, formatter: &mut Formatter) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(formatter),
            None => formatter.write_char('-'),
        }
    }
}

/// A name in which nothing parts or ends a field.
pub(super) struct Name<'a>(pub &'a str);

impl Display for Name<'_> {
    fn fmt(&self, formatter: &mut Formatter) -> fmt::Result {
        for character in self.0.chars() {
            let parts_fields = matches!(character, '/' | ',' | '\\');
            if character.is_alphanumeric() || (character.is_ascii_graphic() && !parts_fields) {
                formatter.write_char(character)?;
            } else {
                write!(formatter, "{}", character.escape_unicode())?;
            }
        }
        Ok(())
    }
}

/// Names parted by commas, or `-` where there are none.
struct Names<'a>(&'a [Arc<str>]);

impl Display for Names<'_> {
    fn fmt(&self, formatter: &mut Formatter) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else {
            return formatter.write_char('-');
        };
        Name(first).fmt(formatter)?;
        rest.iter().try_for_each(|name| write!(formatter, ",{}", Name(name)))
    }
}

/// A duration in milliseconds, to the microsecond.
struct Milliseconds(Duration);

impl Display for Milliseconds {
    fn fmt(&self, formatter: &mut Formatter) -> fmt::Result {
        let microseconds = self.0.as_micros();
        write!(formatter, "{}.{:03}", microseconds / 1_000, microseconds % 1_000)
    }
}

/// Nanoseconds since 1970 as a UTC time (RFC 3339), to the microsecond.
struct Stamp(u64);

impl Display for Stamp {
    fn fmt(&self, formatter: &mut Formatter) -> fmt::Result {
        let microseconds = self.0 / 1_000;
        let seconds = microseconds / 1_000_000;
        let (year, month, day) = date(seconds / 86_400);
        write!(
            formatter,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
            seconds / 3_600 % 24,
            seconds / 60 % 60,
            seconds % 60,
            microseconds % 1_000_000,
        )
    }
}

/// The year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// The calendar repeats every 400 years, which have 146,097 days. Years are counted here from the
/// 1st of March, so that the leap day is the last day of its year and the months before it follow
/// one rule: five months have 153 days. 719,468 days lie between 0000-03-01 and 1970-01-01.
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::observe::tls_record;
    use serde_json::Value;

    /// 2026-11-21 03:24:05.123456789 UTC.
    const ACCEPTED: u64 = 1_795_231_445_123_456_789;

    /// A session as most are.
    pub(in crate::observe) fn finished() -> AccessRecord {
        AccessRecord {
            accepted_unix_ns: ACCEPTED,
            worker: 1,
            listener: Arc::from("syslog"),
            pool: Some(Arc::from("aggregators")),
            backend: Some(Arc::from("vector-1")),
            client: Some(SocketAddr::from(([10, 0, 1, 2], 33313))),
            backend_address: Some(SocketAddr::from(([10, 0, 0, 5], 9000))),
            tried: vec![Arc::from("vector-0"), Arc::from("vector-2")],
            connect: Some(Duration::from_nanos(412_900)),
            total: Duration::from_micros(5_007_113),
            bytes_to_backend: 212,
            bytes_to_client: 0,
            relay_to_backend: RelayMode::Splice,
            relay_to_client: RelayMode::Copy,
            reason: CloseReason::Finished,
            sessions_process: 12,
            sessions_listener: 8,
            sessions_backend: 3,
            tls: None,
        }
    }

    /// A session that ended before it was routed, from a listener with an unkind name.
    fn aborted() -> AccessRecord {
        AccessRecord {
            listener: Arc::from("a b/c,\\\n\"é"),
            pool: None,
            backend: None,
            client: None,
            backend_address: None,
            tried: Vec::new(),
            connect: None,
            relay_to_backend: RelayMode::None,
            relay_to_client: RelayMode::None,
            reason: CloseReason::ClientAborted,
            sessions_backend: 0,
            ..finished()
        }
    }

    fn line(record: &AccessRecord, format: AccessLogFormat) -> String {
        let mut line = String::new();
        record.append_line(format, &mut line);
        line
    }

    #[test]
    fn text_of_a_finished_session() {
        assert_eq!(
            line(&finished(), AccessLogFormat::Text),
            "2026-11-21T03:24:05.123456Z 10.0.1.2:33313 syslog aggregators/vector-1 10.0.0.5:9000 \
             0.412/5007.113 212/0 splice/copy finished 12/8/3 1 vector-0,vector-2 \
             - -/- - - - - -\n"
        );
    }

    #[test]
    fn text_of_an_aborted_session_keeps_its_fields_apart() {
        let line = line(&aborted(), AccessLogFormat::Text);
        assert_eq!(
            line,
            "2026-11-21T03:24:05.123456Z - a\\u{20}b\\u{2f}c\\u{2c}\\u{5c}\\u{a}\"é -/- - \
             -/5007.113 212/0 none/none client-aborted 12/8/0 1 - - -/- - - - - -\n"
        );
        assert_eq!(line.split(' ').count(), 19);
    }

    /// A session with TLS on both sides.
    fn encrypted() -> AccessRecord {
        let (relay_to_backend, relay_to_client) = (RelayMode::Tls, RelayMode::Tls);
        let tls = Some(Box::new(tls_record::tests::agreed()));
        AccessRecord { relay_to_backend, relay_to_client, tls, ..finished() }
    }

    #[test]
    fn text_of_a_session_with_tls_has_it_after_the_fields_of_any_session() {
        let [plain, encrypted] =
            [finished(), encrypted()].map(|record| line(&record, AccessLogFormat::Text));
        let common = plain.strip_suffix("- -/- - - - - -\n").expect("no TLS");
        let tls = "a.example.com 1.3/TLS13_AES_128_GCM_SHA256 h2 resumed CN=agent-7 - -\n";
        assert_eq!(encrypted, format!("{}{tls}", common.replace("splice/copy", "tls/tls")));
    }

    #[test]
    fn json_of_a_session_with_tls_has_an_object_for_it() {
        let object: Value =
            serde_json::from_str(&line(&encrypted(), AccessLogFormat::Json)).expect("one object");
        assert_eq!(object["tls"], tls_record::tests::agreed().to_json());
        assert_eq!(object["relay_to_client"], "tls");
    }

    #[test]
    fn json_of_a_finished_session() {
        let line = line(&finished(), AccessLogFormat::Json);
        assert_eq!(line.matches('\n').count(), 1);
        let expected = json!({
            "accepted": "2026-11-21T03:24:05.123456Z",
            "client": "10.0.1.2:33313",
            "listener": "syslog",
            "pool": "aggregators",
            "backend": "vector-1",
            "backend_address": "10.0.0.5:9000",
            "connect_us": 412,
            "total_us": 5_007_113,
            "bytes_to_backend": 212,
            "bytes_to_client": 0,
            "relay_to_backend": "splice",
            "relay_to_client": "copy",
            "reason": "finished",
            "sessions_process": 12,
            "sessions_listener": 8,
            "sessions_backend": 3,
            "worker": 1,
            "tried": ["vector-0", "vector-2"],
            "tls": null,
        });
        assert_eq!(serde_json::from_str::<Value>(&line).expect("one object"), expected);
    }

    #[test]
    fn json_of_an_aborted_session_escapes_and_says_null() {
        let line = line(&aborted(), AccessLogFormat::Json);
        assert_eq!(line.matches('\n').count(), 1, "a line end in a name ended the line");
        let object: Value = serde_json::from_str(&line).expect("one object");
        assert_eq!(object["listener"], "a b/c,\\\n\"é");
        for key in ["client", "pool", "backend", "backend_address", "connect_us"] {
            assert_eq!(object.get(key), Some(&Value::Null), "{key}");
        }
        assert_eq!(object["tried"], json!([]));
    }

    #[test]
    fn ipv6_addresses_are_bracketed() {
        let client = Some("[2001:db8::1]:514".parse().expect("an address"));
        let text = line(&AccessRecord { client, ..finished() }, AccessLogFormat::Text);
        assert_eq!(text.split(' ').nth(1), Some("[2001:db8::1]:514"));
    }

    #[test]
    fn dates_follow_the_gregorian_calendar() {
        for (day, expected) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (789, (1972, 2, 29)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_453, (2025, 12, 31)),
            (20_454, (2026, 1, 1)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(day), expected, "day {day}");
        }
    }

    #[test]
    fn every_day_of_eight_centuries_follows_the_one_before() {
        let leap = |year: u64| {
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
        };
        let mut expected = (1970, 1, 1);
        for day in 0..800 * 366 {
            assert_eq!(date(day), expected);
            let (year, month, day_of_month) = expected;
            let last = match month {
                2 if leap(year) => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected = match (month, day_of_month == last) {
                (12, true) => (year + 1, 1, 1),
                (_, true) => (year, month + 1, 1),
                (_, false) => (year, month, day_of_month + 1),
            };
        }
    }

    #[test]
    fn relay_modes_have_distinct_words() {
        let modes = [RelayMode::None, RelayMode::Copy, RelayMode::Splice, RelayMode::Tls];
        assert_eq!(modes.map(RelayMode::as_str), ["none", "copy", "splice", "tls"]);
    }
}
