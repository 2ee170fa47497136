//! Certificates, authorities and ticket keys are renewed while the proxy serves; what is half
//! there, broken or lapsed leaves what serves.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;
use rustls::AlertDescription;
use rustls::version::{TLS12, TLS13};

use super::super::patience::eventually;
use super::super::proxy::{Plan, Proxy, refusal};
use super::super::stream::pass;
use super::authority::{Authority, Issued};
use super::peer::{SecureEcho, Tls, alert, client_of, client_with, server};
use super::scene::{NAME, Scene, Settings, edge};

const RENEWED: &str = "TLS material renewed";
const STAYS: &str = "TLS material stays as it was";

fn expiry(proxy: &Proxy, table: &str) -> u64 {
    proxy.metric("tls_certificate_expiry_seconds", &format!("tls=\"{table}\""))
}

fn reloads(proxy: &Proxy, result: &str) -> u64 {
    proxy.metric("tls_reloads_total", &format!("result=\"{result}\""))
}

/// Asserts that a new client is shown this certificate.
#[track_caller]
fn shown(scene: &Scene, issued: &Issued) {
    let (client, _server) = scene.session(&scene.client());
    assert_eq!(client.peer().unwrap(), issued.chain()[0]);
}

#[test]
fn a_renewed_certificate_is_shown_while_sessions_and_tickets_go_on() {
    for version in [&TLS13, &TLS12] {
        let scene = Scene::start_with("", Settings { process: "workers = 2", listener: "" });
        let config = Arc::new(client_of(&scene.authority, &[version]));
        let (old, old_server) = scene.session(&config);
        pass(&old, &old_server, 0..1_000);
        pass(&old_server, &old, 0..1_000);
        let before = old.peer().unwrap();
        let renewed = scene.authority.issue(&[NAME]);
        scene.authority.identity("edge", &renewed);
        scene.proxy.await_event(RENEWED);
        shown(&scene, &renewed);
        // Who was here before is known again, whichever worker it comes to.
        let (resumed, resumed_server) = scene.session(&config);
        assert!(resumed.is_resumed());
        assert_eq!(resumed.peer().unwrap(), before);
        for (client, server) in [(&old, &old_server), (&resumed, &resumed_server)] {
            pass(client, server, 0..10_000);
            pass(server, client, 0..10_000);
        }
        assert_eq!((reloads(&scene.proxy, "success"), reloads(&scene.proxy, "failure")), (1, 0));
    }
}

#[test]
fn half_a_pair_leaves_the_old_one_until_the_other_half_comes() {
    let scene = Scene::start("");
    let first = scene.authority.issue(&[NAME]);
    scene.authority.identity("edge", &first);
    scene.proxy.await_event(RENEWED);
    let next = scene.authority.issue(&[NAME]);
    scene.authority.write("edge.pem", &next.certificate);
    scene.proxy.await_words(STAYS);
    scene.proxy.await_words("the private key does not belong to the first certificate of");
    scene.proxy.await_metric("tls_reload_failing", |failing| failing == 1);
    shown(&scene, &first);
    let events = scene.proxy.events();
    scene.authority.write("edge.key", &next.key);
    scene.proxy.await_words_after(events, RENEWED);
    scene.proxy.await_metric("tls_reload_failing", |failing| failing == 0);
    shown(&scene, &next);
    assert_eq!((reloads(&scene.proxy, "success"), reloads(&scene.proxy, "failure")), (2, 1));
}

#[test]
fn a_hangup_reads_the_files_again_and_tells_trouble_again() {
    let scene = Scene::start("");
    let told = |scene: &Scene| {
        scene.proxy.signal(Signal::HUP);
        let events = scene.proxy.events();
        scene.proxy.await_words_after(events.saturating_sub(1), "the files of TLS are read again");
    };
    told(&scene);
    scene.authority.write("edge.key", "nothing");
    scene.proxy.await_words(STAYS);
    let events = scene.proxy.events();
    scene.proxy.signal(Signal::HUP);
    scene.proxy.await_words_after(events, STAYS);
    assert_eq!(reloads(&scene.proxy, "failure"), 2);
    let renewed = scene.authority.issue(&[NAME]);
    scene.authority.identity("edge", &renewed);
    scene.proxy.await_event(RENEWED);
    shown(&scene, &renewed);
}

