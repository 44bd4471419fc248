//! `lrlab status`: how far a grid is, also from another terminal while it runs.

use std::path::PathBuf;

use clap::Args;
use lrlab_runs::RunStore;

use super::plan::{show, stored_plan};
use super::say_line;
use crate::Exit;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The experiment file.
    #[arg(default_value = "experiments/quickstart.toml")]
    experiment: PathBuf,
    /// The store.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn status(args: &StatusArgs) -> anyhow::Result<Exit> {
    let store = RunStore::new(&args.out);
    let plan = stored_plan(&args.experiment, &store)?;
    if !args.json {
        show(&plan, &store)?;
        return Ok(Exit::Done);
    }
    let (status, states) = lrlab_grid::status(&store, &plan)?;
    let runs: Vec<_> = plan
        .runs
        .iter()
        .zip(states)
        .map(|(run, state)| serde_json::json!({ "run_id": run.run_id, "cell": run.cell, "state": state }))
        .collect();
    let all = serde_json::json!({ "experiment": plan.experiment, "status": status, "runs": runs });
    say_line(&serde_json::to_string_pretty(&all)?);
    Ok(Exit::Done)
}
