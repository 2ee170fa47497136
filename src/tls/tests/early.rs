//! Early data, which anybody on the way can send again: it is refused, also where it could be read.

use std::io::Write;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, ServerConfig};

use super::super::*;
use super::workshop::*;

/// Moves what one side has to say to the other, until neither has anything; what the server hears.
fn talk(client: &mut ClientConnection, server: &mut Connection) -> Vec<u8> {
    let mut heard = Vec::new();
    loop {
        let mut said = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut said).unwrap();
        }
        let mut plain = Gathered::default();
        server.receive(&mut said, &mut plain).unwrap();
        heard.extend(plain.into_bytes());
        let mut answer = vec![0; server.output_len()];
        server.take_output(&mut answer);
        if answer.is_empty() {
            return heard;
        }
        let mut rest = &answer[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
    }
}

#[test]
fn early_data_is_refused_and_what_follows_is_heard() {
    let (folder, authority, clock) = (Folder::new(), Authority::new("ca"), Hand::new());
    let files = folder.write_issued("server", &authority.issue(&["a.test"]));
    let options = server_options("edge", vec![files]);
    let server = ServerTls::load(&options, &Tickets::new(clock.clone()), at(NOW)).unwrap();
    // Its twin would take early data, and says so in tickets under the same keys.
    let mut twin = ServerConfig::clone(server.config());
    twin.max_early_data_size = 1 << 14;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_details(provider, clock);
    let builder = builder.with_protocol_versions(&[&TLS13]).unwrap();
    let mut client = builder.with_root_certificates(roots).with_no_client_auth();
    client.enable_early_data = true;
    let client = Arc::new(client);
    let twin = Arc::new(twin);
    let hello = || {
        shake(&twin, &client, "a.test").unwrap();
        let name = ServerName::try_from("a.test").unwrap();
        let mut client = ClientConnection::new(Arc::clone(&client), name).unwrap();
        client.early_data().expect("it has a ticket for it").write_all(b"early").unwrap();
        client
    };

    let (mut client, mut said) = (hello(), Vec::new());
    client.write_tls(&mut said).unwrap();
    let mut taking = rustls::ServerConnection::new(Arc::clone(&twin)).unwrap();
    taking.read_tls(&mut &said[..]).unwrap();
    taking.process_new_packets().unwrap();
    assert!(taking.early_data().is_some(), "the ticket is good for it");

    let mut client = hello();
    let mut server = Connection::server(Arc::clone(server.config())).unwrap();
    assert_eq!(talk(&mut client, &mut server), b"");
    assert!(!server.is_handshaking() && !client.is_early_data_accepted());
    assert!(server.agreed().unwrap().resumed, "the ticket itself is good");
    client.writer().write_all(b"late").unwrap();
    assert_eq!(talk(&mut client, &mut server), b"late");
}
