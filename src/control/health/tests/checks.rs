//! The probes over plain connections, TLS and HTTP/1, against real servers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, pause};

use super::server::{acceptor, asking, black_hole, head, nobody, probe, serve};
use crate::config::{Check, CheckTls, Health};
use crate::control::health::{BadCheck, ProbeFailure, Prober};

fn tcp() -> Health {
    asking(Check::Tcp)
}

fn hello(server_name: Option<&str>) -> Health {
    asking(Check::TlsHello { server_name: server_name.map(str::to_owned) })
}

fn http() -> Health {
    asking(Check::Http {
        method: "GET".to_owned(),
        path: "/health".to_owned(),
        host: None,
        status: 200..=299,
    })
}

fn send_expect(send: &str, expect: &str) -> Health {
    asking(Check::SendExpect { send: send.into(), expect: expect.into() })
}

/// A server that sends these parts one by one, when it has been sent something, and ends.
async fn answering(parts: Vec<Vec<u8>>) -> SocketAddr {
    serve(move |mut stream| {
        let parts = parts.clone();
        async move {
            let mut asked = [0; 4096];
            if stream.read(&mut asked).await.is_err() {
                return;
            }
            for part in parts {
                // The probe may have seen enough and gone.
                if stream.write_all(&part).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        }
    })
    .await
}

/// A server that reads for ever and says nothing.
async fn silent() -> SocketAddr {
    serve(|mut stream| async move {
        let mut asked = [0; 4096];
        while stream.read(&mut asked).await.is_ok_and(|count| count > 0) {}
    })
    .await
}

fn drip(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.iter().map(|byte| vec![*byte]).collect()
}

#[tokio::test]
async fn a_listener_passes_the_tcp_check_and_a_closed_port_fails_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert_eq!(probe(&tcp(), listener.local_addr().unwrap()).await, Ok(()));
    assert_eq!(probe(&tcp(), nobody().await).await, Err(ProbeFailure::Refused));
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    assert_eq!(probe(&tcp(), listener.local_addr().unwrap()).await, Ok(()));
}

#[tokio::test]
async fn the_application_does_not_see_a_tcp_probe() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let prober = Prober::new(&tcp(), None).unwrap();
    // The kernel delays the acknowledgement by 40 ms at least; a host that stops this thread for
    // as long between two calls lets it out, so there are several attempts.
    for _ in 0..20 {
        prober.probe("b", &[address]).await.unwrap();
        let marker = TcpStream::connect(address).await.unwrap();
        let (_, first) = listener.accept().await.unwrap();
        if first == marker.local_addr().unwrap() {
            return;
        }
        listener.accept().await.unwrap();
    }
    panic!("every probe was accepted");
}

#[tokio::test]
async fn who_does_not_answer_fails_after_the_time_out() {
    let (hole, _listener, _streams) = black_hole().await;
    let silent = silent().await;
    pause();
    for (health, address) in [
        (tcp(), hole),
        (hello(None), silent),
        (http(), silent),
        (Health { tls: Some(CheckTls { server_name: None }), ..http() }, silent),
        (asking(Check::Vector), silent),
        (send_expect("ping", "pong"), silent),
    ] {
        let begun = Instant::now();
        let result = probe(&health, address).await;
        assert_eq!(result, Err(ProbeFailure::Timeout), "{health:?}");
        let took = begun.elapsed();
        let late = took.checked_sub(health.timeout).unwrap_or_else(|| panic!("{took:?}"));
        assert!(late < Duration::from_millis(10), "{took:?}");
    }
}

#[tokio::test]
async fn one_address_that_answers_suffices_wherever_it_stands() {
    let (hole, _listener, _streams) = black_hole().await;
    let well = TcpListener::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
    let well = (well.local_addr().unwrap(), well);
    let nobody = nobody().await;
    let prober = Prober::new(&tcp(), None).unwrap();
    assert_eq!(prober.probe("b", &[well.0, nobody]).await, Ok(()));
    assert_eq!(prober.probe("b", &[nobody, well.0]).await, Ok(()));
    pause();
    let begun = Instant::now();
    assert_eq!(prober.probe("b", &[hole, nobody, well.0]).await, Ok(()));
    let took = begun.elapsed();
    assert!(took >= tcp().timeout / 3 && took < tcp().timeout / 2, "a third of it: {took:?}");
    assert_eq!(prober.probe("b", &[hole, nobody]).await, Err(ProbeFailure::Refused));
}

