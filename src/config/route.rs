//! `routes` of `[listener.NAME]`: where a session goes by the server name and the protocols that
//! its ClientHello asks for. Routes none.

use std::collections::BTreeMap;

use super::field::{Field, Read, quoted};
use super::reader::{Place, Reader, Section};
use super::ways::{Load, Ways};
use super::{protocols, server_name};

/// One rule. It holds for a ClientHello that asks for one of its names, if it has any, and offers
/// one of its protocols, if it has any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// In lower case, without a trailing dot; `*.` at the front stands for one label or more.
    pub server_names: Vec<String>,
    /// Of 1 to 255 bytes each. Not empty if there are no names.
    pub alpn: Vec<String>,
    pub target: RouteTarget,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteTarget {
    Relay {
        /// The name of a pool of the same `Config`.
        pool: String,
        /// The name of a `Tls` of the same `Config`: where the route says nothing, the
        /// listener's. None: TLS passes through.
        tls: Option<String>,
    },
    Reject,
}

/// What becomes of a client that begins with anything but a ClientHello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainText {
    Reject,
    /// It goes to the pool of the listener as it is.
    Pass,
}

/// The routes of one listener.
pub(super) struct Routes {
    pub routes: Vec<Route>,
    /// None of them goes by the listener's `tls`.
    pub leave_tls: bool,
    /// All of them reject.
    pub reject: bool,
}

/// `tls` is the listener's own, if it could be read.
pub(super) fn read(
    field: &Field<'_>,
    tls: &Option<Option<String>>,
    ways: &mut Ways<'_>,
) -> Read<Routes> {
    let mut taken = Taken::default();
    let mut routes = Routes { routes: Vec::new(), leave_tls: true, reject: true };
    for item in field.some_items(&format!("at least one route, such as {ROUTE}"))? {
        let section = item.section(ROUTE);
        let says_tls = section.as_ref().is_some_and(|section| section.gives("tls"));
        let route = section
            .and_then(|section| section.read(|section| route(section, tls, ways, &mut taken)));
        let target = route.as_ref().map(|route| &route.target);
        let rejects = target == Some(&RouteTarget::Reject);
        routes.reject &= rejects;
        routes.leave_tls &= rejects || (says_tls && target.is_some());
        routes.routes.extend(route);
    }
    Ok(routes)
}

fn route(
    section: &Section<'_>,
    tls: &Option<Option<String>>,
    ways: &mut Ways<'_>,
    taken: &mut Taken,
) -> Option<Route> {
    let server_names = section.value_or("server_names", Vec::new(), server_names);
    let alpn = section.value_or("alpn", Vec::new(), alpn);
    if !section.gives("server_names") && !section.gives("alpn") {
        let message = "holds for no client; give server_names or alpn, or both".to_owned();
        section.reader.refuse_absence(&section.place, message);
    }
    taken.take(section.reader, &server_names, &alpn);
    let target = target(section, tls, ways)?;
    if let RouteTarget::Relay { tls: Some(tls), .. } = &target {
        for (protocol, place) in alpn.iter().filter(|(it, _)| !ways.may_agree(tls, it)) {
            let protocol = quoted(protocol);
            let message = format!(
                "tls.{tls} does not offer {protocol}, so that nobody agrees on it here; \
                 add it to tls.{tls}.alpn, or give tls = \"off\""
            );
            section.reader.refuse(place, message);
        }
    }
    let values = |items: Vec<(String, Place)>| items.into_iter().map(|(value, _)| value).collect();
    Some(Route { server_names: values(server_names), alpn: values(alpn), target })
}

fn server_names(field: &Field<'_>) -> Read<Vec<(String, Place)>> {
    let remedy = "at least one server name, such as \"agg.example.com\" or \"*.example.com\"";
    field.some_items(remedy)?;
    field.distinct_items(remedy, server_name::pattern)
}

