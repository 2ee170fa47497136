//! Owns where the programs of the candidates are, and the command that starts one; it starts none.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt, io};

use super::candidate::Candidate;
use super::configuration::{self, Place};

/// A candidate that can be started, as often as is needed.
pub struct Program {
    pub candidate: Candidate,
    /// What it says it is.
    pub version: String,
    path: PathBuf,
    /// The line that loads NGINX's stream module, or nothing.
    load_module: String,
}

/// Why a candidate can not be had.
#[derive(Debug)]
pub enum Missing {
    Program(&'static str),
    NginxStream,
    Build,
    Host(io::Error),
}

impl Program {
    pub fn find(candidate: Candidate) -> Result<Self, Missing> {
        let mut load_module = String::new();
        let (path, version) = match candidate {
            Candidate::Ringmain => {
                let path = ringmain()?;
                let version = version(&path, "--version");
                (path, version)
            }
            Candidate::Haproxy | Candidate::HaproxyBufsize | Candidate::HaproxySplice => {
                let path = find("haproxy")?;
                let version = version(&path, "-v");
                (path, version)
            }
            Candidate::Nginx => {
                let path = find("nginx")?;
                load_module = load_stream_module(&output(&path, "-V"))?;
                let version = version(&path, "-v");
                (path, version)
            }
            Candidate::TokioUring | Candidate::Tokio => {
                (env::current_exe()?, "plain proxy of this bench".to_owned())
            }
        };
        Ok(Self { candidate, version, path, load_module })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is configured with at this place.
    pub fn configuration(&self, place: &Place<'_>) -> String {
        configuration::text(self.candidate, &self.load_module, place)
    }

    /// Writes the configuration and says how to start with it.
    pub fn command(&self, place: &Place<'_>) -> io::Result<Command> {
        let mut command = Command::new(&self.path);
        let configuration = || configuration::write(self.candidate, &self.load_module, place);
        match self.candidate {
            Candidate::Ringmain => command.arg("run").arg("--config").arg(configuration()?),
            // -db: stay in the foreground.
            Candidate::Haproxy | Candidate::HaproxyBufsize | Candidate::HaproxySplice => {
                command.arg("-db").arg("-f").arg(configuration()?)
            }
            Candidate::Nginx => command.arg("-c").arg(configuration()?),
            Candidate::TokioUring | Candidate::Tokio => {
                command.args(configuration::arguments(self.candidate, place))
            }
        };
        Ok(command)
    }
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

    #[test]
    fn a_built_in_stream_module_is_not_loaded() {
        assert_eq!(load_stream_module("configure arguments: --with-stream").unwrap(), "");
        let dynamic = "configure arguments: --with-stream=dynamic --modules-path=/nowhere";
        assert!(matches!(load_stream_module(dynamic), Err(Missing::NginxStream)));
    }
}
