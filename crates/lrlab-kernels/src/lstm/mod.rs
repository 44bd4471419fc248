//! The long short-term memory layer over a whole sequence (Hochreiter and Schmidhuber, 1997; torch's gates).

mod backward;
mod forward;
mod op;

use candle_core::{Result, Tensor, bail};
use candle_nn::ops::sigmoid;

use crate::host;
use op::{Lstm, Sizes};

/// One layer, one direction of `torch.nn.LSTM`: `x (b, l, in)` to the states `(b, l, h)`.
///
/// `w_ih (4h, in)`, `w_hh (4h, h)`, `b_ih`, `b_hh (4h)`, gates in the order i, f, g, o; states start at 0. `mask` is
/// f32 `(b, l)`, 1 at tokens, 0 at padding, which stands at the end: the state is carried over padding. With
/// `reverse` each sequence is read from its last token to its first, and the state at padding is 0.
///
/// # Errors
/// Shapes do not fit.
pub fn lstm(
    x: &Tensor,
    w_ih: &Tensor,
    w_hh: &Tensor,
    b_ih: &Tensor,
    b_hh: &Tensor,
    mask: &Tensor,
    reverse: bool,
) -> Result<Tensor> {
    let (b, l, inputs) = x.dims3()?;
    let (rows, h) = w_hh.dims2()?;
    if rows != 4 * h || w_ih.dims() != [rows, inputs] || b_ih.dims() != [rows] || b_hh.dims() != [rows] {
        bail!(
            "lstm: input {:?}, w_ih {:?}, w_hh {:?}, b_ih {:?}, b_hh {:?} do not fit",
            x.shape(),
            w_ih.shape(),
            w_hh.shape(),
            b_ih.shape(),
            b_hh.shape()
        );
    }
    if mask.dims() != [b, l] {
        bail!("lstm: mask is {:?}, not {:?}", mask.shape(), (b, l));
    }
    if b * l * inputs * h == 0 {
        bail!("lstm: empty input {:?} or weight {:?}", x.shape(), w_hh.shape());
    }
    let bias = (b_ih + b_hh)?;
    if host::is_f32(&[x, w_ih, w_hh, &bias]) && mask.device().is_cpu() {
        let real = mask.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let real = real.iter().map(|m| *m != 0.0).collect();
        let op = Lstm::new(Sizes { b, l, inputs, h }, real, reverse);
        return x.contiguous()?.apply_op3(&Tensor::cat(&[w_ih, w_hh], 1)?, &bias, op);
    }
    composed(x, w_ih, w_hh, &bias, mask, reverse)
}

fn composed(
    x: &Tensor,
    w_ih: &Tensor,
    w_hh: &Tensor,
    bias: &Tensor,
    mask: &Tensor,
    reverse: bool,
) -> Result<Tensor> {
    let (b, l, _) = x.dims3()?;
    let (_, hidden) = w_hh.dims2()?;
    let projected = crate::linear(x, w_ih, Some(bias))?;
    let mask = mask.to_dtype(x.dtype())?;
    let mut h = Tensor::zeros((b, hidden), x.dtype(), x.device())?;
    let mut c = h.clone();
    let mut states = Vec::with_capacity(l);
    for step in 0..l {
        let t = if reverse { l - 1 - step } else { step };
        let gates = (projected.narrow(1, t, 1)?.squeeze(1)? + h.matmul(&w_hh.t()?)?)?;
        let gate = |i| gates.narrow(1, i * hidden, hidden);
        let fresh = ((sigmoid(&gate(1)?)? * &c)? + (sigmoid(&gate(0)?)? * gate(2)?.tanh()?)?)?;
        let out = (sigmoid(&gate(3)?)? * fresh.tanh()?)?;
        let m = mask.narrow(1, t, 1)?;
        let keep = m.affine(-1.0, 1.0)?;
        c = (fresh.broadcast_mul(&m)? + c.broadcast_mul(&keep)?)?;
        h = (out.broadcast_mul(&m)? + h.broadcast_mul(&keep)?)?;
        states.push(h.clone());
    }
    if reverse {
        states.reverse();
    }
    Tensor::stack(&states, 1)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Var};

    use super::*;
    use crate::testing::{assert_close, draw, grads_of, values};

    fn check(
        (b, l, inputs, h): (usize, usize, usize, usize),
        lengths: &[usize],
        reverse: bool,
    ) -> Result<()> {
        let real: Vec<f32> =
            lengths.iter().flat_map(|n| (0..l).map(move |t| f32::from(u8::from(t < *n)))).collect();
        let mask = Tensor::from_vec(real, (b, l), &candle_core::Device::Cpu)?;
        let shapes: [&[usize]; 5] = [&[b, l, inputs], &[4 * h, inputs], &[4 * h, h], &[4 * h], &[4 * h]];
        let results = [DType::F32, DType::F64].map(|dtype| -> Result<Vec<Tensor>> {
            let vars: Vec<Var> = shapes
                .iter()
                .enumerate()
                .map(|(i, s)| Var::from_tensor(&(draw(*s, &format!("{i}")).to_dtype(dtype)? * 0.5)?))
                .collect::<Result<_>>()?;
            let y = lstm(&vars[0], &vars[1], &vars[2], &vars[3], &vars[4], &mask, reverse)?;
            let weighted = (&y * draw((b, l, h), "r").to_dtype(dtype)?)?;
            let mut out = grads_of(&weighted, &vars.iter().collect::<Vec<_>>())?;
            out.push(y);
            Ok(out)
        });
        let [found, expected] = results;
        for (found, expected) in found?.iter().zip(expected?) {
            assert_close(found, &values(&expected), 2e-5);
        }
        Ok(())
    }

    #[test]
    fn states_and_gradients_against_f64() -> Result<()> {
        for reverse in [false, true] {
            check((2, 5, 3, 4), &[5, 2], reverse)?;
            check((1, 1, 1, 1), &[1], reverse)?;
            check((3, 4, 17, 16), &[0, 4, 1], reverse)?;
            check((19, 6, 8, 33), &[6, 5, 4, 3, 2, 1, 6, 5, 4, 3, 2, 1, 6, 6, 6, 6, 6, 3, 6], reverse)?;
        }
        Ok(())
    }

    #[test]
    fn bad_shapes_are_errors() {
        let mask = draw((2, 3), "m");
        let run = |x: (usize, usize, usize), w_ih, w_hh, bias: usize| {
            lstm(
                &draw(x, "x"),
                &draw(w_ih, "a"),
                &draw(w_hh, "b"),
                &draw(bias, "c"),
                &draw(bias, "d"),
                &mask,
                false,
            )
        };
        assert!(run((2, 3, 4), (20, 4), (20, 5), 20).is_ok());
        assert!(run((2, 3, 4), (20, 5), (20, 5), 20).is_err());
        assert!(run((2, 3, 4), (20, 4), (20, 4), 20).is_err());
        assert!(run((2, 3, 4), (20, 4), (20, 5), 19).is_err());
        assert!(run((2, 4, 4), (20, 4), (20, 5), 20).is_err());
        assert!(run((0, 3, 4), (20, 4), (20, 5), 20).is_err());
    }
}
