//! Clients with certificates: who is let in, who is revoked, and what is refused when loading.

use super::super::*;
use super::workshop::*;

/// A server that asks for certificates, and the clients of its authority.
struct Gate {
    folder: Folder,
    clock: std::sync::Arc<Hand>,
    root: Authority,
    between: Authority,
    options: ServerOptions,
}

impl Gate {
    fn new(client_auth: ClientAuth) -> Gate {
        let (folder, root) = (Folder::new(), Authority::new("root"));
        let between = root.delegate("between");
        let ca = folder.write("ca.pem", root.pem());
        let files = folder.write_issued("server", &root.issue(&["a.test"]));
        let mut options = server_options("edge", vec![files]);
        options.client_auth = client_auth;
        options.client_ca = Some(ca);
        Gate { folder, clock: Hand::new(), root, between, options }
    }

    fn load(&self) -> Result<ServerTls, Vec<MaterialError>> {
        ServerTls::load(&self.options, &Tickets::new(self.clock.clone()), self.clock.now())
    }

    /// The settings of a client that shows `issued`, with `between` behind it.
    fn client(&self, issued: Option<&Issued>) -> ClientTls {
        let mut options = client_options(self.folder.path("ca.pem"));
        if let Some(issued) = issued {
            let chain = issued.certificate.pem() + &self.between.pem();
            options.certificate = Some(self.folder.write("client.pem", chain));
            options.key = Some(self.folder.write("client.key", issued.key.serialize_pem()));
        }
        let clock: Clock = self.clock.clone();
        ClientTls::load(&options, &clock, self.clock.now()).unwrap()
    }

    /// How the server fares with such a client.
    fn outcome(&self, issued: Option<&Issued>) -> Result<(), String> {
        let (server, client) = (self.load().unwrap(), self.client(issued));
        let shaken = shake(server.config(), &client.config_for(None), "a.test");
        shaken.map(|_| ()).map_err(|error| format!("{error:?}"))
    }
}

#[test]
fn a_client_without_a_certificate_is_let_in_where_it_is_optional() {
    let client = |gate: &Gate| gate.between.issue(&["agent.test"]);
    let foreign = Authority::new("foreign").issue(&["agent.test"]);
    let unknown = Err("InvalidCertificate(UnknownIssuer)".to_owned());

    let gate = Gate::new(ClientAuth::Optional);
    assert_eq!(gate.outcome(None), Ok(()));
    assert_eq!(gate.outcome(Some(&client(&gate))), Ok(()));
    assert_eq!(gate.outcome(Some(&foreign)), unknown);

    let gate = Gate::new(ClientAuth::Required);
    assert_eq!(gate.outcome(None), Err("NoCertificatesPresented".to_owned()));
    assert_eq!(gate.outcome(Some(&client(&gate))), Ok(()));
    assert_eq!(gate.outcome(Some(&foreign)), unknown);

    let gate = Gate::new(ClientAuth::Off);
    assert_eq!(gate.outcome(Some(&foreign)), Ok(()), "nobody looks");
}

#[test]
fn revocation_is_looked_at_for_the_whole_chain() {
    let mut gate = Gate::new(ClientAuth::Required);
    let client = gate.between.issue(&["agent.test"]);
    let number = serial(&client.certificate);
    let of_root = gate.folder.write("root.crl", gate.root.revoke(&[], (2027, 2, 1)));
    let of_between = gate.folder.write("between.crl", gate.between.revoke(&[], (2027, 2, 1)));

    gate.options.client_crls = vec![of_root, of_between];
    assert_eq!(gate.outcome(Some(&client)), Ok(()));

    gate.folder.write("between.crl", gate.between.revoke(&[number], (2027, 2, 1)));
    let revoked = Err("InvalidCertificate(Revoked)".to_owned());
    assert_eq!(gate.outcome(Some(&client)), revoked);

    gate.folder.write("between.crl", gate.between.revoke(&[], (2027, 2, 1)));
    let number = serial(&gate.between.certificate);
    gate.folder.write("root.crl", gate.root.revoke(&[number], (2027, 2, 1)));
    assert_eq!(gate.outcome(Some(&client)), revoked, "its authority is");

    gate.options.client_crls.truncate(1);
    gate.folder.write("root.crl", gate.root.revoke(&[], (2027, 2, 1)));
    let unknown = Err("InvalidCertificate(UnknownRevocationStatus)".to_owned());
    assert_eq!(gate.outcome(Some(&client)), unknown, "no list is of its authority");
}

