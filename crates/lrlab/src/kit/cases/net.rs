//! Networks of convolutions.

use candle_core::Result;
use lrlab_kernels::{ConvNet, ConvNorm, NormMode, Value};

use super::dims::joined;
use crate::kit::compare::Case;
use crate::kit::side::Side;

/// A network under construction.
struct Builder<'a> {
    side: &'a Side,
    net: ConvNet,
    units: usize,
}

impl<'a> Builder<'a> {
    fn new(side: &'a Side) -> Self {
        Self { side, net: ConvNet::in_precision(side.precision), units: 0 }
    }

    /// Adds a convolution with a square kernel and its norm, padded by half the kernel.
    fn unit(
        &mut self,
        x: Value,
        [inputs, outputs, kernel, stride]: [usize; 4],
        residual: Option<Value>,
        relu: bool,
    ) -> Result<Value> {
        self.units += 1;
        let name = |of: &str| format!("{of} of unit {}", self.units);
        let side = self.side;
        let deviation = 1.0 / ((inputs * kernel * kernel) as f64).sqrt();
        let unit = ConvNorm {
            weight: side.parameter(&name("weight"), &[outputs, inputs, kernel, kernel], 0.0, deviation)?,
            stride,
            padding: kernel / 2,
            scale: side.parameter(&name("scale"), &[outputs], 1.0, 0.2)?,
            shift: side.parameter(&name("shift"), &[outputs], 0.0, 0.3)?,
            running_mean: side.signed_state(&name("running mean"), &[outputs])?,
            running_var: side.state(&name("running variance"), &[outputs])?,
            eps: 1e-5,
        };
        Ok(self.net.unit(x, unit, residual, relu))
    }

    /// Adds two convolutions with a residual sum, whose input is projected where shapes differ.
    fn block(&mut self, x: Value, inputs: usize, outputs: usize, stride: usize) -> Result<Value> {
        let inner = self.unit(x, [inputs, outputs, 3, stride], None, true)?;
        let shortcut = if (inputs, stride) == (outputs, 1) {
            x
        } else {
            self.unit(x, [inputs, outputs, 1, stride], None, false)?
        };
        self.unit(inner, [outputs, outputs, 3, 1], Some(shortcut), true)
    }

    /// Adds two convolutions with a residual sum, whose input is subsampled and padded with channels of zeros.
    fn subsampled(&mut self, x: Value, inputs: usize, outputs: usize) -> Result<Value> {
        let inner = self.unit(x, [inputs, outputs, 3, 2], None, true)?;
        let before = (outputs - inputs) / 2;
        let shortcut = self.net.subsample(x, 2, before, outputs - inputs - before);
        self.unit(inner, [outputs, outputs, 3, 1], Some(shortcut), true)
    }
}

