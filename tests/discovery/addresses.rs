//! Owns the tests of addresses: both families, aliases, and how long an answer is good for.

use std::time::Duration;

use ringmain::control::discovery::Failure;

use super::asking::{addresses, addresses_of, answer, resolver};
use super::dns::{Behaviour, DnsServer, Kind, ResponseCode, a, aaaa, cname};

#[tokio::test]
async fn both_families_are_asked_for_and_answered() {
    let server = DnsServer::start();
    server.set("agg.test", [aaaa("fd00::2"), a("10.0.0.2"), a("10.0.0.1"), aaaa("fd00::1")]);
    let found = addresses_of(addresses(&resolver(&server), "agg.test.").await);
    assert_eq!(found, ["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"]);
    assert_eq!(server.queries("agg.test", Kind::A), 1);
    assert_eq!(server.queries("agg.test", Kind::AAAA), 1);
}

#[tokio::test]
async fn one_family_is_enough() {
    let server = DnsServer::start();
    server.set("four.test", [a("10.0.0.1")]);
    server.set("six.test", [aaaa("fd00::1")]);
    let resolver = resolver(&server);
    assert_eq!(addresses_of(addresses(&resolver, "four.test.").await), ["10.0.0.1"]);
    assert_eq!(addresses_of(addresses(&resolver, "six.test.").await), ["fd00::1"]);
}

#[tokio::test]
async fn a_name_that_is_said_not_to_exist_for_one_family_exists() {
    let server = DnsServer::start();
    server.set("agg.test", [a("10.0.0.1")]);
    server.behave_for("agg.test", Kind::AAAA, Behaviour::Says(ResponseCode::NXDomain));
    assert_eq!(addresses_of(addresses(&resolver(&server), "agg.test.").await), ["10.0.0.1"]);
}

#[tokio::test]
async fn the_failure_of_one_family_is_not_taken_for_its_absence() {
    let server = DnsServer::start();
    server.set("agg.test", [a("10.0.0.1"), aaaa("fd00::1")]);
    let resolver = resolver(&server);
    server.behave_for("agg.test", Kind::AAAA, Behaviour::Says(ResponseCode::ServFail));
    assert_eq!(addresses(&resolver, "agg.test.").await, Err(Failure::Failed));
    server.behave_for("agg.test", Kind::AAAA, Behaviour::Honest);
    server.behave_for("agg.test", Kind::A, Behaviour::Says(ResponseCode::Refused));
    assert_eq!(addresses(&resolver, "agg.test.").await, Err(Failure::Refused));
}

#[tokio::test]
async fn an_answer_is_good_for_its_least_ttl_aliases_included() {
    let server = DnsServer::start();
    server.set("agg.test", [cname("one.test").ttl(50)]);
    server.set("one.test", [cname("two.test").ttl(20)]);
    server.set("two.test", [a("10.0.0.1").ttl(60), aaaa("fd00::1").ttl(40)]);
    let resolver = resolver(&server);
    let found = answer(addresses(&resolver, "agg.test.").await);
    assert_eq!(found.valid_for, Duration::from_secs(20));
    server.set("two.test", [a("10.0.0.1").ttl(60), aaaa("fd00::1").ttl(4)]);
    let found = answer(addresses(&resolver, "agg.test.").await);
    assert_eq!(found.valid_for, Duration::from_secs(4));
}

#[tokio::test]
async fn a_ttl_of_0_is_passed_on_and_nothing_is_remembered() {
    let server = DnsServer::start();
    let resolver = resolver(&server);
    for (index, ttl) in [0, 0, 300, 300].into_iter().enumerate() {
        let address = format!("10.0.0.{index}");
        server.set("agg.test", [a(&address).ttl(ttl)]);
        let found = answer(addresses(&resolver, "agg.test.").await);
        assert_eq!(found.valid_for, Duration::from_secs(ttl.into()));
        assert_eq!(addresses_of(Ok(found)), [address]);
    }
    assert_eq!(server.queries("agg.test", Kind::A), 4);
}

#[tokio::test]
async fn aliases_that_a_nameserver_does_not_follow_are_followed() {
    let server = DnsServer::start();
    server.recurse(false);
    server.set("agg.test", [cname("one.test").ttl(3)]);
    server.set("one.test", [cname("two.test")]);
    server.set("two.test", [a("10.0.0.1")]);
    let found = answer(addresses(&resolver(&server), "agg.test.").await);
    assert_eq!(found.valid_for, Duration::from_secs(3));
    assert_eq!(addresses_of(Ok(found)), ["10.0.0.1"]);
    assert_eq!(server.queries("two.test", Kind::A), 1);
}

#[tokio::test]
async fn an_alias_of_nothing_is_nothing() {
    let server = DnsServer::start();
    server.set("agg.test", [cname("gone.test")]);
    let resolver = resolver(&server);
    assert_eq!(addresses(&resolver, "agg.test.").await, Err(Failure::NxDomain));
    server.set("gone.test", []);
    assert_eq!(addresses(&resolver, "agg.test.").await, Err(Failure::Empty));
}

#[tokio::test]
async fn a_circle_of_aliases_is_a_failure_after_few_queries() {
    for recursive in [true, false] {
        let server = DnsServer::start();
        server.recurse(recursive);
        server.set("agg.test", [cname("one.test")]);
        server.set("one.test", [cname("agg.test")]);
        assert_eq!(addresses(&resolver(&server), "agg.test.").await, Err(Failure::Failed));
        assert!(server.seen().len() <= 20, "{} queries", server.seen().len());
    }
}

#[tokio::test]
async fn what_changes_from_query_to_query_is_seen() {
    let server = DnsServer::start();
    server.alternate("agg.test", [vec![a("10.0.0.1")], vec![a("10.0.0.2")]]);
    let resolver = resolver(&server);
    for address in ["10.0.0.1", "10.0.0.2", "10.0.0.1"] {
        assert_eq!(addresses_of(addresses(&resolver, "agg.test.").await), [address]);
    }
}
