//! Measures training steps on the device, beside PyTorch where it is installed.

use std::process::Command;

use anyhow::{Context, bail};
use lrlab_kernels::Precision;
use serde_json::Value;

use super::compare::tf32;
use super::context::CheckContext;
use super::verdict::Verdict;
use crate::bench::{Kind, Measured, Workload};

/// The script that measures the same steps in PyTorch.
const SCRIPT: &str = include_str!("torch_bench.py");

/// Returns the training steps that are measured.
pub(super) fn workloads() -> impl Iterator<Item = Workload> {
    crate::bench::workloads(Precision::F32).into_iter().filter(|workload| workload.kind == Kind::Model)
}

/// Measures a training step. The check passes at any speed.
pub(super) fn measure(workload: Workload, context: &CheckContext) -> anyhow::Result<Verdict> {
    let ours = crate::bench::measure(workload, &context.device)?;
    let theirs = torch(&ours, context);
    Ok(Verdict::passed(describe(&ours, theirs)))
}

/// The speed of PyTorch.
struct Peer {
    /// The library with its version.
    library: String,
    per_s: f64,
}

/// Measures the same step in PyTorch: eager, pictures channels-last, fused optimizers.
fn torch(ours: &Measured, context: &CheckContext) -> anyhow::Result<Peer> {
    let script = context.folder.join("torch_bench.py");
    std::fs::write(&script, SCRIPT).with_context(|| script.display().to_string())?;
    let mut command = Command::new(&context.python);
    command.arg(&script).args(["--workload", &ours.workload, "--setting", "best"]);
    command.args(["--device", &ours.device, "--threads", &ours.threads.to_string()]);
    command.args(tf32(&context.device).then_some("--tf32"));
    let output = command.output().with_context(|| context.python.display().to_string())?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("{}", text.lines().next_back().unwrap_or("its process failed"));
    }
    let line: Value = serde_json::from_slice(&output.stdout).context("output of its process")?;
    let library = line["library"].as_str().unwrap_or("torch").to_owned();
    Ok(Peer { library, per_s: line["per_s"].as_f64().context("there is no speed")? })
}

fn describe(ours: &Measured, theirs: anyhow::Result<Peer>) -> String {
    let theirs = match theirs {
        Ok(Peer { library, per_s }) => format!("{library} {per_s:.0}/s, ratio {:.2}", ours.per_s / per_s),
        Err(why) => format!("PyTorch not measured ({})", crate::progress::with_causes(&why)),
    };
    format!("{:.0}/s, {:.2} ms a step; {theirs}", ours.per_s, ours.ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_compared_where_the_peer_is_there() {
        let ours: Measured = serde_json::from_value(serde_json::json!({
            "workload": "resnet20", "per_s": 300.0, "ms": 4.25, "ms_best": 4.0, "dtype": "f32", "threads": 2,
            "device": "cpu", "steps": 5, "library": "lrlab", "numerics": "cpu/f32/1",
        }))
        .unwrap();
        let peer = Peer { library: "torch 2.11".to_owned(), per_s: 150.0 };
        assert_eq!(describe(&ours, Ok(peer)), "300/s, 4.25 ms a step; torch 2.11 150/s, ratio 2.00");
        let context = CheckContext {
            choice: crate::DeviceChoice::Cpu,
            device: candle_core::Device::Cpu,
            folder: tempfile::tempdir().unwrap().keep(),
            python: "/there/is/no/python".into(),
        };
        let alone = describe(&ours, torch(&ours, &context));
        assert!(
            alone.starts_with("300/s, 4.25 ms a step; PyTorch not measured (/there/is/no/python"),
            "{alone}"
        );
        std::fs::remove_dir_all(&context.folder).unwrap();
        assert_eq!(workloads().count(), 4);
    }
}
