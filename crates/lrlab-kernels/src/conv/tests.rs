use candle_core::{DType, Device, Var};

use super::*;
use crate::testing::{assert_close, assert_error, draw, grads_of};

/// Output and gradients of Σ y · r by their definition, in f64.
fn reference(x: &Tensor, weight: &Tensor, r: &Tensor, s: usize, p: usize) -> [Vec<f64>; 3] {
    let values =
        |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let (n, c, h, w) = x.dims4().unwrap();
    let (o, _, kh, kw) = weight.dims4().unwrap();
    let (_, _, oh, ow) = r.dims4().unwrap();
    let (xs, ws, rs) = (values(x), values(weight), values(r));
    let (mut y, mut dx, mut dw) = (vec![0.0; rs.len()], vec![0.0; xs.len()], vec![0.0; ws.len()]);
    for i in 0..n * o * c * oh * ow * kh * kw {
        let (b, i) = (i / (o * c * oh * ow * kh * kw), i % (o * c * oh * ow * kh * kw));
        let (oc, i) = (i / (c * oh * ow * kh * kw), i % (c * oh * ow * kh * kw));
        let (ic, i) = (i / (oh * ow * kh * kw), i % (oh * ow * kh * kw));
        let (row, i) = (i / (ow * kh * kw), i % (ow * kh * kw));
        let (column, i) = (i / (kh * kw), i % (kh * kw));
        let (ky, kx) = (i / kw, i % kw);
        let (iy, ix) = (row * s + ky, column * s + kx);
        if iy < p || ix < p || iy - p >= h || ix - p >= w {
            continue;
        }
        let at_y = ((b * o + oc) * oh + row) * ow + column;
        let at_x = ((b * c + ic) * h + iy - p) * w + ix - p;
        let at_w = ((oc * c + ic) * kh + ky) * kw + kx;
        y[at_y] += xs[at_x] * ws[at_w];
        dx[at_x] += rs[at_y] * ws[at_w];
        dw[at_w] += rs[at_y] * xs[at_x];
    }
    [y, dx, dw]
}

#[test]
fn output_and_gradients_against_f64() -> Result<()> {
    let check = |x: (usize, usize, usize, usize), o, (kh, kw), s, p| -> Result<()> {
        let x = Var::from_tensor(&draw(x, "x"))?;
        let weight = Var::from_tensor(&draw((o, x.dims()[1], kh, kw), "w"))?;
        let y = conv2d(&x, &weight, s, p, Precision::F32)?;
        let r = draw(y.shape(), "r");
        let expected = reference(&x, &weight, &r, s, p);
        let grads = grads_of(&(&y * &r)?, &[&x, &weight])?;
        for (found, expected) in [&y, &grads[0], &grads[1]].into_iter().zip(&expected) {
            assert_close(found, expected, 2e-5);
        }
        Ok(())
    };
    check((2, 3, 8, 8), 16, (3, 3), 1, 1)?;
    check((2, 16, 9, 7), 16, (3, 3), 1, 1)?;
    check((3, 16, 33, 35), 17, (3, 3), 1, 1)?;
    check((2, 32, 8, 8), 64, (3, 3), 2, 1)?;
    check((2, 16, 8, 8), 32, (1, 1), 2, 0)?;
    check((2, 3, 17, 15), 64, (7, 7), 2, 3)?;
    check((1, 1, 1, 1), 1, (1, 1), 1, 0)?;
    check((1, 1, 1, 1), 1, (3, 3), 1, 1)?;
    check((17, 5, 4, 6), 3, (2, 5), 3, 2)?;
    check((5, 33, 5, 5), 49, (3, 1), 2, 0)?;
    check((2, 4, 6, 6), 5, (1, 1), 1, 3)?;
    check((1, 2, 5, 5), 2, (2, 2), 5, 0)?;
    // The few output pixels of deep layers, with whole and partial blocks of channels; the last reads only padding.
    check((37, 32, 1, 1), 48, (3, 3), 1, 1)?;
    check((33, 20, 2, 2), 35, (3, 3), 2, 1)?;
    check((3, 48, 2, 2), 32, (3, 3), 1, 1)?;
    check((2, 5, 1, 1), 3, (1, 1), 2, 1)?;
    // First layers, with a few channels: a kernel of many taps, and blocks of which the last has few channels.
    check((3, 1, 12, 12), 20, (5, 5), 1, 2)?;
    check((2, 18, 11, 10), 17, (5, 3), 2, 1)?;
    // Winograd's method with whole blocks of channels, for several groups of pictures.
    check((37, 16, 5, 4), 16, (3, 3), 1, 1)?;
    check((19, 32, 9, 9), 16, (3, 3), 1, 1)?;
    Ok(())
}

#[test]
fn untracked_arguments_and_views() -> Result<()> {
    let x = draw((2, 6, 7, 4), "x").transpose(1, 3)?;
    let weight = Var::from_tensor(&draw((3, 4, 3, 3), "w"))?;
    let y = conv2d(&x, &weight, 1, 1, Precision::F32)?;
    let same = conv2d(&x.contiguous()?, &weight, 1, 1, Precision::F32)?;
    assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, same.flatten_all()?.to_vec1::<f32>()?);
    let stock = x.contiguous()?.conv2d(&weight, 1, 1, 1, 1)?;
    assert_close(&y, &stock.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?, 1e-5);
    let grads = y.sum_all()?.backward()?;
    assert!(grads.get(&x).is_none() && grads.get(&weight).is_some());
    Ok(())
}

#[test]
fn invalid_arguments_are_rejected() -> Result<()> {
    let ones = |dims: [usize; 4]| Tensor::ones(&dims, DType::F32, &Device::Cpu);
    let run = |x, w, s, p| conv2d(&ones(x)?, &ones(w)?, s, p, Precision::F32);
    assert_error("conv2d: input has 2 channels, weight 3", run([1, 2, 4, 4], [1, 3, 3, 3], 1, 1));
    assert_error("conv2d: stride 0, expected at least 1", run([1, 2, 4, 4], [1, 2, 3, 3], 0, 1));
    assert_error(
        "kernel (3, 3) is larger than the padded input (2, 2)",
        run([1, 2, 2, 2], [1, 2, 3, 3], 1, 0),
    );
    assert_error("conv2d: empty input (0, 2, 4, 4)", run([0, 2, 4, 4], [1, 2, 3, 3], 1, 1));
    assert_error("overflow", run([1, 2, 4, 4], [1, 2, 3, 3], 1, usize::MAX / 2));
    assert_error("overflow", run([1, 2, 4, 4], [1, 2, 3, 3], 1, 1 << 60));
    let flat = ones([1, 2, 4, 4])?.squeeze(0)?;
    assert_error(
        "conv2d: x of shape [2, 4, 4], expected",
        conv2d(&flat, &ones([1, 2, 3, 3])?, 1, 1, Precision::F32),
    );
    Ok(())
}
