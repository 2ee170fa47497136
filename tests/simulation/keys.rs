//! What a consistent policy hashes is taken from the connection.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use ringmain::balance::{Hashing, Key, Policy, Pool};
use ringmain::observe::CloseReason;

use crate::actors::{Kind, Plan};
use crate::stage::{Settings, Stage, plan, pool};

const HOSTS: u8 = 20;

/// The backends that served the connections of each host, two connections of each.
fn served(policy: Policy) -> BTreeMap<std::net::IpAddr, BTreeSet<String>> {
    let drawn = pool(0, 5);
    let mut settings = drawn.settings.clone();
    settings.balancing.policy = policy;
    let pool = Pool::new(drawn.name.clone(), settings, drawn.members().to_vec(), None);
    let mut stage = Stage::new(Settings::plenty(vec![pool]));
    (0..5).for_each(|number| drop(stage.backend(0, number, Kind::Echo)));
    let clients: Vec<_> = (1..=2 * u64::from(HOSTS))
        .map(|stream| {
            let source = SocketAddr::from(([10, 0, 9, (stream % u64::from(HOSTS)) as u8], 0));
            let start = Duration::from_millis(10 * stream);
            stage.client(start, Plan { source, ..plan(stream, 100) })
        })
        .collect();
    stage.run_until_done(&clients);
    assert_eq!(stage.ended(CloseReason::Finished), 2 * u64::from(HOSTS));
    let mut served = BTreeMap::<_, BTreeSet<_>>::new();
    for record in stage.records() {
        let backend = record.backend.unwrap().to_string();
        served.entry(record.client.unwrap().ip()).or_default().insert(backend);
    }
    served
}

fn by(key: Key) -> Policy {
    Policy::Rendezvous(Hashing { key, salt: String::new(), bounded_load: None })
}

#[test]
fn a_client_comes_to_the_same_backend_each_time_when_its_address_is_the_key() {
    let served = served(by(Key::Source));
    assert_eq!(served.len(), usize::from(HOSTS));
    assert!(served.values().all(|backends| backends.len() == 1), "{served:?}");
    let used: BTreeSet<_> = served.values().flatten().collect();
    assert_eq!(used.len(), 5, "clients are spread over all backends");
}

#[test]
fn connections_of_a_client_are_spread_when_the_port_belongs_to_the_key() {
    let served = served(by(Key::SourcePort));
    assert!(served.values().any(|backends| backends.len() == 2), "{served:?}");
}

#[test]
fn everyone_comes_to_one_backend_when_the_address_they_connect_to_is_the_key() {
    for key in [Key::Destination, Key::DestinationPort] {
        let served = served(by(key));
        let used: BTreeSet<_> = served.values().flatten().collect();
        assert_eq!(used.len(), 1, "{key:?}");
    }
}
