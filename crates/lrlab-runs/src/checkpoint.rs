//! Checkpoints of a run: folders that are complete or absent, from which a later attempt resumes.
//!
//! ```text
//! DIR/store/<run_id>/attempts/<n>/checkpoints/<update>.<epoch>/manifest.json   the fingerprint, and digests
//! DIR/store/<run_id>/attempts/<n>/checkpoints/<update>.<epoch>/state.json      metrics, decisions, the state of callbacks
//! DIR/store/<run_id>/attempts/<n>/checkpoints/<update>.<epoch>/tensors.safetensors
//! ```
//!
//! An attempt writes only below its own folder. A run resumes from the newest valid checkpoint of its attempts. The last
//! two checkpoints over all attempts are kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic::{sync_folder, write_synced};
use crate::{Decision, EpochMetrics, Error, RunId};

/// The version of the layout.
const FORMAT: u32 = 1;
/// The number of checkpoints to keep.
const KEPT: usize = 2;
const MANIFEST: &str = "manifest.json";
/// The file of a checkpoint that contains the [`Progress`].
const STATE: &str = "state.json";

/// The properties that must match for a run to resume from a checkpoint: the run, the numerics class and the build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The run.
    pub run_id: RunId,
    /// See [`Provenance::numerics`](crate::Provenance::numerics).
    pub numerics: String,
    /// The digest of the program.
    pub build: String,
}

/// The position in a run at which a checkpoint was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Step {
    /// Completed updates.
    pub update: u64,
    /// Completed epochs.
    pub epoch: u64,
}

/// A valid checkpoint: each file has the digest that the manifest states.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The number of the attempt that wrote it.
    pub attempt: u32,
    /// Its folder.
    pub folder: PathBuf,
    /// The position in the run.
    pub at: Step,
    /// The contents of the files, by name.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// The progress of an unfinished run, from its newest valid checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Completed updates.
    pub update: u64,
    /// Completed epochs.
    pub epoch: u64,
    /// The metrics of the completed epochs.
    pub history: Vec<EpochMetrics>,
    /// The decisions of callbacks.
    pub decisions: Vec<Decision>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: u32,
    #[serde(flatten)]
    pub(crate) fingerprint: Fingerprint,
    #[serde(flatten)]
    pub(crate) at: Step,
    files: BTreeMap<String, FileDigest>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FileDigest {
    bytes: u64,
    blake3: String,
}

/// The manifest with its own digest.
#[derive(Serialize, Deserialize)]
struct SignedManifest {
    manifest: Manifest,
    blake3: String,
}

/// The checkpoints of a run, from the perspective of one attempt.
#[derive(Debug)]
pub struct Checkpoints {
    /// The folder of all attempts.
    attempts: PathBuf,
    /// The number of this attempt, and the folder of its checkpoints.
    attempt: u32,
    own: PathBuf,
    fingerprint: Fingerprint,
    /// The checkpoints to keep, oldest first.
    kept: Vec<PathBuf>,
    /// Whether invalid checkpoints, or those of other attempts, may still exist.
    has_stale_files: bool,
}

impl Checkpoints {
    /// Finds the newest valid checkpoint of the run in `run_dir` for attempt `attempt`, which writes with `fingerprint`.
    /// `warn` receives a message for each checkpoint that is skipped because it is truncated, damaged, or of another build.
    ///
    /// # Errors
    /// Returns [`Error::OtherNumerics`] if the newest checkpoint belongs to another numerics class.
    pub fn open(
        run_dir: &Path,
        attempt: u32,
        fingerprint: Fingerprint,
        warn: &mut dyn FnMut(String),
    ) -> Result<(Self, Option<Checkpoint>), Error> {
        let attempts = run_dir.join("attempts");
        let own = attempt_dir(run_dir, attempt).join("checkpoints");
        let mut checkpoints =
            Self { attempt, own, fingerprint, kept: Vec::new(), has_stale_files: true, attempts };
        let mut found = None;
        for (attempt, folder) in candidates(&checkpoints.attempts) {
            match read(&folder) {
                Err(why) => warn(format!("{}: {why}; skipping this checkpoint", folder.display())),
                Ok((manifest, _)) if manifest.fingerprint.run_id != checkpoints.fingerprint.run_id => {
                    warn(format!(
                        "{}: it belongs to run {}; skipping this checkpoint",
                        folder.display(),
                        manifest.fingerprint.run_id
                    ));
                }
                Ok((manifest, _)) if manifest.fingerprint.build != checkpoints.fingerprint.build => {
                    warn(format!("{}: written by another build; skipping this checkpoint", folder.display()));
                }
                Ok((manifest, _)) if manifest.fingerprint.numerics != checkpoints.fingerprint.numerics => {
                    let (found, expected) = (manifest.fingerprint.numerics, checkpoints.fingerprint.numerics);
                    return Err(Error::OtherNumerics { path: folder, found, expected });
                }
                Ok((manifest, files)) => {
                    checkpoints.kept.push(folder.clone());
                    found = Some(Checkpoint { attempt, folder, at: manifest.at, files });
                    break;
                }
            }
        }
        Ok((checkpoints, found))
    }

