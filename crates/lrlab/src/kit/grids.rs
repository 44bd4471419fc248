//! Checks grids on the device: killed and resumed runs, two concurrent runs, and runs that continue shorter ones.

use std::collections::BTreeMap;
#[cfg(target_os = "linux")]
use std::path::Path;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use super::context::CheckContext;
use super::training::{NETWORKS, Sizes};
use super::verdict::Verdict;

/// About eighty updates per run.
const SIZES: Sizes = Sizes { epochs: 10, seeds: 1, depth: 8, pictures: 320, reviews: 320, width: 32 };
/// The parts of a result that are equal for equal specifications.
const SHARED: [&str; 5] = ["outcome", "history", "final", "best", "decisions"];
/// The time limit of a grid.
const TIME_LIMIT: Duration = Duration::from_mins(2);
/// The polling interval.
const POLL: Duration = Duration::from_millis(1);

/// A store and the calls that use it.
struct Grid<'a> {
    context: &'a CheckContext,
    out: PathBuf,
}

impl<'a> Grid<'a> {
    fn new(context: &'a CheckContext, name: &str) -> anyhow::Result<Self> {
        Self::of(context, name, &SIZES.experiment())
    }

    fn of(context: &'a CheckContext, name: &str, experiment: &str) -> anyhow::Result<Self> {
        let out = context.folder.join(name);
        std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
        std::fs::write(out.join("kit.toml"), experiment)?;
        Ok(Self { context, out })
    }

    fn log(&self) -> PathBuf {
        self.out.join("log.txt")
    }

    fn start(&self, more: &[&str]) -> anyhow::Result<Running> {
        let mut command = Command::new(crate::provenance::this_program()?);
        command.arg("run").arg(self.out.join("kit.toml")).arg("--out").arg(self.out.join("runs"));
        command.args(["--device", &self.context.choice.to_string(), "--threads", "1", "--keep", "all"]);
        command.args(["--checkpoint-every", "5 updates"]).args(more).stdin(Stdio::null());
        let log = std::fs::File::options().create(true).append(true).open(self.log())?;
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("starting a grid")?;
        Ok(Running { child, since: Instant::now() })
    }

    /// Runs the grid to the end. The error contains the last lines of the log.
    fn run(&self, more: &[&str]) -> anyhow::Result<()> {
        let mut running = self.start(more)?;
        let status = loop {
            if let Some(status) = running.ended(self)? {
                break status;
            }
        };
        if !status.success() {
            bail!("the grid failed: {status}: {}", self.log_tail());
        }
        Ok(())
    }

    /// Returns the last lines of the log.
    fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(3)..].join("; ")
    }

    /// Returns the results, by run id.
    fn results(&self) -> anyhow::Result<BTreeMap<String, Outcome>> {
        let mut all = BTreeMap::new();
        let store = self.out.join("runs/store");
        for entry in std::fs::read_dir(&store).with_context(|| store.display().to_string())? {
            let folder = entry?.path();
            let path = folder.join("result.json");
            let Ok(text) = std::fs::read(&path) else { continue };
            let result: Value = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
            let weights = folder.join("last.safetensors");
            let weights = std::fs::read(&weights).with_context(|| weights.display().to_string())?;
            let id = result["run_id"].as_str().unwrap_or_default().to_owned();
            all.insert(id, Outcome { result, weights });
        }
        Ok(all)
    }

    /// Returns whether the run of the network has a complete checkpoint.
    #[cfg(target_os = "linux")]
    fn has_checkpoint(&self, network: &str) -> bool {
        let runs = std::fs::read_dir(self.out.join("runs/store")).into_iter().flatten().flatten();
        runs.into_iter().any(|run| {
            let spec = std::fs::read_to_string(run.path().join("spec.json")).unwrap_or_default();
            let spec: Value = serde_json::from_str(&spec).unwrap_or_default();
            spec["cell"]["model"] == network && is_complete_checkpoint(&run.path())
        })
    }
}

/// The process of a grid, killed on drop.
struct Running {
    child: Child,
    since: Instant,
}

impl Running {
    /// Returns the exit status; waits briefly if the process has not ended.
    fn ended(&mut self, grid: &Grid) -> anyhow::Result<Option<ExitStatus>> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(Some(status));
        }
        if self.since.elapsed() > TIME_LIMIT {
            bail!("the grid did not end within {} s: {}", TIME_LIMIT.as_secs(), grid.log_tail());
        }
        std::thread::sleep(POLL);
        Ok(None)
    }

    /// Kills it.
    fn kill(&mut self) {
        // The process may already have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The result of a run.
struct Outcome {
    result: Value,
    weights: Vec<u8>,
}

impl Outcome {
    /// Returns the first part that differs.
    fn differs(&self, other: &Self) -> Option<&'static str> {
        let figures = SHARED.into_iter().find(|key| self.result[key] != other.result[key]);
        figures.or((self.weights != other.weights).then_some("weights"))
    }
}

/// Returns the results of undisturbed runs, which are trained one at a time by the first check that needs them.
fn undisturbed(context: &CheckContext) -> anyhow::Result<BTreeMap<String, Outcome>> {
    let grid = Grid::new(context, "undisturbed")?;
    grid.run(&["--jobs", "1"])?;
    let results = grid.results()?;
    if results.len() != NETWORKS.len() {
        bail!("{} of {} runs have a result", results.len(), NETWORKS.len());
    }
    Ok(results)
}

