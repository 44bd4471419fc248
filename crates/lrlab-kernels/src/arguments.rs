//! Arguments of a GPU's kernels and products, as pure functions of sizes. The structs are laid out as the device code
//! declares them.

use crate::conv::geometry::{Geometry, Sizes};
use crate::tiles::Product;
use crate::update::AdamRule as AdamConstants;
use crate::{AdamStep, PictureView, SgdStep};

/// Weights of one launch.
pub(crate) const WEIGHTS: usize = 48;
/// Parameters of one launch.
pub(crate) const PARAMETERS: usize = 40;

/// Weights, or their gradients, as planes and as rows of channels.
#[repr(C)]
pub(crate) struct Weights {
    pub(crate) planes: [u64; WEIGHTS],
    pub(crate) rows: [u64; WEIGHTS],
    pub(crate) c: [i32; WEIGHTS],
    pub(crate) k: [i32; WEIGHTS],
    pub(crate) size: [i32; WEIGHTS],
}

impl Weights {
    pub(crate) fn empty() -> Self {
        Self {
            planes: [0; WEIGHTS],
            rows: [0; WEIGHTS],
            c: [0; WEIGHTS],
            k: [0; WEIGHTS],
            size: [0; WEIGHTS],
        }
    }
}

/// Parameters with their gradients and moments.
#[repr(C)]
pub(crate) struct Parameters {
    pub(crate) var: [u64; PARAMETERS],
    pub(crate) grad: [u64; PARAMETERS],
    pub(crate) first: [u64; PARAMETERS],
    pub(crate) second: [u64; PARAMETERS],
    pub(crate) decay: [f32; PARAMETERS],
    pub(crate) size: [i32; PARAMETERS],
}

impl Parameters {
    pub(crate) fn empty() -> Self {
        Self {
            var: [0; PARAMETERS],
            grad: [0; PARAMETERS],
            first: [0; PARAMETERS],
            second: [0; PARAMETERS],
            decay: [0.0; PARAMETERS],
            size: [0; PARAMETERS],
        }
    }
}

/// The constants of SGD without the weight decay, which each parameter has.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SgdRule {
    pub(crate) lr: f32,
    pub(crate) momentum: f32,
    pub(crate) keep: f32,
    pub(crate) nesterov: i32,
}

impl SgdRule {
    pub(crate) fn new(step: SgdStep) -> Self {
        let momentum = step.momentum as f32;
        let (lr, keep) = (step.lr as f32, if step.first { 0.0 } else { momentum });
        Self { lr, momentum, keep, nesterov: i32::from(step.nesterov) }
    }
}

/// The constants of Adam without the weight decay, which each parameter has.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct AdamRule {
    pub(crate) keep: [f32; 2],
    pub(crate) take: [f32; 2],
    pub(crate) rate: f32,
    pub(crate) root: f32,
    pub(crate) eps: f32,
    pub(crate) lr: f32,
    pub(crate) decoupled: i32,
}

impl AdamRule {
    pub(crate) fn new(step: AdamStep) -> Self {
        let AdamConstants { keep, take, rate, root, eps, .. } = AdamConstants::new(step);
        Self { keep, take, rate, root, eps, lr: step.lr as f32, decoupled: i32::from(step.decoupled) }
    }
}

/// The windows of a pool or of a subsample.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) h: i32,
    pub(crate) w: i32,
    pub(crate) oh: i32,
    pub(crate) ow: i32,
    pub(crate) kernel: i32,
    pub(crate) stride: i32,
    pub(crate) padding: i32,
}

impl Window {
    pub(crate) fn new(from: Sizes, to: Sizes, kernel: usize, stride: usize, padding: usize) -> Self {
        let [h, w, oh, ow, kernel, stride, padding] =
            [from.h, from.w, to.h, to.w, kernel, stride, padding].map(|size| size as i32);
        Self { h, w, oh, ow, kernel, stride, padding }
    }
}

