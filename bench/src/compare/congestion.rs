//! Owns the host's default congestion control while a comparison runs, and gives it back.

use std::{fs, io};

use crate::sockets::CONGESTION;

/// Restores the setting when dropped.
pub struct Pinned {
    previous: Option<String>,
}

impl Pinned {
    /// Candidates take what the host has as default, so it is set for their time.
    pub fn pin() -> io::Result<Self> {
        let current = current()?;
        if current == CONGESTION {
            return Ok(Self { previous: None });
        }
        fs::write(SETTING, CONGESTION)?;
        Ok(Self { previous: Some(current) })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let Some(previous) = &self.previous else { return };
        if let Err(error) = fs::write(SETTING, previous) {
            eprintln!("{SETTING} was {previous} and could not be restored: {error}");
        }
    }
}

/// What new sockets get.
pub fn current() -> io::Result<String> {
    Ok(fs::read_to_string(SETTING)?.trim().to_owned())
}

const SETTING: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
