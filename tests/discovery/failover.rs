//! Owns the tests of several nameservers: who is asked when, and whose word counts.

use ringmain::config::Resolver as Settings;
use ringmain::control::discovery::Failure;
use ringmain::control::resolver::Resolver;

use super::asking::services;
use super::asking::{TIMEOUT, addresses, addresses_of, asked, config, configured, pass, resolver};
use super::dns::{Behaviour, DnsServer, Kind, ResponseCode, a, aaaa, srv};

const NAME: &str = "_x.test.";

fn serving() -> DnsServer {
    let server = DnsServer::start();
    server.set(NAME, [srv(0, 0, 6000, "agg.test")]);
    server
}

fn both(first: &DnsServer, second: &DnsServer) -> Resolver {
    configured(&config(&[first.address(), second.address()]))
}

#[tokio::test]
async fn the_second_is_not_asked_while_the_first_answers() {
    let (first, second) = (serving(), serving());
    let resolver = both(&first, &second);
    for _ in 0..5 {
        services(&resolver, NAME).await.unwrap();
    }
    assert_eq!((first.seen().len(), second.seen().len()), (5, 0));
}

#[tokio::test]
async fn a_word_of_the_first_counts_also_if_it_is_that_there_is_nothing() {
    let (first, second) = (serving(), serving());
    let resolver = both(&first, &second);
    first.set(NAME, []);
    assert_eq!(services(&resolver, NAME).await, Err(Failure::Empty));
    first.remove(NAME);
    assert_eq!(services(&resolver, NAME).await, Err(Failure::NxDomain));
    assert_eq!(second.seen(), []);
}

#[tokio::test]
async fn a_word_of_the_second_counts_when_the_first_fails() {
    for behaviour in [
        Behaviour::Says(ResponseCode::ServFail),
        Behaviour::Says(ResponseCode::Refused),
        Behaviour::Says(ResponseCode::NotImp),
        Behaviour::Lame,
        Behaviour::Noise,
        Behaviour::Closes,
    ] {
        let (first, second) = (serving(), serving());
        first.behave(behaviour);
        let resolver = both(&first, &second);
        assert!(services(&resolver, NAME).await.is_ok(), "{behaviour:?}");
        second.remove(NAME);
        let outcome = services(&resolver, NAME).await;
        assert_eq!(outcome, Err(Failure::NxDomain), "{behaviour:?}");
        assert_eq!(second.seen().len(), 2, "{behaviour:?}");
    }
}

#[tokio::test]
async fn of_several_failures_the_one_counts_that_leaves_most_open() {
    let refused = Some(Behaviour::Says(ResponseCode::Refused));
    let failed = Some(Behaviour::Says(ResponseCode::ServFail));
    for (behaviours, failure) in [
        ([refused, refused], Failure::Refused),
        ([refused, failed], Failure::Failed),
        ([failed, refused], Failure::Failed),
        // A closed port is known at once, where silence would have to be waited for.
        ([refused, None], Failure::Timeout),
        ([None, failed], Failure::Timeout),
        ([None, None], Failure::Timeout),
    ] {
        let servers = [serving(), serving()];
        let resolver = both(&servers[0], &servers[1]);
        let mut open = Vec::new();
        for (server, behaviour) in servers.into_iter().zip(behaviours) {
            if let Some(behaviour) = behaviour {
                server.behave(behaviour);
                open.push(server);
            }
        }
        assert_eq!(services(&resolver, NAME).await, Err(failure), "{behaviours:?}");
    }
}

#[tokio::test]
async fn a_silent_nameserver_is_asked_last_and_first_again_when_it_is_back() {
    let (first, second) = (serving(), serving());
    let address = first.address();
    let resolver = both(&first, &second);
    drop(first);
    for _ in 0..3 {
        services(&resolver, NAME).await.unwrap();
    }
    let first = DnsServer::start_at(address);
    first.set(NAME, [srv(0, 0, 6000, "agg.test")]);
    services(&resolver, NAME).await.unwrap();
    assert_eq!((first.seen().len(), second.seen().len()), (0, 4), "it rests");
    pass(TIMEOUT * 5).await;
    for _ in 0..3 {
        services(&resolver, NAME).await.unwrap();
    }
    assert_eq!((first.seen().len(), second.seen().len()), (3, 4));
}

