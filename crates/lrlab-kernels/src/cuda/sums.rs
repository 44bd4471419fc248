//! Sums per column of long matrices, in a fixed order.

use candle_core::Result;
use candle_core::cuda::cudarc::driver::CudaSlice;

use super::{BLOCK, Gpu, Word, words};
use crate::arguments::int;
use crate::tiles::Tiling;

impl Gpu {
    /// Starts a kernel that sums columns: `words` and then what the sums need.
    ///
    /// # Safety
    /// As for [`Gpu::launch`].
    pub(super) unsafe fn column_sums(
        &self,
        name: &str,
        (rows, columns): (usize, usize),
        words: &[Word],
    ) -> Result<()> {
        int(name, "rows and columns", rows + columns)?;
        let tiling = Tiling::new(rows, columns);
        let (partial, counters) = (self.floats(2 * tiling.runs * columns)?, self.counters(tiling.tiles)?);
        let mut all = words.to_vec();
        all.extend(words![rows, columns, tiling.across, tiling.rows, self.at(&partial), self.at(&counters)]);
        let grid = (tiling.tiles as u32, tiling.runs as u32, 1);
        // SAFETY: the caller guarantees its words; the partial sums have room for every run.
        unsafe { self.launch(&format!("{name}_{}", tiling.pack), grid, BLOCK, 0, &all) }
    }

    /// Sums of the columns of `g (rows, columns)`, and with `v` of g ∘ v.
    ///
    /// # Safety
    /// The matrices lie at their addresses.
    pub(super) unsafe fn columns(
        &self,
        g: u64,
        v: Option<u64>,
        (rows, columns): (usize, usize),
    ) -> Result<[CudaSlice<f32>; 2]> {
        let (sums, products) = (self.floats(columns)?, self.floats(if v.is_some() { columns } else { 1 })?);
        // SAFETY: guaranteed by the caller; the sums have room for the columns.
        unsafe {
            self.column_sums(
                "columns",
                (rows, columns),
                words![g, v.unwrap_or(0), self.at(&sums), self.at(&products)],
            )?;
        }
        Ok([sums, products])
    }
}
