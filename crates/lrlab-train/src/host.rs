//! The [`Host`] of a training run: carries out the actions of callbacks on the [`Trainer`].

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;
use lrlab_callbacks::{Averaging, Error, Host};
use lrlab_optim::WeightAverage;
use lrlab_runs::{Decision, Event};
use lrlab_schedulers::Observation;

use crate::state::{HostState, TensorGroups};
use crate::trainer::{Snapshot, Trainer};

/// A snapshot saved under a tag.
struct Saved {
    snapshot: Snapshot,
    /// The average at the time of the snapshot, if there was one.
    average: Option<WeightAverage>,
    /// The index in the history of the metrics that were measured on its weights.
    measured: Option<usize>,
}

/// Carries out the actions of callbacks and tracks which entry of the history was measured on the current weights.
pub(crate) struct TrainingHost<'a> {
    pub(crate) trainer: Trainer<'a>,
    pub(crate) report: &'a mut (dyn FnMut(&Event) + 'a),
    saved: BTreeMap<String, Saved>,
    /// The average with its rule; empty after a rewind to a snapshot before the first average.
    average: Option<(Averaging, WeightAverage)>,
    /// The length of the history.
    epochs: usize,
    /// The index of the entry that was measured on the current weights.
    pub(crate) measured: Option<usize>,
    /// The weights of the last update, on which the last entry was measured, if a restore has replaced them since.
    replaced: Option<BTreeMap<String, Tensor>>,
    /// The average that a rewind has replaced together with them, and the number of weights in the one that took its place.
    replaced_average: Option<(WeightAverage, u64)>,
    /// The tags whose snapshots have the current weights. An average of these weights belongs to them too.
    current: BTreeSet<String>,
    /// Whether weights were restored since the flag was last cleared; a non-finite loss has then been handled.
    pub(crate) restored: bool,
    /// Whether an average replaced the weights since the flag was last cleared.
    pub(crate) averaged: bool,
}

