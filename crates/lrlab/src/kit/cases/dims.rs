//! Formats sizes.

/// Formats sizes as `in×out`.
pub(super) fn joined(dims: &[usize]) -> String {
    dims.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}