/// What it comes to when a client is refused.
fn refused(scene: &Scene, config: &Arc<rustls::ClientConfig>) -> AlertDescription {
    let error = match Tls::connect(scene.proxy.address(), NAME, config) {
        Ok(client) => (&client).read(&mut [0; 1]).unwrap_err(),
        Err(error) => error,
    };
    alert(&error)
}

#[test]
fn a_client_that_is_revoked_is_not_resumed_either() {
    let authority = Authority::new("the authority");
    let own = authority.issue(&["agent-7"]);
    let (ca, list) = (authority.file(), authority.revoke("list.pem", &[]));
    let lines = format!("client_auth = \"required\"\nclient_ca = {ca:?}\nclient_crls = [{list:?}]");
    let scene = Scene::of(authority, &lines, Settings::default());
    for version in [&TLS13, &TLS12] {
        scene.authority.revoke("list.pem", &[]);
        let config = Arc::new(client_with(&scene.authority, &own, &[version]));
        let served = |resumed| {
            let (client, server) = scene.session(&config);
            pass(&client, &server, 0..100);
            pass(&server, &client, 0..100);
            assert_eq!(client.is_resumed(), resumed);
        };
        served(false);
        served(true);
        let events = scene.proxy.events();
        scene.authority.revoke("list.pem", &[&own]);
        scene.proxy.await_words_after(events, RENEWED);
        assert_eq!(refused(&scene, &config), AlertDescription::CertificateRevoked);
        let events = scene.proxy.events();
        scene.authority.revoke("list.pem", &[]);
        scene.proxy.await_words_after(events, RENEWED);
    }
}

#[test]
fn sessions_in_progress_outlive_their_authority() {
    let authority = Authority::new("the authority");
    let own = authority.issue(&["agent-7"]);
    let ca = authority.file();
    let lines = format!("client_auth = \"required\"\nclient_ca = {ca:?}");
    let scene = Scene::of(authority, &lines, Settings::default());
    let config = Arc::new(client_with(&scene.authority, &own, &[&TLS13]));
    let (client, server) = scene.session(&config);
    pass(&client, &server, 0..100);
    pass(&server, &client, 0..100);
    scene.authority.write("authority.pem", &Authority::new("the next authority").pem());
    scene.proxy.await_event(RENEWED);
    assert_eq!(refused(&scene, &config), AlertDescription::UnknownCA);
    pass(&client, &server, 100..10_000);
    pass(&server, &client, 100..10_000);
}

#[test]
fn backends_are_believed_by_the_authority_of_the_moment() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let backend = SecureEcho::start(server(&new.issue(&["back.test"])));
    let clients = Authority::new("the authority");
    let trust = old.write("trust.pem", &old.pem());
    let more = format!(
        "[pool.back.tls]\nca = {trust:?}\nserver_name = \"back.test\"\n\
         [pool.back.health]\ncheck = \"tls\"\ninterval = \"100ms\"\n{}",
        edge(&clients, "")
    );
    let plan = Plan { listener: "tls = \"edge\"", more: &more, ..Plan::of(&[backend.address]) };
    let proxy = plan.start();
    // Another authority vouches for it.
    proxy.await_words("is down (was up): 3 probes in a row failed");
    old.write("trust.pem", &new.pem());
    proxy.await_event(RENEWED);
    proxy.await_words("is up (was down)");
    let config = Arc::new(client_of(&clients, &[&TLS13]));
    // The workers hear of it after the log.
    eventually("the backend serves", || {
        let client = Tls::connect(proxy.address(), NAME, &config).ok()?;
        (&client).write_all(b"?").ok()?;
        (&client).read_exact(&mut [0]).ok()
    });
    assert_eq!((expiry(&proxy, "pool.back"), reloads(&proxy, "success")), (0, 1));
}

#[test]
fn a_lapsed_certificate_serves_with_a_warning_and_gives_way() {
    let authority = Authority::new("the authority");
    let [chain, key] = authority.pair("late", &authority.issue_expired(&["late.test"]));
    let backend = super::super::peer::Backend::listen();
    let more = format!("[tls.edge]\ncertificates = [{{ chain = {chain:?}, key = {key:?} }}]\n");
    let plan = Plan { listener: "tls = \"edge\"", more: &more, ..Plan::of(&[backend.address]) };
    let proxy = plan.start();
    proxy.await_words("the certificate was valid until 2020-02-01 00:00:00 UTC");
    proxy.await_words("the certificate has lapsed on 2020-02-01 00:00:00 UTC; renew it");
    proxy.await_metric("tls_certificate_expiry_seconds", |until| until == 1_580_515_200);
    authority.pair("late", &authority.issue(&["late.test"]));
    proxy.await_event(RENEWED);
    proxy.await_metric("tls_certificate_expiry_seconds", |until| until > 1_790_000_000);
    let config = Arc::new(client_of(&authority, &[&TLS13]));
    Tls::connect(proxy.address(), "late.test", &config).unwrap();
}

