//! What a finished run leaves under its own names: the first attempt to get there wins.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::Context;
use candle_core::Tensor;
use lrlab_runs::{Difference, RunResult, RunStore, link_exclusive, write_atomic};

/// A file's name, and tensors by theirs.
pub(crate) type Weights<'a> = (String, &'a BTreeMap<String, Tensor>);

/// Commits weights, then the result, whose presence means that the run is done. Where another attempt was first, theirs
/// stay, and ours are compared with them: what differs is filed in our attempt's folder, and told.
pub(crate) fn commit(
    store: &RunStore,
    result: &RunResult,
    weights: &[Weights<'_>],
    attempt: &Path,
) -> anyhow::Result<Vec<String>> {
    let run_dir = store.run_dir(&result.run_id);
    let mut notes = Vec::new();
    for (name, tensors) in weights {
        let (ours, theirs) = (attempt.join(name), run_dir.join(name));
        write(tensors, &ours)?;
        if !link_exclusive(&ours, &theirs)? && std::fs::read(&ours)? != std::fs::read(&theirs)? {
            notes.push(differs(attempt, &ours, &theirs, None)?);
        } else {
            std::fs::remove_file(&ours).with_context(|| ours.display().to_string())?;
        }
    }
    if !store.commit(result)?
        && let Some(first) = store.result(&result.run_id)?
        && let Some(difference) = first.difference(result)
    {
        let (ours, theirs) = (attempt.join("result.json"), run_dir.join("result.json"));
        let mut text = serde_json::to_vec_pretty(result)?;
        text.push(b'\n');
        write_atomic(&ours, &text)?;
        notes.push(differs(attempt, &ours, &theirs, Some(difference))?);
    }
    Ok(notes)
}

/// Files that two attempts at one run did not give the same.
fn differs(
    attempt: &Path,
    ours: &Path,
    theirs: &Path,
    difference: Option<Difference>,
) -> anyhow::Result<String> {
    let path = attempt.join("nondeterminism.json");
    let record = serde_json::json!({ "ours": ours, "theirs": theirs, "difference": difference });
    let mut text = serde_json::to_vec_pretty(&record)?;
    text.push(b'\n');
    write_atomic(&path, &text)?;
    let place = difference.map_or_else(String::new, |d| format!(", first at {}", d.place));
    Ok(format!(
        "not deterministic: {} differs from {}, which another attempt committed before{place}; see {}",
        ours.display(),
        theirs.display(),
        path.display()
    ))
}

fn write(weights: &BTreeMap<String, Tensor>, path: &Path) -> anyhow::Result<()> {
    let tensors: HashMap<_, _> = weights.clone().into_iter().collect();
    let written = candle_core::safetensors::save(&tensors, path)
        .map_err(anyhow::Error::from)
        .and_then(|()| Ok(std::fs::File::open(path)?.sync_all()?));
    if written.is_err() {
        // What is half written helps nobody; the error to tell is the first one.
        let _ = std::fs::remove_file(path);
    }
    written.with_context(|| path.display().to_string())
}
