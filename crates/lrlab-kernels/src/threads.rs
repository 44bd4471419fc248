//! The same bits for any number of threads.

use candle_core::{Result, Tensor, Var};
use lrlab_random::{Purpose, Stream};

use crate::testing::{draw, values};
use crate::{
    BatchNorm2d, Dropout, EncoderActivation, EncoderLayer, EncoderNorm, LstmLayer, NormMode, Precision,
    Sequence, attention, conv2d, dropout, embedding, embedding_at_positions, gelu, layer_norm, linear,
    weighted_sum,
};

/// Every operator once, forward and backward: all outputs and gradients.
fn everything(precision: Precision) -> Result<Vec<f64>> {
    let var = |dims: &[usize], name: &str| Var::from_tensor(&draw(dims, name));
    let drop = Dropout { p: 0.2, stream: Stream::new(5, Purpose::Dropout, "t") };
    let mut out = Vec::new();
    let mut collect = |y: Tensor, vars: &[&Var]| -> Result<()> {
        let grads = y.sqr()?.sum_all()?.backward()?;
        for var in vars {
            out.extend(grads.get(var).map(values).unwrap_or_default());
        }
        out.extend(values(&y));
        Ok(())
    };
    let (x, w) = (var(&[37, 5, 9, 9], "x")?, var(&[20, 5, 3, 3], "w")?);
    collect(conv2d(&x, &w, 2, 1, Precision::F32)?, &[&x, &w])?;
    let (gain, shift) = (var(&[5], "gain")?, var(&[5], "shift")?);
    let (mean, variance) = (var(&[5], "mean")?, var(&[5], "var")?);
    let train = NormMode::Train { momentum: 0.1 };
    let y = BatchNorm2d {
        scale: &gain,
        shift: &shift,
        running_mean: &mean,
        running_var: &variance,
        eps: 1e-5,
        mode: train,
        residual: Some(&x),
        relu: true,
    }
    .forward(&x)?;
    collect(y, &[&x, &gain, &shift])?;
    let (table, ids) = (var(&[50, 24], "table")?, (0..40 * 30).map(|i| i * 7 % 50).collect::<Vec<u32>>());
    let x = embedding(&Tensor::from_vec(ids, (40, 30), x.device())?, &table)?;
    let (w_ih, w_hh, bias) = (var(&[80, 24], "a")?, var(&[80, 20], "b")?, var(&[80], "c")?);
    let mask = Tensor::ones((40, 30), candle_core::DType::F32, x.device())?;
    let layer = LstmLayer {
        w_ih: &w_ih,
        w_hh: &w_hh,
        b_ih: &bias,
        b_hh: &bias,
        mask: Some(&mask),
        reverse: true,
        precision,
    };
    collect(layer.states(Sequence::Vectors(&x))?, &[&table, &w_ih, &w_hh, &bias])?;
    let (w, b, gain) = (var(&[32, 24], "w")?, var(&[32], "b")?, var(&[32], "g")?);
    let y = layer_norm(&gelu(&linear(&x, &w, Some(&b), precision)?)?, &gain, &b, 1e-5)?;
    let q = dropout(&y, drop)?.reshape((40, 30, 4, 8))?.transpose(1, 2)?.contiguous()?;
    collect(attention(&q, &q, &q, &mask, Some(drop), precision)?, &[&table, &w, &b, &gain])?;
    let tokens =
        Tensor::from_vec((0..37 * 9).map(|i| i * 3 % 50).collect::<Vec<u32>>(), (37, 9), x.device())?;
    let mask = Tensor::ones((37, 9), candle_core::DType::F32, x.device())?;
    let (places, square, bias) = (var(&[9, 24], "p")?, var(&[24, 24], "s")?, var(&[24], "d")?);
    let (wide, wide_bias) = (var(&[72, 24], "q")?, var(&[72], "r")?);
    let layer = EncoderLayer {
        heads: 3,
        norm: EncoderNorm::After,
        activation: EncoderActivation::Gelu,
        in_proj: (&wide, &wide_bias),
        out_proj: (&square, &bias),
        linear1: (&square, &bias),
        linear2: (&square, &bias),
        norm1: (&bias, &bias),
        norm2: (&bias, &bias),
        eps: 1e-5,
        dropouts: [Some(drop); 3],
        precision,
    };
    let x = embedding_at_positions(&tokens, &table, 1.0, &places, Some(drop))?;
    let y = weighted_sum(&layer.forward(&x, &mask)?, &mask)?;
    collect(y, &[&table, &places, &square, &bias, &wide, &wide_bias])?;
    let shift = draw(80, "e");
    let layer = LstmLayer {
        w_ih: &w_ih,
        w_hh: &w_hh,
        b_ih: &shift,
        b_hh: &shift,
        mask: Some(&mask),
        reverse: false,
        precision,
    };
    collect(layer.last(Sequence::Tokens { ids: &tokens, table: &table })?, &[&table, &w_ih, &w_hh])?;
    Ok(out)
}

#[test]
fn same_bits_for_any_number_of_threads() -> Result<()> {
    for precision in [Precision::F32, Precision::Bf16] {
        let with = |threads: usize| -> Result<Vec<u64>> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            Ok(pool.install(|| everything(precision))?.into_iter().map(f64::to_bits).collect())
        };
        let one = with(1)?;
        assert!(one.iter().all(|bits| f64::from_bits(*bits).is_finite()));
        assert!(one == with(2)? && one == with(3)?);
    }
    Ok(())
}
