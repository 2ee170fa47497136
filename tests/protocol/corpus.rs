//! The captured hellos and what is to be read from them; `hellos/expected.txt` says where they come
//! from. Judges nothing.

use std::fs;
use std::path::Path;

use ringmain::protocol::client_hello::ClientHello;

pub struct Capture {
    pub name: String,
    /// All that the client sent: its hello, and what it sent at once after it.
    pub bytes: Vec<u8>,
    pub expected: ClientHello,
}

/// In the order of their names.
pub fn captures() -> Vec<Capture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/protocol/hellos");
    let table = fs::read_to_string(folder.join("expected.txt")).unwrap();
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    let captures: Vec<Capture> = rows.map(|row| capture(&folder, row)).collect();
    let files = fs::read_dir(&folder).unwrap().count() - 1;
    assert_eq!(captures.len(), files, "a file is not in the table");
    captures
}

fn capture(folder: &Path, row: &str) -> Capture {
    let columns: Vec<&str> = row.split(' ').collect();
    let [name, server_name, protocols, versions, schemes, encrypted] = columns[..] else {
        panic!("{row}");
    };
    let expected = ClientHello {
        server_name: Some(server_name).filter(|name| *name != "-").map(Into::into),
        alpn: list(protocols).map(|protocol| protocol.as_bytes().into()).collect(),
        versions: list(versions).map(hexadecimal).collect(),
        signature_schemes: list(schemes).map(hexadecimal).collect(),
        encrypted: encrypted == "encrypted",
    };
    let bytes = fs::read(folder.join(name).with_extension("bin")).unwrap();
    Capture { name: name.to_owned(), bytes, expected }
}

fn list(column: &str) -> impl Iterator<Item = &str> {
    column.split(',').filter(|item| *item != "-")
}

fn hexadecimal(text: &str) -> u16 {
    u16::from_str_radix(text, 16).unwrap()
}
