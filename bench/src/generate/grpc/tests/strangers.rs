//! Owns the checks of what agents make of backends that are not ours, and of what such backends see
//! of agents.

use std::rc::Rc;
use std::time::Duration;

use h2::Reason;
use http::{HeaderMap, HeaderValue, Response};

use super::super::super::agents::Fault;
use super::super::super::backends::{self, Behaviour};
use super::super::super::cause::Cause;
use super::super::super::course::Arrivals;
use super::super::super::order::{Order, Pace};
use super::super::super::protocol::Protocol;
use super::super::super::wire::{Mark, tag};
use super::super::{Service, batch};
use super::scene::{Outcome, open, order, play, play_for, play_with};
use super::stranger::{Called, Reaction, Stranger};

const NOTHING: [u8; 5] = batch::NOTHING;

fn head(headers: &[(&'static str, &'static str)]) -> Response<()> {
    let mut head = Response::new(());
    let pairs = headers.iter().map(|(name, value)| (*name, HeaderValue::from_static(value)));
    pairs.for_each(|(name, value)| drop(head.headers_mut().insert(name, value)));
    head
}

fn trailers(status: &'static str) -> Option<HeaderMap> {
    Some(HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(status))]))
}

const GRPC: (&str, &str) = ("content-type", "application/grpc+proto");

fn good() -> Reaction {
    Reaction::Answer(head(&[GRPC]), Some(NOTHING.to_vec()), trailers("0"))
}

/// Ten calls a second of one agent, for two seconds.
fn calls(protocol: Protocol) -> Order {
    order(protocol, 1, open(10.0, Arrivals::Constant), 2)
}

fn answered_by(react: impl Fn(&Called) -> Reaction + 'static) -> Outcome {
    let stranger = Rc::new(Stranger::new(react));
    play_with(&calls(Protocol::OtlpGrpc), &stranger).unwrap()
}

/// What is counted of calls that are all answered so: errors, lost, corrupted.
fn counted(react: impl Fn(&Called) -> Reaction + 'static) -> (String, u64, u64) {
    let counts = answered_by(react).tally.counts();
    assert_eq!(counts.sent, 20);
    let errors = counts.errors.iter().map(|(kind, count)| format!("{kind}: {count}"));
    (errors.collect::<Vec<_>>().join(", "), counts.lost, counts.corrupted)
}

#[test]
fn answers_are_good_or_counted_by_what_is_wrong_with_them() {
    use Reaction::Answer;
    let with = |error: &str, lost, corrupted| (error.to_owned(), lost, corrupted);
    assert_eq!(counted(|_| good()), with("", 0, 0));
    let early = || Answer(head(&[GRPC, ("grpc-status", "14")]), None, None);
    assert_eq!(counted(move |_| early()), with("grpc_unavailable: 20", 0, 0));
    let late = || Answer(head(&[GRPC]), Some(NOTHING.to_vec()), trailers("13"));
    assert_eq!(counted(move |_| late()), with("grpc_internal: 20", 0, 0));
    // Three records were not taken.
    let partial = || vec![0, 0, 0, 0, 4, 0x0a, 2, 0x08, 3];
    let answer = move || Answer(head(&[GRPC]), Some(partial()), trailers("0"));
    assert_eq!(counted(move |_| answer()), with("rejected: 20", 0, 0));
    for message in [None, Some(vec![0, 0, 0, 0, 1, 0x0a]), Some(vec![0, 0, 0, 0, 9])] {
        let answer = move || Answer(head(&[GRPC]), message.clone(), trailers("0"));
        assert_eq!(counted(move |_| answer()), with("malformed: 20", 0, 0));
    }
    let mark = |mark: &Mark| {
        let (mut text, mut head) = (Vec::new(), head(&[GRPC]));
        tag::append(mark, 0, &mut text);
        head.headers_mut().insert("x-mark", HeaderValue::from_bytes(&text).unwrap());
        Answer(head, Some(NOTHING.to_vec()), trailers("0"))
    };
    let heard = |called: &Called| {
        batch::decode(Service::OtlpLogs, called.body.as_ref().unwrap()).unwrap().last()
    };
    assert_eq!(counted(move |called| mark(&heard(called))), with("", 0, 0));
    // Of another call than the one it is the answer to.
    let other = move |called: &Called| Mark { sequence: 9_999, ..heard(called) };
    assert_eq!(counted(move |called| mark(&other(called))), with("", 0, 20));
}

#[test]
fn calls_are_for_the_host_that_agents_name() {
    for (protocol, host, authority) in [
        (Protocol::OtlpGrpc, None, "127.0.0.1:9000"),
        (Protocol::OtlpGrpcTls, Some("logs.example:9000"), "logs.example:9000"),
        (Protocol::OtlpGrpcTls, Some("logs.example"), "logs.example"),
    ] {
        let stranger = Rc::new(Stranger::new(|_| good()));
        play_for(host, &calls(protocol), &stranger).unwrap();
        let called = stranger.called.borrow();
        assert!(called.len() > 20, "{}", called.len());
        for call in called.iter() {
            assert_eq!(call.head.uri.authority().unwrap(), authority);
        }
    }
}

