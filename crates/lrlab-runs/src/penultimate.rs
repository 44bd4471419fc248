//! The state of a finished run before its last update, from which a longer run with the same beginning continues.
//!
//! ```text
//! DIR/store/<run_id>/attempts/<n>/penultimate   while the attempt runs
//! DIR/store/<run_id>/penultimate                once the run is done, if it is kept
//! DIR/store/<run_id>/penultimate/for-plan       if it is kept only for longer runs of the plan
//! ```
//!
//! The folder has the layout of a checkpoint. The state is the one before the last update, because callbacks treat the end
//! of a run differently from the end of an epoch.

use std::path::{Path, PathBuf};

use crate::checkpoint::{numbered_attempts, read, write_folder};
use crate::{Checkpoint, Error, Fingerprint, Step, attempt_dir, write_atomic};

const FOLDER: &str = "penultimate";
const FOR_PLAN: &str = "for-plan";

/// The runs that a penultimate state is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptFor {
    /// Longer runs of a plan.
    Plan,
    /// Longer runs that may be planned later.
    Later,
}

/// Returns whether the finished run in `run_dir` has a kept penultimate state.
#[must_use]
pub fn has_penultimate(run_dir: &Path) -> bool {
    run_dir.join(FOLDER).is_dir()
}

/// Returns the folder of the kept penultimate state of the finished run in `run_dir`, and the runs that it is kept for;
/// `None` if there is none.
#[must_use]
pub fn kept_penultimate(run_dir: &Path) -> Option<(PathBuf, KeptFor)> {
    let folder = run_dir.join(FOLDER);
    let kept_for = if folder.join(FOR_PLAN).exists() { KeptFor::Plan } else { KeptFor::Later };
    folder.is_dir().then_some((folder, kept_for))
}

/// Writes the penultimate state of attempt `attempt` at the run in `run_dir`, unless it exists.
///
/// # Errors
/// Returns [`Error::Io`] if it cannot be written; no part of it remains.
pub fn write_penultimate(
    run_dir: &Path,
    attempt: u32,
    fingerprint: &Fingerprint,
    at: Step,
    files: &[(&str, &[u8])],
) -> Result<(), Error> {
    let folder = attempt_dir(run_dir, attempt).join(FOLDER);
    if folder.is_dir() { Ok(()) } else { write_folder(&folder, fingerprint, at, files) }
}

/// Ends the attempts' ownership of penultimate states when the run in `run_dir` is done: that of the newest attempt becomes
/// the run's if `keep` is given, and the others are removed.
///
/// # Errors
/// Returns [`Error::Io`] if a folder cannot be moved or removed.
pub fn settle_penultimate(run_dir: &Path, keep: Option<KeptFor>) -> Result<(), Error> {
    let target = run_dir.join(FOLDER);
    for (_, attempt) in numbered_attempts(&run_dir.join("attempts")).into_iter().rev() {
        let folder = attempt.join(FOLDER);
        if !folder.is_dir() {
            continue;
        }
        if keep.is_some() && !target.exists() {
            if keep == Some(KeptFor::Plan) {
                write_atomic(&folder.join(FOR_PLAN), b"")?;
            }
            std::fs::rename(&folder, &target).map_err(|e| Error::io(&target, e))?;
        } else {
            remove(&folder)?;
        }
    }
    if keep.is_some() { Ok(()) } else { remove_penultimate(run_dir) }
}

/// Removes the penultimate state of the finished run in `run_dir`, if it has one.
///
/// # Errors
/// Returns [`Error::Io`] if the folder cannot be removed.
pub fn remove_penultimate(run_dir: &Path) -> Result<(), Error> {
    remove(&run_dir.join(FOLDER))
}

fn remove(folder: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(folder, e)),
        _ => Ok(()),
    }
}

/// Reads the penultimate state of the finished run in `run_dir`, which must have the given fingerprint. The attempt of the
/// checkpoint is the newest one, whose logs belong to the result.
///
/// # Errors
/// Returns a description of the missing, damaged or differing part.
pub fn read_penultimate(run_dir: &Path, fingerprint: &Fingerprint) -> Result<Checkpoint, String> {
    let folder: PathBuf = run_dir.join(FOLDER);
    let (manifest, files) = read(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let Fingerprint { run_id, numerics, build } = &manifest.fingerprint;
    let other = if *run_id != fingerprint.run_id {
        Some(format!("it belongs to run {run_id}"))
    } else if *build != fingerprint.build {
        Some("written by another build".to_owned())
    } else if *numerics != fingerprint.numerics {
        Some(format!("its numerics class is {numerics:?}, not {:?}", fingerprint.numerics))
    } else {
        None
    };
    if let Some(why) = other {
        return Err(format!("{}: {why}", folder.display()));
    }
    let attempt = numbered_attempts(&run_dir.join("attempts")).last().map_or(1, |(number, _)| *number);
    Ok(Checkpoint { attempt, folder, at: manifest.at, files })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunId;

    #[test]
    fn the_state_of_the_newest_attempt_is_kept() {
        let run = tempfile::tempdir().unwrap();
        let fingerprint = |run: &str, build: &str| Fingerprint {
            run_id: RunId::of(run, ""),
            numerics: "cpu/f32/1".to_owned(),
            build: build.to_owned(),
        };
        let at = |update| Step { update, epoch: 3 };
        for attempt in [1, 2] {
            let files: [(&str, &[u8]); 1] = [("state.json", &[attempt as u8])];
            write_penultimate(run.path(), attempt, &fingerprint("a", "b"), at(7), &files).unwrap();
            // A second write of the same attempt changes nothing.
            write_penultimate(run.path(), attempt, &fingerprint("a", "b"), at(8), &files).unwrap();
        }
        assert!(!has_penultimate(run.path()));
        settle_penultimate(run.path(), Some(KeptFor::Plan)).unwrap();
        assert!(has_penultimate(run.path()));
        let folder = run.path().join("penultimate");
        assert_eq!(kept_penultimate(run.path()), Some((folder, KeptFor::Plan)));
        let read = read_penultimate(run.path(), &fingerprint("a", "b")).unwrap();
        assert_eq!((read.at, read.attempt, read.files["state.json"].as_slice()), (at(7), 2, &[2][..]));
        assert!(!run.path().join("attempts/1/penultimate").exists());
        for (other, message) in [
            (fingerprint("x", "b"), "it belongs to run"),
            (fingerprint("a", "x"), "written by another build"),
        ] {
            assert!(read_penultimate(run.path(), &other).unwrap_err().contains(message));
        }
        std::fs::write(run.path().join("penultimate/state.json"), [9]).unwrap();
        let error = read_penultimate(run.path(), &fingerprint("a", "b")).unwrap_err();
        assert!(error.contains("state.json is damaged"), "{error}");
        settle_penultimate(run.path(), None).unwrap();
        assert!(!has_penultimate(run.path()) && kept_penultimate(run.path()).is_none());
        write_penultimate(run.path(), 3, &fingerprint("a", "b"), at(7), &[]).unwrap();
        settle_penultimate(run.path(), Some(KeptFor::Later)).unwrap();
        assert!(matches!(kept_penultimate(run.path()), Some((_, KeptFor::Later))));
        remove_penultimate(run.path()).unwrap();
        assert!(read_penultimate(run.path(), &fingerprint("a", "b")).unwrap_err().contains("manifest.json"));
    }
}
