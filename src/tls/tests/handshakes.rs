//! What is loaded serves: both sides shake hands and verify one another.

use super::super::*;
use super::workshop::*;

#[test]
fn both_sides_verify_one_another() {
    let (folder, clock) = (Folder::new(), Hand::new());
    let authority = Authority::new("ca");
    let ca = folder.write("ca.pem", authority.certificate.pem());
    let server = folder.write_issued("server", &authority.issue(&["a.example.com"]));
    let client = folder.write_issued("client", &authority.issue(&["agent.example.com"]));
    let mut options = server_options("edge", vec![server]);
    options.client_auth = ClientAuth::Required;
    options.client_ca = Some(ca.clone());
    let server = ServerTls::load(&options, &Tickets::new(clock.clone()), clock.now()).unwrap();
    let mut options = client_options(ca);
    options.certificate = Some(client.chain);
    options.key = Some(client.key);
    let clock: Clock = clock.clone();
    let client = ClientTls::load(&options, &clock, at(NOW)).unwrap();
    let (ended, _) = shake(server.config(), &client.config_for(None), "a.example.com").unwrap();
    assert_eq!(ended.peer_certificates().map(<[_]>::len), Some(1));
}
