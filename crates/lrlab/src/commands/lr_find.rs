//! `lrlab lr-find`: the learning-rate range test on an experiment's model, optimizer and data.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use lrlab_callbacks::{Callbacks, RangeTest, RangeTestConfig, Suggestion};
use lrlab_grid::Interrupt;
use lrlab_options::Selection;
use lrlab_runs::{Cell, RunStore};
use lrlab_schedulers::{Curve, ScheduleSpec, StaticSpec, plot_dots};
use lrlab_spec::{Experiment, RunSpec};
use serde_json::Value as Json;

use super::resolve::{cells, read_experiment};
use super::{print, svg_path};
use crate::device;
use crate::progress::{eprint_line, label};
use crate::{DeviceChoice, Exit, Registry, assemble};

#[derive(Debug, Args)]
pub(crate) struct LrFindArgs {
    #[command(flatten)]
    selection: Selection,
    /// Where to train: auto, cpu, cuda, cuda:N or metal.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// The lowest learning rate, with which the sweep starts.
    #[arg(long, value_name = "LR", default_value_t = 1e-7)]
    min_lr: f64,
    /// The highest learning rate.
    #[arg(long, value_name = "LR", default_value_t = 10.0)]
    max_lr: f64,
    /// The number of updates of the sweep. The learning rate grows geometrically.
    #[arg(long, value_name = "N", default_value_t = 300)]
    updates: u64,
    /// The decay of the exponential moving average of the loss; at least 0 and below 1.
    #[arg(long, value_name = "BETA", default_value_t = 0.9)]
    smoothing: f64,
    /// The sweep ends when the smoothed loss exceeds this multiple of its minimum; above 1.
    #[arg(long, value_name = "FACTOR", default_value_t = 4.0)]
    divergence: f64,
    /// Also plot the smoothed loss against the learning rate as SVG.
    #[arg(long, value_name = "FILE.svg", value_parser = svg_path)]
    plot: Option<PathBuf>,
    /// Write rates, losses and the suggestion as JSON to this file; - is standard output.
    #[arg(long, value_name = "FILE.json", value_parser = json_path)]
    json: Option<PathBuf>,
}

pub(crate) fn lr_find(args: &LrFindArgs, registry: &Registry) -> anyhow::Result<Exit> {
    let LrFindArgs { min_lr, max_lr, updates, smoothing, divergence, .. } = *args;
    let config = RangeTestConfig { min_lr, max_lr, updates, smoothing, divergence };
    if let Some(mistake) = config.mistake(|field| format!("--{}", field.replace('_', "-"))) {
        bail!(mistake);
    }
    let test = RangeTest::new(config)?;
    let files = args.plot.iter().chain(args.json.iter().filter(|path| !is_stdout(path)));
    files.clone().try_for_each(|path| check_writable(path))?;
    let experiment = read_experiment(&args.selection, registry)?;
    let cells = cells(&experiment, &args.selection, registry)?;
    let scales = scales(&experiment, &cells);
    let (cell, spec) = common_setup(cells)?;
    let interrupt = Interrupt::on_signals()?;
    let stops = || interrupt.requests() > 0;
    lrlab_kernels::compute_on_this_thread()?;
    let device = device::open(args.device)?;
    let data = registry.load(&spec.data, &RunStore::new(&args.selection.out).cache_dir())?;
    let model = registry.build_model(&spec, &data, &device)?;
    let settings = assemble::settings(&spec);
    let parts = assemble::fit(&spec, model, Callbacks::default(), &data, &settings, &device)?;
    let name = name(&cell);
    eprint_line(&format!("{name}: {updates} rates from {min_lr:e} to {max_lr:e}"));
    let mut seen = Vec::new();
    let found = lrlab_train::sweep(parts, test, &stops, &mut |lr, loss| seen.push((lr, loss)))?;
    if stops() {
        return Ok(Exit::Interrupted);
    }
    if let Some(path) = &args.plot {
        lrlab_runs::write_atomic(path, svg(&found, &name).as_bytes())?;
    }
    let json = serde_json::to_string_pretty(&json(&cell, &seen, &found, &scales))? + "\n";
    match args.json.as_deref() {
        Some(path) if is_stdout(path) => print(&json),
        path => {
            print(&describe(&found, &scales));
            if let Some(path) = path {
                lrlab_runs::write_atomic(path, json.as_bytes())?;
            }
        }
    }
    Ok(Exit::Done)
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Fails before the sweep if its output cannot be written. Folders that do not exist yet will be created.
fn check_writable(path: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(!path.is_dir(), "{}: is a folder, expected a file", path.display());
    let target = path.canonicalize().or_else(|_| std::path::absolute(path))?;
    let folder = target.ancestors().skip(1).find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let probe = tempfile::Builder::new().prefix(".lr-find.").suffix(".tmp").tempfile_in(folder);
    probe.map(drop).with_context(|| format!("{} cannot be written", path.display()))
}

/// Accepts names that end in `.json`, and - for standard output, so that no experiment file is overwritten.
fn json_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if is_stdout(&path) || path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
        return Ok(path);
    }
    Err(format!(
        "expected a name that ends in .json, such as {}, or -",
        path.with_extension("json").display()
    ))
}

/// Returns the factor by which each named optimizer of the cells multiplies `lr`, for those that have an `lr_scale`. The
/// sweep does not use it.
fn scales(experiment: &Experiment, cells: &[(Cell, RunSpec)]) -> BTreeMap<String, f64> {
    let names = cells.iter().filter_map(|(cell, _)| cell.get("optimizer")?.as_str());
    names.filter_map(|name| Some((name.to_owned(), experiment.lr_scale(name)?))).collect()
}

