//! Everything a run needs to go on as if nothing had happened, taken between two updates.
//!
//! Random draws and the order of the examples are functions of seed, epoch and place: of them only the place is kept.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use lrlab_callbacks::{Averaging, SessionState};
use lrlab_runs::Work;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::running::Running;

/// Tensors by name.
pub(crate) type Tensors = BTreeMap<String, Tensor>;

/// The state of a run between two updates: figures, and tensors by group and name.
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) facts: Facts,
    pub(crate) tensors: Groups,
}

/// What is no tensor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Facts {
    #[serde(flatten)]
    pub(crate) session: SessionState,
    /// Metrics of the epoch under way, and its batches so far.
    pub(crate) running: Option<Running>,
    pub(crate) best: Option<Best>,
    #[serde(flatten)]
    pub(crate) host: HostState,
    pub(crate) callbacks: serde_json::Value,
    /// Of all attempts so far.
    pub(crate) work: Work,
}

/// What the host of a run remembers about its weights.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HostState {
    /// The entry of the history that was measured on the weights in force.
    pub(crate) measured: Option<usize>,
    /// The same for saved weights, by tag.
    pub(crate) figures: BTreeMap<String, usize>,
    /// Whether the group `undone` exists.
    pub(crate) undone: bool,
    /// Tags; the tensors of the i-th are the groups `kept/i` and `kept-optimizer/i`.
    pub(crate) kept: Vec<String>,
    pub(crate) average: Option<Averaging>,
}

/// The best epoch so far; its weights are the group `best`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Best {
    pub(crate) index: usize,
    pub(crate) value: f64,
}

impl State {
    /// Updates made.
    #[must_use]
    pub fn update(&self) -> u64 {
        self.facts.session.update
    }

    /// Completed epochs.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.facts.session.epoch
    }

    /// The figures as JSON and the tensors in the safetensors format. Of the JSON's keys `update`, `epoch`, `history`
    /// and `decisions` are those of [`lrlab_runs::Progress`].
    ///
    /// # Errors
    /// A tensor cannot be copied from its device.
    pub fn write(&self) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let facts = serde_json::to_vec(&self.facts).map_err(unreadable)?;
        let mut tensors = Tensors::new();
        for (group, members) in &self.tensors.0 {
            for (name, tensor) in members {
                tensors.insert(format!("{group}:{name}"), tensor.to_device(&Device::Cpu)?);
            }
        }
        let tensors = safetensors::serialize(&tensors, None).map_err(candle_core::Error::from)?;
        Ok((facts, tensors))
    }

    /// What [`State::write`] gave, on the CPU.
    ///
    /// # Errors
    /// It is something else.
    pub fn read(facts: &[u8], tensors: &[u8]) -> Result<Self, Error> {
        let facts = serde_json::from_slice(facts).map_err(unreadable)?;
        let mut groups = Groups::default();
        let read: Tensors =
            candle_core::safetensors::load_buffer(tensors, &Device::Cpu)?.into_iter().collect();
        for (key, tensor) in read {
            let Some((group, name)) = key.split_once(':') else {
                return Err(unreadable(format!("a tensor called {key:?}")));
            };
            groups.0.entry(group.to_owned()).or_default().insert(name.to_owned(), tensor);
        }
        Ok(Self { facts, tensors: groups })
    }
}

fn unreadable(reason: impl std::fmt::Display) -> Error {
    Error::State { reason: reason.to_string() }
}

/// Tensors by group and name. Groups without tensors are not told apart from those that are not there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Groups(BTreeMap<String, Tensors>);

impl Groups {
    pub(crate) fn put(&mut self, group: impl Into<String>, tensors: Tensors) {
        self.0.insert(group.into(), tensors);
    }

    pub(crate) fn get(&self, group: &str) -> Tensors {
        self.0.get(group).cloned().unwrap_or_default()
    }
}
