//! `lrlab status`: how far a grid is, also from another terminal while it runs.

use clap::Args;
use lrlab_runs::RunStore;

use super::plan::{show, stored_plan};
use super::say_line;
use crate::Exit;
use crate::cli::Selection;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    selection: Selection,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn status(args: &StatusArgs) -> anyhow::Result<Exit> {
    let store = RunStore::new(&args.selection.out);
    let plan = stored_plan(&args.selection, &store)?;
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
