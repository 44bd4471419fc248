//! Operators with many parameters.
//!
//! candle's operators take at most three tensors. Further parameters enter through a chain of one-element tensors: each
//! link takes one parameter. The backward pass of the operator stores the gradients in a table, and each link returns
//! its own from there. Gradients of variables thereby bypass candle's sums (see [`crate::backward`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;

use candle_core::{CpuStorage, CustomOp2, DType, Device, Layout, Result, Shape, Tensor, bail};

use crate::buffer::Buffer;
use crate::{gradient, host};

/// The gradients of all parameters, per thread: a thread runs one backward pass at a time.
#[derive(Clone, Default)]
pub(crate) struct Grads(Arc<Mutex<HashMap<ThreadId, Vec<Option<Tensor>>>>>);

impl Grads {
    /// In the chain's order.
    pub(crate) fn set(&self, grads: impl IntoIterator<Item = Tensor>) {
        let grads = grads.into_iter().map(Some).collect();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(std::thread::current().id(), grads);
    }

    /// Takes the gradient of the parameter in `slot` from this thread's pass.
    fn take(&self, slot: usize) -> Option<Tensor> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let me = std::thread::current().id();
        let mine = all.get_mut(&me)?;
        let grad = mine.get_mut(slot)?.take();
        if mine.iter().all(Option::is_none) {
            all.remove(&me);
        }
        grad
    }

    /// Sets the gradients from their concatenation in the chain's order.
    pub(crate) fn set_packed(&self, packed: &[f32], shapes: &[Shape]) -> Result<()> {
        let mut rest = packed;
        let grads = shapes.iter().map(|shape| {
            let (grad, after) = rest.split_at(shape.elem_count());
            rest = after;
            host::tensor(grad.to_vec(), shape)
        });
        self.set(grads.collect::<Result<Vec<_>>>()?);
        Ok(())
    }
}

/// The operator's last argument, and the table in which its backward pass stores the gradients. The operator returns
/// [`chain_grad`] as the gradient of that argument.
pub(crate) fn chain<'a>(parameters: impl IntoIterator<Item = &'a Tensor>) -> Result<(Tensor, Grads)> {
    let grads = Grads::default();
    let mut chain = Tensor::zeros(1, DType::F32, &Device::Cpu)?;
    for (slot, parameter) in parameters.into_iter().enumerate() {
        chain = chain.apply_op2(parameter, Link { grads: grads.clone(), slot })?;
    }
    Ok((chain, grads))
}

/// The chain's gradient: zeros, on which the backward pass continues to the links.
pub(crate) fn chain_grad(chain: &Tensor) -> Result<Option<Tensor>> {
    chain.track_op().then(|| chain.zeros_like()).transpose()
}

/// The concatenated values of the parameters.
pub(crate) fn pack(parameters: &[&Tensor]) -> Result<Buffer> {
    let mut packed = Buffer::take(parameters.iter().map(|parameter| parameter.elem_count()).sum());
    let mut rest = &mut packed[..];
    for parameter in parameters {
        let (to, after) = rest.split_at_mut(parameter.elem_count());
        rest = after;
        host::with(parameter, |values| {
            to.copy_from_slice(values);
            Ok(())
        })?;
    }
    Ok(packed)
}

/// Appends a parameter to the chain.
struct Link {
    grads: Grads,
    slot: usize,
}

impl CustomOp2 for Link {
    fn name(&self) -> &'static str {
        "parameter"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(1)))
    }

    fn bwd(
        &self,
        chain: &Tensor,
        parameter: &Tensor,
        _: &Tensor,
        _: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Some(grad) = self.grads.take(self.slot) else {
            bail!("the backward pass reached a parameter before its operator")
        };
        let grad = parameter.track_op().then(|| gradient::store_grad(parameter, grad)).flatten();
        Ok((chain_grad(chain)?, grad))
    }
}
