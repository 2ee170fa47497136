//! Clients that are asked for another hello, and signatures that take so long that another thread
//! makes them: also those that answer a second hello, and those towards backends.

use std::sync::Arc;

use rustls::crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup, aws_lc_rs};
use rustls::{CipherSuite, ClientConfig, NamedGroup};

use super::super::peer::Backend;
use super::super::proxy::{Plan, Proxy};
use super::super::stream::{connect, expect_end, finish, pass};
use super::authority::Authority;
use super::peer::{SecureEcho, Tls, client, server, server_verifying};
use super::scene::{NAME, Rest, Scene};

/// A group that no server knows, of which a client offers its first share.
#[derive(Debug)]
struct Unheard;

impl SupportedKxGroup for Unheard {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, rustls::Error> {
        Ok(Box::new(Unheard))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X448
    }
}

impl ActiveKeyExchange for Unheard {
    fn complete(self: Box<Self>, _peer: &[u8]) -> Result<SharedSecret, rustls::Error> {
        panic!("no server takes this share")
    }

    fn pub_key(&self) -> &[u8] {
        &[7; 56]
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X448
    }
}

/// A client that is asked for another hello.
fn retrying(authority: &Authority) -> Arc<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups.insert(0, &Unheard);
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(authority.roots()).with_no_client_auth())
}

/// A proxy that ends TLS with these identities, for the session of each of these clients.
fn serve(identities: &[&str], clients: &[Arc<ClientConfig>]) -> Proxy {
    let backend = Backend::listen();
    let more = format!("[tls.edge]\ncertificates = [{}]", identities.join(", "));
    let plan = Plan { listener: "tls = \"edge\"", more: &more, ..Plan::of(&[backend.address]) };
    let proxy = plan.start();
    let rest = Rest::of(&proxy);
    for config in clients {
        let client = Tls::connect(proxy.address(), NAME, config).unwrap();
        let server = backend.accept();
        pass(&client, &server, 0..10_000);
        pass(&server, &client, 0..10_000);
        client.close();
        finish(&server);
        expect_end(&client);
    }
    assert!(proxy.sessions(clients.len()).iter().all(|it| it["reason"] == "finished"));
    rest.await_again(&proxy);
    proxy
}

fn steps_elsewhere(proxy: &Proxy) -> u64 {
    proxy.metric("worker_tls_long_steps_total", "")
}

#[test]
fn a_client_that_is_asked_for_another_hello_is_served() {
    let scene = Scene::start("");
    let (client, server) = scene.session(&retrying(&scene.authority));
    assert!(client.was_retried());
    pass(&client, &server, 0..100_000);
    pass(&server, &client, 0..100_000);
    client.close();
    finish(&server);
    expect_end(&client);
    assert_eq!(scene.proxy.session()["reason"], "finished");
    assert_eq!(steps_elsewhere(&scene.proxy), 0, "its key signs in no time");
    scene.await_rest();
}

#[test]
fn another_hello_passes_through_as_the_first_does() {
    let authority = Authority::new("the authority");
    let backend = SecureEcho::start(server(&authority.issue(&[NAME])));
    let routes = format!("routes = [{{ server_names = [\"{NAME}\"], pool = \"back\" }}]");
    let proxy = Plan { listener: &routes, ..Plan::of(&[backend.address]) }.start();
    let client = Tls::connect(proxy.address(), NAME, &retrying(&authority)).unwrap();
    assert!(client.was_retried());
    pass(&client, &client, 0..100_000);
    client.close();
    finish(&client.socket);
    expect_end(&client);
    assert_eq!(proxy.session()["reason"], "finished");
}

#[test]
fn the_answer_to_a_second_hello_is_signed_elsewhere_too() {
    let authority = Authority::new("the authority");
    let slow = authority.identity("slow", &authority.issue_slow(&[NAME]));
    let proxy = serve(&[&slow], &[retrying(&authority)]);
    assert_eq!(steps_elsewhere(&proxy), 2, "the first hello and the second");
}

#[test]
fn what_the_cipher_suites_leave_is_signed_elsewhere_too() {
    let authority = Authority::new("the authority");
    let quick = authority.identity("quick", &authority.issue(&[NAME]));
    let slow = authority.identity("slow", &authority.issue_slow(&[NAME]));
    // It can verify both, and its cipher suites leave the second alone.
    let mut provider = aws_lc_rs::default_provider();
    let suite = CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
    provider.cipher_suites.retain(|offered| offered.suite() == suite);
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
    let old = builder.with_root_certificates(authority.roots()).with_no_client_auth();
    let clients = [client(&authority), old].map(Arc::new);
    let proxy = serve(&[&quick, &slow], &clients);
    assert_eq!(steps_elsewhere(&proxy), 1, "the old one's hello");
}

#[test]
fn what_backends_ask_for_is_signed_elsewhere() {
    let authority = Authority::new("the authority");
    let own = authority.issue(&["127.0.0.1"]);
    let backend = SecureEcho::start(server_verifying(&own, &authority));
    let [certificate, key] = authority.pair("slow", &authority.issue_slow(&["proxy.test"]));
    let ca = authority.file();
    let more = format!(
        "[pool.back.tls]\nca = {ca:?}\ncertificate = {certificate:?}\nkey = {key:?}\n\
         resumption = false\n",
    );
    let proxy = Plan { more: &more, ..Plan::of(&[backend.address]) }.start();
    for _ in 0..3 {
        let client = connect(proxy.address());
        pass(&client, &client, 0..10_000);
        finish(&client);
        expect_end(&client);
    }
    assert_eq!(backend.seen().iter().filter(|seen| seen.client.is_some()).count(), 3);
    // The server's answer may come in pieces, of which any may be what is to be signed for.
    assert!(steps_elsewhere(&proxy) >= 3);
}