type Build = fn(&mut Builder) -> Result<()>;
/// Name, pictures, network.
type Network = (&'static str, [usize; 4], Build);

/// Networks without kinks.
const SMOOTH: [Network; 5] = [
    ("no node", [3, 5, 7, 6], |_| Ok(())),
    ("a subsample alone", [2, 3, 9, 8], |p| {
        p.net.subsample(p.net.input(), 2, 1, 3);
        Ok(())
    }),
    ("one unit", [2, 3, 8, 8], |p| {
        p.unit(p.net.input(), [3, 10, 3, 1], None, false)?;
        Ok(())
    }),
    ("a subsampled sum", [3, 3, 9, 10], |p| {
        let x = p.unit(p.net.input(), [3, 10, 7, 1], None, false)?;
        let shortcut = p.net.subsample(x, 2, 3, 4);
        p.unit(x, [10, 17, 3, 2], Some(shortcut), false)?;
        Ok(())
    }),
    ("a projected sum", [3, 10, 9, 10], |p| {
        let shortcut = p.unit(p.net.input(), [10, 17, 1, 2], None, false)?;
        let x = p.unit(p.net.input(), [10, 17, 3, 2], Some(shortcut), false)?;
        p.unit(x, [17, 17, 3, 1], Some(x), false)?;
        Ok(())
    }),
];

/// Networks with kinks.
const NETWORKS: [Network; 9] = [
    ("residual, odd sides", [3, 3, 7, 9], |p| {
        let x = p.unit(p.net.input(), [3, 10, 3, 1], None, true)?;
        p.block(x, 10, 10, 1)?;
        Ok(())
    }),
    ("projections", [2, 3, 9, 11], |p| {
        let x = p.unit(p.net.input(), [3, 16, 3, 1], None, true)?;
        let x = p.block(x, 16, 17, 2)?;
        p.block(x, 17, 32, 2)?;
        Ok(())
    }),
    ("subsampling", [3, 3, 8, 7], |p| {
        let x = p.unit(p.net.input(), [3, 10, 3, 1], None, true)?;
        let x = p.subsampled(x, 10, 17)?;
        p.subsampled(x, 17, 32)?;
        Ok(())
    }),
    ("7×7 and a max pool", [2, 3, 33, 31], |p| {
        let x = p.unit(p.net.input(), [3, 10, 7, 2], None, true)?;
        let x = p.net.max_pool(x, 3, 2, 1);
        p.block(x, 10, 10, 1)?;
        Ok(())
    }),
    ("bottlenecks", [2, 8, 6, 6], |p| {
        let mut x = p.net.input();
        for inputs in [8, 40] {
            let inner = p.unit(x, [inputs, 10, 1, 1], None, true)?;
            let inner = p.unit(inner, [10, 10, 3, 1], None, true)?;
            let shortcut = if inputs == 40 { x } else { p.unit(x, [8, 40, 1, 1], None, false)? };
            x = p.unit(inner, [10, 40, 1, 1], Some(shortcut), true)?;
        }
        Ok(())
    }),
    ("a pool first, a sum without relu", [2, 5, 8, 9], |p| {
        let x = p.net.max_pool(p.net.input(), 2, 2, 0);
        p.unit(x, [5, 5, 3, 1], Some(x), false)?;
        Ok(())
    }),
    // Without the relu, the mean over its pixels would equal the shift.
    ("one picture", [1, 3, 8, 7], |p| {
        let x = p.unit(p.net.input(), [3, 10, 3, 1], None, true)?;
        p.unit(x, [10, 10, 3, 1], Some(x), true)?;
        Ok(())
    }),
    ("a max pool alone", [3, 5, 9, 8], |p| {
        p.net.max_pool(p.net.input(), 3, 2, 1);
        Ok(())
    }),
    ("three stages", [4, 3, 16, 16], |p| {
        let mut x = p.unit(p.net.input(), [3, 16, 3, 1], None, true)?;
        for (inputs, outputs, stride) in [(16, 16, 1), (16, 32, 2), (32, 64, 2)] {
            x = p.block(x, inputs, outputs, stride)?;
        }
        Ok(())
    }),
];

pub(super) fn cases() -> Vec<Case> {
    let modes = [NormMode::Train { momentum: 0.1 }, NormMode::Eval];
    let both = |network: Network| modes.map(|mode| case(network, mode, true));
    let mut all: Vec<Case> = SMOOTH.into_iter().flat_map(both).collect();
    all.extend(NETWORKS.into_iter().flat_map(both).map(|case| case.kinks(true)));
    // As in training: pictures have no gradient.
    all.extend(SMOOTH.map(|network| case(network, modes[0], false)));
    all.extend(NETWORKS.map(|network| case(network, modes[0], false).kinks(true)));
    all.push(case(NETWORKS[0], NormMode::Eval, false).kinks(true));
    all
}

pub(super) fn for_nan() -> Vec<Case> {
    [NETWORKS[0], NETWORKS[2], NETWORKS[3], SMOOTH[0], SMOOTH[1], SMOOTH[3]]
        .map(|network| case(network, NormMode::Eval, true))
        .into()
}

fn case((name, dims, build): Network, mode: NormMode, tracked: bool) -> Case {
    let mode_name = if mode == NormMode::Eval { "evaluation" } else { "training" };
    let suffix = if tracked { "" } else { ", pictures without a gradient" };
    Case::new("ConvNet", format!("{name}, x {}, {mode_name}{suffix}", joined(&dims)), move |side| {
        let x = if tracked { side.var("x", &dims, 1.0)? } else { side.data("x", &dims, 1.0)? };
        let mut builder = Builder::new(side);
        build(&mut builder)?;
        Ok(vec![("features", builder.net.forward(&x, mode)?)])
    })
    .mixed()
    .cancels()
}