#[test]
fn a_list_that_has_lapsed_is_told_and_lets_nobody_in() {
    let mut gate = Gate::new(ClientAuth::Required);
    let client = gate.between.issue(&["agent.test"]);
    let lists = gate.root.revoke(&[], (2027, 2, 1)) + &gate.between.revoke(&[], (2027, 1, 15));
    gate.options.client_crls = vec![gate.folder.write("all.crl", lists)];
    let server = gate.load().unwrap();
    let lapse: Vec<_> = server.expiries().iter().map(|expiry| &*expiry.key).collect();
    assert_eq!(lapse, ["certificates[0].chain", "client_ca", "client_crls[0]", "client_crls[0]"]);
    assert_eq!(server.expiries()[3].until, at(NOW + 14 * DAY));
    gate.clock.set(NOW + 15 * DAY);
    let client = gate.client(Some(&client));
    let later = gate.load().unwrap();
    for server in [&server, &later] {
        let refused = shake(server.config(), &client.config_for(None), "a.test").unwrap_err();
        assert!(format!("{refused:?}").contains("ExpiredRevocationList"), "{refused:?}");
    }
    assert!(server.warnings().is_empty());
    assert_eq!(
        sentences(&gate.folder, later.warnings()),
        ["client_crls[0]: all.crl: revocation list 2 of the file has lapsed on 2027-01-15 \
             00:00:00 UTC, and every client whose certificate it covers is refused; fetch a \
             current one"]
    );
}

#[test]
fn an_authority_that_has_lapsed_is_told_and_believed() {
    let mut gate = Gate::new(ClientAuth::Required);
    let late = Authority::until("late", (2026, 12, 31));
    gate.folder.write("ca.pem", gate.root.pem() + &late.pem());
    let lapsed = "authority 2 of the file was valid until 2026-12-31 00:00:00 UTC: what it has \
                  issued is believed here all the same; put the authority's next certificate in \
                  place, or take it out";
    let server = gate.load().unwrap();
    let told = sentences(&gate.folder, server.warnings());
    assert_eq!(told, [format!("client_ca: ca.pem: {lapsed}")]);
    let subjects: Vec<_> = server.expiries().iter().map(|expiry| expiry.subject()).collect();
    assert_eq!(subjects, ["the certificate", "authority 1 of the file", "authority 2 of the file"]);
    assert_eq!(server.expiries()[2].until, at(NOW - DAY));
    assert_eq!(gate.outcome(Some(&late.issue(&["agent.test"]))), Ok(()));
    // The same for the authorities of backends.
    let client = gate.client(None);
    let told = sentences(&gate.folder, client.warnings());
    assert_eq!(told, [format!("ca: ca.pem: {lapsed}")]);
    // It is no reason to refuse what is new, and none to take what is bad.
    let tickets = Tickets::new(gate.clock.clone());
    gate.folder.write("ca.pem", late.pem());
    let Renewal { fresh, errors } = server.renewed(&gate.options, &tickets, gate.clock.now());
    assert!(errors.is_empty() && fresh.is_some(), "{errors:?}");
    let list = gate.root.revoke(&[], (2026, 12, 31)) + &late.revoke(&[], (2026, 12, 31));
    gate.options.client_crls = vec![gate.folder.write("all.crl", list)];
    let Renewal { errors, .. } = fresh.unwrap().renewed(&gate.options, &tickets, at(NOW));
    assert_eq!(errors.len(), 1, "a lapsed list");
}

#[test]
fn broken_authorities_and_lists_are_refused() {
    let mut gate = Gate::new(ClientAuth::Required);
    gate.options.client_crls = vec![gate.folder.path("a.crl"), gate.folder.path("b.crl")];
    gate.folder.write("a.crl", gate.root.pem());
    gate.folder.write("b.crl", pem("X509 CRL", b"nonsense"));
    gate.folder.write("ca.pem", gate.root.pem() + &pem("CERTIFICATE", b"nonsense"));
    let errors = sentences(&gate.folder, &gate.load().unwrap_err());
    assert_eq!(
        errors,
        [
            "client_ca: ca.pem: certificate 2 of the file cannot be read (it is broken); have it \
             issued again",
            "client_crls[0]: a.crl: there is no revocation list in the file; give PEM, with BEGIN \
             X509 CRL",
            "client_crls[1]: b.crl: revocation list 1 of the file cannot be read (it is broken); \
             fetch it again",
        ]
    );
    gate.options.client_crls.clear();
    gate.folder.write("ca.pem", "");
    assert_eq!(
        sentences(&gate.folder, &gate.load().unwrap_err()),
        ["client_ca: ca.pem: there is no certificate in the file; give PEM, with BEGIN \
             CERTIFICATE"]
    );
}
