//! The operators on NVIDIA GPUs: device code of this crate, and matrix products by cuBLAS.
//!
//! All kernels of a device run on one stream, so freed memory is not reused before the kernels that use it have finished. No sum uses floating-point atomics: the same input gives the same bits.

#![allow(unsafe_code, reason = "kernels are launched with addresses")]

mod activation;
mod conv;
mod device;
mod dropout;
mod embedding;
mod encoder;
mod error;
mod examples;
mod gpu;
mod linear;
mod loss;
mod lstm;
mod net;
mod norm;
mod operator;
mod product;
mod rows;
mod sums;
mod times;
mod update;

pub(crate) use activation::activation;
pub(crate) use device::{memory, name, open};
pub(crate) use dropout::dropout;
pub(crate) use embedding::{at_positions, embedding, known_indices, weighted_sum};
pub(crate) use encoder::{Layer as EncoderLayer, encoder};
use error::wrap;
pub(crate) use examples::{Ids, Pixels};
use gpu::{BLOCK, Gpu, Held, Word, address, blocks, hold, hold_i64, hold_u32, words};
pub(crate) use linear::linear;
pub(crate) use loss::cross_entropy;
pub(crate) use lstm::{Layer as LstmLayer, lstm};
pub(crate) use norm::batch_norm2d;
pub(crate) use operator::{all_leaves, apply, is_f32, store_grad};
pub(crate) use product::matmul;
pub(crate) use rows::{MOST_WIDE, layer_norm};
pub(crate) use times::take as take_times;
pub(crate) use update::{adam, sgd, squared_norm};
pub(crate) use {conv::conv2d, net::conv_net};
