//! `lrlab lr-find`: the rate-range test on an experiment's model, optimizer and data.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use clap::Args;
use lrlab_callbacks::{Callbacks, RangeTest, RangeTestConfig, Suggestion};
use lrlab_runs::Cell;
use lrlab_schedulers::{Curve, ScheduleSpec, StaticSpec, plot_dots};
use lrlab_spec::RunSpec;
use lrlab_train::Fit;

use super::plan::{cells, read_experiment};
use super::say;
use super::worker::cache_dir;
use crate::options::Selection;
use crate::progress::{label, tell};
use crate::{DeviceChoice, Exit, Registry, assemble};

#[derive(Debug, Args)]
pub(crate) struct LrFindArgs {
    #[command(flatten)]
    selection: Selection,
    /// Where to train: auto, cpu, cuda, cuda:N or metal.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// The first rate.
    #[arg(long, value_name = "LR", default_value_t = 1e-7)]
    min_lr: f64,
    /// The last rate.
    #[arg(long, value_name = "LR", default_value_t = 10.0)]
    max_lr: f64,
    /// Updates of the sweep: so many rates, each a constant factor above the one before.
    #[arg(long, value_name = "N", default_value_t = 300)]
    updates: u64,
    /// Weight of the past in the smoothed loss, from 0 to below 1.
    #[arg(long, value_name = "BETA", default_value_t = 0.9)]
    smoothing: f64,
    /// Ends where the smoothed loss exceeds this multiple of its least, above 1.
    #[arg(long, value_name = "FACTOR", default_value_t = 4.0)]
    divergence: f64,
    /// Also draw the loss by rate as SVG.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

pub(crate) fn lr_find(args: &LrFindArgs, registry: &Registry) -> anyhow::Result<Exit> {
    check(args)?;
    let LrFindArgs { min_lr, max_lr, updates, smoothing, divergence, .. } = *args;
    let test = RangeTest::new(RangeTestConfig { min_lr, max_lr, updates, smoothing, divergence })?;
    let Some(experiment) = read_experiment(&args.selection, registry)? else { return Ok(Exit::BadInput) };
    let Some(cells) = cells(&experiment, &args.selection, registry)? else { return Ok(Exit::BadInput) };
    let (cell, spec) = the_one(cells)?;
    let interrupt = Arc::new(AtomicBool::new(false));
    for signal in lrlab_grid::heeded(&[signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM]) {
        signal_hook::flag::register(signal, Arc::clone(&interrupt))?;
    }
    let device = args.device.open()?;
    let data = registry.load(&spec.data, &cache_dir(&args.selection.out))?;
    let model = registry.build_model(&spec, &data, &device)?;
    let settings = assemble::settings(&spec);
    let horizon = Fit::horizon(&settings, data.train.len());
    let parts = Fit {
        optimizer: assemble::optimizer(&spec, model.params())?,
        model,
        schedule: spec.schedule.build(&horizon).context("schedule")?,
        callbacks: Callbacks::default(),
        data: &data,
        settings: &settings,
        device: &device,
    };
    let name = name(&cell);
    tell(&format!("{name}: {updates} rates from {min_lr:e} to {max_lr:e}"));
    let found = lrlab_train::sweep(parts, test, &interrupt, &mut |_, _| {})?;
    if interrupt.load(Ordering::Relaxed) {
        return Ok(Exit::Interrupted);
    }
    say(&describe(&found));
    if let Some(path) = &args.plot {
        lrlab_runs::write_atomic(path, svg(&found, &name).as_bytes())?;
    }
    Ok(Exit::Done)
}

/// What [`RangeTest::new`] refuses, in the words of the command line.
fn check(args: &LrFindArgs) -> anyhow::Result<()> {
    let LrFindArgs { min_lr, max_lr, updates, smoothing, divergence, .. } = *args;
    if !(min_lr > 0.0 && min_lr < max_lr && max_lr.is_finite()) {
        bail!("expected 0 < --min-lr < --max-lr, found --min-lr {min_lr:e} and --max-lr {max_lr:e}");
    }
    if updates < 2 {
        bail!("expected --updates above 1, found {updates}");
    }
    if !(0.0..1.0).contains(&smoothing) {
        bail!("expected --smoothing from 0 to below 1, found {smoothing}");
    }
    if divergence.is_nan() || divergence <= 1.0 {
        bail!("expected --divergence above 1, found {divergence}");
    }
    Ok(())
}

fn name(cell: &Cell) -> String {
    let word = |key: &str| cell.get(key).and_then(|value| value.as_str()).unwrap_or("–").to_owned();
    format!("{} on {}", word("model"), word("dataset"))
}

/// The first seed of the one network, data set and optimizer that the cells have in common. Schedule, monitor and
/// length play no part in a sweep.
fn the_one(cells: Vec<(Cell, RunSpec)>) -> anyhow::Result<(Cell, RunSpec)> {
    let swept = |(cell, spec): (Cell, RunSpec)| {
        let (schedule, monitor, early_stopping) = (ScheduleSpec::from(StaticSpec {}), None, None);
        (
            cell,
            RunSpec {
                schedule,
                monitor,
                early_stopping,
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
        bail!("{} runs differ in more than the rate: choose one with --filter{list}", different.len());
    }
    different.pop().context("no run matches")
}

/// What the vertical axis shows: from the lowest smoothed loss to a little above where it began, which is the median of
/// the first third.
fn losses(found: &RangeTest) -> (f64, f64) {
    let losses: Vec<f64> = found.points().iter().map(|point| point.1).collect();
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let mut begin = losses[..losses.len().div_ceil(3)].to_vec();
    begin.sort_by(f64::total_cmp);
    let begin = begin.get(begin.len() / 2).copied().unwrap_or(1.0);
    let margin = (begin - least).max(0.05 * begin.abs()).max(f64::MIN_POSITIVE);
    (least, begin + margin)
}

fn describe(found: &RangeTest) -> String {
    let points = found.points();
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return "no suggestion: the first loss is not finite, so no rate was tried\n".to_owned();
    };
    let (low, high) = losses(found);
    let smoothed: Vec<f64> = points.iter().map(|point| point.1).collect();
    let mut text = format!("loss {high:.4}\n{}", plot_dots(&smoothed, (low, high), 72, 12));
    let tried = points.len();
    let _ =
        writeln!(text, "loss {low:.4}   lr {:.2e} … {:.2e}, logarithmic, {tried} updates", first.0, last.0);
    match found.suggestion() {
        Ok(Suggestion { lr, lowest_lr, lowest_loss }) => {
            let _ = writeln!(text, "suggested lr: {lr:.3e} (within the descent of the smoothed loss)");
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
