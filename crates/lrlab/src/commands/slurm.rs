//! Executes a grid on Slurm: submits missing runs, waits for them and writes the report.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use lrlab_grid::slurm::{self, Settings, Submission, SubmitMode, SubmitOutcome};
use lrlab_grid::{Interrupt, RunState, SearchState, Status};
use lrlab_options::{Keep, Machine};
use lrlab_runs::{Plan, RunId, RunStore};
use lrlab_spec::SlurmProfile;

use super::grid::{Execution, Grid};
use super::{print_line, report};
use crate::program::program;
use crate::progress::{counted, eprint_line, report_error, report_mistakes};
use crate::{Exit, provenance};

/// The number of consecutive submissions without progress after which nothing is resubmitted.
const MAX_FRUITLESS: u32 = 2;
/// The interval between two checks of the runs' files.
const POLL: Duration = Duration::from_secs(2);
/// The maximum interval between two queries of Slurm; the first ones are shorter.
const MAX_QUERY_INTERVAL: Duration = Duration::from_secs(30);

/// Reads a profile for the runs of `plan` and reports its warnings. The error contains all its mistakes.
pub(crate) fn read_profile(path: &std::path::Path, plan: &Plan) -> anyhow::Result<SlurmProfile> {
    let text = super::experiment_file::read_text(path)?;
    let runs: Vec<_> = plan.runs.iter().map(|run| (&run.cell, &*run.spec)).collect();
    let profile = SlurmProfile::read(&text, &path.display().to_string(), &runs)?;
    if !profile.warnings.is_empty() {
        report_mistakes(&profile.warnings);
    }
    Ok(profile)
}

/// Makes the settings of a submission of this program.
pub(crate) fn settings(
    store: &RunStore,
    profile: SlurmProfile,
    machine: &Machine,
    fail_fast: bool,
) -> anyhow::Result<Settings> {
    let build = provenance::own_build().context("this program cannot be read")?;
    let out = std::path::absolute(store.root())?;
    let program =
        RunStore::new(&out).bin_dir().join(build).join(format!("lrlab{}", std::env::consts::EXE_SUFFIX));
    Ok(Settings {
        program,
        out,
        device: machine.device.to_string(),
        keep: machine.keep.to_string(),
        checkpoint_every: machine.checkpoint_every.to_string(),
        threads: machine.threads.map(NonZeroUsize::get),
        from_scratch: machine.from_scratch,
        fail_fast,
        env: env(),
        profile,
        fruitless: 0,
    })
}

/// Returns the machine options that [`settings`] recorded.
pub(crate) fn machine(settings: &Settings) -> anyhow::Result<Machine> {
    let Settings { device, keep, checkpoint_every, threads, from_scratch, .. } = settings;
    Ok(Machine {
        device: device.parse().map_err(anyhow::Error::msg)?,
        keep: keep.parse().map_err(anyhow::Error::msg)?,
        checkpoint_every: checkpoint_every.parse().map_err(anyhow::Error::msg)?,
        threads: threads.and_then(NonZeroUsize::new),
        from_scratch: *from_scratch,
    })
}

/// The environment variables that jobs need; none of them is a secret.
fn env() -> BTreeMap<String, String> {
    let words = [
        "HF_HUB_OFFLINE",
        "HF_ENDPOINT",
        "RUST_LOG",
        "LRLAB_SIMD",
        "LRLAB_KERNELS",
        "LRLAB_CUDA_TF32",
        "LRLAB_DATA_MEMORY",
    ];
    let words = words.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
    let paths = ["HF_HOME", "HF_HUB_CACHE", "HF_XET_CACHE", "HF_TOKEN_PATH"].into_iter().filter_map(|name| {
        let path = std::env::var_os(name).filter(|path| !path.is_empty())?;
        Some((name.to_owned(), std::path::absolute(path).ok()?.display().to_string()))
    });
    words.chain(paths).collect()
}

/// Prints the scripts that would be submitted.
pub(crate) fn show_scripts(grid: &Grid<'_>, settings: &Settings) -> anyhow::Result<()> {
    for (name, text) in slurm::texts(grid.store, grid.plan, settings)? {
        print_line(&format!("# {name}\n{text}"));
    }
    Ok(())
}

/// Writes the scripts into the store and prints them, for someone who submits them by hand.
pub(crate) fn print_scripts(grid: &Grid<'_>, settings: &Settings) -> anyhow::Result<()> {
    provenance::freeze(grid.store)?;
    let outcome = slurm::submit(grid.store, grid.plan, settings, SubmitMode::WriteOnly)?;
    let Some((folder, submission)) = outcome.submitted else {
        eprint_line(if outcome.before.covered.is_empty() {
            "no run is missing"
        } else {
            "queued jobs already cover all missing runs"
        });
        return Ok(());
    };
    let names = submission.arrays.iter().map(|array| format!("{}.sbatch", array.class));
    for name in names.chain(["report.sbatch".to_owned()]) {
        let path = folder.join(&name);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        print_line(&format!("# {}\n{text}", path.display()));
    }
    Ok(())
}

