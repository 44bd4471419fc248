//! Parameter groups, as in `torch.optim`.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, backprop::GradStore, bail};
use lrlab_config::OptimizerConfig;
use lrlab_kernels::Params;
use lrlab_schedulers::Hyper;

use crate::{Optimizer, build, check::in_range};

/// The settings of a parameter group.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The factor of the rate, at least 0. Default: 1.
    pub lr_scale: f64,
    /// λ of every parameter of the group, including norms and biases; `None`, the default, uses the setting of the optimizer.
    pub weight_decay: Option<f64>,
    /// The name of the schedule of the group, such as one of `Session::with_schedule`; `None`, the default, uses the rate of
    /// the run.
    pub schedule: Option<String>,
}

impl Default for Group {
    fn default() -> Self {
        Self { lr_scale: 1.0, weight_decay: None, schedule: None }
    }
}

/// An update rule with parameter groups by name pattern, like `param_groups` in `torch.optim`. Each group has a factor of the
/// rate, a weight decay and a schedule.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use lrlab_kernels::{Params, Role};
/// use lrlab_optim::{AdamConfig, Group, Groups, Optimizer, OptimizerConfig};
///
/// let mut params = Params::new(Device::Cpu, DType::F32);
/// for name in ["body.weight", "head.weight", "head.bias"] {
///     params.create(name, &Tensor::ones(2, DType::F32, &Device::Cpu)?, Role::Weight)?;
/// }
/// let head = Group { lr_scale: 10.0, weight_decay: Some(0.0), ..Group::default() };
/// let adamw = OptimizerConfig::AdamW(AdamConfig::adamw());
/// let mut optimizer = Groups::new(&adamw, &params, &[("head.*", head)])?;
/// let loss = params.iter().try_fold(Tensor::new(0f32, &Device::Cpu)?, |sum, (_, p)| sum + p.var.sqr()?.sum_all()?)?;
/// optimizer.step(0.01, &loss.backward()?)?;
/// // The first step of Adam equals the rate; the body also decays by 0.01 · 0.01.
/// let moved = |name: &str| Ok::<_, candle_core::Error>(1.0 - params.get(name).unwrap().var.get(0)?.to_scalar::<f32>()?);
/// assert!((moved("head.bias")? - 0.1).abs() < 1e-5);
/// assert!((moved("body.weight")? - 0.0101).abs() < 1e-5);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub struct Groups {
    /// The last group contains the parameters that match no pattern.
    groups: Vec<(Group, Box<dyn Optimizer>)>,
    /// The patterns of all groups except the last.
    patterns: Vec<String>,
}

impl Groups {
    /// Creates the rule of `config` for the trainable parameters of `params`. Each parameter belongs to the first of `groups`
    /// whose pattern matches its name, and otherwise to a last, implicit group. In a pattern, `*` matches any number of
    /// characters.
    ///
    /// The state contains the state of each group with the index of the group: `0/exp_avg.NAME`.
    ///
    /// # Errors
    /// Returns an error if a pattern matches no parameter that earlier patterns do not match, a constant is outside its range,
    /// or an allocation fails.
    pub fn new(config: &OptimizerConfig, params: &Params, groups: &[(&str, Group)]) -> Result<Self> {
        let group_of = |name: &str| groups.iter().position(|(pattern, _)| matches(pattern, name));
        let mut built = Vec::with_capacity(groups.len() + 1);
        for (i, (pattern, group)) in groups.iter().enumerate() {
            let own = params.subset(|name| group_of(name) == Some(i));
            if own.trainable().next().is_none() {
                let names: Vec<_> = params.trainable().map(|(name, _)| name).collect();
                bail!(
                    "group {i}: the pattern {pattern:?} matches no remaining parameter; the parameters are {}",
                    names.join(", ")
                );
            }
            in_range("lr_scale", group.lr_scale, 0.0, f64::MAX)?;
            built.push((group.clone(), build(&with_decay(config, group.weight_decay), &own)?));
        }
        let rest = params.subset(|name| group_of(name).is_none());
        built.push((Group::default(), build(config, &rest)?));
        Ok(Self {
            groups: built,
            patterns: groups.iter().map(|(pattern, _)| (*pattern).to_owned()).collect(),
        })
    }
}

