//! Backends chosen by the name that clients ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::peer::Echo;
use super::super::proxy::{Plan, Proxy};
use super::super::stream::{expect_end, pass};
use super::authority::Authority;
use super::peer::{SecureEcho, Tls, client, server};
use super::scene::Rest;

const KEY: &str = "policy = \"rendezvous\"\nkey = \"server-name\"";

fn names() -> Vec<String> {
    (0..12).map(|number| format!("customer-{number}.edge.test")).collect()
}

/// The backends that served each name, through each of these listeners.
fn served(proxy: &Proxy, authority: &Authority, listeners: &[&str]) -> BTreeMap<String, Served> {
    let config = Arc::new(client(authority));
    for name in names() {
        for listener in listeners {
            let client = Tls::connect(proxy.listener(listener), &name, &config).unwrap();
            pass(&client, &client, 0..1000);
            client.close();
            expect_end(&client);
        }
    }
    let mut served = BTreeMap::<_, Served>::new();
    for session in proxy.sessions(names().len() * listeners.len()) {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let backends = served.entry(text(&session["tls"]["server_name"])).or_default();
        backends.insert(text(&session["backend"]));
    }
    served
}

type Served = BTreeSet<String>;

#[track_caller]
fn assert_one_backend_each(served: &BTreeMap<String, Served>) {
    assert_eq!(served.len(), names().len());
    assert!(served.values().all(|backends| backends.len() == 1), "{served:?}");
    let used: BTreeSet<_> = served.values().flatten().collect();
    assert!(used.len() > 1, "names are spread over the backends: {served:?}");
}

#[test]
fn a_name_finds_the_same_backend_through_every_listener() {
    let authority = Authority::new("the authority");
    let own = names();
    let own: Vec<_> = own.iter().map(String::as_str).collect();
    let identity = authority.identity("edge", &authority.issue(&own));
    let backends: Vec<_> = (0..4).map(|_| Echo::start()).collect();
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    // The one ends TLS for everyone, the other by a route.
    let more = format!(
        "[tls.edge]\ncertificates = [{identity}]\n\
         [listener.other]\nlisten = \"127.0.0.1:0\"\n\
         routes = [{{ server_names = [\"*.edge.test\"], pool = \"back\", tls = \"edge\" }}]\n"
    );
    let plan = Plan { listener: "tls = \"edge\"", pool: KEY, more: &more, ..Plan::of(&addresses) };
    let proxy = plan.start();
    let rest = Rest::of(&proxy);
    assert_one_backend_each(&served(&proxy, &authority, &["front", "other"]));
    rest.await_again(&proxy);
}

#[test]
fn a_name_that_passes_through_finds_the_same_backend_each_time() {
    let authority = Authority::new("the authority");
    let own = names();
    let own: Vec<_> = own.iter().map(String::as_str).collect();
    let config = server(&authority.issue(&own));
    let backends: Vec<_> = (0..4).map(|_| SecureEcho::start(config.clone())).collect();
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let listener = "routes = [{ server_names = [\"old.test\"], reject = true }]";
    let proxy = Plan { listener, pool: KEY, ..Plan::of(&addresses) }.start();
    let rest = Rest::of(&proxy);
    assert_one_backend_each(&served(&proxy, &authority, &["front", "front"]));
    rest.await_again(&proxy);
}
