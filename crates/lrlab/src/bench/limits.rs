//! Upper limits of this machine: large products and copies.

use candle_core::{Device, Tensor};

use super::models::normal;
use super::workload::{Kind, Prepare, Step, Workload};

/// Side of the square matrices.
const SIDE: usize = 2048;
/// The number of copied values: 256 MiB.
const VALUES: usize = 64 << 20;

pub(super) fn limits() -> Vec<Workload> {
    let limit = |name: &str, flops: f64, bytes: f64, prepare: Prepare| Workload {
        flops,
        bytes,
        ..Workload::new(Kind::Limit, name, 1, prepare)
    };
    let products = (SIDE * SIDE * SIDE) as f64;
    vec![
        limit("limit-matmul", 2.0 * products, 0.0, Box::new(matmul)),
        // Each value is read once and written once, to pages that are already allocated.
        limit("limit-copy", 0.0, (8 * VALUES) as f64, Box::new(copy)),
    ]
}

fn matmul(device: &Device) -> anyhow::Result<Step> {
    let (a, b) = (normal(&[SIDE, SIDE], "a", device)?, normal(&[SIDE, SIDE], "b", device)?);
    Ok(Box::new(move || a.matmul(&b)))
}

fn copy(device: &Device) -> anyhow::Result<Step> {
    let x = Tensor::full(1.0_f32, VALUES, device)?;
    Ok(Box::new(move || x.copy()))
}