    /// Writes a checkpoint, unless the last one has the same position, and removes all but the last two.
    ///
    /// # Errors
    /// Returns [`Error::Io`] if it cannot be written; no part of it remains.
    pub fn write(&mut self, at: Step, files: &[(&str, &[u8])]) -> Result<PathBuf, Error> {
        let folder = self.own.join(format!("{:012}.{:06}", at.update, at.epoch));
        if let Some(last) = self.kept.last().filter(|last| last.file_name() == folder.file_name()) {
            return Ok(last.clone());
        }
        write_folder(&folder, &self.fingerprint, at, files)?;
        self.kept.push(folder.clone());
        self.prune();
        Ok(folder)
    }

    /// Removes superseded checkpoints. Failures are ignored, because remaining files only occupy space.
    fn prune(&mut self) {
        let excess = self.kept.len().saturating_sub(KEPT);
        for folder in self.kept.drain(..excess) {
            let _ = std::fs::remove_dir_all(folder);
        }
        if std::mem::take(&mut self.has_stale_files) {
            for (attempt, folder) in candidates(&self.attempts) {
                // A later attempt may have taken over from this one.
                if attempt <= self.attempt && !self.kept.contains(&folder) {
                    let _ = std::fs::remove_dir_all(folder);
                }
            }
        }
    }

