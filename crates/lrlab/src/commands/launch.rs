//! Starts the worker of a run and shows its events.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use candle_core::Device;
use lrlab_grid::{Assignment, Ending, Failure, Gpu, Notice, WorkerCommand};
use lrlab_options::Machine;
use lrlab_runs::{Event, PlannedRun, RunStore};

use crate::device;
use crate::progress::Progress;
use crate::{DeviceChoice, provenance};

/// The program and the options of the workers of a grid.
pub(crate) struct Launcher {
    program: PathBuf,
    out: PathBuf,
    /// The options of workers. `device` is the opened device, with the ordinal that this process uses.
    machine: Machine,
    build: Option<String>,
    /// The NVIDIA GPUs that workers are assigned to: all, or the requested one.
    pub(crate) gpus: Vec<Gpu>,
    /// Whether a worker sees only the GPU of its slot.
    bound: bool,
}

impl Launcher {
    /// Creates a launcher for workers of this program in `store`. `device` is the opened device of `machine`.
    pub(crate) fn new(store: &RunStore, machine: &Machine, device: &Device) -> anyhow::Result<Self> {
        let gpus: Vec<Gpu> = if device.is_cuda() { lrlab_grid::gpus() } else { Vec::new() };
        let (mut gpus, bound) = match machine.device {
            DeviceChoice::Cuda(ordinal) => (gpus.into_iter().skip(ordinal).take(1).collect(), false),
            _ => (gpus, true),
        };
        // CUDA reports the memory of a GPU slice (MIG), which `nvidia-smi` does not.
        if let ([gpu], Some(memory)) = (&mut gpus[..], lrlab_kernels::device_memory(device)) {
            gpu.free_mib = Some(memory.free_mib);
        }
        Ok(Self {
            program: provenance::this_program()?,
            out: std::path::absolute(store.root())?,
            machine: Machine { device: device::choice(device), ..*machine },
            build: provenance::own_build(),
            gpus,
            bound,
        })
    }

    /// The number of devices to spread workers over.
    pub(crate) fn devices(&self) -> usize {
        self.gpus.len().max(1)
    }

    /// Describes the devices.
    pub(crate) fn describe_device(&self) -> String {
        match self.gpus.len() {
            0 | 1 => self.machine.device.to_string(),
            n => format!("{n} GPUs"),
        }
    }

    pub(crate) fn command(&self, assignment: &Assignment<'_>) -> WorkerCommand {
        let Assignment { run, attempt, threads, device, until, continues, continued, .. } = assignment;
        let mut args = Vec::from(["worker", "--watch-stdin", "--run", run.run_id.as_str()].map(Into::into));
        args.extend(["--out".into(), self.out.clone().into_os_string()]);
        args.extend(["--attempt".into(), attempt.to_string().into()]);
        args.extend(until.iter().flat_map(|epoch| ["--until-epoch".into(), epoch.to_string().into()]));
        args.extend(continues.iter().flat_map(|id| ["--continue-run".into(), id.as_str().into()]));
        args.extend(continued.then(|| "--keep-penultimate".into()));
        let bound = self.gpus.get(*device).filter(|_| self.bound);
        // A worker that is bound to a GPU sees it with ordinal 0.
        let device = bound.map_or(self.machine.device, |_| DeviceChoice::Cuda(0));
        let machine = Machine { device, threads: NonZeroUsize::new(*threads), ..self.machine };
        args.extend(machine.arguments().into_iter().map(Into::into));
        let mut env = Vec::new();
        env.extend(bound.map(|gpu| ("CUDA_VISIBLE_DEVICES".into(), gpu.id.clone().into())));
        env.extend(quiet().map(|(name, value)| (name.into(), value.into())));
        env.extend(self.build.as_ref().map(|build| (provenance::BUILD.into(), build.into())));
        WorkerCommand { program: self.program.clone(), args, env }
    }
}

