//! The way of one question: names it may stand for, nameservers in turn, aliases that lead on.
//! Remembers no answer, only which nameservers were silent lately, or refused EDNS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::ResolverError;
use super::answer::{ALIASES, Said, read};
use super::exchange::{Fault, over_tcp, over_udp};
use super::query::Query;
use super::servers::{Server, Servers};
use super::settings::Settings;
use crate::config;
use crate::control::discovery::{Answer, Failure, Kind, Outcome, Question};

pub struct Resolver {
    servers: Servers,
    settings: Settings,
    /// Of one query to one nameserver, both UDP and TCP.
    timeout: Duration,
    tries: usize,
    payload: u16,
    /// One for each query on its way, and so for each socket.
    places: Arc<Semaphore>,
    began: Instant,
}

impl Resolver {
    /// `resolv_conf` is the path of the file that completes what is not configured; it is read
    /// here.
    pub fn new(config: &config::Resolver, resolv_conf: &Path) -> Result<Resolver, ResolverError> {
        Ok(Resolver::of(config, Settings::read(config, resolv_conf)?))
    }

    /// One that asks as the files say now, within the same limit of questions; none if they say
    /// what they said.
    pub fn renewed(
        &self,
        config: &config::Resolver,
        resolv_conf: &Path,
    ) -> Result<Option<Resolver>, ResolverError> {
        let settings = Settings::read(config, resolv_conf)?;
        if settings == self.settings {
            return Ok(None);
        }
        let places = Arc::clone(&self.places);
        Ok(Some(Resolver { places, ..Resolver::of(config, settings) }))
    }

    fn of(config: &config::Resolver, settings: Settings) -> Resolver {
        Resolver {
            servers: Servers::new(&settings.nameservers, config.timeout * RESTS),
            settings,
            timeout: config.timeout,
            tries: config.tries,
            payload: config.edns_payload,
            places: Arc::new(Semaphore::new(config.concurrency)),
            began: Instant::now(),
        }
    }

    /// Who is asked, in the order of preference.
    pub fn nameservers(&self) -> impl Iterator<Item = SocketAddr> {
        self.servers.addresses()
    }

    /// Asks for each name that the question may stand for, until one has records.
    ///
    /// Only a nameserver's word that a name is not there, or has nothing, leads to the next name:
    /// after a failure the question has failed, because the answer for a later name might be a
    /// different set of backends. Of several failures the one counts that leaves most open: they
    /// are declared in that order.
    pub async fn ask(&self, question: &Question) -> Outcome {
        let mut open = None;
        for name in self.settings.search.candidates(&question.name) {
            match self.ask_for(&name, question.kind).await {
                Err(failure) if is_nothing(failure) => open = open.max(Some(failure)),
                outcome => return outcome,
            }
        }
        // There is no candidate for what is no name, and nobody was asked.
        Err(open.unwrap_or(Failure::Failed))
    }

    async fn ask_for(&self, name: &Name, kind: Kind) -> Outcome {
        match kind {
            Kind::Services => self.look_up(name, RecordType::SRV).await,
            Kind::Addresses if self.settings.ipv4_only => self.look_up(name, RecordType::A).await,
            Kind::Addresses => {
                let ipv4 = self.look_up(name, RecordType::A);
                let ipv6 = self.look_up(name, RecordType::AAAA);
                let (ipv4, ipv6) = tokio::join!(ipv4, ipv6);
                both_families(ipv4, ipv6)
            }
        }
    }

    /// Follows aliases where a nameserver left it to us.
    async fn look_up(&self, name: &Name, kind: RecordType) -> Outcome {
        let (mut name, mut least) = (name.clone(), u32::MAX);
        for _ in 0..=ALIASES {
            match self.ask_in_turn(&name, kind).await? {
                Said::Records { records, ttl } => {
                    let valid_for = Duration::from_secs(least.min(ttl).into());
                    return Ok(Answer { records, valid_for });
                }
                Said::Alias { target, ttl } => (name, least) = (target, least.min(ttl)),
            }
        }
        Err(Failure::Failed)
    }

