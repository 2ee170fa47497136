//! Owns the tests of nameservers that do not know EDNS (RFC 6891), or take it for an error.

use std::time::Duration;

use ringmain::control::discovery::Failure;

use super::asking::{addresses, addresses_of, pass, resolver, services, services_of};
use super::dns::{Behaviour, DnsServer, Kind, ResponseCode, a, aaaa, srv};

const NAME: &str = "_x.test.";

fn serving(behaviour: Behaviour) -> DnsServer {
    let server = DnsServer::start();
    server.set(NAME, [srv(0, 0, 6000, "agg.test")]);
    server.set("agg.test", [a("10.0.0.1"), aaaa("fd00::1")]);
    server.behave(behaviour);
    server
}

/// Whether each query so far had EDNS.
fn with_edns(server: &DnsServer) -> Vec<bool> {
    server.seen().iter().map(|seen| seen.payload.is_some()).collect()
}

#[tokio::test]
async fn who_refuses_edns_is_asked_without_it_and_that_is_remembered() {
    for behaviour in [
        Behaviour::RefusesEdns(ResponseCode::FormErr),
        Behaviour::RefusesEdns(ResponseCode::NotImp),
        Behaviour::RefusesEdnsBriefly(ResponseCode::FormErr),
        Behaviour::RefusesEdnsBriefly(ResponseCode::NotImp),
    ] {
        let server = serving(behaviour);
        let resolver = resolver(&server);
        let found = services_of(services(&resolver, NAME).await);
        assert_eq!(&*found[0].target, "agg.test.", "{behaviour:?}");
        let found = addresses_of(addresses(&resolver, "agg.test.").await);
        assert_eq!(found, ["10.0.0.1", "fd00::1"], "{behaviour:?}");
        assert_eq!(with_edns(&server), [true, false, false, false], "{behaviour:?}");
    }
}

#[tokio::test]
async fn it_is_tried_again_after_half_an_hour() {
    let server = serving(Behaviour::RefusesEdns(ResponseCode::FormErr));
    let resolver = resolver(&server);
    services(&resolver, NAME).await.unwrap();
    pass(Duration::from_secs(29 * 60)).await;
    services(&resolver, NAME).await.unwrap();
    assert_eq!(with_edns(&server), [true, false, false]);
    // It has learnt it meanwhile.
    server.behave(Behaviour::Honest);
    pass(Duration::from_secs(2 * 60)).await;
    services(&resolver, NAME).await.unwrap();
    services(&resolver, NAME).await.unwrap();
    assert_eq!(with_edns(&server), [true, false, false, true, true]);
}

#[tokio::test]
async fn what_does_not_fit_into_512_bytes_comes_over_tcp_then() {
    let server = serving(Behaviour::RefusesEdns(ResponseCode::NotImp));
    let targets = (0..20).map(|index| srv(0, 0, 6000, &format!("agg-{index}.a.long.name.test")));
    server.set(NAME, targets);
    let found = services_of(services(&resolver(&server), NAME).await);
    assert_eq!(found.len(), 20);
    let tcp: Vec<bool> = server.seen().iter().map(|seen| seen.tcp).collect();
    assert_eq!(tcp, [false, false, true]);
    assert_eq!(with_edns(&server), [true, false, false]);
}

#[tokio::test]
async fn who_says_so_with_edns_knows_it_and_is_not_asked_again() {
    for code in [ResponseCode::FormErr, ResponseCode::NotImp] {
        let server = serving(Behaviour::Says(code));
        let resolver = resolver(&server);
        for _ in 0..2 {
            assert_eq!(services(&resolver, NAME).await, Err(Failure::Failed));
        }
        assert_eq!(with_edns(&server), [true, true], "{code}");
    }
}

#[tokio::test]
async fn who_understands_nothing_is_not_remembered_for_it() {
    let server = serving(Behaviour::SaysBriefly(ResponseCode::FormErr));
    let resolver = resolver(&server);
    for _ in 0..2 {
        assert_eq!(services(&resolver, NAME).await, Err(Failure::Failed));
    }
    assert_eq!(with_edns(&server), [true, false, true, false]);
    assert_eq!(server.queries(NAME, Kind::SRV), 4);
}