/// The environment of a child process whose standard error is read: without colours, and without the backtraces that candle puts
/// into its messages with `RUST_BACKTRACE=1`. Panics keep theirs, and `RUST_LIB_BACKTRACE` is left as the user set it.
pub(super) fn quiet() -> impl Iterator<Item = (&'static str, &'static str)> {
    const OF_ERRORS: &str = "RUST_LIB_BACKTRACE";
    let unset = std::env::var_os(OF_ERRORS).is_none();
    std::iter::once(("NO_COLOR", "1")).chain(unset.then_some((OF_ERRORS, "0")))
}

/// Shows a notice of the executor.
pub(crate) fn show(progress: &mut Progress, run: &PlannedRun, notice: Notice<'_>) {
    let id = &run.run_id;
    let describe = |failure: &Failure| format!("{}: {}", failure.kind, failure.message);
    match notice {
        Notice::Event(Event::Note { message }) => progress.note(id, message),
        Notice::Event(event) => progress.event(id, event),
        Notice::Ended { ending: Ending::Done, seconds, left, .. } => progress.done(id, seconds, left.wall_s),
        Notice::Ended { ending: Ending::Failed(failure), again, .. } => {
            let again = if again { " (will be retried)" } else { "" };
            progress.failed(id, &format!("{}{again}", describe(failure)));
        }
        Notice::EndedElsewhere(None) => progress.done_elsewhere(id),
        Notice::EndedElsewhere(Some(failure)) => progress.failed(id, &describe(failure)),
        Notice::StopRequested { out_of_time: true } => progress.note(id, "the time limit is near: saving"),
        Notice::StopRequested { out_of_time: false } => progress.note(id, "stop requested: saving"),
        Notice::Elsewhere(Some(owner)) => progress.elsewhere(owner),
        Notice::Started { .. }
        | Notice::Elsewhere(None)
        | Notice::Ended { ending: Ending::Interrupted | Ending::Paused, .. } => {}
    }
}

/// Reads a run's `spec.json`.
pub(crate) fn planned(store: &RunStore, folder: &Path) -> anyhow::Result<PlannedRun> {
    use anyhow::Context;
    let path = folder.join("spec.json");
    let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| format!("{} in {}", path.display(), store.root().display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CheckpointEvery;
    use lrlab_options::Keep;

    #[test]
    fn workers_are_bound_to_the_gpu_of_their_slot() {
        let gpu = |id: &str| Gpu { id: id.to_owned(), free_mib: None };
        let run = PlannedRun {
            run_id: lrlab_runs::RunId::of("{}", ""),
            cell: [].into(),
            spec: serde_json::Value::Null.into(),
            dataset_digest: String::new(),
        };
        for (gpus, bound, device, argument, seen) in [
            (vec![gpu("3"), gpu("GPU-7")], true, 1, "--device=cuda:0", Some("GPU-7")),
            // A GPU that is requested by ordinal is not bound.
            (vec![gpu("GPU-7")], false, 0, "--device=cuda:2", None),
            (vec![], true, 0, "--device=cuda:2", None),
        ] {
            let launch = Launcher {
                program: "lrlab".into(),
                out: "/out".into(),
                machine: Machine {
                    device: DeviceChoice::Cuda(2),
                    keep: Keep::Best,
                    threads: None,
                    checkpoint_every: CheckpointEvery::Never,
                    from_scratch: false,
                },
                build: None,
                gpus,
                bound,
            };
            let folder = Path::new("/a");
            let command = launch.command(&Assignment {
                run: &run,
                attempt: 1,
                folder,
                threads: 2,
                slot: 0,
                device,
                until: None,
                continues: None,
                continued: false,
            });
            assert!(command.args.iter().any(|word| word == argument), "{:?}", command.args);
            let set = command.env.iter().find(|(name, _)| name == "CUDA_VISIBLE_DEVICES");
            assert_eq!(set.map(|(_, id)| id.to_str().unwrap()), seen);
        }
    }
}
