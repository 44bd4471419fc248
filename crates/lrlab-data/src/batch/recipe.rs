//! What a batch is made of: which examples, and what is done to each. Nothing of it is as large as the batch.

use std::ops::Range;

/// A batch that is yet to be made from what [`Split::raw`](crate::Split::raw) gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// What goes into the model.
    pub examples: Examples,
    /// Each example's class.
    pub labels: Vec<u32>,
    /// Each example's place in its split.
    pub indices: Vec<u32>,
}

/// The examples of a batch that is yet to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Examples {
    /// How to look at which of [`Raw::Pictures`].
    Pictures(Vec<View>),
    /// Where each sequence lies in [`Raw::Tokens`]; it is padded with 0 to the longest of the batch.
    Tokens(Vec<Range<u32>>),
}

/// How one picture is looked at: moved, then mirrored, then blanked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The picture's place among the pixels.
    pub picture: u32,
    /// Rows and columns by which it is moved up and to the left. What comes in at the other side is black, byte 0.
    pub shift: (isize, isize),
    /// Whether left and right are exchanged.
    pub flip: bool,
    /// Rows and columns whose values become 0.0.
    pub blank: (Range<usize>, Range<usize>),
}

/// Examples as they lie in memory, those of other splits perhaps among them: splits may share a memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Raw<'a> {
    /// Pictures.
    Pictures {
        /// Bytes `(picture, channel, row, column)`.
        pixels: &'a [u8],
        /// Channels, height and width of a picture.
        shape: [usize; 3],
        /// What each byte of each channel becomes.
        tables: &'a [[f32; 256]],
    },
    /// Sequences, one after the other.
    Tokens {
        /// Their ids.
        ids: &'a [u32],
    },
}