#[test]
fn what_lapses_beside_the_certificate_is_told_and_exported() {
    let authority = Authority::new("the authority");
    let late = authority.issue_expired(&["an old authority"]).certificate;
    let ca = authority.write("ca.pem", &format!("{}{late}", authority.pem()));
    let [chain, _] = authority.pair("edge", &authority.issue(&[NAME]));
    let lines = format!("client_auth = \"optional\"\nclient_ca = {ca:?}");
    let scene = Scene::of(authority, &lines, Settings::default());
    scene.proxy.await_words("client_ca: ");
    scene.proxy.await_words("authority 2 of the file was valid until 2020-02-01 00:00:00 UTC");
    scene.proxy.await_words("authority 2 of the file has lapsed on 2020-02-01 00:00:00 UTC");
    scene.proxy.await_metric("tls_authority_expiry_seconds", |until| until == 1_580_515_200);
    let leaf = std::fs::read_to_string(&chain).unwrap();
    scene.authority.write("edge.pem", &(leaf + &late));
    // It would be refused by whoever verifies it.
    scene.proxy.await_words(STAYS);
    scene.proxy.await_words("certificate 2 of the file was valid until 2020-02-01 00:00:00 UTC");
    scene.proxy.await_metric("tls_certificate_expiry_seconds", |until| until > 1_790_000_000);
}

#[test]
fn check_says_that_it_looks_at_files_once_the_text_is_in_order() {
    let more = "[tls.edge]\ncertificates = [{ chain = \"/nonexistent\", key = \"/nonexistent\" }]\n\
                unknown = 1\n";
    let address = super::super::peer::vacant();
    let plan = Plan { listener: "tls = \"edge\"", more, ..Plan::of(&[address]) };
    let refusal = refusal(&plan.text("127.0.0.1:0"), |config| {
        let mut ringmain = Command::new(env!("CARGO_BIN_EXE_ringmain"));
        ringmain.args(["check", "--config"]).arg(config);
        ringmain
    });
    assert_eq!(refusal.code, 78);
    for sentence in [
        "tls.edge.unknown: unknown key",
        "the files that a configuration names are looked at once its text is in order",
    ] {
        assert!(refusal.reason.contains(sentence), "{}", refusal.reason);
    }
}

#[test]
fn check_and_run_refuse_files_that_cannot_be_used() {
    let authority = Authority::new("the authority");
    let [chain, _] = authority.pair("one", &authority.issue(&["one.test"]));
    let [_, key] = authority.pair("two", &authority.issue(&["two.test"]));
    let more = format!(
        "[tls.edge]\ncertificates = [{{ chain = {chain:?}, key = {key:?} }}]\n\
         [pool.back.tls]\nca = \"/nonexistent/ca.pem\"\n"
    );
    let address = super::super::peer::vacant();
    let plan = Plan { listener: "tls = \"edge\"", more: &more, ..Plan::of(&[address]) };
    for command in ["check", "run"] {
        let refusal = refusal(&plan.text("127.0.0.1:0"), |config| {
            let mut ringmain = Command::new(env!("CARGO_BIN_EXE_ringmain"));
            ringmain.args([command, "--config"]).arg(config);
            ringmain
        });
        assert_eq!(refusal.code, 78, "{command}: {}", refusal.reason);
        let mismatch = format!(
            "tls.edge.certificates[0].key: {}: the private key does not belong to the first \
             certificate of {}; give the key that the certificate was issued for\n",
            key.display(),
            chain.display()
        );
        let missing = "pool.back.tls.ca: /nonexistent/ca.pem: there is no such file; create it, \
                       or correct the path\n";
        for sentence in [&*mismatch, missing] {
            assert!(refusal.reason.contains(sentence), "{command}: {}", refusal.reason);
        }
    }
}
