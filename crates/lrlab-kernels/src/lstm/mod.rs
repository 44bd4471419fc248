//! The long short-term memory layer over a whole sequence (Hochreiter and Schmidhuber, 1997; torch's gates).

mod backward;
mod forward;
mod input;
mod layer;
mod op;

use std::sync::Mutex;

use candle_core::{DType, Result, Tensor, bail};
use candle_nn::RNN;
use candle_nn::ops::sigmoid;
use candle_nn::rnn::LSTMState;

use crate::embedding::{Ids, LookUp};
use crate::parameter_chain::{chain, pack};
use crate::precision::matmul;
use crate::{Precision, check, host};
use layer::{Layer, Output, Sizes};
use op::Lstm;

/// What an LSTM reads.
#[derive(Debug, Clone, Copy)]
pub enum Sequence<'a> {
    /// `(b, l, in)`
    Vectors(&'a Tensor),
    /// Rows of a table, which are not gathered into a tensor.
    Tokens {
        /// u8, u32 or i64 `(b, l)`
        ids: &'a Tensor,
        /// `(v, in)`
        table: &'a Tensor,
    },
}

/// One layer, one direction of `torch.nn.LSTM`.
#[derive(Debug, Clone, Copy)]
pub struct LstmLayer<'a> {
    /// `(4h, in)`, gates in the order i, f, g, o.
    pub w_ih: &'a Tensor,
    /// `(4h, h)`
    pub w_hh: &'a Tensor,
    /// `(4h)`
    pub b_ih: &'a Tensor,
    /// `(4h)`
    pub b_hh: &'a Tensor,
    /// `(b, l)`: 1 at tokens, 0 at padding, which is not read. The state is carried over padding. `None`: there is no
    /// padding.
    pub mask: Option<&'a Tensor>,
    /// Each sequence is read from its last token to its first. The state at padding after the tokens is the initial one.
    pub reverse: bool,
    /// The precision of the products of input, state and weights.
    pub precision: Precision,
}

