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
pub use script::quoted;
pub use standing::{Mode, Standing, standing};
pub use submission::{Array, Member, Submission, submissions};
pub use submit::{Outcome, Settings, submit, texts};

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
    /// It gave no answer in time.
    #[error("{program} gave no answer within {seconds} s")]
    Silent {
        /// `sbatch`, `squeue` or `scontrol`.
        program: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
}
