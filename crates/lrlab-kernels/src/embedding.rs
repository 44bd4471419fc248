//! Embedding look-up.

use candle_core::{Result, Tensor};

/// Rows of `table (v, d)` at u32 `ids (b, l)`: `(b, l, d)`. The table's gradient is dense.
///
/// # Errors
/// An id is not below v, or shapes do not fit.
pub fn embedding(ids: &Tensor, table: &Tensor) -> Result<Tensor> {
    let (b, l) = ids.dims2()?;
    let (_, d) = table.dims2()?;
    table.index_select(&ids.flatten_all()?, 0)?.reshape((b, l, d))
}