#[tokio::test]
async fn a_probe_comes_from_the_source_address_of_the_family_and_goes_to_the_other_port() {
    let (seen, told) = std::sync::mpsc::channel();
    let address = serve(move |stream| {
        seen.send(stream.peer_addr().unwrap().ip()).unwrap();
        async {}
    })
    .await;
    let source = IpAddr::from([127, 0, 0, 9]);
    let health = Health {
        source_addresses: vec!["::1".parse().unwrap(), source],
        port: Some(address.port()),
        ..send_expect("", "x")
    };
    assert_eq!(probe(&health, (Ipv4Addr::LOCALHOST, 1).into()).await, Err(ProbeFailure::Closed));
    assert_eq!(told.recv().unwrap(), source);
    let health = Health { source_addresses: vec![source], ..tcp() };
    assert_eq!(probe(&health, address).await, Ok(()));
}

#[tokio::test]
async fn a_source_address_that_is_not_here_is_no_failure_of_the_backend() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // RFC 5737: an address of no host.
    let health = Health { source_addresses: vec![[192, 0, 2, 1].into()], ..tcp() };
    let result = probe(&health, listener.local_addr().unwrap()).await;
    assert_eq!(result, Err(ProbeFailure::Ours));
}

#[tokio::test]
async fn a_server_of_either_tls_version_answers_the_hello() {
    for version in [&TLS12, &TLS13] {
        let acceptor = acceptor(&[version], b"any");
        let address = serve(move |stream| {
            let acceptor = acceptor.clone();
            // The probe leaves in the middle of the handshake.
            async move { drop(acceptor.accept(stream).await) }
        })
        .await;
        for name in [None, Some("logs.example.com")] {
            assert_eq!(probe(&hello(name), address).await, Ok(()), "{version:?} {name:?}");
        }
    }
}

#[tokio::test]
async fn an_alert_answers_the_hello_and_nothing_else_does() {
    let alert = [21, 3, 1, 0, 2, 2, 40];
    let refusal = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    for (parts, expected) in [
        (vec![alert.to_vec()], Ok(())),
        (drip(&alert), Ok(())),
        (vec![refusal.to_vec()], Err(ProbeFailure::Malformed)),
        (vec![vec![0; 64]], Err(ProbeFailure::Malformed)),
        (vec![alert[..6].to_vec()], Err(ProbeFailure::Closed)),
        (vec![], Err(ProbeFailure::Closed)),
    ] {
        let address = answering(parts.clone()).await;
        assert_eq!(probe(&hello(None), address).await, expected, "{parts:?}");
    }
    assert_eq!(probe(&hello(None), nobody().await).await, Err(ProbeFailure::Refused));
}

#[tokio::test]
async fn a_reset_is_told_from_an_end() {
    let address = serve(|mut stream| async move {
        stream.read_u8().await.unwrap();
        stream.set_zero_linger().unwrap();
    })
    .await;
    for health in [hello(None), http(), send_expect("ping", "pong"), asking(Check::Vector)] {
        let result = probe(&health, address).await;
        assert_eq!(result, Err(ProbeFailure::Reset), "{health:?}");
    }
}

#[tokio::test]
async fn the_http_status_decides() {
    for (status, expected) in [
        ("200 OK", Ok(())),
        ("204 No Content", Ok(())),
        ("299 Odd", Ok(())),
        ("301 Moved", Err(ProbeFailure::HttpStatus(301))),
        ("503 Service Unavailable", Err(ProbeFailure::HttpStatus(503))),
    ] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 100000\r\n\r\n{{\"ok\":");
        for parts in [vec![answer.clone().into_bytes()], drip(answer.as_bytes())] {
            let address = answering(parts).await;
            assert_eq!(probe(&http(), address).await, expected, "{status}");
        }
    }
}

