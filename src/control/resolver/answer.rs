//! What a response means: records, an alias that leads on, or a failure. Asks nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::control::discovery::{self, Failure, Service};

/// What one response says of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// At least one, each once, in an order that does not depend on the response's.
    Records { records: Vec<discovery::Record>, ttl: u32 },
    /// The name is an alias of one that the nameserver left to be asked for.
    Alias { target: Name, ttl: u32 },
}

/// What `message` says of the records of `kind` (A, AAAA or SRV) at `name`.
pub(super) fn read(message: &Message, name: &Name, kind: RecordType) -> Result<Said, Failure> {
    match message.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => return Err(Failure::NxDomain),
        ResponseCode::Refused => return Err(Failure::Refused),
        _ => return Err(Failure::Failed),
    }
    let (end, ttl) = end_of_aliases(message, name)?;
    let found: Vec<&Record> = at(message, &end).filter(|it| it.record_type() == kind).collect();
    if !found.is_empty() {
        return records(message, &found, ttl);
    }
    if end == *name {
        return Err(without_records(message, name));
    }
    // The zone's own record says that the nameserver looked there (RFC 2308, section 2.2).
    let looked = message.authorities.iter().any(|it| it.record_type() == RecordType::SOA);
    if looked { Err(Failure::Empty) } else { Ok(Said::Alias { target: end, ttl }) }
}

/// What it is that a response without records of the kind says of the name.
fn without_records(message: &Message, name: &Name) -> Failure {
    let about = &message.metadata;
    if !message.answers.is_empty() && at(message, name).next().is_none() {
        // It answers something that was not asked.
        Failure::Failed
    } else if !about.authoritative && !about.recursion_available {
        // Neither does it own the zone nor ask further, and so knows nothing of the name.
        Failure::Refused
    } else {
        Failure::Empty
    }
}

/// Where the aliases in the response lead from `name`, and their least TTL.
fn end_of_aliases(message: &Message, name: &Name) -> Result<(Name, u32), Failure> {
    let (mut end, mut least) = (name, u32::MAX);
    for _ in 0..=ALIASES {
        let alias = at(message, end).find_map(|record| match &record.data {
            RData::CNAME(target) => Some((&target.0, ttl(record))),
            _ => None,
        });
        let Some((target, ttl)) = alias else { return Ok((end.clone(), least)) };
        (end, least) = (target, least.min(ttl));
    }
    Err(Failure::Failed)
}

fn at<'a>(message: &'a Message, name: &'a Name) -> impl Iterator<Item = &'a Record> {
    let here = |record: &&Record| record.dns_class == DNSClass::IN && record.name == *name;
    message.answers.iter().filter(here)
}

fn records(message: &Message, found: &[&Record], least: u32) -> Result<Said, Failure> {
    let least = found.iter().fold(least, |least, record| least.min(ttl(record)));
    let mut addresses: Vec<IpAddr> = found.iter().filter_map(|record| address(record)).collect();
    if !addresses.is_empty() {
        sort(&mut addresses);
        let records = addresses.into_iter().map(discovery::Record::Address).collect();
        return Ok(Said::Records { records, ttl: least });
    }
    let (services, ttl) = services(message, found, least);
    // The only target may be the root: there is decidedly no such service (RFC 2782).
    if services.is_empty() {
        return Err(Failure::Empty);
    }
    let records = services.into_iter().map(discovery::Record::Service).collect();
    Ok(Said::Records { records, ttl })
}

/// The services, and the least TTL of what they are known by, the addresses included.
fn services(message: &Message, found: &[&Record], mut least: u32) -> (Vec<Service>, u32) {
    let additional = additional_addresses(message);
    let mut services = Vec::with_capacity(found.len());
    for record in found {
        let RData::SRV(record) = &record.data else { continue };
        if record.target.is_root() {
            continue;
        }
        let target = host(&record.target);
        let mut addresses = Vec::new();
        for (address, ttl) in additional.get(&target).into_iter().flatten() {
            addresses.push(*address);
            least = least.min(*ttl);
        }
        sort(&mut addresses);
        services.push(Service {
            target: Arc::from(target),
            port: record.port,
            priority: record.priority,
            weight: record.weight,
            addresses,
        });
    }
    services.sort_by(|a, b| order(a).cmp(&order(b)));
    services.dedup();
    (services, least)
}

fn order(service: &Service) -> (u16, &str, u16, u16) {
    (service.priority, &service.target, service.port, service.weight)
}

/// Addresses and their TTLs, by the names they belong to as `host` writes them.
fn additional_addresses(message: &Message) -> HashMap<String, Vec<(IpAddr, u32)>> {
    let mut addresses: HashMap<String, Vec<(IpAddr, u32)>> = HashMap::new();
    for record in &message.additionals {
        if record.dns_class == DNSClass::IN
            && let Some(address) = address(record)
        {
            addresses.entry(host(&record.name)).or_default().push((address, ttl(record)));
        }
    }
    addresses
}

fn address(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    }
}

/// In lower case and with a trailing dot.
fn host(name: &Name) -> String {
    let mut name = name.to_lowercase();
    name.set_fqdn(true);
    name.to_ascii()
}

/// Nameservers shuffle their answers; nobody shall take that for a change.
fn sort(addresses: &mut Vec<IpAddr>) {
    addresses.sort_unstable();
    addresses.dedup();
}

