//! The partition of work into a GPU's blocks, as pure functions of sizes.

use candle_core::{Result, bail};

use crate::conv::geometry::{Geometry, Sizes};
use crate::{Precision, environment};

/// The default number of threads of a block.
pub(crate) const BLOCK: usize = 256;

/// The partition of a matrix's rows and columns into blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tiling {
    /// Columns that a thread takes at once: 4 or 1.
    pub(crate) pack: usize,
    /// Packs side by side in a block.
    pub(crate) across: usize,
    /// Tiles of columns.
    pub(crate) tiles: usize,
    /// Rows of a run.
    pub(crate) rows: usize,
    /// Runs of rows.
    pub(crate) runs: usize,
}

/// The largest number of runs; more would cost the last block more than they save the others.
const MOST_RUNS: usize = 128;
/// Rows that a thread should have.
const ROWS_EACH: usize = 8;

impl Tiling {
    pub(crate) fn new(rows: usize, columns: usize) -> Self {
        let pack = if columns.is_multiple_of(4) { 4 } else { 1 };
        let packs = columns / pack;
        let across = packs.next_power_of_two().min(32);
        let tiles = packs.div_ceil(across);
        let lines = BLOCK / across;
        let runs = rows.div_ceil(lines * ROWS_EACH).clamp(1, MOST_RUNS);
        let rows_each = rows.div_ceil(runs);
        Self { pack, across, tiles, rows: rows_each, runs: rows.div_ceil(rows_each) }
    }
}

/// The three products of a convolution: output, input gradient, weight gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    Forward,
    Input,
    Weight,
}

impl Way {
    fn word(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Input => "input",
            Self::Weight => "weight",
        }
    }

    /// The name in tables of times.
    #[cfg(feature = "cuda")]
    pub(crate) fn name(self, g: &Geometry) -> String {
        let Geometry { c, o, h, w, kh, kw, stride, .. } = *g;
        format!("{} of {c}×{h}×{w} by {o} of {kh}×{kw} stride {stride}", self.word())
    }
}

/// One product of a convolution and its partition into blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Product {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) depth: usize,
    /// Of a block.
    pub(crate) tile: (usize, usize),
    /// Values that are fetched at once.
    pub(crate) pack: usize,
    /// Blocks that share a tile's depth, each `part` of it.
    pub(crate) parts: usize,
    pub(crate) part: usize,
}

/// Values of a row or column that a block holds at once.
const DEEP: usize = 16;
/// Blocks that keep a large GPU busy.
const BLOCKS: usize = 264;
/// Steps of [`DEEP`] that a block takes at least.
const STEPS: usize = 4;
/// Values of all partial sums, at most.
const MOST_PARTS: usize = 1 << 24;

impl Product {
    pub(crate) fn new(way: Way, g: &Geometry) -> Self {
        let taps = g.kh * g.kw;
        let (outputs, inputs) = (g.n * g.oh * g.ow, g.n * g.h * g.w);
        let (rows, columns, depth) = match way {
            Way::Forward => (outputs, g.o, taps * g.c),
            Way::Input => (inputs, g.c, taps * g.o),
            Way::Weight => (taps * g.c, g.o, outputs),
        };
        let long = if way == Way::Weight { 64 } else { 128 };
        let tile = match columns {
            ..=16 => (long, 16),
            17..=32 => (long, 32),
            _ => (64, 64),
        };
        let whole = g.c.is_multiple_of(4) && (way == Way::Forward || g.o.is_multiple_of(4));
        let pack = if whole { 4 } else { 1 };
        let tiles = rows.div_ceil(tile.0) * columns.div_ceil(tile.1);
        let most = (depth / (DEEP * STEPS)).min(MOST_PARTS / (rows * columns)).max(1);
        let parts = BLOCKS.div_ceil(tiles).min(most);
        let part = depth.div_ceil(parts).next_multiple_of(DEEP);
        Self { rows, columns, depth, tile, pack, parts: depth.div_ceil(part), part }
    }

    pub(crate) fn kernel(&self, way: Way, precision: Precision) -> String {
        let kind = match precision {
            Precision::Bf16 => "bf16",
            Precision::F32 if environment::tf32() => "tf32",
            Precision::F32 => "f32",
        };
        format!("conv_{}_{}x{}_{}_{kind}", way.word(), self.tile.0, self.tile.1, self.pack)
    }
}

/// Sizes that the device code counts in 32 bits, at most.
const MOST: usize = i32::MAX as usize / 2;

/// Rejects values of a network beyond [`MOST`].
pub(crate) fn values_fit(sizes: &[Sizes]) -> Result<()> {
    match sizes.iter().find(|of| of.n * of.pixels() > MOST || of.c > MOST) {
        Some(Sizes { n, c, h, w }) => {
            bail!(
                "conv_net: values [{n}, {c}, {h}, {w}], more than a GPU's kernels count ({MOST} pixels or channels)"
            )
        }
        None => Ok(()),
    }
}

/// Columns of a product, at most: a grid has 65,535 tiles of them.
const MOST_COLUMNS: usize = 65_535 * 64;

