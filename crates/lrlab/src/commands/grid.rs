//! The context that the steps of `lrlab run` and `lrlab verify` share.

use candle_core::Device;
use lrlab_grid::{Beginning, Role, SearchState};
use lrlab_options::Machine;
use lrlab_runs::{Plan, PlannedRun, RunStore};

use crate::{Exit, Registry};

/// A resolved plan, the store of its runs, and the options of workers.
#[derive(Clone, Copy)]
pub(crate) struct Grid<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) store: &'a RunStore,
    pub(crate) registry: &'a Registry,
    pub(crate) machine: &'a Machine,
    /// The device of this process; the CPU if the runs train on the nodes of a cluster.
    pub(crate) device: &'a Device,
    /// Whether the runs train on the device of this process.
    pub(crate) trains_here: bool,
    /// The plan of the report: `plan`, or the stored plan that contains its run.
    pub(crate) reported: &'a Plan,
}

impl<'a> Grid<'a> {
    /// Returns the runs that are to be trained: those that are not finished, without the trials that a search does not need
    /// and those that it eliminated.
    pub(crate) fn missing(&self) -> anyhow::Result<Vec<&'a PlannedRun>> {
        let roles = SearchState::read(self.store, self.plan)?.map(|search| search.roles());
        let open = |index: usize| roles.as_ref().is_none_or(|roles| roles[index] == Role::Open);
        let missing =
            |(index, run): &(usize, &PlannedRun)| open(*index) && !self.store.is_finished(&run.run_id);
        Ok(self.plan.runs.iter().enumerate().filter(missing).map(|(_, run)| run).collect())
    }

    /// Returns for each of `runs` the shorter one that it continues, unless all are trained from scratch.
    pub(crate) fn beginnings(&self, runs: &[PlannedRun]) -> anyhow::Result<Vec<Option<Beginning>>> {
        if self.machine.from_scratch {
            Ok(vec![None; runs.len()])
        } else {
            beginnings(self.plan, self.store, runs, self.registry)
        }
    }
}

/// Returns for each of `runs` the shorter one that it continues. Trials of a search start from scratch, because they may
/// end at any stage.
pub(crate) fn beginnings(
    plan: &Plan,
    store: &RunStore,
    runs: &[PlannedRun],
    registry: &Registry,
) -> anyhow::Result<Vec<Option<Beginning>>> {
    if plan.search.is_some() {
        return Ok(vec![None; runs.len()]);
    }
    Ok(lrlab_grid::beginnings(store, runs, &|run| registry.spec(run).ok())?)
}

/// The outcome of executing a grid.
pub(crate) enum Execution {
    /// The runs ended. The caller writes the report, prints this summary and exits with this code.
    Ended { summary: String, exit: Exit },
    /// The grid continues without this process, or stopped with an error. The caller writes no report.
    Left(Exit),
}
