//! Owns who is measured and with which configuration; it starts none of them.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt, fs, io};

use clap::ValueEnum;
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Candidate {
    Ringmain,
    Haproxy,
    HaproxyBufsize,
    HaproxySplice,
    Nginx,
    TokioUring,
    Tokio,
}

/// Where a candidate keeps its files, listens, and sends its connections.
pub struct Place<'a> {
    pub directory: &'a Path,
    pub listen: SocketAddrV4,
    pub backends: &'a [SocketAddrV4],
}

/// What to start, and which version it says it is.
pub struct Launch {
    pub command: Command,
    pub version: String,
}

/// Why a candidate can not be had.
#[derive(Debug)]
pub enum Missing {
    Program(&'static str),
    NginxStream,
    Build,
    Host(io::Error),
}

impl Candidate {
    pub const ALL: [Self; 7] = [
        Self::Ringmain,
        Self::Haproxy,
        Self::HaproxyBufsize,
        Self::HaproxySplice,
        Self::Nginx,
        Self::TokioUring,
        Self::Tokio,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ringmain => "ringmain",
            Self::Haproxy => "haproxy",
            Self::HaproxyBufsize => "haproxy-bufsize",
            Self::HaproxySplice => "haproxy-splice",
            Self::Nginx => "nginx",
            Self::TokioUring => "tokio-uring",
            Self::Tokio => "tokio",
        }
    }

    /// The others are compared with the best of these.
    pub fn is_reference(self) -> bool {
        matches!(self, Self::Haproxy | Self::HaproxyBufsize | Self::HaproxySplice | Self::Nginx)
    }

    /// Writes the configuration and says how to start with it.
    pub fn launch(self, place: &Place<'_>) -> Result<Launch, Missing> {
        match self {
            Self::Ringmain => {
                let program = ringmain()?;
                let config =
                    self.write(place, "toml", include_str!("../../peers/ringmain.toml"))?;
                let version = version(&program, "--version");
                let mut command = Command::new(program);
                command.arg("run").arg("--config").arg(config);
                Ok(Launch { command, version })
            }
            Self::Haproxy => self.haproxy(place, include_str!("../../peers/haproxy.cfg")),
            Self::HaproxyBufsize => {
                self.haproxy(place, include_str!("../../peers/haproxy-bufsize.cfg"))
            }
            Self::HaproxySplice => {
                self.haproxy(place, include_str!("../../peers/haproxy-splice.cfg"))
            }
            Self::Nginx => self.nginx(place),
            Self::TokioUring | Self::Tokio => self.peer(place),
        }
    }

    fn haproxy(self, place: &Place<'_>, template: &str) -> Result<Launch, Missing> {
        let program = find("haproxy")?;
        let config = self.write(place, "cfg", template)?;
        let version = version(&program, "-v");
        let mut command = Command::new(program);
        // -db: stay in the foreground.
        command.arg("-db").arg("-f").arg(config);
        Ok(Launch { command, version })
    }

    fn nginx(self, place: &Place<'_>) -> Result<Launch, Missing> {
        let program = find("nginx")?;
        let build = output(&program, "-V");
        let template = include_str!("../../peers/nginx.conf");
        let template = template.replace("@load_module@", &load_stream_module(&build)?);
        let config = self.write(place, "conf", &template)?;
        let version = version(&program, "-v");
        let mut command = Command::new(program);
        command.arg("-c").arg(config);
        Ok(Launch { command, version })
    }

    fn peer(self, place: &Place<'_>) -> Result<Launch, Missing> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["peer", self.as_str(), "--listen", &place.listen.to_string()]);
        for backend in place.backends {
            command.args(["--backend", &backend.to_string()]);
        }
        Ok(Launch { command, version: "plain proxy of this bench".to_owned() })
    }

    fn write(self, place: &Place<'_>, kind: &str, template: &str) -> io::Result<PathBuf> {
        let path = place.directory.join(self.as_str()).with_extension(kind);
        fs::write(&path, render(template, place))?;
        Ok(path)
    }
}

