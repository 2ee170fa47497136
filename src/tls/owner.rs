//! Whom a certificate speaks for: the subject's common name, and all names beside it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::der::{Der, OCTET_STRING};

/// Whom a verified certificate speaks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The first of the subject (RFC 5280, section 4.1.2.6).
    pub common_name: Option<Box<str>>,
    /// The subject's alternative names (section 4.2.1.6), at most `NAMES` of them, in order; those
    /// of other kinds are left out.
    pub names: Vec<Name>,
    /// The certificate's number, in hexadecimal: unique for its issuer, and always there.
    pub serial: Box<str>,
}

/// One name, as it is in the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// Such as `spiffe://example.com/agent`.
    Uri(Box<str>),
    Dns(Box<str>),
    Email(Box<str>),
    Address(IpAddr),
}

/// Agents have a few; a server's certificate can have thousands.
const NAMES: usize = 64;

/// As operators call it: the common name; without one the first name, where a URI comes before a
/// name of DNS, an address of mail and one of IP; without any the serial number.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.common_name, self.names.iter().min_by_key(|name| name.rank())) {
            (Some(name), _) => write!(f, "CN={name}"),
            (None, Some(name)) => name.fmt(f),
            (None, None) => write!(f, "SERIAL={}", self.serial),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Uri(uri) => write!(f, "URI={uri}"),
            Name::Dns(name) => write!(f, "DNS={name}"),
            Name::Email(address) => write!(f, "EMAIL={address}"),
            Name::Address(address) => write!(f, "IP={address}"),
        }
    }
}

impl Name {
    fn rank(&self) -> u8 {
        match self {
            Name::Uri(_) => 0,
            Name::Dns(_) => 1,
            Name::Email(_) => 2,
            Name::Address(_) => 3,
        }
    }

    /// A GeneralName of these kinds (RFC 5280, section 4.2.1.6); an empty one is none.
    fn of(tag: u8, body: &[u8]) -> Option<Name> {
        const EMAIL: u8 = 0x81;
        const DNS: u8 = 0x82;
        const URI: u8 = 0x86;
        const ADDRESS: u8 = 0x87;
        let text = || (!body.is_empty()).then(|| String::from_utf8_lossy(body).into());
        match tag {
            EMAIL => text().map(Name::Email),
            DNS => text().map(Name::Dns),
            URI => text().map(Name::Uri),
            ADDRESS => address(body).map(Name::Address),
            _ => None,
        }
    }
}

fn address(body: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(body).map(|octets| Ipv4Addr::from(octets).into());
    v4.or_else(|_| <[u8; 16]>::try_from(body).map(|octets| Ipv6Addr::from(octets).into())).ok()
}

/// Whom a certificate speaks for, as far as it can be read.
pub fn owner(certificate: &[u8]) -> Owner {
    let mut owner = Owner::default();
    // What does not go on stays as it is: who was verified is somebody, whatever is read of it.
    let _end = read(certificate, &mut owner);
    owner
}

fn read(certificate: &[u8], owner: &mut Owner) -> Option<()> {
    const VERSION: u8 = 0xa0;
    const EXTENSIONS: u8 = 0xa3;
    let mut fields = Der::new(certificate).sequence()?.sequence()?;
    if fields.tag() == Some(VERSION) {
        fields.next()?;
    }
    owner.serial = fields.next()?.body.iter().map(|byte| format!("{byte:02x}")).collect();
    for _ in ["signature", "issuer", "validity"] {
        fields.sequence()?;
    }
    owner.common_name = common_name(fields.sequence()?);
    while let Some(field) = fields.next() {
        if field.tag == EXTENSIONS {
            owner.names = alternative_names(Der::new(field.body).sequence()?).unwrap_or_default();
        }
    }
    Some(())
}

/// The first common name of a subject that says something.
fn common_name(mut sets: Der<'_>) -> Option<Box<str>> {
    /// 2.5.4.3
    const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
    while let Some(set) = sets.next() {
        let mut pairs = Der::new(set.body);
        while let Some(mut pair) = pairs.sequence() {
            if pair.next()?.body == COMMON_NAME {
                let name = pair.next()?.body;
                return (!name.is_empty()).then(|| String::from_utf8_lossy(name).into());
            }
        }
    }
    None
}

fn alternative_names(mut extensions: Der<'_>) -> Option<Vec<Name>> {
    /// 2.5.29.17
    const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
    while let Some(mut extension) = extensions.sequence() {
        if extension.next()?.body != SUBJECT_ALT_NAME {
            continue;
        }
        let value = std::iter::from_fn(|| extension.next()).find(|it| it.tag == OCTET_STRING)?;
        let mut listed = Der::new(value.body).sequence()?;
        let named = std::iter::from_fn(|| listed.next());
        return Some(named.filter_map(|name| Name::of(name.tag, name.body)).take(NAMES).collect());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType, SerialNumber};

    fn certificate(common_name: Option<&str>, names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0x1b]));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "fleet");
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = names;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    fn email(text: &str) -> SanType {
        SanType::Rfc822Name(text.try_into().unwrap())
    }

    fn ip(text: &str) -> SanType {
        SanType::IpAddress(text.parse().unwrap())
    }

    #[test]
    fn every_kind_of_name_is_read_and_one_stands_for_all() {
        let spiffe = "spiffe://fleet.example/agent/7";
        let names = || vec![ip("10.0.0.7"), email("a@b.c"), dns("agent.test"), uri(spiffe)];
        for (common_name, from, shown) in [
            (Some("agent-7"), 0, "CN=agent-7".to_owned()),
            (Some(""), 0, format!("URI={spiffe}")),
            (None, 0, format!("URI={spiffe}")),
            (None, 1, "DNS=agent.test".to_owned()),
            (None, 2, "EMAIL=a@b.c".to_owned()),
            (None, 3, "IP=10.0.0.7".to_owned()),
            (None, 4, "SERIAL=0a1b".to_owned()),
        ] {
            let mut names = names();
            names.truncate(4 - from);
            let owner = owner(&certificate(common_name, names));
            assert_eq!(owner.to_string(), shown);
            assert_eq!(owner.names.len(), 4 - from);
        }
        let all = owner(&certificate(Some("agent-7"), names())).names;
        let expected = [
            Name::Address("10.0.0.7".parse().unwrap()),
            Name::Email("a@b.c".into()),
            Name::Dns("agent.test".into()),
            Name::Uri(spiffe.into()),
        ];
        assert_eq!(all, expected);
        let six = owner(&certificate(None, vec![ip("2001:db8::7")]));
        assert_eq!(six.to_string(), "IP=2001:db8::7");
    }

    #[test]
    fn a_certificate_cut_anywhere_still_speaks_for_somebody() {
        let whole = certificate(Some("agent-7"), vec![uri("spiffe://a/b"); 100]);
        assert_eq!(owner(&whole).names.len(), NAMES);
        for length in 0..whole.len() {
            assert!(owner(&whole[..length]).to_string().contains('='));
        }
    }
}