#[test]
fn answers_that_are_none_are_lost() {
    use Reaction::Answer;
    let lost = |kind: &str| (format!("{kind}: 20"), 20, 0);
    let missing = || {
        let mut head = head(&[GRPC, ("grpc-status", "0")]);
        *head.status_mut() = http::StatusCode::BAD_GATEWAY;
        Answer(head, Some(NOTHING.to_vec()), None)
    };
    assert_eq!(counted(move |_| missing()), lost("rejected"));
    let page =
        || Answer(head(&[("content-type", "text/html")]), Some(NOTHING.to_vec()), trailers("0"));
    assert_eq!(counted(move |_| page()), lost("malformed"));
    let untold = || Answer(head(&[GRPC]), Some(NOTHING.to_vec()), None);
    assert_eq!(counted(move |_| untold()), lost("malformed"));
    let word = || Answer(head(&[GRPC]), Some(NOTHING.to_vec()), trailers("fine"));
    assert_eq!(counted(move |_| word()), lost("malformed"));
    let mark = || Answer(head(&[GRPC, ("x-mark", "mine")]), Some(NOTHING.to_vec()), trailers("0"));
    assert_eq!(counted(move |_| mark()), lost("malformed"));
    let endless = || Answer(head(&[GRPC]), Some(vec![0; 5 << 20]), trailers("0"));
    assert_eq!(counted(move |_| endless()), lost("malformed"));
    assert_eq!(counted(|_| Reaction::Reset(Reason::CANCEL)), lost("stream_reset"));
}

#[test]
fn calls_that_were_not_begun_with_leave_again_and_their_time_runs_on() {
    let refuse = |called: &Called| match called.number % 50 {
        49 => good(),
        _ => Reaction::Reset(Reason::REFUSED_STREAM),
    };
    let at_once = answered_by(|_| good()).tally;
    let tally = answered_by(refuse).tally;
    let counts = tally.counts();
    assert_eq!((counts.sent, counts.answered, counts.failed()), (20, 20, 0), "{counts:?}");
    // Each had to ask fifty times.
    let (once, often) = (at_once.latency.quantile(0.5), tally.latency.quantile(0.5));
    assert!(often > 20 * once, "{often} and {once}");
}

#[test]
fn a_call_that_leaves_again_does_not_wait_for_those_under_way() {
    let react = |called: &Called| match called.number {
        12 => Reaction::Never,
        13 | 15 => Reaction::Reset(Reason::REFUSED_STREAM),
        _ => good(),
    };
    let tally = answered_by(react).tally;
    assert_eq!((tally.counts().sent, tally.counts().lost), (20, 1));
    // The one that has no answer is in the times as well.
    let late = tally.latency.share_above(50_000_000) * tally.latency.count() as f64;
    assert_eq!(late.round(), 1.0, "{}", tally.latency.max());
}

#[test]
fn connections_that_end_are_counted_by_how_they_were_ended() {
    for (goodbye, kind) in [
        (None, "closed"),
        (Some(Reason::NO_ERROR), "goaway"),
        (Some(Reason::ENHANCE_YOUR_CALM), "goaway"),
    ] {
        // The first five have no answer when the connection ends with the sixth.
        let react = move |called: &Called| match called.number {
            15..20 => Reaction::Never,
            20 => Reaction::Leave(goodbye),
            _ => good(),
        };
        let tally = answered_by(react).tally;
        let counts = tally.counts();
        assert_eq!((counts.sent, counts.lost), (20, 6), "{goodbye:?}: {counts:?}");
        assert_eq!((counts.errors(), counts.errors.get(kind)), (1, Some(&1)), "{counts:?}");
        assert_eq!(tally.unanswered, 0);
    }
}

/// Why there was no run.
fn fault(protocol: Protocol, stranger: Stranger) -> Option<&'static str> {
    match play_with(&calls(protocol), &Rc::new(stranger)) {
        Err(Fault::NotConnected { cause, .. }) => cause.map(Cause::as_str),
        Err(other) => panic!("{other:?}"),
        Ok(_) => None,
    }
}

#[test]
fn whoever_does_not_agree_on_http_2_is_not_called() {
    let stranger = || Stranger::new(|_| good());
    assert_eq!(fault(Protocol::OtlpGrpcTls, stranger()), None);
    let mut silent = stranger();
    silent.agrees_on_nothing = true;
    assert_eq!(fault(Protocol::OtlpGrpcTls, silent), Some("tls_alpn"));
}

