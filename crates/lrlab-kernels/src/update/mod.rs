//! Updates of parameters in place.
//!
//! On the CPU in f32 one pass reads and writes parameter, gradient and moments together, through candle's in-place
//! operators: each lends its tensor to the next, so all tensors are borrowed at once.

mod step;

use std::cell::Cell;
use std::collections::BTreeSet;

use candle_core::{CpuStorage, DType, Device, InplaceOp1, Layout, Result, Tensor, Var, bail};
use rayon::prelude::*;

use crate::check;
use crate::host;
use crate::rows::put;
use crate::simd::{Kernel, Simd, dispatch, part, starts};
pub use step::{AdamStep, SgdStep, Update};

/// Applies [`sgd_update`] to each; on a GPU to all at once.
///
/// # Errors
/// Returns an error where [`sgd_update`] does, or if two updates change the same tensor, an update's gradient is
/// changed by another, or an update has more than one moment. In these cases nothing changes.
pub fn sgd_updates(updates: &[Update], step: SgdStep) -> Result<()> {
    if let Some(update) = updates.iter().find(|u| u.moments.len() > 1) {
        bail!("sgd_update: {} moments for a parameter, expected at most 1", update.moments.len());
    }
    check_all("sgd_update", updates, |weight_decay| SgdStep { weight_decay, ..step }.check())?;
    #[cfg(feature = "cuda")]
    if on_gpu(updates) {
        return crate::cuda::sgd(updates, step);
    }
    updates.iter().try_for_each(|u| {
        sgd_update(u.var, u.grad, u.moments.first(), SgdStep { weight_decay: u.weight_decay, ..step })
    })
}

/// Applies [`adam_update`] to each; on a GPU to all at once.
///
/// # Errors
/// Returns an error where [`adam_update`] does, or if two updates change the same tensor, an update's gradient is
/// changed by another, or an update does not have two moments. In these cases nothing changes.
pub fn adam_updates(updates: &[Update], step: AdamStep) -> Result<()> {
    if let Some(update) = updates.iter().find(|u| u.moments.len() != 2) {
        bail!("adam_update: {} moments for a parameter, expected 2", update.moments.len());
    }
    check_all("adam_update", updates, |weight_decay| AdamStep { weight_decay, ..step }.check())?;
    #[cfg(feature = "cuda")]
    if on_gpu(updates) {
        return crate::cuda::adam(updates, step);
    }
    updates.iter().try_for_each(|u| {
        let step = AdamStep { weight_decay: u.weight_decay, ..step };
        adam_update(u.var, u.grad, &u.moments[0], &u.moments[1], step)
    })
}

#[cfg(feature = "cuda")]
fn on_gpu(updates: &[Update]) -> bool {
    let Some(first) = updates.first() else { return false };
    updates.iter().all(|u| {
        let own = u.moments.iter().chain([u.var]);
        own.clone().all(|var| var.is_contiguous() && crate::cuda::is_f32(&[first.var, var, u.grad]))
    })
}

/// Rejects updates that change a tensor which another update changes or reads, because a GPU runs all of them at once.
/// Several updates may read the same gradient.
fn check_all(name: &str, updates: &[Update], step: impl Fn(f64) -> Result<()>) -> Result<()> {
    let mut moved = BTreeSet::new();
    for update in updates {
        step(update.weight_decay)?;
        check_tensors(name, update.var, update.grad, &update.moments.iter().collect::<Vec<_>>())?;
        for var in update.moments.iter().chain([update.var]) {
            if !moved.insert(place(var)) {
                bail!("{name}: a tensor is given twice");
            }
        }
    }
    if updates.iter().any(|update| moved.contains(&place(update.grad))) {
        bail!("{name}: a gradient is a parameter or moment of another update");
    }
    Ok(())
}

/// Elements per task.
const CHUNK: usize = 1 << 15;

