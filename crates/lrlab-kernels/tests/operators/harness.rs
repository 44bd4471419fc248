//! Random operands, and the comparison of an operator with its reference.

use candle_core::{Device, Result, Tensor, Var, backprop::GradStore};
use lrlab_kernels::{LstmLayer, Precision, Sequence};
use lrlab_random::{Purpose, Stream};

/// A function that computes gradients.
type Backward = fn(&Tensor) -> Result<GradStore>;

/// Values in f64 with their shape, row after row.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    pub(crate) dims: Vec<usize>,
    pub(crate) data: Vec<f64>,
}

impl Array {
    pub(crate) fn zeros(dims: &[usize]) -> Self {
        Self { dims: dims.to_vec(), data: vec![0.0; dims.iter().product()] }
    }

    pub(crate) fn dims<const N: usize>(&self) -> [usize; N] {
        self.dims.clone().try_into().unwrap()
    }

    /// The position of the element at `index` in `data`.
    pub(crate) fn place<const N: usize>(&self, index: [usize; N]) -> usize {
        let dims: [usize; N] = self.dims();
        index.iter().zip(dims).fold(0, |at, (i, d)| {
            assert!(*i < d);
            at * d + i
        })
    }

    pub(crate) fn at<const N: usize>(&self, index: [usize; N]) -> f64 {
        self.data[self.place(index)]
    }

    pub(crate) fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self { dims: self.dims.clone(), data: self.data.iter().map(|v| f(*v)).collect() }
    }
}

/// The states of an LSTM in f32 of `x (b, l, in)`.
pub(crate) fn lstm(
    x: &Tensor,
    [w_ih, w_hh, b_ih, b_hh]: [&Tensor; 4],
    mask: &Tensor,
    reverse: bool,
) -> Result<Tensor> {
    let layer = LstmLayer { w_ih, w_hh, b_ih, b_hh, mask: Some(mask), reverse, precision: Precision::F32 };
    layer.states(Sequence::Vectors(x))
}

/// A sequence of draws, the same for the same name.
pub(crate) struct Draw {
    stream: Stream,
    next: u64,
}

impl Draw {
    pub(crate) fn new(name: &str) -> Self {
        Self { stream: Stream::new(17, Purpose::Synthetic, name), next: 0 }
    }

    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A whole number from `low` to `high`.
    pub(crate) fn size(&mut self, low: usize, high: usize) -> usize {
        let at = self.next();
        low + self.stream.below(at, (high - low + 1) as u64) as usize
    }

    pub(crate) fn flip(&mut self) -> bool {
        self.size(0, 1) == 1
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.size(0, of.len() - 1)]
    }

    /// Standard normal values in f32.
    pub(crate) fn values(&mut self, count: usize) -> Vec<f32> {
        self.normal(&[count], 1.0).data.iter().map(|v| *v as f32).collect()
    }

    /// Normal values with this deviation, each of which is an f32.
    pub(crate) fn normal(&mut self, dims: &[usize], deviation: f64) -> Array {
        let mut array = Array::zeros(dims);
        for value in &mut array.data {
            let at = self.next();
            *value = f64::from((self.stream.normal(at) * deviation) as f32);
        }
        array
    }

    /// 1 at tokens, 0 at the padding behind them; sequences have any length, sometimes 0.
    pub(crate) fn mask(&mut self, batch: usize, length: usize) -> Array {
        let mut mask = Array::zeros(&[batch, length]);
        for row in mask.data.chunks_mut(length) {
            let tokens = if self.flip() { length } else { self.size(0, length) };
            row[..tokens].fill(1.0);
        }
        mask
    }
}

/// How an operand lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Row after row.
    Plain,
    /// First and last dimension exchanged.
    Transposed,
    /// A part of a larger tensor.
    Part,
}

impl Layout {
    /// What a variable must hold so that [`Layout::view`] of it is `x`.
    fn stored(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Plain => Ok(x.clone()),
            Self::Transposed => x.transpose(0, x.rank() - 1)?.contiguous(),
            Self::Part => {
                let edge = (x.narrow(0, 0, 1)? + 100.0)?;
                Tensor::cat(&[&edge, x, &edge], 0)
            }
        }
    }

    fn view(self, stored: &Tensor) -> Result<Tensor> {
        match self {
            Self::Plain => Ok(stored.clone()),
            Self::Transposed => stored.transpose(0, stored.rank() - 1),
            Self::Part => stored.narrow(0, 1, stored.dim(0)? - 2),
        }
    }
}

pub(crate) fn tensor(x: &Array) -> Tensor {
    let values: Vec<f32> = x.data.iter().map(|v| *v as f32).collect();
    Tensor::from_vec(values, x.dims.as_slice(), &Device::Cpu).unwrap()
}

