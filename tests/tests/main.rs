//! Tests of the whole: the runner and `cargo xtask` as a user calls them, and rules about the workspace.
//!
//! They are one program, which is linked once and whose tests share the cores. `cargo test --release -p lrlab-tests page::`
//! runs a part of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "panics fail the test")]

mod again;
mod architecture;
mod averaging;
mod bad_input;
mod chaos;
mod colors;
mod continuation;
mod faults;
mod golden;
mod grid;
mod grid_tools;
mod interrupt;
mod kit;
mod licences;
mod lr_find;
mod output;
mod outside;
mod own_files;
mod own_networks;
mod page;
mod paper;
mod plans;
mod precision;
mod quickstart;
mod real_data;
mod records;
mod report;
mod schedule;
mod search;
mod slurm;
mod slurm_cases;
mod study;
mod tensorboard;
mod torch_weights;
mod vector_calls;
mod verify;
mod xtask;
