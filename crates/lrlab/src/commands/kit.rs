//! `lrlab kit`: checks that a device trains like the CPU.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{print, print_line};
use crate::device;
use crate::kit::{Check, CheckContext, Kind, Outcome, Verdict, checks};
use crate::progress::{eprint_line, with_causes};
use crate::{DeviceChoice, Exit};

/// The time limit of one check.
const TIME_LIMIT: Duration = Duration::from_mins(5);

#[derive(Debug, Args)]
pub(crate) struct KitArgs {
    /// The device to check: auto, cpu, cuda, cuda:N or metal. The CPU is compared with itself.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Perform only this check, or all checks of a kind: operators, data, bits, learning, grids or speed (repeatable). The
    /// device is always checked.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Write one JSON object per check to this file; - is standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep temporary files in this folder; by default they are removed.
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// The Python interpreter whose PyTorch, if installed, is measured for comparison.
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// Perform one check in this process; it shares the work folder of the other checks.
    #[arg(long, hide = true, requires = "work_dir")]
    here: bool,
}

/// A row of the table, and a line of `--json`.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    check: String,
    kind: Kind,
    #[serde(flatten)]
    verdict: Verdict,
    seconds: f64,
    /// The requested device.
    device: String,
}

pub(crate) fn kit(args: &KitArgs) -> anyhow::Result<Exit> {
    let chosen = choose(checks(), &args.only)?;
    if args.here {
        return here(args, chosen);
    }
    let folder = work_folder(args.work_dir.as_deref())?;
    let device = args.device.to_string();
    let quiet = args.json.as_deref() == Some(Path::new("-"));
    let mut rows: Vec<Row> = Vec::new();
    for Check { kind, name, .. } in chosen {
        let started = Instant::now();
        let broken = rows.first().is_some_and(|first| !first.verdict.outcome.passed());
        let verdict = if broken {
            Verdict::skipped("the device does not work")
        } else {
            check_in_child(&name, args, folder.path())
                .unwrap_or_else(|error| Verdict::failed(with_causes(&error)))
        };
        let row = Row {
            check: name,
            kind,
            verdict,
            seconds: started.elapsed().as_secs_f64(),
            device: device.clone(),
        };
        if !broken {
            eprint_line(&format!("kit: {} {} ({:.1} s)", row.check, word(&row.verdict.outcome), row.seconds));
            if row.verdict.detail.contains('\n') {
                eprint_line(&row.verdict.detail);
            }
        }
        rows.push(row);
    }
    let lines =
        rows.iter().map(|row| Ok(serde_json::to_string(row)? + "\n")).collect::<anyhow::Result<String>>()?;
    match &args.json {
        Some(_) if quiet => print(&lines),
        Some(path) => {
            lrlab_runs::write_atomic(path, lines.as_bytes()).with_context(|| path.display().to_string())?;
        }
        None => {}
    }
    if args.work_dir.is_some() {
        eprint_line(&format!("kit: temporary files are in {}", folder.keep().display()));
    }
    if !quiet {
        if rows.first().is_some_and(is_cpu) {
            print_line("the CPU was compared with itself: no GPU was checked");
        }
        print(&table(&rows));
    }
    let failed = rows.iter().any(|row| row.verdict.outcome == Outcome::Failed);
    Ok(if failed { Exit::SomeFailed } else { Exit::Done })
}

/// Returns the check of the device and the named checks; without names, all checks.
fn choose(all: Vec<Check>, names: &[String]) -> anyhow::Result<Vec<Check>> {
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|check| check.is(name))) {
        let kinds = Kind::ALL.map(Kind::word).join(", ");
        let known: Vec<_> = all.iter().map(|check| check.name.as_str()).collect();
        let near = lrlab_config::nearest(unknown, known.iter().copied());
        let meant = near.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
        bail!("unknown check {unknown:?}: expected one of {} (or all of {kinds}){meant}", known.join(", "));
    }
    let wanted = |check: &Check| {
        names.is_empty() || check.kind == Kind::Device || names.iter().any(|name| check.is(name))
    };
    Ok(all.into_iter().filter(wanted).collect())
}

/// Creates a temporary folder.
fn work_folder(within: Option<&Path>) -> anyhow::Result<tempfile::TempDir> {
    let within = match within {
        Some(folder) => std::path::absolute(folder)?,
        None => std::env::temp_dir(),
    };
    std::fs::create_dir_all(&within).with_context(|| within.display().to_string())?;
    let within = within.canonicalize().with_context(|| within.display().to_string())?;
    let made = tempfile::Builder::new().prefix("lrlab-kit-").tempdir_in(&within);
    made.with_context(|| within.display().to_string())
}

