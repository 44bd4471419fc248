//! Adam (Kingma and Ba, ICLR 2015) and AdamW (Loshchilov and Hutter, ICLR 2019) as in `torch.optim`.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, backprop::GradStore, bail};
use lrlab_config::AdamConfig;
use lrlab_kernels::{AdamStep, Params, adam_updates};
use lrlab_schedulers::Hyper;

use crate::{
    Optimizer,
    check::{decay, in_range, reject_group},
    slots::Slots,
};

/// m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²; θ ← θ − lr · m̂ / (√v̂ + ε), with m̂ = m / (1 − β₁ᵗ),
/// v̂ = v / (1 − β₂ᵗ), where t is the number of steps of the parameter.
///
/// Adam: g = ∇θ + λ θ. AdamW: g = ∇θ, after θ ← θ − lr λ θ. λ is 0 for norms and biases unless `decay_all` is set.
#[derive(Debug)]
pub struct Adam {
    config: AdamConfig,
    decoupled: bool,
    slots: Slots,
}

impl Adam {
    /// Creates Adam for the trainable parameters of `params`. The state has the tensors `exp_avg.NAME`, `exp_avg_sq.NAME` and
    /// `steps`.
    ///
    /// # Errors
    /// Returns an error if a constant is outside its range or an allocation fails.
    pub fn new(config: AdamConfig, params: &Params) -> Result<Self> {
        check(&config)?;
        let slots = Slots::new(&["exp_avg", "exp_avg_sq"], params, config.weight_decay, config.decay_all)?;
        Ok(Self { config, decoupled: false, slots })
    }

    /// Creates AdamW, with the same state as Adam.
    ///
    /// # Errors
    /// See [`Adam::new`].
    pub fn decoupled(config: AdamConfig, params: &Params) -> Result<Self> {
        Ok(Self { decoupled: true, ..Self::new(config, params)? })
    }
}

impl Optimizer for Adam {
    fn step(&mut self, lr: f64, grads: &GradStore) -> Result<()> {
        let AdamConfig { beta1, beta2, eps, weight_decay, .. } = self.config;
        let decoupled = self.decoupled;
        self.slots.step(grads, |steps, updates| {
            let step = AdamStep { lr, beta1, beta2, eps, weight_decay, decoupled, step: steps + 1 };
            adam_updates(updates, step)
        })
    }

    fn set(&mut self, group: &str, hyper: &Hyper, value: f64) -> Result<()> {
        reject_group(group)?;
        match hyper {
            Hyper::Momentum | Hyper::Beta1 => {
                decay("beta1", value)?;
                self.config.beta1 = value;
            }
            Hyper::Beta2 => {
                decay("beta2", value)?;
                self.config.beta2 = value;
            }
            Hyper::WeightDecay => {
                in_range("weight decay", value, 0.0, f64::MAX)?;
                self.slots.set_weight_decay(value);
            }
            other => bail!("Adam has no {other}: it has beta1 (momentum), beta2 and weight_decay"),
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

fn check(config: &AdamConfig) -> Result<()> {
    decay("beta1", config.beta1)?;
    decay("beta2", config.beta2)?;
    in_range("eps", config.eps, f32::MIN_POSITIVE.into(), f32::MAX.into())?;
    in_range("weight decay", config.weight_decay, 0.0, f64::MAX)
}
