//! Measures the training speed of this machine, alone or in turn with a peer.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use lrlab_options::DeviceChoice;
use serde_json::Value;

use crate::options::push;
use crate::runner;
use crate::workspace::{eprint_line, root};

/// The default workloads of a comparison.
const MODELS: [&str; 4] = ["resnet20", "resnet18-imagenet-stem", "lstm", "transformer"];
/// The variable that allows the runner to use TF32 for f32 products.
const TF32: &str = "LRLAB_CUDA_TF32";
/// The peer's script in the workspace.
const TORCH: &str = "benches/peers/torch_bench.py";
/// Rounds of a comparison. Each measures this program and the peer in turn.
const ROUNDS: u16 = 3;
/// The peer's setting for the comparison, and the others, which are measured once.
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
    /// Only this workload, or all workloads of a kind: models, evaluations, operators, limits, overheads, input or grids (repeatable)
    /// [default: everything; with a peer the models]
    #[arg(long, value_name = "NAME")]
    workload: Vec<String>,
    /// Write one JSON object per line to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Threads [default: two, or one on a single core]
    #[arg(long, value_name = "N")]
    threads: Option<u16>,
    /// How often to measure each workload, in turn [default: 1; with a peer 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// The device: auto, cpu, cuda, cuda:N or metal
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Precision of matrix products in linear maps, LSTM and attention, and on GPUs of convolutions: f32 or bf16; the peer
    /// then uses its autocast
    #[arg(long, default_value = "f32", value_parser = ["f32", "bf16"])]
    precision: String,
    /// On CUDA, compute f32 products through TF32, also in the peer
    #[arg(long)]
    tf32: bool,
    /// Also measure a peer, in turn with this program, and print the ratios
    #[arg(long, value_enum)]
    peer: Option<Peer>,
    /// The peer's Python
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// A user-built runner binary
    #[arg(long, value_name = "PATH")]
    runner: Option<PathBuf>,
}

/// Builds the runner and measures.
pub(crate) fn bench(options: &BenchOptions) -> anyhow::Result<ExitCode> {
    if options.tf32 && matches!(options.device, DeviceChoice::Cpu | DeviceChoice::Metal) {
        bail!("--tf32 is for NVIDIA GPUs: add --device cuda");
    }
    if options.peer.is_some() && options.device == DeviceChoice::Metal {
        bail!("the peer is measured on cpu and cuda, not on metal");
    }
    let program = runner::find(options.runner.as_deref(), options.device)?;
    match options.peer {
        None if options.tf32 => runner::exec_with(&program, &options.arguments(), &[(TF32, "on")]),
        None => runner::exec_with(&program, &options.arguments(), &[]),
        Some(Peer::Torch) => against_torch(options, &program),
    }
}

impl BenchOptions {
    /// Returns the runner's command line.
    fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["bench".into()];
        let mut push = |name: &str, value: &OsStr| push(&mut arguments, name, value);
        self.workload.iter().for_each(|name| push("workload", name.as_ref()));
        self.json.iter().for_each(|path| push("json", path.as_ref()));
        self.threads.iter().for_each(|n| push("threads", n.to_string().as_ref()));
        self.rounds.iter().for_each(|n| push("rounds", n.to_string().as_ref()));
        push("device", self.device.to_string().as_ref());
        push("precision", self.precision.as_ref());
        arguments
    }

    /// Returns the command of one workload, which prints JSON objects, one per line.
    fn ours(&self, program: &Path, workload: &str, threads: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["bench", "--json=-", "--workload", workload, "--threads", threads]);
        command.args(["--device", &self.device.to_string(), "--precision", &self.precision]);
        command.env(TF32, if self.tf32 { "on" } else { "off" });
        command
    }

    /// Returns the peer's command for the same workload on `device`.
    fn theirs(
        &self,
        script: &Path,
        workload: &str,
        threads: &str,
        device: &str,
        settings: &[&str],
    ) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(script).args(["--workload", workload, "--threads", threads]);
        command.args(["--device", device, "--precision", &self.precision]);
        if self.tf32 && device != "cpu" {
            command.arg("--tf32");
        }
        command.args(settings.iter().flat_map(|setting| ["--setting", setting]));
        command
    }
}

