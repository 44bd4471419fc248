//! The network as a candle operator.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor, Var};

use super::fused::{Kept, Pass, Statistics};
use super::graph::{ConvNet, ConvNorm, Node};
use crate::conv::geometry::Sizes;
use crate::parameter_chain::{Grads, chain, chain_grad};
use crate::{NormMode, host};

pub(super) fn apply(net: &ConvNet, sizes: Vec<Sizes>, x: &Tensor, mode: NormMode) -> Result<Tensor> {
    let units: Vec<ConvNorm> = net
        .nodes
        .iter()
        .filter_map(|node| match node {
            Node::Unit { unit, .. } => Some(unit.clone()),
            Node::MaxPool { .. } | Node::Subsample { .. } => None,
        })
        .collect();
    let parameters = units.iter().flat_map(|unit| [&unit.weight, &unit.scale, &unit.shift]);
    let (chain, grads) = chain(parameters.map(Var::as_tensor))?;
    let statistics = Arc::new(Mutex::new(Vec::new()));
    let op = Op {
        net: net.clone(),
        sizes,
        mode,
        grads,
        kept: Mutex::new(None),
        statistics: Arc::clone(&statistics),
    };
    let y = x.contiguous()?.apply_op2(&chain, op)?;
    if let NormMode::Train { momentum } = mode {
        let seen = std::mem::take(&mut *statistics.lock().unwrap_or_else(PoisonError::into_inner));
        for (unit, seen) in units.iter().zip(seen) {
            remember(unit, &seen, momentum)?;
        }
    }
    Ok(y)
}

/// running ← (1 − momentum) running + momentum · batch, the variance unbiased, as in torch.
fn remember(unit: &ConvNorm, seen: &Statistics, momentum: f64) -> Result<()> {
    let unbiased = seen.count / (seen.count - 1.0);
    let update = |var: &Var, batch: &[f64], factor: f64| {
        let running: Vec<f32> = var.as_detached_tensor().to_vec1()?;
        let moved = running.iter().zip(batch).map(|(running, batch)| {
            ((1.0 - momentum) * f64::from(*running) + momentum * factor * batch) as f32
        });
        var.set(&Tensor::from_vec(moved.collect::<Vec<_>>(), batch.len(), &Device::Cpu)?)
    };
    update(&unit.running_mean, &seen.mean, 1.0)?;
    update(&unit.running_var, &seen.var, unbiased)
}

struct Op {
    net: ConvNet,
    sizes: Vec<Sizes>,
    mode: NormMode,
    /// Three per unit.
    grads: Grads,
    kept: Mutex<Option<Kept>>,
    statistics: Arc<Mutex<Vec<Statistics>>>,
}

impl CustomOp2 for Op {
    fn name(&self) -> &'static str {
        "conv_net"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = host::slice(x, x_layout)?;
        let last = self.sizes[self.sizes.len() - 1];
        let pass = Pass::new(&self.net, &self.sizes, self.mode)?;
        let features = if self.mode == NormMode::Eval {
            pass.evaluate(x)?
        } else {
            let (features, kept) = pass.forward(x)?;
            *self.statistics.lock().unwrap_or_else(PoisonError::into_inner) = kept.statistics();
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
            features
        };
        Ok((CpuStorage::F32(features), Shape::from((last.n, last.c))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        chain: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let pass = Pass::new(&self.net, &self.sizes, self.mode)?;
        let (dx, grads) = host::with(x, |xs| {
            let kept = match kept {
                Some(kept) => kept,
                // Evaluation keeps no intermediate results, and an earlier backward pass consumed them: they are recomputed.
                None => pass.forward(xs)?.1,
            };
            host::with(grad, |grad| pass.backward(xs, kept, grad, x.track_op()))
        })?;
        self.grads.set(grads);
        let dx = dx.map(|dx| host::tensor(dx, x.shape())).transpose()?;
        Ok((dx, chain_grad(chain)?))
    }
}
