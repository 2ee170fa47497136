//! Owns the process's metrics: who counts what, and the moment at which it is read for a scrape.
//! Does not name or format metrics (`exposition` does) and does not serve them (`admin` does).

use super::exposition::{self, Reading};
use super::pools::PoolsReport;
use super::series::Series;
use super::tally::{AccessLogTally, ListenerTally, PoolTally, SessionTally, WorkerTally};
use super::tls_exposition::TlsRow;
use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// All metrics of the process, shared by its threads.
pub struct Metrics {
    started: SystemTime,
    draining: AtomicBool,
    view_version: AtomicU64,
    access_log: Arc<AccessLogTally>,
    workers: Vec<Arc<WorkerMetrics>>,
    labelled: Arc<Labelled>,
    tls: Mutex<Vec<TlsRow>>,
}

impl Metrics {
    /// Metrics for workers 0 to `workers` - 1 of a process that began at `started`, as did its
    /// control plane.
    pub fn new(workers: usize, started: SystemTime) -> Self {
        let labelled = Arc::new(Labelled {
            listeners: Mutex::new(Series::new(workers)),
            pools: Mutex::new(Series::new(workers)),
            sessions: Mutex::new(Series::new(workers)),
        });
        let worker = |index| {
            let tally = CachePadded::default();
            Arc::new(WorkerMetrics { index, tally, labelled: labelled.clone() })
        };
        Self {
            started,
            draining: AtomicBool::new(false),
            view_version: AtomicU64::new(0),
            access_log: Arc::default(),
            workers: (0..workers).map(worker).collect(),
            labelled,
            tls: Mutex::default(),
        }
    }

    /// What worker `index` counts with. Only that worker's thread may add to it.
    ///
    /// # Panics
    /// When there is no such worker.
    pub fn worker(&self, index: usize) -> Arc<WorkerMetrics> {
        self.workers[index].clone()
    }

    /// What the access log counts with. One log at a time may use it.
    pub fn access_log(&self) -> Arc<AccessLogTally> {
        self.access_log.clone()
    }

    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub fn set_view_version(&self, version: u64) {
        self.view_version.store(version, Ordering::Relaxed);
    }

    /// How TLS material stands, in place of how it stood.
    pub fn set_tls(&self, rows: Vec<TlsRow>) {
        *lock(&self.tls) = rows;
    }

    /// Everything, in the classic Prometheus text format, with the pools as reported.
    pub fn render(&self, pools: PoolsReport) -> String {
        exposition::render(Reading {
            started: self.started,
            draining: self.draining(),
            view_version: self.view_version.load(Ordering::Relaxed),
            access_log: self.access_log.clone(),
            workers: self.workers.clone(),
            listeners: lock(&self.labelled.listeners).all(),
            pool_tallies: lock(&self.labelled.pools).all(),
            sessions: lock(&self.labelled.sessions).all(),
            tls: lock(&self.tls).clone(),
            pools,
        })
    }
}

/// What one worker counts with.
#[derive(Debug)]
pub struct WorkerMetrics {
    index: usize,
    pub tally: CachePadded<WorkerTally>,
    labelled: Arc<Labelled>,
}

impl WorkerMetrics {
    /// The tally of this worker for a listener. It takes a lock: ask once and keep it.
    pub fn listener(&self, name: &Arc<str>) -> Arc<CachePadded<ListenerTally>> {
        lock(&self.labelled.listeners).tally(name, self.index)
    }

    /// The tally of this worker for a pool. It takes a lock: ask once and keep it.
    pub fn pool(&self, name: &Arc<str>) -> Arc<CachePadded<PoolTally>> {
        lock(&self.labelled.pools).tally(name, self.index)
    }

