//! A file of backends, as lines or as TOML. Reads it whole and bounded; watches and resolves none.
//!
//! ```text
//! # one backend per line
//! 10.0.0.1:6000
//! [2001:db8::1]:6000  weight=5  name=big
//! agg-3.example.net:6000  backup drain
//! ```
//!
//! ```toml
//! backends = ["10.0.0.1:6000", { address = "agg-3.example.net:6000", weight = 5, backup = true }]
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::roster::usable;

/// A backend as the file lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// As given, or the address as text.
    pub name: String,
    pub host: Host,
    pub port: u16,
    pub weight: Option<u16>,
    pub backup: bool,
    /// It gets no new connections.
    pub drain: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Address(IpAddr),
    /// To be resolved.
    Name(String),
}

/// What is wrong, with the line where it is.
type Parsed<T> = Result<T, String>;

/// The text of a file of backends, or in a few words why there is none. Blocks.
pub fn read_listing(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::NotFound => "create it, or correct the path",
            ErrorKind::PermissionDenied => "let the user of this process read it",
            _ => "correct the path",
        };
        format!("cannot be opened: {error}; {remedy}")
    })?;
    let read = file.take(BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| format!("cannot be read: {error}; give a text with a line per backend"))?;
    if text.len() as u64 > BYTES_MAX {
        return Err(format!("is larger than {BYTES_MAX} bytes; give a list of backends"));
    }
    Ok(text)
}

/// Bytes. A hundred thousand backends fit, an accident does not.
const BYTES_MAX: u64 = 16 << 20;

/// The backends of a file, at least one, with distinct names. A file without any is taken for
/// one that is just being written: to take every backend out of service, let them drain.
pub(super) fn parse(path: &Path, text: &str) -> Parsed<Vec<Listed>> {
    let listed = if is_toml(path, text) { from_toml(text)? } else { from_lines(text)? };
    if listed.is_empty() {
        return Err("lists no backend; to take all out of service, let them drain".to_owned());
    }
    let mut lines = HashMap::with_capacity(listed.len());
    for (line, backend) in &listed {
        if let Some(first) = lines.insert(backend.name.as_str(), line) {
            return Err(format!("line {line}: {:?} is in line {first} already", backend.name));
        }
    }
    Ok(listed.into_iter().map(|(_, backend)| backend).collect())
}

/// By its name, or by its first word, which is no address.
fn is_toml(path: &Path, text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    let key = first.and_then(|line| line.split_once('=')).map(|(key, _)| key.trim_end());
    path.extension().is_some_and(|extension| extension == "toml") || key == Some("backends")
}

fn from_lines(text: &str) -> Parsed<Vec<(usize, Listed)>> {
    let mut listed = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        if let Some(address) = words.next() {
            let backend = from_words(address, words);
            listed.push((index + 1, backend.map_err(|wrong| at(index + 1, &wrong))?));
        }
    }
    Ok(listed)
}

fn from_words<'a>(address: &str, words: impl Iterator<Item = &'a str>) -> Parsed<Listed> {
    let mut backend = from_address(address)?;
    for word in words {
        match word.split_once('=') {
            Some(("weight", weight)) => backend.weight = Some(weight_of(weight)?),
            Some(("name", name)) => backend.name = name_of(name)?,
            None if word == "backup" => backend.backup = true,
            None if word == "drain" => backend.drain = true,
            _ => return Err(format!("{word:?} is none of weight=N, name=X, backup and drain")),
        }
    }
    Ok(backend)
}

fn weight_of(text: &str) -> Parsed<u16> {
    text.parse().map_err(|_| format!("{text:?} is no weight; give 0 to 65535"))
}

/// Names stand in logs, metric labels and paths.
fn name_of(name: &str) -> Parsed<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-[]".contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(name.to_owned());
    }
    Err(format!("{name:?} is no valid name; give 1 to 64 letters, digits and any of `._:-[]`"))
}

