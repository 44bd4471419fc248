//! Checks before a grid starts: a batch through every distinct model, free disk space, a writable store.
//!
//! Each model is tested in a child process, so that a crash is reported as an error and peak memory can be measured. The
//! measurements of models that passed are cached per build.

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
use lrlab_options::{Keep, Machine};
use lrlab_runs::{Cell, Event, PlannedRun, RunId, RunStore, write_atomic};
use lrlab_spec::RunSpec;
use serde::{Deserialize, Serialize};

use super::grid::Grid;
use super::print_line;
use crate::device;
use crate::progress::{counted, eprint_line, label, with_causes};
use crate::{Exit, Registry, assemble, provenance};

/// Measurements of the first updates of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// The number of trained parameters.
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
    /// The models that passed, by [`model_key`].
    measured: BTreeMap<String, Measured>,
    /// The models that failed, by [`model_key`]: the first run with the model, and the cause.
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
        self.failed.get(&model_key(run)).map(|(_, why)| why.as_str())
    }

    /// Returns the measurements of the model of a run.
    pub(crate) fn of(&self, run: &PlannedRun) -> Option<&Measured> {
        self.measured.get(&model_key(run))
    }

    /// Returns the peak memory of a run in bytes, with a margin for evaluation.
    pub(crate) fn memory_per_run(&self) -> Option<u64> {
        let most = self.measured.values().map(|of| of.peak_mib).collect::<Option<Vec<_>>>()?;
        most.into_iter().max().map(|mib| (mib * 3 / 2 + 128) << 20)
    }

    /// Returns the free memory of `gpus` and the measured peak of each of `runs`; `None` if the runs do not use GPUs.
    pub(crate) fn memory(&self, gpus: &[Gpu], runs: &[PlannedRun]) -> Option<Memory> {
        let peak = |run| self.of(run)?.device_mib;
        (!gpus.is_empty()).then(|| Memory {
            free_mib: gpus.iter().map(|gpu| gpu.free_mib).collect(),
            peak_mib: runs.iter().map(peak).collect(),
        })
    }

    /// Returns the smallest GPU memory of a model, in MiB.
    pub(crate) fn min_device_mib(&self) -> Option<u64> {
        self.measured.values().filter_map(|of| of.device_mib).min()
    }
}

/// Returns the parts of a specification that distinguish models: network, data, batch, optimizer, precision.
fn model_key(run: &PlannedRun) -> String {
    let parts =
        ["model", "data", "batch_size", "accumulate", "optimizer", "precision"].map(|key| run.spec.get(key));
    serde_json::to_string(&parts).unwrap_or_default()
}

/// Tests the store and the models of the missing runs and of those to be run `again`: with a full batch, or with a few
/// examples if the runs train elsewhere.
pub(crate) fn run_preflight(grid: &Grid<'_>, again: &BTreeSet<RunId>) -> anyhow::Result<PreflightReport> {
    let known: BTreeSet<&RunId> = grid.missing()?.into_iter().map(|run| &run.run_id).chain(again).collect();
    let missing: Vec<&PlannedRun> = grid.plan.runs.iter().filter(|run| known.contains(&run.run_id)).collect();
    let mut report = PreflightReport::default();
    if missing.is_empty() {
        return Ok(report);
    }
    if let Err(error) = probe_store(grid.store) {
        report.store.push(format!("the store cannot be written: {}", with_causes(&error)));
        return Ok(report);
    }
    let mut first: BTreeMap<String, &PlannedRun> = BTreeMap::new();
    for run in missing.iter().rev() {
        first.insert(model_key(run), run);
    }
    let build = provenance::own_build().unwrap_or_default();
    for (model_key, run) in first {
        match test_model(grid, run, &format!("{model_key} {} {build}", run.dataset_digest))? {
            Ok(measured) => drop(report.measured.insert(model_key, measured)),
            Err(why) => drop(report.failed.insert(model_key, (run.cell.clone(), why))),
        }
    }
    let free = lrlab_grid::free_space(grid.store.root())?;
    let need = disk_need(&missing, grid.machine.keep, &report);
    if free < need {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        report.store.push(format!(
            "{}: {} MiB are needed for {}, {} MiB are free (`--keep none` needs less)",
            grid.store.root().display(),
            mib(need),
            counted(missing.len(), "run"),
            mib(free)
        ));
    }
    Ok(report)
}

