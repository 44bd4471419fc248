//! The largest batch determines the memory, not the number of shapes.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use candle_core::{DType, Device, Result, Tensor, Var};
use lrlab_kernels::alloc::Allocator;
use lrlab_kernels::{
    EncoderActivation, EncoderLayer, EncoderNorm, LstmLayer, Precision, Sequence, attention, backward,
};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator::keeping_pages();

const BATCH: usize = 32;
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
    let layer = LstmLayer {
        w_ih: &w,
        w_hh: &w,
        b_ih: &bias,
        b_hh: &bias,
        mask: Some(mask),
        reverse: false,
        precision,
    };
    layer.last(Sequence::Vectors(x))
}

fn attended(x: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let (b, l, w) = x.dims3()?;
    let heads = x.reshape((b, l, 4, w / 4))?.transpose(1, 2)?;
    attention(&heads, &heads, &heads, mask, None, Precision::F32)
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

type Operator = fn(&Tensor, &Tensor) -> Result<Tensor>;

/// The operators by their names in [`ASKED`].
const OPERATORS: [(&str, Operator); 3] = [("encoder", encoder), ("lstm", recurrent), ("attention", attended)];

/// The variable with the task of a process: an operator, whether with gradients, and which lengths.
const ASKED: &str = "LRLAB_TEST_MEMORY";

/// Prints the peak over the memory that was resident before.
#[test]
fn peak_of_one_operator() -> Result<()> {
    let Ok(asked) = std::env::var(ASKED) else { return Ok(()) };
    let [name, way, order] = asked.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let (_, operator) = OPERATORS.into_iter().find(|(known, _)| *known == name).unwrap();
    let lengths: Vec<usize> = match order {
        "longest" => vec![LONGEST; 2],
        // The order of texts in evaluation.
        "ascending" => (1..=LONGEST).step_by(3).collect(),
        _ => (0..LONGEST).step_by(3).map(|i| i * 157 % LONGEST + 1).collect(),
    };
    let before = status("VmRSS:");
    for length in lengths {
        batch(operator, length, way == "train")?;
    }
    println!("peak {}", status("VmHWM:") - before);
    Ok(())
}

fn peak(asked: &str) -> usize {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "peak_of_one_operator", "--nocapture"]).env(ASKED, asked);
    let output = command.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{asked}: {printed}");
    let peak = printed.lines().find_map(|line| line.split_once("peak ")).unwrap().1;
    peak.trim().parse().unwrap()
}

#[test]
fn the_longest_batch_bounds_the_peak() {
    for (name, _) in OPERATORS {
        for way in ["evaluate", "train"] {
            let [longest, ascending, shuffled] =
                ["longest", "ascending", "shuffled"].map(|order| peak(&format!("{name} {way} {order}")));
            let printed = format!("{name}, {way}: {longest}, {ascending} and {shuffled} MiB");
            eprintln!("{printed}");
            // The allocator keeps pages for each thread and class of size.
            assert!(ascending.max(shuffled) <= 2 * longest + 192, "{printed}");
        }
    }
}
