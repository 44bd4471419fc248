//! Memory follows the largest batch, not the number of shapes that came by.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use candle_core::{DType, Device, Result, Tensor, Var};
use lrlab_kernels::alloc::Allocator;
use lrlab_kernels::{
    EncoderActivation, EncoderLayer, EncoderNorm, LstmLayer, Precision, Sequence, attention, backward,
};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator::keeping_pages();

const BATCH: usize = 8;
const WIDTH: usize = 32;
const LONGEST: usize = 400;

/// From `/proc/self/status`, in MiB.
fn status(key: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.split_whitespace().next().unwrap().parse::<usize>().unwrap() >> 10
}

fn var(dims: &[usize]) -> Var {
    let count: usize = dims.iter().product();
    let values: Vec<f32> = (0..count).map(|i| (i * 7 % 13) as f32 * 0.01).collect();
    Var::from_tensor(&Tensor::from_vec(values, dims, &Device::Cpu).unwrap()).unwrap()
}

fn encoder(x: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let (wide, wide_bias) = (var(&[3 * WIDTH, WIDTH]), var(&[3 * WIDTH]));
    let (square, row) = (var(&[WIDTH, WIDTH]), var(&[WIDTH]));
    let layer = EncoderLayer {
        heads: 2,
        norm: EncoderNorm::After,
        activation: EncoderActivation::Relu,
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
    layer.forward(x, mask)
}

fn recurrent(x: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let (w, bias) = (var(&[4 * WIDTH, WIDTH]), var(&[4 * WIDTH]));
    let precision = Precision::F32;
    let layer = LstmLayer { w_ih: &w, w_hh: &w, b_ih: &bias, b_hh: &bias, mask, reverse: false, precision };
    layer.last(Sequence::Vectors(x))
}

fn attended(x: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let (b, l, w) = x.dims3()?;
    let heads = x.reshape((b, l, 4, w / 4))?.transpose(1, 2)?;
    attention(&heads, &heads, &heads, mask, None)
}

/// A batch of texts of this length through the operator, with the gradients or as in evaluation.
fn batch(operator: fn(&Tensor, &Tensor) -> Result<Tensor>, length: usize, train: bool) -> Result<()> {
    let (x, mask) = (var(&[BATCH, length, WIDTH]), Tensor::ones((BATCH, length), DType::F32, &Device::Cpu)?);
    let y = operator(&x, &mask)?;
    if train {
        backward(&y.sqr()?.sum_all()?)?;
    }
    Ok(())
}

#[test]
fn of_texts_of_any_length() -> Result<()> {
    // One after the other in one test: the process's memory is what is looked at.
    for (name, operator) in
        [("encoder", encoder as fn(&Tensor, &Tensor) -> Result<Tensor>), ("lstm", recurrent), ("attention", attended)]
    {
        for train in [false, true] {
            let before = status("VmRSS:");
            for _ in 0..2 {
                batch(operator, LONGEST, train)?;
            }
            let one = status("VmHWM:").saturating_sub(before);
            let ascending = 1..=LONGEST;
            let shuffled = (0..LONGEST).map(|i| i * 157 % LONGEST + 1);
            for length in ascending.chain(shuffled) {
                batch(operator, length, train)?;
            }
            let all = status("VmHWM:").saturating_sub(before);
            let what = if train { "training" } else { "evaluation" };
            eprintln!("{name}, {what}: {one} MiB for the longest, {all} MiB for every length");
            assert!(all <= 2 * one + 24, "{name}, {what}: {one} MiB for the longest, {all} MiB for every length");
        }
    }
    Ok(())
}
