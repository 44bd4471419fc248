//! Arguments of a GPU's kernels and products, as pure functions of sizes. The structs are laid out as the device code
//! declares them.

use candle_core::{Result, bail};

use crate::conv::geometry::{Geometry, Sizes};
use crate::tiles::Product;
use crate::update::AdamRule as AdamConstants;
use crate::{AdamStep, PictureView, SgdStep};

/// The largest size of which device code and cuBLAS keep count.
const MOST: usize = i32::MAX as usize;

/// A size of an operator as device code and cuBLAS take it; `what` is counted.
pub(crate) fn int(operator: &str, what: &str, size: usize) -> Result<i32> {
    match i32::try_from(size) {
        Ok(size) => Ok(size),
        Err(_) => bail!("{operator}: {size} {what}, a GPU takes at most {MOST}"),
    }
}

/// An argument of a kernel: at most eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word {
    /// Where kernels read it.
    pub(crate) bits: u64,
    /// A size that is too large for a kernel.
    too_large: Option<usize>,
}

impl Word {
    /// Rejects arguments that `kernel` cannot take.
    pub(crate) fn check(kernel: &str, words: &[Self]) -> Result<()> {
        match words.iter().find_map(|word| word.too_large) {
            Some(size) => bail!("kernel {kernel}: a size of {size}, a GPU takes at most {MOST}"),
            None => Ok(()),
        }
    }
}

impl From<u64> for Word {
    fn from(bits: u64) -> Self {
        Self { bits, too_large: None }
    }
}

impl From<usize> for Word {
    /// As `int`: a side of a tensor.
    fn from(size: usize) -> Self {
        match u32::try_from(size) {
            Ok(bits) if size <= MOST => Self::from(bits),
            _ => Self { bits: 0, too_large: Some(size) },
        }
    }
}

impl From<i32> for Word {
    fn from(value: i32) -> Self {
        Self::from(value as u32)
    }
}

impl From<u32> for Word {
    fn from(value: u32) -> Self {
        Self::from(u64::from(value))
    }
}

impl From<bool> for Word {
    fn from(value: bool) -> Self {
        Self::from(u64::from(value))
    }
}

impl From<f32> for Word {
    fn from(value: f32) -> Self {
        Self::from(value.to_bits())
    }
}

/// `words![a, b]`: arguments of a launch.
macro_rules! words {
    ($($value:expr),* $(,)?) => { &[$(crate::arguments::Word::from($value)),*] };
}
pub(crate) use words;

/// Weights of one launch.
pub(crate) const WEIGHTS: usize = 48;
/// Norms of one launch.
pub(crate) const NORMS: usize = 48;
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

/// Running statistics, and mean and variance of the batch that they move towards.
#[repr(C)]
pub(crate) struct Statistics {
    pub(crate) running_mean: [u64; NORMS],
    pub(crate) running_var: [u64; NORMS],
    pub(crate) batch: [u64; NORMS],
    pub(crate) c: [i32; NORMS],
    pub(crate) count: [i32; NORMS],
}

impl Statistics {
    pub(crate) fn empty() -> Self {
        Self {
            running_mean: [0; NORMS],
            running_var: [0; NORMS],
            batch: [0; NORMS],
            c: [0; NORMS],
            count: [0; NORMS],
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

/// Steps that are longer than any side read one window, whatever their length.
const LONGEST: usize = MOST / 2;

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
            [from.h, from.w, to.h, to.w, kernel, stride.min(LONGEST), padding].map(|size| size as i32);
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
            stride: int(g.stride.min(LONGEST)),
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
    pub(crate) fn new(a: Operand, b: Operand) -> Result<Self> {
        let ((m, k), (depth, n)) = (a.shape(), b.shape());
        if k != depth {
            bail!("product: {a:?} and {b:?} do not fit");
        }
        let side = |size| int("product", "rows or columns of a matrix", size);
        Ok(Self {
            rows: side(n)?,
            columns: side(m)?,
            depth: side(k)?,
            transposed: [b.transposed, a.transposed],
            leading: [side(b.columns)?, side(a.columns)?],
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
