//! Owns the records as tests write them. Belongs to no name.

use hickory_proto::rr::rdata::{A, AAAA, CNAME, SRV};
use hickory_proto::rr::{Name, RData, Record};

/// A record of some name, with a TTL of 30 seconds unless another is set.
#[derive(Clone, Debug)]
pub struct Entry {
    pub ttl: u32,
    pub data: RData,
}

pub fn a(address: &str) -> Entry {
    Entry::new(RData::A(A(address.parse().unwrap())))
}

pub fn aaaa(address: &str) -> Entry {
    Entry::new(RData::AAAA(AAAA(address.parse().unwrap())))
}

pub fn cname(target: &str) -> Entry {
    Entry::new(RData::CNAME(CNAME(absolute(target))))
}

pub fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Entry {
    Entry::new(RData::SRV(SRV::new(priority, weight, port, absolute(target))))
}

impl Entry {
    fn new(data: RData) -> Entry {
        Entry { ttl: 30, data }
    }

    /// In seconds.
    pub fn ttl(self, ttl: u32) -> Entry {
        Entry { ttl, ..self }
    }

    pub(super) fn of(&self, name: &Name) -> Record {
        Record::from_rdata(name.clone(), self.ttl, self.data.clone())
    }
}

/// Keeps its case: what is sent is what the test wrote.
pub(super) fn absolute(name: &str) -> Name {
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    name
}
