//! Lists of application protocols, as TLS negotiates them by ALPN: which are valid. Negotiates
//! none.

use std::collections::BTreeSet;

use toml::de::DeTable;

use super::field::{Field, Read};
use super::reader::Place;

/// Distinct protocols, in order, with their places; perhaps none.
pub(super) fn read(field: &Field<'_>) -> Read<Vec<(String, Place)>> {
    let remedy = format!("an array of at most {PROTOCOLS_MAX} protocols such as \"h2\"");
    let protocols = field.distinct_items(&remedy, protocol)?;
    if protocols.len() > PROTOCOLS_MAX {
        return Err(field.flaw(&format!("has {} items", protocols.len()), &remedy));
    }
    Ok(protocols)
}

/// Those that a table lists, valid or not, before it is read. `None`: it is no list.
pub(super) fn offered<'a>(table: &'a DeTable<'a>) -> Option<BTreeSet<&'a str>> {
    let Some(value) = table.get("alpn") else { return Some(BTreeSet::new()) };
    let items = value.get_ref().as_array()?;
    Some(items.iter().filter_map(|item| item.get_ref().as_str()).collect())
}

fn protocol(field: &Field<'_>) -> Read<String> {
    let remedy = format!("a protocol of 1 to {LENGTH_MAX} bytes, such as \"h2\"");
    let protocol = field.text(&remedy)?;
    match protocol.len() {
        1..=LENGTH_MAX => Ok(protocol.to_owned()),
        length => Err(field.flaw(&format!("has {length} bytes"), &remedy)),
    }
}

/// More than anybody negotiates, and few enough to be combined with every name of a route.
const PROTOCOLS_MAX: usize = 16;
/// In bytes: one byte of a ClientHello holds the length (RFC 7301, section 3.1).
const LENGTH_MAX: usize = 255;
