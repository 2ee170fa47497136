//! Active checks: who fails is left alone, who is well again is used again, and clients notice
//! neither; what becomes of sessions; backups, and the panic in which health counts for nothing.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::aggregator::Aggregator;
use super::load::{Load, ask, report};
use super::patience::now;
use super::peer::vacant_alike;
use super::proxy::{Plan, Proxy};
use super::stream::{connect, expect_end, finish};

/// Ten probes a second.
const OFTEN: &str = "interval = \"100ms\"\nrise = 2\nfall = 2\n";

fn watched(aggregators: &[&Aggregator], pool: &str, check: &str) -> Proxy {
    let backend = |aggregator: &&Aggregator| {
        let Aggregator { name, address, .. } = aggregator;
        let backup = name.starts_with("backup");
        format!("{{ name = \"{name}\", address = \"{address}\", backup = {backup} }}")
    };
    let backends = aggregators.iter().map(backend).collect();
    let more = format!("[pool.back.health]\n{OFTEN}{check}");
    Plan { pool, backends, more: &more, ..Plan::of(&[]) }.start()
}

/// A page on another port than the aggregators', with a status that a test sets.
struct Page {
    address: SocketAddr,
    status: Arc<AtomicU16>,
}

impl Page {
    /// Serves until the process ends.
    fn serve(address: SocketAddr) -> Page {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let status = Arc::new(AtomicU16::new(200));
        let current = Arc::clone(&status);
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let asked = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>();
                let status = match asked.first().map(String::as_str) {
                    Some("GET /health HTTP/1.1") => current.load(Ordering::Relaxed),
                    _ => 404,
                };
                let answer = format!("HTTP/1.1 {status} Status\r\ncontent-length: 0\r\n\r\n");
                // A prober may leave when it has seen enough.
                stream.write_all(answer.as_bytes()).unwrap_or_default();
            }
        });
        Page { address, status }
    }

    fn say(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }
}

/// Aggregators that share one port, with a page each that share another, and the check for them.
fn paged(names: [&str; 3]) -> ([Aggregator; 3], [Page; 3], String) {
    let mut addresses = vacant_alike().into_iter();
    let aggregators = names.map(|name| Aggregator::start_at(name, addresses.next().unwrap()));
    let pages = vacant_alike().map(Page::serve);
    let port = pages[0].address.port();
    let check = format!("check = \"http\"\npath = \"/health\"\nport = {port}");
    (aggregators, pages, check)
}

#[test]
fn a_killed_backend_is_left_alone_until_it_is_back() {
    let [a, mut b] = ["a", "b"].map(Aggregator::start);
    let proxy = watched(&[&a, &b], "", "check = \"tcp\"");
    let load = Load::start(proxy.address());
    load.await_answers(&["a", "b"], now());
    let change = now();
    b.kill();
    let took = load.await_answers(&["a"], change);
    report("a backend is killed", took);
    proxy.await_words("b is down");
    println!("a backend is killed: checks noticed after {:.3} s", change.elapsed().as_secs_f64());
    // As long as it is tried in vain, that is every second one.
    proxy.await_first_tries(20);
    let change = now();
    b.revive();
    report("it is back", load.await_answers(&["a", "b"], change));
    proxy.await_words("b is up");
    // One connection may have been open on it.
    load.finish_but("a backend is killed", 1);
}

#[test]
fn a_backend_whose_page_fails_is_left_alone_until_the_page_is_well() {
    let ([a, b, c], pages, check) = paged(["a", "b", "c"]);
    let proxy = watched(&[&a, &b, &c], "", &check);
    let session = connect(proxy.address());
    let name = ask(&session, "before").unwrap();
    let load = Load::start(proxy.address());
    load.await_answers(&["a", "b", "c"], now());
    let change = now();
    pages[1].say(503);
    report("a page says 503", load.await_answers(&["a", "c"], change));
    let change = now();
    pages[0].say(503);
    report("another one too", load.await_answers(&["c"], change));
    assert_eq!(ask(&session, "after").unwrap(), name, "sessions stay");
    let change = now();
    pages[..2].iter().for_each(|page| page.say(204));
    report("both say 204", load.await_answers(&["a", "b", "c"], change));
    load.finish("http checks");
}

#[test]
fn when_asked_to_the_sessions_of_a_failing_backend_are_closed_in_order() {
    let ([a, b, c], pages, check) = paged(["a", "b", "c"]);
    let proxy = watched(&[&a, &b, &c], "on_down = \"close\"", &check);
    let sessions = [(); 3].map(|()| connect(proxy.address()));
    let names = sessions.each_ref().map(|session| ask(session, "before").unwrap());
    let of = |name: &str| &sessions[names.iter().position(|other| other == name).unwrap()];
    pages[1].say(500);
    expect_end(of("b"));
    finish(of("b"));
    let session = proxy.session();
    assert_eq!((&session["backend"], &session["reason"]), (&"b".into(), &"backend-lost".into()));
    for name in ["a", "c"] {
        assert_eq!(ask(of(name), "after").unwrap(), name);
    }
}

#[test]
fn when_too_few_are_healthy_health_counts_for_nothing() {
    let ([a, b, c], pages, check) = paged(["a", "b", "c"]);
    let proxy = watched(&[&a, &b, &c], "panic_threshold = 50", &check);
    let load = Load::start(proxy.address());
    load.await_answers(&["a", "b", "c"], now());
    let change = now();
    pages[0].say(503);
    report("one of three fails", load.await_answers(&["b", "c"], change));
    let change = now();
    pages[1].say(503);
    report("a second one, and a panic", load.await_answers(&["a", "b", "c"], change));
    let change = now();
    pages[1].say(200);
    report("the panic is over", load.await_answers(&["b", "c"], change));
    load.finish("a panic");
}

#[test]
fn backups_take_over_and_give_back() {
    let ([a, b, backup], pages, check) = paged(["a", "b", "backup"]);
    let proxy = watched(&[&a, &b, &backup], "", &check);
    let load = Load::start(proxy.address());
    load.await_answers(&["a", "b"], now());
    let change = now();
    pages[0].say(503);
    report("half of the first tier fails", load.await_answers(&["b", "backup"], change));
    // Half of the backends, times 1.4, carry 70 percent. Which tier a connection goes to is drawn:
    // of 1,000, five standard deviations are 72.
    let shares = load.next(1000);
    assert!((228..=372).contains(&shares["backup"]), "{shares:?}");
    let change = now();
    pages[1].say(503);
    report("all of it fails", load.await_answers(&["backup"], change));
    let change = now();
    pages[..2].iter().for_each(|page| page.say(200));
    report("all of it is back", load.await_answers(&["a", "b"], change));
    load.finish("backups");
}
