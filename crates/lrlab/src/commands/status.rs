//! `lrlab status`: how far a grid is, also from another terminal while it runs.

use std::fmt::Write as _;

use clap::Args;
use lrlab_grid::slurm::{self, Queued};
use lrlab_grid::{ArmStatus, Costs, Estimate, Live, RunState, SearchState, Status};
use lrlab_runs::{Plan, PlannedRun, RunStore};

use super::plan::{read_experiment, resolve, stored_plan};
use super::{say, say_line, search, watch};
use crate::cli::Selection;
use crate::progress::{clock, label};
use crate::{Exit, Registry};

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    selection: Selection,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Look again every second, with curves, until the grid is done or Ctrl-C; once where there is no terminal.
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

/// Of a part of the experiment, where options name one; otherwise of what was planned last.
pub(crate) fn status(args: &StatusArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let store = RunStore::new(&args.selection.out);
    let plan = if args.selection.part.is_whole() {
        stored_plan(&args.selection.experiment, &store)?
    } else {
        let Some(experiment) = read_experiment(&args.selection, registry)? else { return Ok(Exit::BadInput) };
        let Some(plan) = resolve(&experiment, &args.selection, registry)? else { return Ok(Exit::BadInput) };
        plan
    };
    if args.watch {
        return watch::watch(&plan, &store);
    }
    let board = Board::read(&plan, &store)?;
    if args.json {
        say_line(&serde_json::to_string_pretty(&board.json(&plan))?);
    } else {
        say(&board.text(&plan));
    }
    Ok(Exit::Done)
}

/// Everything that is to be seen of a grid at one moment.
pub(crate) struct Board {
    pub(crate) status: Status,
    pub(crate) states: Vec<RunState>,
    /// What is left, taking into account how far running ones are.
    pub(crate) left: Estimate,
    /// Runs of the experiment that are not part of the plan, and how many of them are done.
    further: (usize, usize),
    /// Of a search: how far each arm is.
    search: Option<Vec<ArmStatus>>,
    /// Jobs on Slurm, or why they cannot be asked for.
    jobs: Result<Vec<Queued>, String>,
    /// What there is to say of results and jobs.
    warnings: Vec<String>,
}

impl Board {
    pub(crate) fn read(plan: &Plan, store: &RunStore) -> anyhow::Result<Self> {
        let (status, states) = lrlab_grid::status(store, plan)?;
        let further = lrlab_grid::further(store, plan)?;
        let costs = Costs::measured(store, &plan.runs);
        let standing = slurm::standing(store, &plan.experiment);
        let mut warnings = lrlab_grid::origins(store, &plan.runs)?.warnings();
        warnings.extend(standing.iter().flat_map(|standing| &standing.elsewhere).map(ToString::to_string));
        Ok(Self {
            left: left(plan, &states, &costs, status.running),
            status,
            states,
            further: (further.len(), further.iter().filter(|id| store.is_finished(id)).count()),
            search: SearchState::read(store, plan)?.map(|search| search.status()),
            jobs: standing.map(|standing| standing.queued).map_err(|error| error.to_string()),
            warnings,
        })
    }

    fn json(&self, plan: &Plan) -> serde_json::Value {
        let runs: Vec<_> = plan
            .runs
            .iter()
            .zip(&self.states)
            .map(|(run, state)| serde_json::json!({ "run_id": run.run_id, "cell": run.cell, "state": state }))
            .collect();
        let job = |job: &Queued| serde_json::json!({ "job": job.job, "state": job.state, "name": job.name });
        let jobs = match &self.jobs {
            Ok(jobs) => jobs.iter().map(job).collect::<Vec<_>>().into(),
            Err(error) => serde_json::json!({ "error": error }),
        };
        serde_json::json!({
            "experiment": plan.experiment,
            "status": self.status,
            "left": self.left,
            "further": { "runs": self.further.0, "done": self.further.1 },
            "search": self.search,
            "runs": runs,
            "jobs": jobs,
            "warnings": self.warnings,
        })
    }

