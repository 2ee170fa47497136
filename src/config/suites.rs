//! Names of cipher suites: those there are, and which was probably meant. Ciphers nothing.

use super::field::{Field, Read, quoted};
use super::names::nearest;
use super::tls::TlsVersion;

/// Distinct suites, or none; each is of use from `version` on, and one is of it.
pub(super) fn read(field: &Field<'_>, version: Option<TlsVersion>) -> Read<Vec<String>> {
    let remedy = "an array of cipher suites";
    let suites = field.distinct_items(remedy, |item| suite(item, version))?;
    let are_all_read = suites.len() == field.items(remedy)?.len();
    let is_for = |version| suites.iter().any(|(suite, _)| CIPHER_SUITES[*suite].1 == version);
    if are_all_read && !suites.is_empty() && version.is_some_and(|version| !is_for(version)) {
        let remedy = "one that is, or min_version = \"1.3\"";
        return Err(field.flaw("has none of TLS 1.2, which min_version lets in", remedy));
    }
    Ok(suites.into_iter().map(|(suite, _)| CIPHER_SUITES[suite].0.to_owned()).collect())
}

/// The index of a suite.
fn suite(field: &Field<'_>, version: Option<TlsVersion>) -> Read<usize> {
    let remedy = "a cipher suite such as \"TLS_AES_128_GCM_SHA256\"";
    let name = field.text(remedy)?;
    let Some(index) = CIPHER_SUITES.iter().position(|(known, _)| *known == name) else {
        return Err(format!("no cipher suite is named {}; {}", quoted(name), meant(name)));
    };
    if version.is_some_and(|version| CIPHER_SUITES[index].1 < version) {
        let remedy = "min_version = \"1.2\", or take it out";
        return Err(field.flaw("is of TLS 1.2, which min_version keeps out", remedy));
    }
    Ok(index)
}

/// The remedy for a name that is not known. Suites have other names with OpenSSL, which differ in
/// little but their punctuation.
fn meant(name: &str) -> String {
    let squeezed = |name: &str| {
        let name = name.to_ascii_uppercase().replace("TLS", "").replace("WITH", "");
        name.replace(|char: char| !char.is_ascii_alphanumeric(), "")
    };
    let known = CIPHER_SUITES.map(|(known, _)| squeezed(known));
    let nearest = nearest(&squeezed(name), known.iter().map(String::as_str));
    let nearest = nearest.and_then(|nearest| known.iter().position(|known| known == nearest));
    match nearest {
        Some(nearest) => format!("did you mean {}?", quoted(CIPHER_SUITES[nearest].0)),
        None => {
            let names = CIPHER_SUITES.map(|(known, _)| quoted(known));
            format!("there are {}", names.join(", "))
        }
    }
}

/// All that the TLS library has, most preferred first, by the names that IANA registers.
const CIPHER_SUITES: [(&str, TlsVersion); 9] = [
    ("TLS_AES_256_GCM_SHA384", TlsVersion::Tls13),
    ("TLS_AES_128_GCM_SHA256", TlsVersion::Tls13),
    ("TLS_CHACHA20_POLY1305_SHA256", TlsVersion::Tls13),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", TlsVersion::Tls12),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", TlsVersion::Tls12),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", TlsVersion::Tls12),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", TlsVersion::Tls12),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", TlsVersion::Tls12),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", TlsVersion::Tls12),
];

#[cfg(test)]
mod tests {
    use super::*;

    use crate::config::samples::with_tls;

    const CERTIFICATES: &str = "certificates = [{ chain = \"/c\", key = \"/k\" }]\n";

    /// What is printed for a section that lists these suites on its line 4.
    fn refused(min_version: &str, suites: &str) -> Vec<String> {
        let lines = format!("min_version = \"{min_version}\"\ncipher_suites = [{suites}]");
        with_tls(&format!("{CERTIFICATES}{lines}"))
    }

    #[test]
    fn there_are_those_of_the_tls_library() {
        let suites = rustls::crypto::aws_lc_rs::DEFAULT_CIPHER_SUITES.iter().map(|suite| {
            let name = suite.suite().as_str().unwrap();
            let version = match suite.tls13() {
                Some(_) => TlsVersion::Tls13,
                None => TlsVersion::Tls12,
            };
            // IANA's names of the newer ones have no version.
            (name.replace("TLS13_", "TLS_"), version)
        });
        let ours = CIPHER_SUITES.map(|(name, version)| (name.to_owned(), version));
        assert_eq!(suites.collect::<Vec<_>>(), ours);
        for (name, version) in CIPHER_SUITES {
            let min_version = if version == TlsVersion::Tls13 { "1.3" } else { "1.2" };
            assert_eq!(refused(min_version, &format!("\"{name}\"")), [""; 0]);
        }
    }

    #[test]
    fn a_name_of_openssl_is_understood_and_refused() {
        for (name, meant) in [
            ("TLS_AES_128_GCM_SHA265", "TLS_AES_128_GCM_SHA256"),
            ("TLS13_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
            ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
            ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
            ("ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
        ] {
            assert_eq!(
                refused("1.2", &format!("\"{name}\"")),
                [format!(
                    "4: tls.t.cipher_suites[0]: no cipher suite is named \"{name}\"; \
                     did you mean \"{meant}\"?"
                )]
            );
        }
        let found = refused("1.2", "\"HIGH\"");
        let head = "4: tls.t.cipher_suites[0]: no cipher suite is named \"HIGH\"; there are \
                    \"TLS_AES_256_GCM_SHA384\", \"TLS_AES";
        assert!(found.len() == 1 && found[0].starts_with(head), "{found:?}");
    }

    #[test]
    fn each_suite_is_of_use_and_there_is_one_for_the_least_version() {
        let (old, new) = ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256");
        assert_eq!(
            refused("1.3", &format!("\"{old}\", \"{new}\"")),
            [format!(
                "4: tls.t.cipher_suites[0]: \"{old}\" is of TLS 1.2, which min_version keeps \
                 out; give min_version = \"1.2\", or take it out"
            )]
        );
        assert_eq!(
            refused("1.2", &format!("\"{new}\"")),
            ["4: tls.t.cipher_suites: an array has none of TLS 1.2, which min_version lets in; \
              give one that is, or min_version = \"1.3\""]
        );
        assert_eq!(
            refused("1.2", &format!("\"{new}\",\n\"{new}\", 1")),
            [
                format!(
                    "5: tls.t.cipher_suites[1]: \"{new}\" stands at tls.t.cipher_suites[0] \
                     already; take it out"
                ),
                "5: tls.t.cipher_suites[2]: found 1; \
                 give a cipher suite such as \"TLS_AES_128_GCM_SHA256\""
                    .to_owned(),
            ],
            "while some are wrong nothing is missed"
        );
        let unread = refused("1.1", &format!("\"{old}\""));
        assert_eq!(unread, ["3: tls.t.min_version: found \"1.1\"; give \"1.2\" or \"1.3\""]);
    }
}
