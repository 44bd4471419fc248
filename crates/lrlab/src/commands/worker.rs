//! `lrlab worker`: executes one planned run, from its `spec.json` to its `result.json`.
//!
//! It resumes from the newest valid checkpoint of an earlier attempt, writes only below its own attempt's folder during
//! training, and then commits the weights and the result to the folder of the run. Events go to standard output, one JSON object per
//! line. `events.jsonl` has them too, but no notes, and of the progress every `log_every`-th update.

use std::cell::RefCell;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Args;
use lrlab_data::Dataset;
use lrlab_options::{Keep, Machine};
use lrlab_runs::{
    Checkpoint, Checkpoints, EpochMetrics, Evaluation, Event, Fingerprint, KeptFor, Outcome, PlannedRun,
    Provenance, RunId, RunResult, RunStore, Timing, Work, WorkLog, attempt_dir, earlier_work,
    settle_penultimate,
};
use lrlab_spec::RunSpec;
use lrlab_train::{Fit, Fitted, State, Stop};

use super::commit::{Weights, commit};
use crate::device;

use super::logs::{LOGS, copy_log};
use super::{card, continuation, launch};
use crate::checkpointer::{self, Checkpointer, Penultimate, read_state};
use crate::progress::report_error;
use crate::reporter::Reporter;
use crate::{Exit, Registry, assemble, provenance};

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// The store.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The run.
    #[arg(long, value_name = "RUN_ID")]
    run: String,
    /// The number of this attempt; it writes below `attempts/<n>` in the run's folder.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: u32,
    /// Save and exit with code 86 after this many completed epochs, unless the run is complete. A later attempt resumes
    /// it.
    #[arg(long, value_name = "EPOCH", value_parser = clap::value_parser!(u64).range(1..))]
    until_epoch: Option<u64>,
    /// Start from the state of this shorter run before its last update, if this run has no checkpoint of its own.
    #[arg(long, value_name = "RUN_ID")]
    continue_run: Option<String>,
    /// Keep the state before the last update, which a longer run can continue.
    #[arg(long)]
    keep_penultimate: bool,
    /// Stop when standard input ends; the parent process holds the other end.
    #[arg(long)]
    watch_stdin: bool,
    #[command(flatten)]
    machine: Machine,
}

impl WorkerArgs {
    fn keeps_penultimate(&self) -> bool {
        self.keep_penultimate || self.machine.keep.checkpoints()
    }

    /// Returns what the state before the last update is kept for after the run; `None` if it is removed.
    fn penultimate_kept_for(&self, outcome: Outcome) -> Option<KeptFor> {
        let kept_for = if self.machine.keep.checkpoints() { KeptFor::Later } else { KeptFor::Plan };
        (self.keeps_penultimate() && outcome == Outcome::Completed).then_some(kept_for)
    }
}

pub(crate) fn worker(args: &WorkerArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let mut prepared = false;
    match train(args, registry, &mut prepared) {
        // The input was good.
        Err(error) if prepared => {
            report_error(&error);
            Ok(Exit::SomeFailed)
        }
        ended => ended,
    }
}

