//! The overhead of grids: planning ten thousand cells and reading their states, and a run with few updates.

use std::cell::Cell as Counter;
use std::process::{Command, Stdio};

use anyhow::bail;
use candle_core::{Device, Tensor};
use lrlab_grid::{Assignment, GridOutcome, Interrupt, LocalExecutor, WorkerCommand};
use lrlab_options::{Part, Selection};
use lrlab_runs::{Plan, RunStore};

use super::workload::{Kind, Step, Workload};
use crate::Registry;
use crate::commands::plan::listing;
use crate::commands::resolve::{read_experiment, resolve};

/// The number of cells of the large grid.
const CELLS: usize = 10_000;

pub(super) fn grids() -> Vec<Workload> {
    vec![
        // Per second: cells.
        Workload::new(Kind::Grid, "grid", CELLS, Box::new(|_| large())),
        // Per second: runs. Apart from three updates, the time is the overhead of a run.
        Workload::new(Kind::Grid, "grid-run", 1, Box::new(|_| one_run())),
    ]
}

/// An experiment on embedded data: two networks, a thousand rates, five seeds.
fn experiment(rates: usize, seeds: usize, train: usize) -> String {
    let rates = (1..=rates).map(|n| (n as f64 / 1e4).to_string()).collect::<Vec<_>>().join(", ");
    let seeds = (0..seeds).map(|seed| seed.to_string()).collect::<Vec<_>>().join(", ");
    format!(
        "name = \"bench\"\n[axes]\nmodel = [\"resnet\", \"linear\"]\nschedule = [\"cosine\"]\nlr = [{rates}]\n\
         seed = [{seeds}]\n[defaults]\nepochs = 1\nbatch_size = 32\noptimizer = {{ sgd = {{ momentum = 0.9 }} }}\n\
         [models]\nresnet = {{ network = {{ resnet = {{ depth = 8 }} }}, data = \"pictures\" }}\n\
         linear = {{ network = {{ linear = {{}} }}, data = \"pictures\" }}\n\
         [data.pictures]\nsource = {{ synthetic_pictures = {{}} }}\nlimit = {{ train = {train} }}\n\
         [schedules]\ncosine = {{ cosine = {{}} }}\n"
    )
}

/// Reads the text of an experiment and resolves its plan.
fn plan(text: &str, registry: &Registry, store: &RunStore, filters: &[String]) -> anyhow::Result<Plan> {
    let experiment = lrlab_spec::read(text, "bench.toml", &[], &registry.catalog())?;
    let cells = experiment.cells(filters, None)?;
    let cache = store.cache_dir();
    Ok(lrlab_grid::resolve(&experiment.name, cells, |data| Ok(registry.identify(data, &cache)?.0), |_| None)?)
}

/// What `lrlab plan` does, down to the text it prints, with the plan written as `lrlab run` does.
fn large() -> anyhow::Result<Step> {
    let folder = tempfile::tempdir()?;
    let registry = Registry::default();
    let selection = Selection {
        experiment: folder.path().join("bench.toml"),
        out: folder.path().join("runs"),
        part: Part::default(),
    };
    std::fs::write(&selection.experiment, experiment(CELLS / 10, 5, 512))?;
    let store = RunStore::new(&selection.out);
    // Creates the folder of every run, as a previous call would, in another process, whose memory is not measured.
    let mut record = Command::new(std::env::current_exe()?);
    record.arg("run").arg(&selection.experiment).arg("--out").arg(&selection.out);
    let status = record.args(["--emit", "commands"]).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if !status.success() {
        bail!("recording {CELLS} runs failed: {status}");
    }
    Ok(Box::new(move || {
        let _keep = &folder;
        let plan = planned(&selection, &registry).map_err(candle)?;
        store.write_plan(&plan).map_err(candle)?;
        let text = listing(&plan, &store, &vec![None; plan.runs.len()]).map_err(candle)?;
        Tensor::new(&[text.len() as f32], &Device::Cpu)
    }))
}

fn planned(selection: &Selection, registry: &Registry) -> anyhow::Result<Plan> {
    resolve(&read_experiment(selection, registry)?, selection, registry)
}

/// Executes one run per step, from its claim to its result.
fn one_run() -> anyhow::Result<Step> {
    let folder = tempfile::tempdir()?;
    let store = RunStore::new(folder.path());
    let registry = Registry::default();
    let plan = plan(&experiment(1, 1200, 96), &registry, &store, &["model=resnet".to_owned()])?;
    lrlab_grid::record(&store, &plan)?;
    let (program, out) = (std::env::current_exe()?, std::path::absolute(store.root())?);
    let next = Counter::new(0);
    Ok(Box::new(move || {
        let _keep = &folder;
        let index = next.replace(next.get() + 1) % plan.runs.len();
        let command = |assignment: &Assignment<'_>| {
            let Assignment { run, attempt, threads, .. } = assignment;
            let words = ["worker", "--watch-stdin", "--device", "cpu", "--run", run.run_id.as_str()];
            let mut args = Vec::from(words.map(Into::into));
            args.extend(["--out".into(), out.clone().into_os_string()]);
            args.extend(["--attempt".into(), attempt.to_string().into()]);
            args.extend(["--threads".into(), threads.to_string().into()]);
            WorkerCommand { program: program.clone(), args, env: Vec::new() }
        };
        let runs = std::slice::from_ref(&plan.runs[index]);
        let end = LocalExecutor::default().run(&store, runs, &Interrupt::default(), command, |_, _| {});
        match end.map_err(candle)? {
            GridOutcome { done: 1, .. } => Tensor::new(&[1.0_f32], &Device::Cpu),
            GridOutcome { failed, .. } => {
                let why = failed.first().map_or_else(|| "no result".to_owned(), |(_, f)| f.message.clone());
                Err(candle_core::Error::Msg(why))
            }
        }
    }))
}

fn candle(error: impl std::fmt::Display) -> candle_core::Error {
    candle_core::Error::Msg(error.to_string())
}
