//! Owns the host's default congestion control while a comparison runs, and gives it back.

use std::path::Path;
use std::{fs, io};

use crate::sockets::CONGESTION;

/// Restores the setting when dropped.
pub struct Pinned {
    setting: &'static Path,
    previous: Option<String>,
}

impl Pinned {
    /// Candidates take what the host has as default, so it is set for their time.
    pub fn pin() -> io::Result<Self> {
        Self::pin_at(Path::new(SETTING))
    }

    fn pin_at(setting: &'static Path) -> io::Result<Self> {
        let current = read(setting)?;
        // Who is no root can not set it, and need not where it is so already.
        let is_other = current != CONGESTION;
        if is_other {
            fs::write(setting, CONGESTION)?;
        }
        Ok(Self { setting, previous: is_other.then_some(current) })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let Some(previous) = &self.previous else { return };
        if let Err(error) = fs::write(self.setting, previous) {
            eprintln!("{SETTING} was {previous} and could not be restored: {error}");
        }
    }
}

/// What new sockets get.
pub fn current() -> io::Result<String> {
    read(Path::new(SETTING))
}

fn read(setting: &Path) -> io::Result<String> {
    Ok(fs::read_to_string(setting)?.trim().to_owned())
}

const SETTING: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Directory;

    /// What the setting is while it is pinned, and afterwards, if it was this before.
    fn pinned(before: &str) -> [String; 2] {
        let directory = Directory::create().unwrap();
        let setting: &Path = Box::leak(directory.path().join("setting").into());
        fs::write(setting, before).unwrap();
        let pinned = Pinned::pin_at(setting).unwrap();
        let meanwhile = fs::read_to_string(setting).unwrap();
        drop(pinned);
        [meanwhile, fs::read_to_string(setting).unwrap()]
    }

    #[test]
    fn another_congestion_control_is_set_for_a_while_and_restored() {
        assert_eq!(pinned("bbr\n"), ["cubic", "bbr"]);
    }

    #[test]
    fn the_one_that_is_wanted_is_left_alone() {
        // Untouched, to the end of its line.
        assert_eq!(pinned("cubic\n"), ["cubic\n", "cubic\n"]);
    }
}