/// Trains the run and writes its result. Sets `prepared` once the data are read and the model is built.
fn train(args: &WorkerArgs, registry: &Registry, prepared: &mut bool) -> anyhow::Result<Exit> {
    let (started, began) = (seconds(), Instant::now());
    lrlab_kernels::compute_on_this_thread()?;
    let interrupt = Arc::new(AtomicBool::new(false));
    register(&interrupt)?;
    if args.watch_stdin {
        watch_stdin(&interrupt);
    }
    let build = checkpointer::program_digest();
    let store = RunStore::new(&args.out);
    let id = RunId::try_from(args.run.clone())?;
    let run_dir = store.run_dir(&id);
    let planned = launch::planned(&store, &run_dir)?;
    let spec = registry.spec(&planned)?;
    let attempt = attempt_dir(&run_dir, args.attempt);
    std::fs::create_dir_all(&attempt).with_context(|| attempt.display().to_string())?;
    let work = WorkLog::create(&attempt, started)?;

    let device = device::open(args.machine.device)?;
    let clock = Instant::now();
    let data = load(&spec, &planned, &store, registry)?;
    let data_s = clock.elapsed().as_secs_f64();

    let reporter = RefCell::new(Reporter::default());
    let build = build.join().map_err(|_| anyhow::anyhow!("failed to read the program file"))?;
    let build = build.context("reading the program")?;
    let fingerprint = Fingerprint { run_id: id.clone(), numerics: provenance::numerics(&device), build };
    let start = Start {
        args,
        store: &store,
        registry,
        spec: &spec,
        planned: &planned,
        attempt: &attempt,
        reporter: &reporter,
    };
    let (checkpoints, state) = start.open(&fingerprint, data.train.len())?;

    let model = registry.build_model(&spec, &data, &device)?;
    let settings = assemble::settings(&spec);
    let callbacks = assemble::callbacks(&spec, &attempt)?;
    let parts = assemble::fit(&spec, model, callbacks, &data, &settings, &device)?;
    let at = state.as_ref().map_or(0, State::update);
    let mut checkpointer = Checkpointer::new(checkpoints, at, &reporter);
    checkpointer.every = args.machine.checkpoint_every;
    checkpointer.until = args.until_epoch;
    checkpointer.interrupt = interrupt;
    checkpointer.work = Some(work);
    checkpointer.penultimate = args.keeps_penultimate().then(|| Penultimate {
        update: Fit::horizon(&settings, data.train.len()).updates.saturating_sub(1),
        run_dir: run_dir.clone(),
        attempt: args.attempt,
        fingerprint,
    });
    *prepared = true;
    let (mut startup_s, mut last_update) = (0.0, began);
    let fitted = lrlab_train::fit_from(parts, state.as_ref(), &mut checkpointer, &mut |event| {
        match event {
            Event::Started { .. } => startup_s = began.elapsed().as_secs_f64(),
            Event::Progress { .. } => last_update = Instant::now(),
            _ => {}
        }
        reporter.borrow_mut().report(event);
    });
    let (checkpoints, work) = checkpointer.finish();
    let mut fitted = fitted
        .inspect_err(|error| reporter.borrow_mut().report(&Event::Failed { error: error.to_string() }))?;
    let Some(outcome) = outcome(fitted.stop) else { return Ok(Exit::Interrupted) };
    fitted.work.data_s += data_s;
    if let Some(mut log) = work {
        log.record(&fitted.work)?;
    }
    let threads = args.machine.threads.map_or_else(candle_core::utils::get_num_threads, NonZeroUsize::get);
    let mut provenance = provenance::of(&device, threads, &data);
    provenance.parameters = fitted.parameters;
    provenance.registered = registry.parts(&spec);
    provenance.continued = continuation::continued(&attempt)?;
    let mut timing = timing(fitted.work, started, &run_dir, args.attempt);
    (timing.startup_s, timing.wrapup_s) = (startup_s, last_update.elapsed().as_secs_f64());
    timing.device_peak_mib = lrlab_kernels::device_memory(&device).map(|memory| memory.peak_mib);
    if fenced(&run_dir, args.attempt, &reporter)? {
        return Ok(Exit::Interrupted);
    }
    if outcome != Outcome::Pruned && args.machine.keep.weights() > 0 {
        card::write(&run_dir, &planned, &spec, &data)?;
    }
    let metadata = card::metadata(&planned, &spec, &data)?;
    let result = result(id, planned, outcome, &mut fitted, timing, provenance);
    if outcome == Outcome::Pruned {
        return pause(&store, result, &spec.select);
    }
    for note in commit(&store, &result, (&weights(args.machine.keep, &fitted), &metadata), &attempt)? {
        reporter.borrow_mut().report(&Event::Note { message: note });
    }
    finish_log(&attempt, outcome);
    reporter.borrow_mut().report(&Event::Finished { outcome });
    settle_penultimate(&run_dir, args.penultimate_kept_for(outcome))?;
    if let (Some(checkpoints), false) = (checkpoints, args.machine.keep.checkpoints()) {
        checkpoints.remove_all()?;
    }
    Ok(Exit::Done)
}

