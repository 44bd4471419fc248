//! Files that readers see either whole or not at all, but that need not survive a power failure.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Replaces `path` by the file that `write` writes under a temporary name, without syncing. If that fails, for example because
/// the disk is full, the temporary file is removed.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Processes in containers may have equal ids.
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    let temporary = path.with_file_name(format!(".{name}.{}-{time:x}.tmp", std::process::id()));
    let replaced = write(&temporary).and_then(|()| std::fs::rename(&temporary, path));
    if replaced.is_err() {
        // If removal fails too, `gc` removes the file.
        let _ = std::fs::remove_file(&temporary);
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_leave_the_old_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        replace(&path, |temporary| std::fs::write(temporary, "old")).unwrap();
        let full = |temporary: &Path| {
            std::fs::write(temporary, "n")?;
            Err(std::io::ErrorKind::StorageFull.into())
        };
        assert_eq!(replace(&path, full).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(names, std::slice::from_ref(&path));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        // A folder cannot be replaced by a file.
        std::fs::create_dir(folder.path().join("b")).unwrap();
        replace(&folder.path().join("b"), |temporary| std::fs::write(temporary, "new")).unwrap_err();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