#[tokio::test]
async fn one_question_alone_finds_out_that_a_nameserver_is_still_away() {
    let (first, second) = (serving(), serving());
    let resolver = both(&first, &second);
    first.behave(Behaviour::Silent);
    let outcome = tokio::join!(services(&resolver, NAME), silence_passes(&first, 1));
    outcome.0.unwrap();
    pass(TIMEOUT * 5).await;
    // The first of them is sent to it and waits; the others do not.
    let waiting = services(&resolver, NAME);
    let others = async {
        asked(&first, 2).await;
        for _ in 0..10 {
            services(&resolver, NAME).await.unwrap();
        }
        assert_eq!((first.seen().len(), second.seen().len()), (2, 11));
        pass(TIMEOUT).await;
    };
    let (outcome, ()) = tokio::join!(waiting, others);
    outcome.unwrap();
    assert_eq!((first.seen().len(), second.seen().len()), (2, 12));
}

/// Lets the silence of a nameserver be over once it has been asked so often.
async fn silence_passes(server: &DnsServer, queries: usize) {
    asked(server, queries).await;
    pass(TIMEOUT).await;
}

#[tokio::test]
async fn a_lost_query_is_sent_again_after_all_others_were_asked() {
    let (first, second) = (serving(), serving());
    first.behave(Behaviour::Silent);
    second.behave(Behaviour::Says(ResponseCode::ServFail));
    let resolver = both(&first, &second);
    let back = async {
        silence_passes(&first, 1).await;
        first.behave(Behaviour::Honest);
    };
    let (outcome, ()) = tokio::join!(services(&resolver, NAME), back);
    outcome.unwrap();
    assert_eq!((first.seen().len(), second.seen().len()), (2, 1));
}

#[tokio::test]
async fn no_more_queries_are_on_their_way_than_configured() {
    let server = DnsServer::start();
    server.behave(Behaviour::Silent);
    let few = Settings { concurrency: 3, tries: 1, ..config(&[server.address()]) };
    let resolver = configured(&few);
    server.behave_for("last.test", Kind::SRV, Behaviour::Says(ResponseCode::Refused));
    let last = configured(&config(&[server.address()]));
    let names: Vec<String> = (0..7).map(|index| format!("agg-{index}.test.")).collect();
    let put = |index: usize| services(&resolver, &names[index]);
    let pace = async {
        for (round, most) in [3, 6, 7].into_iter().enumerate() {
            asked(&server, most + round).await;
            // What was sent before this is counted before this, whoever sent it.
            assert_eq!(services(&last, "last.test.").await, Err(Failure::Refused));
            assert_eq!(server.seen().len(), most + round + 1);
            pass(TIMEOUT).await;
        }
    };
    let all = async { tokio::join!(put(0), put(1), put(2), put(3), put(4), put(5), put(6)) };
    let (outcomes, ()) = tokio::join!(all, pace);
    assert_eq!(outcomes.6, Err(Failure::Timeout));
}

#[tokio::test]
async fn the_families_of_a_name_may_come_from_different_nameservers() {
    let (first, second) = (DnsServer::start(), DnsServer::start());
    first.set("agg.test", [a("10.0.0.1")]);
    second.set("agg.test", [aaaa("fd00::1")]);
    first.behave_for("agg.test", Kind::AAAA, Behaviour::Says(ResponseCode::ServFail));
    let found = addresses(&both(&first, &second), "agg.test.").await;
    assert_eq!(addresses_of(found), ["10.0.0.1", "fd00::1"]);
    assert!(addresses(&resolver(&first), "agg.test.").await.is_err());
}
