//! The keys of `[listener.NAME]` that say what is read of a session before it has a pool, and which
//! pool it gets. Reads no session.

use std::time::Duration;

use super::reader::Section;
use super::route::{self, PlainText, Route, Routes};
use super::units::{HOUR, KIB, MIB, SECOND};
use super::ways::{Load, Ways};

/// A part of `Listener`, by the names it has there.
pub(super) struct Preface {
    pub tls: Option<String>,
    pub pool: Option<String>,
    pub routes: Vec<Route>,
    pub reads_hellos: bool,
    pub hello_timeout: Duration,
    pub hello_size: usize,
    pub plain_text: PlainText,
}

pub(super) fn read(section: &Section<'_>, ways: &mut Ways<'_>) -> Preface {
    // Twice an option: what could not be read is not known.
    let tls = section.given_or("tls", None, |field| ways.tls(field));
    let pool = section.value_or("pool", None, |field| ways.pool(field).map(Some));
    let routes = section.value_or("routes", None, |field| route::read(field, &tls, ways).map(Some));
    let plain_text =
        section.value_or("plain_text", PlainText::Reject, |field| field.choice(&PLAIN_TEXT));
    let by_name = pool.as_ref().is_some_and(|pool: &String| ways.goes_by_name(pool));
    let reads_hellos = section.gives("routes") || tls != Some(None) || by_name;
    if !reads_hellos {
        refuse_keys_of_hellos(section);
    }
    if !section.gives("pool") {
        refuse_without_pool(section, &tls, routes.as_ref(), plain_text);
    }
    if let Some(pool) = &pool {
        let load = match &tls {
            Some(None) if !reads_hellos => Some(Load::Unread),
            Some(None) => Some(Load::PassedThrough),
            Some(Some(_)) => Some(Load::Ended),
            None => None,
        };
        if let Some(load) = load {
            ways.add(section.place_of("pool"), pool, load);
        }
        if reads_hellos && plain_text == PlainText::Pass {
            ways.add(section.place_of("plain_text"), pool, Load::PlainText);
        }
    }
    Preface {
        tls: tls.flatten(),
        pool,
        routes: routes.map(|routes| routes.routes).unwrap_or_default(),
        reads_hellos,
        hello_timeout: section.value_or("hello_timeout", 5 * SECOND, |field| {
            field.duration(Duration::from_millis(100)..=HOUR)
        }),
        hello_size: section.value_or("hello_size", 64 * KIB, |field| field.size(4 * KIB..=MIB)),
        plain_text,
    }
}

fn refuse_keys_of_hellos(section: &Section<'_>) {
    for key in ["hello_timeout", "hello_size", "plain_text"] {
        let message = "has no meaning where no ClientHello is read; \
                       take it out, or give tls or routes, or a pool with key = \"server-name\"";
        section.refuse_if_given(key, message);
    }
}

/// Refuses what no session comes to where only routes lead anywhere.
fn refuse_without_pool(
    section: &Section<'_>,
    tls: &Option<Option<String>>,
    routes: Option<&Routes>,
    plain_text: PlainText,
) {
    if !section.gives("routes") {
        let message = "missing, and so are routes; add one of them".to_owned();
        section.reader.refuse_absence(&section.place_of("pool"), message);
    }
    if plain_text == PlainText::Pass {
        let message = "\"pass\" has no pool to pass anything to; add pool, or give \"reject\"";
        section.reader.refuse(&section.place_of("plain_text"), message.to_owned());
    }
    let Some(routes) = routes else { return };
    if routes.reject {
        let message = "refuse everything, since there is no pool for the rest; add pool".to_owned();
        section.reader.refuse(&section.place_of("routes"), message);
    } else if routes.leave_tls && matches!(tls, Some(Some(_))) {
        let message = "ends nothing: each route says otherwise, and there is no pool for the \
                       rest; take it out";
        section.reader.refuse(&section.place_of("tls"), message.to_owned());
    }
}

const PLAIN_TEXT: [(&str, PlainText); 2] =
    [("reject", PlainText::Reject), ("pass", PlainText::Pass)];

#[cfg(test)]
mod tests {
    use super::*;

    use crate::config::RouteTarget;
    use crate::config::samples::{errors, valid, valid_entry, with_entry};

    const ROUTE: &str = "{ server_names = [\"a.b\"], pool = \"q\" }";

    #[test]
    fn a_listener_reads_nothing_unless_it_is_asked_to() {
        for lines in ["pool = \"p\"", "pool = \"p\"\ntls = \"off\""] {
            let listener = valid_entry(lines);
            assert_eq!((listener.tls, listener.pool), (None, Some("p".to_owned())));
            assert_eq!((listener.routes, listener.reads_hellos), (vec![], false));
        }
        for key in ["hello_timeout = \"5s\"", "hello_size = \"64KiB\"", "plain_text = \"reject\""] {
            let name = key.split(' ').next().unwrap();
            assert_eq!(
                with_entry(&format!("pool = \"p\"\n{key}")),
                [format!(
                    "4: listener.l.{name}: has no meaning where no ClientHello is read; \
                     take it out, or give tls or routes, or a pool with key = \"server-name\""
                )]
            );
            for reading in ["tls = \"edge\"".to_owned(), format!("routes = [{ROUTE}]")] {
                assert_eq!(with_entry(&format!("pool = \"p\"\n{key}\n{reading}")), [""; 0]);
            }
        }
    }

