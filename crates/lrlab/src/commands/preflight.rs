//! Before anything is queued: a batch through every distinct model, room on the disk, a store that can be written.
//!
//! Each model is tried in a process of its own, so that one that takes the process down is a line of the list of what
//! is wrong, and so that its memory can be measured. What passed is remembered for this build.

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
use lrlab_runs::{Event, Plan, PlannedRun, RunId, RunStore, write_atomic};
use lrlab_spec::RunSpec;
use lrlab_train::Fit;
use serde::{Deserialize, Serialize};

use super::say_line;
use super::worker::cache_dir;
use crate::options::Machine;
use crate::progress::label;
use crate::{Exit, Registry, assemble, provenance};

/// What was seen of a model in its first updates.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Trained elements.
    pub(crate) parameters: usize,
    /// Updates of an epoch.
    pub(crate) updates_per_epoch: u64,
    /// Seconds of an update.
    pub(crate) update_s: f64,
    /// The most memory of the process, in MiB.
    pub(crate) peak_mib: Option<u64>,
    /// The most memory of a GPU for its tensors, in MiB.
    pub(crate) device_mib: Option<u64>,
    /// What is suspicious and could not be known before the data were loaded.
    #[serde(default)]
    notes: Vec<String>,
}

/// What was seen of all of them.
#[derive(Debug, Default)]
pub(crate) struct Flown {
    /// By [`class`].
    seen: BTreeMap<String, Seen>,
}

impl Flown {
    /// What is suspicious, each thing once.
    pub(crate) fn notes(&self) -> BTreeSet<&str> {
        self.seen.values().flat_map(|seen| &seen.notes).map(String::as_str).collect()
    }

    pub(crate) fn of(&self, run: &PlannedRun) -> Option<&Seen> {
        self.seen.get(&class(run))
    }

    /// The most memory that one run needs, in bytes, with what evaluation may add.
    pub(crate) fn memory_per_run(&self) -> Option<u64> {
        let most = self.seen.values().map(|seen| seen.peak_mib).collect::<Option<Vec<_>>>()?;
        most.into_iter().max().map(|mib| (mib * 3 / 2 + 128) << 20)
    }

    /// What `gpus` have and `runs` were seen to need of them; `None` where runs go on something else.
    pub(crate) fn memory(&self, gpus: &[Gpu], runs: &[PlannedRun]) -> Option<Memory> {
        let seen = |run| self.of(run)?.device_mib;
        (!gpus.is_empty()).then(|| Memory {
            free_mib: gpus.iter().map(|gpu| gpu.free_mib).collect(),
            peak_mib: runs.iter().map(seen).collect(),
        })
    }

    /// The memory of a GPU that those runs had that had least of it, in MiB.
    pub(crate) fn least_device_mib(&self) -> Option<u64> {
        self.seen.values().filter_map(|seen| seen.device_mib).min()
    }
}

/// What distinguishes models here: network, data, batch, precision.
fn class(run: &PlannedRun) -> String {
    let parts =
        ["model", "data", "batch_size", "accumulate", "optimizer", "precision"].map(|key| run.spec.get(key));
    serde_json::to_string(&parts).unwrap_or_default()
}

/// How the models are tried.
pub(crate) struct Preflight<'a> {
    pub(crate) store: &'a RunStore,
    pub(crate) device: &'a str,
    /// A few examples instead of a batch: this is not the machine that will train.
    pub(crate) small: bool,
    pub(crate) threads: Option<usize>,
    /// Weights that stay of each run.
    pub(crate) kept: u64,
}

