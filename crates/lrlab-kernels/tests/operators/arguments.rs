//! Every implementation of an operator rejects invalid arguments with the same message.

mod indices;
mod numbers;
mod shapes;
mod types;

use candle_core::{DType, Device, Result, Tensor, Var};
use lrlab_kernels::{Dropout, EncoderActivation, EncoderLayer, EncoderNorm, Precision};
use lrlab_random::{Purpose, Stream};

const FLOATS: [DType; 4] = [DType::F32, DType::F64, DType::BF16, DType::F16];
const CPU: Device = Device::Cpu;

fn ones(dims: &[usize], dtype: DType) -> Tensor {
    Tensor::ones(dims, DType::F32, &CPU).unwrap().to_dtype(dtype).unwrap()
}

fn var(dims: &[usize], dtype: DType) -> Var {
    Var::from_tensor(&ones(dims, dtype)).unwrap()
}

fn drop_at(p: f64) -> Dropout {
    Dropout { p, stream: Stream::new(0, Purpose::Dropout, "arguments") }
}

#[track_caller]
fn assert_error<T>(result: Result<T>, expected: &str) {
    match result {
        Ok(_) => panic!("accepted, expected {expected:?}"),
        Err(error) => {
            let printed = error.to_string();
            assert!(printed.starts_with(expected), "printed {printed:?}, expected {expected:?}");
        }
    }
}

#[track_caller]
fn accepted<T>(result: Result<T>) {
    if let Err(error) = result {
        panic!("rejected: {error}");
    }
}

/// An encoder's layer of width 4 over two sequences of three, changed by `change`.
fn encoder(dtype: DType, change: impl FnOnce(&mut EncoderLayer)) -> Result<Tensor> {
    encoder_on(&ones(&[2, 3, 4], dtype), &ones(&[2, 3], DType::F32), dtype, change)
}

fn encoder_on(
    x: &Tensor,
    mask: &Tensor,
    dtype: DType,
    change: impl FnOnce(&mut EncoderLayer),
) -> Result<Tensor> {
    let (wide, wide_bias) = (ones(&[12, 4], dtype), ones(&[12], dtype));
    let (square, row) = (ones(&[4, 4], dtype), ones(&[4], dtype));
    let mut layer = EncoderLayer {
        heads: 2,
        norm: EncoderNorm::Before,
        activation: EncoderActivation::Gelu,
        in_proj: (&wide, &wide_bias),
        out_proj: (&square, &row),
        linear1: (&square, &row),
        linear2: (&square, &row),
        norm1: (&row, &row),
        norm2: (&row, &row),
        eps: 1e-5,
        dropouts: [None; 3],
        precision: Precision::F32,
    };
    change(&mut layer);
    layer.forward(x, mask)
}
