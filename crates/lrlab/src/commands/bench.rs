//! `lrlab bench`: measures the training speed of this machine.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::Args;
use lrlab_kernels::Precision;
use lrlab_options::at_least_one;

use super::{print, print_line};
use crate::bench::{Kind, Measured, Workload, measure, overhead, reference_step, workloads};
use crate::device;
use crate::progress::report_error;
use crate::{DeviceChoice, Exit};

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Measure only this workload, or all workloads of a kind: models, evaluations, operators, limits, overheads, input
    /// or grids (repeatable); by default all.
    #[arg(long, value_name = "NAME")]
    workload: Vec<String>,
    /// Write one JSON object per line to this file; - is standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Threads; by default two, or one on a single core.
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroUsize>)]
    threads: Option<NonZeroUsize>,
    /// The number of rounds; each round measures every workload once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// The device: auto, cpu, cuda, cuda:N or metal.
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// The precision of matrix products in linear maps, LSTM and attention, and on GPUs of convolutions: f32 or bf16.
    #[arg(long, default_value = "f32", value_parser = precision)]
    precision: Precision,
    /// Measure one workload in this process.
    #[arg(long, hide = true)]
    here: bool,
}

pub(crate) fn bench(args: &BenchArgs) -> anyhow::Result<Exit> {
    let chosen = choose(workloads(args.precision), &args.workload)?;
    if args.here {
        lrlab_kernels::compute_on_this_thread()?;
        let device = device::open(args.device)?;
        lrlab_kernels::check_precision(args.precision, &device)?;
        for workload in chosen {
            print_line(&serde_json::to_string(&measure(workload, &device)?)?);
        }
        return Ok(Exit::Done);
    }
    let names: Vec<String> = chosen.into_iter().map(|workload| workload.name).collect();
    let threads = args.threads.map_or_else(default_threads, NonZeroUsize::get);
    let quiet = args.json.as_deref() == Some(Path::new("-"));
    let mut lines = String::new();
    let mut exit = Exit::Done;
    // Milliseconds per step of the workloads measured so far.
    let mut steps = BTreeMap::new();
    if !quiet {
        print(&header());
    }
    for _ in 0..args.rounds {
        for name in &names {
            let measured = measure_in_child(name, threads, args).and_then(|mut measured| {
                if let Some(step) = reference_step(name) {
                    let ms = match steps.get(step) {
                        Some(ms) => *ms,
                        None => measure_in_child(step, threads, args)?.ms,
                    };
                    steps.insert(step.to_owned(), ms);
                    let ours = if name == overhead::NAME { 1e3 / measured.per_s } else { measured.ms };
                    measured.share = Some(ours / ms);
                }
                Ok(measured)
            });
            let measured = match measured {
                Ok(measured) => measured,
                Err(error) => {
                    report_error(&error);
                    exit = Exit::SomeFailed;
                    continue;
                }
            };
            steps.insert(name.clone(), measured.ms);
            let line = serde_json::to_string(&measured)?;
            if quiet {
                print_line(&line);
            } else {
                print_line(&row(&measured));
            }
            lines.push_str(&line);
            lines.push('\n');
        }
    }
    if let (Some(path), false) = (&args.json, quiet) {
        lrlab_runs::write_atomic(path, lines.as_bytes()).with_context(|| path.display().to_string())?;
    }
    Ok(exit)
}

/// The named workloads; without names, all.
fn choose(all: Vec<Workload>, names: &[String]) -> anyhow::Result<Vec<Workload>> {
    let matches = |workload: &Workload, name: &str| workload.name == name || workload.kind.word() == name;
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|w| matches(w, name))) {
        let kinds = Kind::ALL.map(Kind::word).join(", ");
        let known: Vec<_> = all.iter().map(|workload| workload.name.as_str()).collect();
        let near = lrlab_config::nearest(unknown, known.iter().copied());
        let meant = near.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
        bail!(
            "unknown workload {unknown:?}: expected one of {} (or all of {kinds}){meant}",
            known.join(", ")
        );
    }
    let wanted = |w: &Workload| names.is_empty() || names.iter().any(|name| matches(w, name));
    Ok(all.into_iter().filter(wanted).collect())
}

fn precision(word: &str) -> Result<Precision, String> {
    let known = [Precision::F32, Precision::Bf16].into_iter().find(|precision| precision.name() == word);
    known.ok_or_else(|| format!("{word:?} is not a precision: expected f32 or bf16"))
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(2)
}

/// Measures a workload in a child process, which has its own memory and a thread pool of the requested size.
fn measure_in_child(name: &str, threads: usize, args: &BenchArgs) -> anyhow::Result<Measured> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", "--here", "--workload", name, "--device", &args.device.to_string()]);
    command.args(["--precision", args.precision.name()]);
    command.env("RAYON_NUM_THREADS", threads.to_string()).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("{name}: cannot start a process"))?;
    if !output.status.success() {
        bail!("failed to measure {name}: its process ended with {}", output.status);
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("{name}: output of its process"))
}

fn header() -> String {
    format!(
        "{:<28}{:>12}{:>12}{:>10}{:>8}{:>10}\n",
        "workload", "per second", "ms", "GFLOP/s", "GB/s", "peak MiB"
    )
}

fn row(m: &Measured) -> String {
    let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
    let share = m.share.map_or_else(String::new, |share| {
        let (percent, step) = (100.0 * share, reference_step(&m.workload).unwrap_or_default());
        let text = match m.workload.as_str() {
            overhead::NAME => format!("{:.0} ns per update, {percent:.4} % of a {step} step", 1e9 / m.per_s),
            _ => format!(
                "{percent:.3} % of a {step} step, {:.0} times as fast as the step consumes them",
                1.0 / share
            ),
        };
        format!("\n{:<28}{text}", "")
    });
    format!(
        "{:<28}{:>12.1}{:>12.3}{:>10}{:>8}{:>10}{share}",
        m.workload,
        m.per_s,
        m.ms,
        figure(m.gflops),
        figure(m.gb_per_s),
        figure(m.peak_mib)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_selected_by_name_and_kind() {
        let count = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            choose(workloads(Precision::F32), &names)
                .map(|chosen| chosen.len())
                .map_err(|error| error.to_string())
        };
        assert_eq!(count(&["models"]), Ok(4));
        assert_eq!(count(&["input"]), Ok(2));
        assert_eq!(count(&["lstm", "limits", "limit-copy"]), Ok(3));
        assert_eq!(count(&[]), Ok(workloads(Precision::F32).len()));
        assert!(count(&["resnet"]).is_err_and(|error| error.contains("resnet20, resnet18-imagenet-stem")));
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> =
            workloads(Precision::Bf16).into_iter().map(|workload| workload.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