/// Compares results with those of undisturbed runs.
fn differing(found: &BTreeMap<String, Outcome>, undisturbed: &BTreeMap<String, Outcome>) -> Option<String> {
    if found.keys().ne(undisturbed.keys()) {
        return Some(format!("{} of {} runs have a result", found.len(), undisturbed.len()));
    }
    undisturbed.iter().find_map(|(id, expected)| {
        let what = expected.differs(&found[id])?;
        Some(format!("{what} of {} differ", expected.result["cell"]["model"]))
    })
}

/// Checks that two runs at once give the results of runs one after another.
pub(super) fn two_at_once(context: &CheckContext) -> anyhow::Result<Verdict> {
    let undisturbed = undisturbed(context)?;
    let grid = Grid::new(context, "two")?;
    grid.run(&["--jobs", "2"])?;
    let found = grid.results()?;
    if let Some(words) = differing(&found, &undisturbed) {
        return Ok(Verdict::failed(words));
    }
    let clock = |outcome: &Outcome, key: &str| outcome.result["timing"][key].as_f64().unwrap_or(f64::NAN);
    let times: Vec<_> = found.values().map(|run| (clock(run, "started"), clock(run, "finished"))).collect();
    let together = |a: usize, b: usize| times[a].0 < times[b].1 && times[b].0 < times[a].1;
    if !(0..times.len()).any(|a| (0..a).any(|b| together(a, b))) {
        return Ok(Verdict::failed("no two runs were executed concurrently"));
    }
    Ok(Verdict::passed(format!("{} concurrent runs have the same bits as sequential runs", found.len())))
}

/// Checks that a run of each network that continues a shorter one gives the result of a run from scratch.
pub(super) fn continued(context: &CheckContext) -> anyhow::Result<Verdict> {
    let (short, long) = (SIZES.epochs, 2 * SIZES.epochs);
    let experiment = SIZES.experiment_of("static", &[short, long]);
    let scratch = Grid::of(context, "scratch", &experiment)?;
    scratch.run(&["--jobs", "1", "--from-scratch", "--filter", &format!("epochs={long}")])?;
    let expected = scratch.results()?;
    if expected.len() != NETWORKS.len() {
        bail!("{} of {} runs have a result", expected.len(), NETWORKS.len());
    }
    let grid = Grid::of(context, "continued", &experiment)?;
    grid.run(&["--jobs", "1"])?;
    let mut found = grid.results()?;
    found.retain(|id, _| expected.contains_key(id));
    if let Some(words) = differing(&found, &expected) {
        return Ok(Verdict::failed(words));
    }
    let not_continued = found.values().find(|run| run.result["provenance"]["continued"].is_null());
    if let Some(run) = not_continued {
        return Ok(Verdict::failed(format!("{} was trained from scratch", run.result["cell"]["model"])));
    }
    Ok(Verdict::passed(format!(
        "runs of {short} epochs continued to {long} have the bits of runs from scratch"
    )))
}

/// Checks that a killed and resumed run of each network gives the result of an undisturbed one.
#[cfg(target_os = "linux")]
pub(super) fn kill_and_resume(context: &CheckContext) -> anyhow::Result<Verdict> {
    let undisturbed = undisturbed(context)?;
    let grid = Grid::new(context, "killed")?;
    for network in NETWORKS {
        let filter = format!("model={network}");
        let mut running = grid.start(&["--jobs", "1", "--filter", &filter])?;
        while !grid.has_checkpoint(network) {
            if let Some(status) = running.ended(&grid)? {
                bail!("the grid ended with {status} before it was killed: {}", grid.log_tail());
            }
        }
        let workers = workers(&grid.out.join("runs"))?;
        running.kill();
        for worker in workers {
            // The process may already have ended.
            let _ = rustix::process::kill_process_group(worker, rustix::process::Signal::KILL);
        }
    }
    grid.run(&["--jobs", "1"])?;
    let log = std::fs::read_to_string(grid.log())?;
    let number = |rest: &str| rest.split_whitespace().next().map(str::to_owned);
    let resumed: Vec<_> = log.split("resumes at update ").skip(1).filter_map(number).collect();
    if resumed.len() != NETWORKS.len() {
        bail!("{} of {} runs were killed during training", resumed.len(), NETWORKS.len());
    }
    Ok(match differing(&grid.results()?, &undisturbed) {
        Some(words) => Verdict::failed(words),
        None => Verdict::passed(format!("killed, resumed at updates {}, the same bits", resumed.join(", "))),
    })
}

#[cfg(not(target_os = "linux"))]
pub(super) fn kill_and_resume(_: &CheckContext) -> anyhow::Result<Verdict> {
    Ok(Verdict::skipped("workers are identified by their command lines in /proc, which only Linux has"))
}

/// Returns the workers of a store, each the leader of a process group.
#[cfg(target_os = "linux")]
fn workers(out: &Path) -> anyhow::Result<Vec<rustix::process::Pid>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        let store = words.iter().position(|word| word == "--out").and_then(|at| words.get(at + 1));
        if words.get(1).is_some_and(|word| word == "worker")
            && store.is_some_and(|to| Path::new(&**to) == out)
        {
            let pid = entry.file_name().to_str().and_then(|pid| pid.parse().ok());
            all.extend(pid.and_then(rustix::process::Pid::from_raw));
        }
    }
    Ok(all)
}

/// Returns whether a run has a complete checkpoint.
#[cfg(target_os = "linux")]
fn is_complete_checkpoint(run: &Path) -> bool {
    let folders = |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten();
    folders(run.join("attempts")).any(|attempt| {
        folders(attempt.path().join("checkpoints")).any(|checkpoint| {
            let name = checkpoint.file_name();
            let is_partial =
                name.as_encoded_bytes().starts_with(b".") || name.as_encoded_bytes().ends_with(b".tmp");
            !is_partial && checkpoint.path().join("manifest.json").is_file()
        })
    })
}
