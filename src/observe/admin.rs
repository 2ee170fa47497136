//! Owns the admin server: `/metrics`, `/pools` and `/healthz` over HTTP/1, for scrapers, operators
//! and health checks. Does not count or format (`metrics` and `pools_page` do), and of itself
//! changes nothing: what an operator may change is `orders`'.
//!
//! It is bounded, because anyone who reaches its address may connect: at most `CONNECTIONS_MAX`
//! connections, the next ones wait in the kernel's queue; one request per connection; deadlines on
//! the request and on the whole connection. It takes no part in the proxied traffic, and what is
//! formatted is formatted beside the control thread: a page about ten thousand backends takes time.

use super::exposition;
use super::inquiry::Inquirer;
use super::metrics::Metrics;
use super::orders::{self, AllowChanges};
use super::pools_page;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Serves until `shutdown` completes; connections open then are closed.
pub async fn serve_admin(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    pools: Inquirer,
    allow_changes: AllowChanges,
    shutdown: impl Future<Output = ()>,
) {
    let knowledge = Knowledge { metrics, pools, allow_changes };
    let mut shutdown = pin!(shutdown);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            (stream, client) = accept(&listener), if connections.len() < CONNECTIONS_MAX => {
                connections.spawn(serve_connection(stream, client, knowledge.clone()));
            }
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "an admin connection ended by a defect");
                }
            }
        }
    }
}

/// The next connection. Where accepting fails, most likely for want of descriptors, it waits
/// before it tries again: the connection that could not be accepted would fail again at once.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "the admin server cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whom the pages are asked of.
#[derive(Clone)]
struct Knowledge {
    metrics: Arc<Metrics>,
    pools: Inquirer,
    allow_changes: AllowChanges,
}