fn against_torch(options: &BenchOptions, program: &Path) -> anyhow::Result<ExitCode> {
    let script = script()?;
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
            for line in lines_of(options.ours(program, name, &threads), &mut text)? {
                let workload = line["workload"].as_str().unwrap_or_default().to_owned();
                found.add(&workload, "ours", &line);
                if workload.starts_with("limit-") {
                    continue;
                }
                let mut settings = vec![BEST];
                settings.extend(BESIDE.iter().filter(|_| round == 0));
                // The device that `auto` chose.
                let chosen = options.device.to_string();
                let device = line["device"].as_str().unwrap_or(&chosen);
                let theirs = options.theirs(&script, &workload, &threads, device, &settings);
                for line in lines_of(theirs, &mut text)? {
                    found.add(&workload, line["setting"].as_str().unwrap_or_default(), &line);
                }
            }
        }
    }
    eprint_line(&found.table());
    if let Some(path) = &options.json {
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        std::fs::write(&temporary, text)
            .and_then(|()| std::fs::rename(&temporary, path))
            .with_context(|| path.display().to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the peer's script: in the workspace of the build, or in the current folder.
fn script() -> anyhow::Result<PathBuf> {
    let there = [root()?.join(TORCH), PathBuf::from(TORCH)].into_iter().find(|path| path.is_file());
    there.with_context(|| format!("{TORCH} does not exist here; run this command in the workspace's root"))
}

/// Returns the output of a program, JSON objects one per line, which is also appended to `text` and printed.
fn lines_of(mut command: Command, text: &mut String) -> anyhow::Result<Vec<Value>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start {program}"))?;
    let printed = String::from_utf8(output.stdout).with_context(|| program.clone())?;
    if !output.status.success() {
        bail!("{program}: {}", output.status);
    }
    eprint_line(printed.trim_end());
    text.push_str(&printed);
    printed
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("{program}: {line}")))
        .collect()
}

/// Speed and peak memory by workload and program, one value per round.
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

    /// Formats medians; the ratio is the median of the rounds' ratios.
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

/// The median; NaN without values.
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
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Bench {
        #[command(flatten)]
        options: BenchOptions,
    }

    fn words(command: &Command) -> String {
        command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn both_sides_get_the_same_options() {
        let variable = |command: &Command| {
            let set = command.get_envs().find(|(name, _)| *name == TF32);
            set.and_then(|(_, value)| Some(value?.to_string_lossy().into_owned()))
        };
        for (given, found, ours, theirs, tf32) in [
            (&[][..], "cpu", "--device cpu --precision f32", "--device cpu --precision f32", "off"),
            (
                &["--device=cuda", "--tf32", "--precision=bf16"],
                "cuda:0",
                "--device cuda --precision bf16",
                "--device cuda:0 --precision bf16 --tf32",
                "on",
            ),
            (
                &["--device=auto", "--tf32"],
                "cpu",
                "--device auto --precision f32",
                "--device cpu --precision f32",
                "on",
            ),
        ] {
            let Bench { options } = Bench::try_parse_from([&["x"], given].concat()).unwrap();
            let command = options.ours(Path::new("r"), "lstm", "2");
            assert_eq!(words(&command), format!("bench --json=- --workload lstm --threads 2 {ours}"));
            assert_eq!(variable(&command).as_deref(), Some(tf32), "{given:?}");
            let command = options.theirs(Path::new("s"), "lstm", "2", found, &["best"]);
            assert_eq!(words(&command), format!("s --workload lstm --threads 2 {theirs} --setting best"));
        }
    }

    #[test]
    fn tf32_needs_cuda_and_the_peer_does_not_run_on_metal() {
        for (given, word) in [
            (&["--tf32"][..], "--tf32 is for NVIDIA GPUs"),
            (&["--tf32", "--device=metal"], "--tf32 is for NVIDIA GPUs"),
            (&["--peer=torch", "--device=metal"], "not on metal"),
        ] {
            let Bench { options } = Bench::try_parse_from([&["x"], given].concat()).unwrap();
            assert!(bench(&options).unwrap_err().to_string().contains(word), "{given:?}");
        }
        let unknown = Bench::try_parse_from(["x", "--precision=f16"]).unwrap_err();
        assert!(unknown.to_string().contains("invalid value 'f16' for '--precision"), "{unknown}");
    }

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
