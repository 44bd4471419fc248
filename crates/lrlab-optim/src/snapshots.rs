//! Snapshots by tag, in memory or as files in a folder, and checkpoints that contain all snapshots.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::{Device, Error, Result, Tensor, bail};

/// Tensors by name.
pub(crate) type Tensors = BTreeMap<String, Tensor>;

const EXTENSION: &str = "safetensors";
const PREFIX: &str = "checkpoint-";
/// The state of the run within a checkpoint. The other files are snapshots.
const RUN: &str = "run";
/// The metadata of a snapshot, by which it is told from other files of its folder.
const KIND: (&str, &str) = ("lrlab", "snapshot");
/// Longer headers are not read.
const LONGEST_HEADER: u64 = 100 << 20;

/// The storage of snapshots.
pub(crate) enum SnapshotStore {
    Memory(BTreeMap<String, Tensors>),
    /// `TAG.safetensors` for each tag, and `checkpoint-UPDATE/` for the last checkpoint.
    Folder(PathBuf),
}

impl SnapshotStore {
    pub(crate) fn save(&mut self, tag: &str, tensors: Tensors) -> Result<()> {
        match self {
            Self::Memory(all) => {
                all.insert(tag.to_owned(), tensors);
                Ok(())
            }
            Self::Folder(folder) => write(&file(folder, tag), &tensors),
        }
    }

    pub(crate) fn get(&self, tag: &str) -> Result<Tensors> {
        match self {
            Self::Memory(all) => match all.get(tag) {
                Some(tensors) => Ok(tensors.clone()),
                None => bail!("there is no snapshot {tag:?}; the snapshots are {:?}", all.keys()),
            },
            Self::Folder(folder) => read(&file(folder, tag)),
        }
    }

    pub(crate) fn discard(&mut self, tag: &str) -> Result<()> {
        match self {
            Self::Memory(all) => {
                all.remove(tag);
                Ok(())
            }
            Self::Folder(folder) => remove(&file(folder, tag)),
        }
    }

    /// Writes a checkpoint: the state of the run after `update` updates, `session`, and hard links to all snapshots, which
    /// survive the replacement of a snapshot. Earlier checkpoints are removed when it is complete.
    pub(crate) fn checkpoint(&self, update: Option<u64>, run: &Tensors, session: &[u8]) -> Result<()> {
        let Self::Folder(folder) = self else {
            bail!("snapshots are in memory; call `VarMapHost::in_folder` to store checkpoints")
        };
        let Some(update) = update else {
            bail!("the state of the session does not contain the number of updates")
        };
        let checkpoint = folder.join(format!("{PREFIX}{update:010}"));
        let new = folder.join("checkpoint.new");
        clear(&new)?;
        fs::create_dir_all(&new).map_err(|e| failed(&new, &e))?;
        for tag in tags(folder)? {
            lrlab_runs::link_exclusive(&file(folder, &tag), &new.join(format!("at-{tag}.{EXTENSION}")))
                .map_err(Error::wrap)?;
        }
        write(&file(&new, RUN), run)?;
        lrlab_runs::write_atomic(&new.join("session.json"), session).map_err(Error::wrap)?;
        clear(&checkpoint)?;
        fs::rename(&new, &checkpoint).map_err(|e| failed(&checkpoint, &e))?;
        checkpoints(folder)?.iter().filter(|other| **other != checkpoint).try_for_each(|other| clear(other))
    }

    /// Returns the state of the run and the session of the newest checkpoint, and restores the snapshots of the checkpoint.
    pub(crate) fn resume(&self) -> Result<Option<(Tensors, Vec<u8>)>> {
        let Self::Folder(folder) = self else { return Ok(None) };
        let Some(checkpoint) = checkpoints(folder)?.pop() else { return Ok(None) };
        tags(folder)?.iter().try_for_each(|tag| remove(&file(folder, tag)))?;
        for tag in names(&checkpoint)?.iter().filter_map(|tag| tag.strip_prefix("at-")) {
            let (from, to) = (checkpoint.join(format!("at-{tag}.{EXTENSION}")), file(folder, tag));
            // Earlier versions wrote snapshots without metadata.
            if !is_snapshot(&from) {
                remove(&to)?;
            }
            if !lrlab_runs::link_exclusive(&from, &to).map_err(Error::wrap)? {
                bail!(
                    "{}: is not a snapshot, but the checkpoint has one of this name; move it away",
                    to.display()
                );
            }
        }
        let session = checkpoint.join("session.json");
        Ok(Some((read(&file(&checkpoint, RUN))?, fs::read(&session).map_err(|e| failed(&session, &e))?)))
    }
}

fn file(folder: &Path, tag: &str) -> PathBuf {
    folder.join(format!("{tag}.{EXTENSION}"))
}

/// Returns the sorted tags of the snapshots in a folder. Other files are not listed.
fn tags(folder: &Path) -> Result<Vec<String>> {
    Ok(names(folder)?.into_iter().filter(|tag| is_snapshot(&file(folder, tag))).collect())
}

/// Returns the sorted names of the files of tensors in a folder, without the extension.
fn names(folder: &Path) -> Result<Vec<String>> {
    let name = |path: PathBuf| {
        let named = path.is_file() && path.extension().is_some_and(|extension| extension == EXTENSION);
        Some(path.file_stem().filter(|_| named)?.to_str()?.to_owned())
    };
    Ok(entries(folder)?.into_iter().filter_map(name).collect())
}

/// Returns whether the header of a file has the metadata of a snapshot.
fn is_snapshot(path: &Path) -> bool {
    let header = || -> std::io::Result<serde_json::Value> {
        let (mut file, mut length) = (fs::File::open(path)?, [0; 8]);
        file.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length).min(LONGEST_HEADER);
        Ok(serde_json::from_reader(std::io::BufReader::new(file.take(length)))?)
    };
    header().is_ok_and(|header| header["__metadata__"][KIND.0] == KIND.1)
}

/// Returns the complete checkpoints in a folder, the newest last.
fn checkpoints(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_checkpoint =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    Ok(entries(folder)?.into_iter().filter(is_checkpoint).collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).and_then(|all| all.map(|entry| Ok(entry?.path())).collect());
    let mut entries: Vec<PathBuf> = entries.map_err(|e| failed(folder, &e))?;
    entries.sort();
    Ok(entries)
}

fn write(path: &Path, tensors: &Tensors) -> Result<()> {
    let kind = [KIND].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let bytes = safetensors::serialize(tensors, Some(kind)).map_err(Error::wrap)?;
    lrlab_runs::write_atomic(path, &bytes).map_err(Error::wrap)
}

fn read(path: &Path) -> Result<Tensors> {
    let bytes = fs::read(path).map_err(|e| failed(path, &e))?;
    Ok(candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)?.into_iter().collect())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed(path, &e)),
        _ => Ok(()),
    }
}

fn clear(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed(folder, &e)),
        _ => Ok(()),
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::Msg(format!("{}: {error}", path.display()))
}
