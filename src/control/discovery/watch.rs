//! Tells when files may have changed: by inotify, and by looking now and then. Reads no contents.
//!
//! Watched is the folder and not the file, which is replaced by a rename as a rule. Where the
//! folder can not be watched, or the change is elsewhere (behind a symbolic link, on a network
//! file system), the looking finds it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::future;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::net::unix::pipe;
use tokio::time::{Interval, MissedTickBehavior};

/// Watches one file, or several of one folder.
pub struct FileWatch {
    paths: Vec<PathBuf>,
    folder: PathBuf,
    names: Vec<OsString>,
    /// `None`: the folder is missing, or the host's watches are used up.
    notices: Option<pipe::Receiver>,
    interval: Interval,
    /// As the files were when a change was reported, or at the start.
    reported: Fingerprints,
    /// As they were when they were looked at.
    seen: Fingerprints,
}

/// By file; nothing where it is missing or may not be looked at.
type Fingerprints = Vec<Option<Fingerprint>>;

/// A file that has changed differs in one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    /// Device and inode.
    identity: (u64, u64),
    size: u64,
    /// Seconds and nanoseconds of the last change.
    changed: (i64, i64),
}

/// What inotify has told of the folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Notices {
    /// One of the files was written to its end, replaced or removed.
    file: bool,
    /// Something else is different in the folder: perhaps a link on the way to a file.
    folder: bool,
    /// Notices were lost, or the folder itself is gone.
    lost: bool,
}

/// How often the files are looked at. A change is reported when two looks in a row agree, because
/// a file that is rewritten in place is half there in between.
const LOOK: Duration = Duration::from_secs(5);

impl FileWatch {
    /// Watches from now on: what happens after this and before the file is first read is
    /// reported too. Must be called on a tokio runtime.
    pub fn new(path: &Path) -> FileWatch {
        FileWatch::of_folder(vec![path.to_owned()])
    }

    /// The same for files that are in the folder of the first.
    pub fn of_folder(paths: Vec<PathBuf>) -> FileWatch {
        FileWatch::looking(paths, LOOK)
    }

