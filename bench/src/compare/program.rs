//! Owns where the programs of the candidates are, and the command that starts one; it starts none.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fmt, io};

use clap::Args;

use super::candidate::Candidate;
use super::configuration::{self, Place};

/// Which Ringmain is started, by all commands that start one.
#[derive(Args)]
pub struct RingmainPath {
    /// The Ringmain that is started (default: the one beside this program, or the one in PATH)
    #[arg(long, value_name = "PATH")]
    ringmain: Option<PathBuf>,
}

/// The one that was named.
static NAMED: OnceLock<PathBuf> = OnceLock::new();

impl RingmainPath {
    /// Has every Ringmain of this process be that one.
    pub fn choose(&self) -> Result<(), Missing> {
        let Some(path) = &self.ringmain else { return Ok(()) };
        if !is_program(path) {
            return Err(Missing::Named(path.clone()));
        }
        // As a command, a path without a slash would be looked for in PATH.
        NAMED.get_or_init(|| path.canonicalize().unwrap_or_else(|_| path.clone()));
        Ok(())
    }
}

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
    /// What was named as Ringmain is no program.
    Named(PathBuf),
    /// Ringmain is neither here nor in PATH.
    Ringmain(PathBuf),
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
    in_path(program, &path).ok_or(Missing::Program(program))
}

fn in_path(program: &str, path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| is_program(file))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|of| of.is_file() && of.permissions().mode() & 0o111 != 0)
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

/// The one that was named. Else, where cargo has built this program, the one that cargo builds of
/// the same sources, since what lies there may be older than they are. Else one that was installed.
fn ringmain() -> Result<PathBuf, Missing> {
    if let Some(named) = NAMED.get() {
        return Ok(named.clone());
    }
    let bench = env::current_exe()?;
    if let Some(target) = target_directory(&bench)
        && let Some(built) = build(target)?
    {
        return Ok(built);
    }
    installed(&bench, &env::var_os("PATH").unwrap_or_default())
}

/// Beside this program, or where programs are.
fn installed(bench: &Path, path: &OsStr) -> Result<PathBuf, Missing> {
    let folder = bench.parent().unwrap_or(Path::new("/"));
    let beside = folder.join("ringmain");
    if is_program(&beside) {
        return Ok(beside);
    }
    in_path("ringmain", path).ok_or_else(|| Missing::Ringmain(folder.to_owned()))
}

/// Where cargo keeps what it builds, if this program is there: it is in `<target>/<profile>/`, with
/// the name of a platform between if one was asked for.
fn target_directory(bench: &Path) -> Option<&Path> {
    bench.ancestors().skip(2).take(2).find(|folder| folder.join(".rustc_info.json").is_file())
}