/// g ← grad + `weight_decay` · var; buffer ← g on the first step, else μ · buffer + g;
/// var ← var − lr · (buffer, or g + μ · buffer with Nesterov). Without a buffer var ← var − lr · g.
///
/// **In PyTorch**: a step of `torch.optim.SGD` with the same settings and a dampening of 0.
///
/// # Errors
/// Returns an error if shapes, types or devices do not fit, a tensor is given twice, or a number of the step is outside
/// its range. In these cases nothing changes.
pub fn sgd_update(var: &Var, grad: &Tensor, momentum_buffer: Option<&Var>, step: SgdStep) -> Result<()> {
    step.check()?;
    check_tensors("sgd_update", var, grad, momentum_buffer.as_slice())?;
    let (lr, decay, momentum) = (step.lr as f32, step.weight_decay as f32, step.momentum as f32);
    #[cfg(feature = "cuda")]
    {
        let moments = momentum_buffer.map_or(&[][..], std::slice::from_ref);
        let update = [Update { var, grad, moments, weight_decay: step.weight_decay }];
        if on_gpu(&update) {
            return crate::cuda::sgd(&update, step);
        }
    }
    if !host::is_f32(&[var, grad]) || momentum_buffer.is_some_and(|b| !host::is_f32(&[b])) {
        return composed_sgd(var, grad, momentum_buffer, step);
    }
    let grad = grad.contiguous()?;
    host::with(&grad, |grad| {
        let Some(buffer) = momentum_buffer else {
            return lend(var, |var| {
                var.par_chunks_mut(CHUNK).zip(grad.par_chunks(CHUNK)).for_each(|(var, grad)| {
                    for (w, g) in var.iter_mut().zip(grad) {
                        *w -= lr * (g + decay * *w);
                    }
                });
            });
        };
        let keep = if step.first { 0.0 } else { momentum };
        // The direction is ahead · g + follow · buffer.
        let (ahead, follow) = if step.nesterov { (1.0, momentum) } else { (0.0, 1.0) };
        lend2(buffer, var, |buffer, var| {
            let chunks =
                buffer.par_chunks_mut(CHUNK).zip(var.par_chunks_mut(CHUNK)).zip(grad.par_chunks(CHUNK));
            chunks.for_each(|((buffer, var), grad)| {
                for ((m, w), g) in buffer.iter_mut().zip(var).zip(grad) {
                    let g = g + decay * *w;
                    *m = keep * *m + g;
                    *w -= lr * (ahead * g + follow * *m);
                }
            });
        })
    })
}

/// m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²; with m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ)
/// var ← var − lr · m̂ / (√v̂ + eps).
///
/// # Errors
/// Returns the errors of [`sgd_update`].
pub fn adam_update(var: &Var, grad: &Tensor, m: &Var, v: &Var, step: AdamStep) -> Result<()> {
    step.check()?;
    check_tensors("adam_update", var, grad, &[m, v])?;
    #[cfg(feature = "cuda")]
    {
        let moments = [m.clone(), v.clone()];
        let update = [Update { var, grad, moments: &moments, weight_decay: step.weight_decay }];
        if on_gpu(&update) {
            return crate::cuda::adam(&update, step);
        }
    }
    if !host::is_f32(&[var, grad, m, v]) {
        return composed_adam(var, grad, m, v, step);
    }
    let rule = AdamRule::new(step);
    let grad = grad.contiguous()?;
    host::with(&grad, |grad| {
        lend3(var, m, v, |var, m, v| {
            let moments = m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK));
            let chunks = var.par_chunks_mut(CHUNK).zip(moments).zip(grad.par_chunks(CHUNK));
            chunks.for_each(|((var, (m, v)), grad)| dispatch(Adam { rule, var, m, v, grad }));
        })
    })
}

/// A step's constants.
#[derive(Clone, Copy)]
pub(crate) struct AdamRule {
    /// The parameter is multiplied by it first.
    shrink: f32,
    /// Times the parameter, joins the gradient.
    decay: f32,
    pub(crate) keep: [f32; 2],
    pub(crate) take: [f32; 2],
    pub(crate) rate: f32,
    /// Times the second moment's root.
    pub(crate) root: f32,
    pub(crate) eps: f32,
}

impl AdamRule {
    pub(crate) fn new(step: AdamStep) -> Self {
        let AdamStep { lr, beta1, beta2, eps, weight_decay, decoupled, step } = step;
        let (shrink, decay) = if decoupled { (1.0 - lr * weight_decay, 0.0) } else { (1.0, weight_decay) };
        Self {
            shrink: shrink as f32,
            decay: decay as f32,
            keep: [beta1 as f32, beta2 as f32],
            take: [(1.0 - beta1) as f32, (1.0 - beta2) as f32],
            rate: (lr / (1.0 - libm::pow(beta1, step as f64))) as f32,
            root: (1.0 / (1.0 - libm::pow(beta2, step as f64)).sqrt()) as f32,
            eps: eps as f32,
        }
    }
}

/// A chunk's update, all four of one length.
struct Adam<'a> {
    rule: AdamRule,
    var: &'a mut [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
    grad: &'a [f32],
}