/// Submits the missing runs; with `wait`, stays until the grid is done.
pub(crate) fn execute(grid: &Grid<'_>, settings: &Settings, wait: bool) -> anyhow::Result<Execution> {
    let Grid { plan, store, .. } = grid;
    let interrupt = Interrupt::on_signals()?;
    provenance::freeze(store)?;
    let outcome = match slurm::submit(store, plan, settings, SubmitMode::All) {
        Ok(outcome) => outcome,
        Err(error @ lrlab_grid::Error::Unreachable { .. }) => {
            eprint_line(&format!("{error}; nothing was submitted"));
            return Ok(Execution::Left(Exit::Submitted));
        }
        Err(error) => return Err(error.into()),
    };
    report_submission(plan, &outcome);
    let open = outcome.submitted.is_some() || !outcome.before.covered.is_empty();
    if open && !wait {
        print_line(&format!(
            "{}: the jobs write the report when they end; the same command or `{} status` shows their progress",
            plan.experiment,
            program()
        ));
        return Ok(Execution::Left(Exit::Submitted));
    }
    if open && wait_for_jobs(store, plan, settings, &interrupt)? == WaitEnd::Interrupted {
        print_line(&format!(
            "{}: no longer waiting; the jobs keep running (`scancel` cancels them), and the same command waits again",
            plan.experiment
        ));
        return Ok(Execution::Left(Exit::Interrupted));
    }
    let (summary, exit) = ended(store, plan, grid.machine.keep)?;
    Ok(Execution::Ended { summary, exit })
}

fn report_submission(plan: &Plan, outcome: &SubmitOutcome) {
    let SubmitOutcome { submitted, before } = outcome;
    if !before.queued.is_empty() {
        let (tasks, runs) = (before.queued.len(), before.covered.len());
        print_line(&format!(
            "{}: {} of earlier calls are queued or running, for {}",
            plan.experiment,
            counted(tasks, "job"),
            counted(runs, "run")
        ));
    }
    for moved in &before.moved {
        eprint_line(&format!("warning: {moved}"));
    }
    if let Some((folder, submission)) = submitted {
        for line in lines(submission) {
            print_line(&format!("{}: {line}", plan.experiment));
        }
        print_line(&format!("{}: scripts and logs are in {}", plan.experiment, folder.display()));
    }
}

fn lines(submission: &Submission) -> Vec<String> {
    let job = |job: Option<u64>| job.map_or_else(|| "?".to_owned(), |job| job.to_string());
    let arrays = submission.arrays.iter().map(|array| {
        let (runs, tasks) = (counted(array.runs.len(), "run"), counted(array.tasks as usize, "task"));
        format!("job {} submitted: {runs} of class {} in {tasks}", job(array.job), array.class)
    });
    arrays.chain([format!("job {} writes the report after them", job(submission.report_job))]).collect()
}

/// Why waiting ended.
#[derive(PartialEq)]
enum WaitEnd {
    /// The jobs have nothing left to do.
    Ended,
    /// The user requested a stop.
    Interrupted,
}

