//! Helpers of the operators on a GPU: when they apply, and how gradients of parameters reach the store.

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail,
};

use crate::environment;

/// Returns whether these operators apply: all tensors are f32 on one GPU, and the environment does not select candle's
/// operators.
pub(crate) fn is_f32(tensors: &[&Tensor]) -> bool {
    let float = |t: &&Tensor| t.device().is_cuda() && t.dtype() == DType::F32;
    environment::own_kernels() && tensors.iter().all(float) && on_one_device(tensors)
}

/// Returns whether all tensors are on one device.
pub(crate) fn on_one_device(tensors: &[&Tensor]) -> bool {
    tensors.windows(2).all(|pair| pair[0].device().same_device(pair[1].device()))
}

/// Returns whether an operator with many parameters can store their gradients itself (see [`crate::backward`]).
pub(crate) fn all_leaves<'a>(parameters: impl IntoIterator<Item = &'a Tensor>) -> bool {
    parameters.into_iter().all(|t| t.is_variable() || !t.track_op())
}

/// Stores the gradient of a parameter that is a variable.
pub(crate) fn store_grad(parameter: &Tensor, grad: Tensor) -> Result<()> {
    match parameter.is_variable().then(|| crate::gradient::store_grad(parameter, grad)).flatten() {
        None => Ok(()),
        Some(_) => bail!("on a GPU the gradients of this network come from lrlab_kernels::backward"),
    }
}

/// Applies an operator that holds its parameters to `x`. If `x` is not tracked, one of the parameters becomes an argument
/// too, so that candle runs the backward pass.
pub(crate) fn apply<'a>(
    x: &Tensor,
    parameters: impl IntoIterator<Item = &'a Tensor>,
    op: impl CustomOp1 + Send + Sync + 'static,
) -> Result<Tensor> {
    let wanted = if x.track_op() { None } else { parameters.into_iter().find(|p| p.is_variable()) };
    match wanted {
        Some(parameter) => x.apply_op2(parameter, Anchored(op)),
        None => x.apply_op1(op),
    }
}

struct Anchored<O>(O);

impl<O: CustomOp1> CustomOp2 for Anchored<O> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.0.cpu_fwd(x, layout)
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        layout: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.0.cuda_fwd(x, layout)
    }

    fn bwd(
        &self,
        x: &Tensor,
        _: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((self.0.bwd(x, y, grad)?, None))
    }
}
