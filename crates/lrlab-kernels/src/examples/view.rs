//! One picture of a batch.

use std::ops::Range;

/// The changes to one picture of a batch: it is moved, then mirrored, then blanked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PictureView {
    /// The picture's index.
    pub picture: u32,
    /// Rows and columns by which it is moved up and to the left. The vacated pixels are byte 0.
    pub shift: (isize, isize),
    /// Whether the picture is mirrored from left to right.
    pub flip: bool,
    /// Rows and columns whose values become 0.0; parts outside the picture are ignored.
    pub blank: (Range<usize>, Range<usize>),
}

impl PictureView {
    /// One channel, pixel by pixel.
    pub(super) fn write(
        &self,
        plane: &[u8],
        (height, width): (usize, usize),
        table: &[f32; 256],
        out: &mut Vec<f32>,
    ) {
        let (down, right) = self.shift;
        for y in 0..height {
            let row = y.checked_add_signed(down).filter(|&row| row < height);
            for x in 0..width {
                let across = if self.flip { width - 1 - x } else { x };
                let column = across.checked_add_signed(right).filter(|&column| column < width);
                let byte = row.zip(column).map_or(0, |(row, column)| plane[row * width + column]);
                let blank = self.blank.0.contains(&y) && self.blank.1.contains(&x);
                out.push(if blank { 0.0 } else { table[usize::from(byte)] });
            }
        }
    }
}
