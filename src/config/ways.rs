//! Every way from a listener to a pool, and what comes along it: to find those on which sessions
//! could not succeed. Goes along none.

use std::collections::{BTreeMap, BTreeSet};

use super::field::{Field, Read};
use super::pool::Pool;
use super::pool_tls::BackendName;
use super::reader::{Place, Reader, Section};
use super::tls::OFF;
use super::{names, policy, protocols};

/// The names that ways refer to, and the ways so far.
pub(super) struct Ways<'a> {
    pools: BTreeSet<&'a str>,
    tls: BTreeSet<&'a str>,
    /// What the tls sections agree on with clients, where that can be read.
    protocols: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// The pools whose keys are the names that clients ask for.
    by_name: BTreeSet<&'a str>,
    ways: Vec<Way>,
}

struct Way {
    place: Place,
    pool: String,
    load: Load,
}

/// What comes along a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// Bytes that nothing is known of.
    Unread,
    /// Bytes that are no TLS.
    PlainText,
    /// TLS that is not ended here.
    PassedThrough,
    /// What was in TLS that has been ended here.
    Ended,
}

impl<'a> Ways<'a> {
    pub fn new(document: &Section<'a>) -> Ways<'a> {
        Ways {
            pools: document.names("pool"),
            tls: document.names("tls"),
            protocols: document
                .tables("tls")
                .filter_map(|(name, table)| Some((name, protocols::offered(table)?)))
                .collect(),
            by_name: document.names_where("pool", policy::hashes_names),
            ways: Vec::new(),
        }
    }

    /// Whether the pool can only be chosen from once the ClientHello is read.
    pub fn goes_by_name(&self, pool: &str) -> bool {
        self.by_name.contains(pool)
    }

    pub fn pool(&self, field: &Field<'_>) -> Read<String> {
        names::reference(field, "pool", &self.pools)
    }

    pub fn tls(&self, field: &Field<'_>) -> Read<Option<String>> {
        field.unless(OFF, |field| names::reference(field, "tls section", &self.tls))
    }

    /// Whether this tls section can agree on this protocol, as far as that is known.
    pub fn may_agree(&self, tls: &str, protocol: &str) -> bool {
        self.protocols.get(tls).is_none_or(|offered| offered.contains(protocol))
    }

    pub fn add(&mut self, place: Place, pool: &str, load: Load) {
        self.ways.push(Way { place, pool: pool.to_owned(), load });
    }

    /// Refuses the ways to pools whose TLS does not go with what comes along.
    pub fn check(&self, reader: &Reader, pools: &[Pool]) {
        let encrypted = pools.iter().filter_map(|pool| Some((&*pool.name, pool.tls.as_ref()?)));
        let encrypted: BTreeMap<_, _> = encrypted.collect();
        for Way { place, pool, load } in &self.ways {
            let Some(tls) = encrypted.get(&**pool) else { continue };
            let message = match load {
                Load::PassedThrough => format!(
                    "TLS that passes through would be wrapped in that of pool.{pool}.tls; \
                     give tls the name of a tls section, or a pool without TLS of its own"
                ),
                Load::Unread | Load::PlainText if tls.server_name == BackendName::Client => {
                    format!(
                        "no client asks for a name here, and pool.{pool}.tls.server_name = \
                         \"client\" needs one; give another server_name there, or another pool"
                    )
                }
                Load::Unread | Load::PlainText | Load::Ended => continue,
            };
            reader.refuse(place, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::samples::{TLS, errors};

    /// What is printed for a listener with these lines, from line 3 on, beside a pool `c` with
    /// TLS and the name of the client, a pool `s` with TLS and its own name, and one in the clear.
    fn printed(lines: &str) -> Vec<String> {
        let pool = |name| format!("[pool.{name}]\nbackends = [\"10.0.0.1:1\"]\n");
        let (c, s, p) = (pool("c"), pool("s"), pool("p"));
        errors(&format!(
            "[listener.l]\nlisten = \"0.0.0.0:1\"\n{lines}\n\
             {c}tls.server_name = \"client\"\n{s}tls = {{}}\n{p}{TLS}"
        ))
    }

    fn wrapped(pool: &str) -> String {
        format!(
            "TLS that passes through would be wrapped in that of pool.{pool}.tls; \
             give tls the name of a tls section, or a pool without TLS of its own"
        )
    }

    const NAMELESS: &str = "no client asks for a name here, and pool.c.tls.server_name = \
                            \"client\" needs one; give another server_name there, or another pool";

    #[test]
    fn tls_is_not_wrapped_in_tls() {
        let routes = "[{ alpn = [\"a\"], pool = \"c\" },\n{ alpn = [\"b\"], pool = \"p\" },\n\
                      { alpn = [\"c\"], pool = \"s\", tls = \"edge\" }]";
        assert_eq!(
            printed(&format!("pool = \"s\"\nroutes = {routes}")),
            [
                format!("3: listener.l.pool: {}", wrapped("s")),
                format!("4: listener.l.routes[0].pool: {}", wrapped("c")),
            ]
        );
        let ended = printed(&format!("pool = \"s\"\ntls = \"edge\"\nroutes = {routes}"));
        assert_eq!(ended, [""; 0]);
        let off = routes.replace("\"p\"", "\"s\", tls = \"off\"");
        assert_eq!(
            printed(&format!("pool = \"s\"\ntls = \"edge\"\nroutes = {off}")),
            [format!("6: listener.l.routes[1].pool: {}", wrapped("s"))]
        );
        assert_eq!(printed("pool = \"s\""), [""; 0], "of bytes that are not read nothing is known");
    }

    #[test]
    fn a_name_is_passed_on_only_where_one_is_asked_for() {
        assert_eq!(printed("pool = \"c\""), [format!("3: listener.l.pool: {NAMELESS}")]);
        assert_eq!(printed("pool = \"c\"\ntls = \"edge\""), [""; 0]);
        let passing = "tls = \"edge\"\nplain_text = \"pass\"";
        assert_eq!(
            printed(&format!("pool = \"c\"\n{passing}")),
            [format!("5: listener.l.plain_text: {NAMELESS}")]
        );
        assert_eq!(printed(&format!("pool = \"s\"\n{passing}")), [""; 0]);
    }
}