fn alpn(field: &Field<'_>) -> Read<Vec<(String, Place)>> {
    field.some_items("at least one protocol, such as \"h2\"")?;
    protocols::read(field)
}

/// `tls` is the listener's own, if it could be read.
fn target(
    section: &Section<'_>,
    tls: &Option<Option<String>>,
    ways: &mut Ways<'_>,
) -> Option<RouteTarget> {
    let rejects = section.given_or("reject", false, Field::boolean);
    let tls = section.given_or("tls", tls.clone(), |field| ways.tls(field).map(Some)).flatten();
    let pool = section.value_or("pool", None, |field| ways.pool(field).map(Some));
    if rejects == Some(true) {
        section.refuse_if_given("pool", "stands beside reject; give one of the two");
        let message = "has no meaning for a route that rejects; take it out";
        section.refuse_if_given("tls", message);
        return Some(RouteTarget::Reject);
    }
    if rejects == Some(false) && !section.gives("pool") {
        let message = "leads nowhere; give pool, or reject = true".to_owned();
        section.reader.refuse_absence(&section.place, message);
    }
    let (tls, pool) = (tls?, pool?);
    let load = if tls.is_some() { Load::Ended } else { Load::PassedThrough };
    ways.add(section.place_of("pool"), &pool, load);
    Some(RouteTarget::Relay { pool, tls })
}

/// What the routes of one listener hold for, each with its place. A name without a protocol
/// stands for those that no other route has, and so does a protocol without a name.
#[derive(Default)]
struct Taken(BTreeMap<(Option<String>, Option<String>), String>);

impl Taken {
    /// Refuses each name that an earlier route has taken, with one of its protocols if there are
    /// any; without names it is the protocol that is refused.
    fn take(
        &mut self,
        reader: &Reader,
        server_names: &[(String, Place)],
        alpn: &[(String, Place)],
    ) {
        for (name, place) in any_or_each(server_names) {
            for (protocol, protocol_place) in any_or_each(alpn) {
                let Some(place) = place.or(protocol_place) else { continue };
                let key = (name.cloned(), protocol.cloned());
                if let Some(first) = self.0.get(&key) {
                    let named: Vec<_> = [name, protocol].into_iter().flatten().collect();
                    let named: Vec<_> = named.into_iter().map(|text| quoted(text)).collect();
                    let named = named.join(" with ");
                    let message = format!("{named} is routed by {first} already; keep one of them");
                    reader.refuse(place, message);
                } else {
                    self.0.insert(key, place.path.clone());
                }
            }
        }
    }
}

/// Each item with its place, or nothing where there are none.
fn any_or_each(
    items: &[(String, Place)],
) -> impl Iterator<Item = (Option<&String>, Option<&Place>)> {
    let any = items.is_empty().then_some((None, None));
    any.into_iter().chain(items.iter().map(|(value, place)| (Some(value), Some(place))))
}

const ROUTE: &str = "{ server_names = [\"agg.example.com\"], pool = \"NAME\" }";

#[cfg(test)]
mod tests {
    use super::*;

    use crate::config::samples::{POOL, errors, valid_entry, with_entry};

    /// The routes of a valid file.
    fn routes(lines: &str) -> Vec<Route> {
        valid_entry(&format!("tls = \"edge\"\npool = \"p\"\nroutes = [{lines}]")).routes
    }

    /// What is printed for a listener with these routes, from line 5 on.
    fn refused(lines: &str) -> Vec<String> {
        with_entry(&format!("tls = \"edge\"\npool = \"p\"\nroutes = [{lines}]"))
    }

