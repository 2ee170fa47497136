//! `[admin]`: where operators ask for metrics and health, and who may change things. Serves
//! nothing.

use std::net::{Ipv4Addr, SocketAddr};

use super::address::{self, Addresses};
use super::reader::Section;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// None if it is off.
    pub listen: Option<SocketAddr>,
    pub allow_changes: AllowChanges,
}

/// Who may drain backends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AllowChanges {
    /// Whoever asks from this host.
    #[default]
    Loopback,
    All,
    Off,
}

pub(super) fn read(section: &Section<'_>, addresses: &mut Addresses) -> Admin {
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 9600));
    let listen =
        section.value_or("listen", Some(default), |field| field.unless("off", address::listen));
    if let Some(address) = listen {
        addresses.add_listening(address, &section.place_of("listen"));
    }
    let words = [
        ("loopback", AllowChanges::Loopback),
        ("all", AllowChanges::All),
        ("off", AllowChanges::Off),
    ];
    let allow_changes =
        section.value_or("allow_changes", AllowChanges::Loopback, |field| field.choice(&words));
    Admin { listen, allow_changes }
}
