//! The device and execution of runs.

use std::num::NonZeroUsize;
use std::str::FromStr;

use clap::{Arg, Args, Command, ValueEnum};

use crate::{CheckpointEvery, DeviceChoice};

/// The files to keep after a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Keep {
    /// Metrics and logs only.
    None,
    /// Also the best epoch's weights, as `best.safetensors`.
    Best,
    /// Also the last epoch's weights, the last two checkpoints, and the state that a longer run can continue.
    All,
}

impl Keep {
    /// Returns how many sets of weights are kept: the best, the last.
    #[must_use]
    pub const fn weights(self) -> usize {
        match self {
            Self::None => 0,
            Self::Best => 1,
            Self::All => 2,
        }
    }

    /// Whether checkpoints are kept.
    #[must_use]
    pub const fn checkpoints(self) -> bool {
        matches!(self, Self::All)
    }
}

impl std::fmt::Display for Keep {
    /// The value on the command line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Best => "best",
            Self::All => "all",
        })
    }
}

impl std::str::FromStr for Keep {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        <Self as ValueEnum>::from_str(text, false)
    }
}

/// The device and execution options of a run.
#[derive(Debug, Clone, Copy, Args)]
pub struct Machine {
    /// Where to train: auto, cpu, cuda, cuda:N or metal.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// Which weights to keep.
    #[arg(long, value_enum, default_value = "best")]
    pub keep: Keep,
    /// Threads per run; by default the cores divided among the jobs.
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroUsize>)]
    pub threads: Option<NonZeroUsize>,
    /// How often to save a run's state while it trains: "auto" (2 % of the time since the start, at most a minute),
    /// "5 seconds", "200 updates", "1 epoch" or "never".
    #[arg(long, value_name = "INTERVAL", default_value_t)]
    pub checkpoint_every: CheckpointEvery,
    /// Train every run from its first update, even if a shorter run with the same beginning is done.
    #[arg(long)]
    pub from_scratch: bool,
}

impl Machine {
    /// Returns the options that pass these values on to another process of this program.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let Self { device, keep, threads, checkpoint_every, from_scratch } = self;
        let mut arguments = vec![
            format!("--device={device}"),
            format!("--keep={keep}"),
            format!("--checkpoint-every={checkpoint_every}"),
        ];
        arguments.extend(threads.map(|threads| format!("--threads={threads}")));
        arguments.extend(from_scratch.then(|| "--from-scratch".to_owned()));
        arguments
    }
}

/// Lets every option take a negative number as its value, so that its own parser rejects it and names the option.
#[must_use]
pub fn negative_numbers_as_values(command: Command) -> Command {
    let options = |arg: Arg| {
        let takes_value = !arg.is_positional() && arg.get_action().takes_values();
        if takes_value { arg.allow_negative_numbers(true) } else { arg }
    };
    command.mut_args(options).mut_subcommands(negative_numbers_as_values)
}

/// Parses a positive number.
///
/// # Errors
/// Returns the message of the command line for other texts.
pub fn at_least_one<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "expected a whole number of at least 1".to_owned())
}
