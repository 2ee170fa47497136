//! Owns the tests of what is said when there is no good answer: each case by its name.

use ringmain::control::discovery::Failure;
use tokio::time::Instant;

use super::asking::{TIMEOUT, addresses, addresses_of, config, configured, resolver, services};
use super::dns::{Behaviour, DnsServer, Kind, ResponseCode, a, srv};

#[tokio::test]
async fn a_name_that_does_not_exist() {
    let server = DnsServer::start();
    let resolver = resolver(&server);
    assert_eq!(addresses(&resolver, "agg.test.").await, Err(Failure::NxDomain));
    assert_eq!(services(&resolver, "agg.test.").await, Err(Failure::NxDomain));
    server.set("agg.test", [a("10.0.0.1")]);
    assert_eq!(addresses_of(addresses(&resolver, "agg.test.").await), ["10.0.0.1"]);
    server.remove("agg.test");
    assert_eq!(addresses(&resolver, "agg.test.").await, Err(Failure::NxDomain));
}

#[tokio::test]
async fn a_name_without_records_of_the_kind() {
    let server = DnsServer::start();
    server.set("agg.test", [srv(0, 0, 6000, "x.test")]);
    server.set("x.y.test", [a("10.0.0.1")]);
    let resolver = resolver(&server);
    assert_eq!(addresses(&resolver, "agg.test.").await, Err(Failure::Empty));
    assert_eq!(services(&resolver, "x.y.test.").await, Err(Failure::Empty));
    assert_eq!(addresses(&resolver, "y.test.").await, Err(Failure::Empty), "there is x.y.test");
}

#[tokio::test]
async fn a_nameserver_that_refuses_or_fails_is_asked_once() {
    for (behaviour, failure) in [
        (Behaviour::Says(ResponseCode::Refused), Failure::Refused),
        (Behaviour::SaysBriefly(ResponseCode::Refused), Failure::Refused),
        (Behaviour::Lame, Failure::Refused),
        (Behaviour::Says(ResponseCode::ServFail), Failure::Failed),
        (Behaviour::Says(ResponseCode::FormErr), Failure::Failed),
        (Behaviour::Says(ResponseCode::NotImp), Failure::Failed),
        (Behaviour::Says(ResponseCode::BADVERS), Failure::Failed),
    ] {
        let server = DnsServer::start();
        server.set("agg.test", [srv(0, 0, 6000, "x.test")]);
        server.behave(behaviour);
        assert_eq!(services(&resolver(&server), "agg.test.").await, Err(failure), "{behaviour:?}");
        assert_eq!(server.queries("agg.test", Kind::SRV), 1, "{behaviour:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_waited_for_as_often_as_configured() {
    let server = DnsServer::start();
    server.behave(Behaviour::Silent);
    for tries in [1, 2, 5] {
        let mut config = config(&[server.address()]);
        config.tries = tries;
        let began = Instant::now();
        let outcome = services(&configured(&config), &format!("agg-{tries}.test.")).await;
        assert_eq!(outcome, Err(Failure::Timeout));
        assert_eq!(began.elapsed(), TIMEOUT * u32::try_from(tries).unwrap());
        server.await_queries(&format!("agg-{tries}.test"), Kind::SRV, tries);
        assert_eq!(server.queries(&format!("agg-{tries}.test"), Kind::SRV), tries);
    }
}

#[tokio::test(start_paused = true)]
async fn both_families_are_waited_for_at_the_same_time() {
    let server = DnsServer::start();
    server.behave(Behaviour::Silent);
    let began = Instant::now();
    assert_eq!(addresses(&resolver(&server), "agg.test.").await, Err(Failure::Timeout));
    assert_eq!(began.elapsed(), TIMEOUT * 2);
}

#[tokio::test]
async fn a_closed_port_is_reported_without_waiting() {
    let server = DnsServer::start();
    let resolver = resolver(&server);
    let address = server.address();
    drop(server);
    let outcome = tokio::time::timeout(TIMEOUT, addresses(&resolver, "agg.test.")).await;
    assert_eq!(outcome.unwrap(), Err(Failure::Timeout));
    let server = DnsServer::start_at(address);
    server.set("agg.test", [a("10.0.0.1")]);
    assert_eq!(addresses_of(addresses(&resolver, "agg.test.").await), ["10.0.0.1"]);
}

#[tokio::test]
async fn what_is_no_name_fails_and_nobody_is_asked() {
    let server = DnsServer::start();
    let resolver = resolver(&server);
    for name in ["", "..", "a..b", "a b.test", &"x".repeat(300)] {
        assert_eq!(addresses(&resolver, name).await, Err(Failure::Failed), "{name:?}");
    }
    assert_eq!(server.seen(), []);
}