/// An attempt whose data are loaded.
struct Start<'a> {
    args: &'a WorkerArgs,
    store: &'a RunStore,
    registry: &'a Registry,
    spec: &'a RunSpec,
    planned: &'a PlannedRun,
    /// The folder of the attempt.
    attempt: &'a Path,
    reporter: &'a RefCell<Reporter>,
}

impl Start<'_> {
    /// Opens the checkpoints of the run, and returns the state to start from: that of its newest checkpoint, or that of the
    /// shorter run that it continues.
    fn open(
        &self,
        fingerprint: &Fingerprint,
        examples: usize,
    ) -> anyhow::Result<(Checkpoints, Option<State>)> {
        let Self { args, store, registry, spec, planned, attempt, reporter } = *self;
        let note = |message| reporter.borrow_mut().report(&Event::Note { message });
        let run_dir = store.run_dir(&planned.run_id);
        let mut skipped = false;
        let (checkpoints, found) =
            Checkpoints::open(&run_dir, args.attempt, fingerprint.clone(), &mut |message| {
                skipped = true;
                note(message);
            })?;
        let state = resume_state(found.as_ref(), skipped, &run_dir, args.attempt, reporter)?;
        let shorter = args.continue_run.as_ref().filter(|_| state.is_none() && !args.machine.from_scratch);
        let Some(shorter) = shorter else { return Ok((checkpoints, state)) };
        let longer = continuation::Longer { spec, planned, attempt, fingerprint, registry };
        let state = longer
            .start(store, &RunId::try_from(shorter.clone())?, examples, &mut |message| note(message))?;
        Ok((checkpoints, state))
    }
}

/// Returns whether another process has taken over the run, because this one was suspended for longer than the claim
/// timeout.
fn fenced(run_dir: &Path, attempt: u32, reporter: &RefCell<Reporter>) -> anyhow::Result<bool> {
    let fenced = !lrlab_grid::holds(run_dir, attempt)?;
    if fenced {
        let message = "a later attempt owns this run, so this attempt commits nothing".to_owned();
        reporter.borrow_mut().report(&Event::Note { message });
    }
    Ok(fenced)
}

fn result(
    run_id: RunId,
    planned: PlannedRun,
    outcome: Outcome,
    fitted: &mut Fitted,
    timing: Timing,
    provenance: Provenance,
) -> RunResult {
    RunResult {
        run_id,
        cell: planned.cell,
        spec: planned.spec,
        outcome,
        updates: Some(fitted.updates),
        history: std::mem::take(&mut fitted.history),
        last: std::mem::take(&mut fitted.last),
        best: std::mem::take(&mut fitted.best),
        decisions: std::mem::take(&mut fitted.decisions),
        timing,
        provenance,
    }
}

fn load(
    spec: &RunSpec,
    planned: &PlannedRun,
    store: &RunStore,
    registry: &Registry,
) -> anyhow::Result<Dataset> {
    let data = registry.load(&spec.data, &store.cache_dir())?;
    if data.digest != planned.dataset_digest {
        anyhow::bail!(
            "the data have changed since the plan was made: their digest is {}, but {} in the plan; start the grid again",
            data.digest,
            planned.dataset_digest
        );
    }
    Ok(data)
}

/// The weights to keep, by file name.
fn weights(keep: Keep, fitted: &Fitted) -> Vec<Weights<'_>> {
    let mut weights = vec![
        ("best.safetensors".to_owned(), &fitted.weights),
        ("last.safetensors".to_owned(), &fitted.last_weights),
    ];
    weights.truncate(keep.weights());
    if !weights.is_empty() {
        let top = fitted.kept.iter().filter(|(tag, _)| assemble::is_top(tag));
        weights.extend(top.map(|(tag, weights)| (format!("{tag}.safetensors"), weights)));
    }
    weights
}

/// Writes the run's result in case it is not resumed.
fn pause(store: &RunStore, mut result: RunResult, select: &str) -> anyhow::Result<Exit> {
    (result.last, result.best) = paused_evaluations(&result.history, select);
    store.pause(&result)?;
    Ok(Exit::Paused)
}

