//! Activations.

use candle_core::{Result, Tensor};

/// max(x, 0), of any shape.
///
/// # Errors
/// The type is no float.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    x.relu()
}

/// x Φ(x) with the exact Gaussian distribution function, of any shape (Hendrycks and Gimpel, 2016).
///
/// # Errors
/// The type is no float.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x.gelu_erf()
}