/// The release binary of the root package; none without its sources, or without cargo.
fn build(target: &Path) -> Result<Option<PathBuf>, Missing> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    if !manifest.is_file() {
        return Ok(None);
    }
    eprintln!("building ringmain: cargo build --release --bin ringmain --locked");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--bin", "ringmain", "--locked", "--quiet"]);
    cargo.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(target);
    match cargo.status() {
        Ok(status) if status.success() => Ok(Some(target.join("release").join("ringmain"))),
        Ok(_) => Err(Missing::Build),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
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
            Self::Program(_) | Self::Ringmain(_) => "not_installed",
            Self::Named(_) => "no_program",
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
            Self::Named(path) => write!(
                f,
                ": {} is no program that can be started; give --ringmain the path of one",
                path.display()
            ),
            Self::Ringmain(folder) => write!(
                f,
                ": ringmain is neither in {} nor in PATH; install it, or say where it is with \
                 --ringmain PATH",
                folder.display()
            ),
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
    use std::fs;

    use super::*;
    use crate::generate::Directory;

    fn make_program(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    #[test]
    fn an_installed_ringmain_is_beside_the_bench_or_in_the_path() {
        let directory = Directory::create().unwrap();
        let (here, there) = (directory.path().join("here"), directory.path().join("there"));
        let bench = here.join("ringmain-bench");
        make_program(&bench);
        let said = installed(&bench, there.as_os_str()).unwrap_err().to_string();
        assert!(said.contains("not_installed") && said.contains("--ringmain PATH"), "{said}");
        assert!(said.contains(here.to_str().unwrap()), "{said}");
        make_program(&there.join("ringmain"));
        assert_eq!(installed(&bench, there.as_os_str()).unwrap(), there.join("ringmain"));
        // A directory of that name, or a file that is no program, is none.
        std::fs::write(here.join("ringmain"), "").unwrap();
        assert_eq!(installed(&bench, there.as_os_str()).unwrap(), there.join("ringmain"));
        make_program(&here.join("ringmain"));
        assert_eq!(installed(&bench, there.as_os_str()).unwrap(), here.join("ringmain"));
    }

    #[test]
    fn cargo_is_asked_only_from_where_it_builds() {
        let directory = Directory::create().unwrap();
        let target = directory.path().join("target");
        let bench = target.join("release/ringmain-bench");
        make_program(&bench);
        assert_eq!(target_directory(&bench), None);
        std::fs::write(target.join(".rustc_info.json"), "{}").unwrap();
        assert_eq!(target_directory(&bench), Some(&*target));
        let other = target.join("x86_64-unknown-linux-musl/release/ringmain-bench");
        assert_eq!(target_directory(&other), Some(&*target));
        assert_eq!(target_directory(Path::new("/usr/bin/ringmain-bench")), None);
    }

    #[test]
    fn what_is_named_has_to_be_a_program() {
        for path in ["/nowhere/ringmain", "/etc/passwd", "/"] {
            let named = RingmainPath { ringmain: Some(path.into()) };
            let said = named.choose().unwrap_err().to_string();
            assert!(said.contains(path) && said.contains("--ringmain"), "{said}");
        }
        RingmainPath { ringmain: None }.choose().unwrap();
    }

    #[test]
    fn a_built_in_stream_module_is_not_loaded() {
        assert_eq!(load_stream_module("configure arguments: --with-stream").unwrap(), "");
        let dynamic = "configure arguments: --with-stream=dynamic --modules-path=/nowhere";
        assert!(matches!(load_stream_module(dynamic), Err(Missing::NginxStream)));
    }

    #[test]
    fn a_stream_module_of_its_own_is_loaded_from_where_it_is() {
        let directory = Directory::create().unwrap();
        let folder = directory.path().display();
        fs::write(directory.path().join("ngx_stream_module.so"), "").unwrap();
        let build = format!("--with-stream=dynamic --modules-path={folder} --with-http");
        let line = load_stream_module(&build).unwrap();
        assert_eq!(line, format!("load_module {folder}/ngx_stream_module.so;"));
    }

    #[test]
    fn a_program_is_found_along_the_path_and_a_missing_one_named_with_its_remedy() {
        let directory = Directory::create().unwrap();
        let file = directory.path().join("haproxy");
        make_program(&file);
        let path = directory.path().as_os_str();
        assert_eq!(in_path("haproxy", path), Some(file));
        // Where servers are, and this one is everywhere.
        assert!(in_path("chroot", path).is_some());
        assert_eq!(in_path("no-such-program", path), None);
        let told = |missing: Missing| missing.to_string();
        let remedy = "not_installed: apt-get install no-such-program";
        assert_eq!(told(Missing::Program("no-such-program")), remedy);
        let stream = told(Missing::NginxStream);
        assert_eq!(stream, "no_stream_module: apt-get install libnginx-mod-stream");
    }

    #[test]
    fn the_version_is_the_first_line_on_either_output() {
        let directory = Directory::create().unwrap();
        let file = directory.path().join("version");
        fs::write(&file, "first\nsecond\n").unwrap();
        let cat = Path::new("cat");
        assert_eq!(version(cat, file.to_str().unwrap()), "first");
        // What it says then, it says on standard error.
        assert!(version(cat, "/no/such/file").contains("/no/such/file"));
    }
}
