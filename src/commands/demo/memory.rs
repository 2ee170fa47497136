//! Files that are in memory alone: with a path to read them by, and without a name on any disk.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, memfd_create};

/// Gone with this value, however the process ends.
pub(super) struct MemoryFile(File);

impl MemoryFile {
    /// Readable by this user alone, since it may hold a key.
    pub(super) fn with(text: &str) -> io::Result<MemoryFile> {
        let mut file = File::from(memfd_create("ringmain-demo", MemfdFlags::CLOEXEC)?);
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        Ok(MemoryFile(file))
    }

    /// For this process, and for others of this user while it runs.
    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_file_in_memory_can_be_read_by_other_programs_as_long_as_it_is_there() {
        let file = MemoryFile::with("in memory\n").expect("made");
        let path = file.path();
        let other = Command::new("cat").arg(&path).output().expect("cat runs");
        assert_eq!(other.stdout, b"in memory\n");
        drop(file);
        let left = std::fs::read_to_string(&path);
        assert!(left.as_deref().unwrap_or_default() != "in memory\n", "{left:?}");
    }
}
