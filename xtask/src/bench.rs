//! How fast this machine trains, alone or in turn with a peer.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::options::push;
use crate::runner;
use crate::workspace::{root, tell};

/// Measured against a peer where nothing is named.
const MODELS: [&str; 4] = ["resnet20", "resnet18-imagenet-stem", "lstm", "transformer"];
/// Rounds against a peer, ours and theirs in turn.
const ROUNDS: u16 = 3;
/// The peer's setting that ours is held against, and those beside it, measured once.
const BEST: &str = "best";
const BESIDE: [&str; 2] = ["default", "compile"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Peer {
    /// `benches/peers/torch_bench.py`
    Torch,
}

/// Options of `bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchOptions {
    /// Only this one, or all that are models, operators, limits, input or grids (repeatable) [default: everything; with a peer the models]
    #[arg(long, value_name = "NAME")]
    workload: Vec<String>,
    /// Write one JSON object per line to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Threads [default: two, or one where there is one core]
    #[arg(long, value_name = "N")]
    threads: Option<u16>,
    /// How often each is measured, in turn [default: 1; with a peer 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// Where: auto, cpu, cuda, cuda:N or metal
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Of matrix products in linear maps, LSTM and attention: f32 or bf16; the peer's are f32
    #[arg(long, default_value = "f32")]
    precision: String,
    /// Measure a peer too, ours and theirs in turn, and print the ratios
    #[arg(long, value_enum)]
    peer: Option<Peer>,
    /// The peer's Python
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// A runner binary of your own
    #[arg(long, value_name = "PATH")]
    runner: Option<PathBuf>,
}

/// Builds the runner and measures.
pub(crate) fn bench(options: &BenchOptions) -> anyhow::Result<ExitCode> {
    let program = runner::find(options.runner.as_deref(), &options.device)?;
    match options.peer {
        None => runner::become_it(&program, &options.arguments()),
        Some(Peer::Torch) => against_torch(options, &program),
    }
}

impl BenchOptions {
    /// The runner's command line.
    fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["bench".into()];
        self.workload.iter().for_each(|name| push(&mut arguments, "--workload", Some(name)));
        push(&mut arguments, "--json", self.json.as_ref());
        push(&mut arguments, "--threads", self.threads.map(|n| n.to_string()).as_ref());
        push(&mut arguments, "--rounds", self.rounds.map(|n| n.to_string()).as_ref());
        push(&mut arguments, "--device", Some(&self.device));
        push(&mut arguments, "--precision", Some(&self.precision));
        arguments
    }
}

