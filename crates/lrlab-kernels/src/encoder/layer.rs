//! A layer's sizes, settings and parameters.

use crate::Precision;
use crate::attention::Keys;
use crate::buffer::Buffer;
use crate::dropout::Dropout;
use crate::product::{PANEL, Right, pack, pack_transposed, packed_len};

/// Batch, length, width, width between the linear maps, heads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dims {
    pub(super) b: usize,
    pub(super) l: usize,
    pub(super) w: usize,
    pub(super) f: usize,
    pub(super) heads: usize,
}

impl Dims {
    /// Outputs and inputs of the affine maps.
    pub(super) fn maps(self) -> [(usize, usize); 4] {
        let Self { w, f, .. } = self;
        [(3 * w, w), (w, w), (f, w), (w, f)]
    }

    /// Of the parameters, in their order.
    pub(super) fn shapes(self) -> Vec<Vec<usize>> {
        let maps = self.maps().into_iter().flat_map(|(out, inputs)| [vec![out, inputs], vec![out]]);
        maps.chain(std::iter::repeat_n(vec![self.w], 4)).collect()
    }
}

/// A layer's sizes and settings.
pub(super) struct Layer {
    pub(super) dims: Dims,
    pub(super) before: bool,
    pub(super) gelu: bool,
    pub(super) eps: f64,
    pub(super) precision: Precision,
    /// Of each sequence.
    pub(super) keys: Vec<Keys>,
    pub(super) dropouts: [Option<Dropout>; 3],
}

impl Layer {
    /// The draws of a sequence's elements: dropout `i` and its first element.
    pub(super) fn start(&self, sequence: usize) -> usize {
        sequence * self.dims.l * self.dims.w
    }
}

/// The parameters, weights packed for the forward or the backward pass.
pub(super) struct Parameters<'a> {
    weights: [Buffer; 4],
    dims: Dims,
    precision: Precision,
    transposed: bool,
    pub(super) biases: [&'a [f32]; 4],
    /// Scale and shift.
    pub(super) norms: [[&'a [f32]; 2]; 2],
}

impl<'a> Parameters<'a> {
    pub(super) fn new(layer: &Layer, packed: &'a [f32], transposed: bool) -> Self {
        let (dims, precision) = (layer.dims, layer.precision);
        let mut rest = packed;
        let mut next = |len: usize| {
            let (part, after) = rest.split_at(len);
            rest = after;
            part
        };
        let mut biases = [&packed[..0]; 4];
        let mut i = 0;
        let weights = dims.maps().map(|(out, inputs)| {
            let weight = next(out * inputs);
            biases[i] = next(out);
            i += 1;
            let (k, n) = if transposed { (inputs, out) } else { (out, inputs) };
            let mut to = Buffer::take(packed_len(precision, k, n, PANEL));
            if transposed {
                pack_transposed(precision, weight, inputs, k, n, &mut to);
            } else {
                pack::<PANEL>(precision, weight, inputs, k, n, &mut to);
            }
            to
        });
        let norms = [(); 2].map(|()| [next(dims.w), next(dims.w)]);
        Self { weights, dims, precision, transposed, biases, norms }
    }

    /// The map's right-hand matrix: from inputs to outputs, or back.
    pub(super) fn right(&self, map: usize) -> Right<'_> {
        let (out, inputs) = self.dims.maps()[map];
        let (k, n) = if self.transposed { (inputs, out) } else { (out, inputs) };
        Right { data: &self.weights[map], k, n, precision: self.precision }
    }
}
