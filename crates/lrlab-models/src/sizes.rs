//! Sizes of a network that depend on the data.

/// Sizes of a network on pictures that depend on the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureSizes {
    /// Channels of the pictures.
    pub channels: usize,
    /// Number of classes.
    pub classes: usize,
}

/// Sizes of a network on text that depend on the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextSizes {
    /// Entries of the vocabulary, padding included.
    pub vocabulary: usize,
    /// Longest sequence in tokens; it has no effect on a network without a table of positions.
    pub max_length: usize,
    /// Number of classes.
    pub classes: usize,
}