impl Preflight<'_> {
    /// Tries what the missing runs of `plan` need. Everything that is wrong, or what was seen.
    pub(crate) fn fly(&self, plan: &Plan) -> anyhow::Result<Result<Flown, Vec<String>>> {
        let missing: Vec<&PlannedRun> =
            plan.runs.iter().filter(|run| !self.store.is_finished(&run.run_id)).collect();
        let (mut flown, mut wrong) = (Flown::default(), Vec::new());
        if missing.is_empty() {
            return Ok(Ok(flown));
        }
        if let Err(error) = self.write_something() {
            return Ok(Err(vec![format!("the store cannot be written: {error:#}")]));
        }
        let mut first: BTreeMap<String, &PlannedRun> = BTreeMap::new();
        for run in missing.iter().rev() {
            first.insert(class(run), run);
        }
        let build = provenance::own_build().unwrap_or_default();
        for (class, run) in first {
            match self.one(run, &class, &build)? {
                Ok(seen) => drop(flown.seen.insert(class, seen)),
                Err(words) => wrong.push(format!("{}: {words}", label(&run.cell))),
            }
        }
        let free = lrlab_grid::free_space(self.store.root())?;
        let need = self.need(&missing, &flown);
        if free < need {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            let (need, free) = (mib(need), mib(free));
            wrong.push(format!(
                "{}: {need} MiB are needed for {} runs, {free} MiB are free (`--keep none` needs less)",
                self.store.root().display(),
                missing.len()
            ));
        }
        Ok(if wrong.is_empty() { Ok(flown) } else { Err(wrong) })
    }

    /// Bytes that the missing runs will write: what stays of each, and checkpoints of one at a time.
    fn need(&self, missing: &[&PlannedRun], flown: &Flown) -> u64 {
        const FILES: u64 = 64 << 10;
        const RESERVE: u64 = 32 << 20;
        let weights = |run: &PlannedRun| flown.of(run).map_or(0, |seen| seen.parameters as u64 * 4);
        let kept: u64 = missing.iter().map(|run| weights(run) * self.kept + FILES).sum();
        // Two checkpoints of weights, best weights, and up to two moments of the optimizer.
        let checkpoints = missing.iter().map(|run| weights(run) * 8).max().unwrap_or(0);
        kept + checkpoints + RESERVE
    }

    fn write_something(&self) -> anyhow::Result<()> {
        let folder = cache_dir(self.store.root());
        let probe = folder.join(format!(".preflight.{}", std::process::id()));
        write_atomic(&probe, b"probe")?;
        Ok(std::fs::remove_file(&probe)?)
    }

    /// One model, in a process of its own, unless it passed before.
    fn one(&self, run: &PlannedRun, class: &str, build: &str) -> anyhow::Result<Result<Seen, String>> {
        let what = format!("{class} {} {build} {} {:?}", run.dataset_digest, self.device, self.small);
        let name = format!("{}.json", RunId::of(&what, "preflight"));
        let remembered = cache_dir(self.store.root()).join("preflight").join(name);
        if let Ok(bytes) = std::fs::read(&remembered)
            && let Ok(seen) = serde_json::from_slice(&bytes)
        {
            return Ok(Ok(seen));
        }
        let mut command = Command::new(provenance::this_program()?);
        command.args(["preflight", "--out"]).arg(std::path::absolute(self.store.root())?);
        command.args(["--device", self.device]);
        if self.small {
            command.arg("--small");
        }
        if let Some(threads) = self.threads {
            command.arg(format!("--threads={threads}")).env("RAYON_NUM_THREADS", threads.to_string());
        }
        command.env("NO_COLOR", "1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("preflight")?;
        if let Some(mut input) = child.stdin.take() {
            // A child that died before it read everything says why itself.
            let _ = input.write_all(&serde_json::to_vec(run)?);
        }
        let output = child.wait_with_output().context("preflight")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if let (true, Ok(seen)) = (output.status.success(), serde_json::from_slice::<Seen>(&output.stdout)) {
            write_atomic(&remembered, &output.stdout)?;
            return Ok(Ok(seen));
        }
        let failure = lrlab_grid::classify(0, output.status, None, &said);
        Ok(Err(failure.map_or_else(|| "interrupted".to_owned(), |failure| failure.message)))
    }
}

/// The process of one model.
#[derive(Debug, Args)]
pub(crate) struct PreflightArgs {
    /// The store.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Eight examples instead of a batch.
    #[arg(long)]
    small: bool,
    #[command(flatten)]
    machine: Machine,
}

