//! Owns the tests of responses that are wrong byte by byte, by accident or on purpose.

use std::collections::BTreeSet;

use ringmain::control::discovery::Failure;

use super::asking::{TIMEOUT, asked, pass, resolver, services, services_of};
use super::dns::{Behaviour, DnsServer, srv};

const NAME: &str = "_x.test.";

fn serving(behaviour: Behaviour) -> DnsServer {
    let server = DnsServer::start();
    server.set(NAME, [srv(0, 0, 6000, "agg-0.test")]);
    server.behave(behaviour);
    server
}

#[tokio::test]
async fn what_is_no_response_is_passed_over_and_the_right_one_awaited() {
    for behaviour in
        [Behaviour::WrongIdFirst, Behaviour::WrongQuestionFirst, Behaviour::WrongSourceFirst]
    {
        let server = serving(behaviour);
        let found = services_of(services(&resolver(&server), NAME).await);
        assert_eq!(&*found[0].target, "agg-0.test.", "{behaviour:?}");
        assert_eq!(server.seen().len(), 1, "{behaviour:?}");
    }
}

#[tokio::test]
async fn without_a_right_response_it_is_silence() {
    for behaviour in [
        Behaviour::WrongId,
        Behaviour::WrongQuestion,
        Behaviour::LoopInQuestion,
        Behaviour::SaysBriefly(super::dns::ResponseCode::NXDomain),
    ] {
        let server = serving(behaviour);
        let resolver = resolver(&server);
        let passing = async {
            for queries in [1, 2] {
                asked(&server, queries).await;
                pass(TIMEOUT).await;
            }
        };
        let (outcome, ()) = tokio::join!(services(&resolver, NAME), passing);
        assert_eq!(outcome, Err(Failure::Timeout), "{behaviour:?}");
    }
}

#[tokio::test]
async fn a_response_that_cannot_be_read_is_a_failure() {
    for behaviour in [Behaviour::Loop, Behaviour::Cut, Behaviour::Noise] {
        let server = serving(behaviour);
        let outcome = services(&resolver(&server), NAME).await;
        assert_eq!(outcome, Err(Failure::Failed), "{behaviour:?}");
        assert_eq!(server.seen().len(), 1, "{behaviour:?}");
    }
}

#[tokio::test]
async fn a_flood_of_guesses_ends_the_query_before_one_is_right() {
    let server = serving(Behaviour::Flood);
    assert_eq!(services(&resolver(&server), NAME).await, Err(Failure::Failed));
}

#[tokio::test]
async fn each_query_comes_from_a_port_and_with_an_id_of_its_own() {
    let server = serving(Behaviour::Honest);
    let resolver = resolver(&server);
    for _ in 0..32 {
        services(&resolver, NAME).await.unwrap();
    }
    let seen = server.seen();
    let ports: BTreeSet<u16> = seen.iter().map(|seen| seen.source.port()).collect();
    let ids: BTreeSet<u16> = seen.iter().map(|seen| seen.id).collect();
    assert!(ports.len() > 24 && ids.len() > 24, "{ports:?} {ids:?}");
}