#[tokio::test]
async fn the_http_request_is_the_one_configured() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heads);
    let address = serve(move |mut stream| {
        let heads = Arc::clone(&heads);
        async move {
            let head = head(&mut stream).await;
            heads.lock().unwrap().push(head);
            stream.write_all(b"HTTP/1.0 404 Gone\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let check = Check::Http {
        method: "HEAD".to_owned(),
        path: "/a?b=c".to_owned(),
        host: Some("logs.example.com".to_owned()),
        status: 404..=404,
    };
    assert_eq!(probe(&asking(check), address).await, Ok(()));
    assert_eq!(probe(&http(), address).await, Err(ProbeFailure::HttpStatus(404)));
    let heads = told.lock().unwrap();
    assert!(
        heads[0].starts_with("HEAD /a?b=c HTTP/1.1\r\nhost: logs.example.com\r\n"),
        "{heads:?}"
    );
    let expected = format!("GET /health HTTP/1.1\r\nhost: {address}\r\n");
    assert!(heads[1].starts_with(&expected), "{heads:?}");
    assert!(heads.iter().all(|head| head.contains("connection: close\r\n")), "{heads:?}");
}

#[tokio::test]
async fn what_is_no_http_answer_fails() {
    let head = b"HTTP/1.1 200 OK\r\n".to_vec();
    let long = |bytes: usize| vec![head.clone(), [b"x: ", &vec![b'y'; bytes][..]].concat()];
    for (parts, expected) in [
        (vec![b"220 mail.example.com ESMTP\r\n\r\n".to_vec()], ProbeFailure::Malformed),
        (vec![vec![0; 1000]], ProbeFailure::Malformed),
        (vec![head.clone()], ProbeFailure::Closed),
        (vec![], ProbeFailure::Closed),
        (long(1 << 20), ProbeFailure::TooLong),
    ] {
        let length = parts.concat().len();
        let address = answering(parts).await;
        assert_eq!(probe(&http(), address).await, Err(expected), "{length} bytes");
    }
}

#[tokio::test]
async fn http_may_be_asked_over_tls_whatever_the_certificate() {
    let acceptor = acceptor(&[&TLS13, &TLS12], b"http/1.1");
    let address = serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let name = stream.get_ref().1.server_name().map(str::to_owned);
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            head(&mut stream).await;
            let status = if name.as_deref() == Some("logs.example.com") { 200 } else { 421 };
            let answer = format!("HTTP/1.1 {status} Answer\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let named = |name: Option<&str>| Health {
        tls: Some(CheckTls { server_name: name.map(str::to_owned) }),
        ..http()
    };
    assert_eq!(probe(&named(Some("logs.example.com")), address).await, Ok(()));
    assert_eq!(probe(&named(None), address).await, Err(ProbeFailure::HttpStatus(421)));
    let plain = answering(vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()]).await;
    assert_eq!(probe(&named(None), plain).await, Err(ProbeFailure::Tls));
}

#[tokio::test]
async fn the_expected_bytes_are_found_wherever_they_are() {
    let noise = |length: usize| vec![b'.'; length];
    for (parts, expect, expected) in [
        (vec![b"+PONG\r\n".to_vec()], "PONG", Ok(())),
        (drip(b"pPONPONG"), "PONG", Ok(())),
        (vec![noise(4094), b"PONG".to_vec()], "PONG", Ok(())),
        (vec![noise(64 * 1024 - 4), b"PONG".to_vec()], "PONG", Ok(())),
        (vec![], "", Ok(())),
        (vec![noise(64 * 1024 - 3), b"PONG".to_vec()], "PONG", Err(ProbeFailure::Unexpected)),
        (vec![b"PON".to_vec()], "PONG", Err(ProbeFailure::Unexpected)),
        (vec![], "PONG", Err(ProbeFailure::Closed)),
    ] {
        let length = parts.concat().len();
        let address = answering(parts).await;
        let result = probe(&send_expect("PING\r\n", expect), address).await;
        assert_eq!(result, expected, "{length} bytes");
    }
}

#[tokio::test]
async fn a_greeting_is_awaited_without_sending() {
    let address = serve(|mut stream| async move {
        stream.write_all(b"220 ready\r\n").await.unwrap();
        let mut sent = Vec::new();
        stream.read_to_end(&mut sent).await.unwrap();
        assert_eq!(sent, b"");
    })
    .await;
    assert_eq!(probe(&send_expect("", "220 "), address).await, Ok(()));
}

#[test]
fn what_no_probe_could_ask_is_refused_beforehand() {
    let http = |method: &str, path: &str, host: &str| {
        asking(Check::Http {
            method: method.to_owned(),
            path: path.to_owned(),
            host: Some(host.to_owned()),
            status: 200..=200,
        })
    };
    let refused = |health: &Health| Prober::new(health, None).err();
    assert_eq!(refused(&http("GET", "/", "a")), None);
    assert_eq!(refused(&http("GE T", "/", "a")), Some(BadCheck::Method));
    assert_eq!(refused(&http("GET", "health", "a")), Some(BadCheck::Path));
    assert_eq!(refused(&http("GET", "/a b", "a")), Some(BadCheck::Path));
    assert_eq!(refused(&http("GET", "/", "a\r\nx: y")), Some(BadCheck::Host));
    assert_eq!(refused(&hello(Some("not a name"))), Some(BadCheck::ServerName));
    let tls = Some(CheckTls { server_name: Some("not a name".to_owned()) });
    assert_eq!(refused(&Health { tls, ..asking(Check::Vector) }), Some(BadCheck::ServerName));
    let tls = asking(Check::Tls { server_name: None });
    assert_eq!(refused(&tls), Some(BadCheck::Settings));
}
