//! Errors of the driver and of cuBLAS.

/// The error as candle's.
pub(crate) fn wrap(error: impl std::error::Error + Send + Sync + 'static) -> candle_core::Error {
    candle_core::Error::Cuda(Box::new(error))
}
