//! The options of the runner's commands `run`, `report`, `status`, `tensorboard`, `verify` and `gc`, declared once for the
//! runner and for `cargo xtask`, which checks them before it builds the runner.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod commands;
mod device;
mod interval;
mod machine;
mod selection;

pub use commands::{
    Emit, ExecutorArgs, GcArgs, RecordedArgs, ReportArgs, RunArgs, StatusArgs, Target, TensorBoardArgs,
    VerifyArgs,
};
pub use device::DeviceChoice;
pub use interval::CheckpointEvery;
pub use machine::{Keep, Machine, at_least_one, negative_numbers_as_values};
pub use selection::{Cells, Part, QUICKSTART, RecordFiles, STORE, Selection, store_folder};
