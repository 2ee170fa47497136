//! Names of hosts and services that DNS is asked for: which are valid. Asks for none.

use std::net::{IpAddr, SocketAddr};

/// Why a text is no name to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostnameError {
    Address,
    Character,
    EmptyLabel,
    LongLabel,
    TooLong,
    Number,
    Port,
}

impl HostnameError {
    /// Continues a sentence that starts with the text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Address => "is an address, which stands under backends",
            Self::Character => "holds other characters than letters, digits, `-`, `_` and `.`",
            Self::EmptyLabel => "has nothing before or between its dots",
            Self::LongLabel => "has more than 63 characters between two dots",
            Self::TooLong => "is longer than 253 characters",
            Self::Number => "is made of numbers, and is neither an address nor a name",
            Self::Port => "has no port from 1 to 65535",
        }
    }
}

/// Checks a name, with or without a trailing dot. Underscores are in the names of services.
pub(super) fn check(name: &str) -> Result<(), HostnameError> {
    let bare = name.strip_suffix('.').unwrap_or(name);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let mut labels = bare.split('.');
    if name.parse::<IpAddr>().is_ok() || name.parse::<SocketAddr>().is_ok() {
        Err(HostnameError::Address)
    } else if !bare.bytes().all(plain) {
        Err(HostnameError::Character)
    } else if labels.clone().any(str::is_empty) {
        Err(HostnameError::EmptyLabel)
    } else if labels.clone().any(|label| label.len() > LABEL_MAX) {
        Err(HostnameError::LongLabel)
    } else if bare.len() > NAME_MAX {
        Err(HostnameError::TooLong)
    } else if labels.all(|label| label.bytes().all(|byte| byte.is_ascii_digit())) {
        Err(HostnameError::Number)
    } else {
        Ok(())
    }
}

/// What stands before the port, which is left to be checked, and the port.
pub(super) fn split_port(text: &str) -> Result<(&str, u16), HostnameError> {
    if text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok() {
        return Err(HostnameError::Address);
    }
    let (name, port) = text.rsplit_once(':').ok_or(HostnameError::Port)?;
    // `parse` alone would take a leading plus sign.
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| digits && *port != 0);
    Ok((name, port.ok_or(HostnameError::Port)?))
}

/// In bytes, of one part between two dots (RFC 1035, section 2.3.4).
const LABEL_MAX: usize = 63;

/// In bytes as text without the trailing dot: 255 on the wire, less the first length and the root.
const NAME_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_labels() {
        let label = "x".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "x".repeat(61));
        for name in ["a", "agg-0.example", "_vector._tcp.a", "A.1", "a.example.", &label, &longest]
        {
            assert_eq!(check(name), Ok(()), "{name:?}");
        }
        assert_eq!(check(&format!("{longest}.")), Ok(()), "the trailing dot does not count");
    }

    #[test]
    fn what_is_no_name_is_refused_with_its_reason() {
        let label = "x".repeat(63);
        let too_long = format!("{label}.{label}.{label}.{}", "x".repeat(62));
        let cases = [
            ("10.0.0.1", HostnameError::Address),
            ("2001:db8::1", HostnameError::Address),
            ("[::1]:53", HostnameError::Address),
            ("a b", HostnameError::Character),
            ("agg:6000", HostnameError::Character),
            ("é.example", HostnameError::Character),
            ("a\0", HostnameError::Character),
            ("", HostnameError::EmptyLabel),
            (".", HostnameError::EmptyLabel),
            (".a", HostnameError::EmptyLabel),
            ("a..b", HostnameError::EmptyLabel),
            ("a..", HostnameError::EmptyLabel),
            ("10.0.0.256", HostnameError::Number),
            ("7", HostnameError::Number),
            (&format!("{label}x.a"), HostnameError::LongLabel),
            (&too_long, HostnameError::TooLong),
        ];
        for (name, error) in cases {
            assert_eq!(check(name), Err(error), "{name:?}");
        }
    }

    #[test]
    fn the_port_is_the_last_part() {
        assert_eq!(split_port("agg.example:6000"), Ok(("agg.example", 6000)));
        assert_eq!(split_port("a-{0..1}.b.:65535"), Ok(("a-{0..1}.b.", 65_535)));
        for text in ["agg", "agg:", "agg:0", "agg:65536", "agg:+1", "agg:-1", "agg:http", ""] {
            assert_eq!(split_port(text), Err(HostnameError::Port), "{text:?}");
        }
        for text in ["10.0.0.1:6000", "10.0.0.1", "[::1]:6000", "::1"] {
            assert_eq!(split_port(text), Err(HostnameError::Address), "{text:?}");
        }
    }
}
