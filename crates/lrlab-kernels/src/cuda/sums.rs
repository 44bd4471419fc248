//! Sums per column of long matrices, in a fixed order.

use candle_core::Result;
use candle_core::cuda::cudarc::driver::CudaSlice;

use super::{BLOCK, COUNTERS, Gpu, Word, words};

/// How the rows and columns of a matrix are laid over blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tiling {
    /// Columns that a thread takes at once: 4 or 1.
    pub(super) pack: usize,
    /// Packs side by side in a block.
    pub(super) across: usize,
    /// Tiles of columns.
    pub(super) tiles: usize,
    /// Rows of a run.
    pub(super) rows: usize,
    /// Runs of rows.
    pub(super) runs: usize,
}

/// Runs beyond these cost the last block more than they save the others.
const MOST_RUNS: usize = 128;
/// Rows that a thread should have.
const ROWS_EACH: usize = 8;

impl Tiling {
    pub(super) fn new(rows: usize, columns: usize) -> Self {
        let pack = if columns.is_multiple_of(4) { 4 } else { 1 };
        let packs = columns / pack;
        let across = packs.next_power_of_two().min(32);
        let tiles = packs.div_ceil(across);
        let lines = BLOCK as usize / across;
        let runs = rows.div_ceil(lines * ROWS_EACH).clamp(1, MOST_RUNS);
        let rows_each = rows.div_ceil(runs);
        Self { pack, across, tiles, rows: rows_each, runs: rows.div_ceil(rows_each) }
    }
}

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
        let tiling = Tiling::new(rows, columns);
        if tiling.tiles > COUNTERS {
            candle_core::bail!("{columns} columns are more than a sum takes");
        }
        let partial = self.floats(2 * tiling.runs * columns)?;
        let mut all = words.to_vec();
        all.extend(words![
            rows,
            columns,
            tiling.across,
            tiling.rows,
            self.at(&partial),
            self.at(&self.shared.counters)
        ]);
        let grid = (tiling.tiles as u32, tiling.runs as u32, 1);
        // SAFETY: the caller vouches for its words; the partial sums have room for every run.
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
        // SAFETY: the caller's word; the sums have room for the columns.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tilings_cover_every_row_and_column() {
        for rows in [1, 2, 7, 128, 12_800, 131_072] {
            for columns in [1, 3, 4, 10, 16, 17, 64, 100, 128, 512, 2048, 20_001] {
                let t = Tiling::new(rows, columns);
                assert!(t.tiles * t.across * t.pack >= columns, "{rows} {columns} {t:?}");
                assert!((t.tiles - 1) * t.across * t.pack < columns, "{rows} {columns} {t:?}");
                assert!(t.runs * t.rows >= rows && (t.runs - 1) * t.rows < rows, "{rows} {columns} {t:?}");
                assert!((BLOCK as usize).is_multiple_of(t.across) && t.across <= 32);
                assert!(t.runs <= MOST_RUNS && columns.is_multiple_of(t.pack));
            }
        }
    }
}
