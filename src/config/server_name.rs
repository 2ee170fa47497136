//! Names of servers as TLS asks for them, and with a wildcard as routes have them: which are
//! valid. Asks for none.

use rustls::pki_types::DnsName;

use super::field::{Field, Read};
use super::hostname::{self, HostnameError};

/// One name, in lower case.
pub(super) fn exact(field: &Field<'_>) -> Read<String> {
    let remedy = "a host name such as \"agg.example\"";
    let name = field.text(remedy)?;
    check(name).map_err(|flaw| field.flaw(flaw, remedy))?;
    Ok(name.to_ascii_lowercase())
}

/// One name, or all names below a domain, in lower case.
pub(super) fn pattern(field: &Field<'_>) -> Read<String> {
    let remedy = "a host name such as \"agg.example.com\", or \"*.example.com\" for all below it";
    let pattern = field.text(remedy)?;
    let flaw = match pattern.strip_prefix("*.") {
        _ if pattern.matches('*').count() > 1 => Some("has more than one star"),
        _ if pattern == "*" => Some(TOO_FEW),
        Some(domain) if !domain.contains('.') => Some(TOO_FEW),
        Some(domain) => check(domain).err(),
        None if pattern.contains('*') => Some("has a star that is not its whole first label"),
        None => check(pattern).err(),
    };
    match flaw {
        Some(flaw) => Err(field.flaw(flaw, remedy)),
        None => Ok(pattern.to_ascii_lowercase()),
    }
}

/// All names there are, or all of a whole top-level domain, are not one operator's.
const TOO_FEW: &str = "has fewer than two labels after its star";

/// What is wrong with a name, to continue a sentence that starts with it. The TLS library is
/// stricter than DNS.
fn check(name: &str) -> Result<(), &'static str> {
    match hostname::check(name) {
        Err(HostnameError::Address) => Err("is an address, which TLS sends no name for"),
        Err(error) => Err(error.as_str()),
        Ok(()) if name.ends_with('.') => Err("ends with a dot"),
        Ok(()) if DnsName::try_from(name).is_err() => {
            Err("has a hyphen beside a dot or an end, or ends with a number")
        }
        Ok(()) => Ok(()),
    }
}
