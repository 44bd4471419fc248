//! Stochastic gradient descent (Robbins and Monro, 1951; Sutskever et al., ICML 2013) as in `torch.optim.SGD`.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, backprop::GradStore, bail};
use lrlab_config::SgdConfig;
use lrlab_kernels::{Params, SgdStep, sgd_updates};
use lrlab_schedulers::Hyper;

use crate::{
    Optimizer,
    check::{decay, in_range, reject_group},
    slots::Slots,
};

/// g ← ∇θ + λ θ; b ← μ b + g, with b = g on the first step; θ ← θ − lr · b, or θ − lr · (g + μ b) with Nesterov momentum.
/// There is no dampening. λ is 0 for norms and biases unless `decay_all` is set.
#[derive(Debug)]
pub struct Sgd {
    config: SgdConfig,
    slots: Slots,
}

impl Sgd {
    /// Creates the rule for the trainable parameters of `params`. The state has the tensors `momentum_buffer.NAME` (with
    /// momentum) and `steps`.
    ///
    /// # Errors
    /// Returns an error if a constant is outside its range or an allocation fails.
    pub fn new(config: SgdConfig, params: &Params) -> Result<Self> {
        check(&config)?;
        let has_momentum = config.momentum > 0.0 || config.momentum_schedule.is_some();
        let kinds: &[&str] = if has_momentum { &["momentum_buffer"] } else { &[] };
        let slots = Slots::new(kinds, params, config.weight_decay, config.decay_all)?;
        Ok(Self { config, slots })
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, lr: f64, grads: &GradStore) -> Result<()> {
        let SgdConfig { momentum, nesterov, weight_decay, .. } = self.config;
        self.slots.step(grads, |steps, updates| {
            sgd_updates(updates, SgdStep { lr, momentum, nesterov, weight_decay, first: steps == 0 })
        })
    }

    fn set(&mut self, group: &str, hyper: &Hyper, value: f64) -> Result<()> {
        reject_group(group)?;
        match hyper {
            Hyper::Momentum if self.slots.has_moments() => {
                decay("momentum", value)?;
                self.config.momentum = value;
            }
            Hyper::Momentum => bail!(
                "momentum cannot be set to {value}: this SGD was created without momentum; create it with a `momentum` above 0"
            ),
            Hyper::WeightDecay => {
                in_range("weight decay", value, 0.0, f64::MAX)?;
                self.slots.set_weight_decay(value);
            }
            other => bail!("SGD has no {other}: it has momentum and weight_decay"),
        }
        Ok(())
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        self.slots.state()
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        self.slots.restore(state)
    }
}

fn check(config: &SgdConfig) -> Result<()> {
    decay("momentum", config.momentum)?;
    in_range("weight decay", config.weight_decay, 0.0, f64::MAX)?;
    if config.nesterov && config.momentum == 0.0 && config.momentum_schedule.is_none() {
        bail!("Nesterov momentum needs a momentum above 0");
    }
    Ok(())
}
