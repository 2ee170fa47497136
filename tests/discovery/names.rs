//! Owns the tests of which names are asked for: search domains, dots, and resolv.conf.

use std::io::Write;

use ringmain::control::discovery::Failure;
use ringmain::control::resolver::Resolver;

use super::asking::{addresses, addresses_of, config, configured, services};
use super::dns::{Behaviour, DnsServer, Kind, ResponseCode, a, srv};

fn searching(server: &DnsServer, ndots: usize) -> Resolver {
    let mut config = config(&[server.address()]);
    config.search = Some(vec!["one.test".to_owned(), "two.test".to_owned()]);
    config.ndots = Some(ndots);
    configured(&config)
}

fn asked_for(server: &DnsServer, kind: Kind) -> Vec<String> {
    let of_kind = |seen: &super::dns::Seen| (seen.kind == kind).then(|| seen.name.to_ascii());
    server.seen().iter().filter_map(of_kind).collect()
}

#[tokio::test]
async fn the_domains_are_searched_until_one_has_the_name() {
    let server = DnsServer::start();
    server.set("agg.one.test", []);
    server.set("agg.two.test", [a("10.0.0.2")]);
    server.set("agg", [a("10.0.0.3")]);
    let found = addresses_of(addresses(&searching(&server, 1), "agg").await);
    assert_eq!(found, ["10.0.0.2"]);
    assert_eq!(asked_for(&server, Kind::A), ["agg.one.test.", "agg.two.test."]);
}

#[tokio::test]
async fn a_name_with_enough_dots_is_asked_for_as_it_is_first() {
    let server = DnsServer::start();
    server.set("_x._tcp", [srv(0, 0, 1, "agg.test")]);
    services(&searching(&server, 1), "_x._tcp").await.unwrap();
    assert_eq!(asked_for(&server, Kind::SRV), ["_x._tcp."]);
}

#[tokio::test]
async fn a_trailing_dot_stops_the_search() {
    let server = DnsServer::start();
    server.set("agg.one.test", [a("10.0.0.1")]);
    assert_eq!(addresses(&searching(&server, 5), "agg.").await, Err(Failure::NxDomain));
    assert_eq!(asked_for(&server, Kind::A), ["agg."]);
}

#[tokio::test]
async fn a_name_that_exists_without_records_somewhere_is_empty() {
    let server = DnsServer::start();
    let resolver = searching(&server, 1);
    assert_eq!(addresses(&resolver, "agg").await, Err(Failure::NxDomain));
    server.set("agg.one.test", []);
    assert_eq!(addresses(&resolver, "agg").await, Err(Failure::Empty));
}

#[tokio::test]
async fn a_failure_ends_the_search() {
    let server = DnsServer::start();
    server.set("agg.two.test", [a("10.0.0.2")]);
    server.behave_for("agg.one.test", Kind::A, Behaviour::Says(ResponseCode::ServFail));
    assert_eq!(addresses(&searching(&server, 1), "agg").await, Err(Failure::Failed));
    assert_eq!(asked_for(&server, Kind::A), ["agg.one.test."]);
}

#[tokio::test]
async fn search_and_dots_are_those_of_resolv_conf_unless_configured() {
    let server = DnsServer::start();
    server.set("agg.x.one.test", [a("10.0.0.1")]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"nameserver 192.0.2.1\nsearch one.test\noptions ndots:2\n").unwrap();
    let mut config = config(&[server.address()]);
    (config.search, config.ndots) = (None, None);
    let resolver = Resolver::new(&config, file.path()).unwrap();
    assert_eq!(addresses_of(addresses(&resolver, "agg.x").await), ["10.0.0.1"]);
    assert_eq!(asked_for(&server, Kind::A), ["agg.x.one.test."]);
}
