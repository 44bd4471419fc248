//! Labels in files.

use std::path::Path;

use crate::Error;

/// Converts a label to its class.
///
/// # Errors
/// Returns [`Error::Label`] if the label is outside 0 … `classes` − 1.
pub(crate) fn label(file: &Path, row: usize, label: i128, classes: usize) -> Result<u32, Error> {
    if (0..classes as i128).contains(&label) {
        Ok(label as u32)
    } else {
        Err(Error::Label { path: file.to_path_buf(), row, label, classes })
    }
}
