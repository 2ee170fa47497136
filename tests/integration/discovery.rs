//! Where backends come from, while clients connect all the time: what is found serves, what is
//! gone is left alone, and no connection fails for it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;

use super::aggregator::Aggregator;
use super::dns::{DnsServer, Kind, srv};
use super::fleet::{NAME, Search, address, service, services, set};
use super::load::{Load, ask, report};
use super::patience::{eventually, now};
use super::peer::vacant_alike;
use super::stream::connect;

fn aggregators<const N: usize>(names: [&str; N]) -> [Aggregator; N] {
    names.map(Aggregator::start)
}

/// With one port in common.
fn alike(names: [&str; 3]) -> [Aggregator; 3] {
    let mut addresses = vacant_alike().into_iter();
    names.map(|name| Aggregator::start_at(name, addresses.next().unwrap()))
}

#[test]
fn a_service_that_comes_and_one_that_goes_are_followed() {
    for additionals in [true, false] {
        let what = if additionals { "SRV with additionals" } else { "SRV without additionals" };
        let [a, b, c] = aggregators(["a", "b", "c"]);
        let dns = DnsServer::start();
        dns.send_additionals(additionals);
        set(&dns, &[&a, &b]);
        let proxy = Search::of_services().start(dns.address());
        let load = Load::start(proxy.address());
        load.await_answers(&["a", "b"], now());
        let change = now();
        set(&dns, &[&a, &b, &c]);
        report(&format!("{what}, one comes"), load.await_answers(&["a", "b", "c"], change));
        let change = now();
        set(&dns, &[&b, &c]);
        report(&format!("{what}, one goes"), load.await_answers(&["b", "c"], change));
        load.finish(what);
    }
}

#[test]
fn weights_from_none_to_the_greatest_share_out_connections() {
    let [a, b] = aggregators(["a", "b"]);
    let dns = DnsServer::start();
    let weigh = |weights: [u16; 2]| {
        dns.set(NAME, [service(&dns, &a, 0, weights[0]), service(&dns, &b, 0, weights[1])]);
        weights
    };
    weigh([65_535, 0]);
    let proxy = Search::of_services().start(dns.address());
    let load = Load::start(proxy.address());
    let shares = load.next(100);
    assert!(shares.get("b").copied().unwrap_or(0) <= 1, "{shares:?}");
    // Those that nobody else has a weight beside are alike.
    let change = now();
    weigh([0, 0]);
    report("SRV weights 65535:0 to 0:0", load.await_answers(&["a", "b"], change));
    let shares = load.next(100);
    assert!((49..=51).contains(&shares["b"]), "{shares:?}");
    weigh([49_152, 16_384]);
    let share = || (24..=26).contains(&load.next(100)["b"]).then_some(());
    eventually("a quarter of the connections", share);
    load.finish("SRV weights");
}

#[test]
fn the_lowest_priority_serves_and_the_next_one_when_it_is_gone() {
    let [a, b, c] = aggregators(["a", "b", "c"]);
    let dns = DnsServer::start();
    let services = [service(&dns, &a, 10, 1), service(&dns, &b, 10, 1), service(&dns, &c, 20, 1)];
    dns.set(NAME, services.clone());
    let proxy = Search::of_services().start(dns.address());
    let load = Load::start(proxy.address());
    load.await_answers(&["a", "b"], now());
    let change = now();
    dns.set(NAME, services[2..].to_vec());
    report("SRV priorities, the lowest goes", load.await_answers(&["c"], change));
    let change = now();
    dns.set(NAME, services);
    report("SRV priorities, it comes back", load.await_answers(&["a", "b"], change));
    load.finish("SRV priorities");
}

#[test]
fn a_set_that_is_replaced_whole_leaves_sessions_in_progress_alone() {
    // Without additionals the new names are asked for, and until then the old ones serve.
    for additionals in [true, false] {
        let what = format!("a whole set is replaced, additionals: {additionals}");
        let [a, b, c, d] = aggregators(["a", "b", "c", "d"]);
        let dns = DnsServer::start();
        dns.send_additionals(additionals);
        set(&dns, &[&a, &b]);
        let proxy = Search::of_services().start(dns.address());
        let sessions = [connect(proxy.address()), connect(proxy.address())];
        let before = sessions.each_ref().map(|session| ask(session, "before").unwrap());
        let load = Load::start(proxy.address());
        load.await_answers(&["a", "b"], now());
        let change = now();
        set(&dns, &[&c, &d]);
        report(&what, load.await_answers(&["c", "d"], change));
        let after = sessions.each_ref().map(|session| ask(session, "after").unwrap());
        assert_eq!(before, after);
        load.finish(&what);
    }
}