    /// The tally of this worker for the sessions of a listener on a backend. It takes a lock: ask
    /// once and keep it while the backend is in the view or a session is on it. What nobody keeps
    /// may be forgotten.
    pub fn session(
        &self,
        listener: &Arc<str>,
        pool: &Arc<str>,
        backend: &Arc<str>,
    ) -> Arc<CachePadded<SessionTally>> {
        let key =
            SessionKey { listener: listener.clone(), pool: pool.clone(), backend: backend.clone() };
        lock(&self.labelled.sessions).tally(&key, self.index)
    }
}

/// The labels of a session's metrics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionKey {
    pub listener: Arc<str>,
    pub pool: Arc<str>,
    pub backend: Arc<str>,
}

/// The tallies that have labels besides the worker.
#[derive(Debug)]
struct Labelled {
    listeners: Mutex<Series<Arc<str>, ListenerTally>>,
    pools: Mutex<Series<Arc<str>, PoolTally>>,
    sessions: Mutex<Series<SessionKey, SessionTally>>,
}

/// A panic elsewhere must not end the metrics as well: a series is whole after every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::close_reason::CloseReason;
    use crate::observe::handshake_cause::HandshakeCause;
    use crate::observe::tally::HandshakeTally;
    use crate::observe::tls_exposition::{TlsExpiry, TlsLapsing};
    use crate::protocol::client_hello::Malformed;
    use std::time::{Duration, UNIX_EPOCH};

    fn metrics() -> Metrics {
        Metrics::new(2, UNIX_EPOCH + Duration::from_millis(1_700_000_000_500))
    }

    fn render(metrics: &Metrics) -> String {
        metrics.render(PoolsReport::default())
    }

    fn assert_line(text: &str, line: &str) {
        assert!(text.lines().any(|present| present == line), "no line {line}\nin\n{text}");
    }

    #[test]
    fn session_counts_are_summed_over_the_workers() {
        let metrics = metrics();
        let [listener, pool, backend] = ["syslog", "aggregators", "vector-1"].map(Arc::from);
        for (index, bytes) in [(0, 100), (1, 23)] {
            let tally = metrics.worker(index).session(&listener, &pool, &backend);
            tally.sessions_opened.add(1);
            tally.bytes_to_backend.add(bytes);
            tally.bytes_to_client.add(1);
            tally.connect_attempts.add(2);
            tally.connect_failures.add(1);
            tally.splice_promotions.add(3);
            tally.splice_demotions.add(4);
            tally.sessions_closed.add(CloseReason::BackendReset);
        }
        let text = render(&metrics);
        let on = r#"listener="syslog",pool="aggregators",backend="vector-1""#;
        for line in [
            format!("ringmain_sessions_opened_total{{{on}}} 2"),
            format!("ringmain_sessions_closed_total{{{on},reason=\"backend-reset\"}} 2"),
            format!("ringmain_relayed_bytes_total{{{on},direction=\"to-backend\"}} 123"),
            format!("ringmain_relayed_bytes_total{{{on},direction=\"to-client\"}} 2"),
            format!("ringmain_connect_attempts_total{{{on}}} 4"),
            format!("ringmain_connect_failures_total{{{on}}} 2"),
            format!("ringmain_splice_promotions_total{{{on}}} 6"),
            format!("ringmain_splice_demotions_total{{{on}}} 8"),
        ] {
            assert_line(&text, &line);
        }
    }

    #[test]
    fn listener_counts_are_summed_and_early_ends_have_no_backend() {
        let metrics = metrics();
        let name = Arc::from("syslog");
        for index in 0..2 {
            let tally = metrics.worker(index).listener(&name);
            tally.accepted.add(10);
            tally.accept_pauses_limit.add(1);
            tally.accept_pauses_descriptors.add(2);
            tally.sessions_closed.add(CloseReason::NoBackend);
        }
        let text = render(&metrics);
        for line in [
            r#"ringmain_connections_accepted_total{listener="syslog"} 20"#,
            r#"ringmain_accept_pauses_total{listener="syslog",reason="limit"} 2"#,
            r#"ringmain_accept_pauses_total{listener="syslog",reason="descriptors"} 4"#,
            "ringmain_sessions_closed_total\
             {listener=\"syslog\",pool=\"\",backend=\"\",reason=\"no-backend\"} 2",
        ] {
            assert_line(&text, line);
        }
    }

    #[test]
    fn handshakes_are_summed_apart_for_listeners_and_pools() {
        let metrics = metrics();
        let name = Arc::from("tls");
        let count = |tally: &HandshakeTally, times: u64| {
            tally.full.add(times);
            tally.resumed.add(10 * times);
            (0..times).for_each(|_| tally.failures.add(HandshakeCause::NoCertificate));
        };
        for index in 0..2 {
            count(&metrics.worker(index).listener(&name).handshakes, 1);
            count(&metrics.worker(index).pool(&name).handshakes, 2);
        }
        let text = render(&metrics);
        for line in [
            r#"ringmain_tls_handshakes_total{listener="tls",kind="full"} 2"#,
            r#"ringmain_tls_handshakes_total{listener="tls",kind="resumed"} 20"#,
            r#"ringmain_tls_handshake_failures_total{listener="tls",cause="no-certificate"} 2"#,
            r#"ringmain_backend_tls_handshakes_total{pool="tls",kind="full"} 4"#,
            r#"ringmain_backend_tls_handshakes_total{pool="tls",kind="resumed"} 40"#,
            r#"ringmain_backend_tls_handshake_failures_total{pool="tls",cause="no-certificate"} 4"#,
        ] {
            assert_line(&text, line);
        }
        assert_eq!(text.matches("cause=").count(), 2, "causes that have not occurred");
    }

    #[test]
    fn what_is_no_hello_is_shown_by_cause_once_it_has_occurred() {
        let metrics = metrics();
        let listener = metrics.worker(0).listener(&Arc::from("tls"));
        listener.hellos_refused.add(Malformed::SslV2);
        listener.hellos_refused.add(Malformed::SslV2);
        let text = render(&metrics);
        assert_line(&text, r#"ringmain_tls_hellos_refused_total{listener="tls",cause="ssl-v2"} 2"#);
        assert_eq!(text.matches("tls_hellos_refused_total{").count(), 1, "{text}");
    }

    #[test]
    fn where_no_handshake_ended_none_is_shown() {
        let metrics = metrics();
        let [plain, encrypted] = ["plain", "encrypted"].map(Arc::from);
        metrics.worker(0).listener(&plain).accepted.add(1);
        metrics.worker(0).pool(&plain);
        metrics.worker(0).listener(&encrypted).handshakes.full.add(1);
        let text = render(&metrics);
        assert_line(&text, r#"ringmain_tls_handshakes_total{listener="encrypted",kind="full"} 1"#);
        assert_line(
            &text,
            r#"ringmain_tls_handshakes_total{listener="encrypted",kind="resumed"} 0"#,
        );
        assert_eq!(text.matches("tls_handshakes_total{").count(), 2, "{text}");
        assert_eq!(text.matches("tls_handshake_failures_total{").count(), 0, "{text}");
    }

    #[test]
    fn workers_are_shown_apart() {
        let metrics = metrics();
        metrics.worker(0).tally.turns.add(5);
        metrics.worker(1).tally.sessions_open.set(9);
        metrics.worker(0).tally.tls_handshakes_open.set(3);
        metrics.worker(1).tally.blocks_held.set(4);
        let text = render(&metrics);
        for line in [
            r#"ringmain_worker_turns_total{worker="0"} 5"#,
            r#"ringmain_worker_turns_total{worker="1"} 0"#,
            r#"ringmain_worker_sessions_open{worker="0"} 0"#,
            r#"ringmain_worker_sessions_open{worker="1"} 9"#,
            r#"ringmain_worker_tls_handshakes_open{worker="0"} 3"#,
            r#"ringmain_worker_tls_handshakes_open{worker="1"} 0"#,
            r#"ringmain_worker_blocks_held{worker="0"} 0"#,
            r#"ringmain_worker_blocks_held{worker="1"} 4"#,
        ] {
            assert_line(&text, line);
        }
    }

    #[test]
    fn the_process_tells_its_state() {
        let metrics = metrics();
        metrics.set_draining(true);
        metrics.set_view_version(42);
        metrics.access_log().lines_written.add(7);
        metrics.access_log().add_dropped(3);
        let text = render(&metrics);
        for line in [
            concat!("ringmain_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "ringmain_process_start_time_seconds 1700000000.5",
            "ringmain_draining 1",
            "ringmain_view_version 42",
            "ringmain_access_log_lines_written_total 7",
            "ringmain_access_log_lines_dropped_total 3",
            "ringmain_access_log_write_errors_total 0",
        ] {
            assert_line(&text, line);
        }
    }

    #[test]
    fn tls_material_tells_when_it_lapses_and_how_its_renewals_went() {
        let metrics = metrics();
        let expiry = |file: &str, kind, until| TlsExpiry { kind, file: file.to_owned(), until };
        metrics.set_tls(vec![TlsRow {
            table: "edge".to_owned(),
            expiries: vec![
                expiry("/a.pem", TlsLapsing::Certificate, 2_000_000_000),
                expiry("/a.pem", TlsLapsing::Certificate, 2_000_000_000),
                expiry("/ca.pem", TlsLapsing::Authority, 1_800_000_000),
                expiry("/ocsp.der", TlsLapsing::Staple, 1_700_000_000),
                expiry("/a.crl", TlsLapsing::RevocationList, 1_900_000_001),
                expiry("/a.crl", TlsLapsing::RevocationList, 1_900_000_000),
            ],
            renewed: 2,
            failed: 1,
            in_trouble: true,
        }]);
        let text = render(&metrics);
        for line in [
            concat!(
                r#"ringmain_tls_certificate_expiry_seconds{tls="edge","#,
                r#"certificate="/a.pem"} 2000000000"#
            ),
            r#"ringmain_tls_authority_expiry_seconds{tls="edge",file="/ca.pem"} 1800000000"#,
            r#"ringmain_tls_staple_expiry_seconds{tls="edge",file="/ocsp.der"} 1700000000"#,
            r#"ringmain_tls_revocation_list_expiry_seconds{tls="edge",file="/a.crl"} 1900000000"#,
            r#"ringmain_tls_reloads_total{tls="edge",result="success"} 2"#,
            r#"ringmain_tls_reloads_total{tls="edge",result="failure"} 1"#,
            r#"ringmain_tls_reload_failing{tls="edge"} 1"#,
        ] {
            assert_line(&text, line);
        }
        assert_eq!(text.matches("/a.pem").count(), 1);
    }

    #[test]
    fn counters_are_announced_under_the_name_of_their_samples() {
        let text = render(&metrics());
        assert_line(&text, "# TYPE ringmain_worker_turns_total counter");
        assert_line(&text, "# TYPE ringmain_relayed_bytes_total counter");
        let kind = |line: &str| line.rsplit(' ').next().map(str::to_owned);
        let types = text.lines().filter(|line| line.starts_with("# TYPE ")).filter_map(kind);
        assert!(types.into_iter().all(|kind| kind == "counter" || kind == "gauge"));
    }

    #[test]
    fn every_metric_is_announced_once_with_a_sentence() {
        let text = render(&metrics());
        let mut names: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# HELP ringmain_"))
            .map(|line| line.split_once(' ').expect("a name and a sentence"))
            .inspect(|(name, help)| assert!(help.ends_with('.'), "{name}: {help}"))
            .map(|(name, _)| name)
            .collect();
        assert!(!names.is_empty());
        let announced = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), announced);
    }
}
