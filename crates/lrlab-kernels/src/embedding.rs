//! Embedding look-up.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::host;

/// Rows of `table (v, d)` at u32 `ids (b, l)`: `(b, l, d)`. The table's gradient is dense.
///
/// # Errors
/// An id is not below v, or shapes do not fit.
pub fn embedding(ids: &Tensor, table: &Tensor) -> Result<Tensor> {
    let (b, l) = ids.dims2()?;
    let (v, d) = table.dims2()?;
    if host::is_f32(&[table]) && ids.device().is_cpu() {
        let ids = ids.to_dtype(DType::U32)?.flatten_all()?.to_vec1::<u32>()?;
        if let Some(id) = ids.iter().find(|id| **id as usize >= v) {
            bail!("embedding: id {id} of {v}");
        }
        return table.contiguous()?.apply_op1(Embedding { ids, shape: (b, l, d) });
    }
    table.index_select(&ids.flatten_all()?, 0)?.reshape((b, l, d))
}

struct Embedding {
    ids: Vec<u32>,
    shape: (usize, usize, usize),
}

/// Parts of the table whose gradients are made at once.
const PARTS: usize = 16;

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
        let (v, d) = table.dims2()?;
        let mut out = vec![0.0_f32; v * d];
        let rows = v.div_ceil(PARTS).max(1);
        host::with(grad, |grad| {
            out.par_chunks_mut((rows * d).max(1)).enumerate().for_each(|(part, out)| {
                for (id, row) in self.ids.iter().zip(grad.chunks(d)) {
                    let id = *id as usize;
                    if id / rows == part {
                        for (o, g) in out[(id - part * rows) * d..][..d].iter_mut().zip(row) {
                            *o += g;
                        }
                    }
                }
            });
            Ok(())
        })?;
        Ok(Some(host::tensor(out, table.shape())?))
    }
}
