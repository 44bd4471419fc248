//! Masked values have no effect, even NaN and infinity; types without kernels have correct gradients.

use candle_core::{DType, Device, Result, Tensor, Var};
use lrlab_kernels::{
    BatchNorm2d, ConvNet, ConvNorm, LstmLayer, NormMode, Precision, Sequence, attention, backward, conv2d,
    cross_entropy, embedding, gelu, global_avg_pool2d, layer_norm, linear, max_pool2d, relu, weighted_sum,
};

use crate::harness::{Draw, close, lstm, values};

const CPU: Device = Device::Cpu;
const FLOATS: [DType; 3] = [DType::F32, DType::F64, DType::BF16];

fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::BF16 { 0.05 } else { 1e-5 }
}

/// Output and gradients of a weighting of it.
fn run(operands: &[Tensor], op: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<Vec<Vec<f64>>> {
    let vars = operands.iter().map(Var::from_tensor).collect::<Result<Vec<_>>>()?;
    let y = op(&vars.iter().map(|var| var.as_tensor().clone()).collect::<Vec<_>>())?;
    let count = y.elem_count();
    let weights: Vec<f32> = (0..count).map(|i| (i * 7 % 11) as f32 / 11.0 - 0.4).collect();
    let weights = Tensor::from_vec(weights, y.shape(), &CPU)?.to_dtype(y.dtype())?;
    let grads = backward(&(&y * weights)?.sum_all()?)?;
    let mut all = vec![values(&y)];
    all.extend(vars.iter().map(|var| values(grads.get(var).unwrap())));
    Ok(all)
}

fn drawn(draw: &mut Draw, dims: &[usize], dtype: DType) -> Tensor {
    let values = draw.values(dims.iter().product());
    Tensor::from_vec(values, dims, &CPU).unwrap().to_dtype(dtype).unwrap()
}

/// `x (b, l, …)` with `value` where the mask is 0.
fn spoiled(x: &Tensor, mask: &[[u8; 5]], value: f32) -> Tensor {
    let mut all = x.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let size = all.len() / (mask.len() * 5);
    for (row, counts) in all.chunks_mut(size).zip(mask.as_flattened()) {
        if *counts == 0 {
            row.fill(value);
        }
    }
    Tensor::from_vec(all, x.dims(), &CPU).unwrap().to_dtype(x.dtype()).unwrap()
}

const MASKS: [[u8; 5]; 4] = [[1, 1, 1, 0, 0], [0, 1, 0, 1, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]];
const SPOILS: [f32; 4] = [f32::NAN, f32::INFINITY, -1e30, 1e4];

#[test]
fn masked_keys_have_no_effect() -> Result<()> {
    for dtype in FLOATS {
        let mut draw = Draw::new("masked keys");
        let mask = Tensor::new(&MASKS, &CPU)?;
        let attend = |x: &[Tensor]| {
            let heads = |x: &Tensor| x.transpose(1, 2);
            attention(&heads(&x[0])?, &heads(&x[1])?, &heads(&x[2])?, &mask, None, Precision::F32)
        };
        // (batch, length, heads, d): a key's values side by side.
        let [q, k, v] = [(); 3].map(|()| drawn(&mut draw, &[4, 5, 2, 3], dtype));
        let plain = run(&[q.clone(), k.clone(), v.clone()], attend)?;
        for spoil in SPOILS {
            let spoiled = run(&[q.clone(), spoiled(&k, &MASKS, spoil), spoiled(&v, &MASKS, spoil)], attend)?;
            assert_eq!(spoiled, plain, "{dtype:?}, {spoil}");
        }
        // The third sequence has no key: its output and its gradients are zeros.
        let third = |all: &[f64]| all.len() / 2..all.len() * 3 / 4;
        for (what, all) in ["y", "q", "k", "v"].iter().zip(&plain) {
            assert!(all[third(all)].iter().all(|v| *v == 0.0), "{dtype:?}: {what}");
            assert!(all[..all.len() / 4].iter().any(|v| *v != 0.0));
        }
        // With scores far below −10⁴, a finite penalty would put masked keys above the others.
        let far = run(&[(&q * 3e3)?, (&k * 3e3)?, v.clone()], attend)?;
        let kept = MASKS.map(|row| row.iter().map(|counts| usize::from(*counts == 1)).sum::<usize>());
        for sequence in [0, 1, 3] {
            let rows: Vec<u32> = (0..5_u32).filter(|t| MASKS[sequence][*t as usize] == 1).collect();
            let rows = Tensor::new(rows, &CPU)?;
            let part =
                |x: &Tensor| x.narrow(0, sequence, 1)?.index_select(&rows, 1)?.transpose(1, 2)?.contiguous();
            let ones = Tensor::ones((1, kept[sequence]), DType::F32, &CPU)?;
            let alone = attention(
                &part(&(&q * 3e3)?)?,
                &part(&(&k * 3e3)?)?,
                &part(&v)?,
                &ones,
                None,
                Precision::F32,
            )?;
            let whole = Tensor::from_vec(far[0].clone(), (4, 2, 5, 3), &CPU)?;
            let whole = whole.narrow(0, sequence, 1)?.index_select(&rows, 2)?.contiguous()?;
            close(&format!("{dtype:?}, {sequence}"), &values(&whole), &values(&alone), tolerance(dtype));
        }
    }
    Ok(())
}

#[test]
fn padding_is_not_read() -> Result<()> {
    for dtype in FLOATS {
        let mut draw = Draw::new("padding");
        let mask = Tensor::new(&MASKS, &CPU)?;
        let x = drawn(&mut draw, &[4, 5, 3], dtype);
        let parameters =
            [[16, 3].as_slice(), &[16, 4], &[16], &[16]].map(|dims| drawn(&mut draw, dims, dtype));
        for reverse in [false, true] {
            let states = |x: &[Tensor]| lstm(&x[0], [&x[1], &x[2], &x[3], &x[4]], &mask, reverse);
            let operands =
                |x: Tensor| std::iter::once(x).chain(parameters.iter().cloned()).collect::<Vec<_>>();
            let plain = run(&operands(x.clone()), states)?;
            for spoil in SPOILS {
                assert_eq!(run(&operands(spoiled(&x, &MASKS, spoil)), states)?, plain, "{dtype:?}, {spoil}");
            }
            let exact: Vec<Tensor> =
                operands(x.clone()).iter().map(|x| x.to_dtype(DType::F64)).collect::<Result<_>>()?;
            for (found, expected) in plain.iter().zip(run(&exact, states)?) {
                close(&format!("lstm in {dtype:?}"), found, &expected, tolerance(dtype));
            }
        }
        let weights = mask.to_dtype(DType::F32)?;
        let sum = |x: &[Tensor]| weighted_sum(&x[0], &weights);
        let plain = run(std::slice::from_ref(&x), sum)?;
        for spoil in SPOILS {
            assert_eq!(run(&[spoiled(&x, &MASKS, spoil)], sum)?, plain, "{dtype:?}, {spoil}");
        }
    }
    Ok(())
}

#[test]
fn max_pool_of_minus_infinity_is_minus_infinity() -> Result<()> {
    for dtype in FLOATS {
        let lowest = f32::NEG_INFINITY;
        let x = Tensor::new(&[[[[lowest, lowest, 1.0], [lowest, lowest, 2.0], [3.0, 4.0, 5.0]]]], &CPU)?;
        let y = max_pool2d(&x.to_dtype(dtype)?, 3, 2, 1)?;
        let lowest = f64::NEG_INFINITY;
        assert_eq!(values(&y), [lowest, 2.0, 4.0, 5.0], "{dtype:?}");
        let x = (Tensor::ones((1, 2, 4, 4), dtype, &CPU)? * lowest)?;
        assert!(values(&max_pool2d(&x, 2, 2, 1)?).iter().all(|v| *v == lowest), "{dtype:?}");
    }
    // Smaller than any f32.
    let x = (Tensor::ones((1, 1, 2, 2), DType::F64, &CPU)? * -1e300)?;
    assert!(values(&max_pool2d(&x, 3, 1, 1)?).iter().all(|v| *v == -1e300));
    Ok(())
}

/// Output and gradients in bf16 and f16 are those in f64, up to rounding.
fn agrees_with_f64(name: &str, shapes: &[&[usize]], op: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
    let mut draw = Draw::new(name);
    let operands: Vec<Tensor> = shapes.iter().map(|dims| drawn(&mut draw, dims, DType::BF16)).collect();
    let of = |dtype| -> Result<Vec<Vec<f64>>> {
        let operands = operands.iter().map(|x| x.to_dtype(dtype)).collect::<Result<Vec<_>>>()?;
        run(&operands, &op)
    };
    let expected = of(DType::F64)?;
    for dtype in [DType::BF16, DType::F16] {
        for (i, (found, expected)) in of(dtype)?.iter().zip(&expected).enumerate() {
            close(&format!("{name} in {dtype:?}, {i}"), found, expected, 0.06);
        }
    }
    Ok(())
}

#[test]
fn f16_and_bf16_gradients_agree_with_f64() -> Result<()> {
    for (stride, padding) in [(1, 1), (2, 1), (2, 0), (3, 2)] {
        agrees_with_f64("conv2d", &[&[2, 3, 6, 7], &[4, 3, 3, 3]], |x| {
            conv2d(&x[0], &x[1], stride, padding, Precision::F32)
        })?;
    }
    agrees_with_f64("linear", &[&[3, 2, 5], &[4, 5], &[4]], |x| {
        linear(&x[0], &x[1], Some(&x[2]), Precision::F32)
    })?;
    agrees_with_f64("linear without bias", &[&[3, 5], &[4, 5]], |x| {
        linear(&x[0], &x[1], None, Precision::F32)
    })?;
    agrees_with_f64("layer_norm", &[&[3, 16], &[16], &[16]], |x| layer_norm(&x[0], &x[1], &x[2], 1e-5))?;
    agrees_with_f64("relu", &[&[3, 16]], |x| relu(&x[0]))?;
    agrees_with_f64("gelu", &[&[3, 16]], |x| gelu(&x[0]))?;
    agrees_with_f64("max_pool2d", &[&[2, 2, 5, 5]], |x| max_pool2d(&x[0], 3, 2, 1))?;
    agrees_with_f64("global_avg_pool2d", &[&[2, 2, 3, 3]], |x| global_avg_pool2d(&x[0]))?;
    agrees_with_f64("weighted_sum", &[&[2, 3, 4]], |x| {
        weighted_sum(
            &x[0],
            &Tensor::new(&[[1_f32, 0.5, 0.0], [0.25, 0.0, 2.0]], &CPU)?.to_dtype(x[0].dtype())?,
        )
    })?;
    let ids = Tensor::new(&[[0_i64, 3, 3], [1, 0, 4]], &CPU)?;
    agrees_with_f64("embedding", &[&[5, 4]], |x| embedding(&ids, &x[0]))?;
    let labels = Tensor::new(&[2_i64, 0, 1], &CPU)?;
    agrees_with_f64("cross_entropy", &[&[3, 4]], |x| cross_entropy(&x[0], &labels, 0.1))?;
    let heads: &[usize] = &[2, 2, 4, 8];
    let mask = Tensor::new(&[[1_f32, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]], &CPU)?;
    agrees_with_f64("attention", &[heads, heads, heads], |x| {
        attention(&x[0], &x[1], &x[2], &mask, None, Precision::F32)
    })?;
    let shapes: [&[usize]; 5] = [&[2, 4, 3], &[8, 3], &[8, 2], &[8], &[8]];
    for precision in [Precision::F32, Precision::Bf16] {
        agrees_with_f64("lstm", &shapes, |x| {
            let (w_ih, w_hh, b_ih, b_hh) = (&x[1], &x[2], &x[3], &x[4]);
            let layer = LstmLayer { w_ih, w_hh, b_ih, b_hh, mask: Some(&mask), reverse: true, precision };
            layer.last(Sequence::Vectors(&x[0]))
        })?;
    }
    let ones = |dims: usize, dtype| Var::ones(dims, dtype, &CPU);
    agrees_with_f64("batch_norm2d", &[&[4, 3, 2, 2], &[3], &[3]], |x| {
        let dtype = x[0].dtype();
        let (mean, variance) = (ones(3, dtype)?, ones(3, dtype)?);
        BatchNorm2d {
            scale: &x[1],
            shift: &x[2],
            running_mean: &mean,
            running_var: &variance,
            eps: 1e-5,
            mode: NormMode::Eval,
            residual: None,
            relu: false,
        }
        .forward(&x[0])
    })?;
    agrees_with_f64("conv_net", &[&[4, 3, 5, 5]], |x| {
        let dtype = x[0].dtype();
        let weight = drawn(&mut Draw::new("a unit's weight"), &[4, 3, 3, 3], DType::BF16).to_dtype(dtype)?;
        let (scale, shift, running_mean, running_var) =
            (ones(4, dtype)?, ones(4, dtype)?, ones(4, dtype)?, ones(4, dtype)?);
        let weight = Var::from_tensor(&weight)?;
        let unit =
            ConvNorm { weight, stride: 1, padding: 1, scale, shift, running_mean, running_var, eps: 1e-5 };
        let mut net = ConvNet::new();
        net.unit(net.input(), unit, None, true);
        net.forward(&x[0], NormMode::Eval)
    })
}
