//! How a pool picks, and what its consistent policies hash. Picks nothing itself.

/// How a pool picks among the backends that may take a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Each in turn, as often as its weight says.
    RoundRobin,
    /// The one with the fewest connections for its weight, over all workers.
    LeastConnections,
    /// The less loaded of two drawn at random by weight.
    RandomTwo,
    /// A table of `size` places, a prime, each of which belongs to one backend.
    Maglev { hashing: Hashing, size: u32 },
    /// Points on a ring (ketama), as NGINX places them with `hash ... consistent`.
    Ring(Hashing),
    /// The backend whose name and the key together hash highest.
    Rendezvous(Hashing),
}

/// What the consistent policies have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashing {
    pub key: Key,
    /// Hashed before the key; hosts that are to agree have the same one.
    pub salt: String,
    /// In percent of the mean load, above 100: a backend with more is passed over.
    pub bounded_load: Option<u16>,
}

/// What of a connection is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The client's IP address.
    Source,
    /// The client's IP address and port.
    SourcePort,
    /// The IP address the client connected to.
    Destination,
    /// That address and its port.
    DestinationPort,
    /// The server name of a TLS ClientHello.
    ServerName,
}

impl Policy {
    /// The word in the configuration and for operators.
    pub fn as_str(&self) -> &'static str {
        match self {
            Policy::RoundRobin => "round-robin",
            Policy::LeastConnections => "least-connections",
            Policy::RandomTwo => "random-two",
            Policy::Maglev { .. } => "maglev",
            Policy::Ring(_) => "ring",
            Policy::Rendezvous(_) => "rendezvous",
        }
    }

    /// What the policy hashes; none: it hashes nothing.
    pub fn hashing(&self) -> Option<&Hashing> {
        match self {
            Policy::RoundRobin | Policy::LeastConnections | Policy::RandomTwo => None,
            Policy::Maglev { hashing, .. }
            | Policy::Ring(hashing)
            | Policy::Rendezvous(hashing) => Some(hashing),
        }
    }
}

/// The usual size of a Maglev table, which is prime.
pub const MAGLEV_SIZE: u32 = 65_537;