impl LstmLayer<'_> {
    /// The states at all times, `(b, l, h)`; they start at 0.
    ///
    /// # Errors
    /// Returns an error if shapes, types or devices do not fit, something is empty, the mask has values other than
    /// 0 and 1, or an id is not in the table; the values of mask and ids on a GPU are not checked.
    pub fn states(&self, of: Sequence) -> Result<Tensor> {
        self.run(of, None, Output { every: true, cells: false })
    }

    /// The state after the last token read, `(b, h)`.
    ///
    /// # Errors
    /// Returns the errors of [`LstmLayer::states`].
    pub fn last(&self, of: Sequence) -> Result<Tensor> {
        self.run(of, None, Output { every: false, cells: false })
    }

    /// The states at all times, `(b, l, h)`, and the state after the last token read, `(b, h)` each, as
    /// `torch.nn.LSTM` returns them; they start at `initial`, `(b, h)` each. On a GPU this is candle's composition of
    /// operators, not the kernel.
    ///
    /// # Errors
    /// Returns the errors of [`LstmLayer::states`].
    pub fn states_from(&self, of: Sequence, initial: &LSTMState) -> Result<(Tensor, LSTMState)> {
        let (states, cells) = self.both(of, initial)?;
        let last = if self.reverse { 0 } else { states.dim(1)? - 1 };
        let [h, c] = [&states, &cells].map(|of| of.narrow(1, last, 1)?.squeeze(1)?.contiguous());
        Ok((states, LSTMState { h: h?, c: c? }))
    }

    /// The states and the cells at all times, `(b, l, h)` each.
    fn both(&self, of: Sequence, initial: &LSTMState) -> Result<(Tensor, Tensor)> {
        let both = self.run(of, Some(initial), Output { every: true, cells: true })?;
        let h = both.dim(2)? / 2;
        Ok((both.narrow(2, 0, h)?, both.narrow(2, h, h)?))
    }

    fn run(&self, of: Sequence, initial: Option<&LSTMState>, output: Output) -> Result<Tensor> {
        let Self { w_ih, w_hh, b_ih, b_hh, mask, reverse, precision } = *self;
        let (source, dims, ids) = match of {
            Sequence::Vectors(x) => {
                let [b, l, inputs] = check::dims("lstm", "x", x, "(b, l, in)")?;
                (("x", x), (b, l, inputs), None)
            }
            Sequence::Tokens { ids, table } => {
                let LookUp { shape, ids } = LookUp::new("lstm", ids, table)?;
                (("table", table), shape, Some(ids))
            }
        };
        let (b, l, inputs) = dims;
        let [rows, h] = check::dims("lstm", "w_hh", w_hh, "(4h, h)")?;
        if rows != 4 * h || w_ih.dims() != [rows, inputs] || b_ih.dims() != [rows] || b_hh.dims() != [rows] {
            bail!(
                "lstm: input {dims:?}, w_ih {:?}, w_hh {:?}, b_ih {:?}, b_hh {:?} do not fit",
                w_ih.shape(),
                w_hh.shape(),
                b_ih.shape(),
                b_hh.shape()
            );
        }
        if b * l * inputs * h == 0 {
            bail!("lstm: empty input {dims:?} or weight {:?}", w_hh.shape());
        }
        let mut parameters = vec![("w_ih", w_ih), ("w_hh", w_hh), ("b_ih", b_ih), ("b_hh", b_hh)];
        if let Some(LSTMState { h: state, c }) = initial {
            if state.dims() != [b, h] || c.dims() != [b, h] {
                let (state, c) = (state.shape(), c.shape());
                bail!("lstm: initial state of shapes {state:?} and {c:?}, expected [{b}, {h}]");
            }
            parameters.extend([("the initial h", state), ("the initial c", c)]);
        }
        check::floats("lstm", std::iter::once(source).chain(parameters.iter().copied()))?;
        let parameters: Vec<&Tensor> = parameters.into_iter().map(|(_, parameter)| parameter).collect();
        let (what, source) = source;
        let mask =
            mask.map_or_else(|| Tensor::ones((b, l), DType::U8, source.device()), |mask| Ok(mask.clone()))?;
        let mask = &mask;
        let real = check::mask("lstm", mask, (b, l), (what, source))?;
        if let Some(real) = real.filter(|_| host::is_f32(&[&[source], &parameters[..]].concat())) {
            let real: Vec<bool> = real.iter().map(|m| *m != 0.0).collect();
            let ids = match ids {
                Some(Ids::Seen(ids)) => Some(ids),
                _ => None,
            };
            let readers = Layer::readers(&real, source.elem_count() / inputs, ids.as_deref());
            let (chain, grads) = chain(parameters.iter().copied())?;
            let (sizes, initial) = (Sizes { b, l, inputs, h }, initial.is_some());
            let op = Lstm {
                layer: Layer { sizes, real, reverse, initial, output, readers, precision },
                packed: pack(&parameters)?,
                grads,
                kept: Mutex::new(None),
            };
            return source.contiguous()?.apply_op2(&chain, op);
        }
        let ids = ids.map(|ids| ids.into_tensor(dims)).transpose()?;
        #[cfg(feature = "cuda")]
        if initial.is_none()
            && !output.cells
            && crate::cuda::is_f32(&[source, w_ih, w_hh, b_ih, b_hh])
            && crate::cuda::all_leaves([w_ih, w_hh, b_ih, b_hh])
        {
            let ids = ids.as_ref();
            let parameters = [w_ih, w_hh, b_ih, b_hh];
            let last = !output.every;
            return crate::cuda::lstm(
                source,
                &crate::cuda::LstmLayer { parameters, mask, ids, reverse, last, precision },
            );
        }
        let x = match ids {
            None => source.clone(),
            Some(ids) => crate::embedding(&ids, source)?,
        };
        // Padding has no influence, even if it is NaN.
        let read = mask.ne(0.0)?.unsqueeze(2)?.broadcast_as(x.shape())?;
        let x = read.where_cond(&x, &x.zeros_like()?)?;
        let all = self.composed(&x, mask, initial, output.cells)?;
        if output.every { Ok(all) } else { all.narrow(1, if reverse { 0 } else { l - 1 }, 1)?.squeeze(1) }
    }

    /// The states at all times, each followed by its cells if `cells`, by operators of candle.
    fn composed(
        &self,
        x: &Tensor,
        mask: &Tensor,
        initial: Option<&LSTMState>,
        cells: bool,
    ) -> Result<Tensor> {
        let Self { w_ih, w_hh, b_ih, b_hh, reverse, precision, .. } = *self;
        let bias = (b_ih + b_hh)?;
        let (b, l, _) = x.dims3()?;
        let (_, hidden) = w_hh.dims2()?;
        let projected = crate::linear(x, w_ih, Some(&bias), precision)?;
        let mask = mask.to_dtype(x.dtype())?;
        let zero = || Tensor::zeros((b, hidden), x.dtype(), x.device());
        let LSTMState { mut h, mut c } = match initial {
            Some(initial) => initial.clone(),
            None => LSTMState { h: zero()?, c: zero()? },
        };
        let mut states = Vec::with_capacity(l);
        for step in 0..l {
            let t = if reverse { l - 1 - step } else { step };
            let gates = (projected.narrow(1, t, 1)?.squeeze(1)? + matmul(precision, &h, &w_hh.t()?)?)?;
            let gate = |i| gates.narrow(1, i * hidden, hidden);
            let fresh = ((sigmoid(&gate(1)?)? * &c)? + (sigmoid(&gate(0)?)? * gate(2)?.tanh()?)?)?;
            let out = (sigmoid(&gate(3)?)? * fresh.tanh()?)?;
            let m = mask.narrow(1, t, 1)?;
            let keep = m.affine(-1.0, 1.0)?;
            c = (fresh.broadcast_mul(&m)? + c.broadcast_mul(&keep)?)?;
            h = (out.broadcast_mul(&m)? + h.broadcast_mul(&keep)?)?;
            states.push(if cells { Tensor::cat(&[&h, &c], 1)? } else { h.clone() });
        }
        if reverse {
            states.reverse();
        }
        Tensor::stack(&states, 1)
    }
}