    /// Removes all checkpoints of the run, including those of other attempts and incomplete ones.
    ///
    /// # Errors
    /// Returns [`Error::Io`] if a folder cannot be removed.
    pub fn remove_all(self) -> Result<(), Error> {
        for (_, attempt) in numbered_attempts(&self.attempts) {
            let folder = attempt.join("checkpoints");
            match std::fs::remove_dir_all(&folder) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(&folder, e)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Writes a checkpoint as `folder`, which must not exist.
pub(crate) fn write_folder(
    folder: &Path,
    fingerprint: &Fingerprint,
    at: Step,
    files: &[(&str, &[u8])],
) -> Result<(), Error> {
    let parent = folder.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
    let temporary = temporary(parent)?;
    let digest = |bytes: &[u8]| FileDigest {
        bytes: bytes.len() as u64,
        blake3: blake3::hash(bytes).to_hex().to_string(),
    };
    let digests = files.iter().map(|(name, bytes)| ((*name).to_owned(), digest(bytes))).collect();
    let manifest = Manifest { format: FORMAT, fingerprint: fingerprint.clone(), at, files: digests };
    let path = folder.join(MANIFEST);
    let signed = SignedManifest { blake3: manifest_digest(&path, &manifest)?, manifest };
    let manifest = serde_json::to_vec_pretty(&signed).map_err(|e| Error::json(&path, e))?;
    for (name, bytes) in files.iter().chain(&[(MANIFEST, manifest.as_slice())]) {
        // Errors report the final path.
        write_synced(&temporary.path().join(name), bytes).map_err(|e| Error::io(&folder.join(name), e))?;
    }
    sync_folder(temporary.path())?;
    std::fs::rename(temporary.path(), folder).map_err(|e| Error::io(folder, e))?;
    // The temporary folder was renamed, so there is nothing to remove.
    let _ = temporary.keep();
    sync_folder(parent)
}

/// Returns the progress of the run in `run_dir`, from its newest checkpoint with a valid state; `None` if there is none.
#[must_use]
pub fn progress(run_dir: &Path) -> Option<Progress> {
    candidates(&run_dir.join("attempts")).iter().find_map(|(_, folder)| {
        let manifest = manifest(folder).ok()?;
        let state = read_checked(folder, STATE, manifest.files.get(STATE)?).ok()?;
        serde_json::from_slice(&state).ok()
    })
}

/// Returns the numerics class of the newest checkpoint by `build` of the run in `run_dir`, which decides whether the run can be
/// resumed; `None` if there is no such checkpoint with a valid manifest. `build` is the digest of the program or its beginning.
#[must_use]
pub fn saved_numerics(run_dir: &Path, build: &str) -> Option<String> {
    let all = candidates(&run_dir.join("attempts"));
    let fingerprints = all.iter().filter_map(|(_, folder)| Some(manifest(folder).ok()?.fingerprint));
    fingerprints.filter(|of| !build.is_empty() && of.build.starts_with(build)).map(|of| of.numerics).next()
}

/// Returns all checkpoints of a run with the numbers of their attempts: the newest attempt first, and within an attempt the
/// latest checkpoint first.
fn candidates(attempts: &Path) -> Vec<(u32, PathBuf)> {
    let mut all = Vec::new();
    for (number, attempt) in numbered_attempts(attempts).into_iter().rev() {
        let Ok(entries) = std::fs::read_dir(attempt.join("checkpoints")) else { continue };
        let mut folders: Vec<_> =
            entries.flatten().map(|entry| entry.path()).filter(|p| !hidden(p)).collect();
        folders.sort_unstable();
        all.extend(folders.into_iter().rev().map(|folder| (number, folder)));
    }
    all
}

/// Returns the folder that attempt `number` at the run in `run_dir` writes to: `attempts/<number>`.
#[must_use]
pub fn attempt_dir(run_dir: &Path, number: u32) -> PathBuf {
    run_dir.join("attempts").join(number.to_string())
}

/// Returns the folders of the attempts, by ascending number; none if `attempts` cannot be read.
pub(crate) fn numbered_attempts(attempts: &Path) -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir(attempts).into_iter().flatten().flatten();
    let mut all: Vec<_> =
        entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))).collect();
    all.sort_unstable();
    all
}

/// Returns whether the name starts with a dot, like those of incomplete checkpoints.
fn hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn temporary(folder: &Path) -> Result<tempfile::TempDir, Error> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755));
    builder.tempdir_in(folder).map_err(|e| Error::io(folder, e))
}

fn manifest_digest(path: &Path, manifest: &Manifest) -> Result<String, Error> {
    let bytes = serde_json::to_vec(manifest).map_err(|e| Error::json(path, e))?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}

/// Reads and verifies a checkpoint. The error describes the damage.
pub(crate) fn read(folder: &Path) -> Result<(Manifest, BTreeMap<String, Vec<u8>>), String> {
    let manifest = manifest(folder)?;
    let files = manifest.files.iter().map(|(name, sum)| Ok((name.clone(), read_checked(folder, name, sum)?)));
    let files = files.collect::<Result<_, String>>()?;
    Ok((manifest, files))
}

fn manifest(folder: &Path) -> Result<Manifest, String> {
    let path = folder.join(MANIFEST);
    let bytes = std::fs::read(&path).map_err(|e| format!("{MANIFEST}: {e}"))?;
    let SignedManifest { manifest, blake3 } =
        serde_json::from_slice(&bytes).map_err(|e| format!("{MANIFEST} is damaged: {e}"))?;
    if manifest.format != FORMAT {
        return Err(format!("its format is {}, expected {FORMAT}", manifest.format));
    }
    match manifest_digest(&path, &manifest) {
        Ok(digest) if digest == blake3 => Ok(manifest),
        _ => Err(format!("{MANIFEST} is damaged: its digest does not match")),
    }
}

fn read_checked(folder: &Path, name: &str, sum: &FileDigest) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(folder.join(name)).map_err(|e| format!("{name}: {e}"))?;
    if bytes.len() as u64 != sum.bytes {
        return Err(format!("{name} is truncated: it has {} of {} bytes", bytes.len(), sum.bytes));
    }
    if blake3::hash(&bytes).to_hex().as_str() != sum.blake3 {
        return Err(format!("{name} is damaged: its digest does not match"));
    }
    Ok(bytes)
}
