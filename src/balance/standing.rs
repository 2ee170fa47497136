//! Whether a backend of a pool may take new connections, as the control plane has decided.

/// What the control plane last decided about one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It takes its full share.
    #[default]
    Up,
    /// It has come back or is new, and takes this many percent of its share, 1 to 99.
    Starting(u8),
    /// Its probes fail.
    Down,
    /// Connections to it failed too often of late.
    Ejected,
    /// The operator takes it out; it receives nothing new, even in a panic.
    Draining,
}

impl Standing {
    /// The word for logs, metrics and the admin endpoint.
    pub const fn as_str(self) -> &'static str {
        match self {
            Standing::Up => "up",
            Standing::Starting(_) => "starting",
            Standing::Down => "down",
            Standing::Ejected => "ejected",
            Standing::Draining => "draining",
        }
    }

    /// It may take new connections.
    pub fn is_eligible(self) -> bool {
        matches!(self, Standing::Up | Standing::Starting(_))
    }
}
