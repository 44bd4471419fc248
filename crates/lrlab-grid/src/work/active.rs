//! A running worker and its run.

use std::process::ExitStatus;
use std::time::Instant;

use crate::Attempt;
use crate::child::Worker;
use crate::progress::Recorder;
use crate::slots::Slot;

/// A running worker and its run.
pub(super) struct Active {
    pub(super) number: u64,
    pub(super) index: usize,
    pub(super) slot: Slot,
    pub(super) attempt: Attempt,
    pub(super) worker: Worker,
    pub(super) recorder: Recorder,
    /// The error that the worker reported.
    pub(super) error: Option<String>,
    /// When the worker last sent an event.
    pub(super) last_event: Instant,
    /// Whether the worker was killed because it hung.
    pub(super) hung: bool,
    pub(super) closed: bool,
    pub(super) exited: Option<(ExitStatus, Instant)>,
}
