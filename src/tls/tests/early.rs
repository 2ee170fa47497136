//! Early data, which anybody on the way can send again: it is refused, also from a client whose
//! ticket is good and who does not ask whether it is for early data.

use std::io::Write;
use std::sync::Arc;

use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, NamedGroup};

use super::super::*;
use super::workshop::*;

/// Sessions of TLS 1.3, each of which is taken to be good for early data.
#[derive(Debug)]
struct Eager(ClientSessionMemoryCache);

impl ClientSessionStore for Eager {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(name)
    }

    fn set_tls12_session(&self, _name: ServerName<'static>, _value: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _name: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, name: ServerName<'static>, mut value: Tls13ClientSessionValue) {
        assert_eq!(value.max_early_data_size(), 0, "what the ticket says");
        value._private_set_max_early_data_size(1 << 14);
        self.0.insert_tls13_ticket(name, value);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(name)
    }
}

/// Moves what each side has to say to the other until there is nothing; what the server hears.
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
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_details(provider, clock);
    let builder = builder.with_protocol_versions(&[&TLS13]).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.enable_early_data = true;
    config.resumption = Resumption::store(Arc::new(Eager(ClientSessionMemoryCache::new(8))));
    let config = Arc::new(config);
    shake(server.config(), &config, "a.test").unwrap();

    let name = ServerName::try_from("a.test").unwrap();
    let mut client = ClientConnection::new(config, name).unwrap();
    client.early_data().expect("it has a ticket").write_all(b"once more").unwrap();
    let mut server = Connection::server(Arc::clone(server.config())).unwrap();
    assert_eq!(talk(&mut client, &mut server), b"");
    assert!(!server.is_handshaking() && !client.is_early_data_accepted());
    assert!(server.agreed().unwrap().resumed, "the ticket itself is good");
    client.writer().write_all(b"late").unwrap();
    assert_eq!(talk(&mut client, &mut server), b"late");
}
