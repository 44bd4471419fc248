//! Checkpoints of a run: folders that are whole or not there, found by whoever goes on.
//!
//! ```text
//! DIR/store/<run_id>/attempts/<n>/checkpoints/<update>.<epoch>/manifest.json   who may go on from it, and digests
//! DIR/store/<run_id>/attempts/<n>/checkpoints/<update>.<epoch>/state.json      figures, decisions, what callbacks remember
//! DIR/store/<run_id>/attempts/<n>/checkpoints/<update>.<epoch>/tensors.safetensors
//! ```
//!
//! An attempt writes below its own folder only. The newest good checkpoint of the newest attempt counts; the last two
//! are kept, over all attempts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic::{sync_folder, write_synced};
use crate::{Decision, EpochMetrics, Error, RunId};

/// Version of the layout.
const FORMAT: u32 = 1;
/// How many are kept.
const KEPT: usize = 2;
const MANIFEST: &str = "manifest.json";
/// The file of a checkpoint that [`Progress`] is read from.
const STATE: &str = "state.json";

/// Who may go on from a checkpoint: the same run, in the same class of numerics, by the same build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The run.
    pub run_id: RunId,
    /// See [`Provenance::numerics`](crate::Provenance::numerics).
    pub numerics: String,
    /// Digest of the program.
    pub build: String,
}

/// Where in a run a checkpoint was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment {
    /// Updates made.
    pub update: u64,
    /// Completed epochs.
    pub epoch: u64,
}

/// A checkpoint as it was read: every file has the digest that its manifest states.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The number of the attempt that wrote it.
    pub attempt: u32,
    /// Its folder.
    pub folder: PathBuf,
    /// Where in the run it was taken.
    pub at: Moment,
    /// The files' contents by name.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// How far a run is that is not done, from its newest good checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Updates made.
    pub update: u64,
    /// Completed epochs.
    pub epoch: u64,
    /// Their figures.
    pub history: Vec<EpochMetrics>,
    /// What callbacks decided.
    pub decisions: Vec<Decision>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    #[serde(flatten)]
    stamp: Stamp,
    #[serde(flatten)]
    at: Moment,
    files: BTreeMap<String, Sum>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    bytes: u64,
    blake3: String,
}

/// The manifest with its own digest.
#[derive(Serialize, Deserialize)]
struct Sealed {
    manifest: Manifest,
    blake3: String,
}

/// The checkpoints of a run, as one of its attempts sees them.
#[derive(Debug)]
pub struct Checkpoints {
    /// Of the whole run.
    attempts: PathBuf,
    /// Ours.
    own: PathBuf,
    stamp: Stamp,
    /// Those that count, oldest first.
    kept: Vec<PathBuf>,
    /// Others' and bad ones may still be there.
    littered: bool,
}