#[test]
fn a_port_and_an_address_that_move_are_followed() {
    let [old, _, new] = alike(["old", "at another address", "new"]);
    let [moved] = aggregators(["moved"]);
    let dns = DnsServer::start();
    let at = |port: u16| dns.set(NAME, [srv(0, 1, port, "agg.test").ttl(0)]);
    dns.set("agg.test", [address(&old)]);
    at(old.address.port());
    let proxy = Search::of_services().start(dns.address());
    let load = Load::start(proxy.address());
    load.await_answers(&["old"], now());
    let change = now();
    dns.set("agg.test", [address(&new)]);
    report("an address moves", load.await_answers(&["new"], change));
    // The port alone cannot move to an aggregator elsewhere: for a moment neither would answer.
    let [other] = [Aggregator::start_at("other", (new.address.ip(), 0).into())];
    let change = now();
    at(other.address.port());
    report("a port moves", load.await_answers(&["other"], change));
    let change = now();
    dns.set(NAME, [service(&dns, &moved, 0, 1)]);
    report("a target moves", load.await_answers(&["moved"], change));
    load.finish("moves");
}

#[test]
fn names_of_a_template_serve_as_soon_as_they_exist() {
    let [first, second, third] = alike(["agg-0", "agg-1", "agg-2"]);
    let dns = DnsServer::start();
    dns.set("agg-0.test", [address(&first)]);
    dns.set("agg-1.test", [address(&second)]);
    let sources = format!("{{ template = \"agg-{{0..2}}.test:{}\" }}", first.address.port());
    let discovery = "hold_nxdomain = \"100ms\"";
    let proxy = Search { sources: &sources, discovery, ..Search::of_services() };
    let proxy = proxy.start(dns.address());
    let load = Load::start(proxy.address());
    load.await_answers(&["agg-0", "agg-1"], now());
    let change = now();
    dns.set("agg-2.test", [address(&third)]);
    report("a template's name comes", load.await_answers(&["agg-0", "agg-1", "agg-2"], change));
    let change = now();
    dns.remove("agg-0.test");
    report("a template's name goes", load.await_answers(&["agg-1", "agg-2"], change));
    load.finish("a template");
}

#[test]
fn each_address_of_a_name_is_a_backend() {
    let [a, b, c] = alike(["a", "b", "c"]);
    let dns = DnsServer::start();
    dns.set("agg.test", [address(&a), address(&b)]);
    let sources = format!("{{ dns = \"agg.test:{}\" }}", a.address.port());
    let proxy = Search { sources: &sources, ..Search::of_services() }.start(dns.address());
    let load = Load::start(proxy.address());
    load.await_answers(&["a", "b"], now());
    let change = now();
    dns.set("agg.test", [address(&c), address(&b)]);
    report("an address of a name is replaced", load.await_answers(&["b", "c"], change));
    load.finish("a name's addresses");
}

#[test]
fn a_file_is_followed_when_it_is_replaced_and_when_it_is_rewritten() {
    let [a, b, c] = aggregators(["a", "b", "c"]);
    let folder = tempfile::tempdir().unwrap();
    let (path, new) = (folder.path().join("backends"), folder.path().join("new"));
    let lines = |backends: &[&Aggregator]| -> String {
        backends.iter().map(|backend| format!("{}\n", backend.address)).collect()
    };
    fs::write(&path, lines(&[&a, &b])).unwrap();
    let sources = format!("{{ file = \"{}\" }}", path.display());
    let nobody = DnsServer::start();
    let proxy = Search { sources: &sources, ..Search::of_services() }.start(nobody.address());
    let load = Load::start(proxy.address());
    load.await_answers(&["a", "b"], now());
    let change = now();
    fs::write(&new, lines(&[&b, &c])).unwrap();
    fs::rename(&new, &path).unwrap();
    report("a file is replaced", load.await_answers(&["b", "c"], change));
    let change = now();
    fs::write(&path, lines(&[&a])).unwrap();
    report("a file is rewritten in place", load.await_answers(&["a"], change));
    let events = proxy.events();
    fs::remove_file(&path).unwrap();
    proxy.await_words_after(events, "the last good answer is kept");
    let change = now();
    let table = format!("backends = [\"{}\", {{ address = \"{}\" }}]\n", b.address, c.address);
    fs::write(&path, table).unwrap();
    report("a file is back, as TOML", load.await_answers(&["b", "c"], change));
    load.finish("a file");
    assert_eq!(nobody.seen(), []);
}

