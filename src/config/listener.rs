//! `[listener.NAME]`: an address that accepts, and what holds for its sessions. Binds nothing.

use std::net::SocketAddr;
use std::time::Duration;

use super::CONNECTIONS;
use super::address::{self, Addresses};
use super::field::{Field, Read};
use super::preface::{self, Preface};
use super::reader::Section;
use super::route::{PlainText, Route};
use super::units::{MILLISECOND, MINUTE, SECOND, YEAR};
use super::ways::Ways;
use super::{names, socket};
use crate::balance::SocketOptions;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// As a table's key it is unique among the listeners.
    pub name: String,
    /// At least one. Those with a port other than 0 are in no other listener.
    pub listen: Vec<SocketAddr>,
    /// The name of a `Tls` of the same `Config`, which ends TLS unless a route says otherwise.
    /// None: it passes through.
    pub tls: Option<String>,
    /// The name of a pool of the same `Config`, for what no route matches. Without it there are
    /// routes, and the rest is refused.
    pub pool: Option<String>,
    /// In the order of the file; no two hold for the same name and protocol.
    pub routes: Vec<Route>,
    /// Each client's ClientHello is read first: with `tls`, with routes, and for a pool that
    /// hashes the name in it.
    pub reads_hellos: bool,
    /// For the whole ClientHello.
    pub hello_timeout: Duration,
    /// Bytes that a ClientHello may take, its records' headers included.
    pub hello_size: usize,
    /// `Pass` only beside a pool.
    pub plain_text: PlainText,
    /// None: no limit but that of the process.
    pub max_connections: Option<u32>,
    pub backlog: u32,
    /// None if it is off.
    pub idle_timeout: Option<Duration>,
    pub half_closed_timeout: Duration,
    /// Sessions are closed gracefully at this age; none: at none.
    pub max_connection_age: Option<Duration>,
    /// Percent of the age by which each session's is shortened or lengthened at random, 0 to 50.
    pub max_connection_age_jitter: u8,
    pub socket: SocketOptions,
}

pub(super) fn read(
    name: &str,
    section: &Section<'_>,
    ways: &mut Ways<'_>,
    addresses: &mut Addresses,
) -> Listener {
    names::check(name, section.reader, &section.place);
    let listen = section.required("listen", |field| listen(field, addresses));
    let Preface { tls, pool, routes, reads_hellos, hello_timeout, hello_size, plain_text } =
        preface::read(section, ways);
    Listener {
        name: name.to_owned(),
        listen,
        tls,
        pool,
        routes,
        reads_hellos,
        hello_timeout,
        hello_size,
        plain_text,
        max_connections: section.value_or("max_connections", None, |field| {
            field.unless("off", |field| field.integer(CONNECTIONS))
        }),
        backlog: section.value_or("backlog", 4096, |field| field.integer(1..=65_535)),
        idle_timeout: section.value_or("idle_timeout", Some(10 * MINUTE), |field| {
            field.unless("off", |field| field.duration(MILLISECOND..=YEAR))
        }),
        half_closed_timeout: section
            .value_or("half_closed_timeout", MINUTE, |field| field.duration(MILLISECOND..=YEAR)),
        max_connection_age: section.value_or("max_connection_age", None, |field| {
            field.unless("off", |field| field.duration(SECOND..=YEAR))
        }),
        max_connection_age_jitter: section
            .value_or("max_connection_age_jitter", 10, |field| field.integer(0..=50)),
        socket: socket::read(section),
    }
}

/// One address, or an array of them.
fn listen(field: &Field<'_>, addresses: &mut Addresses) -> Read<Vec<SocketAddr>> {
    let mut accept = |field: &Field<'_>| {
        let address = field.accept(address::listen)?;
        addresses.add_listening(address, &field.place);
        Some(address)
    };
    if field.value.is_array() {
        let items = field.some_items(address::LISTEN)?;
        Ok(items.iter().filter_map(accept).collect())
    } else {
        Ok(accept(field).into_iter().collect())
    }
}
