//! Owns the tests of a resolv.conf that changes while the control plane runs.

use std::fs;
use std::sync::mpsc::channel;

use ringmain::balance::PoolId;
use ringmain::config::{self, Config};
use ringmain::control::{Control, Told};
use tempfile::TempDir;

use super::asking::TIMEOUT;
use super::dns::{DnsServer, Kind, a};

/// A pool of the addresses of `agg`, with these lines of [resolver].
fn configured(resolver: &str) -> Config {
    let text = format!(
        "[listener.l]\nlisten = \"127.0.0.1:1\"\npool = \"p\"\n[resolver]\n{resolver}\n\
         [pool.p]\nsources = [{{ dns = \"agg:6000\" }}]\n\
         [pool.p.discovery]\nmin_interval = \"100ms\"\nmax_interval = \"1h\"\n\
         retry_interval = \"1h\""
    );
    config::parse(&text, "test").unwrap_or_else(|errors| panic!("{errors}"))
}

/// As a program does it that makes the file.
fn write(folder: &TempDir, text: &str) {
    let new = folder.path().join("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, folder.path().join("resolv.conf")).unwrap();
}

fn control(config: &Config, folder: &TempDir) -> Control {
    Control::with_resolv_conf(config, &Vec::new(), 1, &folder.path().join("resolv.conf")).unwrap()
}

/// Lets the control plane run until it has published a pool with these backends alone.
async fn until_found(control: Control, backends: &[&str], change: impl FnOnce()) {
    let (tell, told) = channel();
    let running = control.run(move |news| {
        let Told::Pools(pools) = news else { return };
        for (PoolId(_), pool) in pools {
            let names = pool.members().iter().map(|member| member.backend.name.to_string());
            tell.send(names.collect::<Vec<_>>()).unwrap();
        }
    });
    let found = async {
        loop {
            match told.try_recv() {
                Ok(names) if names == backends => return,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    change();
    tokio::select! {
        () = running => unreachable!("it runs for ever"),
        found = tokio::time::timeout(TIMEOUT, found) => found.expect("found in time"),
    }
}

#[tokio::test]
async fn other_search_domains_are_heeded_and_what_failed_is_asked_again_at_once() {
    let server = DnsServer::start();
    server.set("agg.two.test", [a("10.0.0.2")]);
    let folder = TempDir::new().unwrap();
    write(&folder, "search one.test\n");
    let nameservers = format!("nameservers = [\"{}\"]", server.address());
    let mut control = control(&configured(&nameservers), &folder);
    control.settle(TIMEOUT).await;
    assert_eq!(server.queries("agg.one.test", Kind::A), 1);
    assert!(control.snapshot().pools().all(|(_, pool)| pool.members().is_empty()));
    // The next try would be in an hour.
    let change = || write(&folder, "search two.test\n");
    until_found(control, &["10.0.0.2:6000"], change).await;
    assert_eq!(server.queries("agg.one.test", Kind::A), 1);
}
