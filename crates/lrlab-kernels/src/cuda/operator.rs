//! What the operators on a GPU share as candle's operators: whether they apply, and how gradients of parameters reach
//! the store.

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail,
};

use crate::environment;

/// Whether these operators apply: f32 on a GPU, all of them, and the environment does not ask for candle's operators.
pub(crate) fn takes(tensors: &[&Tensor]) -> bool {
    let float = |t: &&Tensor| t.device().is_cuda() && t.dtype() == DType::F32;
    environment::own_kernels() && tensors.iter().all(float) && together(tensors)
}

/// Whether all tensors lie on one device.
pub(crate) fn together(tensors: &[&Tensor]) -> bool {
    tensors.windows(2).all(|pair| pair[0].device().same_device(pair[1].device()))
}

/// Whether an operator with many parameters can hand on their gradients itself (see [`crate::backward`]).
pub(crate) fn are_leaves<'a>(parameters: impl IntoIterator<Item = &'a Tensor>) -> bool {
    parameters.into_iter().all(|t| t.is_variable() || !t.track_op())
}

/// Hands on the gradient of a parameter that is a variable.
pub(crate) fn give(parameter: &Tensor, grad: Tensor) -> Result<()> {
    match parameter.is_variable().then(|| crate::gradient::give(parameter, grad)).flatten() {
        None => Ok(()),
        Some(_) => bail!("on a GPU the gradients of this network come from lrlab_kernels::backward"),
    }
}

/// Applies an operator to `x` whose parameters it holds itself. Where x wants no gradient, one of them becomes an
/// argument too, so that candle runs the backward pass.
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
