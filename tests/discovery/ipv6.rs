//! Owns the tests of nameservers that are reached over IPv6.

use ringmain::control::discovery::Failure;
use ringmain::control::resolver::Resolver;

use super::asking::{addresses, addresses_of, config, configured, resolver, services, services_of};
use super::dns::{Behaviour, DnsServer, Kind, ResponseCode, a, aaaa, srv};

const NAME: &str = "_x.test.";

fn serving() -> DnsServer {
    let server = DnsServer::start_on_ipv6();
    server.set(NAME, [srv(0, 0, 6000, "agg.test")]);
    server.set("agg.test", [aaaa("fd00::1"), a("10.0.0.1")]);
    server
}

fn both(first: &DnsServer, second: &DnsServer) -> Resolver {
    configured(&config(&[first.address(), second.address()]))
}

#[tokio::test]
async fn it_answers_over_udp_and_what_does_not_fit_over_tcp() {
    let server = serving();
    assert!(server.address().is_ipv6());
    let resolver = resolver(&server);
    let found = addresses_of(addresses(&resolver, "agg.test.").await);
    assert_eq!(found, ["10.0.0.1", "fd00::1"]);
    server.behave(Behaviour::Truncated);
    let found = services_of(services(&resolver, NAME).await);
    assert_eq!(found[0].addresses, super::asking::ips(&["10.0.0.1", "fd00::1"]));
    let seen = server.seen();
    assert!(seen.iter().all(|seen| seen.source.is_ipv6()), "{seen:?}");
    assert_eq!(seen.iter().filter(|seen| seen.tcp).count(), 1);
}

#[tokio::test]
async fn what_comes_from_elsewhere_is_passed_over() {
    let server = serving();
    for behaviour in [Behaviour::WrongSourceFirst, Behaviour::WrongIdFirst] {
        server.behave(behaviour);
        let found = services_of(services(&resolver(&server), NAME).await);
        assert_eq!(&*found[0].target, "agg.test.", "{behaviour:?}");
    }
}

#[tokio::test]
async fn one_that_is_gone_or_refuses_gives_way_to_one_of_the_other_family() {
    let gone = serving().address();
    let second = DnsServer::start();
    second.set(NAME, [srv(0, 0, 7000, "agg.test")]);
    let resolver = configured(&config(&[gone, second.address()]));
    assert_eq!(services_of(services(&resolver, NAME).await)[0].port, 7000);
    let first = serving();
    first.behave(Behaviour::Says(ResponseCode::Refused));
    let resolver = both(&second, &first);
    second.behave(Behaviour::Says(ResponseCode::ServFail));
    assert_eq!(services(&resolver, NAME).await, Err(Failure::Failed));
    first.behave(Behaviour::Honest);
    assert_eq!(services_of(services(&resolver, NAME).await)[0].port, 6000);
    assert_eq!(first.queries(NAME, Kind::SRV), 2);
}
