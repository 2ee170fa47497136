//! Owns what the server knows, and how it answers when it is honest. Counts nothing and sends
//! nothing.

use std::collections::BTreeMap;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::entry::{Entry, absolute};

pub struct Zone {
    /// Of each name the sets of records that it has in turn, at least one.
    names: BTreeMap<Name, Vec<Vec<Entry>>>,
    /// Addresses of service targets go with the services.
    pub additionals: bool,
    /// Aliases are followed, as nameservers do that ask further.
    pub recursive: bool,
}

impl Zone {
    pub fn new() -> Zone {
        Zone { names: BTreeMap::new(), additionals: true, recursive: true }
    }

    pub fn set(&mut self, name: &str, sets: Vec<Vec<Entry>>) {
        assert!(!sets.is_empty(), "a name without records has one set, an empty one");
        self.names.insert(absolute(name), sets);
    }

    pub fn remove(&mut self, name: &str) {
        self.names.remove(&absolute(name));
    }

    /// Answers the question as it is for the time numbered `turn`, counted from 0.
    pub fn answer(&self, response: &mut Message, question: &Query, turn: usize) {
        response.metadata.recursion_available = self.recursive;
        response.metadata.authoritative = true;
        let mut name = question.name().clone();
        // Somebody who makes aliases a circle gets some rounds of it.
        for _ in 0..16 {
            let Some(entries) = self.entries(&name, turn) else {
                if !self.names.keys().any(|other| name.zone_of(other)) {
                    response.metadata.response_code = ResponseCode::NXDomain;
                }
                break;
            };
            let of_kind = |it: &&Entry| it.data.record_type() == question.query_type();
            let found: Vec<Record> =
                entries.iter().filter(of_kind).map(|it| it.of(&name)).collect();
            if !found.is_empty() {
                response.add_answers(found);
                self.add_targets(response, turn);
                return;
            }
            let alias = entries.iter().find_map(|entry| Some((entry, target(&entry.data)?)));
            let Some((entry, target)) = alias else { break };
            response.add_answer(entry.of(&name));
            name = target.clone();
            if !self.recursive {
                return;
            }
        }
        response.add_authority(start_of_authority());
    }

    fn add_targets(&self, response: &mut Message, turn: usize) {
        if !self.additionals {
            return;
        }
        let targets: Vec<Name> = response.answers.iter().filter_map(service_target).collect();
        for target in targets {
            let entries = self.entries(&target, turn).unwrap_or_default();
            let address = |it: &&Entry| it.data.record_type().is_ip_addr();
            response.add_additionals(entries.iter().filter(address).map(|it| it.of(&target)));
        }
    }

    fn entries(&self, name: &Name, turn: usize) -> Option<&[Entry]> {
        let sets = self.names.get(name)?;
        Some(&sets[turn % sets.len()])
    }
}

fn target(data: &RData) -> Option<&Name> {
    match data {
        RData::CNAME(target) => Some(&target.0),
        _ => None,
    }
}

fn service_target(record: &Record) -> Option<Name> {
    match &record.data {
        RData::SRV(service) => Some(service.target.clone()),
        _ => None,
    }
}

/// Goes with each answer that there is nothing (RFC 2308).
fn start_of_authority() -> Record {
    let (server, mailbox) = (absolute("ns.test"), absolute("me.test"));
    let data = RData::SOA(SOA::new(server, mailbox, 1, 60, 60, 60, 5));
    Record::from_rdata(absolute("test"), 5, data)
}

impl Default for Zone {
    fn default() -> Zone {
        Zone::new()
    }
}

/// The name as it is counted under: names are compared without regard to case.
pub fn key(name: &str, kind: RecordType) -> (Name, RecordType) {
    (absolute(name).to_lowercase(), kind)
}
