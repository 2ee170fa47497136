//! Owns what candidates can be asked to do: a work that has a name, or any protocol that all of
//! them carry. It makes the order of a run, and runs nothing.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::work::{Shape, Task, Unit, Work};
use crate::generate::{Dialogue, Ending, Group, Order, Pace, Protocol, Sizes, Terms};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Work(Work),
    Protocol { protocol: Protocol, connections: u32, size: usize },
}

/// How fast units are begun.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// Closed loop: the next unit begins when one has ended.
    Full,
    /// Open loop: so many units per second, however slow the answers are.
    Rate(f64),
}

impl Subject {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Work(work) => work.as_str(),
            Self::Protocol { protocol, .. } => protocol.as_str(),
        }
    }

    pub fn task(self) -> Task {
        match self {
            Self::Work(work) => work.task(),
            Self::Protocol { protocol, connections, size } => {
                let unit = match protocol.dialogue() {
                    Dialogue::Visit => Unit::Connection,
                    Dialogue::Exchange => Unit::Request,
                    Dialogue::Upload | Dialogue::Download | Dialogue::BothWays => Unit::Message,
                };
                let ending = Ending::InOrder;
                Task::Carry(Shape { protocol, connections, size, ending, unit })
            }
        }
    }

    /// What agents and the proxy are to agree on, where they speak TLS.
    pub fn terms(self) -> Option<Terms> {
        match self {
            Self::Work(work) => work.terms(),
            Self::Protocol { protocol, .. } => protocol.handshakes().map(|_| Terms::default()),
        }
    }

    /// The most connections that it has at a time.
    pub fn connections(self) -> u32 {
        match self.task() {
            Task::Hold => HELD,
            Task::Carry(Shape { connections, unit: Unit::Connection, .. }) => {
                connections.max(VISITS_AT_MOST)
            }
            Task::Carry(Shape { connections, .. }) => connections,
        }
    }

    /// One run of it.
    pub fn order(self, shape: Shape, speed: Speed, warm_up: Duration, window: Duration) -> Order {
        let Shape { protocol, connections, size, ending, unit } = shape;
        let (pace, agents) = match speed {
            Speed::Full => (Pace::Closed { depth: 1 }, connections),
            Speed::Rate(rate) => {
                let agents = match unit {
                    Unit::Connection => connections.max(VISITS_AT_MOST),
                    _ => connections,
                };
                (Pace::constant(rate / unit.per_message(size)), agents)
            }
        };
        let group = Group::new(protocol, agents, pace, Sizes::Constant(size));
        let terms = self.terms().unwrap_or_default();
        Order {
            name: self.as_str().to_owned(),
            groups: vec![Group { ending, terms, ..group }],
            warm_up,
            window,
            patience: PATIENCE,
            seed: 1,
        }
    }
}

impl Unit {
    /// How many of them a message of so many bytes is.
    pub fn per_message(self, size: usize) -> f64 {
        match self {
            Unit::Byte => size as f64,
            Unit::Request | Unit::Connection | Unit::Message => 1.0,
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Connections that are held for their memory, more than a few.
pub const HELD: u32 = 2000;
/// More than are ever open before a proxy at half its speed has fallen behind.
const VISITS_AT_MOST: u32 = 1024;
/// How long what has begun may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn order(subject: Subject, speed: Speed) -> Order {
        let Task::Carry(shape) = subject.task() else { panic!("{subject:?} carries nothing") };
        subject.order(shape, speed, Duration::ZERO, Duration::from_secs(1))
    }

    #[test]
    fn a_stream_is_paced_by_its_messages_and_counted_in_bytes() {
        let order = order(Subject::Work(Work::Bulk), Speed::Rate(1e9));
        let group = &order.groups[0];
        assert!(group.is_bulk());
        let Sizes::Constant(size) = group.sizes else { panic!("{:?}", group.sizes) };
        assert_eq!(group.pace.rate(), Some(1e9 / size as f64));
    }

    #[test]
    fn connections_of_an_open_loop_find_room() {
        let reset = Subject::Work(Work::ConnectReset);
        let paced = order(reset, Speed::Rate(500.0));
        assert_eq!((paced.groups[0].agents, paced.groups[0].ending), (1024, Ending::Reset));
        assert_eq!(order(reset, Speed::Full).groups[0].agents, 64);
        assert_eq!(reset.connections(), 1024);
    }

    #[test]
    fn any_protocol_has_its_unit_and_its_terms() {
        let subject = |protocol| Subject::Protocol { protocol, connections: 9, size: 300 };
        let unit = |protocol| match subject(protocol).task() {
            Task::Carry(shape) => shape.unit,
            Task::Hold => panic!("{protocol:?} holds"),
        };
        assert_eq!(unit(Protocol::SyslogTls), Unit::Message);
        assert_eq!(unit(Protocol::SplunkHec), Unit::Request);
        assert_eq!(unit(Protocol::TlsConnect), Unit::Connection);
        assert!(subject(Protocol::SyslogTls).terms().is_some());
        assert!(subject(Protocol::Ndjson).terms().is_none());
        let order = order(subject(Protocol::Ndjson), Speed::Rate(50.0));
        assert_eq!((order.groups[0].agents, order.groups[0].pace.rate()), (9, Some(50.0)));
    }

    #[test]
    fn a_run_has_the_name_the_terms_and_the_times_of_its_subject() {
        let subject = Subject::Work(Work::TlsConnectRsa);
        let Task::Carry(shape) = subject.task() else { panic!("it carries") };
        let (warm_up, window) = (Duration::from_secs(2), Duration::from_secs(3));
        let order = subject.order(shape, Speed::Full, warm_up, window);
        assert_eq!(
            (&*order.name, order.warm_up, order.window),
            ("tls-connect-rsa", warm_up, window)
        );
        // What has begun may end, so that a slow proxy is not taken for one that loses.
        assert!(order.patience >= Duration::from_secs(5));
        let group = &order.groups[0];
        assert_eq!((Some(group.terms), &group.pace), (subject.terms(), &Pace::Closed { depth: 1 }));
    }
}
