use candle_core::Device;

use super::*;
use crate::testing::{assert_close, assert_error, draw, grads_of, values};

fn batch(dims: (usize, usize, usize, usize), mode: NormMode, with_residual: bool, relu: bool) -> Result<()> {
    let c = dims.1;
    let x = Var::from_tensor(&((draw(dims, "x") * 2.0)? + 0.7)?)?;
    let scale = Var::from_tensor(&draw(c, "scale"))?;
    let shift = Var::from_tensor(&draw(c, "shift"))?;
    let residual = Var::from_tensor(&draw(dims, "residual"))?;
    let weights = draw(dims, "weights");
    let results = [DType::F32, DType::F64].map(|dtype| -> Result<Vec<Tensor>> {
        // The reference is the composition, in f64.
        let cast = |v: &Tensor| Var::from_tensor(&v.to_dtype(dtype)?);
        let (x, scale, shift, residual) = (cast(&x)?, cast(&scale)?, cast(&shift)?, cast(&residual)?);
        let mean = cast(&draw(c, "mean"))?;
        let var = cast(&(draw(c, "var").sqr()? + 0.5)?)?;
        let extra = with_residual.then_some(residual.as_tensor());
        let y = BatchNorm2d {
            scale: &scale,
            shift: &shift,
            running_mean: &mean,
            running_var: &var,
            eps: 1e-5,
            mode,
            residual: extra,
            relu,
        }
        .forward(&x)?;
        let mut vars = vec![&x, &scale, &shift];
        if with_residual {
            vars.push(&residual);
        }
        let mut out = grads_of(&(&y * &weights.to_dtype(dtype)?)?, &vars)?;
        out.extend([y, mean.as_detached_tensor(), var.as_detached_tensor()]);
        Ok(out)
    });
    let [found, expected] = results;
    for (found, expected) in found?.iter().zip(expected?) {
        assert_close(found, &values(&expected), 2e-5);
    }
    Ok(())
}

#[test]
fn batch_norm_against_f64() -> Result<()> {
    let train = NormMode::Train { momentum: 0.1 };
    for (dims, mode, residual, relu) in [
        ((4, 3, 5, 5), train, false, false),
        ((2, 16, 8, 8), train, false, true),
        ((3, 2, 1, 7), train, true, true),
        ((5, 1, 1, 1), train, true, false),
        ((1, 4, 6, 3), NormMode::Eval, false, true),
        ((1, 2, 1, 1), NormMode::Eval, true, true),
    ] {
        batch(dims, mode, residual, relu)?;
    }
    Ok(())
}

#[test]
fn layer_norm_against_f64() -> Result<()> {
    for dims in [vec![3, 5], vec![2, 3, 16], vec![700, 128], vec![1, 1], vec![4, 33]] {
        let d = dims[dims.len() - 1];
        let results = [DType::F32, DType::F64].map(|dtype| -> Result<Vec<Tensor>> {
            let cast = |t: Tensor| Var::from_tensor(&t.to_dtype(dtype)?);
            let x = cast((draw(dims.clone(), "x") + 0.5)?)?;
            let (scale, shift) = (cast(draw(d, "scale"))?, cast(draw(d, "shift"))?);
            let y = layer_norm(&x, &scale, &shift, 1e-5)?;
            let weighted = (&y * draw(dims.clone(), "weights").to_dtype(dtype)?)?;
            let mut out = grads_of(&weighted, &[&x, &scale, &shift])?;
            out.push(y);
            Ok(out)
        });
        let [found, expected] = results;
        for (found, expected) in found?.iter().zip(expected?) {
            assert_close(found, &values(&expected), 2e-5);
        }
    }
    Ok(())
}

#[test]
fn invalid_arguments_are_rejected() -> Result<()> {
    let ones = |n: usize| Var::ones(n, DType::F32, &Device::Cpu);
    let x = draw((2, 3, 4, 4), "x");
    let train = NormMode::Train { momentum: 0.1 };
    let run = |x: &Tensor, c: usize, mode| -> Result<Tensor> {
        let one = ones(c)?;
        BatchNorm2d {
            scale: &one,
            shift: &one,
            running_mean: &ones(c)?,
            running_var: &ones(c)?,
            eps: 1e-5,
            mode,
            residual: None,
            relu: false,
        }
        .forward(x)
    };
    assert!(run(&x, 3, train).is_ok());
    assert_error("batch_norm2d: scale is [4] for 3 channels", run(&x, 4, train));
    assert_error(
        "batch_norm2d: one value per channel has no variance",
        run(&draw((1, 3, 1, 1), "x"), 3, train),
    );
    assert_error("batch_norm2d: empty input [0, 3, 4, 4]", run(&draw((0, 3, 4, 4), "x"), 3, train));
    let three = ones(3)?;
    let words = "layer_norm: scale [3], shift [3] for input [2, 3, 4, 4]";
    assert_error(words, layer_norm(&x, &three, &three, 1e-5));
    Ok(())
}
