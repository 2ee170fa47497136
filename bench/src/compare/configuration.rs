//! Owns the configurations: a template of each candidate, filled in with where it listens, what it
//! shows and where it sends its connections.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::candidate::Candidate;
use crate::certificates::Identity;

/// Where a candidate keeps its files, listens, and sends its connections.
pub struct Place<'a> {
    pub directory: &'a Path,
    pub listen: Listen,
    /// Where the certificates are, if TLS is asked for.
    pub certificates: Option<&'a Path>,
    pub backends: &'a [SocketAddrV4],
    /// Clients that may be connected at a time.
    pub most: u32,
}

/// Where clients find a candidate.
#[derive(Clone, Copy)]
pub struct Listen {
    pub plain: SocketAddrV4,
    /// With TLS, and which certificate is shown.
    pub ecdsa: SocketAddrV4,
    pub rsa: SocketAddrV4,
}

struct Template {
    extension: &'static str,
    text: &'static str,
    /// What stands at its `@tls@` when TLS is asked for.
    tls: &'static str,
}

/// What a candidate is configured with: a file, or the arguments of a peer. `load_module` is
/// NGINX's.
pub fn text(candidate: Candidate, load_module: &str, place: &Place<'_>) -> String {
    match Template::of(candidate) {
        Some(template) => template.fill(place).replace("@load_module@", load_module),
        None => arguments(candidate, place).join(OsStr::new(" ")).to_string_lossy().into_owned(),
    }
}

/// Writes the configuration of a candidate that has one.
pub fn write(candidate: Candidate, load_module: &str, place: &Place<'_>) -> io::Result<PathBuf> {
    let Some(template) = Template::of(candidate) else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let path = place.directory.join(candidate.as_str()).with_extension(template.extension);
    fs::write(&path, text(candidate, load_module, place))?;
    Ok(path)
}

/// The arguments of a peer, which has no configuration.
pub fn arguments(candidate: Candidate, place: &Place<'_>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        ["peer", candidate.as_str(), "--listen"].map(OsString::from).into();
    arguments.push(place.listen.plain.to_string().into());
    for backend in place.backends {
        arguments.extend(["--backend".into(), backend.to_string().into()]);
    }
    if let Some(certificates) = place.certificates.filter(|_| candidate.ends_tls()) {
        for identity in [Identity::Ecdsa, Identity::Rsa] {
            let mut tls = OsString::from(format!("{}=", place.listen.with(identity)));
            tls.push(certificates.join(identity.as_str()).with_extension("pem"));
            arguments.extend(["--tls".into(), tls]);
        }
    }
    arguments
}

impl Listen {
    pub fn with(&self, identity: Identity) -> SocketAddrV4 {
        match identity {
            Identity::Ecdsa => self.ecdsa,
            Identity::Rsa => self.rsa,
        }
    }
}

impl Template {
    fn of(candidate: Candidate) -> Option<Self> {
        let (extension, text, tls) = match candidate {
            Candidate::Ringmain => (
                "toml",
                include_str!("../../peers/ringmain.toml"),
                include_str!("../../peers/ringmain-tls.toml"),
            ),
            Candidate::Haproxy => (
                "cfg",
                include_str!("../../peers/haproxy.cfg"),
                include_str!("../../peers/haproxy-tls.cfg"),
            ),
            Candidate::HaproxyBufsize => (
                "cfg",
                include_str!("../../peers/haproxy-bufsize.cfg"),
                include_str!("../../peers/haproxy-tls.cfg"),
            ),
            Candidate::HaproxySplice => ("cfg", include_str!("../../peers/haproxy-splice.cfg"), ""),
            Candidate::Nginx => (
                "conf",
                include_str!("../../peers/nginx.conf"),
                include_str!("../../peers/nginx-tls.conf"),
            ),
            Candidate::TokioUring | Candidate::Tokio => return None,
        };
        Some(Self { extension, text, tls })
    }

