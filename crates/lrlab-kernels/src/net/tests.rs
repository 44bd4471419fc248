use candle_core::{DType, Device, Result, Tensor, Var};

use super::*;
use crate::testing::{assert_close, draw, values};

/// A network with everything that a residual network has, its parameters as `dtype`.
struct Sample {
    net: ConvNet,
    params: Vec<Var>,
    running: Vec<Var>,
}

/// Widths of the stem and the second stage.
fn sample(dtype: DType, channels: usize, [a, b]: [usize; 2], pool: bool) -> Result<Sample> {
    let (mut params, mut running) = (Vec::new(), Vec::new());
    let mut unit = |name: &str, from: usize, to: usize, kernel: usize, stride: usize| -> Result<ConvNorm> {
        let var = |t: &Tensor| Var::from_tensor(&t.to_dtype(dtype)?);
        let weight = var(&(draw((to, from, kernel, kernel), name) * (1.0 / (from * kernel) as f64))?)?;
        let scale = var(&((draw(to, &format!("{name}.scale")) * 0.3)? + 1.0)?)?;
        let shift = var(&(draw(to, &format!("{name}.shift")) * 0.3)?)?;
        params.extend([weight.clone(), scale.clone(), shift.clone()]);
        let (mean, variance) =
            (var(&(draw(to, "mean") * 0.1)?)?, var(&draw(to, "var").sqr()?.affine(0.2, 1.0)?)?);
        running.extend([mean.clone(), variance.clone()]);
        Ok(ConvNorm {
            weight,
            stride,
            padding: kernel / 2,
            scale,
            shift,
            running_mean: mean,
            running_var: variance,
            eps: 1e-5,
        })
    };
    let mut net = ConvNet::new();
    let x = net.input();
    let stem = if pool { (7, 2) } else { (3, 1) };
    let mut x = net.unit(x, unit("stem", channels, a, stem.0, stem.1)?, None, true);
    if pool {
        x = net.max_pool(x, 3, 2, 1);
    }
    let y = net.unit(x, unit("1a", a, a, 3, 1)?, None, true);
    x = net.unit(y, unit("1b", a, a, 3, 1)?, Some(x), true);
    let y = net.unit(x, unit("2a", a, b, 3, 2)?, None, true);
    let shortcut = net.unit(x, unit("2s", a, b, 1, 2)?, None, false);
    x = net.unit(y, unit("2b", b, b, 3, 1)?, Some(shortcut), true);
    let y = net.unit(x, unit("3a", b, b, 1, 1)?, None, true);
    let y = net.unit(y, unit("3b", b, b + 6, 3, 2)?, None, true);
    let shortcut = net.subsample(x, 2, 2, 4);
    net.unit(y, unit("3c", b + 6, b + 6, 3, 1)?, Some(shortcut), true);
    Ok(Sample { net, params, running })
}

fn everything(sample: &Sample, x: &Var, r: &Tensor, mode: NormMode, fused: bool) -> Result<Vec<Tensor>> {
    let y = if fused { sample.net.forward(x, mode)? } else { sample.net.composed(x, mode)? };
    let grads = (&y * r.to_dtype(y.dtype())?)?.sum_all()?.backward()?;
    let mut all = vec![y, grads.get(x).expect("a gradient").clone()];
    all.extend(sample.params.iter().map(|var| grads.get(var).expect("a gradient").clone()));
    all.extend(sample.running.iter().map(|var| var.as_tensor().copy().expect("a copy")));
    Ok(all)
}

#[test]
fn agrees_with_candles_operators_in_f64() -> Result<()> {
    let check = |[n, c, h, w]: [usize; 4], widths: [usize; 2], pool, mode| -> Result<()> {
        let (ours, reference) = (sample(DType::F32, c, widths, pool)?, sample(DType::F64, c, widths, pool)?);
        let x = draw((n, c, h, w), "x");
        let r = draw((n, widths[1] + 6), "r");
        let found = everything(&ours, &Var::from_tensor(&x)?, &r, mode, true)?;
        let exact = Var::from_tensor(&x.to_dtype(DType::F64)?)?;
        let expected = everything(&reference, &exact, &r, mode, false)?;
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.dims(), expected.dims());
            assert_close(found, &values(expected), 1e-4);
        }
        Ok(())
    };
    let train = NormMode::Train { momentum: 0.1 };
    check([3, 3, 16, 16], [16, 32], false, train)?;
    check([17, 3, 9, 7], [5, 20], false, train)?;
    check([4, 1, 32, 32], [16, 33], true, train)?;
    check([33, 3, 32, 32], [64, 64], true, train)?;
    check([5, 3, 12, 12], [16, 16], false, NormMode::Eval)?;
    check([70, 3, 8, 8], [8, 16], false, NormMode::Eval)
}

#[test]
fn the_same_bits_for_any_number_of_threads() -> Result<()> {
    let with = |threads: usize| -> Result<Vec<u64>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let found = pool.install(|| {
            let sample = sample(DType::F32, 3, [16, 32], true)?;
            let x = Var::from_tensor(&draw((37, 3, 32, 32), "x"))?;
            everything(&sample, &x, &draw((37, 38), "r"), NormMode::Train { momentum: 0.1 }, true)
        })?;
        Ok(found.iter().flat_map(values).map(f64::to_bits).collect())
    };
    let one = with(1)?;
    assert!(one == with(2)? && one == with(3)?);
    Ok(())
}

#[test]
fn invalid_networks_and_inputs_are_rejected() -> Result<()> {
    let train = NormMode::Train { momentum: 0.1 };
    let sample = sample(DType::F32, 3, [4, 8], false)?;
    let ones = |dims: &[usize]| Tensor::ones(dims, DType::F32, &Device::Cpu);
    let check = |net: &ConvNet, x: &[usize], words: &str| -> Result<()> {
        let error = net.forward(&ones(x)?, train).map_or_else(|e| e.to_string(), |_| "no error".to_owned());
        assert!(error.contains(words), "{error}");
        Ok(())
    };
    check(&sample.net, &[0, 3, 8, 8], "conv_net: empty input (0, 3, 8, 8)")?;
    check(&sample.net, &[2, 4, 8, 8], "conv2d: input has 4 channels, weight 3")?;
    check(&sample.net, &[3, 8, 8], "of shape [3, 8, 8]")?;
    let lone = "conv_net: node 0: one value per channel has no variance, output [1, 4, 1, 1]";
    check(&sample.net, &[1, 3, 1, 1], lone)?;
    let mut net = ConvNet::new();
    let later = Value(3);
    net.max_pool(later, 2, 2, 0);
    check(&net, &[1, 3, 4, 4], "conv_net: node 0 reads value 3, expected at most 0")?;
    let mut net = ConvNet::new();
    let x = net.input();
    net.max_pool(x, 2, 0, 0);
    let pool = "conv_net: node 0: a pool of kernel 2, stride 0 and padding 0 does not fit [1, 3, 4, 4]";
    check(&net, &[1, 3, 4, 4], pool)
}

#[test]
fn nan_propagates() -> Result<()> {
    let sample = sample(DType::F32, 3, [4, 8], false)?;
    let mut pictures = vec![1.0_f32; 2 * 3 * 8 * 8];
    pictures[5] = f32::NAN;
    let x = Tensor::from_vec(pictures, (2, 3, 8, 8), &Device::Cpu)?;
    let y = sample.net.forward(&x, NormMode::Train { momentum: 0.1 })?;
    assert!(values(&y).iter().any(|y| y.is_nan()));
    Ok(())
}
