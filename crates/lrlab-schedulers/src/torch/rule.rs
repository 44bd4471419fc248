//! `get_lr` of each scheduler, in the order of operations of `PyTorch`.

use std::{f64::consts::PI, fmt, sync::Arc};

use super::{
    Anneal, Constant, Cosine, Cyclic, CyclicMode, Exponential, Linear, MultiStep, OneCycle, Polynomial, Step,
    group::Group,
    python::{bisect_right, cos, divide, power, raises},
};
use crate::Error;

/// A function of the step.
pub(super) type Function = Arc<dyn Fn(u64) -> f64 + Send + Sync>;

#[derive(Clone)]
pub(super) enum Rule {
    Lambda(Function),
    Multiplicative(Function),
    Constant(Constant),
    Step(Step),
    MultiStep(MultiStep),
    Linear(Linear),
    Exponential(Exponential),
    Polynomial(Polynomial),
    Cosine(Cosine),
    WarmRestarts(WarmRestarts),
    Cyclic(Cyclic),
    OneCycle { cycle: OneCycle, total: f64 },
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lambda(_) => f.write_str("Lambda"),
            Self::Multiplicative(_) => f.write_str("Multiplicative"),
            Self::Constant(rule) => rule.fmt(f),
            Self::Step(rule) => rule.fmt(f),
            Self::MultiStep(rule) => rule.fmt(f),
            Self::Linear(rule) => rule.fmt(f),
            Self::Exponential(rule) => rule.fmt(f),
            Self::Polynomial(rule) => rule.fmt(f),
            Self::Cosine(rule) => rule.fmt(f),
            Self::WarmRestarts(rule) => rule.fmt(f),
            Self::Cyclic(rule) => rule.fmt(f),
            Self::OneCycle { cycle, .. } => cycle.fmt(f),
        }
    }
}

impl Rule {
    /// `get_lr` at step `t`; `initial` during the construction of the scheduler.
    #[expect(clippy::match_same_arms, reason = "the cases are grouped by scheduler")]
    pub(super) fn lr(&self, group: &mut Group, base: f64, t: i64, initial: bool) -> Result<f64, Error> {
        let (lr, step) = (group.lr, t.max(0) as u64);
        let x = t as f64;
        Ok(match self {
            Self::Lambda(factor) => base * factor(step),
            Self::Multiplicative(_) if initial => lr,
            Self::Multiplicative(factor) => lr * factor(step),
            Self::Constant(rule) if t == 0 => lr * rule.factor,
            Self::Constant(rule) if x == rule.total_iters => lr * divide(1.0, rule.factor)?,
            Self::Constant(_) => lr,
            Self::Step(_) if t == 0 => lr,
            Self::Step(Step { step_size, .. }) if *step_size == 0.0 => divide(x, *step_size)?,
            Self::Step(rule) if x % rule.step_size != 0.0 => lr,
            Self::Step(rule) => lr * rule.gamma,
            Self::MultiStep(rule) => match rule.milestones.iter().filter(|&&m| m == x).count() {
                0 => lr,
                n => lr * power(rule.gamma, n as f64)?,
            },
            Self::Linear(rule) => linear(rule, lr, x, initial)?,
            Self::Exponential(rule) => {
                if initial {
                    lr
                } else {
                    lr * rule.gamma
                }
            }
            Self::Polynomial(rule) => polynomial(rule, lr, x, initial)?,
            Self::Cosine(_) if initial => lr,
            Self::Cosine(rule) => cosine(rule, lr, base, x)?,
            Self::WarmRestarts(rule) => rule.lr(base),
            Self::Cyclic(rule) => cyclic(rule, group, base, x)?,
            Self::OneCycle { cycle, total } => one_cycle(cycle, *total, group, x)?,
        })
    }

    /// `_get_closed_form_lr` at step 0 if it exists, and otherwise `get_lr`, as `SequentialLR` calls them at a milestone.
    pub(super) fn restart(&self, group: &mut Group, base: f64) -> Result<f64, Error> {
        Ok(match self {
            Self::Constant(Constant { factor, total_iters }) => {
                let over = if 0.0 >= *total_iters { 1.0 } else { 0.0 };
                base * (factor + over * (1.0 - factor))
            }
            Self::Step(rule) => base * power(rule.gamma, divide(0.0, rule.step_size)?.floor())?,
            Self::MultiStep(rule) => {
                let mut milestones = rule.milestones.clone();
                milestones.sort_by(f64::total_cmp);
                base * power(rule.gamma, bisect_right(&milestones, 0.0) as f64)?
            }
            Self::Linear(Linear { start_factor, end_factor, total_iters }) => {
                let done = divide((end_factor - start_factor) * total_iters.min(0.0), *total_iters)?;
                base * (start_factor + done)
            }
            Self::Exponential(rule) => base * power(rule.gamma, 0.0)?,
            Self::Polynomial(Polynomial { total_iters, power: exponent }) => {
                base * power(1.0 - divide(total_iters.min(0.0), *total_iters)?, *exponent)?
            }
            Self::Cosine(Cosine { t_max, eta_min }) => {
                eta_min + (base - eta_min) * (1.0 + cos(divide(PI * 0.0, *t_max)?)?) / 2.0
            }
            _ => self.lr(group, base, 0, false)?,
        })
    }
}

