//! Sizes of a network that the data decide.

/// What the data decide of a network that reads pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureSizes {
    /// Channels of the pictures.
    pub channels: usize,
    /// Classes to tell apart.
    pub classes: usize,
}

/// What the data decide of a network that reads text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextSizes {
    /// Entries of the vocabulary, padding included.
    pub vocabulary: usize,
    /// Longest sequence in tokens; without effect on a network that has no table of positions.
    pub max_length: usize,
    /// Classes to tell apart.
    pub classes: usize,
}