    #[test]
    fn every_kind_of_route_is_read() {
        let routes = routes(
            "{ server_names = [\"A.example.com\", \"*.EU.example.com\"], pool = \"p\" },\n\
             { server_names = [\"a\"], alpn = [\"h2\", \"H2\"], pool = \"q\", tls = \"inner\" },\n\
             { alpn = [\"mqtt\"], pool = \"q\", tls = \"off\", reject = false },\n\
             { server_names = [\"old_1.example.com\"], reject = true }",
        );
        let relay = |pool: &str, tls: Option<&str>| RouteTarget::Relay {
            pool: pool.to_owned(),
            tls: tls.map(str::to_owned),
        };
        let route = |server_names: &[&str], alpn: &[&str], target| Route {
            server_names: server_names.iter().map(ToString::to_string).collect(),
            alpn: alpn.iter().map(ToString::to_string).collect(),
            target,
        };
        let expected = [
            route(&["a.example.com", "*.eu.example.com"], &[], relay("p", Some("edge"))),
            route(&["a"], &["h2", "H2"], relay("q", Some("inner"))),
            route(&[], &["mqtt"], relay("q", None)),
            route(&["old_1.example.com"], &[], RouteTarget::Reject),
        ];
        assert_eq!(routes, expected);
    }

    #[test]
    fn a_route_leads_somewhere_and_from_somewhere() {
        let cases = [
            ("{ pool = \"p\" }", ": holds for no client; give server_names or alpn, or both"),
            ("{ alpn = [\"a\"] }", ": leads nowhere; give pool, or reject = true"),
            ("{ alpn = [\"a\"], reject = false }", ": leads nowhere; give pool, or reject = true"),
            (
                "{ alpn = [\"a\"], pool = \"p\", reject = true }",
                ".pool: stands beside reject; give one of the two",
            ),
            (
                "{ alpn = [\"a\"], tls = \"inner\", reject = true }",
                ".tls: has no meaning for a route that rejects; take it out",
            ),
            (
                "{ alpn = [\"a\"], pool = \"p\", reject = 1 }",
                ".reject: found 1; give true or false",
            ),
            (
                "{ alpn = [\"a\"], pool = \"pp\" }",
                ".pool: no pool is named \"pp\"; did you mean \"p\"?",
            ),
            (
                "{ alpn = [\"a\"], pool = \"p\", tls = \"iner\" }",
                ".tls: no tls section is named \"iner\"; did you mean \"inner\"?",
            ),
            (
                "{ server_name = [\"a\"], alpn = [\"a\"], pool = \"p\" }",
                ".server_name: unknown key; did you mean `server_names`?",
            ),
            (
                "{ server_names = [], pool = \"p\" }",
                ".server_names: found an empty array; give at least one server name, \
                 such as \"agg.example.com\" or \"*.example.com\"",
            ),
            (
                "{ alpn = [], pool = \"p\" }",
                ".alpn: found an empty array; give at least one protocol, such as \"h2\"",
            ),
            (
                "{ alpn = [\"\"], pool = \"p\" }",
                ".alpn[0]: \"\" has 0 bytes; give a protocol of 1 to 255 bytes, such as \"h2\"",
            ),
        ];
        for (route, expected) in cases {
            assert_eq!(refused(route), [format!("5: listener.l.routes[0]{expected}")]);
        }
    }