/// Each of them is an address of this host, behind which is one aggregator for all.
#[test]
fn ten_thousand_backends_are_followed() {
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let [many, few] = ["many", "few"].map(|name| Aggregator::start_at(name, everywhere));
    let folder = tempfile::tempdir().unwrap();
    let [path, new] = ["backends", "backends.new"].map(|name| folder.path().join(name));
    let list = |aggregator: &Aggregator, count: u32| {
        let port = aggregator.address.port();
        let line = |number| format!("{}:{port}\n", Ipv4Addr::from(0x7f10_0000 + number));
        fs::write(&new, (0..count).map(line).collect::<String>()).unwrap();
        fs::rename(&new, &path).unwrap();
    };
    for policy in ["least-connections", "maglev"] {
        list(&many, 10_000);
        let sources = format!("{{ file = \"{}\" }}", path.display());
        let pool = format!("policy = \"{policy}\"");
        let nobody = DnsServer::start();
        let search = Search { sources: &sources, pool: &pool, ..Search::of_services() };
        let proxy = search.start(nobody.address());
        let load = Load::start(proxy.address());
        load.await_answers(&["many"], now());
        let page: Value = serde_json::from_str(&proxy.get("/pools").1).unwrap();
        assert_eq!(page["pools"][0]["backends"].as_array().unwrap().len(), 10_000);
        for (aggregator, count) in [(&few, 2), (&many, 10_000), (&few, 10_000)] {
            let change = now();
            list(aggregator, count);
            let took = load.await_answers(&[&aggregator.name], change);
            report(&format!("{policy}, now {count} backends"), took);
        }
        load.finish("ten thousand backends");
    }
}

#[test]
fn several_sources_make_one_pool() {
    let [listed, named, served] = alike(["listed", "named", "served"]);
    let [filed] = aggregators(["filed"]);
    let dns = DnsServer::start();
    dns.set("agg.test", [address(&named)]);
    set(&dns, &[&served]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backends");
    fs::write(&path, filed.address.to_string()).unwrap();
    let sources = format!(
        "{{ srv = \"{NAME}\" }}, {{ dns = \"agg.test:{}\" }}, {{ file = \"{}\" }}",
        named.address.port(),
        path.display()
    );
    let pool = format!("backends = [\"{}\"]", listed.address);
    let discovery = "hold_empty = \"100ms\"";
    let search = Search { sources: &sources, pool: &pool, discovery, ..Search::of_services() };
    let proxy = search.start(dns.address());
    let load = Load::start(proxy.address());
    load.await_answers(&["listed", "named", "served", "filed"], now());
    let change = now();
    dns.set(NAME, []);
    report("one source of four goes", load.await_answers(&["listed", "named", "filed"], change));
    let change = now();
    fs::write(&path, listed.address.to_string()).unwrap();
    // It is in two of them now, and one backend.
    report("one source repeats another", load.await_answers(&["listed", "named"], change));
    let shares = load.next(100);
    assert!((49..=51).contains(&shares["named"]), "{shares:?}");
    load.finish("several sources");
}

#[test]
fn answers_that_alternate_are_followed_and_nothing_fails() {
    let [a, b, c] = aggregators(["a", "b", "c"]);
    let dns = DnsServer::start();
    dns.alternate(NAME, [services(&dns, &[&a, &b]), services(&dns, &[&c])]);
    let proxy = Search::of_services().start(dns.address());
    let session = connect(proxy.address());
    let name = ask(&session, "before").unwrap();
    let load = Load::start(proxy.address());
    dns.await_queries(NAME, Kind::SRV, dns.queries(NAME, Kind::SRV) + 12);
    assert_eq!(ask(&session, "after").unwrap(), name);
    let change = now();
    set(&dns, &[&b]);
    report("after answers that alternate", load.await_answers(&["b"], change));
    load.finish("answers that alternate");
}
