//! Fast training operators for candle, the parameter store and the allocator.
//!
//! Every operator maps candle tensors to a candle tensor whose gradient flows through [`backward`]. In f32 on the CPU
//! and on NVIDIA GPUs (feature `cuda`, devices from [`open_cuda`]), most operators run on kernels of this crate.
//! Elsewhere (Metal, other types, or with `LRLAB_KERNELS=candle` in the environment) they are compositions of candle's
//! operators. Callers need not know which, with one exception: on NVIDIA GPUs only [`backward`] computes the gradients
//! of operators with parameters, and [`candle_core::Tensor::backward`] returns an error that says so.
//!
//! Every operator checks its arguments before it chooses an implementation, so all implementations return the same
//! errors. An operator does not read the values of indices and masks on a GPU, because that would wait for the device;
//! the documentation of such operators says so.
//!
//! Matrix products may take their operands in bf16 (see [`Precision`]); parameters and sums are f32.
//!
//! Results are bitwise identical for any number of threads: only the problem's size decides how work is split, and
//! every sum has a fixed order. In f32 on the CPU, the bits depend on the version of the arithmetic ([`cpu_numerics`])
//! alone, not on the processor, its SIMD level or its caches. Other types on the CPU use candle's operators, whose bits
//! depend on the machine. On a GPU the bits depend on its model ([`device_name`]), by which cuBLAS chooses its kernels.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "references may call the system's functions"))]
#![allow(
    clippy::inline_always,
    reason = "a kernel not inlined into its dispatcher loses the processor's features"
)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod activation;
pub mod alloc;
#[cfg(any(feature = "cuda", test))]
mod arguments;
mod attention;
mod buffer;
mod check;
mod conv;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
mod dropout;
mod embedding;
mod encoder;
mod environment;
mod examples;
mod gradient;
mod host;
mod linear;
mod loss;
mod lstm;
mod microkernel;
mod net;
mod norm;
mod parameter_chain;
mod params;
mod pool;
mod pool2d;
mod precision;
mod product;
mod rows;
mod simd;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod threads;
#[cfg(any(feature = "cuda", test))]
mod tiles;
mod update;
mod weighted_sum;

pub use activation::{gelu, relu};
pub use attention::attention;
pub use conv::conv2d;
pub use device::{DeviceMemory, DeviceTime, device_memory, device_name, open_cuda, take_device_times};
pub use dropout::{Dropout, dropout};
pub use embedding::{embedding, embedding_at_positions};
pub use encoder::{EncoderActivation, EncoderLayer, EncoderNorm};
pub use environment::{check_environment, cpu_numerics, cuda_numerics, tf32};
pub use examples::{DevicePictures, DeviceTokens, PictureView, holds_examples};
pub use gradient::backward;
pub use linear::linear;
pub use loss::{cross_entropy, cross_entropy_each};
pub use lrlab_config::Precision;
pub use lstm::{LstmLayer, Sequence};
pub use net::{ConvNet, ConvNorm, Value};
pub use norm::{BatchNorm2d, NormMode, layer_norm};
pub use params::{Param, Params, Role};
pub use pool::compute_on_this_thread;
pub use pool2d::{global_avg_pool2d, max_pool2d};
pub use precision::check_precision;
pub use simd::simd_level;
pub use update::{
    AdamStep, SgdStep, Update, adam_update, adam_updates, sgd_update, sgd_updates, squared_norm,
    squared_norms,
};
pub use weighted_sum::weighted_sum;
