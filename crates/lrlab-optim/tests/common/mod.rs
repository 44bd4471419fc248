//! Parameters and gradients of given values.

use candle_core::{DType, Device, Result, Tensor, backprop::GradStore};
use lrlab_kernels::{Params, Role};

/// Parameters by name, shape and values; a name that ends in `bias` is not decayed.
pub(crate) fn params(entries: &[(&str, &[usize], &[f32])]) -> Result<Params> {
    let mut params = Params::new(Device::Cpu, DType::F32);
    for (name, shape, values) in entries {
        let role = if name.ends_with("bias") { Role::NoDecay } else { Role::Weight };
        params.create(name, &Tensor::from_slice(values, *shape, &Device::Cpu)?, role)?;
    }
    Ok(params)
}

/// A store with exactly these gradients: those of Σ weight · gradient.
pub(crate) fn grads(params: &Params, entries: &[(&str, Vec<f32>)]) -> Result<GradStore> {
    let mut loss = Tensor::zeros((), DType::F32, &Device::Cpu)?;
    for (name, values) in entries {
        let var = &params.get(name).expect("a parameter").var;
        let grad = Tensor::from_slice(values, var.shape(), &Device::Cpu)?;
        loss = (loss + (var.as_tensor() * grad)?.sum_all()?)?;
    }
    loss.backward()
}

/// A parameter's values.
pub(crate) fn values(params: &Params, name: &str) -> Result<Vec<f32>> {
    params.get(name).expect("a parameter").var.flatten_all()?.to_vec1()
}
