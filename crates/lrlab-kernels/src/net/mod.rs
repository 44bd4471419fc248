//! A whole network of convolutions as one operator.
//!
//! candle's operators exchange tensors in planes, have one output each and keep nothing for the backward pass. In a
//! residual network this costs more than the arithmetic: each convolution converts layouts twice, and every norm, sum
//! and ReLU is a pass over memory. A [`ConvNet`] is the network as data. In f32 on the CPU it runs as one
//! operator in blocks of sixteen channels, in which a convolution normalises and rectifies its input while it reads it.
//! Elsewhere the same description runs node by node on [`crate::conv2d`], [`BatchNorm2d`] and [`max_pool2d`].

mod fused;
mod graph;
mod op;
mod pass;
#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor};

use crate::conv::conv2d;

use crate::{BatchNorm2d, NormMode, check, global_avg_pool2d, host, max_pool2d};
pub(crate) use graph::Node;
pub use graph::{ConvNet, ConvNorm, Value};

impl ConvNet {
    /// `x (n, c, h, w)` to the last node's mean over all pixels, `(n, channels)`. In training the running statistics
    /// move.
    ///
    /// # Errors
    /// Returns an error if shapes, types or devices do not fit, something is empty, a training batch has a single
    /// element per channel, a unit's eps is not a finite number above 0, or the momentum is outside [0, 1].
    pub fn forward(&self, x: &Tensor, mode: NormMode) -> Result<Tensor> {
        let [n, c, h, w] = check::dims("conv_net", "x", x, "(n, c, h, w)")?;
        let sizes = self.sizes((n, c, h, w), mode)?;
        mode.check("conv_net")?;
        let mut named = vec![("x", x)];
        for node in self.nodes.iter() {
            if let Node::Unit { unit, .. } = node {
                named.push(("weight", &unit.weight));
                named.extend(unit.vectors().map(|(what, var)| (what, var.as_tensor())));
            }
        }
        check::floats("conv_net", named.iter().copied())?;
        let tensors: Vec<&Tensor> = named.into_iter().map(|(_, tensor)| tensor).collect();
        if host::is_f32(&tensors) {
            return op::apply(self, sizes, x, mode);
        }
        #[cfg(feature = "cuda")]
        if tensors.len() > 1
            && crate::cuda::is_f32(&tensors)
            && crate::cuda::all_leaves(tensors[1..].iter().copied())
            && tensors[1..].iter().all(|parameter| parameter.is_contiguous())
        {
            return crate::cuda::conv_net(self, sizes, x, mode);
        }
        self.composed(x, mode)
    }

    /// Node by node.
    fn composed(&self, x: &Tensor, mode: NormMode) -> Result<Tensor> {
        let mut values = vec![x.clone()];
        for node in self.nodes.iter() {
            let input = &values[node.input()];
            let value = match node {
                Node::Unit { unit, residual, relu, .. } => BatchNorm2d {
                    scale: &unit.scale,
                    shift: &unit.shift,
                    running_mean: &unit.running_mean,
                    running_var: &unit.running_var,
                    eps: unit.eps,
                    mode,
                    residual: residual.map(|residual| &values[residual]),
                    relu: *relu,
                }
                .forward(&conv2d(
                    input,
                    &unit.weight,
                    unit.stride,
                    unit.padding,
                    self.precision,
                )?)?,
                Node::MaxPool { kernel, stride, padding, .. } => {
                    max_pool2d(input, *kernel, *stride, *padding)?
                }
                Node::Subsample { stride, before, after, .. } => {
                    // The maximum over a window of one pixel is that pixel.
                    let picked = if *stride == 1 { input.clone() } else { max_pool2d(input, 1, *stride, 0)? };
                    picked.pad_with_zeros(1, *before, *after)?
                }
            };
            values.push(value);
        }
        global_avg_pool2d(&values[values.len() - 1])
    }
}