impl Kernel for Adam<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { rule, var, m, v, grad } = self;
        let splat = |x: f32| s.splat(x);
        let (shrink, decay) = (splat(rule.shrink), splat(rule.decay));
        let ([keep1, keep2], [take1, take2]) = (rule.keep.map(splat), rule.take.map(splat));
        let (rate, root, eps) = (splat(rule.rate), splat(rule.root), splat(rule.eps));
        let len = var.len();
        let (m, v, grad) = (&mut m[..len], &mut v[..len], &grad[..len]);
        for at in starts(len) {
            let (w, first, second) = (part(s, var, at, 0.0), part(s, m, at, 0.0), part(s, v, at, 0.0));
            let g = s.fma(decay, w, part(s, grad, at, 0.0));
            let first = s.fma(keep1, first, s.mul(take1, g));
            let second = s.fma(keep2, second, s.mul(s.mul(take2, g), g));
            let moved = s.div(s.mul(rate, first), s.fma(s.sqrt(second), root, eps));
            let w = s.sub(s.mul(shrink, w), moved);
            put(s, &mut var[at..], w);
            put(s, &mut m[at..], first);
            put(s, &mut v[at..], second);
        }
    }
}

/// Sum of squares, in f64, always in the same order.
///
/// # Errors
/// Returns an error if the copy to the host fails.
pub fn squared_norm(x: &Tensor) -> Result<f64> {
    struct Squares<'a>(&'a [f32]);
    impl Kernel for Squares<'_> {
        type Out = f64;
        #[inline(always)]
        fn run<S: Simd>(self, _: S) -> f64 {
            let mut lanes = [0.0_f64; 8];
            let (whole, rest) = self.0.as_chunks::<8>();
            for part in whole {
                for (lane, v) in lanes.iter_mut().zip(part) {
                    *lane += f64::from(*v) * f64::from(*v);
                }
            }
            for (lane, v) in lanes.iter_mut().zip(rest) {
                *lane += f64::from(*v) * f64::from(*v);
            }
            lanes.iter().sum()
        }
    }
    let x = x.detach();
    #[cfg(feature = "cuda")]
    if crate::cuda::is_f32(&[&x]) {
        return crate::cuda::squared_norm(&[&x]);
    }
    // Not every device has f64.
    let x = x.to_device(&Device::Cpu)?;
    if host::is_f32(&[&x]) {
        let parts: Vec<f64> =
            host::with(&x, |x| Ok(x.par_chunks(CHUNK).map(|x| dispatch(Squares(x))).collect()))?;
        return Ok(parts.iter().sum());
    }
    let values = x.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Ok(values.iter().map(|v| v * v).sum())
}

/// Sum of squares over all of `tensors`, in f64, always in the same order. On a GPU it waits for the device, once.
///
/// # Errors
/// Returns an error if the copy to the host fails.
pub fn squared_norms(tensors: &[&Tensor]) -> Result<f64> {
    #[cfg(feature = "cuda")]
    if !tensors.is_empty() && crate::cuda::is_f32(tensors) {
        return crate::cuda::squared_norm(tensors);
    }
    tensors.iter().try_fold(0.0, |sum, x| Ok(sum + squared_norm(x)?))
}

fn check_tensors(name: &str, var: &Var, grad: &Tensor, state: &[&Var]) -> Result<()> {
    let state = || state.iter().map(|v| v.as_tensor());
    for other in state().chain([grad]) {
        if other.shape() != var.shape() {
            bail!("{name}: {:?} for a parameter of {:?}", other.shape(), var.shape());
        }
    }
    let moments = state().map(|moment| ("moment", moment));
    check::floats(name, [("parameter", var.as_tensor()), ("gradient", grad)].into_iter().chain(moments))?;
    // Each tensor is locked while its values are borrowed: a tensor passed twice would deadlock.
    let all: Vec<&Tensor> = state().chain([grad, var.as_tensor()]).collect();
    let places = all.iter().map(|t| place(t)).collect::<Vec<_>>();
    for (i, a) in places.iter().enumerate() {
        if places[i + 1..].contains(a) {
            bail!("{name}: a tensor is given twice");
        }
    }
    Ok(())
}

/// The address of a tensor's storage, which identifies the storage.
fn place(x: &Tensor) -> usize {
    let (storage, _) = x.storage_and_layout();
    std::ptr::from_ref(&*storage).addr()
}

struct Lend<F>(Cell<Option<F>>);