    /// Every run with its state, and the sums.
    fn text(&self, plan: &Plan) -> String {
        let mut text = String::new();
        let needed = plan.runs.iter().zip(&self.states).filter(|(_, state)| **state != RunState::Unneeded);
        for (run, state) in needed {
            let _ = writeln!(text, "{}", line(run, state));
        }
        let _ = writeln!(text, "{}", self.sums(plan));
        text
    }

    /// The sums, what is left, and what there is to say.
    pub(crate) fn sums(&self, plan: &Plan) -> String {
        let mut text = format!("{}: {}", plan.experiment, counts(&self.status));
        if let Some(wall) = self.left.wall_s.filter(|_| self.left.runs > 0) {
            let _ = write!(text, ", about {} left", clock(wall));
        }
        for line in search::lines(plan, self.search.as_deref().unwrap_or_default()) {
            let _ = write!(text, "\n{line}");
        }
        if let (runs @ 1.., done) = self.further {
            let _ = write!(
                text,
                "\nnote: besides these, earlier calls planned {runs} further runs ({done} done)"
            );
        }
        match &self.jobs {
            Ok(jobs) if jobs.is_empty() => {}
            Ok(jobs) => {
                let waiting = jobs.iter().filter(|job| job.state == "PENDING").count();
                let _ = write!(text, "\nslurm: {} jobs, {waiting} of them waiting", jobs.len());
            }
            Err(error) => {
                let _ = write!(text, "\nslurm: {error}");
            }
        }
        for warning in &self.warnings {
            let _ = write!(text, "\nnote: {warning}");
        }
        text
    }
}

/// `1f2e3d4c  resnet / … / seed 0  running, 45 %, epoch 3 of 10, loss 0.52, 12 s left (process 7 on host)`.
pub(crate) fn line(run: &PlannedRun, state: &RunState) -> String {
    let state = match state {
        RunState::Done => "done".to_owned(),
        RunState::Running { owner, live, .. } => {
            let live = live.as_ref().map(|live| format!(", {}", far(live))).unwrap_or_default();
            format!("running{live} ({owner})")
        }
        RunState::Failed(failure) => format!("failed, {}: {}", failure.kind, failure.message),
        RunState::Missing => "missing".to_owned(),
        RunState::Damaged { error } => format!("damaged, {error}"),
        RunState::Paused { epochs } => format!("paused after epoch {epochs}"),
        RunState::Pruned { epochs } => format!("pruned after epoch {epochs}"),
        RunState::Unneeded => "not asked for".to_owned(),
    };
    format!("{}  {}  {state}", run.run_id.short(), label(&run.cell))
}

/// `30 runs, 24 done (18 of them pruned), 2 running, 0 failed, 4 missing (3 of them paused)`.
pub(crate) fn counts(status: &Status) -> String {
    let Status { total, done, running, failed, missing, pruned, paused, damaged, .. } = status;
    let of_them = |n: &usize, word| if *n > 0 { format!(" ({n} of them {word})") } else { String::new() };
    let (pruned, paused, damaged) =
        (of_them(pruned, "pruned"), of_them(paused, "paused"), of_them(damaged, "damaged"));
    format!(
        "{total} runs, {done} done{pruned}, {running} running, {failed} failed, {missing} missing{paused}{damaged}"
    )
}

/// How far an attempt is.
pub(crate) fn far(live: &Live) -> String {
    let mut text = format!("{:.0} %, epoch {} of {}", live.share() * 100.0, live.epoch + 1, live.epochs);
    if let Some(loss) = live.loss {
        let _ = write!(text, ", loss {loss:.4}");
    }
    if let Some(left) = live.left_s() {
        let _ = write!(text, ", {} left", clock(left));
    }
    text
}

/// What is left: of running ones what they have not made yet, by their own pace where nothing else is known.
fn left(plan: &Plan, states: &[RunState], costs: &Costs, running: usize) -> Estimate {
    let open = plan.runs.iter().zip(states);
    let open = open
        .filter(|(_, state)| !matches!(state, RunState::Done | RunState::Pruned { .. } | RunState::Unneeded));
    let seconds = open.map(|(run, state)| match state {
        RunState::Running { live: Some(live), .. } => {
            live.left_s().or_else(|| costs.seconds(run).map(|all| all * (1.0 - live.share())))
        }
        _ => costs.seconds(run),
    });
    costs.sum(seconds, running)
}
