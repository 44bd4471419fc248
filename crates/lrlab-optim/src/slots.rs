//! The state of an update rule: the moments and the number of steps of each trainable parameter.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor, Var, backprop::GradStore, bail};
use lrlab_kernels::{Params, Role, Update};

/// The name of the tensor of step counts in a state.
const STEPS: &str = "steps";

/// A trainable parameter.
#[derive(Debug)]
struct Slot {
    name: String,
    var: Var,
    /// Whether weight decay applies.
    decays: bool,
    /// The moments, one per kind.
    moments: Vec<Var>,
    /// The number of steps with a gradient.
    steps: u64,
}

/// All trainable parameters, sorted by name.
#[derive(Debug)]
pub(crate) struct Slots {
    kinds: &'static [&'static str],
    /// The weight decay of the parameters to which it applies.
    weight_decay: f64,
    all: Vec<Slot>,
}

impl Slots {
    /// Creates zero moments of these kinds for the trainable parameters of `params`. Weight decay applies to weights, and with
    /// `decay_all` to all parameters.
    pub(crate) fn new(
        kinds: &'static [&'static str],
        params: &Params,
        weight_decay: f64,
        decay_all: bool,
    ) -> Result<Self> {
        let slot = |(name, param): (&str, &lrlab_kernels::Param)| {
            Ok(Slot {
                name: name.to_owned(),
                decays: decay_all || param.role == Role::Weight,
                moments: kinds.iter().map(|_| zeros_like(&param.var)).collect::<Result<_>>()?,
                var: param.var.clone(),
                steps: 0,
            })
        };
        Ok(Self { kinds, weight_decay, all: params.trainable().map(slot).collect::<Result<_>>()? })
    }

    /// Sets the weight decay of the next steps.
    pub(crate) fn set_weight_decay(&mut self, weight_decay: f64) {
        self.weight_decay = weight_decay;
    }

    /// Returns whether there are moments.
    pub(crate) fn has_moments(&self) -> bool {
        !self.kinds.is_empty()
    }

    /// Updates every parameter with a gradient. Each call of `update` gets all parameters with the same number of steps.
    pub(crate) fn step(
        &mut self,
        grads: &GradStore,
        update: impl Fn(u64, &[Update]) -> Result<()>,
    ) -> Result<()> {
        let mut groups: BTreeMap<u64, Vec<(&mut u64, Update)>> = BTreeMap::new();
        for Slot { var, decays, moments, steps, .. } in &mut self.all {
            let Some(grad) = grads.get(var) else { continue };
            let weight_decay = if *decays { self.weight_decay } else { 0.0 };
            let update = Update { var, grad, moments, weight_decay };
            groups.entry(*steps).or_default().push((steps, update));
        }
        for (step, group) in groups {
            let (steps, updates): (Vec<_>, Vec<_>) = group.into_iter().unzip();
            update(step, &updates)?;
            for steps in steps {
                *steps += 1;
            }
        }
        Ok(())
    }

    /// Returns copies of the moments as `KIND.NAME`, and `steps` as i64 in the order of the parameters.
    pub(crate) fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let steps: Vec<i64> = self.all.iter().map(|slot| slot.steps as i64).collect();
        let count = steps.len();
        let mut state = BTreeMap::from([(STEPS.to_owned(), Tensor::from_vec(steps, count, &Device::Cpu)?)]);
        for (key, moment) in self.moments() {
            state.insert(key, moment.as_tensor().copy()?.detach());
        }
        Ok(state)
    }

    /// Checks the complete state before changing anything.
    pub(crate) fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let expected: BTreeMap<String, &Var> = self.moments().collect();
        if let Some(name) = state.keys().find(|name| *name != STEPS && !expected.contains_key(*name)) {
            bail!("the state has {name:?}, which this optimizer does not have");
        }
        let Some(steps) = state.get(STEPS) else { bail!("the state lacks {STEPS:?}") };
        let steps = steps.to_vec1::<i64>()?;
        if steps.len() != self.all.len() {
            bail!("the state has the steps of {} parameters, expected {}", steps.len(), self.all.len());
        }
        let mut moved = Vec::with_capacity(expected.len());
        for (name, var) in expected {
            match state.get(&name) {
                None => bail!("the state lacks {name:?}"),
                Some(t) if t.shape() != var.shape() => {
                    bail!("{name:?} has shape {:?} in the state, expected {:?}", t.shape(), var.shape())
                }
                Some(t) => moved.push((var, t.to_device(var.device())?.to_dtype(var.dtype())?)),
            }
        }
        for (var, value) in moved {
            var.set(&value)?;
        }
        for (slot, steps) in self.all.iter_mut().zip(steps) {
            slot.steps = steps as u64;
        }
        Ok(())
    }

    fn moments(&self) -> impl Iterator<Item = (String, &Var)> {
        self.all.iter().flat_map(|slot| {
            self.kinds.iter().zip(&slot.moments).map(|(kind, var)| (format!("{kind}.{}", slot.name), var))
        })
    }
}

fn zeros_like(var: &Var) -> Result<Var> {
    Var::zeros(var.shape(), var.dtype(), var.device())
}
