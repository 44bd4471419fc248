//! The clock of the machine that keeps the files of a store, which may be another one.

use std::path::Path;
use std::time::{Duration, SystemTime};

/// What time it was there when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    now: SystemTime,
}

impl Clock {
    /// Asks the machine that keeps `folder`, by the time it gives a file that is made and goes at once. Where none can be
    /// made, this machine's clock has to do.
    pub(crate) fn of(folder: &Path) -> Self {
        let path = folder.join(format!(".clock.{}.tmp", std::process::id()));
        let told = std::fs::File::create(&path).and_then(|file| file.metadata()?.modified());
        // It is of no use to anyone, and `gc` would find it.
        let _ = std::fs::remove_file(&path);
        Self { now: told.unwrap_or_else(|_| SystemTime::now()) }
    }

    /// How long ago a file there was touched.
    pub(crate) fn since(self, touched: SystemTime) -> Duration {
        self.now.duration_since(touched).unwrap_or_default()
    }
}

/// Touches a file, so that its time is that of the machine that keeps it: two machines that work on one store need not
/// agree on the time.
#[cfg(unix)]
pub(crate) fn touch(path: &Path) -> std::io::Result<()> {
    use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps { last_access: time(UTIME_OMIT), last_modification: time(UTIME_NOW) };
    Ok(futimens(std::fs::File::options().append(true).open(path)?, &times)?)
}

/// Touches a file.
#[cfg(not(unix))]
pub(crate) fn touch(path: &Path) -> std::io::Result<()> {
    std::fs::File::options().append(true).open(path)?.set_modified(SystemTime::now())
}