/// A line that names a backend is repeated for each.
fn render(template: &str, place: &Place<'_>) -> String {
    let directory = place.directory.display().to_string();
    let listen = place.listen.to_string();
    let mut text = String::new();
    for line in template.lines() {
        let line = line.replace("@directory@", &directory).replace("@listen@", &listen);
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

/// Servers are installed where the path of an ordinary user does not lead.
fn find(program: &'static str) -> Result<PathBuf, Missing> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .ok_or(Missing::Program(program))
}

/// The line that loads the stream module; none is needed where it is built in. `build` is what
/// `nginx -V` says.
fn load_stream_module(build: &str) -> Result<String, Missing> {
    let mut arguments = build.split_ascii_whitespace();
    if arguments.clone().any(|argument| argument == "--with-stream") {
        return Ok(String::new());
    }
    let folder = arguments.find_map(|argument| argument.strip_prefix("--modules-path="));
    let module = Path::new(folder.unwrap_or_default()).join("ngx_stream_module.so");
    if !module.is_file() {
        return Err(Missing::NginxStream);
    }
    Ok(format!("load_module {};", module.display()))
}

/// The release binary of the root package. `cargo run` builds the bench alone, so cargo is asked
/// whether there is something to do; without the sources, the binary beside this one is taken.
fn ringmain() -> Result<PathBuf, Missing> {
    let bench = env::current_exe()?;
    // This executable is in `<target>/<profile>/`.
    let target = bench.ancestors().nth(2).ok_or(Missing::Program("ringmain"))?;
    let program = target.join("release").join("ringmain");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    if manifest.is_file() {
        eprintln!("building ringmain: cargo build --release --bin ringmain --locked");
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--release", "--bin", "ringmain", "--locked", "--quiet"]);
        cargo.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(target);
        if !cargo.status()?.success() {
            return Err(Missing::Build);
        }
    }
    if program.is_file() { Ok(program) } else { Err(Missing::Program("ringmain")) }
}

fn version(program: &Path, argument: &str) -> String {
    output(program, argument).lines().next().unwrap_or("unknown").to_owned()
}

/// What a program says of itself; some say it on standard error.
fn output(program: &Path, argument: &str) -> String {
    match Command::new(program).arg(argument).output() {
        Ok(output) => {
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
        }
        Err(error) => error.to_string(),
    }
}

impl Missing {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Program(_) => "not_installed",
            Self::NginxStream => "no_stream_module",
            Self::Build => "build_failed",
            Self::Host(_) => "host_error",
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::Program("ringmain") => {
                f.write_str(": cargo build --release --bin ringmain --locked")
            }
            Self::Program(program) => write!(f, ": apt-get install {program}"),
            Self::NginxStream => f.write_str(": apt-get install libnginx-mod-stream"),
            Self::Build => f.write_str(": cargo says why"),
            Self::Host(error) => write!(f, ": {error}"),
        }
    }
}

impl From<io::Error> for Missing {
    fn from(error: io::Error) -> Self {
        Self::Host(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str) -> String {
        let backends = ["127.1.0.1:1001".parse().unwrap(), "127.1.0.2:1002".parse().unwrap()];
        let listen = "127.0.0.1:9000".parse().unwrap();
        render(template, &Place { directory: Path::new("/d"), listen, backends: &backends })
    }

    #[test]
    fn the_backend_line_is_repeated() {
        let text = rendered("bind @listen@\nserver s@index@ @backend@;\nend\n");
        let expected = "bind 127.0.0.1:9000\nserver s0 127.1.0.1:1001;\nserver s1 127.1.0.2:1002;\n\
                        end\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn every_template_is_filled_in() {
        for template in [
            include_str!("../../peers/ringmain.toml"),
            include_str!("../../peers/haproxy.cfg"),
            include_str!("../../peers/haproxy-bufsize.cfg"),
            &include_str!("../../peers/nginx.conf").replace("@load_module@", ""),
        ] {
            let text = rendered(template);
            assert!(!text.contains('@'), "{text}");
            assert!(text.contains("127.0.0.1:9000") && text.contains("127.1.0.2:1002"), "{text}");
        }
    }

    #[test]
    fn a_built_in_stream_module_is_not_loaded() {
        assert_eq!(load_stream_module("configure arguments: --with-stream").unwrap(), "");
        let dynamic = "configure arguments: --with-stream=dynamic --modules-path=/nowhere";
        assert!(matches!(load_stream_module(dynamic), Err(Missing::NginxStream)));
    }
}