    /// Asks one nameserver after the other until one says something of the name.
    ///
    /// Whoever stays silent is asked again, after all others, up to `tries` times, because a
    /// datagram may be lost. Whoever refuses or fails would do so again.
    async fn ask_in_turn(&self, name: &Name, kind: RecordType) -> Result<Said, Failure> {
        let mut open = None;
        let mut servers = self.servers.order(self.began.elapsed());
        for _ in 0..self.tries {
            let mut silent = Vec::new();
            for server in servers {
                match self.ask_server(server, name, kind).await {
                    Err(failure) if !is_nothing(failure) => {
                        open = open.max(Some(failure));
                        if failure == Failure::Timeout {
                            silent.push(server);
                        }
                    }
                    said => return said,
                }
            }
            servers = silent;
        }
        Err(open.unwrap_or(Failure::Failed))
    }

    async fn ask_server(
        &self,
        server: &Server,
        name: &Name,
        kind: RecordType,
    ) -> Result<Said, Failure> {
        let with_edns = server.takes_edns(self.began.elapsed());
        let mut response = self.put(server, name, kind, with_edns.then_some(self.payload)).await?;
        // Who does not know EDNS need not pass over it (RFC 6891, section 7); who answers with it
        // knows it, and means something else.
        if with_edns && response.edns.is_none() && is_unintelligible(&response) {
            response = self.put(server, name, kind, None).await?;
            if !is_unintelligible(&response) {
                server.refuses_edns(self.began.elapsed());
            }
        }
        read(&response, name, kind)
    }

    async fn put(
        &self,
        server: &Server,
        name: &Name,
        kind: RecordType,
        payload: Option<u16>,
    ) -> Result<Message, Failure> {
        let query = Query::new(name, kind, payload).map_err(|_unwritable| Failure::Failed)?;
        match self.exchange(server.address, &query).await {
            Ok(response) => {
                server.has_answered();
                Ok(response)
            }
            Err(fault) => {
                tracing::debug!(server = %server.address, %name, %kind, %fault, "no response");
                match fault {
                    Fault::Silent | Fault::Unreachable(_) => {
                        self.servers.was_silent(server, self.began.elapsed());
                        Err(Failure::Timeout)
                    }
                    Fault::Broken(_) | Fault::Garbled | Fault::Flooded => {
                        server.has_answered();
                        Err(Failure::Failed)
                    }
                }
            }
        }
    }

    async fn exchange(&self, server: SocketAddr, query: &Query) -> Result<Message, Fault> {
        // The semaphore is never closed, so that acquiring cannot fail. Waiting for a place is not
        // held against the nameserver.
        let _place = self.places.acquire().await.expect("the semaphore stays open");
        let exchange = async {
            if self.settings.tcp_only {
                over_tcp(server, query).await
            } else {
                over_udp(server, query).await
            }
        };
        timeout(self.timeout, exchange).await.unwrap_or(Err(Fault::Silent))
    }
}

/// The addresses of both families, if nothing about either is left open.
///
/// That one family is not there is the rule. But where one has failed, what the other has is no
/// answer: the set would lack backends, or addresses of them, that may well be there. Whoever has
/// an older answer keeps it then. For nameservers that can never answer for IPv6 there is
/// `options no-aaaa`.
fn both_families(ipv4: Outcome, ipv6: Outcome) -> Outcome {
    match (ipv4, ipv6) {
        (Ok(mut ipv4), Ok(mut ipv6)) => {
            ipv4.records.append(&mut ipv6.records);
            ipv4.valid_for = ipv4.valid_for.min(ipv6.valid_for);
            Ok(ipv4)
        }
        (Ok(one), Err(other)) | (Err(other), Ok(one)) if is_nothing(other) => Ok(one),
        (Err(ipv4), Err(ipv6)) => Err(ipv4.max(ipv6)),
        (Ok(_), Err(failure)) | (Err(failure), Ok(_)) => Err(failure),
    }
}

/// The nameserver says that it could make nothing of the query.
fn is_unintelligible(response: &Message) -> bool {
    matches!(response.metadata.response_code, ResponseCode::FormErr | ResponseCode::NotImp)
}

/// A nameserver's word that there is nothing, which is an answer; the rest are failures.
fn is_nothing(failure: Failure) -> bool {
    matches!(failure, Failure::NxDomain | Failure::Empty)
}