pub(crate) fn values(x: &Tensor) -> Vec<f64> {
    x.to_dtype(candle_core::DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Asserts equality up to `tolerance` times the largest expected value. NaN is not equal to anything.
pub(crate) fn close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: number of elements");
    let scale = expected.iter().fold(1e-3_f64, |m, v| m.max(v.abs()));
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        let near = (f - e).abs() <= tolerance * scale;
        assert!(near, "{what}: element {i} is {f}, not {e} (largest {scale})");
    }
}

/// Directions of finite differences per operand: through all elements at once, and along single ones.
const DENSE: usize = 3;
const SINGLE: usize = 16;
/// The step: small enough that no kink lies in between, large enough for f64.
const STEP: f64 = 1e-6;

/// Compares the result of `op` in f32 with `reference`, and the gradients of a random weighting of it with finite
/// differences of the reference, for operands in random layouts. Then checks that the bits are the same with
/// [`lrlab_kernels::backward`], and that gradients have the same bits if one operand is not tracked.
pub(crate) fn check(
    what: &str,
    draw: &mut Draw,
    operands: &[Array],
    tolerance: f64,
    op: impl Fn(&[Tensor]) -> Result<Tensor>,
    reference: impl Fn(&[Array]) -> Array,
) {
    let expected = reference(operands);
    let weights = draw.normal(&expected.dims, 1.0);
    let layouts: Vec<Layout> = operands
        .iter()
        .map(|x| match draw.size(0, 3) {
            0 if x.dims.len() > 1 => Layout::Transposed,
            1 => Layout::Part,
            _ => Layout::Plain,
        })
        .collect();
    let what = format!("{what} of {:?} as {layouts:?}", operands.iter().map(|x| &x.dims).collect::<Vec<_>>());
    let run = |tracked: &dyn Fn(usize) -> bool, backward: Backward| -> Result<(Vec<f64>, Vec<Vec<f64>>)> {
        let stored = operands.iter().zip(&layouts).map(|(x, layout)| layout.stored(&tensor(x)));
        let vars = stored.map(|x| Var::from_tensor(&x?)).collect::<Result<Vec<_>>>()?;
        let views = vars.iter().zip(&layouts).enumerate().map(|(i, (var, layout))| {
            layout.view(&if tracked(i) { var.as_tensor().clone() } else { var.as_detached_tensor() })
        });
        let y = op(&views.collect::<Result<Vec<_>>>()?)?;
        assert_eq!(y.dims(), expected.dims, "{what}");
        let grads = backward(&(&y * tensor(&weights))?.sum_all()?)?;
        let mut found = Vec::new();
        for (i, (var, layout)) in vars.iter().zip(&layouts).enumerate().filter(|(i, _)| tracked(*i)) {
            let grad = grads.get(var).unwrap_or_else(|| panic!("{what}: no gradient for operand {i}"));
            found.push(values(&layout.view(grad)?));
        }
        Ok((values(&y), found))
    };
    let (y, grads) = run(&|_| true, Tensor::backward).unwrap_or_else(|error| panic!("{what}: {error}"));
    close(&what, &y, &expected.data, tolerance);
    let loss = |operands: &[Array]| -> f64 {
        reference(operands).data.iter().zip(&weights.data).map(|(y, w)| y * w).sum()
    };
    for (i, grad) in grads.iter().enumerate() {
        let largest = grad.iter().fold(1e-3_f64, |m, v| m.max(v.abs()));
        for direction in directions(draw, &operands[i]) {
            let moved = |step: f64| {
                let mut operands = operands.to_vec();
                for (x, d) in operands[i].data.iter_mut().zip(&direction) {
                    *x += step * d;
                }
                loss(&operands)
            };
            let expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let found: f64 = grad.iter().zip(&direction).map(|(g, d)| g * d).sum();
            let length = direction.iter().map(|d| d * d).sum::<f64>().sqrt();
            let near = (found - expected).abs() <= tolerance * largest * length.max(1.0) + 1e-6 * length;
            let along = if length == 1.0 { direction.iter().position(|d| *d != 0.0) } else { None };
            assert!(near, "{what}: gradient of operand {i} along {along:?} is {found}, not {expected}");
        }
    }
    let again = run(&|_| true, lrlab_kernels::backward).unwrap();
    assert!(again == (y.clone(), grads.clone()), "{what}: other bits the second time");
    if operands.len() > 1 {
        let without = draw.size(0, operands.len() - 1);
        let (again, mut others) = run(&|i| i != without, lrlab_kernels::backward).unwrap();
        others.insert(without, grads[without].clone());
        assert!(again == y && others == grads, "{what}: other bits without operand {without}'s gradient");
    }
}

fn directions(draw: &mut Draw, x: &Array) -> Vec<Vec<f64>> {
    let count = x.data.len();
    let mut all: Vec<Vec<f64>> = (0..DENSE).map(|_| draw.normal(&x.dims, 1.0).data).collect();
    for i in 0..SINGLE.min(count) {
        let at = if count <= SINGLE { i } else { draw.size(0, count - 1) };
        let mut direction = vec![0.0; count];
        direction[at] = 1.0;
        all.push(direction);
    }
    all
}
