//! Owns what it costs to find the route of a ClientHello, by the number of routes there are.

use std::hint::black_box;

use ringmain::balance::PoolId;
use ringmain::view::{Outcome, Routes, Rule};

use super::speed::per_call;
use super::table;
use crate::clock::Clock;

/// Half of the rules are for a name, half for a wildcard; a fifth of them have a protocol too.
pub fn report(clock: Clock, nanoseconds: u64) {
    const COUNTS: [usize; 4] = [10, 100, 1000, 10_000];
    let headings: Vec<String> = COUNTS.iter().map(|count| count.to_string()).collect();
    let rows = ASKED.map(|(title, name)| {
        let cell = |count: &usize| format!("{:.1}", find(clock, *count, name, nanoseconds));
        (title, COUNTS.iter().map(cell).collect())
    });
    table::print("Nanoseconds per route found, by number of routes", &headings, &rows);
}

/// A name to look for, given the number of a rule.
type Name = fn(usize) -> String;

const ASKED: [(&str, Name); 4] = [
    ("a name", |number| format!("agg-{number}.eu.example.com")),
    ("below a wildcard", |number| format!("agent.rack.fleet-{number}.example.com")),
    ("nobody's name", |number| format!("agg-{number}.example.org")),
    ("nobody's, 8 labels", |number| format!("a.b.c.d.e.agg-{number}.example.org")),
];

fn find(clock: Clock, count: usize, name: Name, nanoseconds: u64) -> f64 {
    let routes = Routes::new(Outcome::Reject, (0..count).map(rule));
    let names: Vec<String> = (0..count).map(|number| name(number / 2)).collect();
    let alpn: [Box<[u8]>; 2] = [(*b"h2").into(), (*b"http/1.1").into()];
    // Steps that reach every name in an order that no cache foresees.
    let (step, mut at) = ((count * 7 / 10) | 1, 0);
    per_call(clock, nanoseconds, |_| {
        black_box(routes.find(Some(&names[at]), &alpn));
        at = (at + step) % count;
    })
}

fn rule(number: usize) -> Rule {
    let name = match number % 2 {
        0 => format!("agg-{}.eu.example.com", number / 2),
        _ => format!("*.fleet-{}.example.com", number / 2),
    };
    let protocols = if number % 10 < 2 { vec![b"h2".to_vec()] } else { Vec::new() };
    let outcome = Outcome::Relay { pool: PoolId(number), tls: None };
    Rule { server_names: vec![name], alpn: protocols, outcome }
}