/// Of `timeout`: how long a silent nameserver is asked last.
const RESTS: u32 = 5;

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::IpAddr;

    use hickory_proto::op::OpCode;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, UdpSocket};

    use super::super::search::Search;
    use super::*;
    use crate::control::discovery::Record;

    fn answer(address: &str, seconds: u64) -> Outcome {
        let records = vec![Record::Address(address.parse::<IpAddr>().unwrap())];
        Ok(Answer { records, valid_for: Duration::from_secs(seconds) })
    }

    #[test]
    fn both_families_make_one_answer_with_the_lesser_ttl() {
        let both = both_families(answer("10.0.0.1", 30), answer("fd00::1", 5)).unwrap();
        assert_eq!(both.valid_for, Duration::from_secs(5));
        assert_eq!(both.records.len(), 2);
    }

    #[test]
    fn a_family_that_is_not_there_does_not_matter() {
        let one = answer("10.0.0.1", 30);
        for nothing in [Failure::Empty, Failure::NxDomain] {
            assert_eq!(both_families(one.clone(), Err(nothing)), one);
            assert_eq!(both_families(Err(nothing), one.clone()), one);
        }
    }

    #[test]
    fn a_family_that_failed_leaves_the_answer_open() {
        for failure in [Failure::Refused, Failure::Failed, Failure::Timeout] {
            for other in [answer("10.0.0.1", 30), Err(Failure::Empty), Err(Failure::NxDomain)] {
                assert_eq!(both_families(other.clone(), Err(failure)), Err(failure));
                assert_eq!(both_families(Err(failure), other), Err(failure));
            }
        }
    }

    #[test]
    fn a_name_exists_if_it_does_for_one_family() {
        let outcome = both_families(Err(Failure::NxDomain), Err(Failure::Empty));
        assert_eq!(outcome, Err(Failure::Empty));
    }

    /// As the options of a resolv.conf have it, which names no ports.
    fn resolver(server: SocketAddr, tcp_only: bool, ipv4_only: bool) -> Resolver {
        let search = Search { domains: Vec::new(), ndots: 1 };
        let settings = Settings { nameservers: vec![server], search, tcp_only, ipv4_only };
        Resolver::of(&config::Resolver { tries: 1, ..config::Resolver::default() }, settings)
    }

    fn question() -> Question {
        Question { name: Arc::from("agg.test."), kind: Kind::Addresses }
    }

    #[tokio::test]
    async fn with_no_aaaa_only_ipv4_addresses_are_asked_for() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let resolver = resolver(server.local_addr().unwrap(), false, true);
        let question = question();
        let mut buffer = [0; 512];
        let refuse = async {
            let (length, client) = server.recv_from(&mut buffer).await.unwrap();
            let query = Message::from_vec(&buffer[..length]).unwrap();
            assert_eq!(query.queries[0].query_type(), RecordType::A);
            let refusal =
                Message::error_msg(query.metadata.id, OpCode::Query, ResponseCode::Refused);
            server.send_to(&refusal.to_vec().unwrap(), client).await.unwrap();
        };
        let (outcome, ()) = tokio::join!(resolver.ask(&question), refuse);
        assert_eq!(outcome, Err(Failure::Refused));
        let more = server.try_recv(&mut buffer).map_err(|error| error.kind());
        assert_eq!(more, Err(io::ErrorKind::WouldBlock));
    }

    #[tokio::test]
    async fn with_use_vc_the_nameserver_is_asked_over_tcp_at_once() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let resolver = resolver(server.local_addr().unwrap(), true, true);
        let question = question();
        let hear = async {
            let (mut stream, _) = server.accept().await.unwrap();
            let mut query = vec![0; stream.read_u16().await.unwrap().into()];
            stream.read_exact(&mut query).await.unwrap();
            Message::from_vec(&query).unwrap()
        };
        // The stream is closed unanswered, which is a failure.
        let (outcome, query) = tokio::join!(resolver.ask(&question), hear);
        assert_eq!(outcome, Err(Failure::Failed));
        assert_eq!(query.queries[0].query_type(), RecordType::A);
    }
}
