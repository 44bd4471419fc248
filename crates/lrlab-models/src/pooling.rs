//! Pooling of a sequence of states into one vector.

use candle_core::{D, DType, Result, Tensor};
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

/// 1 at the last token, 0 elsewhere. Padding may be anywhere.
fn last(mask: &Tensor) -> Result<Tensor> {
    let (_, length) = mask.dims2()?;
    // Half types do not have all places.
    let places = Tensor::arange(1.0, length as f32 + 1.0, mask.device())?.reshape((1, length))?;
    let places = mask.to_dtype(DType::F32)?.broadcast_mul(&places)?;
    places.broadcast_eq(&places.max_keepdim(1)?)?.to_dtype(mask.dtype())? * mask
}

/// The highest value of the tokens, NaN if there is one. The first of equal values has the gradient, as in `torch.max`.
fn max(x: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let lowest = Tensor::full(f32::NEG_INFINITY, x.shape(), x.device())?.to_dtype(x.dtype())?;
    let tokens = mask.unsqueeze(2)?.broadcast_as(x.shape())?.ne(0.0)?;
    let x = tokens.where_cond(x, &lowest)?;
    let values = x.detach();
    let nan = values.ne(&values)?.to_dtype(DType::F32)?;
    let equal = values.broadcast_eq(&values.max_keepdim(1)?)?.to_dtype(DType::F32)?;
    let has_nan = nan.max_keepdim(1)?.ne(0.0)?.broadcast_as(nan.shape())?.contiguous()?;
    let candidates = has_nan.where_cond(&nan, &equal)?;
    // Of equal values, an argmax of candle takes the first on the CPU, but not on a GPU: these differ.
    let length = x.dim(1)?;
    let falling = Tensor::arange_step(length as f32, 0.0, -1.0, x.device())?.reshape((1, length, 1))?;
    let place = candidates.broadcast_mul(&falling)?.argmax_keepdim(1)?;
    let highest = x.gather(&place, 1)?.squeeze(1)?;
    // A product with 0 would be NaN, because `lowest` is infinite.
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

    /// Masks with padding before and between tokens, which a network of one's own may have.
    #[test]
    fn the_last_token_may_follow_padding() -> Result<()> {
        let mask: [[f32; 4]; 4] =
            [[0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0]];
        let expected: [[f32; 4]; 4] =
            [[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
        assert_eq!(last(&Tensor::new(&mask, &Device::Cpu)?)?.to_vec2::<f32>()?, expected);
        Ok(())
    }

    /// torch.tensor([[1., 3., 3.], [nan, 2., nan], [-inf, -inf, -inf]]).max(1): 3 at 1, NaN at 0 and −∞ at 0, with the gradients
    /// at these places.
    #[test]
    fn max_takes_the_first_of_equal_values_and_nan() -> Result<()> {
        const LOW: f32 = f32::NEG_INFINITY;
        let x: [[[f32; 1]; 3]; 3] =
            [[[1.0], [3.0], [3.0]], [[f32::NAN], [2.0], [f32::NAN]], [[LOW], [LOW], [LOW]]];
        let x = Var::new(&x, &Device::Cpu)?;
        let y = pool(Pooling::Max, &x, &Tensor::ones((3, 3), DType::F32, &Device::Cpu)?)?;
        let found = y.flatten_all()?.to_vec1::<f32>()?;
        assert!(found[0] == 3.0 && found[1].is_nan() && found[2] == LOW, "{found:?}");
        let grads = y.sum_all()?.backward()?;
        let grad = grads.get(&x).map(Tensor::to_vec3::<f32>).transpose()?.unwrap_or_default();
        assert_eq!(grad, [[[0.0], [1.0], [0.0]], [[1.0], [0.0], [0.0]], [[1.0], [0.0], [0.0]]]);
        Ok(())
    }

    #[test]
    fn half_types_pool_texts_without_tokens_to_0() -> Result<()> {
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
