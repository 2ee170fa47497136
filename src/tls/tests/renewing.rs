//! Renewal: each part is taken as a whole or stays as it was, and nothing changes without need.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rcgen::date_time_ymd;

use super::super::*;
use super::workshop::*;

struct Site {
    folder: Folder,
    clock: Arc<Hand>,
    tickets: Tickets,
    authority: Authority,
    options: ServerOptions,
}

impl Site {
    /// With certificates for `one.test` and `two.test`, who ask clients for certificates of the
    /// same authority.
    fn new() -> Site {
        let (folder, clock, authority) = (Folder::new(), Hand::new(), Authority::new("ca"));
        let files = ["one", "two"]
            .map(|name| folder.write_issued(name, &authority.issue(&[&format!("{name}.test")])));
        let mut options = server_options("edge", files.to_vec());
        options.client_auth = ClientAuth::Optional;
        options.client_ca = Some(folder.write("ca.pem", authority.pem()));
        options.client_crls = vec![folder.write("ca.crl", authority.revoke(&[], (2027, 2, 1)))];
        let keys = Some(folder.write("keys", "ab".repeat(48)));
        options.tickets = options.tickets.map(|tickets| TicketOptions { keys, ..tickets });
        let tickets = Tickets::new(clock.clone());
        Site { folder, clock, tickets, authority, options }
    }

    fn load(&self) -> ServerTls {
        ServerTls::load(&self.options, &self.tickets, self.clock.now()).unwrap()
    }

    fn renew(&self, server: &ServerTls) -> (Option<ServerTls>, Vec<String>) {
        let Renewal { fresh, errors } =
            server.renewed(&self.options, &self.tickets, self.clock.now());
        (fresh, sentences(&self.folder, &errors))
    }

    /// The certificate that is shown for a name.
    fn shown(&self, server: &ServerTls, name: &str) -> Vec<u8> {
        let clock: Clock = self.clock.clone();
        let options = client_options(self.folder.write("trust.pem", self.authority.pem()));
        let client = ClientTls::load(&options, &clock, self.clock.now()).unwrap();
        let (_, client) = shake(server.config(), &client.config_for(None), name).unwrap();
        client.peer_certificates().unwrap()[0].to_vec()
    }
}

#[test]
fn nothing_is_renewed_where_nothing_is_different() {
    let site = Site::new();
    let server = site.load();
    assert!(matches!(site.renew(&server), (None, errors) if errors.is_empty()));
    // Written anew, with a remark, and saying the same.
    for (name, text) in [("one.pem", "# one\n"), ("ca.pem", "# ca\n"), ("keys", "# keys\n")] {
        let text = text.to_owned() + &std::fs::read_to_string(site.folder.path(name)).unwrap();
        site.folder.write(name, text);
    }
    assert!(matches!(site.renew(&server), (None, errors) if errors.is_empty()));
}

#[test]
fn one_pair_is_renewed_while_the_other_cannot_be() {
    let site = Site::new();
    let server = site.load();
    let before = site.shown(&server, "two.test");
    let renewed = site.authority.issue(&["one.test"]);
    site.folder.write_issued("one", &renewed);
    site.folder.write("two.key", site.authority.issue(&["two.test"]).key.serialize_pem());
    let (fresh, errors) = site.renew(&server);
    let fresh = fresh.unwrap();
    let mismatch = "certificates[1].key: two.key: the private key does not belong to the first \
                    certificate of two.pem; give the key that the certificate was issued for";
    assert_eq!(errors, [mismatch]);
    assert_eq!(site.shown(&fresh, "one.test"), renewed.certificate.der().to_vec());
    assert_eq!(site.shown(&fresh, "two.test"), before);
    // The other half comes, and nothing else is different.
    let (again, errors) = site.renew(&fresh);
    assert!(again.is_none());
    assert_eq!(errors, [mismatch]);
    let other = site.authority.issue(&["two.test"]);
    site.folder.write_issued("two", &other);
    let (fresh, errors) = site.renew(&fresh);
    assert!(errors.is_empty());
    assert_eq!(site.shown(&fresh.unwrap(), "two.test"), other.certificate.der().to_vec());
}

#[test]
fn what_cannot_be_read_leaves_everything_as_it_was() {
    let site = Site::new();
    let server = site.load();
    for name in ["one.pem", "one.key", "ca.pem", "ca.crl", "keys"] {
        let text = std::fs::read(site.folder.path(name)).unwrap();
        for broken in [&b""[..], b"-----BEGIN CERTIFICATE-----", &text[..text.len() / 2]] {
            site.folder.write(name, broken);
            let (fresh, errors) = site.renew(&server);
            assert!(fresh.is_none(), "{name}");
            assert_eq!(errors.len(), 1, "{name}: {errors:?}");
        }
        std::fs::remove_file(site.folder.path(name)).unwrap();
        let (fresh, errors) = site.renew(&server);
        assert!(fresh.is_none(), "{name}");
        assert_eq!(errors.len(), 1, "{name}: {errors:?}");
        site.folder.write(name, text);
    }
    assert!(matches!(site.renew(&server), (None, errors) if errors.is_empty()));
}

