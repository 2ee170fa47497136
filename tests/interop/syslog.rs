//! Owns the tests of syslog over TCP: every message of an agent arrives, and arrives once.

use super::address;
use super::edge::{BEGIN, pool, terminating};
use super::openssl::Certificate;
use super::process::{bounded, run};
use super::proxy::Proxy;
use super::receivers::{Arrival, Framing, Receivers};
use super::rsyslog::{self, Agent};

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn octet_counted_messages_of_rsyslogd_arrive_once() {
    rsyslogd_messages_arrive_once(Framing::OctetCounted);
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn lines_of_rsyslogd_arrive_once() {
    rsyslogd_messages_arrive_once(Framing::Lines);
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn a_message_of_logger_arrives() {
    let receivers = Receivers::start(1, Framing::OctetCounted);
    let proxy = Proxy::start(&receivers.addresses);
    let mut logger = bounded("logger");
    logger.args(["--tcp", "--octet-count", "--server", &proxy.address().ip().to_string()]);
    logger.args(["--port", &proxy.address().port().to_string(), "a message of logger 0"]);
    run(&mut logger, Vec::new());
    assert_eq!(proxy.stop_finished().len(), 1);
    let mut tally = Tally::new(1);
    while tally.connections_ended == 0 {
        tally.take(&receivers);
    }
    assert_eq!(tally.shares[0], 1);
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn messages_that_pass_through_in_tls_arrive_once() {
    let (certificate, address) = (Certificate::make(), address::own());
    let receiver = rsyslog::Receiver::start_over_tls(address, &certificate);
    // Each hello is read, and goes on as it came.
    let proxy = Proxy::with_text(&format!(
        "{BEGIN}\n{}\n[listener.client]\nlisten = \"127.0.0.1:0\"\npool = \"backends\"\n\
         routes = [{{ server_names = [\"old.test\"], reject = true }}]\n",
        pool("backends", address),
    ));
    rsyslogd_messages_arrive_once_in_tls(&certificate, receiver, proxy);
}

#[test]
#[ignore = "needs Debian packages; .ci/run installs them"]
fn messages_whose_tls_ends_in_the_proxy_arrive_once() {
    let (certificate, address) = (Certificate::make(), address::own());
    let receiver = rsyslog::Receiver::start(address);
    let proxy = terminating(&certificate, address, "");
    rsyslogd_messages_arrive_once_in_tls(&certificate, receiver, proxy);
}

fn rsyslogd_messages_arrive_once_in_tls(
    certificate: &Certificate,
    receiver: rsyslog::Receiver,
    proxy: Proxy,
) {
    let agent = Agent::start_over_tls(proxy.address(), certificate, MESSAGES);
    let mut arrived = vec![false; MESSAGES];
    for _ in 0..MESSAGES {
        let text = receiver.next();
        let number: usize = text.split_whitespace().last().unwrap().parse().unwrap();
        assert!(!arrived[number], "twice: {text}");
        arrived[number] = true;
    }
    agent.stop();
    // The agent may close while the receiver's end of TLS is on its way to it, which is a reset of
    // a stream that has delivered everything.
    assert!(proxy.stop().len() > 1);
    assert_eq!(receiver.stop(), Vec::<String>::new());
}

fn rsyslogd_messages_arrive_once(framing: Framing) {
    let receivers = Receivers::start(2, framing);
    let proxy = Proxy::start(&receivers.addresses);
    let agent = Agent::start(proxy.address(), framing, MESSAGES);
    let mut tally = Tally::new(MESSAGES);
    while tally.messages() < MESSAGES {
        tally.take(&receivers);
    }
    agent.stop();
    // Every connection is read to its end, so that a message that came twice can not be missed.
    let sessions = proxy.stop_finished();
    while tally.connections_ended < sessions.len() {
        tally.take(&receivers);
    }
    assert_eq!(tally.messages(), MESSAGES);
    assert!(tally.shares.iter().all(|share| *share > 0), "{:?}", tally.shares);
}

/// What arrived until now; a number that comes twice fails the test at once.
struct Tally {
    arrived: Vec<bool>,
    /// Messages by receiver.
    shares: [usize; 2],
    connections_ended: usize,
}

impl Tally {
    fn new(messages: usize) -> Tally {
        Tally { arrived: vec![false; messages], shares: [0; 2], connections_ended: 0 }
    }

    fn take(&mut self, receivers: &Receivers) {
        let Some(arrival) = receivers.next() else {
            panic!("{} messages of {} arrived", self.messages(), self.arrived.len());
        };
        match arrival {
            Arrival::Message { receiver, text } => {
                let number: usize = text.split_whitespace().last().unwrap().parse().unwrap();
                assert!(!self.arrived[number], "twice: {text}");
                self.arrived[number] = true;
                self.shares[receiver] += 1;
            }
            Arrival::Ended(result) => {
                result.unwrap();
                self.connections_ended += 1;
            }
        }
    }

    fn messages(&self) -> usize {
        self.shares.iter().sum()
    }
}

const MESSAGES: usize = 100_000;
