//! The state of a run between two updates, from which a run resumes bit for bit.
//!
//! Random draws and the order of the examples are functions of the seed, the epoch and the position, so the state only
//! stores the position.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use lrlab_callbacks::{Averaging, SessionState};
use lrlab_runs::Work;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::running_metrics::RunningMetrics;

/// Tensors by name.
pub(crate) type Tensors = BTreeMap<String, Tensor>;

/// The state of a run between two updates: metadata, and tensors by group and name.
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) metadata: Metadata,
    pub(crate) tensors: TensorGroups,
}

/// The part of the state that is not tensors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Metadata {
    #[serde(flatten)]
    pub(crate) session: SessionState,
    /// Metrics of the current epoch, and the number of its completed batches.
    pub(crate) running: Option<RunningMetrics>,
    pub(crate) best: Option<Best>,
    #[serde(flatten)]
    pub(crate) host: HostState,
    pub(crate) callbacks: serde_json::Value,
    /// The work of all attempts.
    pub(crate) work: Work,
}

/// The part of the state that belongs to the host: weights and their history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HostState {
    /// The index in the history of the metrics that were measured on the current weights.
    pub(crate) measured: Option<usize>,
    /// The same for saved weights, by tag.
    pub(crate) figures: BTreeMap<String, usize>,
    /// Whether the group `undone` exists; `undone-average` belongs to it.
    pub(crate) undone: bool,
    /// The number of averaged weights right after the rewind that `undone-average` precedes.
    #[serde(default)]
    pub(crate) rewound_seen: u64,
    /// Tags; the tensors of the i-th are the groups `kept/i`, `kept-optimizer/i` and, if it has an average, `kept-average/i`.
    pub(crate) kept: Vec<String>,
    pub(crate) average: Option<Averaging>,
}

/// The best epoch up to now; its weights are the group `best`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Best {
    pub(crate) index: usize,
    pub(crate) value: f64,
}

impl State {
    /// Returns the number of completed updates.
    #[must_use]
    pub fn update(&self) -> u64 {
        self.metadata.session.update
    }

    /// Returns the number of completed epochs.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.metadata.session.epoch
    }

    /// Returns the work of all attempts until this state.
    #[must_use]
    pub fn work(&self) -> Work {
        self.metadata.work
    }

    /// Serializes the metadata to JSON and the tensors to the safetensors format. The JSON keys `update`, `epoch`, `history`
    /// and `decisions` are those of [`lrlab_runs::Progress`].
    ///
    /// # Errors
    /// Returns an error if a tensor cannot be copied from its device.
    pub fn write(&self) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let metadata = serde_json::to_vec(&self.metadata).map_err(unreadable)?;
        let mut tensors = Tensors::new();
        for (group, members) in &self.tensors.0 {
            for (name, tensor) in members {
                tensors.insert(format!("{group}:{name}"), tensor.to_device(&Device::Cpu)?);
            }
        }
        let tensors = safetensors::serialize(&tensors, None).map_err(candle_core::Error::from)?;
        Ok((metadata, tensors))
    }

    /// Deserializes the output of [`State::write`]; the tensors are on the CPU.
    ///
    /// # Errors
    /// Returns [`Error::State`] if the input is not a state, and [`Error::Tensor`] if the tensors are damaged.
    pub fn read(metadata: &[u8], tensors: &[u8]) -> Result<Self, Error> {
        let metadata = serde_json::from_slice(metadata).map_err(unreadable)?;
        let mut groups = TensorGroups::default();
        let read: Tensors =
            candle_core::safetensors::load_buffer(tensors, &Device::Cpu)?.into_iter().collect();
        for (key, tensor) in read {
            let Some((group, name)) = key.split_once(':') else {
                return Err(unreadable(format!(
                    "expected tensor names of the form group:name, found {key:?}"
                )));
            };
            groups.0.entry(group.to_owned()).or_default().insert(name.to_owned(), tensor);
        }
        Ok(Self { metadata, tensors: groups })
    }
}

fn unreadable(reason: impl std::fmt::Display) -> Error {
    Error::State { reason: reason.to_string() }
}

/// Tensors by group and name. An empty group is equivalent to a missing one.
#[derive(Debug, Clone, Default)]
pub(crate) struct TensorGroups(BTreeMap<String, Tensors>);

impl TensorGroups {
    pub(crate) fn put(&mut self, group: impl Into<String>, tensors: Tensors) {
        self.0.insert(group.into(), tensors);
    }

    pub(crate) fn get(&self, group: &str) -> Tensors {
        self.0.get(group).cloned().unwrap_or_default()
    }
}