/// Reads a planned run from standard input, makes two updates, and prints what it saw.
pub(crate) fn preflight(args: &PreflightArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text)?;
    let planned: PlannedRun = serde_json::from_slice(&text)?;
    let mut spec: RunSpec = serde_json::from_value(planned.spec)?;
    let device = args.machine.device.open()?;
    let data = registry.load(&spec.data, &cache_dir(&args.out))?;
    if data.digest != planned.dataset_digest {
        bail!(
            "the data's digest is {}, the plan says {}: they changed a moment ago, or --records names runs on other data",
            data.digest,
            planned.dataset_digest
        );
    }
    let updates_per_epoch = assemble::settings(&spec).updates_per_epoch(data.train.len());
    let lone = spec.lone_example(data.train.len());
    // Where the size is known from the experiment, reading it warned.
    let unknown = spec.data.training_examples().is_none();
    let oversized = if unknown { spec.oversized(data.train.len()) } else { Vec::new() };
    if args.small {
        spec.batch_size = spec.batch_size.min(8);
        spec.accumulate = 1;
    }
    let model = registry.build_model(&spec, &data, &device)?;
    let settings = assemble::settings(&spec);
    // The first updates would not show it.
    if let Some(lone) = lone {
        let probe = |examples| {
            lrlab_train::probe(&*model, &data.train, examples, &settings, &device).map_err(|e| e.to_string())
        };
        // What fails with two examples as well does not fail for the size of the batch.
        if let Err(error) = probe(1)
            && (data.train.len() < 2 || probe(2).is_ok())
        {
            bail!("{}, and this network cannot learn from one; {}; {error}", lone.message, lone.suggestion);
        }
    }
    let horizon = Fit::horizon(&settings, data.train.len());
    let parts = Fit {
        optimizer: assemble::optimizer(&spec, model.params())?,
        model,
        schedule: spec.schedule.build(&horizon).context("schedule")?,
        callbacks: Callbacks::new(Vec::new()),
        data: &data,
        settings: &settings,
        device: &device,
    };
    let (stop, mut clock, mut update_s) = (AtomicBool::new(false), Instant::now(), f64::INFINITY);
    let fitted = lrlab_train::fit(parts, &stop, &mut |event| {
        if let Event::Progress { update, .. } = event {
            update_s = update_s.min(clock.elapsed().as_secs_f64());
            clock = Instant::now();
            stop.store(*update >= 2, Ordering::Relaxed);
        }
    })?;
    let seen = Seen {
        parameters: fitted.parameters,
        updates_per_epoch,
        update_s,
        peak_mib: peak_mib(),
        device_mib: lrlab_kernels::device_memory(&device).map(|memory| memory.peak_mib),
        notes: oversized
            .into_iter()
            .map(|found| format!("{}; {}", found.message, found.suggestion))
            .collect(),
    };
    say_line(&serde_json::to_string(&seen)?);
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
    fn what_was_seen_of_a_gpu_is_by_the_kind_of_run() {
        let runs = [run("large"), run("small"), run("large"), run("never tried")];
        let seen = |device_mib| Seen { device_mib, ..Seen::default() };
        let seen = [(class(&runs[0]), seen(Some(900))), (class(&runs[1]), seen(Some(300)))];
        let flown = Flown { seen: seen.into() };
        assert_eq!(flown.least_device_mib(), Some(300));
        assert_eq!(Flown::default().least_device_mib(), None);
        let free = |free_mib| Gpu { id: String::new(), free_mib };
        let expected = Memory {
            free_mib: vec![Some(8000), None],
            peak_mib: vec![Some(900), Some(300), Some(900), None],
        };
        assert_eq!(flown.memory(&[free(Some(8000)), free(None)], &runs), Some(expected));
        // On the processor there is nothing to place by.
        assert_eq!(flown.memory(&[], &runs), None);
    }
}