#[test]
fn each_part_is_renewed_by_itself() {
    let site = Site::new();
    let server = site.load();
    for (name, text) in [
        ("ca.pem", site.authority.pem() + &Authority::new("more").pem()),
        ("ca.crl", site.authority.revoke(&[], (2027, 3, 1))),
        ("keys", "cd".repeat(48)),
    ] {
        let old = std::fs::read(site.folder.path(name)).unwrap();
        site.folder.write(name, text);
        let (fresh, errors) = site.renew(&server);
        assert!(fresh.is_some() && errors.is_empty(), "{name}: {errors:?}");
        site.folder.write(name, old);
    }
}

#[test]
fn what_nobody_would_accept_does_not_replace_what_is_good() {
    let site = Site::new();
    let server = site.load();
    let algorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
    let early = site.authority.issue_with(&["one.test"], algorithm, |params| {
        params.not_before = date_time_ymd(2027, 1, 3);
    });
    site.folder.write_issued("one", &early);
    site.folder.write("ca.crl", site.authority.revoke(&[], (2026, 12, 31)));
    let (fresh, errors) = site.renew(&server);
    assert!(fresh.is_none());
    assert_eq!(
        errors,
        [
            "certificates[0].chain: one.pem: the certificate is valid from 2027-01-03 00:00:00 UTC \
         only: who verifies it refuses it; check this host's clock, or put the certificate in \
         place later",
            "client_crls[0]: ca.crl: revocation list 1 of the file has lapsed on 2026-12-31 \
             00:00:00 UTC, and every client whose certificate it covers is refused; fetch a \
             current one",
        ]
    );
    // Its time comes without another change.
    site.clock.set(NOW + 2 * DAY);
    let (fresh, errors) = site.renew(&server);
    assert_eq!(errors.len(), 1);
    assert_eq!(site.shown(&fresh.unwrap(), "one.test"), early.certificate.der().to_vec());
}

#[test]
fn what_has_lapsed_itself_gives_way_to_anything() {
    let site = Site::new();
    let server = site.load();
    // Both the certificates and the list have lapsed by then.
    site.clock.set(NOW + 400 * DAY);
    let algorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
    let late = site.authority.issue_with(&["one.test"], algorithm, |params| {
        params.not_after = date_time_ymd(2028, 1, 2);
    });
    site.folder.write_issued("one", &late);
    site.folder.write("ca.crl", site.authority.revoke(&[], (2027, 12, 31)));
    let (fresh, errors) = site.renew(&server);
    assert!(errors.is_empty(), "{errors:?}");
    let until: Vec<u64> = fresh
        .unwrap()
        .expiries()
        .iter()
        .map(|expiry| (expiry.until.as_secs() - NOW) / DAY)
        .collect();
    // The authority's own is the last but one.
    assert_eq!((&until[..2], until[3]), (&[366, 364][..], 364));
}

/// A pair whose halves are written one after the other is never mixed, whenever it is read.
#[test]
fn no_pair_is_ever_mixed() {
    let site = Site::new();
    let pairs: Vec<Issued> = (0..10).map(|_| site.authority.issue(&["one.test"])).collect();
    let done = AtomicBool::new(false);
    let mut server = site.load();
    let first = site.shown(&server, "one.test");
    let (mut taken, mut kept) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for swap in 0..100 {
                let pair = &pairs[swap % pairs.len()];
                let mut halves =
                    [("one.pem", pair.certificate.pem()), ("one.key", pair.key.serialize_pem())];
                // Either half may come first, in place or by a rename.
                halves.rotate_left(swap % 2);
                for (name, text) in halves {
                    if swap % 3 == 0 {
                        std::fs::write(site.folder.path(name), text).unwrap();
                    } else {
                        let new = site.folder.write("new", text);
                        std::fs::rename(new, site.folder.path(name)).unwrap();
                    }
                    std::thread::yield_now();
                }
            }
            done.store(true, Ordering::SeqCst);
        });
        let mut last = false;
        while !last {
            last = done.load(Ordering::SeqCst);
            let (fresh, errors) = site.renew(&server);
            taken += usize::from(fresh.is_some());
            kept += usize::from(!errors.is_empty());
            server = fresh.unwrap_or(server);
            // The handshake proves that the key is the one of the certificate.
            let shown = site.shown(&server, "one.test");
            let is_shown = |pair: &Issued| pair.certificate.der()[..] == shown;
            assert!(first == shown || pairs.iter().any(is_shown));
        }
        let last = pairs[99 % pairs.len()].certificate.der();
        assert_eq!(site.shown(&server, "one.test"), last.to_vec(), "the last pair is taken");
    });
    println!("{taken} pairs taken, {kept} readings refused");
    assert!(taken > 0);
}
