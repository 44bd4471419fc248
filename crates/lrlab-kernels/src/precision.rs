//! Matrix products in the precision that [`Precision`] states.
//!
//! With [`Precision::Bf16`] both operands of every product of an affine map, an LSTM's gates or an attention are rounded
//! to bfloat16 (to nearest, ties to even; subnormal numbers become 0) and products are summed up in f32, as `vdpbf16ps`
//! of AVX512-BF16 does. Processors without it compute the same bits, more slowly. Convolutions on the CPU stay f32: most
//! use Winograd's transform, which amplifies rounding errors.
//!
//! On NVIDIA GPUs convolutions of f32 round their operands too, and the products of f32 are summed up in f32. On other GPUs,
//! for other types on a GPU, and with `LRLAB_KERNELS=candle`, operands are cast before candle's own products and convolutions,
//! and so are the results, as these come in the operands' type; subnormal numbers stay.

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};
use lrlab_config::Precision;

use crate::simd::nearest_bf16;

/// Checks that a device can multiply in this precision. Every CPU can.
///
/// # Errors
/// Returns an error if a small product fails on the device.
pub fn check_precision(precision: Precision, device: &Device) -> Result<()> {
    if precision == Precision::F32 || device.is_cpu() {
        return Ok(());
    }
    let one = Tensor::ones((8, 8), DType::F32, device)?;
    match matmul(precision, &one, &one).and_then(|y| y.to_vec2::<f32>()) {
        Ok(rows) if rows.iter().flatten().all(|y| *y == 8.0) => Ok(()),
        Ok(_) => bail!("products in bf16 are wrong on this device; use precision f32"),
        Err(error) => bail!("products in bf16 fail on this device ({error}); use precision f32"),
    }
}

/// Rows of a packed matrix of `k` rows: bf16 rows are stored in pairs.
pub(crate) fn packed_rows(precision: Precision, k: usize) -> usize {
    match precision {
        Precision::F32 => k,
        Precision::Bf16 => k.div_ceil(2),
    }
}

/// a · b by candle's own operator, which gives no sums of bf16 in f32 on NVIDIA GPUs: there by this crate's.
pub(crate) fn matmul(precision: Precision, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if precision == Precision::Bf16 && crate::cuda::is_f32(&[a, b]) {
        return crate::cuda::matmul(precision, a, b);
    }
    with_rounded(precision, a, b, Tensor::matmul)
}

/// `f` of the rounded operands, by candle's own operators. On the CPU these multiply no bf16: operands of that type are
/// widened to f32, and the result is rounded.
pub(crate) fn with_rounded(
    precision: Precision,
    a: &Tensor,
    b: &Tensor,
    f: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    if a.device().is_cpu() && matches!(a.dtype(), DType::BF16 | DType::F16) {
        let [a32, b32] = [a, b].map(|x| x.to_dtype(DType::F32));
        return with_rounded(precision, &a32?, &b32?, f)?.to_dtype(a.dtype());
    }
    if precision == Precision::F32 {
        return f(a, b);
    }
    if a.device().is_cpu() {
        let operand = |x: &Tensor| x.contiguous()?.apply_op1(Round::Forward);
        return f(&operand(a)?, &operand(b)?)?.apply_op1(Round::Backward);
    }
    let operand = |x: &Tensor| x.to_dtype(DType::BF16);
    f(&operand(a)?, &operand(b)?)?.to_dtype(a.dtype())
}

/// Rounds values in the forward pass or gradients in the backward pass: candle has no products of bf16 on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    Forward,
    Backward,
}

impl CustomOp1 for Round {
    fn name(&self) -> &'static str {
        "round_to_bf16"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else { bail!("expected a contiguous tensor") };
        let rounded = |x: f32| match self {
            Self::Forward => f32::from_bits(u32::from(nearest_bf16(x)) << 16),
            Self::Backward => x,
        };
        let storage = match storage {
            CpuStorage::F32(xs) => CpuStorage::F32(xs[start..end].iter().map(|x| rounded(*x)).collect()),
            CpuStorage::F64(xs) if *self == Self::Forward => {
                CpuStorage::F64(xs[start..end].iter().map(|x| f64::from(rounded(*x as f32))).collect())
            }
            CpuStorage::F64(xs) => CpuStorage::F64(xs[start..end].to_vec()),
            _ => bail!("expected f32 or f64"),
        };
        Ok((storage, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        match self {
            Self::Forward => Ok(Some(grad.clone())),
            Self::Backward => Ok(Some(grad.contiguous()?.apply_op1_no_bwd(&Self::Forward)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;
    use crate::testing::{draw, grads_of, values};

    #[test]
    fn operands_of_all_three_products_are_rounded() -> Result<()> {
        let rounded = |x: &Tensor| x.to_dtype(DType::BF16)?.to_dtype(DType::F64);
        let (a, b, r) = (draw((5, 7), "a"), draw((7, 3), "b"), draw((5, 3), "r"));
        for dtype in [DType::F32, DType::F64] {
            let [a, b] = [&a, &b].map(|x| Var::from_tensor(&x.to_dtype(dtype)?));
            let (a, b) = (a?, b?);
            let y = matmul(Precision::Bf16, &a, &b)?;
            let grads = grads_of(&(&y * r.to_dtype(dtype)?)?, &[&a, &b])?;
            let (ra, rb, rr) = (rounded(&a)?, rounded(&b)?, rounded(&r)?);
            let expected = [ra.matmul(&rb)?, rr.matmul(&rb.t()?)?, ra.t()?.matmul(&rr)?];
            for (found, expected) in [&y, &grads[0], &grads[1]].into_iter().zip(&expected) {
                for (found, expected) in values(found).iter().zip(values(expected)) {
                    assert!((found - expected).abs() < 1e-5, "{found} and {expected}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn every_cpu_supports_bf16() {
        assert!(check_precision(Precision::Bf16, &Device::Cpu).is_ok());
    }
}
