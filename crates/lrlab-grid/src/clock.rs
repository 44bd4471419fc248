//! The clock of the file system that contains a store, which may be that of another machine.

use std::path::Path;
use std::time::{Duration, SystemTime};

/// A reading of the file system's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    now: SystemTime,
}

impl Clock {
    /// Reads the clock of the file system of `folder` from the modification time of a temporary file. Falls back to
    /// this machine's clock.
    pub(crate) fn of(folder: &Path) -> Self {
        let path = folder.join(format!(".clock.{}.tmp", std::process::id()));
        let modified = std::fs::File::create(&path).and_then(|file| file.metadata()?.modified());
        // If removal fails, `gc` removes the file.
        let _ = std::fs::remove_file(&path);
        Self { now: modified.unwrap_or_else(|_| SystemTime::now()) }
    }

    /// Returns the time since a file there was modified.
    pub(crate) fn since(self, touched: SystemTime) -> Duration {
        self.now.duration_since(touched).unwrap_or_default()
    }
}

/// Sets the modification time of a file to the file system's own time, so that machines that share a store need not have
/// synchronised clocks.
#[cfg(unix)]
pub(crate) fn touch(path: &Path) -> std::io::Result<()> {
    use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps { last_access: time(UTIME_OMIT), last_modification: time(UTIME_NOW) };
    Ok(futimens(std::fs::File::options().append(true).open(path)?, &times)?)
}

/// Sets the modification time of a file to this machine's time.
#[cfg(not(unix))]
pub(crate) fn touch(path: &Path) -> std::io::Result<()> {
    std::fs::File::options().append(true).open(path)?.set_modified(SystemTime::now())
}
