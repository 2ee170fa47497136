//! Names of listeners, pools and backends: which are valid, and which was probably meant.

use std::collections::BTreeSet;

use super::field::{Field, Read, quoted};
use super::reader::{Place, Reader};

/// Notes a name that is not valid. Names stand in logs, metric labels and admin paths, so they are
/// short and plain; brackets and colons are in them because a backend's default name is its
/// address.
pub(super) fn check(name: &str, reader: &Reader, place: &Place) {
    if !is_valid(name) {
        let remedy = "give 1 to 64 letters, digits and characters of `._:-[]`";
        reader.refuse(place, format!("{} is no valid name; {remedy}", quoted(name)));
    }
}

/// The name of another section, which is one of `known`; `noun` is what such a section is called.
pub(super) fn reference(field: &Field<'_>, noun: &str, known: &BTreeSet<&str>) -> Read<String> {
    let name = field.text(&format!("the name of a {noun}"))?;
    if !known.contains(name) {
        let remedy = match nearest(name, known.iter().copied()) {
            Some(meant) => format!("did you mean {}?", quoted(meant)),
            None => format!("add it, or give the name of another {noun}"),
        };
        let message = format!("no {noun} is named {}; {remedy}", quoted(name));
        field.reader.refuse_absence(&field.place, message);
    }
    Ok(name.to_owned())
}

fn is_valid(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-[]".contains(&byte);
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(plain)
}

/// The known word that a misspelt one was probably meant to be.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The comparison takes time and memory by the product of the lengths.
    let comparable = known.filter(|known| word.len().max(known.len()) <= NAME_MAX);
    let distance = |known: &str| strsim::damerau_levenshtein(word, known);
    let (distance, known) = comparable.map(|known| (distance(known), known)).min()?;
    (distance * 3 <= known.len().max(3)).then_some(known)
}

/// In bytes.
const NAME_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        let longest = "x".repeat(64);
        for name in ["a", "agg-2", "10.0.0.1:6000", "[2001:db8::1]:6000", "A_b.C", &longest] {
            assert!(is_valid(name), "{name:?}");
        }
        let too_long = "x".repeat(65);
        for name in ["", "a b", "a/b", "a\n", "é", "a%2", &too_long] {
            assert!(!is_valid(name), "{name:?}");
        }
    }

    #[test]
    fn only_a_near_word_is_suggested() {
        let nearest = |word| nearest(word, ["idle_timeout", "listen", "pool"].into_iter());
        assert_eq!(nearest("idle_timout"), Some("idle_timeout"));
        assert_eq!(nearest("idel_timeout"), Some("idle_timeout"));
        assert_eq!(nearest("pol"), Some("pool"));
        assert_eq!(nearest("bind"), None);
        assert_eq!(nearest(&"pool".repeat(1_000_000)), None);
    }
}
