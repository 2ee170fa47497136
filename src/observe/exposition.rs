//! Owns the names, units and help texts of the metrics, and their text format; for those of the
//! pools, `pools_exposition` does. Does not count, and does not decide when to read: it shows one
//! `Reading`.
//!
//! The format is the classic Prometheus text format, because every scraper reads it. In OpenMetrics
//! the type line of a counter lacks the `_total` of its samples, which the `prometheus_scrape`
//! source of Vector takes for another, untyped metric, and a type it does not know (`info`) makes
//! it discard the whole scrape. The encoder writes classic counters when they are given to it under
//! their full name, with the type of a counter and as the plain number a gauge is.

use super::close_reason::CloseReason;
use super::handshake_cause::HandshakeCause;
use super::metrics::{SessionKey, WorkerMetrics};
use super::pools::PoolsReport;
use super::pools_exposition;
use super::series::Tallies;
use super::tally::{
    AccessLogTally, ClosedCounts, HandshakeTally, ListenerTally, PoolTally, SessionTally,
    WorkerTally,
};
use super::tls_exposition::{self, TlsRow};
use crate::protocol::client_hello::Malformed;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, text};
use prometheus_client::metrics::MetricType::{Counter, Gauge};
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The media type of what `render` returns.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything a scrape shows, gathered under the locks, so that no lock is held while it is
/// formatted. The tallies go on counting meanwhile.
#[derive(Debug)]
pub(super) struct Reading {
    pub started: SystemTime,
    pub draining: bool,
    pub view_version: u64,
    pub access_log: Arc<AccessLogTally>,
    /// In the order of their indexes.
    pub workers: Vec<Arc<WorkerMetrics>>,
    pub listeners: Vec<(Arc<str>, Tallies<ListenerTally>)>,
    pub pool_tallies: Vec<(Arc<str>, Tallies<PoolTally>)>,
    pub sessions: Vec<(SessionKey, Tallies<SessionTally>)>,
    pub tls: Vec<TlsRow>,
    pub pools: PoolsReport,
}

/// Shows `reading` in the classic text format.
pub(super) fn render(reading: Reading) -> String {
    let mut registry = Registry::with_prefix("ringmain");
    registry.register_collector(Box::new(reading));
    let mut text = String::new();
    // Holds: the only error is that of the writer, and writing to a String has none.
    text::encode_registry(&mut text, &registry).expect("a String takes every write");
    text
}

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.encode_process(&mut encoder)?;
        self.encode_access_log(&mut encoder)?;
        self.encode_listeners(&mut encoder)?;
        self.encode_sessions(&mut encoder)?;
        self.encode_sessions_closed(&mut encoder)?;
        self.encode_handshakes(&mut encoder)?;
        self.encode_workers(&mut encoder)?;
        tls_exposition::encode(&self.tls, &mut encoder)?;
        pools_exposition::encode(&self.pools, self.started, &mut encoder)
    }
}

impl Reading {
    fn encode_process(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let help = "The version of the running program; the value is always 1.";
        let mut family = encoder.encode_descriptor("build_info", help, None, Gauge)?;
        sample(&mut family, &[("version", env!("CARGO_PKG_VERSION"))], 1)?;

        let help = "When the process started, in seconds since 1970.";
        // A clock before 1970 is shown as 1970.
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        encoder
            .encode_descriptor("process_start_time_seconds", help, None, Gauge)?
            .encode_gauge(&started)?;

        let help = "1 while the process takes no new sessions and lets the old ones finish, or 0.";
        encoder
            .encode_descriptor("draining", help, None, Gauge)?
            .encode_gauge(&u64::from(self.draining))?;

        let help = "The version of the view the workers were last given.";
        encoder
            .encode_descriptor("view_version", help, None, Gauge)?
            .encode_gauge(&self.view_version)
    }

    fn encode_access_log(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let log = &self.access_log;
        for (name, help, value) in [
            (
                "access_log_lines_written_total",
                "Access log lines written.",
                log.lines_written.get(),
            ),
            (
                "access_log_lines_dropped_total",
                "Access log lines lost: the queue was full or the write failed.",
                log.lines_dropped(),
            ),
            (
                "access_log_write_errors_total",
                "Writes to the access log, or reopenings of its file, that failed.",
                log.write_errors.get(),
            ),
        ] {
            encoder.encode_descriptor(name, help, None, Counter)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn encode_listeners(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let help = "Client connections accepted.";
        let mut family =
            encoder.encode_descriptor("connections_accepted_total", help, None, Counter)?;
        for (listener, tallies) in &self.listeners {
            let labels = [("listener", &**listener)];
            sample(&mut family, &labels, sum(tallies, |tally| tally.accepted.get()))?;
        }

        let help = "Times a worker stopped accepting because a connection limit was reached \
                    (limit) or no descriptor was left (descriptors).";
        let mut family = encoder.encode_descriptor("accept_pauses_total", help, None, Counter)?;
        for (listener, tallies) in &self.listeners {
            let limit = sum(tallies, |tally| tally.accept_pauses_limit.get());
            let descriptors = sum(tallies, |tally| tally.accept_pauses_descriptors.get());
            for (reason, value) in [("limit", limit), ("descriptors", descriptors)] {
                sample(&mut family, &[("listener", &**listener), ("reason", reason)], value)?;
            }
        }
        Ok(())
    }

    fn encode_sessions(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        for (name, help, read) in SESSION_COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, Counter)?;
            for (key, tallies) in &self.sessions {
                sample(&mut family, &key.labels(), sum(tallies, read))?;
            }
        }

        let help = "Bytes accepted by the socket they were relayed to.";
        let mut family = encoder.encode_descriptor("relayed_bytes_total", help, None, Counter)?;
        for (key, tallies) in &self.sessions {
            let to_backend = sum(tallies, |tally| tally.bytes_to_backend.get());
            let to_client = sum(tallies, |tally| tally.bytes_to_client.get());
            for (direction, value) in [("to-backend", to_backend), ("to-client", to_client)] {
                sample(&mut family, &(key.labels(), [("direction", direction)]), value)?;
            }
        }
        Ok(())
    }

