//! Owns the tests of answers that do not fit in a datagram.

use ringmain::control::discovery::Failure;

use super::asking::{TIMEOUT, asked, config, configured, pass, resolver, services, services_of};
use super::dns::{Behaviour, DnsServer, srv};

const NAME: &str = "_x.test.";

fn serving(server: DnsServer, behaviour: Behaviour) -> DnsServer {
    server.set(NAME, [srv(0, 0, 6000, "agg-0.test"), srv(0, 0, 6000, "agg-1.test")]);
    server.behave(behaviour);
    server
}

#[tokio::test]
async fn the_whole_answer_is_asked_for_over_tcp() {
    for behaviour in [Behaviour::Truncated, Behaviour::Pieces] {
        let server = serving(DnsServer::start(), behaviour);
        let found = services_of(services(&resolver(&server), NAME).await);
        assert_eq!(found.len(), 2, "{behaviour:?}");
        let transports: Vec<bool> = server.seen().iter().map(|seen| seen.tcp).collect();
        assert_eq!(transports, [false, true], "{behaviour:?}");
    }
}

#[tokio::test]
async fn a_part_of_an_answer_is_not_taken_for_it_when_tcp_is_refused() {
    let server = serving(DnsServer::without_tcp(), Behaviour::Truncated);
    let outcome = tokio::time::timeout(TIMEOUT, services(&resolver(&server), NAME)).await;
    assert_eq!(outcome.unwrap(), Err(Failure::Timeout));
}

#[tokio::test]
async fn a_stream_that_is_cut_short_is_a_failure() {
    let server = serving(DnsServer::start(), Behaviour::Closes);
    assert_eq!(services(&resolver(&server), NAME).await, Err(Failure::Failed));
    server.behave(Behaviour::TruncatedForEver);
    assert_eq!(services(&resolver(&server), NAME).await, Err(Failure::Failed));
}

#[tokio::test]
async fn a_stream_that_stalls_is_given_up_in_time() {
    let server = serving(DnsServer::start(), Behaviour::Stalls);
    let mut config = config(&[server.address()]);
    config.tries = 1;
    let resolver = configured(&config);
    let passing = async {
        asked(&server, 2).await;
        pass(TIMEOUT).await;
    };
    let (outcome, ()) = tokio::join!(services(&resolver, NAME), passing);
    assert_eq!(outcome, Err(Failure::Timeout));
}

#[tokio::test]
async fn as_much_is_asked_for_in_a_datagram_as_configured() {
    for payload in [512, 1232, 4096] {
        let server = serving(DnsServer::start(), Behaviour::Honest);
        server.set(NAME, (0..20).map(|index| srv(0, 0, index, &format!("agg-{index}.test"))));
        let mut config = config(&[server.address()]);
        config.edns_payload = payload;
        assert_eq!(services_of(services(&configured(&config), NAME).await).len(), 20);
        assert!(server.seen().iter().all(|seen| seen.payload == Some(payload)));
        let over_tcp = server.seen().iter().any(|seen| seen.tcp);
        assert_eq!(over_tcp, payload == 512, "{payload}");
    }
}