/// Performs the named check and prints its verdict as JSON.
fn here(args: &KitArgs, mut chosen: Vec<Check>) -> anyhow::Result<Exit> {
    let (Some(check), Some(folder)) = (chosen.pop(), args.work_dir.clone()) else {
        return Ok(Exit::BadInput);
    };
    let verdict = match device::open(args.device) {
        Ok(device) => {
            check.make(&CheckContext { choice: args.device, device, folder, python: args.python.clone() })
        }
        Err(error) => Verdict::failed(with_causes(&error)),
    };
    print_line(&serde_json::to_string(&verdict)?);
    Ok(Exit::Done)
}

/// Performs a check in a child process.
fn check_in_child(name: &str, args: &KitArgs, folder: &Path) -> anyhow::Result<Verdict> {
    let mut command = Command::new(crate::provenance::this_program()?);
    command.args(["kit", "--here", "--only", name, "--device", &args.device.to_string(), "--work-dir"]);
    command
        .arg(folder)
        .arg("--python")
        .arg(&args.python)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut child = command.spawn().context("starting a process")?;
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > TIME_LIMIT {
            end(&mut child);
            bail!("the check did not end within {} s", TIME_LIMIT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    // The output is one line, which fits into the pipe's buffer.
    let output = child.wait_with_output()?;
    if !status.success() {
        bail!("its process ended with {status}");
    }
    serde_json::from_slice(&output.stdout).context("output of its process")
}

fn end(child: &mut Child) {
    // An error means that the child has already ended.
    let _ = child.kill();
    let _ = child.wait();
}

/// Whether the device is not a GPU.
fn is_cpu(device: &Row) -> bool {
    device.verdict.outcome.passed() && device.verdict.detail.starts_with("cpu")
}

fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Passed => "passed".to_owned(),
        Outcome::Failed => "FAILED".to_owned(),
        Outcome::Skipped(why) => format!("skipped: {why}"),
    }
}

/// Formats a table with the columns check, detail, seconds and outcome, and a line of totals. It contains the first line of
/// each detail; an error with a backtrace has more.
fn table(rows: &[Row]) -> String {
    let detail = |row: &Row| row.verdict.detail.lines().next().unwrap_or_default().to_owned();
    let width =
        |of: &dyn Fn(&Row) -> String| rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0);
    let (names, details) = (width(&|row| row.check.clone()).max(5), width(&detail).max(6));
    let line = |name: &str, detail: &str, seconds: &str, outcome: &str| {
        format!("{name:<names$}  {detail:<details$}  {seconds:>7}  {outcome}\n")
    };
    let mut text = line("check", "detail", "seconds", "outcome");
    for row in rows {
        let seconds = format!("{:.1}", row.seconds);
        text.push_str(&line(&row.check, &detail(row), &seconds, &word(&row.verdict.outcome)));
    }
    let count = |of: fn(&Outcome) -> bool| rows.iter().filter(|row| of(&row.verdict.outcome)).count();
    let (passed, failed) = (count(Outcome::passed), count(|outcome| *outcome == Outcome::Failed));
    let seconds = format!("{:.1}", rows.iter().map(|row| row.seconds).sum::<f64>());
    let skipped = rows.len() - passed - failed;
    let sum = format!("{passed} passed, {failed} failed, {skipped} skipped");
    text.push_str(&line("all", &sum, &seconds, if failed > 0 { "FAILED" } else { "passed" }));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_selected_by_name_and_kind_and_include_the_device() {
        let names = |only: &[&str]| {
            let only: Vec<_> = only.iter().map(|name| (*name).to_owned()).collect();
            choose(checks(), &only)
                .map(|chosen| chosen.into_iter().map(|check| check.name).collect::<Vec<_>>())
                .map_err(|error| error.to_string())
        };
        assert_eq!(names(&["conv2d"]).unwrap(), ["device", "conv2d"]);
        assert_eq!(names(&["grids"]).unwrap(), ["device", "kill and resume", "two at once", "continued"]);
        assert_eq!(names(&["device"]).unwrap(), ["device"]);
        assert_eq!(names(&[]).unwrap().len(), checks().len());
        assert!(names(&["conv"]).is_err_and(|error| error.contains("conv2d") && error.contains("learning")));
    }

    #[test]
    fn tables_end_with_the_totals() {
        let row = |check: &str, verdict: Verdict| Row {
            check: check.to_owned(),
            kind: Kind::Operators,
            verdict,
            seconds: 0.25,
            device: "cpu".to_owned(),
        };
        let rows = [
            row("relu", Verdict::passed("fine")),
            row("gelu", Verdict::skipped("no such thing")),
            row("convolution", Verdict::failed("other × values\n   0: a frame of a backtrace")),
        ];
        let text = table(&rows);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[1].ends_with("0.2  passed") && lines[2].ends_with("skipped: no such thing"), "{text}");
        assert!(lines[3].contains("other × values ") && lines[3].ends_with("FAILED"), "{text}");
        assert!(lines[4].contains("1 passed, 1 failed, 1 skipped") && lines[4].ends_with("FAILED"), "{text}");
        let read: Row = serde_json::from_str(&serde_json::to_string(&rows[1]).unwrap()).unwrap();
        assert_eq!(read.verdict, rows[1].verdict);
    }
}
