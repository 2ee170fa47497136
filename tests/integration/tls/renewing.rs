//! Renewal of certificates while the proxy serves: nobody is refused for it, and what cannot be
//! taken leaves what there was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::process::Signal;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;

use super::super::patience::eventually;
use super::super::peer::Echo;
use super::super::proxy::{Plan, Proxy};
use super::super::stream::pass;
use super::authority::Authority;
use super::peer::{Tls, client};
use super::scene::{NAME, Rest, edge};

fn serving(authority: &Authority, workers: u32) -> (Echo, Proxy) {
    let backend = Echo::start();
    let more = edge(authority, "");
    let process = format!("workers = {workers}");
    let plan = Plan {
        process: &process,
        listener: "tls = \"edge\"",
        more: &more,
        ..Plan::of(&[backend.address])
    };
    let proxy = plan.start();
    (backend, proxy)
}

/// The certificate that a new client is shown; bytes go both ways too.
fn shown(proxy: &Proxy, config: &Arc<ClientConfig>) -> CertificateDer<'static> {
    let client = Tls::connect(proxy.address(), NAME, config).unwrap();
    pass(&client, &client, 0..1000);
    client.peer().unwrap()
}

/// A client that never resumes, so that it is shown a certificate each time.
fn forgetful(authority: &Authority) -> Arc<ClientConfig> {
    let mut config = client(authority);
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

fn await_shown(proxy: &Proxy, config: &Arc<ClientConfig>, expected: &CertificateDer<'_>) {
    eventually("the new certificate", || (shown(proxy, config) == *expected).then_some(()));
}

#[test]
fn certificates_are_replaced_a_hundred_times_and_no_handshake_fails() {
    let authority = Authority::new("the authority");
    let (_backend, proxy) = serving(&authority, 2);
    let rest = Rest::of(&proxy);
    let config = forgetful(&authority);
    let (over, shaken) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut issued_so_far = vec![shown(&proxy, &config)];
    let seen = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        // Its key has signed: the one of another certificate would be refused.
                        seen.push(shown(&proxy, &config));
                        shaken.fetch_add(1, Ordering::Relaxed);
                    }
                    seen
                })
            })
            .collect();
        for round in 0..100 {
            let issued = authority.issue(&[NAME]);
            let count = shaken.load(Ordering::Relaxed);
            // In turns the chain first and the key first.
            if round % 2 == 0 {
                authority.write("edge.pem", &issued.certificate);
                authority.write("edge.key", &issued.key);
            } else {
                authority.write("edge.key", &issued.key);
                authority.write("edge.pem", &issued.certificate);
            }
            proxy.signal(Signal::HUP);
            eventually("handshakes go on", || {
                (shaken.load(Ordering::Relaxed) > count).then_some(())
            });
            issued_so_far.extend(issued.chain());
        }
        over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    await_shown(&proxy, &config, issued_so_far.last().unwrap());
    let seen = seen.concat();
    assert!(seen.len() >= 100 && seen.iter().all(|shown| issued_so_far.contains(shown)));
    // A client is done with a handshake before its last word has arrived.
    let accepted = proxy.metric("connections_accepted_total", "");
    let shaken = || proxy.metric("tls_handshakes_total", "kind=\"full\"");
    eventually("every handshake is counted", || (shaken() == accepted).then_some(()));
    assert_eq!(proxy.metric("tls_handshake_failures_total", ""), 0);
    assert!(proxy.metric("tls_reloads_total", "result=\"success\"") > 10);
    rest.await_again(&proxy);
}

#[test]
fn a_new_certificate_is_noticed_without_a_word() {
    let authority = Authority::new("the authority");
    let (_backend, proxy) = serving(&authority, 1);
    let config = forgetful(&authority);
    let before = shown(&proxy, &config);
    let issued = authority.issue(&[NAME]);
    authority.pair("edge", &issued);
    let expected = issued.chain().remove(0);
    assert_ne!(before, expected);
    await_shown(&proxy, &config, &expected);
    proxy.await_event("TLS material renewed");
}

#[test]
fn a_pair_that_does_not_fit_leaves_the_old_one_and_is_told_once() {
    let authority = Authority::new("the authority");
    let (_backend, proxy) = serving(&authority, 1);
    let config = forgetful(&authority);
    let before = shown(&proxy, &config);
    let issued = authority.issue(&[NAME]);
    let open = Tls::connect(proxy.address(), NAME, &config).unwrap();
    authority.write("edge.pem", &issued.certificate);
    proxy.await_words("TLS material stays as it was");
    assert_eq!(shown(&proxy, &config), before);
    let failures = || proxy.metric("tls_reloads_total", "result=\"failure\"");
    eventually("it is counted", || (failures() == 1).then_some(()));
    // What was written in the meantime is seen, and the trouble is over.
    authority.write("edge.key", &issued.key);
    await_shown(&proxy, &config, &issued.chain()[0]);
    assert_eq!(failures(), 1);
    pass(&open, &open, 0..10_000);
}

#[test]
fn a_file_that_is_gone_leaves_what_there_was() {
    let authority = Authority::new("the authority");
    let (_backend, proxy) = serving(&authority, 1);
    let config = forgetful(&authority);
    let before = shown(&proxy, &config);
    authority.remove("edge.pem");
    proxy.signal(Signal::HUP);
    proxy.await_words("TLS material stays as it was");
    assert_eq!(shown(&proxy, &config), before);
}
