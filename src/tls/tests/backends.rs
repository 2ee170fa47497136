//! The side towards backends: whom it believes, what it asks for and what it offers.

use std::net::{IpAddr, Ipv4Addr};

use super::super::trust::{Anchors, SYSTEM_BUNDLES};
use super::super::*;
use super::workshop::*;

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));

struct Fleet {
    folder: Folder,
    authority: Authority,
    server: ServerOptions,
    options: ClientOptions,
}

impl Fleet {
    fn new() -> Fleet {
        let (folder, authority) = (Folder::new(), Authority::new("ca"));
        let files = folder.write_issued("server", &authority.issue(&["a.test", "127.0.0.1"]));
        let options = client_options(folder.write("ca.pem", authority.pem()));
        Fleet { folder, authority, server: server_options("edge", vec![files]), options }
    }

    fn server(&self) -> ServerTls {
        ServerTls::load(&self.server, &Tickets::new(Hand::new()), at(NOW)).unwrap()
    }

    fn client(&self) -> Result<ClientTls, Vec<MaterialError>> {
        let clock: Clock = Hand::new();
        ClientTls::load(&self.options, &clock, at(NOW))
    }

    fn outcome(&self, name: &str) -> Result<(), String> {
        let config = self.client().unwrap().config_for(None);
        let shaken = shake(self.server().config(), &config, name);
        shaken.map(|_| ()).map_err(|error| format!("{error:?}"))
    }
}

#[test]
fn a_backend_is_believed_by_its_name_or_its_address() {
    let mut fleet = Fleet::new();
    assert_eq!(fleet.outcome("a.test"), Ok(()));
    assert_eq!(fleet.outcome("127.0.0.1"), Ok(()));
    for name in ["b.test", "127.0.0.2"] {
        let refused = fleet.outcome(name).unwrap_err();
        assert!(refused.contains("NotValidForName"), "{refused}");
    }
    let foreign = fleet.folder.write("other.pem", Authority::new("other").pem());
    fleet.options.ca = Authorities::File(foreign);
    assert!(fleet.outcome("a.test").unwrap_err().contains("UnknownIssuer"));
}

#[test]
fn whoever_skips_verification_is_warned_and_believes_everybody() {
    let mut fleet = Fleet::new();
    fleet.options.insecure_skip_verify = true;
    fleet.options.ca = Authorities::File(fleet.folder.path("absent"));
    assert_eq!(fleet.outcome("b.test"), Ok(()));
    let warnings = sentences(&fleet.folder, fleet.client().unwrap().warnings());
    assert_eq!(
        warnings,
        ["insecure_skip_verify: the backends' certificates are not verified: whoever is on the \
             way can read and change everything; give ca instead"]
    );
}

/// Who shows another's certificate does not hold its key.
#[test]
fn the_key_is_proven_also_where_verification_is_skipped() {
    use rustls::sign::{CertifiedKey, SingleCertAndKey};
    let mut fleet = Fleet::new();
    fleet.options.insecure_skip_verify = true;
    let other = fleet.authority.issue(&["a.test"]);
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(other.key.serialize_der().into());
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let shown = fleet.authority.issue(&["a.test"]).certificate.der().clone();
    let mut server = rustls::ServerConfig::clone(fleet.server().config());
    server.cert_resolver =
        std::sync::Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![shown], key)));
    let server = std::sync::Arc::new(server);
    for version in [MinVersion::Tls12, MinVersion::Tls13] {
        fleet.options.min_version = version;
        let refused = shake(&server, &fleet.client().unwrap().config_for(None), "a.test");
        assert_eq!(format!("{:?}", refused.unwrap_err()), "InvalidCertificate(BadSignature)");
    }
}

#[test]
fn the_name_is_the_backends_the_clients_or_a_fixed_one() {
    let mut fleet = Fleet::new();
    let named = |fleet: &Fleet, backend: &str, asked: Option<&str>| {
        let name = fleet.client().unwrap().name_for(backend, ADDRESS, asked);
        name.map(|name| name.to_str().into_owned()).map_err(NameError::as_str)
    };
    let name = |name: &str| Ok(name.to_owned());
    assert_eq!(named(&fleet, "agg.test", Some("x.test")), name("agg.test"));
    assert_eq!(named(&fleet, "agg.test.", None), name("agg.test"));
    assert_eq!(named(&fleet, "", None), name("127.0.0.1"));
    assert_eq!(named(&fleet, "127.0.0.2", None), name("127.0.0.1"));
    assert_eq!(named(&fleet, "127.0.0.2:6000", None), name("127.0.0.1"));
    assert_eq!(named(&fleet, "[::2]:6000", None), name("127.0.0.1"));
    assert_eq!(named(&fleet, "agg.test:6000", None), name("agg.test"));
    assert_eq!(named(&fleet, "no name", None), Err("invalid_server_name"));
    fleet.options.server_name = NameSource::Client;
    assert_eq!(named(&fleet, "agg.test", Some("x.test")), name("x.test"));
    assert_eq!(named(&fleet, "agg.test", None), Err("no_server_name"));
    fleet.options.server_name = NameSource::Fixed("fixed.test".to_owned());
    assert_eq!(named(&fleet, "agg.test", Some("x.test")), name("fixed.test"));
    fleet.options.server_name = NameSource::Fixed("no name".to_owned());
    assert_eq!(
        sentences(&fleet.folder, &fleet.client().unwrap_err()),
        ["server_name: \"no name\" is no name of a host; give one such as \"agg.example.com\""]
    );
}