    /// A line that names a backend is repeated for each.
    fn fill(&self, place: &Place<'_>) -> String {
        let directory = place.directory.display().to_string();
        let certificates = place.certificates.unwrap_or(place.directory).display().to_string();
        let sessions = (place.most + SPARE).max(SESSIONS);
        let tls = if place.certificates.is_some() { self.tls } else { "" };
        let mut text = String::new();
        for line in self.text.replace("@tls@\n", tls).lines() {
            let line = line
                .replace("@directory@", &directory)
                .replace("@certificates@", &certificates)
                .replace("@sessions@", &sessions.to_string())
                // One towards the client, one towards the backend, and those that listen.
                .replace("@sockets@", &(sessions * 2 + SPARE).to_string())
                .replace("@listen@", &place.listen.plain.to_string())
                .replace("@ecdsa@", &place.listen.ecdsa.to_string())
                .replace("@rsa@", &place.listen.rsa.to_string());
            if line.contains("@backend@") {
                for (index, backend) in place.backends.iter().enumerate() {
                    let line = line.replace("@backend@", &backend.to_string());
                    text.push_str(&line.replace("@index@", &index.to_string()));
                    text.push('\n');
                }
            } else {
                text.push_str(&line);
                text.push('\n');
            }
        }
        text
    }
}

/// Sessions that a candidate with a limit may have, unless there are more clients; and how many
/// more than clients, for those whose end is on its way.
const SESSIONS: u32 = 7680;
const SPARE: u32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &Template, with_tls: bool) -> String {
        let backends = ["127.1.0.1:1001".parse().unwrap(), "127.1.0.2:1002".parse().unwrap()];
        let address = |port| SocketAddrV4::new([127, 0, 0, 1].into(), port);
        let listen = Listen { plain: address(9000), ecdsa: address(9001), rsa: address(9002) };
        let certificates = with_tls.then_some(Path::new("/c"));
        let directory = Path::new("/d");
        template.fill(&Place { directory, listen, certificates, backends: &backends, most: 20_000 })
    }

    #[test]
    fn the_backend_line_is_repeated() {
        let text = "bind @listen@\nserver s@index@ @backend@;\nend\n";
        let text = filled(&Template { extension: "", text, tls: "" }, false);
        let expected = "bind 127.0.0.1:9000\nserver s0 127.1.0.1:1001;\nserver s1 127.1.0.2:1002;\n\
                        end\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn every_template_is_filled_in() {
        for candidate in Candidate::ALL {
            let Some(template) = Template::of(candidate) else { continue };
            let plain = filled(&template, false).replace("@load_module@", "");
            assert!(!plain.contains('@'), "{plain}");
            assert!(
                plain.contains("127.0.0.1:9000") && plain.contains("127.1.0.2:1002"),
                "{plain}"
            );
            // Wherever they would be, none is asked for.
            assert!(!plain.contains(".pem"), "{plain}");
            let tls = filled(&template, true).replace("@load_module@", "");
            assert!(!tls.contains('@'), "{tls}");
            let has_tls = tls.contains("127.0.0.1:9001") && tls.contains("127.0.0.1:9002");
            assert_eq!(has_tls, candidate.ends_tls(), "{tls}");
        }
    }

    /// Nobody who has a limit is handicapped by it.
    #[test]
    fn whoever_has_a_limit_has_room_for_all_clients() {
        for candidate in Candidate::ALL {
            let Some(template) = Template::of(candidate) else { continue };
            let text = filled(&template, false);
            for (key, least) in [("maxconn ", 20_000), ("worker_connections ", 40_000)] {
                for (_, rest) in text.lines().filter_map(|line| line.split_once(key)) {
                    let room: u32 = rest.trim_end_matches(';').parse().unwrap();
                    assert!(room > least, "{key}{room} of {candidate:?}");
                }
            }
            let limits = text.matches("maxconn").count() + text.matches("worker_conn").count();
            assert_eq!(limits > 0, candidate.is_reference(), "{text}");
        }
    }

    #[test]
    fn a_peer_is_told_where_tls_is_ended() {
        let address = |port| SocketAddrV4::new([127, 0, 0, 1].into(), port);
        let listen = Listen { plain: address(9000), ecdsa: address(9001), rsa: address(9002) };
        let (directory, certificates) = (Path::new("/d"), Some(Path::new("/c")));
        let backends = &[address(1), address(2)];
        let place = Place { directory, listen, certificates, backends, most: 1 };
        let arguments = |candidate| arguments(candidate, &place).join(" ".as_ref());
        let tls = " --tls 127.0.0.1:9001=/c/ecdsa.pem --tls 127.0.0.1:9002=/c/rsa.pem";
        let plain = "--listen 127.0.0.1:9000 --backend 127.0.0.1:1 --backend 127.0.0.1:2";
        assert_eq!(arguments(Candidate::Tokio), *format!("peer tokio {plain}{tls}"));
        assert_eq!(arguments(Candidate::TokioUring), *format!("peer tokio-uring {plain}"));
        let text = text(Candidate::Nginx, "load_module /m.so;", &place);
        assert!(text.lines().any(|line| line == "load_module /m.so;"), "{text}");
    }
}
