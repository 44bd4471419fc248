//! Adam (Kingma and Ba, ICLR 2015) and AdamW (Loshchilov and Hutter, ICLR 2019) as `torch.optim` has them.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, backprop::GradStore, bail};
use lrlab_config::AdamConfig;
use lrlab_kernels::{AdamStep, Params, adam_updates};
use lrlab_schedulers::Hyper;

use crate::{
    Optimizer,
    check::{in_range, whole},
    slots::Slots,
};

/// m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²; θ ← θ − lr · m̂ / (√v̂ + ε), with m̂ = m / (1 − β₁ᵗ),
/// v̂ = v / (1 − β₂ᵗ) and t the parameter's steps.
///
/// Adam: g = ∇θ + λ θ. AdamW: g = ∇θ, and θ ← θ − lr λ θ first. λ is 0 for norms and biases unless `decay_all`.
#[derive(Debug)]
pub struct Adam {
    config: AdamConfig,
    decoupled: bool,
    slots: Slots,
}

impl Adam {
    /// Adam over what `params` trains. State: `exp_avg.NAME`, `exp_avg_sq.NAME` and `steps`.
    ///
    /// # Errors
    /// A constant is out of its range, or allocating the moments fails.
    pub fn new(config: AdamConfig, params: &Params) -> Result<Self> {
        check(&config)?;
        let slots = Slots::new(&["exp_avg", "exp_avg_sq"], params, config.weight_decay, config.decay_all)?;
        Ok(Self { config, decoupled: false, slots })
    }

    /// AdamW, likewise.
    ///
    /// # Errors
    /// As [`Adam::new`].
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
        whole(group)?;
        let (name, high) = match hyper {
            Hyper::Momentum | Hyper::Beta1 => ("beta1", 1.0 - f64::EPSILON),
            Hyper::Beta2 => ("beta2", 1.0 - f64::EPSILON),
            Hyper::WeightDecay => ("weight decay", f64::MAX),
            other => bail!("Adam has no {other}: it has beta1 (momentum), beta2 and weight_decay"),
        };
        in_range(name, value, 0.0, high)?;
        match hyper {
            Hyper::Beta2 => self.config.beta2 = value,
            Hyper::WeightDecay => self.slots.set_weight_decay(value),
            _ => self.config.beta1 = value,
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
    for (name, beta) in [("beta1", config.beta1), ("beta2", config.beta2)] {
        in_range(name, beta, 0.0, 1.0 - f64::EPSILON)?;
    }
    in_range("eps", config.eps, 0.0, f64::MAX)?;
    in_range("weight decay", config.weight_decay, 0.0, f64::MAX)
}
