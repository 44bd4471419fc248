//! Activations.

#![allow(unsafe_code, reason = "outputs are written in place before they have a length")]

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::check;
use crate::host::{self, Unwritten};
use crate::rows::put;
use crate::simd::{Kernel, Simd, dispatch, erf_parts, part, starts};

/// max(x, 0), of any shape.
///
/// **In PyTorch**: `torch.nn.functional.relu(x)`.
///
/// # Errors
/// Returns an error if the type is not a float.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    check::floats("relu", [("x", x)])?;
    #[cfg(feature = "cuda")]
    if crate::cuda::is_f32(&[x]) {
        return crate::cuda::activation(x, false);
    }
    if host::is_f32(&[x]) { x.contiguous()?.apply_op1(Activation::Relu) } else { composed_relu(x) }
}

/// A composition of candle's operators; candle's own `relu` turns NaN into 0.
pub(crate) fn composed_relu(x: &Tensor) -> Result<Tensor> {
    x.le(0.0)?.where_cond(&x.zeros_like()?, x)
}

/// x Φ(x) with the exact Gaussian distribution function, of any shape (Hendrycks and Gimpel, 2016).
///
/// **In PyTorch**: `torch.nn.functional.gelu(x)`.
///
/// # Errors
/// Returns an error if the type is not a float.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    check::floats("gelu", [("x", x)])?;
    #[cfg(feature = "cuda")]
    if crate::cuda::is_f32(&[x]) {
        return crate::cuda::activation(x, true);
    }
    if host::is_f32(&[x]) { x.contiguous()?.apply_op1(Activation::Gelu) } else { x.gelu_erf() }
}

#[derive(Debug, Clone, Copy)]
enum Activation {
    Relu,
    Gelu,
}

/// Elements per task.
const CHUNK: usize = 1 << 15;

/// Computes the activation, or the gradient times the derivative if a gradient is given.
struct Map<'a> {
    activation: Activation,
    x: &'a [f32],
    grad: Option<&'a [f32]>,
    to: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Map<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let len = self.x.len();
        let to = &mut self.to[..len];
        let grad = self.grad.map(|grad| &grad[..len]);
        for at in starts(len) {
            let x = part(s, self.x, at, 0.0);
            let y = match (self.activation, grad) {
                // This order of arguments propagates a NaN.
                (Activation::Relu, None) => s.max(s.zero(), x),
                (Activation::Relu, Some(grad)) => {
                    s.where_greater(x, s.zero(), part(s, grad, at, 0.0), s.zero())
                }
                (Activation::Gelu, None) => s.mul(x, erf_parts(s, x).0),
                (Activation::Gelu, Some(grad)) => {
                    let (distribution, density) = erf_parts(s, x);
                    s.mul(s.fma(x, density, distribution), part(s, grad, at, 0.0))
                }
            };
            put(s, &mut to[at..], y);
        }
    }
}

impl Activation {
    fn map(self, x: &[f32], grad: Option<&[f32]>) -> Vec<f32> {
        let mut y = Unwritten::new(x.len());
        y.room().par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).enumerate().for_each(|(i, (y, x))| {
            let grad = grad.map(|grad| &grad[i * CHUNK..][..x.len()]);
            dispatch(Map { activation: self, x, grad, to: y });
        });
        // SAFETY: every chunk was written.
        unsafe { y.written() }
    }
}

impl CustomOp1 for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.map(host::slice(x, layout)?, None)), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let data = host::with(x, |x| host::with(grad, |grad| Ok(self.map(x, Some(grad)))))?;
        Ok(Some(host::tensor(data, x.shape())?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Var};

    use super::*;
    use crate::testing::{assert_close, draw, grads_of, values};

    #[test]
    fn values_and_slopes_against_f64() -> Result<()> {
        for f in [relu, gelu] {
            for dims in [vec![1], vec![3, 5], vec![33_000, 2]] {
                let x = Var::from_tensor(&(draw(dims.clone(), "x") * 3.0)?)?;
                let exact = Var::from_tensor(&x.to_dtype(DType::F64)?)?;
                let r = draw(dims.clone(), "r");
                let (y, expected) = (f(&x)?, f(&exact)?);
                assert_close(&y, &values(&expected), 1e-6);
                let grad = grads_of(&(y * &r)?, &[&x])?;
                let expected = grads_of(&(expected * r.to_dtype(DType::F64)?)?, &[&exact])?;
                assert_close(&grad[0], &values(&expected[0]), 1e-6);
            }
        }
        Ok(())
    }

    #[test]
    fn nan_propagates() -> Result<()> {
        let x = Tensor::new(&[f32::NAN, -1.0, 2.0], &candle_core::Device::Cpu)?;
        assert!(values(&relu(&x)?)[0].is_nan() && values(&gelu(&x)?)[0].is_nan());
        assert_eq!(values(&relu(&x)?)[1..], [0.0, 2.0]);
        Ok(())
    }
}
