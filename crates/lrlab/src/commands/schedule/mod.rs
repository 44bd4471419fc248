//! `lrlab schedule`: inspects schedules and controllers without training.

mod gains;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use lrlab_schedulers::{Compat, ControllerSpec, Decision, Horizon, Lambdas, Observation, ScheduleSpec};

use super::{print, svg_path};
use crate::progress::eprint_line;
use crate::{Exit, Registry};

#[derive(Debug, Args)]
pub(crate) struct ScheduleArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the schedules, each with a plot over time and an example.
    List,
    /// Print one learning rate per line, update 0 first.
    Trace {
        #[command(flatten)]
        schedule: Scheduled,
        /// The semantics of the schedule.
        #[arg(long, value_enum, default_value = "lrlab")]
        compat: CompatArg,
    },
    /// Print the rate after each observation of a recorded metric (open loop: the metric does not respond).
    Replay {
        /// The controller: `plateau = { factor = 0.5, patience = 2 }`.
        #[arg(long)]
        controller: String,
        /// The rate before the first observation.
        #[arg(long)]
        lr: f64,
        /// One metric per line, optionally followed by its standard error.
        #[arg(long, value_name = "FILE")]
        metrics: PathBuf,
        /// The semantics of the controller.
        #[arg(long, value_enum, default_value = "lrlab")]
        compat: CompatArg,
        /// A schedule that the controller scales. Prints the rate of every update; `--lr` is the base rate.
        #[arg(long, requires = "updates_per_epoch")]
        schedule: Option<String>,
        /// Updates between two observations.
        #[arg(long, requires = "schedule")]
        updates_per_epoch: Option<u64>,
    },
    /// Print the gains that a controller set in finished runs, as `scripted = { … }`: a controller that sets the same
    /// gains in other runs, regardless of their metric.
    Gains {
        /// Files of records, or folders of *.jsonl files.
        #[arg(required = true, value_name = "FILE|DIR")]
        records: Vec<PathBuf>,
        /// Only the runs with this id or prefix of an id (repeatable).
        #[arg(long, value_name = "RUN_ID")]
        run: Vec<String>,
        /// The callback that made the decisions.
        #[arg(long, default_value = gains::MONITOR)]
        source: String,
    },
    /// Plot the schedule in the terminal or as SVG.
    Plot {
        #[command(flatten)]
        schedule: Scheduled,
        /// The semantics of the schedule.
        #[arg(long, value_enum, default_value = "lrlab")]
        compat: CompatArg,
        /// An SVG file; by default the plot goes to the terminal.
        #[arg(long, value_name = "FILE.svg", value_parser = svg_path)]
        out: Option<PathBuf>,
    },
    /// Check for valid but unlikely settings: lengths that do not fit the run, controllers that cannot act.
    Lint {
        #[command(flatten)]
        schedule: Scheduled,
        /// A controller that watches the run (repeatable).
        #[arg(long)]
        controller: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct Scheduled {
    /// The schedule: `cosine = { t_max = "50%" }`.
    #[arg(long)]
    schedule: String,
    /// The base rate.
    #[arg(long)]
    lr: f64,
    /// Updates of the run.
    #[arg(long, required_unless_present = "epochs")]
    updates: Option<u64>,
    /// Epochs of the run.
    #[arg(long)]
    epochs: Option<u64>,
    /// Updates of one epoch.
    #[arg(long)]
    updates_per_epoch: Option<u64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CompatArg {
    /// The semantics of this program.
    Lrlab,
    /// The semantics of PyTorch: one update is one `scheduler.step()`, bare numbers are steps, and results
    /// are bit-identical to PyTorch's.
    Torch,
}

impl From<CompatArg> for Compat {
    fn from(arg: CompatArg) -> Self {
        match arg {
            CompatArg::Lrlab => Self::Lrlab,
            CompatArg::Torch => Self::Torch,
        }
    }
}

pub(crate) fn schedule(args: &ScheduleArgs, registry: &Registry) -> anyhow::Result<Exit> {
    inspect(args, registry.lambdas()).map_err(|error| match suggestion(&error.to_string()) {
        Some(better) if error.is::<lrlab_schedulers::Error>() => anyhow::anyhow!(better),
        _ => error,
    })
}

/// Replaces the list of names in the error of a misspelt one by a suggestion.
fn suggestion(error: &str) -> Option<String> {
    let (start, list) = error.rsplit_once(", expected ")?;
    let (before, word) = start.strip_suffix('`')?.rsplit_once('`')?;
    if !(before.ends_with("unknown variant ") || before.ends_with("unknown field ")) {
        return None;
    }
    let name = lrlab_config::nearest(word, list.split('`').skip(1).step_by(2))?;
    Some(format!("{start}; did you mean `{name}`?"))
}

fn inspect(args: &ScheduleArgs, lambdas: &Lambdas) -> anyhow::Result<Exit> {
    match &args.what {
        What::Trace { schedule, compat } => {
            let rates = trace(schedule, (*compat).into(), lambdas)?;
            print(&lines(&rates));
        }
        What::List => print(&list(lambdas)?),
        What::Replay { controller, lr, metrics, compat, schedule, updates_per_epoch } => {
            let (seen, compat) = (read_metrics(metrics)?, (*compat).into());
            let rates = match (schedule, *updates_per_epoch) {
                (Some(schedule), Some(updates_per_epoch)) => {
                    if compat == Compat::Torch {
                        bail!(
                            "--schedule with --compat torch: PyTorch's schedulers overwrite each other's rates"
                        );
                    }
                    let run = observed_horizon(&seen, updates_per_epoch)?;
                    let schedule = parse(schedule, lambdas)?.build(&run)?;
                    lrlab_schedulers::replay_under(&*schedule, controller, rate(*lr)?, &run, &seen)?
                }
                _ => lrlab_schedulers::replay(controller, rate(*lr)?, &seen, compat)?,
            };
            eprint_line("note: open loop: the metric does not respond to the rates");
            if compat == Compat::Lrlab {
                for (after, decision) in lrlab_schedulers::decisions(controller, &seen)? {
                    eprint_line(&format!("observation {after}: {}", describe(&decision)));
                }
            }
            print(&lines(&rates));
        }
        What::Gains { records, run, source } => print(&gains::gains(records, run, source)?),
        What::Plot { schedule, compat, out } => {
            let rates = trace(schedule, (*compat).into(), lambdas)?;
            match out {
                None => print(&lrlab_schedulers::plot_text(&rates, 72, 12)),
                Some(path) => {
                    let svg = lrlab_schedulers::plot_svg(&rates, &schedule.schedule);
                    lrlab_runs::write_atomic(path, svg.as_bytes())?;
                }
            }
        }
        What::Lint { schedule, controller } => {
            let spec = parse(&schedule.schedule, lambdas)?;
            let controllers =
                controller.iter().map(|text| ControllerSpec::parse(text)).collect::<Result<Vec<_>, _>>()?;
            let findings =
                lrlab_schedulers::lint(&spec, rate(schedule.lr)?, &schedule.horizon()?, &controllers)?;
            if findings.is_empty() {
                print("no problems found\n");
            }
            for finding in findings {
                print(&format!("{finding}\n"));
            }
        }
    }
    Ok(Exit::Done)
}

/// The maximum number of updates, whose rates are in memory at once.
const LONGEST: u64 = 100_000_000;

fn limited(horizon: Horizon) -> anyhow::Result<Horizon> {
    if horizon.updates > LONGEST {
        bail!("a run of {} updates is too long: expected at most {LONGEST}", horizon.updates);
    }
    Ok(horizon)
}

/// Returns the horizon of a run with one observation at the end of each epoch.
fn observed_horizon(seen: &[Observation], updates_per_epoch: u64) -> anyhow::Result<Horizon> {
    if updates_per_epoch == 0 {
        bail!("--updates-per-epoch 0: expected at least 1");
    }
    limited(Horizon { updates: updates_per_epoch.saturating_mul(seen.len() as u64), updates_per_epoch })
}

/// Lists each schedule, and each function that this program registers, with a plot of its rates over ten epochs (base rate
/// 0.1), a summary and an example.
fn list(lambdas: &Lambdas) -> anyhow::Result<String> {
    let run = Horizon { updates: 400, updates_per_epoch: 40 };
    let mut text = String::new();
    let mut line = |summary: &str, example: &str| -> anyhow::Result<()> {
        let spec = parse(example, lambdas)?;
        let plot = lrlab_schedulers::plot_line(&rates(&spec, 0.1, &run)?, 40);
        let _ = writeln!(text, "{:<20} {plot}  {summary}\n    {example}", spec.name());
        Ok(())
    };
    for (summary, example) in lrlab_schedulers::EXAMPLES {
        line(summary, example)?;
    }
    for (name, version) in lambdas.names() {
        let version = version.map(|version| format!(", version {version:?}")).unwrap_or_default();
        line(&format!("a function of this program{version}"), &format!("lambda = {{ name = {name:?} }}"))?;
    }
    Ok(text)
}

/// Reads a schedule, and looks up the functions that it names.
fn parse(text: &str, lambdas: &Lambdas) -> Result<ScheduleSpec, lrlab_schedulers::Error> {
    let mut spec = ScheduleSpec::parse(text)?;
    spec.bind(lambdas)?;
    Ok(spec)
}

/// Returns the rate of every update.
fn rates(spec: &ScheduleSpec, base: f64, run: &Horizon) -> Result<Vec<f64>, lrlab_schedulers::Error> {
    let schedule = spec.build(run)?;
    Ok((0..run.updates).map(|update| schedule.lr(base, run.at(update))).collect())
}

fn trace(scheduled: &Scheduled, compat: Compat, lambdas: &Lambdas) -> anyhow::Result<Vec<f64>> {
    let (horizon, base) = (scheduled.horizon()?, rate(scheduled.lr)?);
    Ok(match compat {
        Compat::Lrlab => rates(&parse(&scheduled.schedule, lambdas)?, base, &horizon)?,
        Compat::Torch => lrlab_schedulers::trace(&scheduled.schedule, base, &horizon, compat)?,
    })
}

fn rate(lr: f64) -> anyhow::Result<f64> {
    if lr.is_finite() && lr >= 0.0 {
        Ok(lr)
    } else {
        bail!("--lr {lr}: expected a finite rate of at least 0")
    }
}

fn describe(decision: &Decision) -> String {
    match decision {
        Decision::Keep => "nothing".to_owned(),
        Decision::Gain { reason, .. } | Decision::Try { reason, .. } => reason.clone(),
        Decision::Rewind { reason, .. } => format!("restores the best weights, {reason}"),
        Decision::Stop { reason } => format!("stop: {reason}"),
    }
}

impl Scheduled {
    /// Without a number of epochs the run is one epoch.
    fn horizon(&self) -> anyhow::Result<Horizon> {
        let Self { updates, epochs, updates_per_epoch, .. } = *self;
        let horizon = match (updates, epochs, updates_per_epoch) {
            (Some(updates), None, None) => Horizon { updates, updates_per_epoch: updates },
            (Some(updates), None, Some(updates_per_epoch)) => Horizon { updates, updates_per_epoch },
            (None, Some(epochs), Some(updates_per_epoch)) => {
                Horizon { updates: epochs.saturating_mul(updates_per_epoch), updates_per_epoch }
            }
            (Some(updates), Some(epochs), None) if epochs > 0 && updates % epochs == 0 => {
                Horizon { updates, updates_per_epoch: updates / epochs }
            }
            (Some(updates), Some(epochs), Some(updates_per_epoch))
                if epochs.checked_mul(updates_per_epoch) == Some(updates) =>
            {
                Horizon { updates, updates_per_epoch }
            }
            (Some(_), Some(_), _) => bail!(
                "--updates, --epochs and --updates-per-epoch do not agree: give two of them; epochs must be whole"
            ),
            (None, _, _) => bail!("--epochs needs --updates-per-epoch to give the length of the run"),
        };
        if horizon.updates == 0 || horizon.updates_per_epoch == 0 {
            bail!("expected at least one update per run and per epoch");
        }
        limited(horizon)
    }
}

/// Formats each rate as the shortest decimal that parses to the same number, one per line.
fn lines(rates: &[f64]) -> String {
    rates.iter().fold(String::new(), |mut text, rate| {
        let _ = writeln!(text, "{rate:?}");
        text
    })
}

fn read_metrics(path: &Path) -> anyhow::Result<Vec<Observation>> {
    let name = path.display().to_string();
    let text = lrlab_spec::decode(&std::fs::read(path).with_context(|| name.clone())?, &name)?;
    let line = |(number, line): (usize, &str)| {
        read_observation(line).with_context(|| format!("{}:{}: {line:?}", path.display(), number + 1))
    };
    let lines = text.lines().enumerate();
    let seen: Vec<_> =
        lines.filter(|(_, text)| !text.trim().is_empty()).map(line).collect::<Result<_, _>>()?;
    if seen.is_empty() {
        bail!("{}: no metric: expected one number per line", path.display());
    }
    Ok(seen)
}

fn read_observation(line: &str) -> anyhow::Result<Observation> {
    let mut columns = line.split([',', ';', ' ', '\t', '\r']).filter(|column| !column.is_empty());
    let number = |column: &str| column.parse::<f64>().with_context(|| format!("{column:?} is not a number"));
    let Some(value) = columns.next() else { bail!("expected a number") };
    let observation = Observation { value: number(value)?, stderr: columns.next().map(number).transpose()? };
    if let Some(stderr) = observation.stderr.filter(|stderr| stderr.is_nan() || *stderr < 0.0) {
        bail!("the standard error is {stderr}: expected at least 0");
    }
    match columns.next() {
        None => Ok(observation),
        Some(_) => bail!("more than two columns: expected a metric and its standard error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations() {
        assert_eq!(read_observation("0.5").unwrap(), Observation { value: 0.5, stderr: None });
        assert_eq!(read_observation("1e-3, 0.1").unwrap(), Observation { value: 1e-3, stderr: Some(0.1) });
        assert!(read_observation("nan").unwrap().value.is_nan());
        for (line, expected) in [
            ("0.5 x", "\"x\" is not a number"),
            ("1 2 3", "more than two columns"),
            ("1 -2", "the standard error is -2"),
            (" ", "expected a number"),
        ] {
            assert!(read_observation(line).unwrap_err().to_string().starts_with(expected), "{line}");
        }
        assert_eq!(read_observation("-Infinity").unwrap().value, f64::NEG_INFINITY);
        assert_eq!(read_observation(" +1.5E+00 \r").unwrap().value, 1.5);
    }

    #[test]
    fn misspelt_names_have_a_suggestion() {
        let error = |text: &str| ScheduleSpec::parse(text).unwrap_err().to_string();
        for (text, name) in [
            ("warmpu = { over = '1 epoch' }", "warmup"),
            ("delay = { by = '40%', of = { exponentail = {} } }", "exponential"),
            ("cosine = { eta_mn = 0.1 }", "eta_min"),
        ] {
            let found = suggestion(&error(text)).unwrap_or_default();
            assert!(found.ends_with(&format!("`; did you mean `{name}`?")), "{text}: {found}");
            assert!(!found.contains("expected"), "{found}");
        }
        assert_eq!(suggestion(&error("frobnicate = {}")), None);
        assert_eq!(suggestion(&error("cosine = ")), None);
    }

    #[test]
    fn each_schedule_has_a_plot() {
        let text = list(&Lambdas::default()).unwrap();
        assert_eq!(text.lines().count(), 2 * lrlab_schedulers::EXAMPLES.len());
        let first =
            format!("{:<20} {}  the base rate throughout\n    static = {{}}\n", "static", "█".repeat(40));
        assert!(text.starts_with(&first), "{text}");
        // As printed, each example is the table of a schedule in an experiment.
        for example in text.lines().skip(1).step_by(2) {
            let table = format!("[schedules.any]\n{example}\n").parse::<toml::Table>().unwrap();
            let schedule = table["schedules"]["any"].clone().try_into::<ScheduleSpec>();
            assert!(schedule.is_ok(), "{example}: {schedule:?}");
        }
    }

    #[test]
    fn shortest_decimals() {
        assert_eq!(lines(&[0.1, 1e-5, 0.0, 1.0 / 3.0]), "0.1\n1e-5\n0.0\n0.3333333333333333\n");
    }
}
