//! `[admin]`: where operators ask for metrics and health. Serves nothing.

use std::net::{Ipv4Addr, SocketAddr};

use super::address::{self, Addresses};
use super::reader::Section;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// None if it is off.
    pub listen: Option<SocketAddr>,
}

pub(super) fn read(section: &Section<'_>, addresses: &mut Addresses) -> Admin {
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 9600));
    let listen =
        section.value_or("listen", Some(default), |field| field.unless("off", address::listen));
    if let Some(address) = listen {
        addresses.add_listening(address, &section.place_of("listen"));
    }
    Admin { listen }
}