fn from_address(text: &str) -> Parsed<Listed> {
    let remedy = "give host:port, with an IPv6 address in brackets";
    let wrong = || format!("{text:?} is no address; {remedy}");
    let (name, host, port) = if let Ok(address) = text.parse::<SocketAddr>() {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let ip = usable(address.ip()).ok_or_else(|| format!("{text:?} is no host's address"))?;
        (address.to_string(), Host::Address(ip), address.port())
    } else {
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if numeric || !is_host_name(host) {
            return Err(wrong());
        }
        let shown = host.strip_suffix('.').unwrap_or(host);
        (format!("{shown}:{port}"), Host::Name(host.to_owned()), port)
    };
    if port == 0 {
        return Err(format!("{text:?} has the port 0; {remedy}"));
    }
    Ok(Listed { name, host, port, weight: None, backup: false, drain: false })
}

/// Letters, digits, hyphens and underscores between dots, as in the names of hosts and services.
pub(super) fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(plain)
    };
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= 253 && text.split('.').all(label)
}

fn from_toml(text: &str) -> Parsed<Vec<(usize, Listed)>> {
    let line = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    let document = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        at(line(offset), &format!("not TOML: {}", error.message()))
    })?;
    let mut listed = Vec::new();
    for (key, value) in document.get_ref() {
        if key.get_ref() != "backends" {
            let wrong = format!("{:?} is no key here; give backends", key.get_ref());
            return Err(at(line(key.span().start), &wrong));
        }
        let wrong = || at(line(value.span().start), "backends is no array of backends");
        for item in value.get_ref().as_array().ok_or_else(wrong)? {
            listed.push((item.span().start, from_value(item.get_ref())));
        }
    }
    // The offsets ascend, so that one pass over the text finds every line.
    let mut lines = 1;
    let mut counted = 0;
    let numbered = listed.into_iter().map(|(offset, backend)| {
        let between = text.as_bytes().get(counted..offset).unwrap_or_default();
        lines += between.iter().filter(|byte| **byte == b'\n').count();
        counted = offset;
        backend.map(|backend| (lines, backend)).map_err(|wrong| at(lines, &wrong))
    });
    numbered.collect()
}

fn from_value(value: &DeValue<'_>) -> Parsed<Listed> {
    if let Some(text) = value.as_str() {
        return from_address(text);
    }
    let remedy = "a backend is \"host:port\" or { address = \"host:port\", ... }";
    let table = value.as_table().ok_or(remedy)?;
    let address = table.get("address").and_then(|address| address.get_ref().as_str());
    let mut backend = from_address(address.ok_or(remedy)?)?;
    for (key, value) in table {
        let (key, value) = (key.get_ref().as_ref(), value.get_ref());
        match key {
            "address" => {}
            "weight" => backend.weight = Some(weight_of(&integer(value).unwrap_or_default())?),
            "name" => backend.name = name_of(value.as_str().unwrap_or_default())?,
            "backup" => backend.backup = value.as_bool().ok_or("backup is true or false")?,
            "drain" => backend.drain = value.as_bool().ok_or("drain is true or false")?,
            _ => return Err(format!("{key:?} is none of address, weight, name, backup and drain")),
        }
    }
    Ok(backend)
}

fn integer(value: &DeValue<'_>) -> Option<String> {
    let integer = value.as_integer()?;
    (integer.radix() == 10).then(|| integer.as_str().to_owned())
}

