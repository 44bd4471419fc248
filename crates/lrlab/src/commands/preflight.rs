//! Checks before anything is queued: a batch through every distinct model, free disk space, a writable store.
//!
//! Each model is tried in a separate process, so that a crash becomes an entry in the list of errors, and memory can be
//! measured. Models that passed are cached for this build.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use lrlab_callbacks::Callbacks;
use lrlab_grid::{Gpu, Memory};
use lrlab_runs::{Cell, Event, PlannedRun, RunId, RunStore, write_atomic};
use lrlab_spec::RunSpec;
use serde::{Deserialize, Serialize};

use super::grid::Grid;
use super::print_line;
use crate::options::{Keep, Machine};
use crate::progress::{eprint_line, label};
use crate::{DeviceChoice, Exit, Registry, assemble, provenance};

/// The measurements of the first updates of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Trained elements.
    pub(crate) parameters: usize,
    /// Updates per epoch.
    pub(crate) updates_per_epoch: u64,
    /// Seconds per update.
    pub(crate) update_s: f64,
    /// Peak memory of the process, in MiB.
    pub(crate) peak_mib: Option<u64>,
    /// Peak GPU memory of its tensors, in MiB.
    pub(crate) device_mib: Option<u64>,
    /// Warnings that require the data to be loaded.
    #[serde(default, rename = "notes")]
    warnings: Vec<String>,
}

/// The findings of a preflight, by model.
#[derive(Debug, Default)]
pub(crate) struct PreflightReport {
    /// The models that passed, by [`class`].
    measured: BTreeMap<String, Measured>,
    /// The models that failed, by [`class`]: the first run with the model, and the cause.
    failed: BTreeMap<String, (Cell, String)>,
    /// Problems with the store.
    store: Vec<String>,
}

impl PreflightReport {
    /// Prints errors, or otherwise warnings, each once. Returns whether there is no error.
    pub(crate) fn show(&self) -> bool {
        let models = self.failed.values().map(|(cell, why)| format!("{}: {why}", label(cell)));
        let errors: Vec<String> = models.chain(self.store.iter().cloned()).collect();
        self.show_these(&errors)
    }

    /// Like [`show`](Self::show), but models that failed are not errors.
    pub(crate) fn show_store(&self) -> bool {
        self.show_these(&self.store)
    }

    fn show_these(&self, errors: &[String]) -> bool {
        for error in errors {
            eprint_line(&format!("error: preflight: {error}"));
        }
        if !errors.is_empty() {
            eprint_line("nothing was started");
            return false;
        }
        let warnings: BTreeSet<&String> = self.measured.values().flat_map(|of| &of.warnings).collect();
        for warning in warnings {
            eprint_line(&format!("warning: {warning}"));
        }
        true
    }

    /// Returns why the model of a run failed, if it did.
    pub(crate) fn failure(&self, run: &PlannedRun) -> Option<&str> {
        self.failed.get(&class(run)).map(|(_, why)| why.as_str())
    }

    /// Returns what was measured of the model of a run.
    pub(crate) fn of(&self, run: &PlannedRun) -> Option<&Measured> {
        self.measured.get(&class(run))
    }

    /// Returns the peak memory of a run in bytes, with a margin for evaluation.
    pub(crate) fn memory_per_run(&self) -> Option<u64> {
        let most = self.measured.values().map(|of| of.peak_mib).collect::<Option<Vec<_>>>()?;
        most.into_iter().max().map(|mib| (mib * 3 / 2 + 128) << 20)
    }

    /// Returns the free memory of `gpus` and the measured need of `runs`; `None` if the runs do not use GPUs.
    pub(crate) fn memory(&self, gpus: &[Gpu], runs: &[PlannedRun]) -> Option<Memory> {
        let peak = |run| self.of(run)?.device_mib;
        (!gpus.is_empty()).then(|| Memory {
            free_mib: gpus.iter().map(|gpu| gpu.free_mib).collect(),
            peak_mib: runs.iter().map(peak).collect(),
        })
    }

    /// Returns the GPU memory of the model that needs least, in MiB.
    pub(crate) fn least_device_mib(&self) -> Option<u64> {
        self.measured.values().filter_map(|of| of.device_mib).min()
    }
}

