//! Checks that two runs give equal bits.

use std::collections::BTreeMap;

use anyhow::Context;
use candle_core::{DType, Device, Tensor};

use super::context::CheckContext;
use super::training::{Sizes, data, train};
use super::verdict::Verdict;

/// Twenty updates of networks large enough for nondeterministic sums to occur.
const SIZES: Sizes = Sizes { epochs: 1, seeds: 1, depth: 20, pictures: 800, reviews: 800, width: 64 };

/// Trains a network twice and compares every weight and buffer.
pub(super) fn twice(network: &str, context: &CheckContext) -> anyhow::Result<Verdict> {
    let run = SIZES.runs(network)?.pop().context("there is no run")?;
    let data = data(&run, &context.folder)?;
    let [once, again] = [(); 2].map(|()| train(&run, &data, &context.device));
    let (once, again) = (once?, again?);
    let (first, second) = (values(&once.last_weights)?, values(&again.last_weights)?);
    let count: usize = first.values().map(Vec::len).sum();
    for (name, values) in &first {
        let other = second.get(name).with_context(|| format!("{name} is missing in the second run"))?;
        let differ = values.iter().zip(other).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        if differ > 0 {
            let of = values.len();
            return Ok(Verdict::failed(format!("{name}: {differ} of {of} values differ in the second run")));
        }
    }
    if once.history != again.history {
        return Ok(Verdict::failed("the metrics of the epoch differ in the second run"));
    }
    let updates = once.timing.updates_executed;
    Ok(Verdict::passed(format!("all bits of {count} values after {updates} updates")))
}

fn values(weights: &BTreeMap<String, Tensor>) -> anyhow::Result<BTreeMap<&str, Vec<f32>>> {
    let mut all = BTreeMap::new();
    for (name, tensor) in weights {
        let tensor = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?;
        all.insert(name.as_str(), tensor.to_vec1()?);
    }
    Ok(all)
}
