//! `lrlab tensorboard`: writes the finished runs of a grid as a log folder for TensorBoard.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context;
use lrlab_callbacks::{TensorBoardRun, write_tensorboard_experiment};
use lrlab_grid::RunState;
use lrlab_options::TensorBoardArgs;
use lrlab_runs::{Cell, Evaluation, Outcome, PlannedRun, RunResult};
use serde_json::Value;

use super::print_line;
use super::resolve::read_trained_plan;
use super::results::finished;
use crate::progress::{counted, eprint_line, label};
use crate::{Exit, Registry};

/// The metrics in the HParams tab.
const COMPARED: [&str; 7] = [
    "best/val_accuracy",
    "best/val_f1",
    "best/test_accuracy",
    "best/test_f1",
    "final/val_accuracy",
    "final/val_loss",
    "final/train_eval_accuracy",
];

/// Lays out one folder per finished run, named after its cell, and prints the command that opens them.
pub(crate) fn tensorboard(args: &TensorBoardArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let (plan, store) = read_trained_plan(&args.selection, &args.on_record, registry)?;
    let done = finished(&plan, &store);
    let parent = store.experiment_dir(&plan.experiment);
    let folder = parent.join("tensorboard");
    if done.is_empty() {
        anyhow::bail!("{}: no run is done yet", plan.experiment);
    }
    std::fs::create_dir_all(&parent).with_context(|| parent.display().to_string())?;
    let staged = tempfile::Builder::new().prefix(".tensorboard-").suffix(".tmp").tempdir_in(&parent)?;
    lay_out(&done, staged.path())?;
    replace(staged, &folder).with_context(|| folder.display().to_string())?;

    // A search does not need all seeds of all trials.
    let (_, states) = lrlab_grid::status(&store, &plan)?;
    let needed = states.iter().filter(|state| **state != RunState::Unneeded).count();
    let left = needed.saturating_sub(done.len());
    if left > 0 {
        eprint_line(&format!("note: {} not done and not exported", counted(left, "run")));
    }
    print_line(&format!("{}: {}", folder.display(), counted(done.len(), "run")));
    let path = folder.display().to_string();
    let path = shlex::try_quote(&path).map_or_else(|_| path.clone(), std::borrow::Cow::into_owned);
    print_line(&format!("tensorboard --logdir {path}"));
    Ok(Exit::Done)
}

/// Replaces an earlier folder.
fn replace(staged: tempfile::TempDir, folder: &Path) -> std::io::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::rename(staged.keep(), folder)
}

fn lay_out(done: &[(&PlannedRun, RunResult)], root: &Path) -> anyhow::Result<()> {
    let names = names(done);
    let mut hparams: BTreeMap<String, Value> = BTreeMap::new();
    let mut tags = BTreeSet::new();
    for ((run, result), name) in done.iter().zip(&names) {
        let (mine, figures) = (hyperparameters(run), figures(result));
        TensorBoardRun {
            hparams: &mine,
            history: &result.history,
            updates_per_epoch: result.updates.map_or(1, |updates| updates.per_epoch),
            figures: &figures,
            success: result.outcome != Outcome::Diverged,
            clock: (result.timing.started, result.timing.finished),
        }
        .write(&root.join(name))?;
        hparams.extend(mine);
        tags.extend(figures.into_iter().map(|(tag, _)| tag));
    }
    let hparams: Vec<_> = hparams.into_iter().collect();
    let compared: Vec<_> =
        COMPARED.iter().filter(|tag| tags.contains(**tag)).map(|tag| (*tag).to_owned()).collect();
    Ok(write_tensorboard_experiment(root, &hparams, &compared)?)
}

/// Returns a folder name for each run: its cell, followed by its id if the name is not unique.
fn names(done: &[(&PlannedRun, RunResult)]) -> Vec<String> {
    let names: Vec<String> = done.iter().map(|(run, _)| folder_name(&run.cell)).collect();
    let shared = |name: &String| names.iter().filter(|other| *other == name).count() > 1;
    let named = |(name, (run, _)): (&String, &(&PlannedRun, RunResult))| {
        if shared(name) { format!("{name}-{}", run.run_id.short()) } else { name.clone() }
    };
    names.iter().zip(done).map(named).collect()
}

/// `resnet-cosine-on-12_epochs-seed_0`: the cell's label as a portable file name.
fn folder_name(cell: &Cell) -> String {
    let plain = |part: &str| -> String {
        let kept = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '_') { c } else { '_' };
        part.chars().map(kept).collect()
    };
    let name = label(cell).split(" / ").map(plain).collect::<Vec<_>>().join("-");
    name.chars().take(120).collect()
}

/// The run's coordinates in the grid, and the scalar and text values of its specification.
fn hyperparameters(run: &PlannedRun) -> Vec<(String, Value)> {
    let plain = |value: &Value| matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_));
    let spec = run.spec.as_object().into_iter().flatten().filter(|(_, value)| plain(value));
    let mut all: BTreeMap<String, Value> = spec.map(|(name, value)| (name.clone(), value.clone())).collect();
    all.extend(run.cell.iter().map(|(axis, value)| (axis.clone(), value.clone())));
    all.into_iter().collect()
}

/// All metrics of the final and of the selected weights, as `final/val_loss` and `best/test_accuracy`.
fn figures(result: &RunResult) -> Vec<(String, f64)> {
    let of = |word: &str, evaluation: &Evaluation| -> Vec<(String, f64)> {
        let value = serde_json::to_value(evaluation).unwrap_or_default();
        let numbers = value.as_object().into_iter().flatten();
        numbers.filter_map(|(key, value)| Some((format!("{word}/{key}"), value.as_f64()?))).collect()
    };
    [of("final", &result.last), of("best", &result.best)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn folders_are_named_after_cells() {
        let check = |cell: Value, expected: &str| {
            assert_eq!(folder_name(&serde_json::from_value(cell).unwrap()), expected);
        };
        check(
            json!({ "model": "resnet", "schedule": "cosine", "monitor": "on", "epochs": 12, "seed": 0, "lr": 0.1 }),
            "resnet-cosine-on-12_epochs-seed_0-lr_0.1",
        );
        check(json!({ "model": "../x", "epochs": 1, "seed": 1 }), ".._x-_-_-1_epoch-seed_1");
    }
}
