//! The last good set of each source of a pool, on disk: used when DNS does not answer at the
//! start. Writes and reads one small file per pool; decides nothing.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::found::Found;
use crate::config::{Source, SourceKind};

/// What is saved of one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// By the title of the source.
    sources: BTreeMap<Arc<str>, Vec<Found>>,
}

/// Why nothing of a file is used.
#[derive(Debug)]
pub enum SavedError {
    Unreadable(io::Error),
    /// It is no state of this form, for this reason.
    Foreign(&'static str),
}

impl SavedError {
    /// The word for logs and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            SavedError::Unreadable(_) => "unreadable",
            SavedError::Foreign(_) => "foreign",
        }
    }
}

impl Display for SavedError {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            SavedError::Unreadable(error) => {
                write!(
                    f,
                    "the saved backends cannot be read: {error}; let the user of this process \
                     read them"
                )
            }
            SavedError::Foreign(why) => {
                write!(f, "the saved backends are ignored: {why}; the next answer replaces them")
            }
        }
    }
}

impl std::error::Error for SavedError {}

/// Writes the file of this pool, so that it is the old or the new one whatever happens. Blocks.
pub fn save(directory: &Path, pool: &str, saved: &Saved) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".saved-").tempfile_in(directory)?;
    file.write_all(encode(pool, saved).as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path(directory, pool)).map_err(|error| error.error)?;
    // The rename itself is on the disk only once the directory is.
    File::open(directory)?.sync_all()
}

/// Reads the file of this pool; nothing where there is none. Blocks.
pub fn load(directory: &Path, pool: &str) -> Result<Saved, SavedError> {
    let file = match File::open(path(directory, pool)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Saved::default()),
        Err(error) => return Err(SavedError::Unreadable(error)),
    };
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(SavedError::Unreadable)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(SavedError::Foreign("it is too large"));
    }
    decode(pool, &bytes)
}

const BYTES_MAX: u64 = 64 << 20;
const FORMAT: &str = "ringmain backends";
const VERSION: u64 = 1;

