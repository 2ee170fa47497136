//! Owns the counters and gauges that one thread writes and the scraper reads.
//! Does not know labels, names or formats, and does not sum over workers.
//!
//! The contract: each value has a single writing thread. `Count::add` is then a relaxed load and a
//! relaxed store, without a locked instruction, cheap enough for every operation of a worker. Two
//! writers would lose counts (never more than that: there is no undefined behaviour to reach).
//! Readers on other threads see a value that is a moment old. Tallies are handed out in
//! `CachePadded`, so that two workers never write to one cache line.

use super::close_reason::CloseReason;
use super::handshake_cause::HandshakeCause;
use crate::protocol::client_hello::Malformed;
use std::sync::atomic::{AtomicU64, Ordering};

/// A value that only grows, written by one thread.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `amount`. Only the owning thread may call this.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// The value, from any thread.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A value that goes up and down, written by one thread.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Replaces the value. Only the owning thread may call this.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value, from any thread.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Ended sessions, one count per reason.
#[derive(Debug, Default)]
pub struct ClosedCounts([Count; CloseReason::ALL.len()]);

impl ClosedCounts {
    /// Counts one ended session. Only the owning thread may call this.
    #[inline]
    pub fn add(&self, reason: CloseReason) {
        self.0[reason.index()].add(1);
    }

    /// The sessions that ended for `reason`, from any thread.
    pub fn get(&self, reason: CloseReason) -> u64 {
        self.0[reason.index()].get()
    }
}

/// TLS handshakes that failed, one count per cause.
#[derive(Debug, Default)]
pub struct HandshakeFailures([Count; HandshakeCause::ALL.len()]);

impl HandshakeFailures {
    /// Counts one failed handshake. Only the owning thread may call this.
    #[inline]
    pub fn add(&self, cause: HandshakeCause) {
        self.0[cause.index()].add(1);
    }

    /// The handshakes that failed for `cause`, from any thread.
    pub fn get(&self, cause: HandshakeCause) -> u64 {
        self.0[cause.index()].get()
    }
}

/// Connections that did not begin with a ClientHello, one count per cause.
#[derive(Debug, Default)]
pub struct HelloFailures([Count; Malformed::ALL.len()]);

impl HelloFailures {
    /// Counts one connection. Only the owning thread may call this.
    #[inline]
    pub fn add(&self, cause: Malformed) {
        self.0[cause.index()].add(1);
    }

    /// The connections that were refused for `cause`, from any thread.
    pub fn get(&self, cause: Malformed) -> u64 {
        self.0[cause.index()].get()
    }
}

/// TLS handshakes that ended, with clients or with backends.
#[derive(Debug, Default)]
pub struct HandshakeTally {
    /// Handshakes that succeeded and began a new TLS session.
    pub full: Count,
    /// Handshakes that succeeded and took up an earlier TLS session.
    pub resumed: Count,
    /// Handshakes that failed. One that ended because the process or the session had to is in no
    /// count.
    pub failures: HandshakeFailures,
}

/// What one worker did for one listener, pool and backend.
#[derive(Debug, Default)]
pub struct SessionTally {
    /// Sessions that were given this backend.
    pub sessions_opened: Count,
    /// Sessions that were given this backend and ended.
    pub sessions_closed: ClosedCounts,
    /// Bytes accepted by the backend's socket.
    pub bytes_to_backend: Count,
    /// Bytes accepted by the client's socket.
    pub bytes_to_client: Count,
    /// Connections started, including those that failed.
    pub connect_attempts: Count,
    /// Connections that were refused, unreachable or not answered in time.
    pub connect_failures: Count,
    /// Directions moved from copying to splice.
    pub splice_promotions: Count,
    /// Directions moved from splice back to copying.
    pub splice_demotions: Count,
}

/// What one worker did for one listener before a backend was chosen.
#[derive(Debug, Default)]
pub struct ListenerTally {
    /// Connections accepted.
    pub accepted: Count,
    /// Times accepting paused because a connection limit was reached.
    pub accept_pauses_limit: Count,
    /// Times accepting paused because no descriptor was left.
    pub accept_pauses_descriptors: Count,
    /// Sessions that ended before they were given a backend.
    pub sessions_closed: ClosedCounts,
    /// Connections refused because they did not begin with a ClientHello.
    pub hellos_refused: HelloFailures,
    /// TLS handshakes with its clients.
    pub handshakes: HandshakeTally,
}

