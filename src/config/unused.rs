//! What a configuration holds and nothing uses: no error, and to be looked at all the same.

use std::collections::BTreeSet;

use super::load::Config;
use super::route::RouteTarget;

impl Config {
    /// A sentence for each thing that deserves a look, with its key path.
    pub fn warnings(&self) -> Vec<String> {
        let routes = self.listeners.iter().flat_map(|listener| &listener.routes);
        let of_routes = routes.filter_map(|route| match &route.target {
            RouteTarget::Relay { tls, .. } => tls.as_ref(),
            RouteTarget::Reject => None,
        });
        let of_listeners = self.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        let used: BTreeSet<&String> = of_listeners.chain(of_routes).collect();
        let unused = self.tls.iter().filter(|tls| !used.contains(&tls.name));
        let warning = |name: &String| {
            format!(
                "tls.{name}: no listener and no route ends TLS by it; \
                 name it there by tls = {name:?}, or take it out"
            )
        };
        unused.map(|tls| warning(&tls.name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::samples::{LISTENER, POOL, TLS, valid};

    #[test]
    fn a_section_that_nobody_names_is_told() {
        let warnings = |lines: &str| valid(&format!("{LISTENER}{lines}\n{POOL}{TLS}")).warnings();
        let unused = |name: &str| {
            format!(
                "tls.{name}: no listener and no route ends TLS by it; \
                 name it there by tls = \"{name}\", or take it out"
            )
        };
        assert_eq!(warnings(""), [unused("edge"), unused("inner")]);
        assert_eq!(warnings("tls = \"edge\""), [unused("inner")]);
        let route = "routes = [{ alpn = [\"a\"], pool = \"p\", tls = \"inner\" }]";
        assert_eq!(warnings(route), [unused("edge")]);
        assert_eq!(warnings(&format!("tls = \"edge\"\n{route}")), [""; 0]);
    }
}