/// Rejects sizes beyond [`MOST`], and channels beyond [`MOST_COLUMNS`].
pub(crate) fn fits(g: &Geometry) -> Result<()> {
    if let Some(channels) = [g.c, g.o].into_iter().find(|channels| *channels > MOST_COLUMNS) {
        bail!("conv2d: {channels} channels, a GPU takes at most {MOST_COLUMNS}");
    }
    let sizes = [g.n * g.h * g.w, g.n * g.oh * g.ow, g.kh * g.kw * g.c * g.o];
    match sizes.iter().find(|size| **size > MOST) {
        Some(size) => bail!(
            "conv2d: input {} and weight [{}, {}, {}, {}] make {size} numbers at once, more than a GPU's kernels count \
             ({MOST})",
            g.input(),
            g.o,
            g.c,
            g.kh,
            g.kw
        ),
        None => Ok(()),
    }
}

/// A kernel for layers of up to `units` units, which holds `registers` columns of weights in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resident {
    pub(crate) units: usize,
    pub(crate) registers: usize,
}

impl Resident {
    /// The smallest kernel for `h` units. The device code declares the same kernels.
    pub(crate) fn of(h: usize) -> Option<Self> {
        let kernels = [(32, 32), (64, 64), (96, 80), (128, 80)];
        let (units, registers) = kernels.into_iter().find(|(units, _)| h <= *units)?;
        Some(Self { units, registers })
    }

    /// Bytes of weights in shared memory.
    pub(crate) fn shared(self) -> usize {
        4 * self.units * (self.units - self.registers) * size_of::<f32>()
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
                assert!((BLOCK).is_multiple_of(t.across) && t.across <= 32);
                assert!(t.runs <= MOST_RUNS && columns.is_multiple_of(t.pack));
            }
        }
    }

    #[test]
    fn products_cover_every_row_column_and_depth() -> Result<()> {
        for (n, c, side, o, kernel, stride) in [
            (128, 16, 32, 16, 3, 1),
            (128, 3, 32, 64, 7, 2),
            (128, 512, 1, 512, 3, 1),
            (2, 17, 9, 10, 3, 2),
            (1, 1, 1, 1, 1, 1),
            (256, 64, 8, 256, 1, 1),
        ] {
            let g = Geometry::new((n, c, side, side), (o, c, kernel, kernel), stride, kernel / 2)?;
            for way in [Way::Forward, Way::Input, Way::Weight] {
                let p = Product::new(way, &g);
                assert!(p.part.is_multiple_of(DEEP) && p.parts >= 1, "{p:?}");
                assert!(p.parts * p.part >= p.depth && (p.parts - 1) * p.part < p.depth, "{p:?}");
                let pixels = if way == Way::Input { side * side } else { g.oh * g.ow };
                assert_eq!(p.rows * p.columns * p.depth, n * pixels * o * c * kernel * kernel, "{p:?}");
                let packed = if way == Way::Forward { vec![c] } else { vec![c, o] };
                assert_eq!(p.pack == 4, packed.iter().all(|size| size % 4 == 0), "{p:?}");
                assert!(p.parts == 1 || p.parts * p.rows * p.columns <= MOST_PARTS);
            }
        }
        Ok(())
    }

    /// Each chosen tile has a kernel.
    #[test]
    fn the_device_code_declares_every_kernel() -> Result<()> {
        let source = include_str!("cuda/kernels/conv.cu");
        for (c, o) in [(3, 16), (16, 16), (16, 32), (17, 64), (64, 512)] {
            let g = Geometry::new((8, c, 16, 16), (o, c, 3, 3), 1, 1)?;
            for (way, tiles) in
                [(Way::Forward, "WAY, NAME"), (Way::Input, "WAY, NAME"), (Way::Weight, "WEIGHT, weight")]
            {
                let p = Product::new(way, &g);
                let declared = format!("CONV({tiles}, {}, {},", p.tile.0, p.tile.1);
                assert!(source.contains(&declared), "{declared} for {}", p.kernel(way, Precision::F32));
            }
        }
        Ok(())
    }

    #[test]
    fn too_large_convolutions_are_rejected() -> Result<()> {
        let g = Geometry::new((1 << 20, 1, 64, 64), (1, 1, 1, 1), 1, 0)?;
        let error = fits(&g).unwrap_err().to_string();
        let words = "conv2d: input [1048576, 1, 64, 64] and weight [1, 1, 1, 1] make 4294967296 numbers at once, more than \
                     a GPU's kernels count (1073741823)";
        assert!(error.starts_with(words), "{error}");
        let g = Geometry::new((1, 1, 1, 1), (5_000_000, 1, 1, 1), 1, 0)?;
        let error = fits(&g).unwrap_err().to_string();
        assert!(error.starts_with("conv2d: 5000000 channels, a GPU takes at most 4194240"), "{error}");
        let small = Sizes { n: 2, c: 3, h: 32, w: 32 };
        values_fit(&[small])?;
        let error = values_fit(&[small, Sizes { n: 1 << 20, ..small }]).unwrap_err().to_string();
        let words = "conv_net: values [1048576, 3, 32, 32], more than a GPU's kernels count (1073741823";
        assert!(error.starts_with(words), "{error}");
        Ok(())
    }

    #[test]
    fn weights_fit_into_an_sm() {
        // 227 KiB of shared memory and 65,536 registers a block (compute capability 9.0).
        for h in 1..=128 {
            let kernel = Resident::of(h).unwrap();
            assert!(kernel.units >= h && kernel.shared() <= 200 * 1024, "{kernel:?}");
            assert!(4 * kernel.units * (kernel.registers + 32) <= 65_536, "{kernel:?}");
            assert!(kernel.registers.is_multiple_of(4) && kernel.registers <= kernel.units);
        }
        assert_eq!(Resident::of(129), None);
    }
}
