//! Two-dimensional convolution.

use candle_core::{Result, Tensor, bail};

/// Cross-correlation of `x (n, c, h, w)` with `weight (o, c, kh, kw)`, zero padding, no bias:
/// `(n, o, (h + 2 padding − kh) / stride + 1, (w + 2 padding − kw) / stride + 1)`.
///
/// # Errors
/// Shapes do not fit, the stride is 0, or the kernel is larger than the padded input.
pub fn conv2d(x: &Tensor, weight: &Tensor, stride: usize, padding: usize) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let (o, wc, kh, kw) = weight.dims4()?;
    if wc != c {
        bail!("conv2d: input has {c} channels, weight {wc}");
    }
    if stride == 0 {
        bail!("conv2d: stride 0");
    }
    if n * c * h * w * o * kh * kw == 0 {
        bail!("conv2d: empty input {:?} or weight {:?}", x.shape(), weight.shape());
    }
    if h + 2 * padding < kh || w + 2 * padding < kw {
        bail!("conv2d: kernel {:?} is larger than the padded input {:?}", (kh, kw), x.shape());
    }
    x.conv2d(weight, padding, stride, 1, 1)
}