/// One product of a convolution.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conv {
    pub(crate) n: i32,
    pub(crate) c: i32,
    pub(crate) h: i32,
    pub(crate) w: i32,
    pub(crate) o: i32,
    pub(crate) kh: i32,
    pub(crate) kw: i32,
    pub(crate) stride: i32,
    pub(crate) padding: i32,
    pub(crate) oh: i32,
    pub(crate) ow: i32,
    pub(crate) rows: i32,
    pub(crate) columns: i32,
    pub(crate) depth: i32,
    pub(crate) part: i32,
    pub(crate) join: i32,
}

impl Conv {
    /// With `join`, the kernel adds the product to the destination, unless several blocks share a tile: their partial sums
    /// are added to the destination afterwards.
    pub(crate) fn new(g: &Geometry, product: &Product, join: bool) -> Self {
        let int = |size: usize| size as i32;
        Self {
            n: int(g.n),
            c: int(g.c),
            h: int(g.h),
            w: int(g.w),
            o: int(g.o),
            kh: int(g.kh),
            kw: int(g.kw),
            stride: int(g.stride),
            padding: int(g.padding),
            oh: int(g.oh),
            ow: int(g.ow),
            rows: int(product.rows),
            columns: int(product.columns),
            depth: int(product.depth),
            part: int(product.part),
            join: i32::from(join && product.parts == 1),
        }
    }
}

/// A view of a picture. Moving a picture by more than its side is moving it by its side.
pub(crate) fn augmented(view: &PictureView, height: usize, width: usize) -> [i32; 8] {
    let PictureView { picture, shift: (down, right), flip, blank: (rows, columns) } = view;
    let moved = |by: isize, side: usize| by.clamp(-(side as isize), side as isize) as i32;
    let within = |at: usize, side: usize| at.min(side) as i32;
    [
        *picture as i32,
        moved(*down, height),
        moved(*right, width),
        i32::from(*flip),
        within(rows.start, height),
        within(rows.end, height),
        within(columns.start, width),
        within(columns.end, width),
    ]
}

/// An operand of a product: `rows` × `columns` as it lies in memory, row after row, without gaps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operand {
    pub(crate) at: u64,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Its transpose is multiplied.
    pub(crate) transposed: bool,
}

impl Operand {
    pub(crate) fn new(at: u64, rows: usize, columns: usize) -> Self {
        Self { at, rows, columns, transposed: false }
    }

    pub(crate) fn t(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }

    pub(crate) fn len(self) -> usize {
        self.rows * self.columns
    }

    /// Rows and columns of the factor.
    fn shape(self) -> (usize, usize) {
        if self.transposed { (self.columns, self.rows) } else { (self.rows, self.columns) }
    }
}

/// The sizes of a product a b as cuBLAS takes them. Its matrices lie column after column, so it sees the transposes,
/// whose product is bᵀ aᵀ: its first operand is b.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gemm {
    /// Of the output that cuBLAS sees.
    pub(crate) rows: i32,
    pub(crate) columns: i32,
    pub(crate) depth: i32,
    /// Of b and a: whether the operand that cuBLAS sees is transposed, the distance of its columns, and that of
    /// operands one after the other.
    pub(crate) transposed: [bool; 2],
    pub(crate) leading: [i32; 2],
    pub(crate) stride: [i64; 2],
}

impl Gemm {
    /// `None`: the factors do not fit.
    pub(crate) fn new(a: Operand, b: Operand) -> Option<Self> {
        let ((m, k), (depth, n)) = (a.shape(), b.shape());
        (k == depth).then(|| Self {
            rows: n as i32,
            columns: m as i32,
            depth: k as i32,
            transposed: [b.transposed, a.transposed],
            leading: [b.columns as i32, a.columns as i32],
            stride: [b.len() as i64, a.len() as i64],
        })
    }

    /// The distance of outputs one after the other.
    pub(crate) fn output_stride(&self) -> i64 {
        i64::from(self.rows) * i64::from(self.columns)
    }
}

#[cfg(test)]
mod tests;
