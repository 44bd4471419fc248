#![doc = include_str!("../README.md")]

mod averaging;
mod callback;
mod callbacks;
mod checkpoint;
pub mod comparison {
    #![doc = include_str!("comparison.md")]
}
mod csv_logger;
mod csv_update_logger;
mod divergence;
mod early_stopping;
mod jsonl_logger;
mod metric;
mod monitor;
mod progress;
mod range_test;
mod rate;
mod rate_recorder;
mod session;
mod sham;
mod snapshots;
mod suggestion;
mod table;
mod tensorboard;
mod tensorboard_run;
mod tfevents;
mod timer;

pub use averaging::WeightAveraging;
pub use callback::{Action, Averaging, Callback, Context, Error, Hook, Host, Phase};
pub use callbacks::Callbacks;
pub use checkpoint::{Checkpoint, CheckpointConfig, SaveEvery};
pub use csv_logger::CsvLogger;
pub use csv_update_logger::CsvUpdateLogger;
pub use divergence::DivergenceGuard;
pub use early_stopping::EarlyStopping;
pub use jsonl_logger::JsonlLogger;
pub use lrlab_config::{
    AtRestart, AverageEvery, AveragingConfig, DivergenceConfig, EarlyStoppingConfig, EmaConfig, GainPolicy,
    LawaConfig, OnDivergence, SwaConfig,
};
pub use lrlab_runs::EpochMetrics;
pub use monitor::ValidationLossMonitor;
pub use progress::ProgressBar;
pub use range_test::{RangeTest, RangeTestConfig};
pub use rate_recorder::RateRecorder;
pub use session::{Session, SessionState, StopReason};
pub use sham::ShamControl;
pub use snapshots::SnapshotEnsemble;
pub use suggestion::{NoSuggestion, Suggestion, suggest_lr};
pub use tensorboard::TensorBoardLogger;
pub use tensorboard_run::{TensorBoardRun, write_tensorboard_experiment};
pub use timer::Timer;
