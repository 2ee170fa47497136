//! Everything over IPv6: clients, backends, probes and nameservers; and backends of both families,
//! which are one backend each.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use serde_json::{Value, json};

use super::aggregator::Aggregator;
use super::dns::{DnsServer, a, aaaa, srv};
use super::fleet::{NAME, Search, set};
use super::load::{Load, ask, exchange, report};
use super::patience::{eventually, now};
use super::peer::vacant;
use super::proxy::{Plan, Proxy, run};
use super::stream::{connect, finish};

const ANY: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0);

fn aggregators<const N: usize>(names: [&str; N]) -> [Aggregator; N] {
    names.map(|name| Aggregator::start_at(name, ANY))
}

/// Aggregators at one port of an IPv4 address and of ::1, as a host of both families has them.
fn on_both(names: [&str; 2]) -> [Aggregator; 2] {
    let ipv6 = Aggregator::start_at(names[1], ANY);
    // Of IPv4 this process has an address of its own, on which any port is free.
    let ipv4 = SocketAddr::new(vacant().ip(), ipv6.address.port());
    [Aggregator::start_at(names[0], ipv4), ipv6]
}

fn backends(proxy: &Proxy) -> Vec<Value> {
    let page: Value = serde_json::from_str(&proxy.get("/pools").1).unwrap();
    page["pools"][0]["backends"].as_array().unwrap().clone()
}

#[test]
fn a_client_and_a_backend_of_ipv6_meet_and_are_logged() {
    let [a] = aggregators(["a"]);
    let proxy = Proxy::start(&Plan::of(&[a.address]).text("[::1]:0"), run);
    let client = connect(proxy.address());
    assert_eq!(ask(&client, "hello").unwrap(), "a");
    let source = client.local_addr().unwrap();
    finish(&client);
    let session = proxy.session();
    assert_eq!(session["client"], source.to_string());
    assert_eq!(session["backend_address"], a.address.to_string());
    assert_eq!(session["reason"], "finished");
}

#[test]
fn a_listener_on_every_ipv6_address_leaves_ipv4_alone() {
    let [a] = aggregators(["a"]);
    let proxy = Proxy::start(&Plan::of(&[a.address]).text("[::]:0"), run);
    let port = proxy.address().port();
    assert_eq!(exchange((ANY.ip(), port).into()).unwrap(), "a");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    TcpListener::bind(("0.0.0.0", port)).expect("the port is free for IPv4");
}

#[test]
fn services_with_ipv6_addresses_alone_are_found_at_a_nameserver_of_ipv6() {
    for additionals in [true, false] {
        let what = format!("IPv6, additionals: {additionals}");
        let [a, b, c] = aggregators(["a", "b", "c"]);
        let dns = DnsServer::start_on_ipv6();
        dns.send_additionals(additionals);
        set(&dns, &[&a, &b]);
        let text = Search::of_services().text(dns.address(), "[::1]:0");
        let proxy = Proxy::start(&text, run);
        let load = Load::start(proxy.address());
        load.await_answers(&["a", "b"], now());
        let change = now();
        set(&dns, &[&b, &c]);
        report(&what, load.await_answers(&["b", "c"], change));
        load.finish(&what);
    }
}

#[test]
fn a_target_of_both_families_is_one_backend_and_serves_while_one_of_them_does() {
    let [mut ipv4, mut ipv6] = on_both(["ipv4", "ipv6"]);
    let dns = DnsServer::start_on_ipv6();
    let port = ipv4.address.port();
    dns.set("agg.test", [a(&ipv4.address.ip().to_string()).ttl(0), aaaa("::1").ttl(0)]);
    dns.set(NAME, [srv(0, 1, port, "agg.test").ttl(0)]);
    let health = "[pool.back.health]\ncheck = \"tcp\"\ninterval = \"100ms\"\nfall = 1\nrise = 1";
    let search = Search { more: health, ..Search::of_services() };
    let proxy = search.start(dns.address());
    let rows = backends(&proxy);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["backend"], format!("agg.test:{port}"));
    // IPv6 first.
    let addresses = [format!("[::1]:{port}"), ipv4.address.to_string()];
    assert_eq!(rows[0]["addresses"], json!(addresses));
    assert_eq!(exchange(proxy.address()).unwrap(), "ipv6");
    let load = Load::start(proxy.address());
    let change = now();
    ipv6.kill();
    report("IPv6 is gone", load.await_answers(&["ipv4"], change));
    let tried = exchange(proxy.address());
    assert_eq!(tried.unwrap(), "ipv4");
    assert_eq!(proxy.metric("backend_probe_success", ""), 1, "one address is enough");
    let change = now();
    ipv6.revive();
    report("IPv6 is back", load.await_answers(&["ipv6"], change));
    // One connection may have been open on it.
    load.finish_but("one family goes", 1);
    ipv4.kill();
    ipv6.kill();
    proxy.await_words("is down");
    ipv4.revive();
    proxy.await_words(&format!("agg.test:{port} is up (was down)"));
    // The workers hear of it after the log.
    let answer = eventually("it serves again", || exchange(proxy.address()).ok());
    assert_eq!(answer, "ipv4");
}

#[test]
fn each_address_of_a_name_of_both_families_is_a_backend() {
    let [ipv4, ipv6] = on_both(["ipv4", "ipv6"]);
    let dns = DnsServer::start_on_ipv6();
    dns.set("agg.test", [a(&ipv4.address.ip().to_string()).ttl(0), aaaa("::1").ttl(0)]);
    let sources = format!("{{ dns = \"agg.test:{}\" }}", ipv4.address.port());
    let proxy = Search { sources: &sources, ..Search::of_services() }.start(dns.address());
    let load = Load::start(proxy.address());
    load.await_answers(&["ipv4", "ipv6"], now());
    load.finish("a name of both families");
    let names = backends(&proxy).iter().map(|row| row["backend"].clone()).collect::<Vec<_>>();
    assert_eq!(names, [ipv4.address.to_string(), ipv6.address.to_string()]);
}

#[test]
fn probes_go_over_ipv6_from_the_address_that_they_are_given() {
    let [mut a, b] = aggregators(["a", "b"]);
    let health = "[pool.back.health]\ncheck = \"send-expect\"\nsend = \"probe\\n\"\n\
                  expect = \" probe\"\ninterval = \"100ms\"\nfall = 2\nrise = 2\n\
                  source_addresses = [\"127.0.0.1\", \"::1\"]";
    let pool = "source_addresses = [\"::1\"]";
    let plan = Plan { pool, more: health, ..Plan::of(&[a.address, b.address]) };
    let proxy = plan.start();
    let load = Load::start(proxy.address());
    load.await_answers(&["a", "b"], now());
    proxy.await_metric("backend_probe_success", |well| well == 2);
    assert!(a.received().contains_key("probe"));
    let change = now();
    a.kill();
    report("a backend of IPv6 is killed", load.await_answers(&["b"], change));
    proxy.await_words(&format!("{} is down", a.address));
    a.revive();
    proxy.await_words(&format!("{} is up (was down)", a.address));
    load.await_answers(&["a", "b"], now());
    load.finish_but("a backend of IPv6 is killed", 1);
}