/// A name of its own for each pool. Anything but letters, digits, `-` and `_` is written as `%`
/// and two digits, so that no name leaves the directory.
fn path(directory: &Path, pool: &str) -> PathBuf {
    let mut name = String::from("pool-");
    for byte in pool.bytes() {
        match byte {
            b'-' | b'_' => name.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => name.push(byte.into()),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    directory.join(name + ".json")
}

impl Saved {
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    pub(super) fn insert(&mut self, title: &Arc<str>, backends: impl Iterator<Item = Found>) {
        let backends: Vec<Found> = backends.collect();
        if !backends.is_empty() {
            self.sources.insert(Arc::clone(title), backends);
        }
    }

    /// What was saved of a source, with what its configuration says today.
    pub(super) fn backends(&self, title: &str, source: &Source) -> BTreeMap<Arc<str>, Found> {
        let saved = self.sources.get(title).into_iter().flatten().cloned();
        let named = saved.map(|mut found| {
            found.limit = source.max_connections;
            if let SourceKind::Dns { .. } | SourceKind::Template { .. } = source.kind {
                (found.weight, found.tier) = (source.weight, source.tier);
            }
            (Arc::clone(&found.name), found)
        });
        named.collect()
    }
}

fn encode(pool: &str, saved: &Saved) -> String {
    let backend = |found: &Found| {
        let addresses: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
        json!({
            "name": &*found.name,
            "addresses": addresses,
            "weight": found.weight,
            "tier": found.tier,
            "drain": found.drain,
        })
    };
    let sources: serde_json::Map<String, Value> = saved
        .sources
        .iter()
        .map(|(title, backends)| (title.to_string(), backends.iter().map(backend).collect()))
        .collect();
    let document =
        json!({ "format": FORMAT, "version": VERSION, "pool": pool, "sources": sources });
    format!("{document:#}\n")
}

/// All of it or nothing: a file with an error is not ours.
fn decode(pool: &str, bytes: &[u8]) -> Result<Saved, SavedError> {
    let document: Value =
        serde_json::from_slice(bytes).map_err(|_| SavedError::Foreign("it is no JSON"))?;
    if document["format"] != FORMAT {
        return Err(SavedError::Foreign("it is of another program"));
    }
    if document["version"] != VERSION {
        return Err(SavedError::Foreign("it is of another version"));
    }
    if document["pool"] != pool {
        return Err(SavedError::Foreign("it is of another pool"));
    }
    let damaged = SavedError::Foreign("it is damaged");
    let Some(sources) = document["sources"].as_object() else { return Err(damaged) };
    let source = |(title, backends): (&String, &Value)| {
        let backends: Option<Vec<Found>> = backends.as_array()?.iter().map(found).collect();
        Some((Arc::from(title.as_str()), backends?))
    };
    let sources: Option<BTreeMap<_, _>> = sources.iter().map(source).collect();
    sources.map(|sources| Saved { sources }).ok_or(damaged)
}

fn found(value: &Value) -> Option<Found> {
    let number = |key: &str| u16::try_from(value[key].as_u64()?).ok();
    let name = value["name"].as_str().filter(|name| !name.is_empty())?;
    let address = |text: &Value| {
        let address: SocketAddr = text.as_str()?.parse().ok()?;
        (address.port() != 0).then_some(address)
    };
    let addresses: Option<Vec<SocketAddr>> =
        value["addresses"].as_array()?.iter().map(address).collect();
    Some(Found {
        name: name.into(),
        addresses: addresses.filter(|addresses| !addresses.is_empty())?,
        weight: number("weight")?,
        tier: number("tier")?,
        limit: None,
        drain: match &value["drain"] {
            // Earlier versions knew of none.
            Value::Null => false,
            drain => drain.as_bool()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(name: &str) -> Found {
        let addresses = vec!["10.0.0.1:1".parse().unwrap(), "[2001:db8::1]:1".parse().unwrap()];
        Found { name: name.into(), addresses, weight: 65535, tier: 2, limit: None, drain: true }
    }

    fn saved() -> Saved {
        let mut saved = Saved::default();
        saved.insert(&"srv x".into(), [backend("a:1"), backend("b:1")].into_iter());
        saved.insert(&"dns \"y\"".into(), [backend("10.0.0.1:1")].into_iter());
        saved
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(load(directory.path(), "a").unwrap(), Saved::default());
        save(directory.path(), "a", &Saved::default()).unwrap();
        save(directory.path(), "a", &saved()).unwrap();
        assert_eq!(load(directory.path(), "a").unwrap(), saved());
        let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn every_pool_has_a_file_of_its_own_in_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let pools = ["a", "A", ".", "..", "../a", "a/b", "a.b", "a:b", "[::1]:5", "a%2Eb"];
        for pool in pools {
            let path = path(directory.path(), pool);
            assert_eq!(path.parent(), Some(directory.path()), "{pool}");
            save(directory.path(), pool, &saved()).unwrap();
        }
        let files = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(files, pools.len());
        let other = path(directory.path(), "a");
        std::fs::copy(path(directory.path(), "A"), other).unwrap();
        let error = load(directory.path(), "a").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the saved backends are ignored: it is of another pool; the next answer replaces them"
        );
    }

    #[test]
    fn what_is_corrupt_or_foreign_is_refused_whole() {
        let good = encode("a", &saved());
        assert_eq!(decode("a", good.as_bytes()).unwrap(), saved());
        for length in 0..good.trim_end().len() {
            assert!(decode("a", &good.as_bytes()[..length]).is_err(), "cut at {length}");
        }
        for (from, to) in [
            ("ringmain backends", "other"),
            ("\"version\": 1", "\"version\": 2"),
            ("\"pool\": \"a\"", "\"pool\": \"b\""),
            ("10.0.0.1:1\",", "10.0.0.1\","),
            ("10.0.0.1:1\",", "10.0.0.1:0\","),
            ("65535", "65536"),
            ("65535", "-1"),
            ("\"tier\"", "\"tear\""),
            ("\"a:1\"", "\"\""),
            ("\"drain\": true", "\"drain\": 1"),
            ("\"sources\"", "\"source\""),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert!(decode("a", bad.as_bytes()).is_err(), "{to}");
        }
        for seed in 0..2000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut bytes = good.clone().into_bytes();
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
            if let Ok(saved) = decode("a", &bytes) {
                let backends: Vec<_> = saved.sources.values().flatten().collect();
                assert!(backends.iter().all(|found| !found.addresses.is_empty()), "seed {seed}");
            }
        }
    }

    #[test]
    fn what_was_saved_before_there_were_drains_is_read() {
        let old = encode("a", &saved()).replace("\"drain\": true", "\"other\": true");
        let saved = decode("a", old.as_bytes()).unwrap();
        let mut backends = saved.sources.values().flatten();
        assert!(backends.all(|found| !found.drain));
    }

    #[test]
    fn the_configuration_of_today_counts_for_what_was_saved() {
        let mut source = Source {
            kind: SourceKind::Srv { name: "x".into() },
            weight: 7,
            tier: 1,
            max_connections: Some(5),
        };
        let shares = |source: &Source| {
            let found = saved().backends("srv x", source)["a:1"].clone();
            (found.weight, found.tier, found.limit)
        };
        assert_eq!(shares(&source), (65535, 2, Some(5)));
        source.kind = SourceKind::Template { names: vec!["x".into()], port: 1 };
        assert_eq!(shares(&source), (7, 1, Some(5)));
    }
}
