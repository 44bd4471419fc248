//! `lrlab status`: the progress of a grid, also from another terminal while it runs.

use anyhow::bail;
use lrlab_options::StatusArgs;
use lrlab_runs::{Plan, RunStore};

use super::dashboard::{Dashboard, reused_epochs};
use super::experiment_file::experiment_name;
use super::on_record;
use super::resolve::read_trained_plan;
use super::stored::{changes, stored_plan};
use super::{print, print_line, watch};
use crate::program::program;
use crate::progress::eprint_line;
use crate::{Exit, Registry};

/// Shows the selected part of the experiment, or else the last plan.
pub(crate) fn status(args: &StatusArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let store = RunStore::new(&args.selection.out);
    let file = &args.selection.experiment;
    let is_whole = args.selection.part.is_whole();
    let planned = match stored_plan(file, &store) {
        Ok(planned) => planned.filter(|_| is_whole),
        // The runs of the file are shown.
        Err(error) if matches!(error.downcast_ref(), Some(lrlab_runs::Error::Json { .. })) => None,
        Err(error) => return Err(error),
    };
    let (plan, store) = match planned {
        Some(plan) => {
            if let Some(options) = options_of(&plan) {
                eprint_line(&format!(
                    "note: these are the runs of the last call, with `{options}`; `{} plan {}` lists those of the file",
                    program(),
                    file.display()
                ));
            }
            if let Some(changes) = changes(file, &plan, registry) {
                eprint_line(&format!("note: {changes}"));
            }
            let records = on_record::read_for(&args.on_record, file)?;
            let store = on_record::with_store(store, std::slice::from_ref(&plan), records)?;
            (plan, store)
        }
        // A store without a plan has results if they were imported.
        None if is_whole && on_record::has_none(&args.on_record, file)? && store.done()?.is_empty() => bail!(
            "{} contains no plan of {:?}: `{} run {} --out {0}` creates one",
            store.root().display(),
            experiment_name(file)?,
            program(),
            file.display()
        ),
        None => read_trained_plan(&args.selection, &args.on_record, registry)?,
    };
    let reused = reused_epochs(&plan, &store, registry)?;
    if args.watch {
        return watch::watch(&plan, &store, &reused);
    }
    let board = Dashboard::read(&plan, &store, &reused)?;
    if args.json {
        print_line(&serde_json::to_string_pretty(&board.json(&plan))?);
    } else {
        print(&board.text(&plan, &store));
    }
    Ok(Exit::Done)
}

/// Returns the options by which the runs of a plan differ from those of its file; `None` without such options.
fn options_of(plan: &Plan) -> Option<String> {
    let set = plan.call.iter().flat_map(|call| &call.set).map(|set| format!("--set {set}"));
    let options: Vec<String> = set.chain(plan.part.clone()).collect();
    (!options.is_empty()).then(|| options.join(" "))
}
