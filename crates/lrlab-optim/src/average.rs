//! Averages of the weights of a model.

use std::collections::{BTreeMap, VecDeque};

use candle_core::{Device, Result, Tensor, bail};
#[cfg(feature = "host")]
use lrlab_callbacks::Averaging;
use lrlab_kernels::Params;

use crate::check::in_range;

/// The name of the count in a state.
const SEEN: &str = "seen";

type Weights = BTreeMap<String, Tensor>;

/// An average of weights, including buffers. Recompute the batch-norm statistics for the averaged weights.
#[derive(Debug, Clone)]
pub struct WeightAverage {
    rule: Rule,
    seen: u64,
    /// The average; for [`Rule::Latest`], the last weights, oldest first.
    kept: VecDeque<Weights>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    Exponential { decay: f64 },
    Uniform,
    Latest { k: usize },
}

impl WeightAverage {
    /// Creates an exponential average: average ← `decay` · average + (1 − `decay`) · weights, starting at the first weights
    /// (Polyak and Juditsky, 1992, with forgetting). `decay` is in 0 … 1.
    #[must_use]
    pub fn exponential(decay: f64) -> Self {
        Self::new(Rule::Exponential { decay })
    }

    /// Creates the mean of all weights: average ← average + (weights − average) / n (SWA, Izmailov et al., UAI 2018).
    #[must_use]
    pub fn uniform() -> Self {
        Self::new(Rule::Uniform)
    }

    /// Creates the mean of the last `k` weights (LAWA, Kaddour, 2022), which are all stored. `k` is at least 1.
    #[must_use]
    pub fn latest(k: usize) -> Self {
        Self::new(Rule::Latest { k })
    }

    fn new(rule: Rule) -> Self {
        Self { rule, seen: 0, kept: VecDeque::new() }
    }

    /// Creates an empty average. [`Averaging::Apply`](lrlab_callbacks::Averaging::Apply), which is not a rule, gives the uniform
    /// mean.
    #[cfg(feature = "host")]
    #[must_use]
    pub fn of(rule: Averaging) -> Self {
        Self::new(match rule {
            Averaging::Exponential { decay } => Rule::Exponential { decay },
            Averaging::Latest { k } => Rule::Latest { k },
            Averaging::Uniform | Averaging::Apply => Rule::Uniform,
        })
    }

    /// Returns the average of a host for the next weights, with its rule: the decay or the number of weights may differ from
    /// that of earlier weights. `average` is created if it does not exist.
    ///
    /// # Errors
    /// Returns an error if the rule is of another kind than that of earlier weights, because a run has one average.
    #[cfg(feature = "host")]
    pub fn by_rule(average: &mut Option<(Averaging, Self)>, rule: Averaging) -> Result<&mut Self> {
        let (known, average) = average.get_or_insert_with(|| (rule, Self::of(rule)));
        if std::mem::discriminant(known) != std::mem::discriminant(&rule) {
            bail!(
                "the weights are averaged by {known:?}, and a callback requests {rule:?}: a run has one average"
            );
        }
        (*known, average.rule) = (rule, Self::of(rule).rule);
        Ok(average)
    }

    /// Returns the number of averaged weights.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Adds the current weights.
    ///
    /// # Errors
    /// Returns an error if the decay or k is outside its range, or if the parameters differ from those of the first call.
    pub fn update(&mut self, params: &Params) -> Result<()> {
        let average = match (self.rule, self.kept.back()) {
            (Rule::Exponential { decay }, average) => {
                in_range("decay", decay, 0.0, 1.0)?;
                average.map(|average| blend(average, params, 1.0 - decay)).transpose()?
            }
            (Rule::Uniform, average) => {
                let share = 1.0 / (self.seen + 1) as f64;
                average.map(|average| blend(average, params, share)).transpose()?
            }
            (Rule::Latest { k: 0 }, _) => bail!("k is 0, expected at least 1"),
            (Rule::Latest { .. }, _) => None,
        };
        let average = match average {
            Some(average) => average,
            None => copy(params)?,
        };
        let keep = match self.rule {
            Rule::Exponential { .. } | Rule::Uniform => 1,
            Rule::Latest { k } => k,
        };
        self.kept.push_back(average);
        while self.kept.len() > keep {
            self.kept.pop_front();
        }
        self.seen += 1;
        Ok(())
    }

    /// Replaces the weights by the average.
    ///
    /// # Errors
    /// Returns an error if no weights were averaged, or if the parameters differ.
    pub fn apply(&self, params: &Params) -> Result<()> {
        params.restore(&self.weights()?)
    }

    /// Returns the average by parameter name.
    ///
    /// # Errors
    /// Returns an error if no weights were averaged.
    pub fn weights(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut kept = self.kept.iter();
        let Some(first) = kept.next() else { bail!("no weights were averaged yet") };
        let mut mean = first.clone();
        for (n, weights) in (2_u64..).zip(kept) {
            for (name, value) in &mut mean {
                let more = find(weights, name)?.to_device(value.device())?;
                *value = (&*value + ((more - &*value)? * (1.0 / n as f64))?)?;
            }
        }
        Ok(mean)
    }

    /// Returns the state for a checkpoint: `i.NAME`, where i counts from the oldest weights, and the count `seen` as i64.
    ///
    /// # Errors
    /// Returns an error if a tensor cannot be created.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = Weights::from([(SEEN.to_owned(), Tensor::new(self.seen as i64, &Device::Cpu)?)]);
        for (i, weights) in self.kept.iter().enumerate() {
            state.extend(weights.iter().map(|(name, value)| (format!("{i}.{name}"), value.clone())));
        }
        Ok(state)
    }

    /// Restores the output of [`WeightAverage::state`].
    ///
    /// # Errors
    /// Returns an error, and changes nothing, if a name has no number or `seen` is missing.
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let Some(seen) = state.get(SEEN) else { bail!("the state lacks {SEEN:?}") };
        let seen = seen.to_scalar::<i64>()? as u64;
        let mut kept: BTreeMap<usize, Weights> = BTreeMap::new();
        for (key, value) in state.iter().filter(|(key, _)| *key != SEEN) {
            match key.split_once('.').and_then(|(i, name)| Some((i.parse().ok()?, name))) {
                Some((i, name)) => kept.entry(i).or_default().insert(name.to_owned(), value.clone()),
                None => bail!("{key:?} does not belong to the state of an average"),
            };
        }
        self.seen = seen;
        self.kept = kept.into_values().collect();
        Ok(())
    }
}

/// Returns average + share · (weights − average).
fn blend(average: &Weights, params: &Params, share: f64) -> Result<Weights> {
    params
        .iter()
        .map(|(name, param)| {
            let average = find(average, name)?.to_device(param.var.device())?;
            let moved = (&average + ((param.var.as_detached_tensor() - &average)? * share)?)?;
            Ok((name.to_owned(), moved))
        })
        .collect()
}

fn copy(params: &Params) -> Result<Weights> {
    Ok(params.snapshot()?.into_iter().map(|(name, value)| (name, value.detach())).collect())
}

fn find<'a>(weights: &'a Weights, name: &str) -> Result<&'a Tensor> {
    match weights.get(name) {
        Some(value) => Ok(value),
        None => bail!("{name:?} is not one of the averaged weights"),
    }
}