/// Why there was no run, where this is the answer to whether the backend serves.
fn fault_of_health(answer: impl Fn() -> Reaction + 'static) -> Option<&'static str> {
    let react = move |called: &Called| match called.head.uri.path() {
        "/vector.Vector/HealthCheck" => answer(),
        _ => good(),
    };
    fault(Protocol::Vector, Stranger::new(react))
}

fn saying(message: &'static [u8], status: &'static str) -> impl Fn() -> Reaction + 'static {
    move || Reaction::Answer(head(&[GRPC]), Some(message.to_vec()), trailers(status))
}

#[test]
fn whoever_does_not_serve_is_not_called() {
    assert_eq!(fault_of_health(good), None);
    assert_eq!(fault_of_health(saying(&NOTHING, "14")), Some("grpc_unavailable"));
    assert_eq!(fault_of_health(saying(&[0, 0, 0, 0, 2, 0x08, 1], "0")), Some("rejected"));
    assert_eq!(fault_of_health(saying(&[0, 0, 0, 0, 1, 0x08], "0")), Some("malformed"));
}

#[test]
fn a_call_has_the_head_and_the_length_that_senders_give_it() {
    for (protocol, scheme) in [(Protocol::OtlpGrpc, "http"), (Protocol::OtlpGrpcTls, "https")] {
        let mut order = calls(protocol);
        order.warm_up = Duration::ZERO;
        let stranger = Rc::new(Stranger::new(|_| good()));
        let tally = play_with(&order, &stranger).unwrap().tally;
        assert_eq!(tally.bytes, stranger.moved.get() as u64);
        for called in stranger.called.borrow().iter() {
            let header = |name| called.head.headers[name].to_str().unwrap();
            assert_eq!((called.head.method.as_str(), header("te")), ("POST", "trailers"));
            assert_eq!(header("content-type"), "application/grpc");
            assert!(header("user-agent").starts_with("OpenTelemetry"));
            assert_eq!(called.head.uri.scheme_str(), Some(scheme));
        }
    }
}

#[test]
fn broken_agents_break_off_within_a_call_when_none_is_under_way() {
    let mut order = order(Protocol::OtlpGrpc, 50, open(500.0, Arrivals::Constant), 10);
    order.groups[0].broken = 1.0;
    let stranger = Rc::new(Stranger::new(|_| good()));
    let counts = play_with(&order, &stranger).unwrap().tally.counts();
    assert_eq!((counts.sent, counts.lost, counts.failed()), (5_000, 0, 0), "{counts:?}");
    let called = stranger.called.borrow();
    let broken: Vec<&Called> = called.iter().filter(|called| called.body.is_none()).collect();
    // It is every fiftieth time that it could.
    assert!((50..300).contains(&broken.len()), "{}", broken.len());
    // Something was said before on each of those connections, and nothing after it.
    for broken in &broken {
        let mut same = called.iter().filter(|called| called.connection == broken.connection);
        let (first, last) = (same.next().unwrap(), same.next_back().unwrap());
        assert!(first.body.is_some() && last.number == broken.number);
    }
    let resets =
        stranger.ended.borrow().iter().filter(|ended| **ended == Err(Cause::Reset)).count();
    assert_eq!(resets, broken.len());
}

#[test]
fn slow_calls_of_broken_agents_and_of_those_that_leave_come_to_their_end() {
    for lifetime in [None, Some(Duration::from_secs(2))] {
        let mut order = order(Protocol::OtlpGrpc, 20, open(100.0, Arrivals::Constant), 10);
        order.patience = Duration::from_secs(20);
        order.groups[0].lifetime = lifetime;
        order.groups[0].broken = if lifetime.is_none() { 1.0 } else { 0.0 };
        let service = backends::Service::Constant(Duration::from_secs(4));
        let behaviour = Behaviour { service, ..Default::default() };
        let counts = play(&order, behaviour).tally.counts();
        assert_eq!((counts.sent, counts.lost, counts.failed()), (1_000, 0, 0), "{counts:?}");
    }
}

#[test]
fn a_closed_loop_ends_with_its_window_and_keeps_its_depth_over_many_connections() {
    let service = backends::Service::Constant(Duration::from_millis(10));
    let behaviour = Behaviour { service, ..Default::default() };
    let mut order = order(Protocol::OtlpGrpc, 4, Pace::Closed { depth: 8 }, 4);
    order.groups[0].lifetime = Some(Duration::from_millis(200));
    let outcome = play(&order, behaviour);
    let counts = outcome.tally.counts();
    // 32 at a time, each for 10 ms and the way there and back; a few fewer with each goodbye.
    assert!((5_000..12_900).contains(&counts.sent), "{counts:?}");
    assert_eq!((counts.lost, counts.failed()), (0, 0), "{counts:?}");
    // A second to warm up, four that count, and little more.
    assert!(outcome.length < Duration::from_secs(6), "{:?}", outcome.length);
}