fn name(cell: &Cell) -> String {
    let word = |key: &str| cell.get(key).and_then(|value| value.as_str()).unwrap_or("–").to_owned();
    format!("{} on {}", word("model"), word("dataset"))
}

/// Returns the first cell. All cells must agree in what affects a sweep: the network, the data set, the optimizer, the batches
/// and the precision, but not the schedule, the monitor, the length, or what is done with the weights.
fn common_setup(cells: Vec<(Cell, RunSpec)>) -> anyhow::Result<(Cell, RunSpec)> {
    let swept = |(cell, spec): (Cell, RunSpec)| {
        (
            cell,
            RunSpec {
                schedule: ScheduleSpec::from(StaticSpec {}),
                monitor: None,
                early_stopping: None,
                averaging: None,
                divergence: None,
                keep_top: 0,
                log_every: 0,
                select: "val_accuracy".to_owned(),
                lr: 1.0,
                lr_min: 0.0,
                lr_max: None,
                epochs: 1,
                ..spec
            },
        )
    };
    let mut different: Vec<(Cell, RunSpec)> = Vec::new();
    for (cell, spec) in cells.into_iter().map(swept) {
        let same = |other: &RunSpec| RunSpec { seed: other.seed, ..spec.clone() } == *other;
        if !different.iter().any(|(_, other)| same(other)) {
            different.push((cell, spec));
        }
    }
    if different.len() > 1 {
        let mut list = String::new();
        for (cell, _) in &different {
            let _ = write!(list, "\n  {}", label(cell));
        }
        bail!(
            "{} runs differ in network, data, optimizer, batches or precision: select one with --filter{list}",
            different.len()
        );
    }
    different.pop().context("no run matches")
}

/// Returns the range of the vertical axis: from the minimum of the smoothed loss to slightly above its initial level,
/// the median of the first third.
fn losses(found: &RangeTest) -> (f64, f64) {
    let losses: Vec<f64> = found.points().iter().map(|point| point.1).collect();
    let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let mut first = losses[..losses.len().div_ceil(3)].to_vec();
    first.sort_by(f64::total_cmp);
    let initial = first.get(first.len() / 2).copied().unwrap_or(1.0);
    let margin = (initial - lowest).max(0.05 * initial.abs()).max(f64::MIN_POSITIVE);
    (lowest, initial + margin)
}

/// Returns the suggested rate, or why there is none.
fn suggestion(found: &RangeTest) -> Result<Suggestion, String> {
    if found.points().is_empty() {
        return Err("the first loss is not finite".to_owned());
    }
    found.suggestion().map_err(|reason| reason.to_string())
}

/// Returns the rates, the losses (null if not finite), the smoothed losses (null after the sweep diverged), the suggestion,
/// or why there is none, and the factors of `lr` by the name of the optimizer. All rates are those of the updates.
fn json(cell: &Cell, seen: &[(f64, f64)], found: &RangeTest, scales: &BTreeMap<String, f64>) -> Json {
    let smoothed = |index: usize| found.points().get(index).map(|point| point.1);
    let suggestion = suggestion(found);
    serde_json::json!({
        "cell": cell,
        "rates": seen.iter().map(|(lr, _)| lr).collect::<Vec<_>>(),
        "losses": seen.iter().map(|(_, loss)| loss).collect::<Vec<_>>(),
        "smoothed": (0..seen.len()).map(smoothed).collect::<Vec<_>>(),
        "suggestion": suggestion.as_ref().ok().map(|Suggestion { lr, lowest_lr, lowest_loss }| {
            serde_json::json!({ "lr": lr, "lowest_lr": lowest_lr, "lowest_loss": lowest_loss })
        }),
        "reason": suggestion.err(),
        "lr_scale": scales,
    })
}

fn describe(found: &RangeTest, scales: &BTreeMap<String, f64>) -> String {
    let (points, mut text) = (found.points(), String::new());
    if let (Some(first), Some(last)) = (points.first(), points.last()) {
        let (low, high) = losses(found);
        let smoothed: Vec<f64> = points.iter().map(|point| point.1).collect();
        let _ = write!(text, "loss {high:.4}\n{}", plot_dots(&smoothed, (low, high), 72, 12));
        let (first, last, tried) = (first.0, last.0, points.len());
        let _ = writeln!(text, "loss {low:.4}   lr {first:.2e} … {last:.2e}, logarithmic, {tried} updates");
    }
    match suggestion(found) {
        Ok(Suggestion { lr, lowest_lr, lowest_loss }) => {
            let _ = writeln!(text, "suggested lr: {lr:.3e} (within the descent of the smoothed loss)");
            for (name, scale) in scales {
                let _ = writeln!(
                    text,
                    "for optimizer {name}, write lr = {:.3e}: its `lr_scale` multiplies it by {scale}",
                    lr / scale
                );
            }
            let _ = writeln!(text, "lowest loss before it rises: {lowest_loss:.4} at lr {lowest_lr:.3e}");
        }
        Err(reason) => {
            let _ = writeln!(text, "no suggestion: {reason}");
        }
    }
    text
}

fn svg(found: &RangeTest, title: &str) -> String {
    let title = format!("smoothed loss by rate: {title}");
    Curve {
        title: &title,
        points: found.points(),
        x: ("rate", true),
        y: losses(found),
        mark: found.suggestion().ok().map(|found| found.lr),
    }
    .svg()
}
