//! The long short-term memory layer over a whole sequence (Hochreiter and Schmidhuber, 1997; torch's gates).

use candle_core::{Result, Tensor, bail};
use candle_nn::ops::sigmoid;

/// One layer, one direction of `torch.nn.LSTM`: `x (b, l, in)` to the states `(b, l, h)`.
///
/// `w_ih (4h, in)`, `w_hh (4h, h)`, `b_ih`, `b_hh (4h)`, gates in the order i, f, g, o; states start at 0. `mask` is
/// f32 `(b, l)`, 1 at tokens, 0 at padding, which stands at the end: the state is carried over padding. With
/// `reverse` each sequence is read from its last token to its first, and the state at padding is 0.
///
/// # Errors
/// Shapes do not fit.
#[expect(clippy::too_many_arguments, reason = "torch's parameters of the layer, by name")]
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