    #[test]
    fn a_protocol_that_leads_somewhere_can_be_agreed_on() {
        let offer = |tls: &str, protocol: &str| {
            format!(
                "tls.{tls} does not offer \"{protocol}\", so that nobody agrees on it here; \
                 add it to tls.{tls}.alpn, or give tls = \"off\""
            )
        };
        let routes = "{ alpn = [\"h2\", \"smtp\"], pool = \"p\" },\n\
                      { server_names = [\"a.b\"], alpn = [\"imap\"], pool = \"p\", \
                      tls = \"inner\" },\n\
                      { alpn = [\"pop3\"], pool = \"p\", tls = \"off\" },\n\
                      { alpn = [\"irc\"], reject = true }";
        assert_eq!(
            refused(routes),
            [
                format!("5: listener.l.routes[0].alpn[1]: {}", offer("edge", "smtp")),
                format!("6: listener.l.routes[1].alpn[0]: {}", offer("inner", "imap")),
            ]
        );
        // What the section says of its protocols is told once, and there.
        let broken = |alpn: &str| {
            errors(&format!(
                "[listener.l]\nlisten = \"0.0.0.0:1\"\ntls = \"t\"\n\
                 routes = [{{ alpn = [\"h2\"], pool = \"p\" }}]\n{POOL}\
                 [tls.t]\ncertificates = [{{ chain = \"/c\", key = \"/k\" }}]\n{alpn}"
            ))
        };
        assert_eq!(broken("alpn = [\"h2\"]"), [""; 0]);
        assert_eq!(broken("alpn = \"h2\"").len(), 1);
        for alpn in ["", "alpn = []"] {
            assert_eq!(
                broken(alpn),
                [format!("4: listener.l.routes[0].alpn[0]: {}", offer("t", "h2"))]
            );
        }
    }

    #[test]
    fn names_are_of_hosts_or_of_all_below_a_domain() {
        let cases = [
            ("*.com", "has fewer than two labels after its star"),
            ("*.", "has fewer than two labels after its star"),
            ("*", "has fewer than two labels after its star"),
            ("a*.b.c", "has a star that is not its whole first label"),
            ("a.*.b", "has a star that is not its whole first label"),
            ("*.*.b.c", "has more than one star"),
            ("*..b", "has nothing before or between its dots"),
            ("*.b.c.", "ends with a dot"),
            ("b.c.", "ends with a dot"),
            ("", "has nothing before or between its dots"),
            ("a b", "holds other characters than letters, digits, `-`, `_` and `.`"),
            ("a.example:443", "holds other characters than letters, digits, `-`, `_` and `.`"),
            ("10.0.0.1", "is an address, which TLS sends no name for"),
            ("[::1]", "holds other characters than letters, digits, `-`, `_` and `.`"),
            ("*.0.0.1", "is made of numbers, and is neither an address nor a name"),
            ("-a.b", "has a hyphen beside a dot or an end, or ends with a number"),
        ];
        for (name, flaw) in cases {
            let found = refused(&format!("{{ server_names = [\"{name}\"], pool = \"p\" }}"));
            let remedy = "give a host name such as \"agg.example.com\", \
                          or \"*.example.com\" for all below it";
            let place = "5: listener.l.routes[0].server_names[0]";
            assert_eq!(found, [format!("{place}: \"{name}\" {flaw}; {remedy}")]);
        }
    }

    #[test]
    fn a_name_and_protocol_are_routed_once() {
        let found = refused(
            "\n{ server_names = [\"a\", \"*.b.c\", \"A\"], pool = \"p\" },\n\
             { server_names = [\"a\"], alpn = [\"h2\", \"x\"], pool = \"p\" },\n\
             { alpn = [\"h2\"], pool = \"p\" },\n\
             { server_names = [\"b.c\", \"*.B.c\"], pool = \"q\" },\n\
             { server_names = [\"d\", \"a\"], alpn = [\"y\", \"x\"], reject = true },\n\
             { alpn = [\"http/1.1\", \"h2\"], pool = \"q\" }",
        );
        assert_eq!(
            found,
            [
                "6: listener.l.routes[0].server_names[2]: \"A\" stands at \
                 listener.l.routes[0].server_names[0] already; take it out",
                "9: listener.l.routes[3].server_names[1]: \"*.b.c\" is routed by \
                 listener.l.routes[0].server_names[1] already; keep one of them",
                "10: listener.l.routes[4].server_names[1]: \"a\" with \"x\" is routed by \
                 listener.l.routes[1].server_names[0] already; keep one of them",
                "11: listener.l.routes[5].alpn[1]: \"h2\" is routed by \
                 listener.l.routes[2].alpn[0] already; keep one of them",
            ]
        );
    }
}