fn at(line: usize, wrong: &str) -> String {
    format!("line {line}: {wrong}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(address: &str) -> Listed {
        from_address(address).unwrap()
    }

    #[test]
    fn lines_carry_addresses_names_and_options() {
        let text = "# ours\n\n10.0.0.1:6000\n  [2001:db8::1]:6000 weight=5 name=big # fast\n\
                    agg-3.example.net.:6000 backup weight=0 drain\r\n";
        let backends = parse(Path::new("list"), text).unwrap();
        let big = Listed { weight: Some(5), name: "big".into(), ..listed("[2001:db8::1]:6000") };
        let spare = Listed {
            name: "agg-3.example.net:6000".into(),
            host: Host::Name("agg-3.example.net.".into()),
            port: 6000,
            weight: Some(0),
            backup: true,
            drain: true,
        };
        assert_eq!(backends, [listed("10.0.0.1:6000"), big, spare]);
    }

    #[test]
    fn toml_says_the_same() {
        let text = "backends = [\n  \"10.0.0.1:6000\",\n  { address = \"[::ffff:10.0.0.2]:1\", \
                    weight = 65535, name = \"b\", backup = true, drain = true },\n]\n";
        let expected = [
            listed("10.0.0.1:6000"),
            Listed {
                weight: Some(65535),
                name: "b".into(),
                backup: true,
                drain: true,
                ..listed("10.0.0.2:1")
            },
        ];
        assert_eq!(parse(Path::new("list.toml"), text).unwrap(), expected);
        assert_eq!(parse(Path::new("..data"), &format!("# x\n{text}")).unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let good = "10.0.0.1:1\n";
        for (text, expected) in [
            ("", "lists no backend"),
            ("# nothing\n", "lists no backend"),
            ("10.0.0.1\n", "line 1: \"10.0.0.1\" is no address"),
            ("10.0.0.1:0\n", "line 1: \"10.0.0.1:0\" has the port 0"),
            ("0.0.0.0:80\n", "line 1: \"0.0.0.0:80\" is no host's address"),
            ("10.0.0.256:80\n", "line 1: \"10.0.0.256:80\" is no address"),
            ("::1:80\n", "line 1: \"::1:80\" is no address"),
            ("a_b/c:80\n", "line 1: \"a_b/c:80\" is no address"),
            ("\n\nx:70000\n", "line 3: \"x:70000\" is no address"),
            ("a:1 weight=70000\n", "line 1: \"70000\" is no weight"),
            ("a:1 wieght=7\n", "line 1: \"wieght=7\" is none of"),
            ("a:1 drain=no\n", "line 1: \"drain=no\" is none of"),
            ("a:1 name=a/b\n", "line 1: \"a/b\" is no valid name"),
            ("a:1\nb:1 name=a:1\n", "line 2: \"a:1\" is in line 1 already"),
        ] {
            let error = parse(Path::new("list"), text).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
            if !text.starts_with("10.0.0.1") && text.contains(':') {
                assert!(parse(Path::new("list"), &format!("{good}{text}")).is_err(), "{text:?}");
            }
        }
        for (text, expected) in [
            ("backends = [\n\"a:1\",\n\"b\"]", "line 3: \"b\" is no address"),
            ("backends = [\n\"a:1\",\n", "line "),
            ("backends = 3", "line 1: backends is no array"),
            ("backends = [3]", "line 1: a backend is"),
            ("backends = [{ weight = 3 }]", "line 1: a backend is"),
            ("backends = [{ address = \"a:1\", weight = -1 }]", "line 1: \"-1\" is no weight"),
            ("backends = [{ address = \"a:1\", weight = 1.5 }]", "line 1: \"\" is no weight"),
            ("backends = [{ address = \"a:1\", tier = 1 }]", "line 1: \"tier\" is none of"),
            ("\nservers = []", "line 2: \"servers\" is no key"),
            ("backends = []", "lists no backend"),
            ("backends = [\"a:1\",\n\"a:1\"]", "line 2: \"a:1\" is in line 1 already"),
        ] {
            let error = parse(Path::new("list.toml"), text).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn no_text_makes_it_panic() {
        let text =
            "a.b:1 weight=5 name=x backup drain\n# y\nbackends = [{ address = \"[::1]:1\" }]\u{e9}";
        for seed in 0..2000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..random.usize(1..8) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            let text = String::from_utf8_lossy(&bytes[..random.usize(..=bytes.len())]).into_owned();
            for path in ["list", "list.toml"] {
                if let Ok(backends) = parse(Path::new(path), &text) {
                    assert!(!backends.is_empty(), "seed {seed}");
                }
            }
        }
    }

    #[test]
    fn a_file_too_large_or_no_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        assert!(read_listing(&path).unwrap_err().starts_with("cannot be opened"));
        std::fs::write(&path, [b'a', 0xff]).unwrap();
        assert!(read_listing(&path).unwrap_err().starts_with("cannot be read"));
        let file = File::create(&path).unwrap();
        file.set_len(BYTES_MAX + 1).unwrap();
        assert!(read_listing(&path).unwrap_err().starts_with("is larger than"));
        file.set_len(BYTES_MAX).unwrap();
        assert_eq!(read_listing(&path).unwrap().len() as u64, BYTES_MAX);
    }
}