impl<F: FnOnce(&mut [f32]) -> Result<()>> InplaceOp1 for Lend<F> {
    fn name(&self) -> &'static str {
        "lend"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        match (storage, layout.contiguous_offsets(), self.0.take()) {
            (CpuStorage::F32(data), Some((start, end)), Some(f)) => f(&mut data[start..end]),
            _ => bail!("expected a contiguous f32 variable on the CPU"),
        }
    }
}

fn try_lend(var: &Var, f: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<()> {
    var.inplace_op1(&Lend(Cell::new(Some(f))))
}

fn lend(a: &Var, f: impl FnOnce(&mut [f32])) -> Result<()> {
    try_lend(a, |a| {
        f(a);
        Ok(())
    })
}

fn lend2(a: &Var, b: &Var, f: impl FnOnce(&mut [f32], &mut [f32])) -> Result<()> {
    try_lend(a, |a| lend(b, |b| f(a, b)))
}

fn lend3(a: &Var, b: &Var, c: &Var, f: impl FnOnce(&mut [f32], &mut [f32], &mut [f32])) -> Result<()> {
    try_lend(a, |a| lend2(b, c, |b, c| f(a, b, c)))
}

fn composed_sgd(var: &Var, grad: &Tensor, momentum_buffer: Option<&Var>, step: SgdStep) -> Result<()> {
    let old = var.as_detached_tensor();
    let grad = grad.detach();
    let grad = if step.weight_decay == 0.0 { grad } else { (grad + (&old * step.weight_decay)?)? };
    let direction = match momentum_buffer {
        None => grad,
        Some(buffer) => {
            let moved = if step.first {
                grad.clone()
            } else {
                ((buffer.as_detached_tensor() * step.momentum)? + &grad)?
            };
            buffer.set(&moved)?;
            if step.nesterov { (grad + (moved * step.momentum)?)? } else { moved }
        }
    };
    var.set(&(old - (direction * step.lr)?)?)
}

fn composed_adam(var: &Var, grad: &Tensor, m: &Var, v: &Var, step: AdamStep) -> Result<()> {
    let old = var.as_detached_tensor();
    let grad = grad.detach();
    let (old, grad) = if step.decoupled {
        ((old * (1.0 - step.lr * step.weight_decay))?, grad)
    } else {
        let grad = (grad + (&old * step.weight_decay)?)?;
        (old, grad)
    };
    let first = ((m.as_detached_tensor() * step.beta1)? + (&grad * (1.0 - step.beta1))?)?;
    let second = ((v.as_detached_tensor() * step.beta2)? + (grad.sqr()? * (1.0 - step.beta2))?)?;
    m.set(&first)?;
    v.set(&second)?;
    let correction1 = 1.0 - libm::pow(step.beta1, step.step as f64);
    let correction2 = (1.0 - libm::pow(step.beta2, step.step as f64)).sqrt();
    let denominator = ((second.sqrt()? * (1.0 / correction2))? + step.eps)?;
    var.set(&(old - ((first / denominator)? * (step.lr / correction1))?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, draw, values};

    /// Three steps at f32 against the composition at f64.
    fn run(dtype: DType, step: impl Fn(&[Var], &Tensor, u64) -> Result<()>) -> Result<Vec<Tensor>> {
        let vars: Vec<Var> = ["w", "m", "v"]
            .iter()
            .map(|name| Var::from_tensor(&(draw((7, 9), name).sqr()? * 0.1)?.to_dtype(dtype)?))
            .collect::<Result<_>>()?;
        for i in 1..=3 {
            step(&vars, &draw((7, 9), &format!("g{i}")).to_dtype(dtype)?, i)?;
        }
        Ok(vars.iter().map(Var::as_detached_tensor).collect())
    }

    fn check(step: impl Fn(&[Var], &Tensor, u64) -> Result<()>) -> Result<()> {
        for (found, expected) in run(DType::F32, &step)?.iter().zip(run(DType::F64, &step)?) {
            assert_close(found, &values(&expected), 1e-6);
        }
        Ok(())
    }

    #[test]
    fn updates_against_f64() -> Result<()> {
        for (momentum, nesterov, weight_decay) in [(0.0, false, 0.0), (0.9, false, 0.01), (0.9, true, 0.1)] {
            let at = |i| SgdStep { lr: 0.1, momentum, nesterov, weight_decay, first: i == 1 };
            check(|vars, grad, i| sgd_update(&vars[0], grad, Some(&vars[1]), at(i)))?;
            check(|vars, grad, i| sgd_update(&vars[0], grad, None, at(i)))?;
        }
        for decoupled in [false, true] {
            check(|vars, grad, step| {
                let adam = AdamStep {
                    lr: 0.1,
                    beta1: 0.9,
                    beta2: 0.99,
                    eps: 1e-8,
                    weight_decay: 0.1,
                    decoupled,
                    step,
                };
                adam_update(&vars[0], grad, &vars[1], &vars[2], adam)
            })?;
        }
        Ok(())
    }

    #[test]
    fn squared_norms_against_f64() -> Result<()> {
        let x = draw(100_003, "x");
        let expected: f64 = values(&x).iter().map(|v| v * v).sum();
        assert!((squared_norm(&x)? - expected).abs() < 1e-9 * expected);
        assert_eq!(squared_norm(&x.narrow(0, 0, 0)?)?, 0.0);
        Ok(())
    }

    #[test]
    fn invalid_arguments_are_rejected() -> Result<()> {
        let var = Var::from_tensor(&draw(4, "a"))?;
        let step = SgdStep { lr: 0.1, momentum: 0.9, nesterov: false, weight_decay: 0.0, first: true };
        let error = |grad: &Tensor, buffer| sgd_update(&var, grad, buffer, step).unwrap_err().to_string();
        let short = error(&draw(3, "g"), None);
        assert!(short.starts_with("sgd_update: [3] for a parameter of [4]"), "{short}");
        for twice in [error(&draw(4, "g"), Some(&var)), error(&var.as_detached_tensor(), None)] {
            assert!(twice.starts_with("sgd_update: a tensor is given twice"), "{twice}");
        }
        Ok(())
    }

    #[test]
    fn two_updates_of_one_tensor_are_rejected() -> Result<()> {
        let sgd = SgdStep { lr: 0.1, momentum: 0.9, nesterov: false, weight_decay: 0.0, first: true };
        let (lr, beta1, beta2, eps, weight_decay, decoupled) = (0.1, 0.9, 0.99, 1e-8, 0.0, false);
        let adam = AdamStep { lr, beta1, beta2, eps, weight_decay, decoupled, step: 1 };
        for dtype in [DType::F32, DType::F64] {
            let grad = draw(4, "g").to_dtype(dtype)?;
            let var = |name: &str| Var::from_tensor(&draw(4, name).to_dtype(dtype)?);
            let (a, b, c, d, e, f) = (var("a")?, var("b")?, var("c")?, var("d")?, var("e")?, var("f")?);
            let update = |var, moments| Update { var, grad: &grad, moments, weight_decay: 0.0 };
            let [cd, ef, fd, fa] =
                [(&c, &d), (&e, &f), (&f, &d), (&f, &a)].map(|(m, v)| [m.clone(), v.clone()]);
            let check = |words: &str, result: Result<()>| {
                let error = result.map_or_else(|error| error.to_string(), |()| "no error".to_owned());
                assert!(error.contains(words), "{error}");
            };
            let given_twice = |result| check("a tensor is given twice", result);
            for second in [update(&a, &ef), update(&b, &fd), update(&b, &fa)] {
                given_twice(adam_updates(&[update(&a, &cd), second], adam));
            }
            for second in [update(&a, &ef[..1]), update(&b, &cd[..1]), update(&b, &fa[1..])] {
                given_twice(sgd_updates(&[update(&a, &cd[..1]), second], sgd));
            }
            // An update changes the gradient of another, in both orders.
            for moved in [&a, &c, &d] {
                let grad = moved.as_detached_tensor();
                let [first, second] = [update(&a, &cd), Update { grad: &grad, ..update(&b, &ef) }];
                for both in [[first, second], [second, first]] {
                    check(
                        "adam_update: a gradient is a parameter or moment of another",
                        adam_updates(&both, adam),
                    );
                }
            }
            for moved in [&a, &c] {
                let grad = moved.as_detached_tensor();
                let [first, second] = [update(&a, &cd[..1]), Update { grad: &grad, ..update(&b, &ef[..1]) }];
                for both in [[first, second], [second, first]] {
                    check(
                        "sgd_update: a gradient is a parameter or moment of another",
                        sgd_updates(&both, sgd),
                    );
                }
            }
            for (var, name) in [(&a, "a"), (&b, "b"), (&c, "c"), (&d, "d"), (&e, "e"), (&f, "f")] {
                assert_eq!(values(var), values(&draw(4, name)), "{name} moved");
            }
            sgd_updates(&[update(&a, &cd[..1]), update(&b, &ef[..1])], sgd)?;
            adam_updates(&[update(&a, &cd), update(&b, &ef)], adam)?;
        }
        Ok(())
    }
}
