//! Clients that prove who they are: let in by their certificate, or told why not.

use std::io::Read;
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig};
use serde_json::json;

use super::super::proxy::assert_fields;
use super::super::stream::{expect_end, finish, pass};
use super::authority::{Authority, Issued};
use super::peer::{Tls, alert, client, client_with};
use super::scene::{NAME, Scene, Settings};

/// A proxy that asks for certificates of its own authority.
fn asking(auth: &str, more: impl FnOnce(&Authority) -> String) -> Scene {
    let authority = Authority::new("the authority");
    let lines = format!(
        "client_auth = \"{auth}\"\nclient_ca = {:?}\n{}",
        authority.file(),
        more(&authority)
    );
    Scene::of(authority, &lines, Settings::default())
}

/// A whole session; what the log says of its client.
fn served(scene: &Scene, config: ClientConfig) -> serde_json::Value {
    let (client, server) = scene.session(&Arc::new(config));
    pass(&client, &server, 0..10_000);
    pass(&server, &client, 0..10_000);
    client.close();
    finish(&server);
    expect_end(&client);
    // A session that was refused before may come to its end only now.
    let session = scene.proxy.session_of(client.socket.local_addr().unwrap());
    assert_eq!(session["reason"], "finished");
    session["tls"]["client"].clone()
}

/// Each way to be refused: the alert. With TLS 1.3 it comes after the client's own handshake.
fn refused(scene: &Scene, config: ClientConfig) -> AlertDescription {
    let connected = Tls::connect(scene.proxy.address(), NAME, &Arc::new(config));
    let error = match connected {
        Ok(client) => (&client).read(&mut [0; 1]).unwrap_err(),
        Err(error) => error,
    };
    alert(&error)
}

#[test]
fn a_client_with_a_certificate_is_let_in_and_named_in_the_log() {
    let scene = asking("required", |_| String::new());
    let own = scene.authority.issue(&["agent-7"]);
    for version in [&TLS13, &TLS12] {
        let config = client_with(&scene.authority, &own, &[version]);
        assert_eq!(served(&scene, config), "CN=agent-7");
    }
    scene.await_rest();
}

#[test]
fn a_client_without_a_common_name_is_not_taken_for_one_without_a_certificate() {
    let scene = asking("optional", |_| String::new());
    let spiffe = "spiffe://fleet.example/agent/7";
    let named = scene.authority.issue_for(Some(spiffe));
    let nameless = scene.authority.issue_for(None);
    for version in [&TLS13, &TLS12] {
        let config = client_with(&scene.authority, &named, &[version]);
        assert_eq!(served(&scene, config), format!("URI={spiffe}"));
        let config = client_with(&scene.authority, &nameless, &[version]);
        let shown = served(&scene, config);
        assert!(shown.as_str().unwrap().starts_with("SERIAL="), "{shown}");
    }
    scene.await_rest();
}

#[test]
fn a_client_without_a_good_certificate_is_told_why_it_is_refused() {
    let scene = asking("required", |_| String::new());
    let expired = scene.authority.issue_expired(&["late"]);
    let stranger = Authority::new("another authority").issue(&["stranger"]);
    type Alert = (AlertDescription, &'static str);
    let missing: Alert = (AlertDescription::CertificateRequired, "certificate_required");
    let unknown: Alert = (AlertDescription::UnknownCA, "unknown_ca");
    let late: Alert = (AlertDescription::CertificateExpired, "certificate_expired");
    let cases: [(Option<&Issued>, Alert, &str); 3] = [
        (None, missing, "no-certificate"),
        (Some(&stranger), unknown, "certificate"),
        (Some(&expired), late, "certificate"),
    ];
    let mut count = 0;
    for (own, alert, word) in cases {
        for version in [&TLS13, &TLS12] {
            let config = match own {
                Some(own) => client_with(&scene.authority, own, &[version]),
                None => super::peer::client_of(&scene.authority, &[version]),
            };
            assert_eq!(refused(&scene, config), alert.0, "{word}, {version:?}");
            count += 1;
            let session = scene.proxy.sessions(count).pop().unwrap();
            let text = session["tls"]["failure"]["text"].as_str().unwrap();
            let told = format!("the alert {} was sent: ", alert.1);
            assert!(text.starts_with(&told), "{session}");
            let expected = json!({ "reason": "client-tls", "backend": null });
            assert_fields(&session, expected);
            assert_eq!(session["tls"]["failure"]["word"], word, "{session}");
            assert_eq!(session["tls"]["client"], json!(null));
        }
    }
    for (cause, expected) in [("no-certificate", 2), ("certificate", 4)] {
        let label = format!("cause=\"{cause}\"");
        assert_eq!(scene.proxy.metric("tls_handshake_failures_total", &label), expected);
    }
    scene.await_rest();
}

#[test]
fn a_revoked_client_is_refused_and_others_are_not() {
    let mut kept = None;
    let scene = asking("required", |authority| {
        let (revoked, own) = (authority.issue(&["revoked"]), authority.issue(&["agent-7"]));
        let list = authority.revoke("revoked.pem", &[&revoked]);
        kept = Some((revoked, own));
        format!("client_crls = [{list:?}]")
    });
    let (revoked, own) = kept.unwrap();
    for version in [&TLS13, &TLS12] {
        let config = client_with(&scene.authority, &revoked, &[version]);
        assert_eq!(refused(&scene, config), AlertDescription::CertificateRevoked);
    }
    let config = client_with(&scene.authority, &own, &[&TLS13]);
    assert_eq!(served(&scene, config), "CN=agent-7");
    scene.await_rest();
}

#[test]
fn where_it_is_optional_none_is_needed_and_a_bad_one_is_refused() {
    let scene = asking("optional", |_| String::new());
    assert_eq!(served(&scene, client(&scene.authority)), json!(null));
    let own = scene.authority.issue(&["agent-7"]);
    let config = client_with(&scene.authority, &own, &[&TLS13]);
    assert_eq!(served(&scene, config), "CN=agent-7");
    let stranger = Authority::new("another authority").issue(&["stranger"]);
    let config = client_with(&scene.authority, &stranger, &[&TLS13]);
    assert_eq!(refused(&scene, config), AlertDescription::UnknownCA);
    scene.await_rest();
}
