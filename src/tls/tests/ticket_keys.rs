//! Tickets by themselves: what opens them, for how long, and the file of shared keys.

use std::sync::Arc;
use std::time::Duration;

use rustls::server::ProducesTickets;

use super::super::server::ClientAuth;
use super::super::tickets::{Policy, Producer, Secrets, Tickets, read_secrets};
use super::super::trust::Digests;
use super::workshop::*;

const LIFETIME: Duration = Duration::from_secs(1_000);

fn policy(name: &str) -> Policy<'_> {
    const NONE: &Digests = &Vec::new();
    let client_auth = ClientAuth::Off;
    Policy { name, client_auth, authorities: NONE, revocation_lists: NONE, holds_until: None }
}

fn producer(tickets: &Tickets, name: &str, secrets: Option<&Secrets>) -> Arc<Producer> {
    tickets.producer(&policy(name), LIFETIME, secrets, at(NOW)).unwrap()
}

fn secrets(bytes: &[u8]) -> Secrets {
    bytes.iter().map(|byte| vec![*byte; 48].into()).collect()
}

#[test]
fn a_ticket_gives_back_what_was_sealed() {
    let producer = producer(&Tickets::new(Hand::new()), "edge", None);
    assert!(producer.enabled());
    assert_eq!(producer.lifetime(), 1_000);
    for plain in [&b""[..], b"a", &[7; 5_000]] {
        let ticket = producer.encrypt(plain).unwrap();
        assert!(plain.len() < 8 || !ticket.windows(8).any(|window| window == &plain[..8]));
        assert_eq!(producer.decrypt(&ticket).as_deref(), Some(plain));
        assert_ne!(producer.encrypt(plain).unwrap(), ticket, "no two are alike");
    }
}

#[test]
fn a_ticket_that_is_cut_changed_or_longer_is_refused() {
    let producer = producer(&Tickets::new(Hand::new()), "edge", None);
    let ticket = producer.encrypt(b"session").unwrap();
    for length in 0..ticket.len() {
        assert_eq!(producer.decrypt(&ticket[..length]), None, "{length}");
        let mut changed = ticket.clone();
        changed[length] ^= 1;
        assert_eq!(producer.decrypt(&changed), None, "{length}");
    }
    assert_eq!(producer.decrypt(&[&ticket[..], &[0]].concat()), None);
}

#[test]
fn keys_are_found_again_for_a_policy_in_use_and_made_anew_for_others() {
    let tickets = Tickets::new(Hand::new());
    let one = producer(&tickets, "edge", None);
    assert!(Arc::ptr_eq(&one, &producer(&tickets, "edge", None)));
    let ticket = one.encrypt(b"session").unwrap();
    assert_eq!(producer(&tickets, "other", None).decrypt(&ticket), None);
    // With another lifetime, or with keys of a file, it is another one.
    let longer = tickets.producer(&policy("edge"), 2 * LIFETIME, None, at(NOW)).unwrap();
    assert_eq!(longer.decrypt(&ticket), None);
    assert_eq!(producer(&tickets, "edge", Some(&secrets(b"a"))).decrypt(&ticket), None);
    drop((one, longer));
    assert_eq!(producer(&tickets, "edge", None).decrypt(&ticket), None, "gone with its last user");
}

#[test]
fn own_keys_turn_over_and_are_let_go() {
    let clock = Hand::new();
    let tickets = Tickets::new(clock.clone());
    let producer = producer(&tickets, "edge", None);
    let first = producer.encrypt(b"first").unwrap();
    clock.set(NOW + 999);
    let second = producer.encrypt(b"second").unwrap();
    assert_eq!(first[..16], second[..16], "the same key");
    clock.set(NOW + 1_000);
    let third = producer.encrypt(b"third").unwrap();
    assert_ne!(first[..16], third[..16], "the next key");
    assert!(producer.decrypt(&first).is_some() && producer.decrypt(&second).is_some());
    clock.set(NOW + 1_999);
    assert!(producer.decrypt(&first).is_some());
    clock.set(NOW + 2_000);
    assert!(producer.decrypt(&first).is_none() && producer.decrypt(&second).is_none());
    assert!(producer.decrypt(&third).is_some());
}

#[test]
fn keys_that_nobody_used_for_long_are_let_go_at_once() {
    let clock = Hand::new();
    let tickets = Tickets::new(clock.clone());
    let producer = producer(&tickets, "edge", None);
    let ticket = producer.encrypt(b"session").unwrap();
    clock.set(NOW + 2_000);
    assert_eq!(producer.decrypt(&ticket), None);
    clock.set(NOW);
    assert_eq!(producer.decrypt(&ticket), None, "the key is gone, whatever the clock says");
}