/// Without padding: a mask must be `None` or have the shape of the input.
impl RNN for LstmLayer<'_> {
    type State = LSTMState;

    fn zero_state(&self, batch_dim: usize) -> Result<LSTMState> {
        let [_, h] = check::dims("lstm", "w_hh", self.w_hh, "(4h, h)")?;
        let zero = Tensor::zeros((batch_dim, h), self.w_hh.dtype(), self.w_hh.device())?;
        Ok(LSTMState { h: zero.clone(), c: zero })
    }

    fn step(&self, input: &Tensor, state: &LSTMState) -> Result<LSTMState> {
        Ok(self.states_from(Sequence::Vectors(&input.unsqueeze(1)?), state)?.1)
    }

    fn seq_init(&self, input: &Tensor, init_state: &LSTMState) -> Result<Vec<LSTMState>> {
        let (states, cells) = self.both(Sequence::Vectors(input), init_state)?;
        let at = |of: &Tensor, t| of.narrow(1, t, 1)?.squeeze(1)?.contiguous();
        (0..states.dim(1)?).map(|t| Ok(LSTMState { h: at(&states, t)?, c: at(&cells, t)? })).collect()
    }

    fn states_to_tensor(&self, states: &[LSTMState]) -> Result<Tensor> {
        Tensor::stack(&states.iter().map(|state| &state.h).collect::<Vec<_>>(), 1)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Var};

    use super::*;
    use crate::testing::{assert_close, assert_error, draw, grads_of, values};

    fn check(dims: (usize, usize, usize, usize), lengths: &[usize], reverse: bool) -> Result<()> {
        check_in(Precision::F32, dims, lengths, reverse, 2e-5)?;
        // Where a state or a gate's gradient lies next to the middle of two bf16, f32 and f64 round it apart; and
        // gradients of a token that is read twice are rounded once, not each.
        check_in(Precision::Bf16, dims, lengths, reverse, 1e-2)
    }

    fn check_in(
        precision: Precision,
        (b, l, inputs, h): (usize, usize, usize, usize),
        lengths: &[usize],
        reverse: bool,
        tolerance: f64,
    ) -> Result<()> {
        let real: Vec<f32> =
            lengths.iter().flat_map(|n| (0..l).map(move |t| f32::from(u8::from(t < *n)))).collect();
        let mask = Tensor::from_vec(real, (b, l), &candle_core::Device::Cpu)?;
        let shapes: [&[usize]; 5] = [&[b, l, inputs], &[4 * h, inputs], &[4 * h, h], &[4 * h], &[4 * h]];
        let results = [DType::F32, DType::F64].map(|dtype| -> Result<Vec<Tensor>> {
            let mut vars = Vec::new();
            for (i, shape) in shapes.iter().enumerate() {
                vars.push(Var::from_tensor(&(draw(*shape, &format!("{i}")).to_dtype(dtype)? * 0.5)?)?);
            }
            let [x, w_ih, w_hh, b_ih, b_hh] = [0, 1, 2, 3, 4].map(|i: usize| vars[i].as_tensor());
            let layer = LstmLayer { w_ih, w_hh, b_ih, b_hh, mask: Some(&mask), reverse, precision };
            let ids = Tensor::from_vec((0..b * l).map(|i| (i * 7 % 5) as u32).collect(), (b, l), x.device())?;
            let table = Var::from_tensor(&draw((5, inputs), "t").to_dtype(dtype)?)?;
            let mut all: Vec<&Var> = vars.iter().collect();
            all.push(&table);
            let mut out = Vec::new();
            for of in [Sequence::Vectors(x), Sequence::Tokens { ids: &ids, table: &table }] {
                let states = layer.states(of)?;
                let last = layer.last(of)?;
                let weigh = |y: &Tensor, name| y * draw(y.shape(), name).to_dtype(dtype)?;
                for y in [weigh(&states, "r")?, weigh(&last, "q")?] {
                    let wanted = if matches!(of, Sequence::Tokens { .. }) { &all[1..] } else { &all[..5] };
                    // A second backward pass finds nothing kept.
                    for _ in 0..2 {
                        out.extend(grads_of(&y, wanted)?);
                    }
                }
                out.extend([states, last]);
            }
            Ok(out)
        });
        let [found, expected] = results;
        for (found, expected) in found?.iter().zip(expected?) {
            assert_close(found, &values(&expected), tolerance);
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

    /// The layer as a network of candle, from an initial state, and its gradients against f64.
    #[test]
    fn initial_and_last_states_agree_with_f64() -> Result<()> {
        for (b, l, inputs, h, reverse) in [(3, 5, 4, 6, false), (18, 3, 16, 16, true), (1, 1, 1, 1, false)] {
            let shapes: [&[usize]; 7] =
                [&[b, l, inputs], &[4 * h, inputs], &[4 * h, h], &[4 * h], &[4 * h], &[b, h], &[b, h]];
            let real: Vec<u8> = (0..b * l).map(|place| u8::from(place % l <= place / l)).collect();
            let padded = Tensor::from_vec(real, (b, l), &candle_core::Device::Cpu)?;
            for mask in [None, Some(&padded)] {
                let results = [DType::F32, DType::F64].map(|dtype| -> Result<Vec<Tensor>> {
                    let mut vars = Vec::new();
                    for (i, shape) in shapes.iter().enumerate() {
                        let values = draw(*shape, &format!("{i}")).to_dtype(dtype)?;
                        vars.push(Var::from_tensor(&(values * 0.5)?)?);
                    }
                    let [x, w_ih, w_hh, b_ih, b_hh, h0, c0] = std::array::from_fn(|i| vars[i].as_tensor());
                    let precision = Precision::F32;
                    let layer = LstmLayer { w_ih, w_hh, b_ih, b_hh, mask, reverse, precision };
                    let initial = LSTMState { h: h0.clone(), c: c0.clone() };
                    let (states, last) = layer.states_from(Sequence::Vectors(x), &initial)?;
                    let weigh = |y: &Tensor, name| (y * draw(y.shape(), name).to_dtype(dtype)?)?.sum_all();
                    let mut out = vec![states.clone(), last.h.clone(), last.c.clone()];
                    for y in [
                        weigh(&states, "s")?,
                        weigh(&last.c, "c")?,
                        (weigh(&last.h, "h")? + weigh(&last.c, "d")?)?,
                    ] {
                        out.extend(grads_of(&y, &vars.iter().collect::<Vec<_>>())?);
                    }
                    Ok(out)
                });
                let [found, expected] = results;
                for (found, expected) in found?.iter().zip(expected?) {
                    assert_close(found, &values(&expected), 2e-5);
                }
            }
        }
        Ok(())
    }

    /// `candle_nn::LSTM` with the same weights, at once, step by step and in two parts.
    #[test]
    fn agrees_with_candles_lstm() -> Result<()> {
        let (b, l, inputs, h) = (4, 6, 5, 7);
        let device = candle_core::Device::Cpu;
        let variables = candle_nn::VarMap::new();
        let builder = candle_nn::VarBuilder::from_varmap(&variables, DType::F32, &device);
        let theirs = candle_nn::lstm(inputs, h, candle_nn::LSTMConfig::default(), builder.clone())?;
        let get = |name: &str, shape: &[usize]| builder.get(shape, name);
        let (w_ih, w_hh) = (get("weight_ih_l0", &[4 * h, inputs])?, get("weight_hh_l0", &[4 * h, h])?);
        let (b_ih, b_hh) = (get("bias_ih_l0", &[4 * h])?, get("bias_hh_l0", &[4 * h])?);
        let (mask, reverse, precision) = (None, false, Precision::F32);
        let ours = LstmLayer { w_ih: &w_ih, w_hh: &w_hh, b_ih: &b_ih, b_hh: &b_hh, mask, reverse, precision };
        let x = draw((b, l, inputs), "x");
        let initial = LSTMState { h: draw((b, h), "h"), c: draw((b, h), "c") };
        let same = |found: &[LSTMState], expected: &[LSTMState]| {
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert_close(&found.h, &values(&expected.h), 1e-6);
                assert_close(&found.c, &values(&expected.c), 1e-6);
            }
        };
        let expected = theirs.seq_init(&x, &initial)?;
        same(&ours.seq_init(&x, &initial)?, &expected);
        same(&ours.seq(&x)?, &theirs.seq(&x)?);
        let first = ours.seq_init(&x.narrow(1, 0, 2)?.contiguous()?, &initial)?;
        let second = ours.seq_init(&x.narrow(1, 2, l - 2)?.contiguous()?, &first[1])?;
        same(&[first, second].concat(), &expected);
        let mut state = initial;
        for (t, expected) in expected.iter().enumerate() {
            state = ours.step(&x.narrow(1, t, 1)?.squeeze(1)?, &state)?;
            same(std::slice::from_ref(&state), std::slice::from_ref(expected));
        }
        let stacked = ours.states_to_tensor(&expected)?;
        assert_close(&stacked, &values(&theirs.states_to_tensor(&expected)?), 0.0);

        assert_error(
            "lstm: initial state of shapes [4, 6] and [4, 7], expected [4, 7]",
            ours.seq_init(&x, &LSTMState { h: draw((b, 6), "h"), c: draw((b, h), "c") }),
        );
        let mask = draw((b, l), "m").ones_like()?;
        let masked = LstmLayer { mask: Some(&mask), ..ours };
        assert_error(
            "lstm: mask of shape [4, 6], expected [4, 1]",
            masked.step(&x.narrow(1, 0, 1)?.squeeze(1)?, &state),
        );
        Ok(())
    }

    #[test]
    fn invalid_arguments_are_rejected() {
        let mask = draw((2, 3), "m").ones_like().expect("ones");
        let run = |x: (usize, usize, usize), w_ih, w_hh, bias: usize| {
            let layer = LstmLayer {
                w_ih: &draw(w_ih, "a"),
                w_hh: &draw(w_hh, "b"),
                b_ih: &draw(bias, "c"),
                b_hh: &draw(bias, "d"),
                mask: Some(&mask),
                reverse: false,
                precision: Precision::F32,
            };
            layer.states(Sequence::Vectors(&draw(x, "x")))
        };
        assert!(run((2, 3, 4), (20, 4), (20, 5), 20).is_ok());
        assert_error("w_ih [20, 5], w_hh [20, 5], b_ih [20]", run((2, 3, 4), (20, 5), (20, 5), 20));
        assert_error("w_ih [20, 4], w_hh [20, 4], b_ih [20]", run((2, 3, 4), (20, 4), (20, 4), 20));
        assert_error("w_ih [20, 4], w_hh [20, 5], b_ih [19]", run((2, 3, 4), (20, 4), (20, 5), 19));
        assert_error("lstm: mask of shape [2, 3], expected [2, 4]", run((2, 4, 4), (20, 4), (20, 5), 20));
        assert_error("lstm: empty input (0, 3, 4)", run((0, 3, 4), (20, 4), (20, 5), 20));
    }
}
