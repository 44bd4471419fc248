//! The sizes of a batch of pictures and of one convolution.

use candle_core::{Result, bail};

use crate::simd::LANES;

/// Sizes of a batch of pictures; in blocks it is `[n][channels / 16][height][width][16]`, and lanes without a channel
/// are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) n: usize,
    pub(crate) c: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
}

/// The format of candle's shapes.
impl std::fmt::Display for Sizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}, {}, {}, {}]", self.n, self.c, self.h, self.w)
    }
}

impl Sizes {
    /// Blocks of sixteen channels.
    pub(crate) fn blocks(&self) -> usize {
        self.c.div_ceil(LANES)
    }

    /// Pixels of a plane.
    pub(crate) fn pixels(&self) -> usize {
        self.h * self.w
    }

    /// Values of one block of one picture.
    pub(crate) fn plane(&self) -> usize {
        self.pixels() * LANES
    }

    /// Values of one picture in blocks.
    pub(crate) fn picture(&self) -> usize {
        self.blocks() * self.plane()
    }

    /// Values of the batch in blocks.
    pub(crate) fn len(&self) -> usize {
        self.n * self.picture()
    }

    /// Values of one picture in planes.
    pub(crate) fn flat(&self) -> usize {
        self.c * self.pixels()
    }
}

/// Sizes as in [`crate::conv2d`]; `oh` and `ow` are the output's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    pub(crate) n: usize,
    pub(crate) c: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) o: usize,
    pub(crate) kh: usize,
    pub(crate) kw: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) oh: usize,
    pub(crate) ow: usize,
}

impl Geometry {
    pub(crate) fn new(
        (n, c, h, w): (usize, usize, usize, usize),
        (o, weight_c, kh, kw): (usize, usize, usize, usize),
        stride: usize,
        padding: usize,
    ) -> Result<Self> {
        if weight_c != c {
            bail!("conv2d: input has {c} channels, weight {weight_c}");
        }
        if stride == 0 {
            bail!("conv2d: stride 0, expected at least 1");
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

    /// The input's sizes.
    pub(crate) fn input(&self) -> Sizes {
        Sizes { n: self.n, c: self.c, h: self.h, w: self.w }
    }

    /// The output's sizes.
    pub(crate) fn output(&self) -> Sizes {
        Sizes { n: self.n, c: self.o, h: self.oh, w: self.ow }
    }

    /// The method for these sizes.
    pub(super) fn method(&self) -> Method {
        let square = (self.kh, self.kw, self.stride, self.padding) == (3, 3, 1, 1);
        if square && self.h > 2 && self.w > 2 {
            Method::Winograd
        } else if self.oh * self.ow <= FEW {
            Method::Gemm
        } else {
            Method::Direct
        }
    }

    /// Blocks of sixteen input channels.
    pub(crate) fn c_blocks(&self) -> usize {
        self.c.div_ceil(LANES)
    }

    /// Blocks of sixteen output channels.
    pub(crate) fn o_blocks(&self) -> usize {
        self.o.div_ceil(LANES)
    }

    /// The padded input's plane in the blocked layout.
    pub(super) fn input_frame(&self) -> Frame {
        Frame { height: self.h + 2 * self.padding, width: self.w + 2 * self.padding }
    }
}

/// At most this many output pixels count as few: their rows would not fill a tile.
const FEW: usize = 16;

/// How a convolution is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// In tiles of 4×4 outputs.
    Winograd,
    /// As matrix products over the batch, one per output pixel and tap.
    Gemm,
    /// Tap by tap, picture by picture.
    Direct,
}

/// A padded plane of pixels, sixteen channels each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Frame {
    /// Values of one plane.
    pub(crate) fn plane(&self) -> usize {
        self.height * self.width * LANES
    }

    /// Values of one row.
    pub(crate) fn row(&self) -> usize {
        self.width * LANES
    }
}