/// Returns the outcome of a run; `None` if it was interrupted and will be resumed.
fn outcome(stop: Stop) -> Option<Outcome> {
    match stop {
        Stop::Interrupted => None,
        // The outcome if it is not resumed.
        Stop::Paused => Some(Outcome::Pruned),
        Stop::Completed => Some(Outcome::Completed),
        Stop::Stopped => Some(Outcome::Stopped),
        Stop::Diverged => Some(Outcome::Diverged),
    }
}

/// Returns the last and the best epoch of a paused run, which was only evaluated on the validation split.
fn paused_evaluations(history: &[EpochMetrics], select: &str) -> (Evaluation, Evaluation) {
    let higher = EpochMetrics::higher_is_better(select).unwrap_or(true);
    let value = |epoch: &EpochMetrics| epoch.get(select).flatten().filter(|value| value.is_finite());
    let better = |a: f64, b: f64| if higher { b > a } else { b < a };
    let best = history.iter().reduce(|best, epoch| match (value(best), value(epoch)) {
        (Some(a), Some(b)) if !better(a, b) => best,
        (_, Some(_)) => epoch,
        (_, None) => best,
    });
    let evaluation = |metrics: Option<&EpochMetrics>| Evaluation {
        metrics: metrics.cloned().unwrap_or_default(),
        ..Evaluation::default()
    };
    (evaluation(history.last()), evaluation(best))
}

/// Returns the times of all attempts, including killed ones.
fn timing(work: Work, started: f64, run_dir: &Path, attempt: u32) -> Timing {
    let (before, first) = earlier_work(run_dir, attempt);
    let started = first.map_or(started, |first| first.min(started));
    Timing { started, finished: seconds(), ..(before + work).timing() }
}

/// Returns the state to resume from. The logs of its attempt are copied into ours, where the loggers truncate what came
/// after it.
fn resume_state(
    found: Option<&Checkpoint>,
    skipped: bool,
    run_dir: &Path,
    attempt: u32,
    reporter: &RefCell<Reporter>,
) -> anyhow::Result<Option<State>> {
    let Some(checkpoint) = found else {
        if skipped {
            let message = "no valid checkpoint is left: training starts at update 0".to_owned();
            reporter.borrow_mut().report(&Event::Note { message });
        }
        return Ok(None);
    };
    let (place, state) = (checkpoint.folder.display(), read_state(checkpoint)?);
    if checkpoint.attempt != attempt {
        let [from, to] = [checkpoint.attempt, attempt].map(|number| attempt_dir(run_dir, number));
        for name in LOGS.into_iter().chain([continuation::FILE]) {
            copy_log(&from.join(name), &to.join(name))?;
        }
    }
    let message = format!("resumes at update {} from {place}", state.update());
    reporter.borrow_mut().report(&Event::Note { message });
    Ok(Some(state))
}

/// Logs the end of the run. Errors are ignored: the result exists, so a log without its last line is harmless.
fn finish_log(attempt: &Path, outcome: Outcome) {
    let path = attempt.join("events.jsonl");
    let line = serde_json::to_string(&Event::Finished { outcome }).unwrap_or_default();
    let written = std::fs::File::options().append(true).open(&path).and_then(|mut f| writeln!(f, "{line}"));
    if let Err(error) = written {
        tracing::warn!("{}: {error}", path.display());
    }
}

/// Sets `interrupt` on Ctrl-C, SIGTERM, and the signal before a cluster's time limit.
fn register(interrupt: &Arc<AtomicBool>) -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = vec![SIGINT, SIGTERM];
    #[cfg(unix)]
    signals.push(signal_hook::consts::SIGUSR1);
    for signal in lrlab_grid::catchable(&signals) {
        signal_hook::flag::register(signal, Arc::clone(interrupt))?;
    }
    Ok(())
}

fn watch_stdin(interrupt: &Arc<AtomicBool>) {
    let interrupt = Arc::clone(interrupt);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        interrupt.store(true, Ordering::Relaxed);
    });
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