fn against_torch(options: &BenchOptions, program: &Path) -> anyhow::Result<ExitCode> {
    if options.device != "cpu" {
        bail!("the peer is measured on the cpu only, not on {:?}", options.device);
    }
    let script = root()?.join("benches/peers/torch_bench.py");
    let mut names = options.workload.clone();
    if names.is_empty() {
        names.extend(MODELS.map(str::to_owned));
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = options.threads.map_or(cores.min(2), usize::from).to_string();
    let mut text = String::new();
    let mut found = Found::default();
    for round in 0..options.rounds.unwrap_or(ROUNDS) {
        for name in &names {
            let mut ours = Command::new(program);
            ours.args([
                "bench",
                "--json=-",
                "--workload",
                name,
                "--threads",
                &threads,
                "--precision",
                &options.precision,
            ]);
            for line in lines_of(ours, &mut text)? {
                let workload = line["workload"].as_str().unwrap_or_default().to_owned();
                found.add(&workload, "ours", &line);
                if workload.starts_with("limit-") {
                    continue;
                }
                let mut settings = vec![BEST];
                settings.extend(BESIDE.iter().filter(|_| round == 0));
                let mut theirs = Command::new(&options.python);
                theirs.arg(&script).args(["--workload", &workload, "--threads", &threads]);
                theirs.args(settings.iter().flat_map(|setting| ["--setting", setting]));
                for line in lines_of(theirs, &mut text)? {
                    found.add(&workload, line["setting"].as_str().unwrap_or_default(), &line);
                }
            }
        }
    }
    tell(&found.table());
    if let Some(path) = &options.json {
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        std::fs::write(&temporary, text)
            .and_then(|()| std::fs::rename(&temporary, path))
            .with_context(|| path.display().to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a program says on its standard output, a JSON object a line; it also goes to `text` and to the user.
fn lines_of(mut command: Command, text: &mut String) -> anyhow::Result<Vec<Value>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start {program}"))?;
    let said = String::from_utf8(output.stdout).with_context(|| program.clone())?;
    if !output.status.success() {
        bail!("{program}: {}", output.status);
    }
    tell(said.trim_end());
    text.push_str(&said);
    said.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("{program}: {line}")))
        .collect()
}

/// Speed and peak memory by workload and by who, a value a round.
#[derive(Debug, Default)]
struct Found {
    order: Vec<String>,
    values: BTreeMap<(String, String), Vec<(f64, f64)>>,
}

impl Found {
    fn add(&mut self, workload: &str, who: &str, line: &Value) {
        if !self.order.iter().any(|name| name == workload) {
            self.order.push(workload.to_owned());
        }
        let figure = |key: &str| line[key].as_f64().unwrap_or(f64::NAN);
        let values = self.values.entry((workload.to_owned(), who.to_owned())).or_default();
        values.push((figure("per_s"), figure("peak_mib")));
    }

    fn of(&self, workload: &str, who: &str) -> &[(f64, f64)] {
        self.values.get(&(workload.to_owned(), who.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// Medians; the ratio is the median of the rounds' ratios.
    fn table(&self) -> String {
        let mut text = format!(
            "\n{:<28}{:>10}{:>10}{:>8}{:>10}{:>10}{:>11}{:>11}{:>8}\n",
            "workload",
            "ours/s",
            "best/s",
            "ratio",
            "default/s",
            "compile/s",
            "ours MiB",
            "best MiB",
            "ratio"
        );
        for workload in &self.order {
            let (ours, best) = (self.of(workload, "ours"), self.of(workload, BEST));
            let median_of =
                |values: &[(f64, f64)], get: fn(&(f64, f64)) -> f64| median(values.iter().map(get));
            let ratio = |get: fn(&(f64, f64)) -> f64| {
                median(ours.iter().zip(best).map(|(ours, best)| get(ours) / get(best)))
            };
            let beside = BESIDE.map(|setting| median_of(self.of(workload, setting), |v| v.0));
            let figures = [
                (median_of(ours, |v| v.0), 10, 1),
                (median_of(best, |v| v.0), 10, 1),
                (ratio(|v| v.0), 8, 3),
                (beside[0], 10, 1),
                (beside[1], 10, 1),
                (median_of(ours, |v| v.1), 11, 1),
                (median_of(best, |v| v.1), 11, 1),
                (ratio(|v| v.1), 8, 3),
            ];
            let _ = write!(text, "{workload:<28}");
            for (value, width, digits) in figures {
                let figure = if value.is_nan() { "-".to_owned() } else { format!("{value:.digits$}") };
                let _ = write!(text, "{figure:>width$}");
            }
            text.push('\n');
        }
        text
    }
}

/// NaN where there is nothing.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n => f64::midpoint(values[(n - 1) / 2], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_medians_over_the_rounds() {
        let mut found = Found::default();
        for (ours, best) in [(10.0, 20.0), (30.0, 10.0), (12.0, 10.0)] {
            found.add("w", "ours", &serde_json::json!({ "per_s": ours, "peak_mib": 5.0 }));
            found.add("w", BEST, &serde_json::json!({ "per_s": best, "peak_mib": null }));
        }
        let table = found.table();
        let row: Vec<_> = table.lines().last().unwrap_or_default().split_whitespace().collect();
        assert_eq!(row, ["w", "12.0", "10.0", "1.200", "-", "-", "5.0", "-", "-"], "{table}");
    }
}