    /// One family for all ends, so that a sum by reason misses none.
    fn encode_sessions_closed(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let help = "Sessions that ended, by reason; pool and backend are empty for a session that \
                    ended before it was given a backend. A reason is shown once it has occurred.";
        let mut family = encoder.encode_descriptor("sessions_closed_total", help, None, Counter)?;
        for (listener, tallies) in &self.listeners {
            let labels = [("listener", &**listener), ("pool", ""), ("backend", "")];
            closed(&mut family, labels, tallies, |tally| &tally.sessions_closed)?;
        }
        for (key, tallies) in &self.sessions {
            closed(&mut family, key.labels(), tallies, |tally| &tally.sessions_closed)?;
        }
        Ok(())
    }

    fn encode_handshakes(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let [ended, failed] = ["tls_handshakes_total", "tls_handshake_failures_total"];
        let help = "TLS handshakes with clients that succeeded: full, or resumed from an earlier \
                    session. Not shown before the first one.";
        handshakes(encoder, ended, help, "listener", &self.listeners, |t| &t.handshakes)?;
        let help = "TLS handshakes with clients that failed, by cause. A cause is shown once it \
                    has occurred.";
        handshake_failures(encoder, failed, help, "listener", &self.listeners, |t| &t.handshakes)?;

        let help = "Connections refused because they did not begin with a ClientHello, by cause. A \
                    cause is shown once it has occurred.";
        let mut family =
            encoder.encode_descriptor("tls_hellos_refused_total", help, None, Counter)?;
        for (listener, tallies) in &self.listeners {
            for cause in Malformed::ALL {
                let value = sum(tallies, |tally| tally.hellos_refused.get(cause));
                if value > 0 {
                    let labels = [("listener", &**listener), ("cause", cause.as_str())];
                    sample(&mut family, &labels, value)?;
                }
            }
        }

        let [ended, failed] =
            ["backend_tls_handshakes_total", "backend_tls_handshake_failures_total"];
        let help = "TLS handshakes with backends that succeeded: full, or resumed from an earlier \
                    session; without probes. Not shown before the first one.";
        handshakes(encoder, ended, help, "pool", &self.pool_tallies, |t| &t.handshakes)?;
        let help = "TLS handshakes with backends that failed, by cause; without probes. A cause is \
                    shown once it has occurred.";
        handshake_failures(encoder, failed, help, "pool", &self.pool_tallies, |t| &t.handshakes)
    }

    fn encode_workers(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        for (name, help, read) in WORKER_COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, Counter)?;
            for (index, worker) in self.workers.iter().enumerate() {
                sample(&mut family, &[("worker", index)], read(&worker.tally))?;
            }
        }
        for (name, help, read) in WORKER_GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, Gauge)?;
            for (index, worker) in self.workers.iter().enumerate() {
                sample(&mut family, &[("worker", index)], read(&worker.tally))?;
            }
        }
        Ok(())
    }
}