/// Waits until every run is done or out of retries, and resubmits lost runs.
fn wait_for_jobs(
    store: &RunStore,
    plan: &Plan,
    settings: &Settings,
    interrupt: &Interrupt,
) -> anyhow::Result<WaitEnd> {
    let (mut last, mut asked, mut pause) = (Status::default(), Instant::now(), POLL);
    loop {
        let (status, _) = lrlab_grid::status(store, plan)?;
        if status != last {
            let Status { total, done, running, failed, missing, .. } = status;
            eprint_line(&format!(
                "{}: {done} of {total} done, {running} running, {failed} failed, {missing} missing",
                plan.experiment
            ));
            last = status;
        }
        if status.done == status.total {
            return Ok(WaitEnd::Ended);
        }
        if asked.elapsed() >= pause {
            (asked, pause) = (Instant::now(), (pause * 2).min(MAX_QUERY_INTERVAL));
            match slurm::submission_status(store, &plan.experiment) {
                Err(error) => eprint_line(&format!("{error}; waiting")),
                Ok(status) if status.covered.is_empty() => match resubmit(store, plan, settings)? {
                    Resubmission::Submitted => pause = POLL,
                    Resubmission::NothingToDo => return Ok(WaitEnd::Ended),
                    Resubmission::Waiting => {}
                },
                Ok(_) => {}
            }
        }
        let checked = Instant::now();
        while checked.elapsed() < POLL {
            if interrupt.requests() > 0 {
                return Ok(WaitEnd::Interrupted);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

enum Resubmission {
    Submitted,
    NothingToDo,
    Waiting,
}

/// Resubmits lost runs that have retries left, if no job covers them and earlier submissions made progress.
fn resubmit(store: &RunStore, plan: &Plan, settings: &Settings) -> anyhow::Result<Resubmission> {
    let (_, states) = lrlab_grid::status(store, plan)?;
    let running = states.iter().any(|state| matches!(state, RunState::Running { .. }));
    if settings.fail_fast && !slurm::given_up(store, plan)?.is_empty() {
        eprint_line("a run failed, so nothing is resubmitted (--fail-fast)");
        return Ok(Resubmission::NothingToDo);
    }
    let fruitless = match slurm::submissions(store, &plan.experiment)?.first() {
        Some((_, newest)) if newest.progressed(store)? => 0,
        Some((_, newest)) => newest.settings.fruitless + 1,
        None => 0,
    };
    if fruitless > MAX_FRUITLESS {
        eprint_line("the last submissions made no progress, so nothing is resubmitted; see their logs");
        return Ok(Resubmission::NothingToDo);
    }
    let settings = Settings { fruitless, ..settings.clone() };
    let outcome = slurm::submit(store, plan, &settings, SubmitMode::NotFailed)?;
    report_submission(plan, &outcome);
    Ok(match outcome.submitted {
        Some(_) => Resubmission::Submitted,
        None if running || !outcome.before.covered.is_empty() => Resubmission::Waiting,
        None => Resubmission::NothingToDo,
    })
}

/// Ends eliminated trials. Returns a summary of the grid and its exit code.
fn ended(store: &RunStore, plan: &Plan, keep: Keep) -> anyhow::Result<(String, Exit)> {
    if let Some(search) = SearchState::read(store, plan)? {
        search.prune(store, plan, keep.checkpoints())?;
    }
    let (status, states) = lrlab_grid::status(store, plan)?;
    let Status { total, done, failed, .. } = status;
    let mut summary = format!("{}: {done} of {total} runs are done, {failed} failed", plan.experiment);
    for (run, state) in plan.runs.iter().zip(&states) {
        if let RunState::Failed(failure) = state {
            let label = crate::progress::label(&run.cell);
            let _ = write!(summary, "\n  {} {label}: {}", run.run_id.short(), failure.message);
        }
    }
    Ok((summary, if done == total { Exit::Done } else { Exit::SomeFailed }))
}

/// The job that runs after the arrays.
#[derive(Debug, Args)]
pub(crate) struct GridReportArgs {
    /// The folder of the submission.
    #[arg(long, value_name = "DIR")]
    submission: PathBuf,
}

/// The number of polls after which runs with unresponsive owners are no longer waited for.
const SILENT_POLLS: u32 = 60;

/// `lrlab grid-report`: writes the report and resubmits lost runs.
pub(crate) fn grid_report(args: &GridReportArgs) -> anyhow::Result<Exit> {
    let submission = Submission::read(&args.submission)?
        .with_context(|| format!("{} contains no submission", args.submission.display()))?;
    let settings = &submission.settings;
    let store = RunStore::new(&settings.out);
    let submitted = Submission::plan(&args.submission)?;
    // A plain grid may have been extended since its submission; a search keeps its submitted plan, and so does a grid of
    // which a later call selected a part, or which it planned with other values.
    let stored = store.plan(&submission.experiment)?;
    let plan = match (submitted, stored) {
        (Some(submitted), Some(stored)) => {
            let ids: BTreeSet<&RunId> = stored.runs.iter().map(|run| &run.run_id).collect();
            let lacks = submitted.runs.iter().any(|run| !ids.contains(&run.run_id));
            let set = |plan: &Plan| plan.call.as_ref().map(|call| call.set.clone());
            let is_other = stored.part.is_some() || set(&stored) != set(&submitted);
            if submitted.search.is_some() || (is_other && lacks) { submitted } else { stored }
        }
        (submitted, stored) => {
            submitted.or(stored).context("the plan of this experiment no longer exists")?
        }
    };
    let keep = machine(settings)?.keep;
    let conclude = || -> anyhow::Result<Exit> {
        let (summary, exit) = ended(&store, &plan, keep)?;
        Ok(report::conclude(&plan, &store, &summary, exit))
    };
    let mut exit = conclude()?;
    for _ in 0..SILENT_POLLS {
        // The arrays have ended: the remaining owners are other executors, or died on another node.
        let (Status { missing, running, .. }, states) = lrlab_grid::status(&store, &plan)?;
        let given_up = slurm::given_up(&store, &plan)?;
        let lost = plan
            .runs
            .iter()
            .zip(&states)
            .any(|(run, state)| matches!(state, RunState::Failed(_)) && !given_up.contains(&run.run_id));
        if missing + running == 0 && !lost {
            break;
        }
        let covered =
            slurm::submission_status(&store, &plan.experiment).map(|status| !status.covered.is_empty());
        match covered.map_err(anyhow::Error::from).and_then(|covered| {
            if covered { Ok(Resubmission::Submitted) } else { resubmit(&store, &plan, settings) }
        }) {
            Ok(Resubmission::Waiting) => std::thread::sleep(POLL),
            Ok(Resubmission::Submitted | Resubmission::NothingToDo) => break,
            Err(error) => {
                report_error(&error);
                break;
            }
        }
        exit = conclude()?;
    }
    Ok(exit)
}
