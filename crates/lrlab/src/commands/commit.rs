//! Commits the files of a finished run: the first attempt with a result wins.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::Context;
use candle_core::Tensor;
use lrlab_runs::{RunResult, RunStore, link_exclusive, write_atomic};

/// A file name, and tensors by name.
pub(crate) type Weights<'a> = (String, &'a BTreeMap<String, Tensor>);

/// The metadata of files of weights.
pub(crate) type Metadata = HashMap<String, String>;

/// Commits the weights and then the result, which marks the run as done. Weights without a result belong to an attempt
/// that did not finish, perhaps of another build, and are replaced, because the weights beside a result belong to its
/// attempt. If another attempt's result exists, its weights stay and ours are compared with them: files that differ
/// stay in our attempt's folder, and the differences are recorded there and reported.
pub(crate) fn commit(
    store: &RunStore,
    result: &RunResult,
    (weights, metadata): (&[Weights<'_>], &Metadata),
    attempt: &Path,
) -> anyhow::Result<Vec<String>> {
    let run_dir = store.run_dir(&result.run_id);
    let (mut same, mut different) = (Vec::new(), Vec::new());
    for (name, tensors) in weights {
        let (ours, theirs) = (attempt.join(name), run_dir.join(name));
        write(tensors, metadata, &ours)?;
        let equal = link_exclusive(&ours, &theirs)? || std::fs::read(&ours)? == std::fs::read(&theirs)?;
        if equal { same.push(name.as_str()) } else { different.push(name.as_str()) }
    }
    let notes = if store.commit(result)? {
        replace(&run_dir, attempt, weights, &different)?
    } else {
        compare(store, result, attempt, &different)?
    };
    for name in same {
        let ours = attempt.join(name);
        std::fs::remove_file(&ours).with_context(|| ours.display().to_string())?;
    }
    Ok(notes)
}

/// Replaces differing weights and removes those of other attempts, because the result in `run_dir` is ours.
fn replace(
    run_dir: &Path,
    attempt: &Path,
    weights: &[Weights<'_>],
    different: &[&str],
) -> anyhow::Result<Vec<String>> {
    let mut replaced = Vec::new();
    for name in different {
        let theirs = run_dir.join(name);
        std::fs::rename(attempt.join(name), &theirs).with_context(|| theirs.display().to_string())?;
        replaced.push(theirs);
    }
    for entry in std::fs::read_dir(run_dir).with_context(|| run_dir.display().to_string())? {
        let path = entry.with_context(|| run_dir.display().to_string())?.path();
        let ours = weights.iter().any(|(name, _)| path.file_name().is_some_and(|file| file == name.as_str()));
        if !ours && path.extension().is_some_and(|kind| kind == "safetensors") {
            std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
            replaced.push(path);
        }
    }
    let note = |path: &PathBuf| {
        format!(
            "{}: left by an attempt without a result; replaced by the weights of this attempt",
            path.display()
        )
    };
    Ok(replaced.iter().map(note).collect())
}

/// Records how our attempt differs from the one that committed its result first.
fn compare(
    store: &RunStore,
    result: &RunResult,
    attempt: &Path,
    different: &[&str],
) -> anyhow::Result<Vec<String>> {
    let mut differences: Vec<_> =
        different.iter().map(|name| serde_json::json!({ "file": name, "difference": null })).collect();
    let mut places = different.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    if let Some(difference) = store.result(&result.run_id)?.and_then(|first| first.difference(result)) {
        write_json(&attempt.join("result.json"), result)?;
        places.push(format!("result.json, first at {}", difference.place));
        differences.push(serde_json::json!({ "file": "result.json", "difference": difference }));
    }
    if differences.is_empty() {
        return Ok(Vec::new());
    }
    let path = attempt.join("nondeterminism.json");
    write_json(&path, &serde_json::json!({ "differences": differences }))?;
    Ok(vec![format!(
        "not deterministic: the result of this attempt differs from the committed one in {}; see {}",
        places.join("; "),
        path.display()
    )])
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(write_atomic(path, &text)?)
}

fn write(weights: &BTreeMap<String, Tensor>, metadata: &Metadata, path: &Path) -> anyhow::Result<()> {
    // The library makes files that only their owner can read, so the permissions are those of other new files.
    let write = || -> anyhow::Result<()> {
        let permissions = std::fs::File::create(path)?.metadata()?.permissions();
        safetensors::serialize_to_file(weights, Some(metadata.clone()), path)?;
        std::fs::set_permissions(path, permissions)?;
        Ok(std::fs::File::open(path)?.sync_all()?)
    };
    let written = write();
    if written.is_err() {
        // A partial file is useless; the first error is reported.
        let _ = std::fs::remove_file(path);
    }
    written.with_context(|| path.display().to_string())
}
