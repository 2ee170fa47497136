//! How a pool picks: `policy` and the keys that some policies have. Picks nothing.

use std::ops::RangeInclusive;

use super::field::{Field, Read};
use super::reader::Section;
use crate::balance::{Balancing, Hashing, Key, MAGLEV_SIZE, Policy};

/// `backends` is how many the file names itself.
pub(super) fn read(section: &Section<'_>, backends: usize) -> Balancing {
    let Balancing { over_provisioning, panic_threshold, policy: _ } = Balancing::default();
    Balancing {
        policy: policy(section, backends),
        over_provisioning: section
            .value_or("over_provisioning", over_provisioning, |field| field.integer(100..=1000)),
        panic_threshold: section.value_or("panic_threshold", panic_threshold, |field| {
            Ok(field.unless("off", |field| field.integer(1..=100))?.unwrap_or(0))
        }),
    }
}

fn policy(section: &Section<'_>, backends: usize) -> Policy {
    let word = section.given_or("policy", Word::RoundRobin, |field| field.choice(&WORDS));
    let refuse_size = || {
        let message = "has a meaning for policy = \"maglev\" alone; take it out";
        section.refuse_if_given("maglev_size", message);
    };
    match word {
        Some(Word::RoundRobin) => without_hashing(section, Policy::RoundRobin),
        Some(Word::LeastConnections) => without_hashing(section, Policy::LeastConnections),
        Some(Word::RandomTwo) => without_hashing(section, Policy::RandomTwo),
        Some(Word::Maglev) => {
            Policy::Maglev { hashing: hashing(section), size: maglev_size(section, backends) }
        }
        Some(Word::Ring) => {
            refuse_size();
            Policy::Ring(hashing(section))
        }
        Some(Word::Rendezvous) => {
            refuse_size();
            Policy::Rendezvous(hashing(section))
        }
        // Any key may belong to the policy that was meant; their errors are reported with its.
        None => {
            hashing(section);
            maglev_size(section, backends);
            Policy::RoundRobin
        }
    }
}

fn hashing(section: &Section<'_>) -> Hashing {
    Hashing {
        key: section.value_or("key", Key::Source, |field| field.choice(&KEYS)),
        salt: section.value_or("salt", String::new(), salt),
        bounded_load: section.value_or("bounded_load", None, |field| {
            field.unless("off", |field| field.integer(101..=10_000))
        }),
    }
}

fn without_hashing(section: &Section<'_>, policy: Policy) -> Policy {
    for key in ["key", "salt", "bounded_load", "maglev_size"] {
        section.refuse_if_given(
            key,
            "has no meaning for a policy that hashes nothing; \
             take it out, or give policy = \"maglev\" or \"ring\" or \"rendezvous\"",
        );
    }
    policy
}

/// It is hashed for every connection, so it is short.
fn salt(field: &Field<'_>) -> Read<String> {
    let remedy = format!("a text of at most {SALT_MAX} bytes");
    let text = field.text(&remedy)?;
    if text.len() <= SALT_MAX { Ok(text.to_owned()) } else { Err(field.refusal(&remedy)) }
}

fn maglev_size(section: &Section<'_>, backends: usize) -> u32 {
    section.value_or("maglev_size", MAGLEV_SIZE, |field| table_size(field, backends))
}

/// A prime, because only then do the steps through the table reach all of it.
fn table_size(field: &Field<'_>, backends: usize) -> Read<u32> {
    let size = field.integer(MAGLEV_SIZES)?;
    if !is_prime(size) {
        // The greatest size is a prime: there is always one above a number that is none.
        let next = (size..=*MAGLEV_SIZES.end()).find(|size| is_prime(*size)).unwrap_or(MAGLEV_SIZE);
        return Err(field.flaw("is not a prime", &format!("{next}, which is the next one")));
    }
    if (size as usize) < backends {
        let flaw = format!("is less than the {backends} backends");
        return Err(field.flaw(&flaw, "a hundred times their number or more"));
    }
    Ok(size)
}

fn is_prime(number: u32) -> bool {
    let limit = number.isqrt();
    number > 1 && (2..=limit).all(|divisor| !number.is_multiple_of(divisor))
}

/// The policies as words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    RoundRobin,
    LeastConnections,
    RandomTwo,
    Maglev,
    Ring,
    Rendezvous,
}

const WORDS: [(&str, Word); 6] = [
    ("round-robin", Word::RoundRobin),
    ("least-connections", Word::LeastConnections),
    ("random-two", Word::RandomTwo),
    ("maglev", Word::Maglev),
    ("ring", Word::Ring),
    ("rendezvous", Word::Rendezvous),
];

const KEYS: [(&str, Key); 4] = [
    ("source", Key::Source),
    ("source-port", Key::SourcePort),
    ("destination", Key::Destination),
    ("destination-port", Key::DestinationPort),
];

const SALT_MAX: usize = 255;

/// Below, weights cannot be told apart; above, where Envoy's limit is too, a table takes long to
/// build and fits no cache. Both ends are primes.
const MAGLEV_SIZES: RangeInclusive<u32> = 251..=5_000_011;