/// Forward secrecy must not wait for the next client.
#[test]
fn keys_are_let_go_by_time_also_where_nobody_comes() {
    let clock = Hand::new();
    let tickets = Tickets::new(clock.clone());
    let producer = producer(&tickets, "edge", None);
    let ticket = producer.encrypt(b"session").unwrap();
    for now in [NOW + 1_000, NOW + 2_000] {
        tickets.turn(at(now));
    }
    // The clock the producer looks at still says that nothing has happened.
    assert_eq!(producer.decrypt(&ticket), None);
}

#[test]
fn the_first_shared_key_encrypts_and_all_decrypt() {
    let clock = Hand::new();
    let [one, two] = [(); 2].map(|()| Tickets::new(clock.clone()));
    let one = producer(&one, "edge", Some(&secrets(b"ab")));
    let other = producer(&two, "edge", Some(&secrets(b"b")));
    let of_a = one.encrypt(b"session").unwrap();
    let of_b = other.encrypt(b"session").unwrap();
    assert!(one.decrypt(&of_a).is_some() && one.decrypt(&of_b).is_some());
    assert!(other.decrypt(&of_a).is_none());
    // A policy of another name has other keys of the same secret.
    assert_eq!(producer(&two, "other", Some(&secrets(b"ab"))).decrypt(&of_a), None);
    // They do not turn over, and a ticket is as short-lived as one of an own key.
    clock.set(NOW + 1_999);
    assert!(one.decrypt(&of_a).is_some());
    assert_eq!(one.encrypt(b"session").unwrap()[..16], of_a[..16]);
    clock.set(NOW + 2_000);
    assert!(one.decrypt(&of_a).is_none());
    // Another host's clock may be ahead.
    clock.set(NOW - 100);
    assert!(one.decrypt(&of_a).is_some());
}

#[test]
fn shared_keys_are_replaced_in_what_is_open() {
    let tickets = Tickets::new(Hand::new());
    let open = producer(&tickets, "edge", Some(&secrets(b"a")));
    let ticket = open.encrypt(b"session").unwrap();
    producer(&tickets, "edge", Some(&secrets(b"ba")));
    assert!(open.decrypt(&ticket).is_some());
    assert_ne!(open.encrypt(b"session").unwrap()[..16], ticket[..16]);
    producer(&tickets, "edge", Some(&secrets(b"b")));
    assert!(open.decrypt(&ticket).is_none());
}

#[test]
fn a_key_file_has_one_key_per_line() {
    let folder = Folder::new();
    let [short, long, shortest, longest] = [47, 81, 48, 80].map(|bytes| "aF".repeat(bytes));
    let read = |text: &str| {
        let secrets = read_secrets(&folder.write("keys", text));
        secrets.map(|(secrets, _)| secrets).map_err(|problem| problem.to_string())
    };
    let good = read(&format!("# old and new\n\n{shortest}\r\n  {longest}  \n")).unwrap();
    assert_eq!(good.iter().map(|secret| secret.len()).collect::<Vec<_>>(), [48, 80]);
    assert!(good.iter().all(|secret| secret.iter().all(|byte| *byte == 0xaf)));
    let remedy = "write one key per line, each 48 to 80 bytes in hexadecimal, such as openssl rand \
                  -hex 48 gives";
    for (text, line, reason) in [
        (short, 1, "its length is another"),
        (format!("{shortest}\n{long}"), 2, "its length is another"),
        (format!("\n\n{shortest}f"), 3, "its length is another"),
        (format!("{shortest}+/"), 1, "it has other characters than 0-9 and a-f"),
    ] {
        let expected = format!("line {line} is no ticket key ({reason}); {remedy}");
        assert_eq!(read(&text).unwrap_err(), expected);
    }
    for text in ["", "# nothing\n\n"] {
        assert_eq!(
            read(text).unwrap_err(),
            "there is no ticket key in the file; write one key per \
            line, such as openssl rand -hex 48 gives"
        );
    }
}

#[test]
fn workers_that_turn_the_keys_at_once_agree_on_them() {
    let clock = Hand::new();
    let tickets = Tickets::new(clock.clone());
    let producer = producer(&tickets, "edge", None);
    for turn in 1..20 {
        clock.set(NOW + turn * 1_000);
        let sealed: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let seal = || producer.encrypt(b"session").unwrap();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(seal)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        assert!(sealed.iter().all(|ticket| producer.decrypt(ticket).is_some()));
    }
}
