//! Pooling of a sequence of states into one vector.

use candle_core::{D, Result, Tensor};
use lrlab_config::Pooling;
use lrlab_kernels::weighted_sum;

/// `x (batch, length, width)` under `mask (batch, length)` to `(batch, width)`. A text without tokens gives 0.
pub(crate) fn pool(pooling: Pooling, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
    match pooling {
        Pooling::Last => weighted_sum(x, &last(mask)?),
        Pooling::Mean => {
            let tokens = mask.sum_keepdim(D::Minus1)?.maximum(1.0)?;
            weighted_sum(x, &mask.broadcast_div(&tokens)?)
        }
        Pooling::Max => max(x, mask),
    }
}

/// 1 at the last token, 0 elsewhere: the mask less the mask moved one place to the front.
fn last(mask: &Tensor) -> Result<Tensor> {
    let (batch, length) = mask.dims2()?;
    let next = Tensor::cat(
        &[&mask.narrow(1, 1, length - 1)?, &Tensor::zeros((batch, 1), mask.dtype(), mask.device())?],
        1,
    )?;
    mask - next
}

fn max(x: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let lowest = Tensor::full(f32::MIN, x.shape(), x.device())?.to_dtype(x.dtype())?;
    let tokens = mask.unsqueeze(2)?.broadcast_as(x.shape())?.ne(0.0)?;
    let highest = tokens.where_cond(x, &lowest)?.max(1)?;
    // `lowest` is infinite in half types, so that a product with 0 would be NaN.
    let any = mask.max_keepdim(1)?.broadcast_as(highest.shape())?.ne(0.0)?;
    any.where_cond(&highest, &highest.zeros_like()?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    /// Three texts of 3, 1 and 0 tokens; width 2; padding holds values that must have no effect.
    fn example() -> Result<(Var, Tensor)> {
        let x: [[[f32; 2]; 3]; 3] = [
            [[1.0, -4.0], [3.0, -2.0], [2.0, -9.0]],
            [[-5.0, 7.0], [90.0, 90.0], [90.0, 90.0]],
            [[90.0, 90.0], [90.0, 90.0], [90.0, 90.0]],
        ];
        let mask: [[f32; 3]; 3] = [[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]];
        Ok((Var::new(&x, &Device::Cpu)?, Tensor::new(&mask, &Device::Cpu)?))
    }

    #[test]
    fn padding_does_not_count() -> Result<()> {
        let check = |pooling: Pooling, first: [f32; 2]| -> Result<()> {
            let (x, mask) = example()?;
            let y = pool(pooling, &x, &mask)?;
            assert_eq!(y.to_vec2::<f32>()?, [first, [-5.0, 7.0], [0.0, 0.0]], "{pooling:?}");
            let grads = y.sum_all()?.backward()?;
            let grad = grads.get(&x).map(Tensor::to_vec3::<f32>).transpose()?.unwrap_or_default();
            assert_eq!(grad[1], [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]], "{pooling:?}");
            assert_eq!(grad[2], [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], "{pooling:?}");
            Ok(())
        };
        check(Pooling::Last, [2.0, -9.0])?;
        check(Pooling::Mean, [2.0, -5.0])?;
        check(Pooling::Max, [3.0, -2.0])
    }

    #[test]
    fn half_types_pool_texts_without_tokens_to_0() -> Result<()> {
        use candle_core::DType;
        for dtype in [DType::F16, DType::BF16] {
            for pooling in [Pooling::Last, Pooling::Mean, Pooling::Max] {
                let (x, mask) = example()?;
                let y = pool(pooling, &x.to_dtype(dtype)?, &mask.to_dtype(dtype)?)?;
                assert_eq!(y.to_dtype(DType::F32)?.to_vec2::<f32>()?[2], [0.0, 0.0], "{dtype:?} {pooling:?}");
            }
        }
        Ok(())
    }
}
