//! Embedding look-up.

#![allow(unsafe_code, reason = "a gradient is written before it is given a length")]

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::gradient::give;
use crate::host::{self, Unwritten};

/// Rows of `table (v, d)` at u32 `ids (b, l)`: `(b, l, d)`. The table's gradient is dense.
///
/// # Errors
/// An id is not below v, or shapes do not fit.
pub fn embedding(ids: &Tensor, table: &Tensor) -> Result<Tensor> {
    let (b, l) = ids.dims2()?;
    let (_, d) = table.dims2()?;
    if host::is_f32(&[table]) && ids.device().is_cpu() {
        let ids = checked(ids, table)?;
        return table.contiguous()?.apply_op1(Embedding { ids, shape: (b, l, d) });
    }
    table.index_select(&ids.flatten_all()?, 0)?.reshape((b, l, d))
}

struct Embedding {
    ids: Vec<u32>,
    shape: (usize, usize, usize),
}

/// The ids, all of them rows of the table.
pub(crate) fn checked(ids: &Tensor, table: &Tensor) -> Result<Vec<u32>> {
    let rows = table.dim(0)?;
    let ids = ids.to_dtype(DType::U32)?.flatten_all()?.to_vec1::<u32>()?;
    match ids.iter().find(|id| **id as usize >= rows) {
        Some(id) => bail!("embedding: id {id} of {rows}"),
        None => Ok(ids),
    }
}

/// Rows of the table per task.
const ROWS: usize = 512;

/// The gradient of a table `(v, d)` from that of its rows at `ids`, each row's in their order.
pub(crate) fn table_grad(ids: &[u32], grad: &[f32], (v, d): (usize, usize)) -> Vec<f32> {
    // Where each row stands among the ids: a counting sort.
    let mut ends = vec![0_u32; v + 1];
    for id in ids {
        ends[*id as usize + 1] += 1;
    }
    for row in 0..v {
        ends[row + 1] += ends[row];
    }
    let mut next = ends.clone();
    let mut places = vec![0_u32; ids.len()];
    for (place, id) in ids.iter().enumerate() {
        let next = &mut next[*id as usize];
        places[*next as usize] = place as u32;
        *next += 1;
    }
    let mut out = Unwritten::new(v * d);
    out.room().par_chunks_mut(ROWS * d).enumerate().for_each(|(part, out)| {
        for (i, out) in out.chunks_mut(d).enumerate() {
            let row = part * ROWS + i;
            let mut places = places[ends[row] as usize..ends[row + 1] as usize]
                .iter()
                .map(|p| &grad[*p as usize * d..][..d]);
            let Some(first) = places.next() else {
                out.fill(MaybeUninit::new(0.0));
                continue;
            };
            let out = out.write_copy_of_slice(first);
            for more in places {
                out.iter_mut().zip(more).for_each(|(o, g)| *o += g);
            }
        }
    });
    // SAFETY: every row was written.
    unsafe { out.written() }
}

impl CustomOp1 for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let table = host::slice(table, layout)?;
        let d = self.shape.2;
        let mut out = Vec::with_capacity(self.ids.len() * d);
        for id in &self.ids {
            out.extend_from_slice(&table[*id as usize * d..][..d]);
        }
        Ok((CpuStorage::F32(out), Shape::from(self.shape)))
    }

    fn bwd(&self, table: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let out = host::with(grad, |grad| Ok(table_grad(&self.ids, grad, table.dims2()?)))?;
        Ok(give(table, host::tensor(out, table.shape())?))
    }
}