    #[test]
    fn a_listener_whose_pool_goes_by_the_name_reads_it() {
        let file = |listener: &str, key: &str| {
            format!(
                "[listener.l]\nlisten = \"0.0.0.0:1\"\npool = \"p\"\n{listener}\n\
                 [pool.p]\npolicy = \"ring\"\nkey = \"{key}\"\nbackends = [\"10.0.0.1:1\"]\n"
            )
        };
        let listener = |key| valid(&file("", key)).listeners.remove(0);
        assert!(listener("server-name").reads_hellos);
        assert!(!listener("source").reads_hellos);
        let given = valid(&file("hello_timeout = \"1s\"\nplain_text = \"pass\"", "server-name"));
        let given = &given.listeners[0];
        assert_eq!((given.hello_timeout, given.plain_text), (SECOND, PlainText::Pass));
        let wrapped = errors(&format!("{}tls = {{}}", file("", "server-name")));
        assert_eq!(wrapped.len(), 1, "{wrapped:?}");
        assert!(wrapped[0].contains("would be wrapped"), "{wrapped:?}");
    }

    #[test]
    fn what_is_read_first_is_read() {
        let bare = valid_entry("pool = \"p\"\ntls = \"edge\"");
        assert_eq!((bare.tls.as_deref(), bare.plain_text), (Some("edge"), PlainText::Reject));
        assert_eq!((bare.hello_timeout, bare.hello_size), (5 * SECOND, 64 * KIB));
        let given = valid_entry(
            "pool = \"p\"\ntls = \"edge\"\nhello_timeout = \"1h\"\nhello_size = \"4KiB\"\n\
             plain_text = \"pass\"",
        );
        assert_eq!((given.hello_timeout, given.hello_size), (HOUR, 4 * KIB));
        assert_eq!(given.plain_text, PlainText::Pass);
    }

    #[test]
    fn routes_may_do_without_a_pool() {
        let listener = valid_entry(&format!("tls = \"edge\"\nroutes = [{ROUTE}]"));
        assert_eq!(listener.pool, None);
        let target = RouteTarget::Relay { pool: "q".to_owned(), tls: Some("edge".to_owned()) };
        assert_eq!(listener.routes[0].target, target);
        let missing = "1: listener.l.pool: missing, and so are routes; add one of them";
        assert_eq!(with_entry("tls = \"edge\""), [missing]);
        let broken = with_entry("tls = \"edge\"\nroutes = [1]");
        assert_eq!(broken.len(), 1, "what is wrong is not missed as well: {broken:?}");
    }

    #[test]
    fn values_have_their_limits() {
        let cases = [
            ("tls = \"edgee\"", "tls: no tls section is named \"edgee\"; did you mean \"edge\"?"),
            (
                "tls = \"x\"",
                "tls: no tls section is named \"x\"; \
                 add it, or give the name of another tls section",
            ),
            ("tls = true", "tls: found true; give the name of a tls section, or \"off\""),
            (
                "hello_timeout = \"99ms\"",
                "hello_timeout: found \"99ms\"; give a duration from 100ms to 1h",
            ),
            ("hello_size = 4095", "hello_size: found 4095; give a size from 4KiB to 1MiB"),
            ("hello_size = \"2MiB\"", "hello_size: found \"2MiB\"; give a size from 4KiB to 1MiB"),
            ("plain_text = \"on\"", "plain_text: found \"on\"; give \"reject\" or \"pass\""),
            (
                "routes = []",
                "routes: found an empty array; give at least one route, such as \
                 { server_names = [\"agg.example.com\"], pool = \"NAME\" }",
            ),
        ];
        for (line, expected) in cases {
            let (tls, number) =
                if line.starts_with("tls") { ("", 4) } else { ("tls = \"edge\"\n", 5) };
            let found = with_entry(&format!("pool = \"p\"\n{tls}{line}"));
            assert_eq!(found, [format!("{number}: listener.l.{expected}")]);
        }
    }

    #[test]
    fn what_no_session_comes_to_is_refused() {
        let otherwise = "[{ alpn = [\"a\"], pool = \"p\", tls = \"off\" },\n\
                         { alpn = [\"b\"], pool = \"q\", tls = \"inner\" },\n\
                         { alpn = [\"c\"], reject = true }]";
        assert_eq!(
            with_entry(&format!("tls = \"edge\"\nroutes = {otherwise}")),
            ["3: listener.l.tls: ends nothing: each route says otherwise, and there is no pool \
                 for the rest; take it out"]
        );
        let with_pool = format!("tls = \"edge\"\npool = \"p\"\nroutes = {otherwise}");
        assert_eq!(with_entry(&with_pool), [""; 0], "the rest goes by it");
        let inheriting = otherwise.replace(", tls = \"inner\"", "");
        assert_eq!(with_entry(&format!("tls = \"edge\"\nroutes = {inheriting}")), [""; 0]);
        let broken = otherwise.replace("reject = true", "reject = 1");
        let found = with_entry(&format!("tls = \"edge\"\nroutes = {broken}"));
        assert_eq!(found.len(), 1, "a route that is not known may go by it: {found:?}");

        let rejecting = "routes = [{ alpn = [\"a\"], reject = true }]";
        assert_eq!(
            with_entry(rejecting),
            ["3: listener.l.routes: refuse everything, since there is no pool for the rest; \
              add pool"]
        );
        assert_eq!(with_entry(&format!("{rejecting}\npool = \"p\"")), [""; 0]);
        assert_eq!(
            with_entry(&format!("routes = [{ROUTE}]\nplain_text = \"pass\"")),
            ["4: listener.l.plain_text: \"pass\" has no pool to pass anything to; \
              add pool, or give \"reject\""]
        );
    }
}