async fn serve_connection(stream: TcpStream, client: SocketAddr, knowledge: Knowledge) {
    let service = service_fn(|request: Request<Incoming>| {
        let knowledge = knowledge.clone();
        async move {
            let response = match orders::order(request.uri().path()) {
                Some(order) => {
                    let control = (knowledge.allow_changes, &knowledge.pools);
                    orders::obey(order, request, client, control).await
                }
                None => answer(request.method(), request.uri().path(), knowledge).await,
            };
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(REQUEST_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection failed"),
        Err(_) => tracing::debug!("an admin connection took too long"),
    }
}

async fn answer(method: &Method, path: &str, knowledge: Knowledge) -> Response<Full<Bytes>> {
    if !matches!(path, "/" | "/metrics" | "/pools" | "/healthz") {
        return page(StatusCode::NOT_FOUND, TEXT, "not found\n");
    }
    // For HEAD, hyper leaves out the body and keeps its length.
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/metrics" => metrics_page(knowledge).await,
        "/pools" => pools_page(knowledge).await,
        "/healthz" if knowledge.metrics.draining() => {
            page(StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n")
        }
        "/healthz" => page(StatusCode::OK, TEXT, "ok\n"),
        _ => page(StatusCode::OK, TEXT, INDEX),
    }
}

/// Where the control plane does not answer, the rest is still worth a page.
async fn metrics_page(knowledge: Knowledge) -> Response<Full<Bytes>> {
    let report = knowledge.pools.ask().await.unwrap_or_default();
    let render = move || knowledge.metrics.render(report);
    rendered(exposition::CONTENT_TYPE, render).await
}

async fn pools_page(knowledge: Knowledge) -> Response<Full<Bytes>> {
    match knowledge.pools.ask().await {
        Some(report) => rendered(JSON, move || pools_page::render(&report)).await,
        None => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the control plane has ended\n"),
    }
}

/// A page that is formatted on another thread.
async fn rendered(
    content_type: &'static str,
    render: impl FnOnce() -> String + Send + 'static,
) -> Response<Full<Bytes>> {
    match tokio::task::spawn_blocking(render).await {
        Ok(text) => page(StatusCode::OK, content_type, text),
        Err(error) => {
            tracing::error!(%error, "a page of the admin server ended by a defect");
            page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "a defect of this program\n")
        }
    }
}

fn page(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

const INDEX: &str = "\
/metrics  counters and gauges, for Prometheus
/pools    every pool with its sources and backends, as JSON
/healthz  200 while new sessions are taken, 503 while draining
/pools/POOL/backends/BACKEND/drain  and /ready: with POST and a content-type of application/json
";

/// Scrapers and health checks need a handful.
const CONNECTIONS_MAX: usize = 64;

/// How long a client may take to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may last, so that a client that does not read its answer gives its place
/// back.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest request line with its headers.
const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// How long to wait after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::inquiry::{DrainOrder, Drained, Inquiry, inquiries};
    use crate::observe::pools::samples;
    use serde_json::{Value, json};
    use std::time::UNIX_EPOCH;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::task::{JoinHandle, yield_now};

    struct Running {
        address: SocketAddr,
        metrics: Arc<Metrics>,
        shutdown: oneshot::Sender<()>,
        server: JoinHandle<()>,
        /// Who answers for the pools.
        plane: JoinHandle<()>,
    }

    async fn start() -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let metrics = Arc::new(Metrics::new(1, UNIX_EPOCH));
        let (inquirer, mut inquiries) = inquiries();
        let plane = tokio::spawn(async move {
            while let Some(inquiry) = inquiries.recv().await {
                match inquiry {
                    Inquiry::Report(reply) => reply.answer(samples::report()),
                    Inquiry::Drain(order, reply) => reply.answer(obeyed(&order)),
                }
            }
        });
        let (shutdown, asked) = oneshot::channel::<()>();
        let asked = async { asked.await.expect("the sender lives") };
        let server = tokio::spawn(serve_admin(
            listener,
            metrics.clone(),
            inquirer,
            AllowChanges::Loopback,
            asked,
        ));
        Running { address, metrics, shutdown, server, plane }
    }

    /// The sample's backends can be drained, and one that has gone.
    fn obeyed(order: &DrainOrder) -> Drained {
        let report = samples::report();
        let pool = report.pools.into_iter().find(|pool| pool.name == order.pool);
        let Some(pool) = pool else { return Drained::NoSuchPool };
        let mut backends = pool.backends.into_iter();
        match backends.find(|backend| backend.name == order.backend) {
            Some(backend) => Drained::Now { at: report.at, backend: Box::new(backend) },
            None if &*order.backend == "away:1" => Drained::WhenItReturns,
            None => Drained::NoSuchBackend,
        }
    }

    /// Sends one request and returns all that comes back until the server closes.
    async fn ask(address: SocketAddr, request_line: &str) -> String {
        tell(address, request_line, "Accept: */*", "").await
    }

    /// The same with a header and a body.
    async fn tell(address: SocketAddr, request_line: &str, header: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let length = body.len();
        let head = format!("{request_line} HTTP/1.1\r\nHost: ringmain\r\n{header}\r\n");
        let request = format!("{head}Content-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    fn body(answer: &str) -> &str {
        answer.split_once("\r\n\r\n").expect("a head").1
    }

    #[tokio::test]
    async fn metrics_are_served_as_prometheus_text() {
        let running = start().await;
        running.metrics.worker(0).tally.turns.add(3);
        let answer = ask(running.address, "GET /metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
        assert_eq!(body(&answer), running.metrics.render(samples::report()));
        assert!(answer.contains("ringmain_worker_turns_total{worker=\"0\"} 3\n"));
    }

    #[tokio::test]
    async fn pools_are_served_as_json() {
        let running = start().await;
        let answer = ask(running.address, "GET /pools").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
        assert_eq!(body(&answer), pools_page::render(&samples::report()));
    }

    #[tokio::test]
    async fn without_the_control_plane_the_pools_are_unknown_and_the_rest_is_served() {
        let running = start().await;
        running.plane.abort();
        let answer = ask(running.address, "GET /pools").await;
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
        let answer = ask(running.address, "GET /metrics").await;
        assert!(answer.contains("ringmain_worker_turns_total{worker=\"0\"} 0\n"), "{answer}");
    }

    #[tokio::test]
    async fn health_follows_draining() {
        let running = start().await;
        let answer = ask(running.address, "GET /healthz").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert_eq!(body(&answer), "ok\n");
        running.metrics.set_draining(true);
        let answer = ask(running.address, "GET /healthz").await;
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
        assert_eq!(body(&answer), "draining\n");
    }

    #[tokio::test]
    async fn head_has_the_length_but_no_body() {
        let running = start().await;
        let answer = ask(running.address, "HEAD /healthz").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-length: 3\r\n"), "{answer}");
        assert_eq!(body(&answer), "");
    }

    #[tokio::test]
    async fn the_index_names_every_page() {
        let running = start().await;
        let answer = ask(running.address, "GET /?query").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert_eq!(body(&answer), INDEX);
        assert_eq!(INDEX.lines().count(), 4);
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let running = start().await;
        let answer = ask(running.address, "GET /metrics/").await;
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
        let answer = ask(running.address, "POST /none").await;
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
        let answer = ask(running.address, "DELETE /metrics").await;
        assert!(answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{answer}");
        assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    }

    const JSON_LINE: &str = "Content-Type: application/json";

    #[tokio::test]
    async fn a_backend_can_be_drained_and_is_shown_as_it_is_then() {
        let running = start().await;
        for (word, body) in [("drain", ""), ("ready", "{}")] {
            let line = format!("POST /pools/full/backends/b:1/{word}");
            let answer = tell(running.address, &line, JSON_LINE, body).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
            let row: Value = serde_json::from_str(super::tests::body(&answer)).expect("JSON");
            assert_eq!((&row["pool"], &row["backend"]), (&json!("full"), &json!("b:1")));
            assert_eq!((&row["connections"], &row["since_seconds"]), (&json!(11), &json!(5.0)));
        }
        let line = "POST /pools/full/backends/away:1/ready";
        let answer = tell(running.address, line, JSON_LINE, "").await;
        let row: Value = serde_json::from_str(body(&answer)).expect("JSON");
        assert_eq!(row["state"], Value::Null);
        assert_eq!(row["why"], "it is not in the pool now, and is ready when it comes back");
    }

    #[tokio::test]
    async fn what_is_not_there_cannot_be_drained_and_is_named() {
        let running = start().await;
        for (path, why) in [
            ("/pools/none/backends/b:1/drain", "no pool is named"),
            ("/pools/full/backends/none/drain", "pool full has no backend"),
        ] {
            let answer = tell(running.address, &format!("POST {path}"), JSON_LINE, "").await;
            assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
            let error: Value = serde_json::from_str(body(&answer)).expect("JSON");
            assert!(error["error"].as_str().expect("a sentence").starts_with(why), "{answer}");
        }
    }

    #[tokio::test]
    async fn orders_in_another_form_are_refused() {
        let running = start().await;
        let post = "POST /pools/full/backends/b:1/drain";
        for (line, header, body, status) in [
            ("GET /pools/full/backends/b:1/drain", JSON_LINE, "", "405 Method Not Allowed"),
            ("OPTIONS /pools/full/backends/b:1/drain", JSON_LINE, "", "405 Method Not Allowed"),
            (post, "Content-Type: text/plain", "", "415 Unsupported Media Type"),
            (post, "Content-Type: application/json\r\nOrigin: null", "", "403 Forbidden"),
            (post, JSON_LINE, "{\"sessions\": 0}", "400 Bad Request"),
            (post, JSON_LINE, &"{}".repeat(200), "400 Bad Request"),
            ("POST /pools/full/backends/b:1/kill", JSON_LINE, "", "404 Not Found"),
        ] {
            let answer = tell(running.address, line, header, body).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{line}: {answer}");
            // A page of elsewhere that asks whether it may is not told that it may.
            assert!(!answer.contains("access-control"), "{answer}");
        }
        running.plane.abort();
        let answer = tell(running.address, post, JSON_LINE, "").await;
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn what_is_not_http_is_closed() {
        let running = start().await;
        let mut stream = TcpStream::connect(running.address).await.expect("connected");
        stream.write_all(b"\x16\x03\x01\x02\x00\x01\r\n\r\n").await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("closed");
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn connections_over_the_limit_wait_for_a_place() {
        let running = start().await;
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            silent.push(TcpStream::connect(running.address).await.expect("connected"));
        }
        let address = running.address;
        let waiting = tokio::spawn(async move { ask(address, "GET /healthz").await });
        // Without the limit a few turns are enough for the answer.
        for _ in 0..1000 {
            yield_now().await;
        }
        assert!(!waiting.is_finished(), "the limit was not kept");
        drop(silent.pop());
        assert_eq!(body(&waiting.await.expect("answered")), "ok\n");
    }

    #[tokio::test]
    async fn shutdown_ends_the_server_and_its_connections() {
        let running = start().await;
        let mut open = TcpStream::connect(running.address).await.expect("connected");
        assert_eq!(body(&ask(running.address, "GET /healthz").await), "ok\n");
        running.shutdown.send(()).expect("the server runs");
        running.server.await.expect("ended in order");
        assert!(matches!(open.read(&mut [0]).await, Ok(0) | Err(_)), "left open");
        TcpStream::connect(running.address).await.expect_err("nobody listens");
    }
}
