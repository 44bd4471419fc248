//! The command line, and the runner's command line made from it. All options are declared here, so that mistakes are
//! found before anything is built; the runner checks the values.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};

use crate::workspace::{in_root, root};

const EXPERIMENT: &str = "experiments/quickstart.toml";
const STORE: &str = "runs";

/// An experiment and a selection of its runs.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// The experiment file [default: experiments/quickstart.toml, which needs no network and no data]
    experiment: Option<PathBuf>,
    /// The store [default: runs/ in the workspace]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    part: Part,
}

/// A selection of an experiment's runs, and overrides.
#[derive(Debug, Args)]
struct Part {
    #[command(flatten)]
    cells: Cells,
    /// The run with this id or prefix of an id
    #[arg(long, value_name = "RUN_ID")]
    run: Option<OsString>,
}

impl Part {
    fn add_to(&self, arguments: &mut Vec<OsString>) {
        self.cells.add_to(arguments);
        push(arguments, "--run", self.run.as_ref());
    }
}

/// A selection of an experiment's cells, and overrides.
#[derive(Debug, Args)]
struct Cells {
    /// Override a key of the experiment (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<OsString>,
    /// Only matching cells (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<OsString>,
    /// The first N seeds
    #[arg(long, value_name = "N")]
    seeds: Option<OsString>,
}

impl Cells {
    fn add_to(&self, arguments: &mut Vec<OsString>) {
        self.set.iter().for_each(|value| push(arguments, "--set", Some(value)));
        self.filter.iter().for_each(|value| push(arguments, "--filter", Some(value)));
        push(arguments, "--seeds", self.seeds.as_ref());
    }
}

/// Runs that count as done.
#[derive(Debug, Args)]
struct OnRecord {
    /// Count the runs in this file of records, or in the *.jsonl files of this folder, as done (repeatable)
    #[arg(long, value_name = "FILE|DIR")]
    records: Vec<PathBuf>,
    /// Do not count the records in results/NAME next to the experiment file
    #[arg(long, conflicts_with = "records")]
    no_records: bool,
}

impl OnRecord {
    fn add_to(&self, arguments: &mut Vec<OsString>) {
        self.records.iter().for_each(|value| push(arguments, "--records", Some(value)));
        arguments.extend(self.no_records.then(|| "--no-records".into()));
    }
}

