//! Embedding, LSTM, attention.

use candle_core::{Device, Result, Tensor};
use lrlab_kernels::{Dropout, LstmLayer, Precision, Sequence, attention, embedding};
use lrlab_random::{Purpose, Stream};

use crate::harness::{Array, Draw, check, lstm, tensor};
use crate::reference;

#[test]
fn embeddings() -> Result<()> {
    let mut draw = Draw::new("embedding");
    for _ in 0..12 {
        let (batch, length) = (draw.size(1, 6), draw.size(1, 9));
        let (v, d) = (draw.pick(&[1, 2, 15, 16, 17, 50]), draw.pick(&[1, 3, 16, 20]));
        let ids: Vec<u32> = (0..batch * length).map(|_| draw.size(0, v - 1) as u32).collect();
        let given = Tensor::from_vec(ids.clone(), (batch, length), &Device::Cpu)?;
        let table = [draw.normal(&[v, d], 1.0)];
        check(
            "embedding",
            &mut draw,
            &table,
            1e-6,
            |v| embedding(&given, &v[0]),
            |v| reference::embedding(&ids, (batch, length), &v[0]),
        );
    }
    Ok(())
}

#[test]
fn lstms() {
    let mut draw = Draw::new("lstm");
    for case in 0..10 {
        let (batch, length) = (draw.pick(&[1, 2, 5, 17]), draw.size(1, 5));
        let (inputs, hidden) = (draw.pick(&[1, 3, 8]), draw.pick(&[1, 4, 7, 16]));
        let mask = draw.mask(batch, length);
        let shapes: [&[usize]; 5] = [
            &[batch, length, inputs],
            &[4 * hidden, inputs],
            &[4 * hidden, hidden],
            &[4 * hidden],
            &[4 * hidden],
        ];
        let operands = shapes.map(|dims| draw.normal(dims, 0.5));
        let (given, reverse) = (tensor(&mask), case % 3 == 0);
        check(
            &format!("lstm, reverse {reverse}, mask {:?}", mask.data),
            &mut draw,
            &operands,
            1e-4,
            |v| lstm(&v[0], [&v[1], &v[2], &v[3], &v[4]], &given, reverse),
            |v| reference::lstm(v, &mask, reverse),
        );
    }
}

/// The last state alone, and rows of a table that are read without being materialised.
#[test]
fn lstms_of_tokens() -> Result<()> {
    let mut draw = Draw::new("lstm of tokens");
    for case in 0..8 {
        let (batch, length) = (draw.pick(&[1, 3, 17]), draw.size(1, 5));
        let (inputs, hidden, vocabulary) = (draw.pick(&[1, 3, 16]), draw.pick(&[1, 4, 16]), draw.size(1, 9));
        let mask = draw.mask(batch, length);
        let ids: Vec<u32> = (0..batch * length).map(|_| draw.size(0, vocabulary - 1) as u32).collect();
        let shapes: [&[usize]; 5] = [
            &[vocabulary, inputs],
            &[4 * hidden, inputs],
            &[4 * hidden, hidden],
            &[4 * hidden],
            &[4 * hidden],
        ];
        let operands = shapes.map(|dims| draw.normal(dims, 0.5));
        let given = (Tensor::from_vec(ids.clone(), (batch, length), &Device::Cpu)?, tensor(&mask));
        let (reverse, last) = (case % 3 == 0, case % 2 == 0);
        check(
            &format!("lstm of tokens, reverse {reverse}, last {last}, mask {:?}", mask.data),
            &mut draw,
            &operands,
            1e-4,
            |v| {
                let (w_ih, w_hh, b_ih, b_hh, mask) = (&v[1], &v[2], &v[3], &v[4], &given.1);
                let layer = LstmLayer {
                    w_ih,
                    w_hh,
                    b_ih,
                    b_hh,
                    mask: Some(mask),
                    reverse,
                    precision: Precision::F32,
                };
                let tokens = Sequence::Tokens { ids: &given.0, table: &v[0] };
                if last { layer.last(tokens) } else { layer.states(tokens) }
            },
            |v| {
                let mut operands = v.to_vec();
                operands[0] = reference::embedding(&ids, (batch, length), &v[0]);
                let states = reference::lstm(&operands, &mask, reverse);
                if last { state_at(&states, if reverse { 0 } else { length - 1 }) } else { states }
            },
        );
    }
    Ok(())
}

fn state_at(states: &Array, time: usize) -> Array {
    let [batch, length, hidden] = states.dims();
    let data = (0..batch).flat_map(|b| states.data[(b * length + time) * hidden..][..hidden].to_vec());
    Array { dims: vec![batch, hidden], data: data.collect() }
}

#[test]
fn attentions() {
    let mut draw = Draw::new("attention");
    for case in 0..12 {
        let (batch, heads) = (draw.size(1, 3), draw.size(1, 3));
        let (length, d) = (draw.pick(&[1, 2, 7, 16, 19]), draw.pick(&[1, 3, 8, 16]));
        let mask = draw.mask(batch, length);
        let drop = Dropout { p: 0.3, stream: Stream::new(case, Purpose::Dropout, "a") };
        let drop = draw.flip().then_some(drop);
        let dims = [batch, heads, length, d];
        let operands = [draw.normal(&dims, 1.0), draw.normal(&dims, 1.0), draw.normal(&dims, 1.0)];
        let given = tensor(&mask);
        check(
            &format!("attention, dropout {}, mask {:?}", drop.is_some(), mask.data),
            &mut draw,
            &operands,
            1e-4,
            |v| attention(&v[0], &v[1], &v[2], &given, drop, Precision::F32),
            |v| reference::attention(&v[0], &v[1], &v[2], &mask, drop),
        );
    }
}