fn linear(rule: &Linear, lr: f64, t: f64, initial: bool) -> Result<f64, Error> {
    let Linear { start_factor, end_factor, total_iters } = *rule;
    if t == 0.0 {
        return Ok(lr * start_factor);
    }
    if initial || t > total_iters {
        return Ok(lr);
    }
    let change = end_factor - start_factor;
    Ok(lr * (1.0 + divide(change, total_iters * start_factor + (t - 1.0) * change)?))
}

fn polynomial(rule: &Polynomial, lr: f64, t: f64, initial: bool) -> Result<f64, Error> {
    let total = rule.total_iters;
    if initial || t > total {
        return Ok(lr);
    }
    let now = 1.0 - divide(t, total)?;
    Ok(lr * power(divide(now, 1.0 - (t - 1.0) / total)?, rule.power)?)
}

fn cosine(rule: &Cosine, lr: f64, base: f64, t: f64) -> Result<f64, Error> {
    let Cosine { t_max, eta_min } = *rule;
    divide(t, t_max)?;
    if (t - 1.0 - t_max) % (2.0 * t_max) == 0.0 {
        return Ok(lr + (base - eta_min) * (1.0 - cos(PI / t_max)?) / 2.0);
    }
    let (now, before) = (1.0 + cos(PI * t / t_max)?, 1.0 + cos(PI * (t - 1.0) / t_max)?);
    Ok(divide(now, before)? * (lr - eta_min) + eta_min)
}

fn cyclic(rule: &Cyclic, group: &mut Group, base: f64, t: f64) -> Result<f64, Error> {
    let up = rule.step_size_up;
    let total = up + rule.step_size_down.unwrap_or(up);
    let ratio = divide(up, total)?;
    let cycle = (1.0 + t / total).floor();
    let x = 1.0 + t / total - cycle;
    let scale = if x <= ratio { divide(x, ratio)? } else { divide(x - 1.0, ratio - 1.0)? };
    let peak = match rule.mode {
        CyclicMode::Triangular => 1.0,
        CyclicMode::Triangular2 => 1.0 / power(2.0, cycle - 1.0)?,
        CyclicMode::ExpRange => power(rule.gamma, t)?,
    };
    if rule.cycle_momentum {
        group.momentum = rule.max_momentum - (rule.max_momentum - rule.base_momentum) * scale * peak;
    }
    Ok(base + (rule.max_lr - base) * scale * peak)
}

fn one_cycle(rule: &OneCycle, total: f64, group: &mut Group, t: f64) -> Result<f64, Error> {
    if t > total {
        return Err(raises(format!("ValueError: stepped {t} times, the cycle has {total} steps")));
    }
    let (high, low) = (group.max_momentum, group.base_momentum);
    let rise = (rule.pct_start * total - 1.0, group.initial_lr(), group.max_lr, high, low);
    let last = total - 1.0;
    let phases = if rule.three_phase {
        vec![
            rise,
            (2.0 * rule.pct_start * total - 2.0, group.max_lr, group.initial_lr(), low, high),
            (last, group.initial_lr(), group.min_lr, high, high),
        ]
    } else {
        vec![rise, (last, group.max_lr, group.min_lr, low, high)]
    };
    let mut start = 0.0;
    for (i, &(end, from, to, momentum_from, momentum_to)) in phases.iter().enumerate() {
        if t <= end || i == phases.len() - 1 {
            let share = divide(t - start, end - start)?;
            if rule.cycle_momentum {
                group.momentum = anneal(rule.anneal_strategy, momentum_from, momentum_to, share);
            }
            return Ok(anneal(rule.anneal_strategy, from, to, share));
        }
        start = end;
    }
    Ok(group.lr)
}

fn anneal(shape: Anneal, start: f64, end: f64, share: f64) -> f64 {
    match shape {
        Anneal::Cos => end + (start - end) / 2.0 * ((PI * share).cos() + 1.0),
        Anneal::Linear => (end - start) * share + start,
    }
}

/// `CosineAnnealingWarmRestarts`, which has its own time.
#[derive(Debug, Clone)]
pub(super) struct WarmRestarts {
    pub(super) first: f64,
    pub(super) factor: f64,
    pub(super) eta_min: f64,
    /// `T_cur`.
    pub(super) current: f64,
    /// `T_i`.
    pub(super) length: f64,
}

impl WarmRestarts {
    fn lr(&self, base: f64) -> f64 {
        self.eta_min + (base - self.eta_min) * (1.0 + (PI * self.current / self.length).cos()) / 2.0
    }

    /// `step()`.
    pub(super) fn advance(&mut self) {
        self.current += 1.0;
        if self.current >= self.length {
            self.current %= self.length;
            self.length *= self.factor;
        }
    }

    /// `step(epoch)`, which misses restarts for a factor of 3 or 10 because of rounding, as in `PyTorch`.
    pub(super) fn jump(&mut self, epoch: f64) {
        if epoch < self.first {
            (self.length, self.current) = (self.first, epoch);
        } else if self.factor == 1.0 {
            self.current = epoch % self.first;
        } else {
            let n = ((epoch / self.first * (self.factor - 1.0) + 1.0).ln() / self.factor.ln()).trunc();
            let growth = self.factor.powf(n);
            self.current = epoch - self.first * (growth - 1.0) / (self.factor - 1.0);
            self.length = self.first * growth;
        }
    }
}
