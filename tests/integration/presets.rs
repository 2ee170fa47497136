//! Presets as they are shipped: valid, and able to start, with ports that are free here and with
//! certificates made for the paths that they name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::process::Signal;
use tempfile::TempDir;

use super::peer::vacant;
use super::proxy::{Proxy, refusal, run};

#[test]
fn every_preset_is_valid_and_starts() {
    let presets = presets();
    assert!(presets.len() >= 9, "{presets:?}");
    for path in presets {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(on_a_free_port).collect::<Vec<_>>().join("\n");
        let (folder, text) = with_files(&format!("log.format = \"json\"\n{lines}"));
        let copy = folder.path().join("config.toml");
        std::fs::write(&copy, &text).unwrap();
        assert!(check(&copy).status().unwrap().success(), "{}", path.display());
        let mut proxy = Proxy::start(&text, run);
        proxy.signal(Signal::TERM);
        assert_eq!(proxy.exit_code(), 0, "{}", path.display());
    }
}

#[test]
fn files_that_are_missing_are_all_told_by_key_before_anything_is_bound() {
    let path = presets().into_iter().find(|path| path.ends_with("tls-reencrypt.toml")).unwrap();
    let folder = TempDir::new().unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.replace(FOLDER, &format!("{}/", folder.path().display()));
    for command in [run, check] {
        let refusal = refusal(&text, command);
        assert_eq!(refusal.code, 78);
        for (key, file) in [
            ("tls.edge.certificates[0].chain", "edge.pem"),
            ("tls.edge.certificates[0].key", "edge.key"),
            ("pool.vector.tls.ca", "aggregators-ca.pem"),
            ("pool.vector.tls.certificate", "balancer.pem"),
            ("pool.vector.tls.key", "balancer.key"),
        ] {
            let file = folder.path().join(file);
            let sentence = format!("{key}: {}: there is no such file", file.display());
            assert!(refusal.reason.contains(&sentence), "no {sentence} in\n{}", refusal.reason);
        }
    }
}

fn presets() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_preset = |path: &PathBuf| path.is_file() && !path.ends_with("reference.toml");
    files.filter(is_preset).collect()
}

fn check(path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmain"));
    command.args(["check", "--config"]).arg(path).stdout(Stdio::null());
    command
}

fn on_a_free_port(line: &str) -> String {
    if !line.starts_with("listen = ") {
        return line.to_owned();
    }
    format!("listen = \"{}\"", vacant())
}

/// The text with paths in a folder of its own, in which there is a file for each: for NAME.key a
/// key, with its certificate in NAME.pem, and for NAME.pem without a key an authority.
fn with_files(text: &str) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let quoted = text.split('"').filter_map(|part| part.strip_prefix(FOLDER));
    let names: BTreeSet<&str> = quoted.collect();
    let authority = authority();
    let write = |name: &str, content: &str| std::fs::write(folder.path().join(name), content);
    for name in &names {
        if let Some(stem) = name.strip_suffix(".key") {
            let key = KeyPair::generate().unwrap();
            let names = ["edge.example.internal".to_owned()];
            let parameters = CertificateParams::new(names).unwrap();
            let certificate = parameters.signed_by(&key, &authority).unwrap();
            write(name, &key.serialize_pem()).unwrap();
            write(&format!("{stem}.pem"), &certificate.pem()).unwrap();
        } else if let Some(stem) = name.strip_suffix(".pem") {
            if !names.contains(&*format!("{stem}.key")) {
                write(name, &authority.pem()).unwrap();
            }
        } else {
            panic!("nobody knows what {name} is");
        }
    }
    let text = text.replace(FOLDER, &format!("{}/", folder.path().display()));
    (folder, text)
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// Where the presets expect their files.
const FOLDER: &str = "/etc/ringmain/";
