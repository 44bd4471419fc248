//! Formats sizes.

/// `in×out` and the like.
pub(super) fn joined(dims: &[usize]) -> String {
    dims.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}
