//! `lrlab worker`: one planned run, from its `spec.json` to its `result.json`.
//!
//! Events go to standard output, one JSON object per line, and those that matter later to `events.jsonl`.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use candle_core::Tensor;
use clap::Args;
use lrlab_runs::{Event, Outcome, PlannedRun, RunId, RunResult, RunStore};
use lrlab_spec::RunSpec;
use lrlab_train::{Fit, Fitted, Stop};

use crate::cli::{Keep, Machine};
use crate::{Exit, Registry, assemble, provenance};

/// Between two progress events of one run.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// The store.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The run.
    #[arg(long, value_name = "RUN_ID")]
    run: String,
    /// Where this attempt may write.
    #[arg(long, value_name = "DIR")]
    attempt: PathBuf,
    /// Stop when standard input ends: its other end is held by the process that started this one.
    #[arg(long)]
    watch_stdin: bool,
    #[command(flatten)]
    machine: Machine,
}

pub(crate) fn worker(args: &WorkerArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let started = seconds();
    let interrupt = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupt))?;
    }
    if args.watch_stdin {
        watch_stdin(&interrupt);
    }
    let store = RunStore::new(&args.out);
    let id = RunId::try_from(args.run.clone())?;
    let planned = read_planned(&store, &id)?;
    let spec: RunSpec = serde_json::from_value(planned.spec.clone()).context("spec.json")?;
    std::fs::create_dir_all(&args.attempt).with_context(|| args.attempt.display().to_string())?;

    let device = args.machine.device.open()?;
    let clock = Instant::now();
    let data = registry.load(&spec.data, &cache_dir(&args.out))?;
    if data.digest != planned.dataset_digest {
        anyhow::bail!(
            "the data changed since the plan was made: their digest is {}, the plan says {}; start the grid again",
            data.digest,
            planned.dataset_digest
        );
    }
    let data_s = clock.elapsed().as_secs_f64();

    let model = registry.build_model(&spec.model, &data, spec.seed, &device)?;
    let settings = assemble::settings(&spec);
    let horizon = Fit::horizon(&settings, data.train.len());
    let parts = Fit {
        optimizer: assemble::optimizer(&spec, model.params())?,
        model,
        schedule: spec.schedule.build(&horizon).context("schedule")?,
        callbacks: assemble::callbacks(&spec, &args.attempt)?,
        data: &data,
        settings: &settings,
        device: &device,
    };
    let mut reporter = Reporter::new(&args.attempt)?;
    let fitted = lrlab_train::fit(parts, &interrupt, &mut |event| reporter.report(event));
    let mut fitted = match fitted {
        Ok(fitted) => fitted,
        Err(error) => {
            reporter.report(&Event::Failed { error: error.to_string() });
            return Err(error.into());
        }
    };
    let outcome = match fitted.stop {
        Stop::Interrupted => return Ok(Exit::Interrupted),
        Stop::Completed => Outcome::Completed,
        Stop::Stopped => Outcome::Stopped,
        Stop::Diverged => Outcome::Diverged,
    };
    save_weights(args.machine.keep, &fitted, &store.run_dir(&id))?;
    fitted.timing.data_s += data_s;
    fitted.timing.started = started;
    fitted.timing.finished = seconds();
    let threads = args.machine.threads.map_or_else(candle_core::utils::get_num_threads, NonZeroUsize::get);
    let mut provenance = provenance::of(&device, threads, &data);
    provenance.parameters = fitted.parameters;
    let result = RunResult {
        run_id: id,
        cell: planned.cell,
        spec: planned.spec,
        outcome,
        history: fitted.history,
        last: fitted.last,
        best: fitted.best,
        decisions: fitted.decisions,
        timing: fitted.timing,
        provenance,
    };
    reporter.report(&Event::Finished { outcome });
    store.commit(&result)?;
    Ok(Exit::Done)
}

/// Where what is derived from data sets is kept: beside the runs, shared by all of them.
pub(crate) fn cache_dir(out: &Path) -> PathBuf {
    out.join("cache")
}

fn read_planned(store: &RunStore, id: &RunId) -> anyhow::Result<PlannedRun> {
    let path = store.run_dir(id).join("spec.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

fn save_weights(keep: Keep, fitted: &Fitted, folder: &Path) -> anyhow::Result<()> {
    match keep {
        Keep::None => Ok(()),
        Keep::Best => save(&fitted.weights, &folder.join("best.safetensors")),
        Keep::All => {
            save(&fitted.weights, &folder.join("best.safetensors"))?;
            save(&fitted.last_weights, &folder.join("last.safetensors"))
        }
    }
}

fn save(weights: &BTreeMap<String, Tensor>, path: &Path) -> anyhow::Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let tensors: HashMap<_, _> = weights.clone().into_iter().collect();
    let written = candle_core::safetensors::save(&tensors, &temporary)
        .map_err(anyhow::Error::from)
        .and_then(|()| Ok(std::fs::rename(&temporary, path)?));
    if written.is_err() {
        // What is half written helps nobody; the error to tell is the first one.
        let _ = std::fs::remove_file(&temporary);
    }
    written.with_context(|| path.display().to_string())
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

/// Sends events to whoever started us and to `events.jsonl`.
struct Reporter {
    file: std::fs::File,
    last_progress: Option<Instant>,
}

impl Reporter {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("events.jsonl");
        let file = std::fs::File::create(&path).with_context(|| path.display().to_string())?;
        Ok(Self { file, last_progress: None })
    }

    /// A listener that went away or a full disk does not stop the training: the result is what counts, and
    /// writing that is checked.
    fn report(&mut self, event: &Event) {
        let progress = matches!(event, Event::Progress { .. });
        if progress && self.last_progress.is_some_and(|at| at.elapsed() < PROGRESS_EVERY) {
            return;
        }
        let Ok(mut line) = serde_json::to_string(event) else { return };
        line.push('\n');
        if progress {
            self.last_progress = Some(Instant::now());
        } else if let Err(error) = self.file.write_all(line.as_bytes()) {
            tracing::warn!("events.jsonl: {error}");
        }
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }
}
