//! Initial values, by seed and parameter name.

use candle_core::{Device, Result, Tensor, Var};
use lrlab_kernels::{Params, Precision, Role};
use lrlab_random::{Purpose, Stream};

/// A distribution of initial values.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// The same value everywhere.
    Constant(f64),
    /// Uniform on ±`bound`.
    Uniform {
        /// The largest absolute value.
        bound: f64,
    },
    /// Normal with mean 0.
    Normal {
        /// The standard deviation.
        std: f64,
    },
    /// The gate biases `(4h)` of an LSTM layer: uniform on ±`bound` as in torch, but `forget` in the second quarter.
    Gates {
        /// The largest absolute value of the other gates.
        bound: f64,
        /// The bias of the forget gate.
        forget: f64,
    },
}

impl Init {
    /// The default of `torch.nn.Linear` for weight and bias: `kaiming_uniform_` with a = √5, which is uniform on
    /// ±1/√fan-in (He et al., ICCV 2015; torch/nn/modules/linear.py, `reset_parameters`).
    #[must_use]
    pub fn torch_linear(inputs: usize) -> Self {
        Self::Uniform { bound: 1.0 / (inputs as f64).sqrt() }
    }

    /// Normal with variance 2 / fan-out (He et al., ICCV 2015, section 2.2, backward case), as torchvision has it
    /// for the convolutions of a residual network (`kaiming_normal_`, mode `fan_out`).
    #[must_use]
    pub fn kaiming_fan_out(out: usize, kernel: usize) -> Self {
        Self::Normal { std: (2.0 / (out * kernel * kernel) as f64).sqrt() }
    }

    /// The default of `torch.nn.Conv2d`, as [`torch_linear`](Self::torch_linear) over inputs × kernel × kernel values.
    #[must_use]
    pub fn torch_conv(inputs: usize, kernel: usize) -> Self {
        Self::torch_linear(inputs * kernel * kernel)
    }

    /// Uniform with variance 2 / (fan-in + fan-out) (Glorot and Bengio, AISTATS 2010, equation 16).
    #[must_use]
    pub fn xavier(inputs: usize, outputs: usize) -> Self {
        Self::Uniform { bound: (6.0 / (inputs + outputs) as f64).sqrt() }
    }

    /// Element `i` of `count` is draw `i` of the stream named after the parameter.
    fn values(self, seed: u64, name: &str, count: usize) -> Vec<f32> {
        let stream = Stream::new(seed, Purpose::Init, name);
        let uniform = |i: usize, bound: f64| (2.0 * stream.uniform(i as u64) - 1.0) * bound;
        let value = |i| match self {
            Self::Constant(value) => value,
            Self::Normal { std } => std * stream.normal(i as u64),
            Self::Gates { forget, .. } if (count / 4..count / 2).contains(&i) => forget,
            Self::Uniform { bound } | Self::Gates { bound, .. } => uniform(i, bound),
        };
        (0..count).map(|i| value(i) as f32).collect()
    }
}

/// Creates the parameters of a network under construction, with initial values by seed and name.
///
/// ```
/// use candle_core::{DType, Device};
/// use lrlab_kernels::{Params, Role};
/// use lrlab_models::{Affine, Builder, Init, LayerNorm};
///
/// # fn main() -> candle_core::Result<()> {
/// let mut b = Builder::new(0, Params::new(Device::Cpu, DType::F32));
/// let norm = LayerNorm::new(&mut b, "norm", 16)?;
/// let head = Affine::new(&mut b, "head", 16, 4)?;
/// let scale = b.create("scale", &[4], Init::Constant(1.0), Role::NoDecay)?;
/// let names: Vec<String> = b.finish().iter().map(|(name, _)| name.to_owned()).collect();
/// assert_eq!(names, ["head.bias", "head.weight", "norm.bias", "norm.weight", "scale"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Builder {
    seed: u64,
    params: Params,
}

impl Builder {
    /// Creates a builder that adds to `params`.
    #[must_use]
    pub fn new(seed: u64, params: Params) -> Self {
        Self { seed, params }
    }

    /// Creates a parameter. Its values depend on seed and name, not on what was created before.
    ///
    /// # Errors
    /// Returns an error if the name is taken, or the copy to the device fails.
    pub fn create(&mut self, name: &str, shape: &[usize], init: Init, role: Role) -> Result<Var> {
        let values = init.values(self.seed, name, shape.iter().product());
        self.params.create(name, &Tensor::from_vec(values, shape, &Device::Cpu)?, role)
    }

    /// Creates a tensor of the network's device and type that is not a parameter.
    ///
    /// # Errors
    /// Returns an error if `values` do not fill `shape`, or the copy to the device fails.
    pub fn constant(&self, values: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
        Tensor::from_vec(values, shape, &Device::Cpu)?
            .to_device(self.params.device())?
            .to_dtype(self.params.dtype())
    }

    /// Returns the precision of the network's matrix products.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.params.precision()
    }

    /// Returns the parameters.
    #[must_use]
    pub fn finish(self) -> Params {
        self.params
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_have_their_moments() {
        let check = |init: Init, expected_std: f64, bound: f64| {
            let values = init.values(1, "a.weight", 40_000);
            let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / 4e4;
            let var = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / 4e4 - mean * mean;
            assert!(mean.abs() < 0.02 * expected_std, "{init:?}: mean {mean}");
            assert!((var.sqrt() / expected_std - 1.0).abs() < 0.02, "{init:?}: std {}", var.sqrt());
            assert!(values.iter().all(|v| f64::from(v.abs()) <= bound), "{init:?}");
        };
        check(Init::torch_linear(64), 0.125 / 3_f64.sqrt(), 0.125);
        check(Init::kaiming_fan_out(32, 3), (2.0_f64 / 288.0).sqrt(), 1.0);
        check(Init::torch_conv(16, 3), 1.0 / 432.0_f64.sqrt(), 1.0 / 12.0);
        check(Init::xavier(16, 48), (2.0_f64 / 64.0).sqrt(), (6.0_f64 / 64.0).sqrt());
    }

    #[test]
    fn values_depend_on_seed_and_name_only() -> Result<()> {
        let build = |names: &[&str], seed| -> Result<Vec<Vec<f32>>> {
            let mut builder = Builder::new(seed, Params::new(Device::Cpu, candle_core::DType::F32));
            let init = Init::Normal { std: 1.0 };
            for name in names {
                builder.create(name, &[3, 5], init, Role::Weight)?;
            }
            builder.finish().iter().map(|(_, p)| p.var.flatten_all()?.to_vec1()).collect()
        };
        let [ab, ba, other] = [build(&["a", "b"], 7)?, build(&["b", "a"], 7)?, build(&["a", "b"], 8)?];
        assert_eq!(ab, ba);
        assert_ne!(ab[0], ab[1]);
        assert_ne!(ab, other);
        Ok(())
    }

    #[test]
    fn gates_hold_the_forget_bias() {
        let values = Init::Gates { bound: 0.5, forget: 1.0 }.values(0, "b", 16);
        let forget = |i: usize| values[i] == 1.0;
        assert!((0..16).all(|i| forget(i) == (4..8).contains(&i)), "{values:?}");
    }
}