impl<'a> TrainingHost<'a> {
    pub(crate) fn new(trainer: Trainer<'a>, report: &'a mut (dyn FnMut(&Event) + 'a)) -> Self {
        Self {
            trainer,
            report,
            saved: BTreeMap::new(),
            average: None,
            epochs: 0,
            measured: None,
            replaced: None,
            replaced_average: None,
            current: BTreeSet::new(),
            restored: false,
            averaged: false,
        }
    }

    /// Records that an update changed the weights.
    pub(crate) fn updated(&mut self) {
        (self.measured, self.replaced, self.restored) = (None, None, false);
        self.replaced_average = None;
        self.current.clear();
    }

    /// Records that the next entry of the history was measured on the current weights, and returns its index.
    pub(crate) fn evaluated(&mut self) -> usize {
        let index = self.epochs;
        (self.measured, self.epochs, self.restored) = (Some(index), index + 1, false);
        index
    }

    /// Puts the weights of the last update back if a restore at the end of its epoch replaced them, and the average if a rewind
    /// did.
    pub(crate) fn undo_restore(&mut self) -> candle_core::Result<()> {
        if let Some(weights) = self.replaced.take() {
            self.trainer.params().restore(&weights)?;
            self.measured = self.epochs.checked_sub(1);
            self.current.clear();
        }
        if let (Some((replaced, seen)), Some((rule, average))) =
            (self.replaced_average.take(), &mut self.average)
        {
            let (rule, sampled) = (*rule, average.seen() > seen);
            *average = replaced;
            // The end of the epoch averaged the weights that the rewind put there.
            if sampled {
                WeightAverage::by_rule(&mut self.average, rule)?.update(self.trainer.params())?;
            }
        }
        Ok(())
    }

    fn restore_saved(&mut self, tag: &str) -> candle_core::Result<()> {
        let Some(Saved { snapshot, measured, .. }) = self.saved.get(tag) else {
            candle_core::bail!("no snapshot is saved under this tag");
        };
        let measured_last = self.measured.is_some_and(|index| index + 1 == self.epochs);
        if self.replaced.is_none() && measured_last {
            self.replaced = Some(self.trainer.params().snapshot()?);
        }
        self.trainer.restore(snapshot)?;
        (self.measured, self.restored) = (*measured, true);
        self.current.clear();
        Ok(())
    }

    fn rewind_to(&mut self, tag: &str) -> candle_core::Result<()> {
        let first = self.replaced.is_none();
        self.restore_saved(tag)?;
        if let Some((rule, average)) = &mut self.average {
            let kept = self.saved.get(tag).and_then(|saved| saved.average.clone());
            let later = std::mem::replace(average, kept.unwrap_or_else(|| WeightAverage::of(*rule)));
            if first && self.replaced.is_some() {
                self.replaced_average = Some((later, average.seen()));
            }
        }
        Ok(())
    }

    fn average_weights(&mut self, rule: Averaging) -> candle_core::Result<()> {
        if rule == Averaging::Apply && self.average.as_ref().is_some_and(|(_, average)| average.seen() == 0) {
            return Ok(());
        }
        self.measured = None;
        if rule == Averaging::Apply {
            self.averaged = true;
            return match &self.average {
                Some((_, average)) => average.apply(self.trainer.params()),
                None => candle_core::bail!("the average is empty: no weights were averaged yet"),
            };
        }
        let average = WeightAverage::by_rule(&mut self.average, rule)?;
        average.update(self.trainer.params())?;
        for tag in &self.current {
            if let Some(saved) = self.saved.get_mut(tag) {
                saved.average = Some(average.clone());
            }
        }
        Ok(())
    }

    /// Returns the saved weights, by tag.
    pub(crate) fn into_saved(self) -> BTreeMap<String, BTreeMap<String, Tensor>> {
        self.saved.into_iter().map(|(tag, saved)| (tag, saved.snapshot.params)).collect()
    }

    /// Returns the state of the host; the tensors go into `tensors`.
    pub(crate) fn state(&self, tensors: &mut TensorGroups) -> candle_core::Result<HostState> {
        let Snapshot { params, optimizer } = self.trainer.snapshot()?;
        tensors.put("model", params);
        tensors.put("optimizer", optimizer);
        if let Some((_, average)) = &self.average {
            tensors.put("average", average.state()?);
        }
        let mut figures = BTreeMap::new();
        for (i, (tag, Saved { snapshot, average, measured })) in self.saved.iter().enumerate() {
            tensors.put(format!("kept/{i}"), snapshot.params.clone());
            tensors.put(format!("kept-optimizer/{i}"), snapshot.optimizer.clone());
            if let Some(average) = average {
                tensors.put(format!("kept-average/{i}"), average.state()?);
            }
            figures.extend(measured.map(|index| (tag.clone(), index)));
        }
        if let Some(weights) = &self.replaced {
            tensors.put("undone", weights.clone());
        }
        if let Some((average, _)) = &self.replaced_average {
            tensors.put("undone-average", average.state()?);
        }
        Ok(HostState {
            measured: self.measured,
            figures,
            undone: self.replaced.is_some(),
            rewound_seen: self.replaced_average.as_ref().map_or(0, |(_, seen)| *seen),
            kept: self.saved.keys().cloned().collect(),
            average: self.average.as_ref().map(|(rule, _)| *rule),
        })
    }

    /// Restores the output of [`TrainingHost::state`], taken after `update` updates and `epochs` epochs.
    pub(crate) fn resume(
        &mut self,
        (update, epochs): (u64, usize),
        state: &HostState,
        tensors: &TensorGroups,
    ) -> candle_core::Result<()> {
        let snapshot = |params: &str, optimizer: &str| Snapshot {
            params: tensors.get(params),
            optimizer: tensors.get(optimizer),
        };
        self.trainer.restore(&snapshot("model", "optimizer"))?;
        self.trainer.update = update;
        self.average = match state.average {
            None => None,
            Some(rule) => {
                let mut average = WeightAverage::of(rule);
                average.restore(&tensors.get("average"))?;
                Some((rule, average))
            }
        };
        self.saved.clear();
        for (i, tag) in state.kept.iter().enumerate() {
            let snapshot = snapshot(&format!("kept/{i}"), &format!("kept-optimizer/{i}"));
            let kept = tensors.get(&format!("kept-average/{i}"));
            let average = restored_average(state.average, &kept)?;
            let measured = state.figures.get(tag).copied();
            self.saved.insert(tag.clone(), Saved { snapshot, average, measured });
        }
        self.epochs = epochs;
        self.measured = state.measured;
        self.replaced = state.undone.then(|| tensors.get("undone"));
        let replaced = restored_average(state.average, &tensors.get("undone-average"))?;
        self.replaced_average = replaced.map(|average| (average, state.rewound_seen));
        Ok(())
    }
}

/// Restores the state of an average; `None` if there is no state.
fn restored_average(
    rule: Option<Averaging>,
    state: &BTreeMap<String, Tensor>,
) -> candle_core::Result<Option<WeightAverage>> {
    let Some(rule) = rule.filter(|_| !state.is_empty()) else { return Ok(None) };
    let mut average = WeightAverage::of(rule);
    average.restore(state)?;
    Ok(Some(average))
}

impl Host for TrainingHost<'_> {
    fn save(&mut self, tag: &str) -> Result<(), Error> {
        let snapshot = self.trainer.snapshot().map_err(|e| failed(&format!("save {tag:?}"), &e))?;
        let average = self.average.as_ref().map(|(_, average)| average.clone());
        self.saved.insert(tag.to_owned(), Saved { snapshot, average, measured: self.measured });
        self.current.insert(tag.to_owned());
        Ok(())
    }

    fn restore(&mut self, tag: &str) -> Result<(), Error> {
        self.restore_saved(tag).map_err(|e| failed(&format!("restore {tag:?}"), &e))
    }

    fn rewind(&mut self, tag: &str) -> Result<(), Error> {
        self.rewind_to(tag).map_err(|e| failed(&format!("rewind to {tag:?}"), &e))
    }

    fn discard(&mut self, tag: &str) -> Result<(), Error> {
        self.saved.remove(tag);
        Ok(())
    }

    fn average(&mut self, rule: Averaging) -> Result<(), Error> {
        self.average_weights(rule).map_err(|e| failed("average weights", &e))
    }

    fn recompute_norm_statistics(&mut self) -> Result<(), Error> {
        self.measured = None;
        let recomputed = self.trainer.recompute_norm_statistics();
        recomputed.map_err(|e| failed("recompute batch-norm statistics", &e))
    }

    fn trial(&mut self, lrs: &mut dyn Iterator<Item = f64>) -> Result<Observation, Error> {
        self.trainer.trial(lrs).map_err(|e| failed("run a trial", &e))
    }

    fn decided(&mut self, decision: &Decision) {
        (self.report)(&Event::Decided { decision: Box::new(decision.clone()) });
    }
}

fn failed(action: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Host { action: action.to_owned(), message: error.to_string() }
}