/// In seconds. With the highest bit set it counts as 0 (RFC 2181, section 8).
fn ttl(record: &Record) -> u32 {
    if record.ttl > i32::MAX as u32 { 0 } else { record.ttl }
}

/// Aliases followed for one name, in one response as from one to the next; more are a loop.
pub(super) const ALIASES: usize = 8;

#[cfg(test)]
mod tests {
    use hickory_proto::op::OpCode;
    use hickory_proto::rr::rdata::{A, CNAME, SOA, SRV};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn record(owner: &str, ttl: u32, data: RData) -> Record {
        Record::from_rdata(name(owner), ttl, data)
    }

    fn a(owner: &str, ttl: u32, last: u8) -> Record {
        record(owner, ttl, RData::A(A::new(10, 0, 0, last)))
    }

    fn alias(owner: &str, ttl: u32, target: &str) -> Record {
        record(owner, ttl, RData::CNAME(CNAME(name(target))))
    }

    fn srv(owner: &str, target: &str) -> Record {
        record(owner, 30, RData::SRV(SRV::new(1, 2, 3, name(target))))
    }

    fn soa() -> Record {
        record("test.", 30, RData::SOA(SOA::new(name("ns.test."), name("me.test."), 1, 1, 1, 1, 1)))
    }

    fn response(answers: Vec<Record>) -> Message {
        let mut message = Message::response(1, OpCode::Query);
        message.metadata.recursion_available = true;
        message.insert_answers(answers);
        message
    }

    fn said(answers: Vec<Record>) -> Result<Said, Failure> {
        read(&response(answers), &name("agg.test."), RecordType::A)
    }

    fn addresses(last: &[u8], ttl: u32) -> Result<Said, Failure> {
        let address = |last: &u8| discovery::Record::Address([10, 0, 0, *last].into());
        Ok(Said::Records { records: last.iter().map(address).collect(), ttl })
    }

    #[test]
    fn records_are_the_same_in_any_order_and_said_once() {
        let shuffled = vec![a("agg.test.", 30, 2), a("AGG.test.", 9, 1), a("agg.test.", 30, 2)];
        assert_eq!(said(shuffled), addresses(&[1, 2], 9));
    }

    #[test]
    fn aliases_lead_to_the_records_with_the_least_ttl_of_all() {
        let aliases = [alias("agg.test.", 20, "b.test."), alias("b.test.", 7, "c.test.")];
        let [first, second] = aliases;
        assert_eq!(said(vec![a("c.test.", 30, 1), second, first]), addresses(&[1], 7));
    }

    #[test]
    fn an_alias_without_records_is_to_be_asked_for_unless_the_zone_says_there_are_none() {
        let answers = vec![alias("agg.test.", 20, "b.test.")];
        let mut message = response(answers);
        let read = |message: &Message| read(message, &name("agg.test."), RecordType::A);
        assert_eq!(read(&message), Ok(Said::Alias { target: name("b.test."), ttl: 20 }));
        message.add_authority(soa());
        assert_eq!(read(&message), Err(Failure::Empty));
    }

    #[test]
    fn a_circle_of_aliases_is_a_failure() {
        let circle = vec![alias("agg.test.", 20, "b.test."), alias("b.test.", 7, "agg.test.")];
        assert_eq!(said(circle), Err(Failure::Failed));
    }

    #[test]
    fn an_answer_to_something_else_is_a_failure() {
        assert_eq!(said(vec![a("other.test.", 30, 1)]), Err(Failure::Failed));
        let mut chaos = a("agg.test.", 30, 1);
        chaos.dns_class = DNSClass::CH;
        assert_eq!(said(vec![chaos]), Err(Failure::Failed));
        assert_eq!(said(vec![srv("agg.test.", "b.test.")]), Err(Failure::Empty));
    }

    #[test]
    fn a_nameserver_that_does_not_know_the_zone_has_refused() {
        let mut message = response(Vec::new());
        let read = |message: &Message| read(message, &name("agg.test."), RecordType::A);
        assert_eq!(read(&message), Err(Failure::Empty));
        message.metadata.recursion_available = false;
        assert_eq!(read(&message), Err(Failure::Refused));
        message.metadata.authoritative = true;
        assert_eq!(read(&message), Err(Failure::Empty));
    }

    #[test]
    fn a_ttl_with_the_highest_bit_counts_as_none() {
        assert_eq!(said(vec![a("agg.test.", 1 << 31, 1)]), addresses(&[1], 0));
        assert_eq!(said(vec![a("agg.test.", (1 << 31) - 1, 1)]), addresses(&[1], i32::MAX as u32));
    }

    #[test]
    fn the_root_as_a_target_is_no_service() {
        let read = |answers| read(&response(answers), &name("_x.test."), RecordType::SRV);
        assert_eq!(read(vec![srv("_x.test.", ".")]), Err(Failure::Empty));
        let Ok(Said::Records { records, .. }) =
            read(vec![srv("_x.test.", "."), srv("_x.test.", "B.Test.")])
        else {
            panic!("one target is left");
        };
        let [discovery::Record::Service(service)] = &records[..] else { panic!("{records:?}") };
        assert_eq!((&*service.target, service.addresses.len()), ("b.test.", 0));
    }
}