impl Optimizer for Groups {
    fn step(&mut self, lr: f64, grads: &GradStore) -> Result<()> {
        let only = |name: Option<&str>| match name {
            None => Ok(lr),
            Some(name) => bail!("a group has the schedule {name:?}; use `step_groups`"),
        };
        self.step_groups(&only, grads)
    }

    fn step_groups(&mut self, lr: &dyn Fn(Option<&str>) -> Result<f64>, grads: &GradStore) -> Result<()> {
        // Compute all rates first, so that a missing one changes nothing.
        let rates = self.groups.iter().map(|(group, _)| Ok(group.lr_scale * lr(group.schedule.as_deref())?));
        let rates = rates.collect::<Result<Vec<_>>>()?;
        self.groups.iter_mut().zip(rates).try_for_each(|((_, rule), lr)| rule.step(lr, grads))
    }

    /// The name of a group is its pattern. The name `""` means all groups; for weight decay, all groups without a value of their own.
    fn set(&mut self, group: &str, hyper: &Hyper, value: f64) -> Result<()> {
        if group.is_empty() {
            let has_own = |group: &Group| *hyper == Hyper::WeightDecay && group.weight_decay.is_some();
            let mut all = self.groups.iter_mut().filter(|(group, _)| !has_own(group));
            return all.try_for_each(|(_, rule)| rule.set("", hyper, value));
        }
        match self.patterns.iter().position(|pattern| pattern == group) {
            Some(i) => self.groups[i].1.set("", hyper, value),
            None => bail!("there is no group {group:?}; the groups are {:?}", self.patterns),
        }
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut all = BTreeMap::new();
        for (i, (_, rule)) in self.groups.iter().enumerate() {
            all.extend(rule.state()?.into_iter().map(|(name, tensor)| (format!("{i}/{name}"), tensor)));
        }
        Ok(all)
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let mut parts = vec![BTreeMap::new(); self.groups.len()];
        for (key, tensor) in state {
            let parsed = key.split_once('/').and_then(|(i, name)| Some((i.parse::<usize>().ok()?, name)));
            match parsed.and_then(|(i, name)| Some((parts.get_mut(i)?, name))) {
                Some((part, name)) => part.insert(name.to_owned(), tensor.clone()),
                None => {
                    bail!("the state has {key:?}, which belongs to none of the {} groups", self.groups.len())
                }
            };
        }
        let before = self.state_by_group()?;
        for (i, part) in parts.iter().enumerate() {
            if let Err(error) = self.groups[i].1.restore(part) {
                for ((_, rule), old) in self.groups.iter_mut().zip(&before).take(i) {
                    rule.restore(old)?;
                }
                bail!("group {i}: {error}");
            }
        }
        Ok(())
    }
}

impl Groups {
    fn state_by_group(&self) -> Result<Vec<BTreeMap<String, Tensor>>> {
        self.groups.iter().map(|(_, rule)| rule.state()).collect()
    }
}

fn with_decay(config: &OptimizerConfig, own: Option<f64>) -> OptimizerConfig {
    let mut config = config.clone();
    let (decay, all) = match &mut config {
        OptimizerConfig::Sgd(sgd) => (&mut sgd.weight_decay, &mut sgd.decay_all),
        OptimizerConfig::Adam(adam) | OptimizerConfig::AdamW(adam) => {
            (&mut adam.weight_decay, &mut adam.decay_all)
        }
    };
    if let Some(own) = own {
        (*decay, *all) = (own, true);
    }
    config
}

/// Returns whether `pattern`, in which `*` matches any number of characters, matches `name`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            name.char_indices().map(|(i, _)| i).chain([name.len()]).any(|i| matches(rest, &name[i..]))
        }),
    }
}