impl Checkpoints {
    /// Looks through the checkpoints of the run in `run_dir` for the newest good one, from which the attempt of number
    /// `attempt` is to go on and which is written by `stamp`. `told` hears of every one that was passed over, and why: it is
    /// truncated or damaged, or another build wrote it.
    ///
    /// # Errors
    /// [`Error::OtherNumerics`] where the newest one belongs to another class of numerics.
    pub fn open(
        run_dir: &Path,
        attempt: u32,
        stamp: Stamp,
        told: &mut dyn FnMut(String),
    ) -> Result<(Self, Option<Checkpoint>), Error> {
        let attempts = run_dir.join("attempts");
        let own = attempt_dir(run_dir, attempt).join("checkpoints");
        let mut checkpoints = Self { own, stamp, kept: Vec::new(), littered: true, attempts };
        let mut found = None;
        for (attempt, folder) in candidates(&checkpoints.attempts) {
            match read(&folder) {
                Err(why) => told(format!("{}: {why}; it is passed over", folder.display())),
                Ok((manifest, _)) if manifest.stamp.run_id != checkpoints.stamp.run_id => {
                    told(format!(
                        "{}: of run {}; it is passed over",
                        folder.display(),
                        manifest.stamp.run_id
                    ));
                }
                Ok((manifest, _)) if manifest.stamp.build != checkpoints.stamp.build => {
                    told(format!("{}: written by another build; it is passed over", folder.display()));
                }
                Ok((manifest, _)) if manifest.stamp.numerics != checkpoints.stamp.numerics => {
                    let (found, expected) = (manifest.stamp.numerics, checkpoints.stamp.numerics);
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

    /// Writes one, unless the last one is of this moment, and lets go of all but the last two.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written; nothing of it is left then.
    pub fn write(&mut self, at: Moment, files: &[(&str, &[u8])]) -> Result<PathBuf, Error> {
        let folder = self.own.join(format!("{:012}.{:06}", at.update, at.epoch));
        if let Some(last) = self.kept.last().filter(|last| last.file_name() == folder.file_name()) {
            return Ok(last.clone());
        }
        std::fs::create_dir_all(&self.own).map_err(|e| Error::io(&self.own, e))?;
        let temporary = temporary(&self.own)?;
        let sum = |bytes: &[u8]| Sum {
            bytes: bytes.len() as u64,
            blake3: blake3::hash(bytes).to_hex().to_string(),
        };
        let sums = files.iter().map(|(name, bytes)| ((*name).to_owned(), sum(bytes))).collect();
        let manifest = Manifest { format: FORMAT, stamp: self.stamp.clone(), at, files: sums };
        let path = folder.join(MANIFEST);
        let sealed = Sealed { blake3: seal(&path, &manifest)?, manifest };
        let manifest = serde_json::to_vec_pretty(&sealed).map_err(|e| Error::json(&path, e))?;
        for (name, bytes) in files.iter().chain(&[(MANIFEST, manifest.as_slice())]) {
            // The name that is told is the one the file would have had.
            write_synced(&temporary.path().join(name), bytes)
                .map_err(|e| Error::io(&folder.join(name), e))?;
        }
        sync_folder(temporary.path())?;
        std::fs::rename(temporary.path(), &folder).map_err(|e| Error::io(&folder, e))?;
        // It has another name now: there is nothing to remove.
        let _ = temporary.keep();
        sync_folder(&self.own)?;
        self.kept.push(folder.clone());
        self.prune();
        Ok(folder)
    }

    /// Removes those that no longer count. What cannot be removed only takes space.
    fn prune(&mut self) {
        let excess = self.kept.len().saturating_sub(KEPT);
        for folder in self.kept.drain(..excess) {
            let _ = std::fs::remove_dir_all(folder);
        }
        if std::mem::take(&mut self.littered) {
            for (_, folder) in candidates(&self.attempts) {
                if !self.kept.contains(&folder) {
                    let _ = std::fs::remove_dir_all(folder);
                }
            }
        }
    }

    /// Removes every checkpoint of the run, those of other attempts and what is half written included.
    ///
    /// # Errors
    /// [`Error::Io`] where a folder cannot be removed.
    pub fn remove_all(self) -> Result<(), Error> {
        for (_, attempt) in numbered(&self.attempts) {
            let folder = attempt.join("checkpoints");
            match std::fs::remove_dir_all(&folder) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(&folder, e)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// How far the run in `run_dir` is, from its newest checkpoint whose state is good; `None` where there is none.
#[must_use]
pub fn progress(run_dir: &Path) -> Option<Progress> {
    candidates(&run_dir.join("attempts")).iter().find_map(|(_, folder)| {
        let manifest = manifest(folder).ok()?;
        let state = checked(folder, STATE, manifest.files.get(STATE)?).ok()?;
        serde_json::from_slice(&state).ok()
    })
}

/// Every checkpoint of a run with the number of its attempt, the newest attempt's first, in each the furthest first.
fn candidates(attempts: &Path) -> Vec<(u32, PathBuf)> {
    let mut all = Vec::new();
    for (number, attempt) in numbered(attempts).into_iter().rev() {
        let Ok(entries) = std::fs::read_dir(attempt.join("checkpoints")) else { continue };
        let mut folders: Vec<_> =
            entries.flatten().map(|entry| entry.path()).filter(|p| !hidden(p)).collect();
        folders.sort_unstable();
        all.extend(folders.into_iter().rev().map(|folder| (number, folder)));
    }
    all
}

/// Where attempt `number` at the run in `run_dir` writes: `attempts/<number>`. An attempt is known by its number, as one
/// folder has many paths.
#[must_use]
pub fn attempt_dir(run_dir: &Path, number: u32) -> PathBuf {
    run_dir.join("attempts").join(number.to_string())
}

/// The attempts' folders by number, ascending. A folder that cannot be read has none.
pub(crate) fn numbered(attempts: &Path) -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir(attempts).into_iter().flatten().flatten();
    let mut all: Vec<_> =
        entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))).collect();
    all.sort_unstable();
    all
}

/// What is half written has a name that begins with a dot.
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

fn seal(path: &Path, manifest: &Manifest) -> Result<String, Error> {
    let bytes = serde_json::to_vec(manifest).map_err(|e| Error::json(path, e))?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}

/// A checkpoint whose every byte is as it was written, or what is wrong with it.
fn read(folder: &Path) -> Result<(Manifest, BTreeMap<String, Vec<u8>>), String> {
    let manifest = manifest(folder)?;
    let files = manifest.files.iter().map(|(name, sum)| Ok((name.clone(), checked(folder, name, sum)?)));
    let files = files.collect::<Result<_, String>>()?;
    Ok((manifest, files))
}

fn manifest(folder: &Path) -> Result<Manifest, String> {
    let path = folder.join(MANIFEST);
    let bytes = std::fs::read(&path).map_err(|e| format!("{MANIFEST}: {e}"))?;
    let Sealed { manifest, blake3 } =
        serde_json::from_slice(&bytes).map_err(|e| format!("{MANIFEST} is damaged: {e}"))?;
    if manifest.format != FORMAT {
        return Err(format!("it has format {}, this build reads {FORMAT}", manifest.format));
    }
    match seal(&path, &manifest) {
        Ok(seal) if seal == blake3 => Ok(manifest),
        _ => Err(format!("{MANIFEST} is damaged: its digest is another")),
    }
}

fn checked(folder: &Path, name: &str, sum: &Sum) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(folder.join(name)).map_err(|e| format!("{name}: {e}"))?;
    if bytes.len() as u64 != sum.bytes {
        return Err(format!("{name} is truncated: it has {} bytes of {}", bytes.len(), sum.bytes));
    }
    if blake3::hash(&bytes).to_hex().as_str() != sum.blake3 {
        return Err(format!("{name} is damaged: its digest is another"));
    }
    Ok(bytes)
}