/// What one worker did for one pool, whatever the listener and the backend.
#[derive(Debug, Default)]
pub struct PoolTally {
    /// TLS handshakes with its backends for sessions; probes have their own counts.
    pub handshakes: HandshakeTally,
}

/// What one worker did as a whole, and what it holds now.
#[derive(Debug, Default)]
pub struct WorkerTally {
    /// Turns of the worker's loop.
    pub turns: Count,
    /// Completions taken from the ring.
    pub completions: Count,
    /// Overflows of the completion queue.
    pub completion_queue_overflows: Count,
    /// Receives that found no buffer in the shared ring (ENOBUFS).
    pub buffers_exhausted: Count,
    /// Promotions to splice refused because the pool had no pipe left for whom it was towards.
    pub pipes_exhausted: Count,
    /// Sessions ended by a panic.
    pub panics: Count,
    /// TLS handshakes that had to wait because as many as may were under way.
    pub tls_handshakes_delayed: Count,
    /// Steps of TLS handshakes left to the thread for long signatures.
    pub tls_long_steps: Count,
    /// Those of them that were not begun, because their sessions had ended before.
    pub tls_long_steps_abandoned: Count,
    /// Sessions open now.
    pub sessions_open: Gauge,
    /// TLS handshakes with clients under way now.
    pub tls_handshakes_open: Gauge,
    /// Buffers that hold data now.
    pub buffers_held: Gauge,
    /// Memory that sessions fill themselves now, in buffers' worth.
    pub blocks_held: Gauge,
    /// Bytes of hellos that are being read, or wait for their handshake, now.
    pub hello_bytes_held: Gauge,
    /// Pipes in use now.
    pub pipes_held: Gauge,
    /// Operations the kernel has not completed yet.
    pub operations_in_flight: Gauge,
    /// Descriptors open now.
    pub descriptors_open: Gauge,
}

/// What the access log did with its lines.
#[derive(Debug, Default)]
pub struct AccessLogTally {
    /// Lines written. Only the log's writer thread adds.
    pub lines_written: Count,
    /// Writes that failed. Only the log's writer thread adds.
    pub write_errors: Count,
    /// Lines lost. Every worker and the writer thread add, hence the locked addition; it is paid
    /// only when a line is lost.
    lines_dropped: AtomicU64,
}

impl AccessLogTally {
    /// Counts lost lines, from any thread.
    pub fn add_dropped(&self, lines: u64) {
        self.lines_dropped.fetch_add(lines, Ordering::Relaxed);
    }

    /// The lines lost, from any thread.
    pub fn lines_dropped(&self) -> u64 {
        self.lines_dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_written_by_one_thread_is_exact_for_its_reader() {
        let count = Count::default();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..10_000).for_each(|_| count.add(3)));
        });
        assert_eq!(count.get(), 30_000);
    }

    #[test]
    fn a_gauge_shows_the_last_value_set() {
        let gauge = Gauge::default();
        gauge.set(7);
        gauge.set(2);
        assert_eq!(gauge.get(), 2);
    }

    #[test]
    fn each_reason_is_counted_apart() {
        let closed = ClosedCounts::default();
        closed.add(CloseReason::Finished);
        closed.add(CloseReason::SocketError);
        closed.add(CloseReason::SocketError);
        let counts = CloseReason::ALL.map(|reason| closed.get(reason));
        assert_eq!(counts.iter().sum::<u64>(), 3);
        assert_eq!(closed.get(CloseReason::Finished), 1);
        assert_eq!(closed.get(CloseReason::SocketError), 2);
    }

    #[test]
    fn what_is_no_hello_is_counted_by_cause() {
        let failures = HelloFailures::default();
        failures.add(Malformed::PlainText);
        failures.add(Malformed::InvalidName);
        failures.add(Malformed::InvalidName);
        let counts = Malformed::ALL.map(|cause| failures.get(cause));
        assert_eq!((counts[0], counts[14], counts.iter().sum()), (1, 2, 3));
    }

    #[test]
    fn each_cause_is_counted_apart() {
        let failures = HandshakeFailures::default();
        failures.add(HandshakeCause::Timeout);
        failures.add(HandshakeCause::Other);
        failures.add(HandshakeCause::Other);
        let counts = HandshakeCause::ALL.map(|cause| failures.get(cause));
        assert_eq!(counts, [1, 0, 0, 0, 0, 0, 0, 0, 2]);
    }
}
