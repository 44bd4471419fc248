//! The sizes of one convolution.

use candle_core::{Result, bail};

use crate::simd::LANES;

/// Sizes as in [`super::conv2d`]; `oh` and `ow` are the output's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    pub(super) n: usize,
    pub(super) c: usize,
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) o: usize,
    pub(super) kh: usize,
    pub(super) kw: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
    pub(super) oh: usize,
    pub(super) ow: usize,
}

impl Geometry {
    pub(super) fn new(
        (n, c, h, w): (usize, usize, usize, usize),
        (o, weight_c, kh, kw): (usize, usize, usize, usize),
        stride: usize,
        padding: usize,
    ) -> Result<Self> {
        if weight_c != c {
            bail!("conv2d: input has {c} channels, weight {weight_c}");
        }
        if stride == 0 {
            bail!("conv2d: stride 0");
        }
        if [n, c, h, w, o, kh, kw].contains(&0) {
            bail!("conv2d: empty input {:?} or weight {:?}", (n, c, h, w), (o, c, kh, kw));
        }
        let padded = |size: usize| padding.checked_mul(2).and_then(|both| both.checked_add(size));
        let (Some(ph), Some(pw)) = (padded(h), padded(w)) else {
            bail!("conv2d: padding {padding} overflows");
        };
        if ph < kh || pw < kw {
            bail!("conv2d: kernel {:?} is larger than the padded input {:?}", (kh, kw), (ph, pw));
        }
        let (oh, ow) = ((ph - kh) / stride + 1, (pw - kw) / stride + 1);
        let sizes: [&[usize]; 3] =
            [&[n, c.next_multiple_of(LANES), ph, pw], &[n, o, oh, ow], &[o, c, kh, kw]];
        for size in sizes {
            let bytes = size.iter().try_fold(8_usize, |product, x| product.checked_mul(*x));
            if bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
                bail!("conv2d: sizes {size:?} overflow");
            }
        }
        Ok(Self { n, c, h, w, o, kh, kw, stride, padding, oh, ow })
    }

    /// Blocks of sixteen input channels.
    pub(super) fn c_blocks(&self) -> usize {
        self.c.div_ceil(LANES)
    }

    /// Blocks of sixteen output channels.
    pub(super) fn o_blocks(&self) -> usize {
        self.o.div_ceil(LANES)
    }

    /// The padded input's plane in the blocked layout.
    pub(super) fn input_frame(&self) -> Frame {
        Frame { height: self.h + 2 * self.padding, width: self.w + 2 * self.padding }
    }
}

/// A padded plane of pixels, sixteen channels each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Frame {
    /// Values of one plane.
    pub(super) fn plane(&self) -> usize {
        self.height * self.width * LANES
    }

    /// Values of one row.
    pub(super) fn row(&self) -> usize {
        self.width * LANES
    }
}
