//! Whom the pools' names are asked of: a resolver, and another one when `resolv.conf` says
//! otherwise. Asks nothing itself.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::discovery::FileWatch;
use super::resolver::{Resolver, ResolverError};
use crate::config::{self, Config, SourceKind};

/// The resolver of all pools.
pub(super) struct Nameservers {
    config: config::Resolver,
    path: PathBuf,
    /// None: no pool has sources, or nobody is known to ask.
    resolver: Option<Arc<Resolver>>,
    /// None: nothing that is used comes from the file.
    watch: Option<FileWatch>,
}

impl Nameservers {
    /// As configured, completed from the file at `resolv_conf`. Must be called on a runtime.
    ///
    /// Files of backends may list names as well; where nobody can be asked, those are not found,
    /// and the rest of such a file is good.
    pub(super) fn new(config: &Config, resolv_conf: &Path) -> Result<Nameservers, ResolverError> {
        let mut nameservers = Nameservers {
            config: config.resolver.clone(),
            path: resolv_conf.to_owned(),
            resolver: None,
            watch: None,
        };
        if config.pools.iter().all(|pool| pool.sources.is_empty()) {
            return Ok(nameservers);
        }
        // Before the file is read: a change in between is not missed.
        let config::Resolver { nameservers: addresses, search, ndots, .. } = &config.resolver;
        if addresses.is_none() || search.is_none() || ndots.is_none() {
            nameservers.watch = Some(FileWatch::new(resolv_conf));
        }
        let is_named = |source: &config::Source| !matches!(source.kind, SourceKind::File { .. });
        match Resolver::new(&config.resolver, resolv_conf) {
            Ok(resolver) => {
                tracing::info!(nameservers = list(&resolver), "names are asked for");
                nameservers.resolver = Some(Arc::new(resolver));
            }
            Err(error) if config.pools.iter().any(|pool| pool.sources.iter().any(is_named)) => {
                return Err(error);
            }
            Err(error) => {
                tracing::warn!("{}: {error}; until then no name in a file is found", error.key());
            }
        }
        Ok(nameservers)
    }

    /// Who is asked now.
    pub(super) fn resolver(&self) -> Option<Arc<Resolver>> {
        self.resolver.clone()
    }

    /// In the order in which they are asked.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.resolver.iter().flat_map(|resolver| resolver.nameservers()).collect()
    }

    /// Returns when the file may have changed; never, if it does not matter. Nothing is lost if
    /// the future is dropped.
    pub(super) async fn changed(&mut self) {
        match &mut self.watch {
            Some(watch) => watch.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Reads the file again. Whether names are asked for otherwise from now on; what is on its way
    /// is asked as before. A file that names nobody, as one that is just being made, changes
    /// nothing.
    pub(super) fn renew(&mut self) -> bool {
        let renewed = match &self.resolver {
            Some(resolver) => resolver.renewed(&self.config, &self.path),
            None => Resolver::new(&self.config, &self.path).map(Some),
        };
        match renewed {
            Ok(Some(resolver)) => {
                let nameservers = list(&resolver);
                tracing::info!(nameservers, "{} has changed", self.path.display());
                self.resolver = Some(Arc::new(resolver));
                true
            }
            Ok(None) => false,
            Err(error) => {
                let key = error.key();
                tracing::warn!("{key}: {error}; until then names are asked for as before");
                false
            }
        }
    }
}

fn list(resolver: &Resolver) -> String {
    let addresses: Vec<String> =
        resolver.nameservers().map(|address| address.to_string()).collect();
    addresses.join(" ")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::config::parse;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn nameservers(resolver: &str, source: &str, path: &Path) -> Nameservers {
        let text = format!(
            "[listener.l]\nlisten = \"127.0.0.1:1\"\npool = \"p\"\n[resolver]\n{resolver}\n\
             [pool.p]\nsources = [{{ {source} }}]"
        );
        let config = parse(&text, "test").unwrap_or_else(|errors| panic!("{errors}"));
        Nameservers::new(&config, path).unwrap()
    }

    const NAMED: &str = "dns = \"agg:1\"";

    /// Replaces the file, and has it read again once that is noticed.
    async fn replace(nameservers: &mut Nameservers, folder: &TempDir, text: &str) -> bool {
        let new = folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, folder.path().join("resolv.conf")).unwrap();
        tokio::time::timeout(DEADLINE, nameservers.changed()).await.expect("it is noticed");
        nameservers.renew()
    }

    fn addresses(nameservers: &Nameservers) -> Vec<String> {
        nameservers.addresses().iter().map(SocketAddr::to_string).collect()
    }

    #[tokio::test]
    async fn others_are_asked_once_the_file_says_so_and_a_file_that_names_nobody_changes_nothing() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("resolv.conf");
        fs::write(&path, "nameserver 10.0.0.1\n").unwrap();
        let mut nameservers = nameservers("", NAMED, &path);
        for (text, expected, is_other) in [
            ("# Under construction.\n", "10.0.0.1:53", false),
            ("nameserver 10.0.0.1\n# The same.\n", "10.0.0.1:53", false),
            ("nameserver 10.0.0.2\n", "10.0.0.2:53", true),
            ("nameserver ::1\n", "[::1]:53", true),
            ("nameserver ::1\noptions ndots:3\n", "[::1]:53", true),
        ] {
            assert_eq!(replace(&mut nameservers, &folder, text).await, is_other, "{text}");
            assert_eq!(addresses(&nameservers), [expected], "{text}");
        }
        fs::remove_file(&path).unwrap();
        tokio::time::timeout(DEADLINE, nameservers.changed()).await.expect("it is noticed");
        assert!(!nameservers.renew());
        assert_eq!(addresses(&nameservers), ["[::1]:53"]);
    }

    #[tokio::test]
    async fn where_only_files_list_names_there_may_be_nobody_to_ask_at_first() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("resolv.conf");
        let mut nameservers = nameservers("", "file = \"/f\"", &path);
        assert!(nameservers.resolver().is_none());
        assert!(replace(&mut nameservers, &folder, "nameserver 10.0.0.1\n").await);
        assert_eq!(addresses(&nameservers), ["10.0.0.1:53"]);
    }

    #[tokio::test]
    async fn what_is_configured_is_not_looked_for_in_the_file() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("resolv.conf");
        let lines = "nameservers = [\"10.0.0.9\"]\nsearch = []\nndots = 1";
        assert!(nameservers(lines, NAMED, &path).watch.is_none());
        let lines = "nameservers = [\"10.0.0.9\"]\nsearch = []";
        let mut nameservers = nameservers(lines, NAMED, &path);
        assert!(!replace(&mut nameservers, &folder, "nameserver 10.0.0.1\n").await);
        assert!(replace(&mut nameservers, &folder, "options ndots:2\n").await);
        assert_eq!(addresses(&nameservers), ["10.0.0.9:53"]);
    }
}
