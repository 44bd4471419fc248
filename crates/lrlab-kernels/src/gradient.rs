//! The backward pass, with a shortcut for the gradients of variables.

use std::cell::RefCell;

use candle_core::{Result, Tensor, backprop::GradStore, bail};

use crate::check;

thread_local! {
    /// Gradients that bypass candle's sums while [`backward`] runs on this thread.
    static DIRECT: RefCell<Option<Vec<(Tensor, Tensor)>>> = const { RefCell::new(None) };
}

/// Computes the gradients of a scalar, as [`Tensor::backward`] does.
///
/// candle adds each gradient to a tensor of zeros. With this function, the operators of this crate insert gradients of
/// variables into the store directly, which saves three passes over an embedding's table.
///
/// # Errors
/// Returns an error where [`Tensor::backward`] does, or if the loss is not a scalar.
pub fn backward(loss: &Tensor) -> Result<GradStore> {
    if loss.elem_count() != 1 {
        bail!("backward: loss of shape {:?}, expected a scalar; take its mean or sum", loss.shape());
    }
    check::floats("backward", [("loss", loss)])?;
    let direct = DirectGrads::open();
    let mut grads = loss.backward()?;
    for (of, grad) in direct.close() {
        let total = match grads.get(&of) {
            Some(so_far) => (so_far + grad)?,
            None => grad,
        };
        grads.insert(&of, total);
    }
    Ok(grads)
}

/// A new list of gradients in place of the thread's previous one, which is restored on drop.
struct DirectGrads(Option<Vec<(Tensor, Tensor)>>);

impl DirectGrads {
    fn open() -> Self {
        Self(DIRECT.replace(Some(Vec::new())))
    }

    fn close(mut self) -> Vec<(Tensor, Tensor)> {
        let direct = DIRECT.replace(self.0.take());
        std::mem::forget(self);
        direct.unwrap_or_default()
    }
}

impl Drop for DirectGrads {
    fn drop(&mut self) {
        DIRECT.set(self.0.take());
    }
}

/// What an operator's backward pass returns for its argument `of`: the gradient, or `None` if it is in the store
/// already.
pub(crate) fn store_grad(of: &Tensor, grad: Tensor) -> Option<Tensor> {
    if !of.is_variable() {
        return Some(grad);
    }
    DIRECT.with_borrow_mut(|direct| match direct {
        Some(direct) => {
            direct.push((of.clone(), grad));
            None
        }
        None => Some(grad),
    })
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;
    use crate::Precision;
    use crate::testing::{draw, values};

    #[test]
    fn agrees_with_candles_backward() -> Result<()> {
        let (table, w) = (Var::from_tensor(&draw((7, 3), "t"))?, Var::from_tensor(&draw((3, 3), "w"))?);
        let ids = Tensor::new(&[[1_u32, 5, 1], [0, 1, 6]], table.device())?;
        // The variables are used twice, once by candle's own operators.
        let x = crate::linear(&crate::embedding(&ids, &table)?, &w, None, Precision::F32)?.sum_all()?;
        let y = (table.matmul(&w)?.sum_all()? + crate::embedding(&ids, &table)?.sqr()?.sum_all()?)?;
        let loss = (x + y)?;
        let (ours, candles) = (backward(&loss)?, loss.backward()?);
        for var in [&table, &w] {
            let get = |grads: &GradStore| grads.get(var).map(values).unwrap_or_default();
            let (ours, candles) = (get(&ours), get(&candles));
            assert!(ours.len() == var.elem_count() && ours.iter().any(|v| *v != 0.0));
            for (a, b) in ours.iter().zip(&candles) {
                assert!((a - b).abs() < 1e-5, "{a} and {b}");
            }
        }
        Ok(())
    }
}