/// The parts of a specification that distinguish models: network, data, batch, optimizer, precision.
fn class(run: &PlannedRun) -> String {
    let parts =
        ["model", "data", "batch_size", "accumulate", "optimizer", "precision"].map(|key| run.spec.get(key));
    serde_json::to_string(&parts).unwrap_or_default()
}

/// Tries what the missing runs of a grid need: a full batch of each model, or a few examples if the runs train
/// elsewhere.
pub(crate) fn run_preflight(grid: &Grid<'_>) -> anyhow::Result<PreflightReport> {
    let missing = grid.missing();
    let mut report = PreflightReport::default();
    if missing.is_empty() {
        return Ok(report);
    }
    if let Err(error) = probe_store(grid.store) {
        report.store.push(format!("the store is not writable: {error:#}"));
        return Ok(report);
    }
    let mut first: BTreeMap<String, &PlannedRun> = BTreeMap::new();
    for run in missing.iter().rev() {
        first.insert(class(run), run);
    }
    let build = provenance::own_build().unwrap_or_default();
    for (class, run) in first {
        match try_model(grid, run, &format!("{class} {} {build}", run.dataset_digest))? {
            Ok(measured) => drop(report.measured.insert(class, measured)),
            Err(why) => drop(report.failed.insert(class, (run.cell.clone(), why))),
        }
    }
    let free = lrlab_grid::free_space(grid.store.root())?;
    let need = disk_need(&missing, grid.machine.keep, &report);
    if free < need {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        report.store.push(format!(
            "{}: {} MiB are needed for {} runs, {} MiB are free (`--keep none` needs less)",
            grid.store.root().display(),
            mib(need),
            missing.len(),
            mib(free)
        ));
    }
    Ok(report)
}

/// Returns the bytes that the missing runs will write: what each keeps, and the checkpoints of one at a time.
fn disk_need(missing: &[&PlannedRun], keep: Keep, report: &PreflightReport) -> u64 {
    const FILES: u64 = 64 << 10;
    const RESERVE: u64 = 32 << 20;
    let weights = |run: &PlannedRun| report.of(run).map_or(0, |of| of.parameters as u64 * 4);
    let kept: u64 = missing.iter().map(|run| weights(run) * keep.weights() as u64 + FILES).sum();
    // Two checkpoints of weights, best weights, and up to two moments of the optimizer.
    let checkpoints = missing.iter().map(|run| weights(run) * 8).max().unwrap_or(0);
    kept + checkpoints + RESERVE
}

fn probe_store(store: &RunStore) -> anyhow::Result<()> {
    let probe = store.cache_dir().join(format!(".preflight.{}", std::process::id()));
    write_atomic(&probe, b"probe")?;
    Ok(std::fs::remove_file(&probe)?)
}

