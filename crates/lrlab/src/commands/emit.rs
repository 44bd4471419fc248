//! `lrlab run --emit commands`: prints a command for each run.

use std::path::Path;

use lrlab_grid::SearchState;
use lrlab_options::Machine;
use lrlab_runs::PlannedRun;
use serde_json::Value as Json;

use super::grid::Grid;
use super::{print_line, search};
use crate::device;
use crate::program::program;
use crate::progress::eprint_line;
use crate::provenance;

/// Prints a command for each run that is not done; for a search, for each run of its current stage.
pub(crate) fn print_commands(grid: &Grid<'_>) -> anyhow::Result<()> {
    let Grid { plan, store, machine, .. } = grid;
    let frozen = provenance::freeze(store)?.display().to_string();
    let out = std::path::absolute(store.root())?.display().to_string();
    let folder = std::env::current_dir()?.display().to_string();
    // The commands of one grid train on one kind of device, wherever they are executed.
    let machine = Machine { device: device::choice(grid.device), ..**machine };
    let class = provenance::numerics(grid.device);
    let print = |run: &PlannedRun, until: Option<u64>| {
        let mut words: Vec<String> =
            [&frozen, "grid-run", "--run", run.run_id.as_str(), "--out", &out].map(str::to_owned).into();
        if has_relative_data(run) {
            words.push(format!("--folder={folder}"));
        }
        words.extend(until.map(|epochs| format!("--until-epoch={epochs}")));
        words.push(format!("--numerics={class}"));
        words.extend(machine.arguments());
        // Quoting fails only on NUL, which paths cannot contain.
        print_line(&shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default());
    };
    let Some(search) = SearchState::read(store, plan)? else {
        grid.missing()?.into_iter().for_each(|run| print(run, None));
        let longer = grid.beginnings(&plan.runs)?.iter().flatten().count();
        if longer > 0 {
            eprint_line(&format!(
                "note: each command trains its run from the first update; `{} run` continues shorter runs in {longer} of \
                 them",
                program()
            ));
        }
        return Ok(());
    };
    search.prune(store, plan, machine.keep.checkpoints())?;
    let due = search.due();
    for due in &due {
        let run = &plan.runs[due.run];
        print(run, search::until(run, due.until));
    }
    eprint_line(&if due.is_empty() {
        format!("{}: the search is complete; `{} report` shows its result", plan.experiment, program())
    } else {
        format!(
            "{}: {}. Their results decide which trials are promoted. When all are done, repeat this command to print \
            those of the next stage; it prints none when the search is complete",
            plan.experiment,
            search::describe_due(&due)
        )
    });
    Ok(())
}

/// Whether the data of a run are in a folder whose path depends on the working directory.
fn has_relative_data(run: &PlannedRun) -> bool {
    let source = run.spec.pointer("/data/source").and_then(Json::as_object);
    let mut folders =
        source.into_iter().flat_map(|source| source.values()).filter_map(|it| it.get("folder")?.as_str());
    folders.any(|folder| Path::new(folder).is_relative())
}
