//! How a pool picks: `policy` and the keys that some policies have. Picks nothing.

use std::ops::RangeInclusive;

use toml::de::DeTable;

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

/// Whether a pool's table asks for the server name as its key; what is wrong with it is told when
/// it is read.
pub(super) fn hashes_names(pool: &DeTable<'_>) -> bool {
    pool.get("key").is_some_and(|key| key.get_ref().as_str() == Some(SERVER_NAME))
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

const KEYS: [(&str, Key); 5] = [
    ("source", Key::Source),
    ("source-port", Key::SourcePort),
    ("destination", Key::Destination),
    ("destination-port", Key::DestinationPort),
    (SERVER_NAME, Key::ServerName),
];

const SERVER_NAME: &str = "server-name";

const SALT_MAX: usize = 255;

/// Below, weights cannot be told apart; above, where Envoy's limit is too, a table takes long to
/// build and fits no cache. Both ends are primes.
const MAGLEV_SIZES: RangeInclusive<u32> = 251..=5_000_011;

#[cfg(test)]
mod tests {
    use super::*;

    use crate::config::samples::{valid_pool, with_pool};

    const BACKENDS: &str = "backends = [\"10.0.0.1:1\"]";

    fn balancing(lines: &str) -> Balancing {
        valid_pool(&format!("{BACKENDS}\n{lines}")).balancing
    }

    fn refused(lines: &str) -> Vec<String> {
        with_pool(&format!("{BACKENDS}\n{lines}"))
    }

    #[test]
    fn every_policy_is_read() {
        let hashing = Hashing { key: Key::Source, salt: String::new(), bounded_load: None };
        let cases = [
            ("round-robin", Policy::RoundRobin),
            ("least-connections", Policy::LeastConnections),
            ("random-two", Policy::RandomTwo),
            ("maglev", Policy::Maglev { hashing: hashing.clone(), size: 65_537 }),
            ("ring", Policy::Ring(hashing.clone())),
            ("rendezvous", Policy::Rendezvous(hashing)),
        ];
        for (word, policy) in cases {
            assert_eq!(balancing(&format!("policy = \"{word}\"")).policy, policy);
        }
    }

    #[test]
    fn what_a_policy_hashes_is_read() {
        let cases = [
            ("source", Key::Source),
            ("source-port", Key::SourcePort),
            ("destination", Key::Destination),
            ("destination-port", Key::DestinationPort),
            ("server-name", Key::ServerName),
        ];
        for (word, key) in cases {
            let lines = format!(
                "policy = \"maglev\"\nkey = \"{word}\"\nsalt = \"a b\"\nbounded_load = 125\n\
                 maglev_size = 251"
            );
            let hashing = Hashing { key, salt: "a b".to_owned(), bounded_load: Some(125) };
            assert_eq!(balancing(&lines).policy, Policy::Maglev { hashing, size: 251 });
        }
        let off = balancing("policy = \"ring\"\nbounded_load = \"off\"").policy;
        assert_eq!(off.hashing().unwrap().bounded_load, None);
        let name = refused("policy = \"ring\"\nkey = \"name\"");
        assert_eq!(
            name,
            ["7: pool.p.key: found \"name\"; give \"source\" or \"source-port\" or \
              \"destination\" or \"destination-port\" or \"server-name\""]
        );
    }

    #[test]
    fn tiers_and_panic_are_read() {
        assert_eq!(balancing(""), Balancing::default());
        let read = balancing("over_provisioning = 100\npanic_threshold = 50");
        assert_eq!((read.over_provisioning, read.panic_threshold), (100, 50));
        assert_eq!(balancing("panic_threshold = \"off\"").panic_threshold, 0);
        assert_eq!(
            refused("over_provisioning = 99\npanic_threshold = 0"),
            [
                "6: pool.p.over_provisioning: found 99; give an integer from 100 to 1000",
                "7: pool.p.panic_threshold: found 0; give an integer from 1 to 100, or \"off\"",
            ]
        );
    }

    #[test]
    fn keys_of_another_policy_are_refused() {
        let hashes_nothing = "has no meaning for a policy that hashes nothing; \
            take it out, or give policy = \"maglev\" or \"ring\" or \"rendezvous\"";
        let lines = "key = \"source\"\nsalt = \"\"\nbounded_load = \"off\"\nmaglev_size = 251";
        let expected = |policy: &str| {
            ["6: pool.p.key", "7: pool.p.salt", "8: pool.p.bounded_load", "9: pool.p.maglev_size"]
                .map(|place| format!("{place}: {hashes_nothing}{policy}"))
        };
        assert_eq!(refused(lines), expected(""));
        for policy in ["round-robin", "least-connections", "random-two"] {
            assert_eq!(refused(&format!("{lines}\npolicy = \"{policy}\"")), expected(""));
        }
        for policy in ["ring", "rendezvous"] {
            assert_eq!(
                refused(&format!("{lines}\npolicy = \"{policy}\"")),
                ["9: pool.p.maglev_size: \
                  has a meaning for policy = \"maglev\" alone; take it out"]
            );
        }
    }

    #[test]
    fn keys_beside_an_unknown_policy_are_still_read() {
        let found = refused("policy = \"hash\"\nkey = 1\nsalt = \"\"\nmaglev_size = 1");
        let heads: Vec<_> = found.iter().map(|line| line.split(": ").nth(1).unwrap()).collect();
        assert_eq!(heads, ["pool.p.policy", "pool.p.key", "pool.p.maglev_size"]);
    }

    #[test]
    fn a_hashing_policys_values_have_their_limits() {
        let salt = "s".repeat(256);
        let cases = [
            (
                format!("salt = \"{salt}\""),
                format!("salt: found \"{}...\"; give a text of at most 255 bytes", &salt[..80]),
            ),
            (
                "bounded_load = 100".to_owned(),
                "bounded_load: found 100; give an integer from 101 to 10000, or \"off\"".to_owned(),
            ),
            (
                "maglev_size = 65536".to_owned(),
                "maglev_size: 65536 is not a prime; give 65537, which is the next one".to_owned(),
            ),
            (
                "maglev_size = 250".to_owned(),
                "maglev_size: found 250; give an integer from 251 to 5000011".to_owned(),
            ),
        ];
        for (line, expected) in cases {
            let found = refused(&format!("policy = \"maglev\"\n{line}"));
            assert_eq!(found, [format!("7: pool.p.{expected}")]);
        }
    }

    #[test]
    fn a_table_has_a_place_for_each_backend() {
        let pool = |count: usize| {
            let address = |index| format!("\"10.0.{}.{}:1\"", index / 256, index % 256);
            let backends: Vec<_> = (0..count).map(address).collect();
            let backends = backends.join(",");
            with_pool(&format!("policy = \"maglev\"\nmaglev_size = 251\nbackends = [{backends}]"))
        };
        assert_eq!(pool(251), [""; 0]);
        assert_eq!(
            pool(252),
            ["6: pool.p.maglev_size: 251 is less than the 252 backends; \
              give a hundred times their number or more"]
        );
    }

    #[test]
    fn primes_are_told_from_other_numbers() {
        let primes: Vec<u32> = (0..30).filter(|number| is_prime(*number)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
        assert!(is_prime(*MAGLEV_SIZES.start()) && is_prime(*MAGLEV_SIZES.end()));
        assert!(!is_prime(65_537 * 17) && is_prime(MAGLEV_SIZE));
    }
}
