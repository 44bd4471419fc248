//! Runs a grid on Slurm: job arrays whose tasks are workers that claim runs until none is left.
//!
//! ```text
//! DIR/bin/<build>/lrlab                          the frozen runner: edits after submission change no queued run
//! DIR/<experiment>/slurm/attempts/<n>/claim.json who submits; two that submit at once take turns
//! DIR/<experiment>/slurm/attempts/<n>/submission.json   arrays, runs, job ids
//! DIR/<experiment>/slurm/attempts/<n>/plan.json         the plan as it was: no job depends on a later one
//! DIR/<experiment>/slurm/attempts/<n>/<class>.sbatch    one script per resource class, and report.sbatch
//! DIR/<experiment>/slurm/attempts/<n>/log/       what the jobs said
//! ```
//!
//! Nobody has to stay: the state of the grid is in the runs' files, the jobs know what to do, and the same command
//! again asks `squeue` which of the recorded jobs are still there and submits only what none of them will do.

mod client;
mod script;
mod standing;
mod submission;
mod submit;

pub use client::{Queued, cancel, is_running, requeue};
pub use standing::{Elsewhere, Mode, Standing, given_up, standing};
pub use submission::{Array, Member, Settings, Submission, submissions};
pub use submit::{Outcome, submit, texts};

use std::path::PathBuf;

/// What can go wrong with Slurm.
#[derive(Debug, thiserror::Error)]
pub enum SlurmError {
    /// The program is not there.
    #[error("{program} cannot be started ({source}): is Slurm installed here?")]
    Missing {
        /// `sbatch`, `squeue` or `scontrol`.
        program: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// It complained.
    #[error("{program}: {message}")]
    Refused {
        /// `sbatch`, `squeue` or `scontrol`.
        program: &'static str,
        /// Its words.
        message: String,
    },
    /// It refused a script.
    #[error("{}: {source}", script.display())]
    Script {
        /// The script.
        script: PathBuf,
        /// Why.
        source: Box<SlurmError>,
    },
    /// Jobs that were submitted before another one was refused could not be cancelled.
    #[error(
        "{source}; what was submitted before could not be taken back ({left}): these jobs stay on record, and \
         `scancel {}` ends them", jobs.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
    )]
    NotCancelled {
        /// The jobs.
        jobs: Vec<u64>,
        /// Why the last of them is left.
        left: Box<SlurmError>,
        /// Why they were to be cancelled.
        source: Box<SlurmError>,
    },
    /// Nobody knows whether a job was submitted.
    #[error(
        "{source}, so it may still submit that job. What was submitted stays on record and goes on; the same command \
         again finds it by name and submits what is missing"
    )]
    Uncertain {
        /// What gave no answer.
        source: Box<SlurmError>,
    },
    /// A path that an option of `sbatch` cannot name.
    #[error(
        "{}: jobs cannot write logs there, because a line of a script cannot hold {character:?}; choose another \
         `--out`", path.display()
    )]
    Path {
        /// The path.
        path: PathBuf,
        /// The character.
        character: char,
    },
    /// It gave no answer in time.
    #[error("{program} gave no answer within {seconds} s")]
    Silent {
        /// `sbatch`, `squeue` or `scontrol`.
        program: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
}
