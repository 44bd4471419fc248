//! A worker and what it works on.

use std::process::ExitStatus;
use std::time::Instant;

use crate::Attempt;
use crate::child::Worker;
use crate::live::Recorder;
use crate::places::Place;

/// A worker and what it works on.
pub(super) struct Active {
    pub(super) number: u64,
    pub(super) index: usize,
    pub(super) place: Place,
    pub(super) attempt: Attempt,
    pub(super) worker: Worker,
    pub(super) recorder: Recorder,
    /// The error it reported itself.
    pub(super) said: Option<String>,
    /// When it last said something.
    pub(super) heard: Instant,
    /// It was ended for its silence.
    pub(super) hung: bool,
    pub(super) closed: bool,
    pub(super) exited: Option<(ExitStatus, Instant)>,
}