/// Estimates the bytes that the missing runs write: the kept files of all, and the checkpoints of one.
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
    let folder = store.cache_dir();
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(&folder)?;
        let mut probe = tempfile::Builder::new().prefix(".preflight.").suffix(".tmp").tempfile_in(&folder)?;
        probe.write_all(b"probe")?;
        probe.as_file().sync_all()
    };
    write().with_context(|| folder.display().to_string())
}

/// Tests the model of a run in a child process, unless the model `identity` has passed before.
fn test_model(grid: &Grid<'_>, run: &PlannedRun, identity: &str) -> anyhow::Result<Result<Measured, String>> {
    let Grid { store, machine, .. } = grid;
    let small = !grid.trains_here;
    let device = device::choice(grid.device);
    let name = format!("{}.json", RunId::of(&format!("{identity} {device} {small:?}"), "preflight"));
    let cached = store.cache_dir().join("preflight").join(name);
    if let Ok(bytes) = std::fs::read(&cached)
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
    command.envs(super::launch::quiet()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("preflight")?;
    if let Some(mut input) = child.stdin.take() {
        // A child that ends early reports the error itself.
        let _ = input.write_all(&serde_json::to_vec(run)?);
    }
    let output = child.wait_with_output().context("preflight")?;
    if let (true, Ok(measured)) = (output.status.success(), serde_json::from_slice(&output.stdout)) {
        write_atomic(&cached, &output.stdout)?;
        return Ok(Ok(measured));
    }
    let failure = lrlab_grid::classify(0, output.status, None, &String::from_utf8_lossy(&output.stderr));
    Ok(Err(failure.map_or_else(|| "interrupted".to_owned(), |failure| failure.message)))
}

/// The arguments of the process that tests one model.
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

/// Reads a planned run from standard input, performs two updates, and prints the measurements.
pub(crate) fn preflight(args: &PreflightArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text)?;
    let planned: PlannedRun = serde_json::from_slice(&text)?;
    let mut spec: RunSpec = RunSpec::deserialize(&*planned.spec)?;
    registry.bind(&mut spec)?;
    let device = device::open(args.machine.device)?;
    let data = registry.load(&spec.data, &RunStore::new(&args.out).cache_dir())?;
    if data.digest != planned.dataset_digest {
        bail!(
            "the digest of the data is {}, but {} in the plan: the data have changed, or --records refers to other data",
            data.digest,
            planned.dataset_digest
        );
    }
    let updates_per_epoch = assemble::settings(&spec).updates_per_epoch(data.train.len());
    let single = spec.lone_example(data.train.len());
    // If the experiment states the size, reading it has already reported this warning.
    let unknown = spec.data.training_examples().is_none();
    let oversized = if unknown { spec.oversized(data.train.len()) } else { Vec::new() };
    if args.small {
        spec.batch_size = spec.batch_size.min(8);
        spec.accumulate = 1;
    }
    let model = registry.build_model(&spec, &data, &device)?;
    let settings = assemble::settings(&spec);
    // The first updates may not contain the batch of one example.
    if let Some(single) = single {
        let probe = |examples| {
            lrlab_train::probe(&*model, &data.train, examples, &settings, &device).map_err(|e| e.to_string())
        };
        // If two examples also fail, the batch size is not the cause.
        if let Err(error) = probe(1)
            && (data.train.len() < 2 || probe(2).is_ok())
        {
            bail!(
                "{}, and this network cannot train on one example; {}; {error}",
                single.message,
                single.suggestion
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
        PlannedRun { run_id, cell: [].into(), spec: spec.into(), dataset_digest: String::new() }
    }

    #[test]
    fn gpu_memory_is_measured_per_model() {
        let runs = [run("large"), run("small"), run("large"), run("never tried")];
        let of = |device_mib| Measured { device_mib, ..Measured::default() };
        let measured = [(model_key(&runs[0]), of(Some(900))), (model_key(&runs[1]), of(Some(300)))];
        let report = PreflightReport { measured: measured.into(), ..PreflightReport::default() };
        assert_eq!(report.min_device_mib(), Some(300));
        assert_eq!(PreflightReport::default().min_device_mib(), None);
        let free = |free_mib| Gpu { id: String::new(), free_mib };
        let expected = Memory {
            free_mib: vec![Some(8000), None],
            peak_mib: vec![Some(900), Some(300), Some(900), None],
        };
        assert_eq!(report.memory(&[free(Some(8000)), free(None)], &runs), Some(expected));
        // Without GPUs there is no GPU memory to plan with.
        assert_eq!(report.memory(&[], &runs), None);
    }
}
