//! Conversions between the optimizers of candle-nn and of this crate, in both directions.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, Var, backprop::GradStore, bail};
use lrlab_config::OptimizerConfig;
use lrlab_kernels::{Params, Role};

use crate::{Optimizer, build};

/// An update rule of this crate as a [`candle_nn::Optimizer`], which stores the rate. Unlike `candle_nn::AdamW`, it returns its
/// moments ([`CandleOptimizer::state`]).
///
/// ```
/// use candle_core::{DType, Device};
/// use candle_nn::{Init, Optimizer as _, VarBuilder, VarMap};
/// use lrlab_config::{AdamConfig, OptimizerConfig};
/// use lrlab_kernels::Params;
/// use lrlab_optim::CandleOptimizer;
///
/// let map = VarMap::new();
/// let w = VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu).get_with_hints(2, "w", Init::Const(1.0))?;
/// let config = OptimizerConfig::AdamW(AdamConfig::adamw());
/// let mut optimizer = CandleOptimizer::of_params(&Params::of_var_map(&map)?, &config, 0.1)?;
/// optimizer.backward_step(&w.sqr()?.sum_all()?)?;
/// assert!(optimizer.state()?.contains_key("exp_avg.w"));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub struct CandleOptimizer {
    rule: Box<dyn Optimizer>,
    lr: f64,
}

impl CandleOptimizer {
    /// Creates the rule of `config` for the trainable parameters of `params`, at rate `lr`. The tensors of the state are named
    /// after the parameters.
    ///
    /// # Errors
    /// Returns an error if a constant is outside its range or an allocation fails.
    pub fn of_params(params: &Params, config: &OptimizerConfig, lr: f64) -> Result<Self> {
        Ok(Self { rule: build(config, params)?, lr })
    }

    /// See [`Optimizer::state`].
    ///
    /// # Errors
    /// Returns an error if a copy fails.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        self.rule.state()
    }

    /// See [`Optimizer::restore`].
    ///
    /// # Errors
    /// Returns an error, and changes nothing, if names or shapes do not match.
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        self.rule.restore(state)
    }
}

impl candle_nn::Optimizer for CandleOptimizer {
    /// The rule and its rate.
    type Config = (OptimizerConfig, f64);

    /// Names the variables by position: `00000`, `00001`, …. Weight decay applies to all of them. `VarMap::all_vars` has no
    /// fixed order, so use [`CandleOptimizer::of_params`] if the state is stored.
    fn new(vars: Vec<Var>, (config, lr): Self::Config) -> Result<Self> {
        let Some(first) = vars.first() else { bail!("there are no variables, expected at least one") };
        let mut params = Params::new(first.device().clone(), first.dtype());
        for (i, var) in vars.iter().enumerate() {
            params.adopt(&format!("{i:05}"), var.clone(), Role::Weight)?;
        }
        Self::of_params(&params, &config, lr)
    }

    fn step(&mut self, grads: &GradStore) -> Result<()> {
        self.rule.step(self.lr, grads)
    }

    /// Takes the gradients from [`lrlab_kernels::backward`], which the operators of `lrlab-kernels` need on a GPU.
    fn backward_step(&mut self, loss: &Tensor) -> Result<()> {
        self.step(&lrlab_kernels::backward(loss)?)
    }

    fn learning_rate(&self) -> f64 {
        self.lr
    }

    fn set_learning_rate(&mut self, lr: f64) {
        self.lr = lr;
    }
}

/// `candle_nn::SGD` has no state.
impl Optimizer for candle_nn::SGD {
    fn step(&mut self, lr: f64, grads: &GradStore) -> Result<()> {
        candle_nn::Optimizer::set_learning_rate(self, lr);
        candle_nn::Optimizer::step(self, grads)
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        Ok(BTreeMap::new())
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        match state.keys().next() {
            None => Ok(()),
            Some(name) => bail!("the state has {name:?}, but `candle_nn::SGD` has no state"),
        }
    }
}