/// Tries the model of a run in a separate process, unless the model `identity` passed before.
fn try_model(grid: &Grid<'_>, run: &PlannedRun, identity: &str) -> anyhow::Result<Result<Measured, String>> {
    let Grid { store, machine, .. } = grid;
    let small = !grid.trains_here;
    let device = DeviceChoice::from(grid.device);
    let name = format!("{}.json", RunId::of(&format!("{identity} {device} {small:?}"), "preflight"));
    let remembered = store.cache_dir().join("preflight").join(name);
    if let Ok(bytes) = std::fs::read(&remembered)
        && let Ok(measured) = serde_json::from_slice(&bytes)
    {
        return Ok(Ok(measured));
    }
    let mut command = Command::new(provenance::this_program()?);
    command.args(["preflight", "--out"]).arg(std::path::absolute(store.root())?);
    command.arg(format!("--device={device}"));
    if small {
        command.arg("--small");
    }
    if let Some(threads) = machine.threads {
        command.arg(format!("--threads={threads}")).env("RAYON_NUM_THREADS", threads.to_string());
    }
    command.env("NO_COLOR", "1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("preflight")?;
    if let Some(mut input) = child.stdin.take() {
        // A child that ends early reports the error itself.
        let _ = input.write_all(&serde_json::to_vec(run)?);
    }
    let output = child.wait_with_output().context("preflight")?;
    if let (true, Ok(measured)) = (output.status.success(), serde_json::from_slice(&output.stdout)) {
        write_atomic(&remembered, &output.stdout)?;
        return Ok(Ok(measured));
    }
    let failure = lrlab_grid::classify(0, output.status, None, &String::from_utf8_lossy(&output.stderr));
    Ok(Err(failure.map_or_else(|| "interrupted".to_owned(), |failure| failure.message)))
}

/// The process that tries one model.
#[derive(Debug, Args)]
pub(crate) struct PreflightArgs {
    /// The store.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Use eight examples instead of a batch.
    #[arg(long)]
    small: bool,
    #[command(flatten)]
    machine: Machine,
}

/// Reads a planned run from standard input, makes two updates, and prints what it measured.
pub(crate) fn preflight(args: &PreflightArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text)?;
    let planned: PlannedRun = serde_json::from_slice(&text)?;
    let mut spec: RunSpec = serde_json::from_value(planned.spec)?;
    let device = args.machine.device.open()?;
    let data = registry.load(&spec.data, &RunStore::new(&args.out).cache_dir())?;
    if data.digest != planned.dataset_digest {
        bail!(
            "the digest of the data is {}, but {} in the plan: the data have changed, or --records refers to other data",
            data.digest,
            planned.dataset_digest
        );
    }
    let updates_per_epoch = assemble::settings(&spec).updates_per_epoch(data.train.len());
    let lone = spec.lone_example(data.train.len());
    // If the experiment states the size, reading it has already warned.
    let unknown = spec.data.training_examples().is_none();
    let oversized = if unknown { spec.oversized(data.train.len()) } else { Vec::new() };
    if args.small {
        spec.batch_size = spec.batch_size.min(8);
        spec.accumulate = 1;
    }
    let model = registry.build_model(&spec, &data, &device)?;
    let settings = assemble::settings(&spec);
    // The first updates would not reveal it.
    if let Some(lone) = lone {
        let probe = |examples| {
            lrlab_train::probe(&*model, &data.train, examples, &settings, &device).map_err(|e| e.to_string())
        };
        // If two examples fail too, the size of the batch is not the cause.
        if let Err(error) = probe(1)
            && (data.train.len() < 2 || probe(2).is_ok())
        {
            bail!(
                "{}, and this network cannot train on one example; {}; {error}",
                lone.message,
                lone.suggestion
            );
        }
    }
    let parts = assemble::fit(&spec, model, Callbacks::default(), &data, &settings, &device)?;
    let (stop, mut clock, mut update_s) = (AtomicBool::new(false), Instant::now(), f64::INFINITY);
    let fitted = lrlab_train::fit(parts, &stop, &mut |event| {
        if let Event::Progress { update, .. } = event {
            update_s = update_s.min(clock.elapsed().as_secs_f64());
            clock = Instant::now();
            stop.store(*update >= 2, Ordering::Relaxed);
        }
    })?;
    let measured = Measured {
        parameters: fitted.parameters,
        updates_per_epoch,
        update_s,
        peak_mib: peak_mib(),
        device_mib: lrlab_kernels::device_memory(&device).map(|memory| memory.peak_mib),
        warnings: oversized
            .into_iter()
            .map(|found| format!("{}; {}", found.message, found.suggestion))
            .collect(),
    };
    print_line(&serde_json::to_string(&measured)?);
    Ok(Exit::Done)
}

/// `VmHWM` of `/proc/self/status`; see proc(5).
fn peak_mib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib.div_ceil(1024))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(model: &str) -> PlannedRun {
        let spec = json!({ "model": model });
        let run_id = RunId::of(&spec.to_string(), "");
        PlannedRun { run_id, cell: [].into(), spec, dataset_digest: String::new() }
    }

    #[test]
    fn gpu_memory_is_known_by_model() {
        let runs = [run("large"), run("small"), run("large"), run("never tried")];
        let of = |device_mib| Measured { device_mib, ..Measured::default() };
        let measured = [(class(&runs[0]), of(Some(900))), (class(&runs[1]), of(Some(300)))];
        let report = PreflightReport { measured: measured.into(), ..PreflightReport::default() };
        assert_eq!(report.least_device_mib(), Some(300));
        assert_eq!(PreflightReport::default().least_device_mib(), None);
        let free = |free_mib| Gpu { id: String::new(), free_mib };
        let expected = Memory {
            free_mib: vec![Some(8000), None],
            peak_mib: vec![Some(900), Some(300), Some(900), None],
        };
        assert_eq!(report.memory(&[free(Some(8000)), free(None)], &runs), Some(expected));
        // The CPU has no GPU memory to place by.
        assert_eq!(report.memory(&[], &runs), None);
    }
}