impl SessionKey {
    fn labels(&self) -> [(&'static str, &str); 3] {
        [("listener", &self.listener), ("pool", &self.pool), ("backend", &self.backend)]
    }
}

fn sum<T>(tallies: &Tallies<T>, read: impl Fn(&T) -> u64) -> u64 {
    tallies.iter().map(|tally| read(tally)).sum()
}

pub(super) fn sample(
    family: &mut MetricEncoder,
    labels: &impl EncodeLabelSet,
    value: u64,
) -> fmt::Result {
    family.encode_family(labels)?.encode_gauge(&value)
}

/// Shows the reasons that have occurred: all of them, for each backend, would be mostly zeros.
fn closed<T>(
    family: &mut MetricEncoder,
    labels: [(&'static str, &str); 3],
    tallies: &Tallies<T>,
    counts: impl Fn(&T) -> &ClosedCounts,
) -> fmt::Result {
    for reason in CloseReason::ALL {
        let value = sum(tallies, |tally| counts(tally).get(reason));
        if value > 0 {
            sample(family, &(labels, [("reason", reason.as_str())]), value)?;
        }
    }
    Ok(())
}

/// Shows both kinds once there was either, so that their ratio is there from the first handshake.
fn handshakes<T>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    label: &'static str,
    tallies: &[(Arc<str>, Tallies<T>)],
    read: fn(&T) -> &HandshakeTally,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, Counter)?;
    for (owner, tallies) in tallies {
        let full = sum(tallies, |tally| read(tally).full.get());
        let resumed = sum(tallies, |tally| read(tally).resumed.get());
        if full + resumed > 0 {
            for (kind, value) in [("full", full), ("resumed", resumed)] {
                sample(&mut family, &[(label, &**owner), ("kind", kind)], value)?;
            }
        }
    }
    Ok(())
}

/// Shows the causes that have occurred.
fn handshake_failures<T>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    label: &'static str,
    tallies: &[(Arc<str>, Tallies<T>)],
    read: fn(&T) -> &HandshakeTally,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, Counter)?;
    for (owner, tallies) in tallies {
        for cause in HandshakeCause::ALL {
            let value = sum(tallies, |tally| read(tally).failures.get(cause));
            if value > 0 {
                sample(&mut family, &[(label, &**owner), ("cause", cause.as_str())], value)?;
            }
        }
    }
    Ok(())
}

/// A metric's name without prefix, its help text, and how to read it.
type Described<T> = (&'static str, &'static str, fn(&T) -> u64);

const SESSION_COUNTERS: [Described<SessionTally>; 5] = [
    ("sessions_opened_total", "Sessions that were given this backend.", |t| {
        t.sessions_opened.get()
    }),
    (
        "connect_attempts_total",
        "Connections to the backend that were started, including those that failed.",
        |t| t.connect_attempts.get(),
    ),
    (
        "connect_failures_total",
        "Connections to the backend that were refused, unreachable or not answered in time.",
        |t| t.connect_failures.get(),
    ),
    (
        "splice_promotions_total",
        "Directions of sessions moved from copying to splice, because they kept filling buffers.",
        |t| t.splice_promotions.get(),
    ),
    ("splice_demotions_total", "Directions of sessions moved from splice back to copying.", |t| {
        t.splice_demotions.get()
    }),
];

const WORKER_COUNTERS: [Described<WorkerTally>; 9] = [
    ("worker_turns_total", "Turns of the worker's loop.", |t| t.turns.get()),
    ("worker_completions_total", "Completions taken from the worker's ring.", |t| {
        t.completions.get()
    }),
    (
        "worker_completion_queue_overflows_total",
        "Overflows of the worker's completion queue; a longer queue avoids them.",
        |t| t.completion_queue_overflows.get(),
    ),
    (
        "worker_buffers_exhausted_total",
        "Receives that had to wait because the worker's buffers were all in use.",
        |t| t.buffers_exhausted.get(),
    ),
    (
        "worker_pipes_exhausted_total",
        "Directions that stayed with copying because none of the worker's pipes was left for them.",
        |t| t.pipes_exhausted.get(),
    ),
    ("worker_panics_total", "Sessions ended by a defect in the program.", |t| t.panics.get()),
    (
        "worker_tls_handshakes_delayed_total",
        "TLS handshakes that had to wait because as many as may were under way on the worker.",
        |t| t.tls_handshakes_delayed.get(),
    ),
    (
        "worker_tls_long_steps_total",
        "Steps of TLS handshakes left to the thread for long signatures, those with RSA keys over \
         2,048 bits.",
        |t| t.tls_long_steps.get(),
    ),
    (
        "worker_tls_long_steps_abandoned_total",
        "Steps left to the thread for long signatures that it did not begin, because their \
         sessions had ended before.",
        |t| t.tls_long_steps_abandoned.get(),
    ),
];

const WORKER_GAUGES: [Described<WorkerTally>; 8] = [
    ("worker_sessions_open", "Sessions open on the worker.", |t| t.sessions_open.get()),
    (
        "worker_tls_handshakes_open",
        "TLS handshakes with clients that are under way on the worker.",
        |t| t.tls_handshakes_open.get(),
    ),
    ("worker_buffers_held", "Buffers of the worker that hold data.", |t| t.buffers_held.get()),
    (
        "worker_blocks_held",
        "Memory that the worker's sessions fill themselves, as TLS does, in buffers' worth.",
        |t| t.blocks_held.get(),
    ),
    (
        "worker_hello_bytes_held",
        "Bytes of TLS hellos that the worker reads, or that wait for their handshakes.",
        |t| t.hello_bytes_held.get(),
    ),
    ("worker_pipes_held", "Pipes of the worker in use for splice.", |t| t.pipes_held.get()),
    (
        "worker_operations_in_flight",
        "Operations the kernel has not completed yet for the worker.",
        |t| t.operations_in_flight.get(),
    ),
    ("worker_descriptors_open", "Descriptors the worker has open.", |t| t.descriptors_open.get()),
];
