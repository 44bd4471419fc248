//! Recipes of batches: the examples and their changes, without their data.

use std::ops::Range;

/// The recipe of a batch, whose data are in [`Split::raw`](crate::Split::raw).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The inputs of the model.
    pub examples: Examples,
    /// The class of each example.
    pub labels: Vec<u32>,
    /// The index of each example in its split.
    pub indices: Vec<u32>,
}

/// The examples of a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Examples {
    /// The views of [`Raw::Pictures`].
    Pictures(Vec<View>),
    /// The range of each sequence in [`Raw::Tokens`] or, beyond memory, among the tokens of its split. Sequences are padded with 0 to the longest of the batch.
    Tokens(Vec<Range<u32>>),
}

/// The changes to a picture: shift, then flip, then blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The index of the picture.
    pub picture: u32,
    /// The numbers of rows and columns by which it is shifted up and to the left. Uncovered pixels are black (byte 0).
    pub shift: (isize, isize),
    /// Whether it is mirrored horizontally.
    pub flip: bool,
    /// The rows and columns of the rectangle that is set to 0.0.
    pub blank: (Range<usize>, Range<usize>),
}

/// The examples in memory. Splits may share memory, so they may include examples of other splits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Raw<'a> {
    /// Pictures.
    Pictures {
        /// Bytes `(picture, channel, row, column)`.
        pixels: &'a [u8],
        /// Channels, height and width of a picture.
        shape: [usize; 3],
        /// The normalised value of each byte, per channel.
        tables: &'a [[f32; 256]],
    },
    /// Concatenated sequences.
    Tokens {
        /// The token ids.
        ids: &'a [u32],
    },
}