impl Selection {
    fn add_to(&self, arguments: &mut Vec<OsString>) -> anyhow::Result<()> {
        arguments.push(experiment(self.experiment.as_ref())?.into());
        push(arguments, "--out", Some(&store(self.out.as_ref())?));
        self.part.add_to(arguments);
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Executor {
    /// Processes on this machine
    Local,
    /// Job arrays; needs --slurm-profile
    Slurm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Emit {
    /// One command per run, for GNU parallel and the like
    Commands,
    /// The scripts for sbatch
    Slurm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Keep {
    /// Figures and logs only
    None,
    /// Also the best epoch's weights
    Best,
    /// Also the last epoch's weights and checkpoints
    All,
}

/// Options of `run-grid`.
#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    on_record: OnRecord,
    /// Where to train: auto, cpu, cuda, cuda:N or metal
    #[arg(long, default_value = "auto")]
    pub(crate) device: String,
    /// Runs at once on this machine [default: from cores, memory and devices]
    #[arg(long, value_name = "N")]
    jobs: Option<OsString>,
    /// Where to do the runs [default: local]
    #[arg(long, value_enum)]
    executor: Option<Executor>,
    /// The site's partitions and the resources of runs (TOML)
    #[arg(long, value_name = "FILE")]
    slurm_profile: Option<PathBuf>,
    /// With Slurm: wait until the grid is done
    #[arg(long)]
    wait: bool,
    /// Print the commands or scripts that would do the runs instead of doing them
    #[arg(long, value_enum)]
    emit: Option<Emit>,
    /// Set results of other builds or machines aside and redo their runs
    #[arg(long)]
    rerun_others: bool,
    /// Print the plan and an estimate; start nothing
    #[arg(long)]
    dry_run: bool,
    /// Which weights to keep [default: best]
    #[arg(long, value_enum)]
    keep: Option<Keep>,
    /// How often to save a run's state: "auto", "5 seconds", "200 updates", "1 epoch" or "never"
    #[arg(long, value_name = "INTERVAL")]
    checkpoint_every: Option<OsString>,
    /// Threads per run
    #[arg(long, value_name = "N")]
    threads: Option<OsString>,
    /// A user-built runner binary with additional models or data sets
    #[arg(long, value_name = "PATH")]
    pub(crate) runner: Option<PathBuf>,
    #[command(flatten)]
    on_failure: OnFailure,
}

/// What a failed run does to the rest.
#[derive(Debug, Args)]
struct OnFailure {
    /// Continue with the other runs when one fails (the default)
    #[arg(long, conflicts_with = "fail_fast")]
    keep_going: bool,
    /// Stop the other runs when one fails
    #[arg(long)]
    fail_fast: bool,
}

impl RunOptions {
    /// Returns the runner's command line.
    pub(crate) fn arguments(&self) -> anyhow::Result<Vec<OsString>> {
        let mut arguments = vec!["run".into()];
        self.selection.add_to(&mut arguments)?;
        self.on_record.add_to(&mut arguments);
        push(&mut arguments, "--device", Some(&self.device));
        push(&mut arguments, "--jobs", self.jobs.as_ref());
        push(&mut arguments, "--executor", self.executor.as_ref().and_then(value_name).as_ref());
        push(&mut arguments, "--slurm-profile", self.slurm_profile.as_ref());
        push(&mut arguments, "--emit", self.emit.as_ref().and_then(value_name).as_ref());
        push(&mut arguments, "--keep", self.keep.as_ref().and_then(value_name).as_ref());
        push(&mut arguments, "--checkpoint-every", self.checkpoint_every.as_ref());
        push(&mut arguments, "--threads", self.threads.as_ref());
        for (given, flag) in [
            (self.dry_run, "--dry-run"),
            (self.wait, "--wait"),
            (self.rerun_others, "--rerun-others"),
            (self.on_failure.keep_going, "--keep-going"),
            (self.on_failure.fail_fast, "--fail-fast"),
        ] {
            arguments.extend(given.then(|| flag.into()));
        }
        Ok(arguments)
    }
}

/// Options of `report`.
#[derive(Debug, Args)]
pub(crate) struct ReportOptions {
    #[command(flatten)]
    selection: Selection,
    /// Further experiment files: one report of all of them, in which the experiment is an axis
    #[arg(value_name = "EXPERIMENT")]
    others: Vec<PathBuf>,
    #[command(flatten)]
    on_record: OnRecord,
    /// The folder to write to [default: `DIR/EXPERIMENT/report`]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Print the verdict on each claim, and fail unless each is what the experiment expects
    #[arg(long)]
    check: bool,
    /// A user-built runner binary
    #[arg(long, value_name = "PATH")]
    pub(crate) runner: Option<PathBuf>,
}

impl ReportOptions {
    /// Returns the runner's command line.
    pub(crate) fn arguments(&self) -> anyhow::Result<Vec<OsString>> {
        let mut arguments = vec!["report".into()];
        self.selection.add_to(&mut arguments)?;
        for other in &self.others {
            arguments.push(experiment(Some(other))?.into());
        }
        self.on_record.add_to(&mut arguments);
        push(&mut arguments, "--to", self.to.as_ref());
        arguments.extend(self.check.then(|| "--check".into()));
        Ok(arguments)
    }
}

/// Options of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusOptions {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    on_record: OnRecord,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Refresh every second, with curves
    #[arg(long)]
    watch: bool,
    /// A user-built runner binary
    #[arg(long, value_name = "PATH")]
    pub(crate) runner: Option<PathBuf>,
}

impl StatusOptions {
    /// Returns the runner's command line.
    pub(crate) fn arguments(&self) -> anyhow::Result<Vec<OsString>> {
        let mut arguments = vec!["status".into()];
        self.selection.add_to(&mut arguments)?;
        self.on_record.add_to(&mut arguments);
        arguments.extend(self.json.then(|| "--json".into()));
        arguments.extend(self.watch.then(|| "--watch".into()));
        Ok(arguments)
    }
}

/// Options of `tensorboard`.
#[derive(Debug, Args)]
pub(crate) struct TensorBoardOptions {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    on_record: OnRecord,
    /// A user-built runner binary
    #[arg(long, value_name = "PATH")]
    pub(crate) runner: Option<PathBuf>,
}

impl TensorBoardOptions {
    /// Returns the runner's command line.
    pub(crate) fn arguments(&self) -> anyhow::Result<Vec<OsString>> {
        let mut arguments = vec!["tensorboard".into()];
        self.selection.add_to(&mut arguments)?;
        self.on_record.add_to(&mut arguments);
        Ok(arguments)
    }
}

/// Options of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyOptions {
    /// The experiment whose finished runs are redone. Without one: every run of --records; the runs of --run, of any
    /// experiment; or otherwise those of experiments/quickstart.toml
    experiment: Option<PathBuf>,
    /// The store with the results [default: runs/ in the workspace]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Take the results from this file of records, or from the *.jsonl files of this folder (repeatable)
    #[arg(long, value_name = "FILE|DIR")]
    records: Vec<PathBuf>,
    #[command(flatten)]
    cells: Cells,
    /// Only the run with this id or prefix of an id (repeatable)
    #[arg(long, value_name = "RUN_ID")]
    run: Vec<OsString>,
    /// Only N runs, the same in every call
    #[arg(long, value_name = "N")]
    sample: Option<OsString>,
    /// Where to train: auto, cpu, cuda, cuda:N or metal
    #[arg(long, default_value = "auto")]
    pub(crate) device: String,
    /// Threads per run
    #[arg(long, value_name = "N")]
    threads: Option<OsString>,
    /// Runs at once on this machine [default: from cores, memory and devices]
    #[arg(long, value_name = "N")]
    jobs: Option<OsString>,
    /// Redo the runs in this new or empty folder and keep it
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// A user-built runner binary
    #[arg(long, value_name = "PATH")]
    pub(crate) runner: Option<PathBuf>,
}

impl VerifyOptions {
    /// Returns the runner's command line.
    pub(crate) fn arguments(&self) -> anyhow::Result<Vec<OsString>> {
        let mut arguments = vec!["verify".into()];
        match &self.experiment {
            None if !(self.records.is_empty() && self.run.is_empty()) => {}
            given => arguments.push(experiment(given.as_ref())?.into()),
        }
        push(&mut arguments, "--out", Some(&store(self.out.as_ref())?));
        self.records.iter().for_each(|value| push(&mut arguments, "--records", Some(value)));
        self.cells.add_to(&mut arguments);
        self.run.iter().for_each(|value| push(&mut arguments, "--run", Some(value)));
        push(&mut arguments, "--sample", self.sample.as_ref());
        push(&mut arguments, "--device", Some(&self.device));
        push(&mut arguments, "--threads", self.threads.as_ref());
        push(&mut arguments, "--jobs", self.jobs.as_ref());
        push(&mut arguments, "--keep", self.keep.as_ref());
        Ok(arguments)
    }
}

/// Options of `gc`.
#[derive(Debug, Args)]
pub(crate) struct GcOptions {
    /// An experiment file: its current runs that match the options below are kept; its other runs are removed
    experiment: Option<PathBuf>,
    /// The store [default: runs/ in the workspace]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Remove the listed files
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// A user-built runner binary
    #[arg(long, value_name = "PATH")]
    pub(crate) runner: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Runs of EXPERIMENT to keep (its other runs are removed)")]
    part: Part,
}

impl GcOptions {
    /// Returns the runner's command line.
    pub(crate) fn arguments(&self) -> anyhow::Result<Vec<OsString>> {
        let mut arguments = vec!["gc".into()];
        arguments
            .extend(self.experiment.as_ref().map(|path| experiment(Some(path))).transpose()?.map(Into::into));
        push(&mut arguments, "--out", Some(&store(self.out.as_ref())?));
        self.part.add_to(&mut arguments);
        arguments.extend(self.yes.then(|| "--yes".into()));
        arguments.extend(self.json.then(|| "--json".into()));
        Ok(arguments)
    }
}

fn store(given: Option<&PathBuf>) -> anyhow::Result<PathBuf> {
    given.cloned().map_or_else(|| in_root(STORE), Ok)
}

/// Looks for a path in the current folder, then in the workspace's root.
fn experiment(given: Option<&PathBuf>) -> anyhow::Result<PathBuf> {
    let Some(given) = given else { return in_root(EXPERIMENT) };
    if given.is_file() {
        return Ok(given.clone());
    }
    let there = root()?.join(given);
    if there.is_file() {
        return Ok(there);
    }
    bail!("there is no experiment file {}", given.display())
}

/// Returns the name of a value on the command line.
fn value_name(choice: &impl ValueEnum) -> Option<String> {
    choice.to_possible_value().map(|value| value.get_name().to_owned())
}

/// Adds an option with its value, if there is one.
pub(crate) fn push(arguments: &mut Vec<OsString>, name: &str, value: Option<&(impl Into<OsString> + Clone)>) {
    if let Some(value) = value {
        // As one argument, so that a value that begins with a dash is not an option.
        let mut word = OsString::from(format!("{name}="));
        word.push(value.clone().into());
        arguments.push(word);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Run {
        #[command(flatten)]
        options: RunOptions,
    }

    fn forwarded(words: &[&str]) -> Vec<String> {
        let run = Run::try_parse_from([&["x"], words].concat()).unwrap();
        let arguments = run.options.arguments().unwrap();
        arguments.into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn every_option_reaches_the_runner() {
        let words = [
            "Cargo.toml",
            "--device",
            "cuda:1",
            "--jobs",
            "3",
            "--executor",
            "slurm",
            "--slurm-profile",
            "site.toml",
            "--wait",
            "--rerun-others",
            "--out",
            "o",
            "--set",
            "lr=-0.1",
            "--set",
            "epochs=2",
            "--filter",
            "model=lstm",
            "--seeds",
            "2",
            "--run",
            "1f2e",
            "--records",
            "a.jsonl",
            "--dry-run",
            "--keep",
            "none",
            "--threads",
            "4",
            "--fail-fast",
        ];
        let expected = [
            "run",
            "Cargo.toml",
            "--out=o",
            "--set=lr=-0.1",
            "--set=epochs=2",
            "--filter=model=lstm",
            "--seeds=2",
            "--run=1f2e",
            "--records=a.jsonl",
            "--device=cuda:1",
            "--jobs=3",
            "--executor=slurm",
            "--slurm-profile=site.toml",
            "--keep=none",
            "--threads=4",
            "--dry-run",
            "--wait",
            "--rerun-others",
            "--fail-fast",
        ];
        assert_eq!(forwarded(&words), expected);
        assert_eq!(
            forwarded(&["Cargo.toml", "--out=o", "--emit=commands"])[3..],
            ["--device=auto", "--emit=commands"]
        );
    }

    #[test]
    fn status_gc_and_verify_reach_the_runner_too() {
        #[derive(Debug, Parser)]
        enum Verb {
            Status(StatusOptions),
            #[command(name = "tensorboard")]
            TensorBoard(TensorBoardOptions),
            Gc(GcOptions),
            Verify(VerifyOptions),
        }
        let forwarded = |words: &[&str]| match Verb::try_parse_from([&["x"], words].concat()).unwrap() {
            Verb::Status(options) => options.arguments().unwrap(),
            Verb::TensorBoard(options) => options.arguments().unwrap(),
            Verb::Gc(options) => options.arguments().unwrap(),
            Verb::Verify(options) => options.arguments().unwrap(),
        };
        assert_eq!(
            forwarded(&["status", "Cargo.toml", "--out=o", "--set", "lr=1", "--records", "r", "--watch"]),
            ["status", "Cargo.toml", "--out=o", "--set=lr=1", "--records=r", "--watch"]
        );
        assert_eq!(
            forwarded(&["tensorboard", "Cargo.toml", "--out=o", "--seeds", "1", "--records", "r"]),
            ["tensorboard", "Cargo.toml", "--out=o", "--seeds=1", "--records=r"]
        );
        assert_eq!(
            forwarded(&["gc", "Cargo.toml", "--out=o", "--filter", "seed=0", "--seeds", "1", "--run", "1f"]),
            ["gc", "Cargo.toml", "--out=o", "--filter=seed=0", "--seeds=1", "--run=1f"]
        );
        assert_eq!(forwarded(&["gc", "--out=o", "--yes", "--json"]), ["gc", "--out=o", "--yes", "--json"]);
        let words = "--out=o --records=a --records=b --set=lr=1 --filter=seed=0 --seeds=1 --run=1f --run=2e --sample=3 \
                     --device=cpu --threads=1 --jobs=2 --keep=k";
        let words: Vec<&str> = words.split_whitespace().collect();
        // Records need no experiment.
        assert_eq!(forwarded(&[&["verify"], &words[..]].concat()), [&["verify"], &words[..]].concat());
        assert_eq!(
            forwarded(&["verify", "Cargo.toml", "--out=o"]),
            ["verify", "Cargo.toml", "--out=o", "--device=auto"]
        );
    }

    #[test]
    fn defaults_are_in_the_workspace() {
        // Tests run in the package's folder, which is not the workspace's root.
        let root = root().unwrap();
        let forwarded = forwarded(&["--keep-going"]);
        assert_eq!(forwarded[1], root.join(EXPERIMENT).to_str().unwrap());
        assert_eq!(forwarded[2], format!("--out={}", root.join(STORE).display()));
        assert_eq!(forwarded[3..], ["--device=auto", "--keep-going"]);
        assert_eq!(experiment(Some(&"rustfmt.toml".into())).unwrap(), root.join("rustfmt.toml"));
        let missing = experiment(Some(&"none.toml".into())).unwrap_err();
        assert_eq!(missing.to_string(), "there is no experiment file none.toml");
        let both = Run::try_parse_from(["x", "--keep-going", "--fail-fast"]).unwrap_err();
        assert!(both.to_string().contains("'--keep-going' cannot be used with '--fail-fast'"), "{both}");
    }
}