#[test]
fn protocols_are_offered_as_configured_or_as_agreed() {
    let mut fleet = Fleet::new();
    let own = |protocols: &[&[u8]]| protocols.iter().map(|name| name.to_vec()).collect::<Vec<_>>();
    fleet.options.alpn = Alpn::Offer(own(&[b"h2", b"x"]));
    let client = fleet.client().unwrap();
    assert_eq!(client.config_for(Some(b"h3")).alpn_protocols, own(&[b"h2", b"x"]));
    assert_eq!(client.config_for(None).alpn_protocols, own(&[b"h2", b"x"]));
    fleet.options.alpn = Alpn::AsAgreed(own(&[b"h2"]));
    let client = fleet.client().unwrap();
    assert_eq!(client.config_for(Some(b"h2")).alpn_protocols, own(&[b"h2"]));
    assert_eq!(client.config_for(Some(b"rare")).alpn_protocols, own(&[b"rare"]));
    assert_eq!(client.config_for(None).alpn_protocols, own(&[]));
    let same = |agreed| std::sync::Arc::as_ptr(&client.config_for(agreed));
    assert_eq!(same(Some(b"h2")), same(Some(b"h2")), "made once");
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let mut fleet = Fleet::new();
    let absent = fleet.folder.path("absent");
    fleet.options.ca = Authorities::File(absent.clone());
    fleet.options.certificate = Some(absent.clone());
    let missing = "absent: there is no such file; create it, or correct the path";
    let ca = format!("ca: {missing}");
    let errors = sentences(&fleet.folder, &fleet.client().unwrap_err());
    let half = "certificate: absent: a certificate without its key; give key as well";
    assert_eq!(errors, [half, &ca]);
    fleet.options.certificate = None;
    fleet.options.key = Some(absent.clone());
    let errors = sentences(&fleet.folder, &fleet.client().unwrap_err());
    let half = "key: absent: a key without a certificate; give certificate as well";
    assert_eq!(errors, [half, &ca]);
    fleet.options.certificate = Some(absent);
    assert_eq!(
        sentences(&fleet.folder, &fleet.client().unwrap_err()),
        [format!("ca: {missing}"), format!("certificate: {missing}"), format!("key: {missing}"),]
    );
}

#[test]
fn sessions_with_a_backend_are_resumed_unless_that_is_off() {
    for (resumption, expected) in
        [(true, Some(rustls::HandshakeKind::Resumed)), (false, Some(rustls::HandshakeKind::Full))]
    {
        let mut fleet = Fleet::new();
        fleet.options.resumption = resumption;
        let (server, client) = (fleet.server(), fleet.client().unwrap());
        let mut kind = None;
        for _ in 0..2 {
            let (_, ended) = shake(server.config(), &client.config_for(None), "a.test").unwrap();
            kind = ended.handshake_kind();
        }
        assert_eq!(kind, expected);
    }
}

#[test]
fn the_hosts_own_authorities_are_found_where_distributions_keep_them() {
    let (folder, authority) = (Folder::new(), Authority::new("ca"));
    let bundle = folder.write("bundle", pem("CERTIFICATE", b"nonsense") + &authority.pem());
    let paths = [folder.path("absent"), bundle].map(|path| path.display().to_string());
    let [absent, bundle] = paths.each_ref().map(String::as_str);
    assert_eq!(Anchors::of_system(&[absent, bundle]).unwrap().roots.len(), 1);
    let refused = Anchors::of_system(&[absent]).unwrap_err().to_string();
    assert_eq!(
        refused,
        format!(
            "this host has no bundle of trusted certificates (looked for \
        {absent}); install the package ca-certificates, or give a file"
        )
    );
    assert!(SYSTEM_BUNDLES.iter().all(|path| path.starts_with('/')));
}