    fn looking(paths: Vec<PathBuf>, every: Duration) -> FileWatch {
        let folder = paths.first().and_then(|path| path.parent());
        let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
        let mut interval = tokio::time::interval(every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let fingerprints = fingerprints(&paths);
        let mut watch = FileWatch {
            folder: folder.unwrap_or(Path::new(".")).to_owned(),
            names: paths.iter().flat_map(|path| path.file_name()).map(OsStr::to_owned).collect(),
            paths,
            notices: None,
            interval,
            reported: fingerprints.clone(),
            seen: fingerprints,
        };
        watch.arm();
        watch
    }

    /// Returns when one of the files may have changed, come or gone. Nothing is lost if the future
    /// is dropped.
    pub async fn changed(&mut self) {
        loop {
            let news = tokio::select! {
                notices = next(self.notices.as_ref(), &self.names) => self.noticed(notices),
                _ = self.interval.tick() => self.looked(),
            };
            if news {
                self.reported = fingerprints(&self.paths);
                return;
            }
        }
    }

    fn noticed(&mut self, notices: io::Result<Notices>) -> bool {
        // A failing read tells as little as a lost notice.
        let notices = notices.unwrap_or(Notices { lost: true, ..Notices::default() });
        if notices.lost {
            self.arm();
        }
        // Another inode is another file; another size may be one that is just being written.
        let identity = |file: &Option<Fingerprint>| file.map(|file| file.identity);
        let another = || {
            !fingerprints(&self.paths).iter().map(identity).eq(self.reported.iter().map(identity))
        };
        notices.file || notices.lost || (notices.folder && another())
    }

    fn looked(&mut self) -> bool {
        let now = fingerprints(&self.paths);
        let settled = now == self.seen;
        let news = settled && now != self.reported;
        self.seen = now;
        // A change that was not noticed: the folder may be another one by now.
        if news || self.notices.is_none() {
            self.arm();
        }
        news
    }

    fn arm(&mut self) {
        self.notices = notices_of(&self.folder).ok();
    }
}

fn fingerprints(paths: &[PathBuf]) -> Fingerprints {
    paths.iter().map(|path| Fingerprint::of(path)).collect()
}

impl Fingerprint {
    /// Nothing where the file is missing or may not be looked at.
    fn of(path: &Path) -> Option<Fingerprint> {
        let file = fs::metadata(path).ok()?;
        Some(Fingerprint {
            identity: (file.dev(), file.ino()),
            size: file.size(),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

/// An inotify descriptor is no pipe; like one it is read, and ready when there is something.
fn notices_of(folder: &Path) -> io::Result<pipe::Receiver> {
    let notices = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&notices, folder, WATCHED)?;
    pipe::Receiver::from_owned_fd_unchecked(notices)
}

/// Writing is of interest when it is done: not each MODIFY, but CLOSE_WRITE.
const WATCHED: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

const LOST: ReadFlags = ReadFlags::QUEUE_OVERFLOW
    .union(ReadFlags::IGNORED)
    .union(ReadFlags::UNMOUNT)
    .union(ReadFlags::DELETE_SELF)
    .union(ReadFlags::MOVE_SELF);

/// Whatever has been noticed, at least one thing; never returns where nothing is watched.
async fn next(notices: Option<&pipe::Receiver>, names: &[OsString]) -> io::Result<Notices> {
    let Some(notices) = notices else { return future::pending().await };
    loop {
        notices.readable().await?;
        match notices.try_io(|| drain(notices.as_fd(), names)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            noticed => return noticed,
        }
    }
}

fn drain(notices: BorrowedFd, names: &[OsString]) -> io::Result<Notices> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(notices, &mut buffer);
    let mut noticed = Notices::default();
    loop {
        match reader.next() {
            Ok(event) => {
                let file = event.file_name().map(|file| file.to_bytes());
                let own = file.is_some_and(|file| names.iter().any(|name| name.as_bytes() == file));
                noticed.add(event.events(), own);
            }
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if noticed != Notices::default() => return Ok(noticed),
            Err(error) => return Err(error.into()),
        }
    }
}

impl Notices {
    fn add(&mut self, flags: ReadFlags, own: bool) {
        if flags.intersects(LOST) {
            self.lost = true;
        } else if own && flags.contains(ReadFlags::CREATE) {
            // An empty file, whose CLOSE_WRITE is to come, or a link: looking tells.
        } else if own {
            self.file = true;
        } else {
            self.folder = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const DEADLINE: Duration = Duration::from_secs(20);
    /// Longer than a test: what is told then is told by inotify.
    const NEVER: Duration = Duration::from_secs(3600);
    const OFTEN: Duration = Duration::from_millis(1);

    async fn changed(watch: &mut FileWatch) {
        tokio::time::timeout(DEADLINE, watch.changed()).await.expect("the change is told");
    }

    fn looking(path: &Path, every: Duration) -> FileWatch {
        FileWatch::looking(vec![path.to_owned()], every)
    }

    /// A folder with the file `list` in it.
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        fs::write(&path, "a").unwrap();
        (folder, path)
    }

    #[tokio::test]
    async fn a_file_rewritten_in_place_is_told() {
        let (_folder, path) = folder();
        let mut watch = looking(&path, NEVER);
        for _ in 0..3 {
            fs::write(&path, "b").unwrap();
            changed(&mut watch).await;
        }
    }

    #[tokio::test]
    async fn a_file_replaced_removed_or_made_is_told() {
        let (folder, path) = folder();
        let mut watch = looking(&path, NEVER);
        for _ in 0..3 {
            let new = folder.path().join("new");
            fs::write(&new, "b").unwrap();
            fs::rename(&new, &path).unwrap();
            changed(&mut watch).await;
            fs::remove_file(&path).unwrap();
            changed(&mut watch).await;
            fs::write(&path, "c").unwrap();
            changed(&mut watch).await;
        }
    }

    #[tokio::test]
    async fn a_file_moved_in_from_another_folder_is_told() {
        let (_folder, path) = folder();
        let elsewhere = tempfile::tempdir().unwrap();
        let mut watch = looking(&path, NEVER);
        for _ in 0..3 {
            let new = elsewhere.path().join("new");
            fs::write(&new, "b").unwrap();
            fs::rename(&new, &path).unwrap();
            changed(&mut watch).await;
        }
    }

    /// As the kubelet does it: `list` leads to `..data/list`, and `..data` to a folder that is
    /// replaced with all files at once.
    #[tokio::test]
    async fn a_link_on_the_way_that_is_swapped_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["..1", "..2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("list"), version).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/list", at("list")).unwrap();
        let mut watch = looking(&at("list"), NEVER);
        for version in ["..2", "..1", "..2"] {
            symlink(version, at("..data_tmp")).unwrap();
            fs::rename(at("..data_tmp"), at("..data")).unwrap();
            changed(&mut watch).await;
            assert_eq!(fs::read_to_string(at("list")).unwrap(), version);
        }
    }

    #[tokio::test]
    async fn each_of_several_files_is_told() {
        let (folder, path) = folder();
        let other = folder.path().join("other");
        for every in [NEVER, OFTEN] {
            let paths = vec![path.clone(), other.clone()];
            let mut watch = FileWatch::looking(paths, every);
            for path in [&path, &other, &path] {
                fs::write(path, format!("{every:?}{path:?}")).unwrap();
                changed(&mut watch).await;
            }
            fs::remove_file(&other).unwrap();
            changed(&mut watch).await;
        }
    }

    #[tokio::test]
    async fn other_files_of_the_folder_are_not_told() {
        let (folder, path) = folder();
        let mut watch = looking(&path, NEVER);
        fs::write(folder.path().join("other"), "b").unwrap();
        let notices = next(watch.notices.as_ref(), &watch.names).await;
        let expected = Notices { folder: true, ..Notices::default() };
        assert_eq!(*notices.as_ref().unwrap(), expected);
        assert!(!watch.noticed(notices));
        // The file of which only the beginning is written is not told either.
        let file = fs::File::create(&path).unwrap();
        assert!(!watch.noticed(Ok(expected)));
        drop(file);
        changed(&mut watch).await;
    }

    #[tokio::test]
    async fn a_new_file_is_told_when_it_is_written() {
        let (folder, path) = folder();
        fs::remove_file(&path).unwrap();
        let mut watch = looking(&path, NEVER);
        let file = fs::File::create(&path).unwrap();
        fs::write(folder.path().join("other"), "b").unwrap();
        let notices = next(watch.notices.as_ref(), &watch.names).await.unwrap();
        assert!(!notices.file, "it is empty yet");
        drop(file);
        changed(&mut watch).await;
    }

    #[tokio::test]
    async fn a_change_behind_a_link_is_found_by_looking() {
        let (_elsewhere, target) = folder();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        symlink(&target, &path).unwrap();
        let mut watch = looking(&path, OFTEN);
        fs::write(&target, "longer").unwrap();
        changed(&mut watch).await;
    }

    #[tokio::test]
    async fn a_folder_that_is_missing_is_found_when_it_comes() {
        let (folder, _) = folder();
        let path = folder.path().join("later").join("list");
        let mut watch = looking(&path, OFTEN);
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, "a").unwrap();
        changed(&mut watch).await;
        assert!(watch.notices.is_some(), "watched from now on");
    }

    #[tokio::test]
    async fn a_folder_that_goes_and_comes_again_is_watched_again() {
        let (folder, _) = folder();
        let path = folder.path().join("sub").join("list");
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, "a").unwrap();
        let mut watch = looking(&path, OFTEN);
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        while Fingerprint::of(&path).is_some() || watch.reported[0].is_some() {
            changed(&mut watch).await;
        }
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, "a").unwrap();
        changed(&mut watch).await;
        assert_eq!(watch.reported, [Fingerprint::of(&path)]);
    }

    #[tokio::test]
    async fn a_file_that_is_still_changing_is_not_told_by_looking() {
        let (_folder, path) = folder();
        let mut watch = looking(&path, NEVER);
        fs::write(&path, "bb").unwrap();
        assert!(!watch.looked());
        fs::write(&path, "ccc").unwrap();
        assert!(!watch.looked());
        assert!(watch.looked());
    }
}
