//! A copy of the runner in the store, named after its content: later builds do not change queued runs.

use std::path::{Path, PathBuf};

use lrlab_runs::{RunStore, write_atomic};

use crate::replace::replace;
use crate::{Error, to_json};

/// Returns the identity of a build: the first 16 hexadecimal digits of the BLAKE3 hash of its program.
///
/// # Errors
/// Returns an error if the program cannot be read.
pub fn build_id(program: &Path) -> Result<String, Error> {
    let mut hasher = blake3::Hasher::new();
    let file = std::fs::File::open(program).map_err(|e| Error::io(program, e))?;
    hasher.update_reader(file).map_err(|e| Error::io(program, e))?;
    Ok(hasher.finalize().to_hex()[..16].to_owned())
}

/// Copies `program` to `DIR/bin/<build>/lrlab` unless it exists, and writes `about` to `build.json` beside it. Returns
/// the absolute path.
///
/// # Errors
/// Returns an error if reading or writing fails.
pub fn freeze(
    store: &RunStore,
    program: &Path,
    build: &str,
    about: &serde_json::Value,
) -> Result<PathBuf, Error> {
    let folder = store.bin_dir().join(build);
    let folder = std::path::absolute(&folder).map_err(|e| Error::io(&folder, e))?;
    let path = folder.join(format!("lrlab{}", std::env::consts::EXE_SUFFIX));
    if path.is_file() {
        // `gc` keeps recently used programs.
        crate::clock::touch(&folder.join("build.json")).map_err(|e| Error::io(&folder, e))?;
    } else {
        let description = folder.join("build.json");
        write_atomic(&description, &to_json(&description, about)?)?;
        let copy = |temporary: &Path| {
            std::fs::copy(program, temporary)?;
            executable(temporary)
        };
        replace(&path, copy).map_err(|e| Error::io(&path, e))?;
    }
    Ok(path)
}

fn executable(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    std::fs::File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_program_is_an_unchanged_copy() {
        let folder = tempfile::tempdir().unwrap();
        let (store, program) = (RunStore::new(folder.path()), folder.path().join("program"));
        std::fs::write(&program, "one").unwrap();
        let build = build_id(&program).unwrap();
        let frozen = freeze(&store, &program, &build, &serde_json::json!({ "commit": "c" })).unwrap();
        std::fs::write(&program, "two").unwrap();
        assert_eq!(freeze(&store, &program, &build, &serde_json::Value::Null).unwrap(), frozen);
        assert_eq!((build_id(&frozen).unwrap(), std::fs::read(&frozen).unwrap()), (build, b"one".to_vec()));
        assert_ne!(build_id(&program).unwrap(), build_id(&frozen).unwrap());
    }
}
